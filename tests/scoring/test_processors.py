"""What transformers' processors make of pictures becomes what the models' own forward takes."""

import contextlib
import inspect
from types import SimpleNamespace

import numpy as np
import picture_models as models
import pytest
import torch
import transformers
from picture_models import IMAGE, VOCABULARY
from PIL import Image
from tokenizers import Regex, Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel

from gptalt_eval.scoring.joining import FullInputs
from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.processors import PLACE, PictureReader, Unreadable, convert, mark_places
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import answer_all

pytestmark = pytest.mark.torch
SQUARE = {"height": 16, "width": 16}
FAKE, END = "<fake_token_around_image>", "<end_of_utterance>"
PARTS = [f"<row_{row}_col_{column}>" for row in (1, 2, 3, 4) for column in (1, 2, 3, 4)]


def make_tokenizer(*special, **named):
    """Of words w3, w4, ...; the last ids are those of the special tokens."""
    first = VOCABULARY - len(special)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{number}": number for number in range(3, first)}}
    words = {"\n" * (number - 79) if 79 < number < 84 else word: number for word, number in words.items()}
    words |= {name: first + place for place, name in enumerate(special)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="w3",
        extra_special_tokens=named,
    )  # fmt: skip
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


def make_image(seed, width=20, height=16, mode="RGB"):
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode)


class LM:
    """What a reader needs of lm-eval's model."""

    adds_first = False  # the token <s>

    def __init__(self, case, processor):
        self.model, self.processor, self.tokenizer = case.model, processor, processor.tokenizer

    def tok_encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=self.adds_first)


def make_llava():
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SQUARE)
    settings = {"patch_size": 4, "vision_feature_select_strategy": "default"}
    processor = transformers.LlavaProcessor(
        images, make_tokenizer("<image>"), num_additional_image_tokens=1, **settings
    )
    return LM(models.make_llava(), processor)


def test_a_processor_that_looks_at_the_other_pictures_of_a_prompt_is_found_out():
    """LLaVA-OneVision's; those of the other models make the same of each picture."""
    for name, make in LMS.items():
        if name != "SmolVLM":  # whose processor needs num2words
            assert not PictureReader(make()).looks_around, name
    images = transformers.models.llava_onevision.image_processing_pil_llava_onevision
    processor = images.LlavaOnevisionImageProcessorPil(
        size=SQUARE, image_grid_pinpoints=[[16, 32], [32, 16], [32, 32]]
    )
    lm = make_next()
    lm.processor.image_processor = processor
    assert PictureReader(lm).looks_around


def make_next():
    case = models.make_llava_next()
    images = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 16},
        crop_size=SQUARE,
        image_grid_pinpoints=case.model.config.image_grid_pinpoints,
    )
    settings = {"patch_size": 4, "vision_feature_select_strategy": "default"}
    processor = transformers.LlavaNextProcessor(
        images, make_tokenizer("<image>"), num_additional_image_tokens=1, **settings
    )
    return LM(case, processor)


def make_idefics3(kind="Idefics3"):
    images = getattr(transformers, f"{kind}ImageProcessorPil")(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 16}
    )
    tokenizer = make_tokenizer(
        *PARTS, FAKE, END, "<global-img>", "<image>", image_token="<image>", fake_image_token=FAKE,
        end_of_utterance_token=END, global_image_token="<global-img>",
    )  # fmt: skip
    settings = {"image_seq_len": 4}
    if kind == "SmolVLM":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
        settings["video_processor"] = None
    processor = getattr(transformers, f"{kind}Processor")(images, tokenizer, **settings)
    return LM(models.make_idefics3(kind), processor)


def make_qwen(kind="Qwen2VL"):
    """Without torchvision, its processor cannot be made: only what it consists of."""
    images = transformers.Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 64, "longest_edge": 1024}
    )
    tokenizer = make_tokenizer("<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>")
    return LM(models.make_qwen(kind), SimpleNamespace(image_processor=images, tokenizer=tokenizer))


def make_gemma():
    images = transformers.Gemma3ImageProcessorPil(size=SQUARE)
    named = {"image_token": "<soft>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    tokenizer = make_tokenizer("<boi>", "<eoi>", "<soft>", **named)
    blanks = [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex("\n+"), "isolated")]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(blanks)
    return LM(models.make_gemma(), transformers.Gemma3Processor(images, tokenizer, image_seq_length=4))


def make_mllama():
    images = transformers.MllamaImageProcessorPil(size=SQUARE, max_image_tiles=2)
    tokenizer = make_tokenizer("<|python_tag|>", "<|image|>")
    return LM(models.make_mllama(), transformers.MllamaProcessor(images, tokenizer))


def make_idefics():
    images = transformers.IdeficsImageProcessorPil(image_size=16)
    return LM(models.make_idefics(), transformers.IdeficsProcessor(images, make_tokenizer(FAKE, "<image>")))


def make_blip(kind="Blip2", *more):
    images = transformers.BlipImageProcessorPil(size=SQUARE)
    case = models.make_blip(kind, models.InstructCase if more else models.Case)
    processor = getattr(transformers, f"{kind}Processor")(
        images, make_tokenizer("<image>"), *more, num_query_tokens=5
    )
    return LM(case, processor)


LMS = {
    "LLaVA": make_llava, "LLaVA-NeXT": make_next, "Idefics3": make_idefics3,
    "SmolVLM": lambda: make_idefics3("SmolVLM"), "Gemma 3": make_gemma, "Mllama": make_mllama,
}  # fmt: skip


def place(reader, text, images, instructions=("", "")):
    """A prompt's tokens and pictures."""
    shown = iter([reader.read(*each) for each in zip(images, instructions, strict=True)])
    return [next(shown) if each is None else each for each in reader.encode(text)]


def compare(lm, found, expected):
    """Both are the same to the model."""
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert found.keys() >= expected.keys() - {"attention_mask", "num_crops"}
    with torch.no_grad():
        one, other = (lm.model(**each, use_cache=False).logits for each in (found, expected))
    assert torch.allclose(one, other, atol=1e-5)


TEXTS = (f"<s> w5 w6 {PLACE} w7 w8 {PLACE} w9", f"<s>w5\n{PLACE}\nw6\n\n{PLACE} w7", f"<s> {PLACE}{PLACE}w9")


@pytest.mark.parametrize("text", TEXTS, ids=["words", "lines", "pictures alone"])
@pytest.mark.parametrize("name", LMS)
def test_a_prompt_is_read_as_by_the_processor(name, text):
    lm = LMS[name]()
    reader, images = PictureReader(lm), [make_image(0), make_image(1, 40, 16)]
    assert reader.encode(text).count(None) == 2
    found = reader.forward_inputs(place(reader, text, images))
    asked = text.replace(PLACE, reader.mark)
    nested = images if name.startswith("LLaVA") else [images]
    expected = dict(lm.processor(text=[asked], images=nested, return_tensors="pt", add_special_tokens=False))
    expected.pop("num_crops", None)
    compare(lm, found, expected)


def test_a_prompt_of_idefics_is_read_as_by_its_processor():
    """Which puts the first token in front, and takes texts and pictures in a row."""
    lm = make_idefics()
    reader, images = PictureReader(lm), [make_image(0), make_image(1, 40, 16)]
    found = reader.forward_inputs(place(reader, f"<s> w5 w6 {PLACE} w7 {PLACE} w9", images))
    expected = lm.processor(text=["w5 w6 ", images[0], " w7 ", images[1], " w9"], return_tensors="pt")
    compare(lm, found, dict(expected))
    beside = reader.forward_inputs(place(reader, f"<s>w5 {PLACE} {PLACE}w9", images))
    compare(lm, beside, dict(lm.processor(text=["w5", *images, "w9"], return_tensors="pt")))
    plain = reader.forward_inputs([1, 5, 6])
    compare(lm, plain, dict(lm.processor(text=["w5 w6"], return_tensors="pt")))


@pytest.mark.parametrize("kind", ["Blip2", "InstructBlip"])
def test_a_prompt_of_blip_is_read_as_by_its_processor(kind):
    """Which takes one picture, at the beginning."""
    lm = make_blip(kind, *([make_tokenizer()] if kind == "InstructBlip" else []))
    begin = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    lm.tokenizer.backend_tokenizer.post_processor, lm.adds_first = begin, True
    reader, image, asked = PictureReader(lm), make_image(0, 40), "w5 w6 w7"
    assert reader.reads_text is (kind == "InstructBlip")
    found = reader.forward_inputs(place(reader, f"{PLACE} {asked}", [image], [asked]))
    expected = lm.processor(text=[asked], images=[image], return_tensors="pt")
    for more in ("token_type_ids", "qformer_token_type_ids"):
        expected.pop(more, None)
    assert expected["input_ids"].tolist() == [[*[IMAGE] * 5, 1, 5, 6, 7]]
    compare(lm, found, dict(expected))
    assert reader.encode(f"{PLACE} {PLACE}w5 {PLACE}") == [None, None, 1, 5, None]
    assert reader.encode(f"{PLACE}{PLACE}") == [None, None, 1]
    assert reader.encode("w5") == [1, 5]
    others = {reader.read(image, text).key for text in ("w5", "w6", "w5")}
    assert len(others) == (2 if reader.reads_text else 1)


def test_instructions_of_several_lengths_are_padded_together():
    """As a processor pads them; the Q-Former does not see the padding."""
    lm = make_blip("InstructBlip", make_tokenizer())
    reader, images = PictureReader(lm), [make_image(0), make_image(1)]
    items = place(reader, f"w3 {PLACE} w4 {PLACE} w5", images, ["w5", "w6 w7 w8"])
    found = reader.forward_inputs(items)
    assert found["qformer_attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    with torch.no_grad():
        together = lm.model.get_image_features(
            **{name: value for name, value in found.items() if name != "input_ids"}, return_dict=True
        ).pooler_output
        alone = [
            lm.model.get_image_features(**item.load(), return_dict=True).pooler_output[0]
            for item in items[1:4:2]
        ]
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)


#: whether each is scored with the tree, and why not with the first method
ASKED = {
    "Gemma 3": (make_gemma, True, "with pictures, answers differ"),
    "Mllama": (make_mllama, False, "not among its tokens"),
    "Idefics": (make_idefics, True, ""),
}


@pytest.mark.parametrize("name", ASKED)
def test_answers_are_those_of_the_models_own_forward(name):
    make, is_shared, reason = ASKED[name]
    lm = make()
    reader, images = PictureReader(lm), [make_image(0), make_image(1, 40, 16)]
    pictures = Pictures(lm.model)
    alone = AlonePictures(lm.model, contextlib.nullcontext, torch.float32, pictures, reader)
    choice = choose_engine(alone)
    assert (choice.engine is not None) is is_shared
    assert reason in choice.reason and bool(reason) is bool(choice.reason)
    for texts in (("w5", "w6"), ("w5 w6", "w7")):
        prompt = f"<s> w4 {PLACE} {texts[0]} {PLACE} {texts[1]}"
        asked = [prompt.replace(PLACE, reader.mark) + " w8 w9"]
        given = {"text": asked, "images": [images]}
        if name == "Idefics":
            given = {"text": ["w4", images[0], texts[0], images[1], f"{texts[1]} w8 w9"]}
        inputs = dict(lm.processor(**given, return_tensors="pt", add_special_tokens=False))
        inputs.pop("num_crops", None)
        with torch.no_grad():
            logprobs = lm.model(**inputs, use_cache=False).logits[0].double().log_softmax(-1)
        expected = float(logprobs[-3, 8] + logprobs[-2, 9])
        ids = pictures.expand([*place(reader, prompt, images), 8])
        query = Query(np.array(ids), [8, 9])
        assert alone.answer(query) == pytest.approx(expected, abs=1e-5)
        if not reason:
            assert answer_all(choice.engine, [query]) == pytest.approx([expected], abs=1e-5)


def make_paligemma():
    images = transformers.SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = 16
    tokenizer = make_tokenizer("<image>", image_token="<image>")
    blanks = [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex("\n+"), "isolated")]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(blanks)
    return LM(models.make_paligemma(), transformers.PaliGemmaProcessor(images, tokenizer))


def test_a_prompt_of_paligemma_is_read_as_by_its_processor():
    """Which puts the first token of the text behind the pictures, and a line's end behind all."""
    lm = make_paligemma()
    reader, image = PictureReader(lm), make_image(0, 40)
    found = reader.forward_inputs(place(reader, f"{PLACE}w5 w6", [image], [""]))
    expected = dict(lm.processor(text=["<image>w5 w6"], images=[image], return_tensors="pt"))
    assert expected["input_ids"].tolist() == [[*[IMAGE] * 16, 1, 5, 6, 80]]
    assert torch.equal(found["token_type_ids"], expected["token_type_ids"].int())
    expected.pop("labels", None)
    compare(lm, found, expected)
    assert reader.encode_pair(f"{PLACE}w5 w6 ", "w7") == ([None, 1, 5, 6, 80], [7])


def test_a_prefix_is_seen_both_ways_and_an_answer_is_not():
    """PaliGemma, whose processor says with token types which is which."""
    case = models.make_paligemma()
    full = FullInputs(IMAGE, {}, frozenset(inspect.signature(case.model.forward).parameters), True, None)
    reader = SimpleNamespace(make_inputs=full.make, sample=case.picture)
    pictures = Pictures(case.model)
    alone = AlonePictures(case.model, contextlib.nullcontext, torch.float32, pictures, reader)
    picture = case.picture(0)
    ids = pictures.expand([picture, 1, 5, 6, 7, 8])
    for count in (1, 3):
        types = torch.zeros(1, len(ids), dtype=torch.int)
        types[:, len(ids) - count + 1 :] = 1
        inputs = {"input_ids": torch.tensor([[*[IMAGE] * picture.layout.count(-1), 1, 5, 6, 7, 8]])}
        with torch.no_grad():
            logits = case.model(**inputs, **picture.load(), token_type_ids=types).logits[0, -count:]
        expected = float(logits.double().log_softmax(-1)[:, 9].sum())
        assert alone.answer(Query(np.array(ids), [9] * count)) == pytest.approx(expected, abs=1e-5)
    assert choose_engine(alone).engine is None


@pytest.mark.parametrize("kind", models.QWEN)
def test_pictures_of_qwen_have_a_grid(kind):
    lm = make_qwen(kind)
    reader, images = PictureReader(lm), [make_image(0, 16, 16), make_image(1, 40, 24)]
    prompt = f"<|vision_start|> {PLACE} <|vision_end|> w5 <|vision_start|> {PLACE} <|vision_end|> w6"
    items = place(reader, prompt, images)
    pictures = [item for item in items if not isinstance(item, int)]
    assert [picture.grid for picture in pictures] == [(2, 2), (3, 5)]
    found = reader.forward_inputs(items)
    expected = lm.processor.image_processor(images, return_tensors="pt")
    for name in ("pixel_values", "image_grid_thw"):
        assert torch.equal(found[name], expected[name])
    is_feature = (found["input_ids"] == IMAGE)[0].tolist()
    assert is_feature == [False, *[True] * 4, False, False, False, *[True] * 15, False, False]
    assert found["mm_token_type_ids"][0].tolist() == [int(each) for each in is_feature]
    with torch.no_grad():
        assert lm.model(**found).logits.shape == (1, len(is_feature), VOCABULARY)


def test_what_is_transparent_is_white():
    image = make_image(0, 4, 4, "RGBA")
    alpha = np.asarray(image)[..., 3:] / 255
    expected = np.asarray(image)[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(np.asarray(convert(image)) - expected).max() <= 1
    assert np.asarray(convert(make_image(0, 4, 4, "L"))).shape == (4, 4, 3)


def test_a_backend_that_reads_pictures_itself_is_asked():
    case = models.make_llava()
    asked = []

    class Own(LM):
        places = (IMAGE,) * 9

        def __init__(self):
            self.model = case.model

        def make_processor(self):
            return lambda images, return_tensors: {"pixel_values": torch.ones(len(images), 3, 16, 16)}

        def encode_pictures(self, texts):
            asked.append(texts)
            return [1, 2, *self.places, 3, *self.places, *self.places]

    reader = PictureReader(Own())
    assert reader.encode(f"a {PLACE} b {PLACE}{PLACE}") == [1, 2, None, 3, None, None]
    assert asked == [["a ", " b ", "", ""]]
    picture = reader.read(make_image(0))
    assert picture.layout == (-1,) * 9 and not reader.reads_text
    found = reader.forward_inputs([1, picture, picture])
    assert found["pixel_values"].shape == (2, 3, 16, 16) and found["input_ids"].tolist() == [
        [1, *[IMAGE] * 18]
    ]


def test_an_answer_begins_where_lm_eval_says():
    """Blanks at the end of a context belong to its answer."""
    reader = PictureReader(make_llava())
    before, after = reader.encode_pair(f"w5 {PLACE} w6 ", "w7 w8")
    assert before == [5, None, 6] and after == [7, 8]
    assert reader.split(f"w5 {PLACE} w6") == ["w5 ", " w6"]


def test_only_whole_pictures_become_places():
    assert mark_places([5, 9, 9, 9, 9, 9], [9, 9]) == [5, None, None, 9]


@pytest.mark.parametrize("size", [(900, 4), (4, 900)])
def test_a_picture_that_a_processor_refuses_is_named(size):
    """Qwen's refuses strips."""
    reader = PictureReader(make_qwen())
    with pytest.raises(Unreadable, match=rf"a picture of {size[0]} x {size[1]} pixels: .*aspect ratio"):
        reader.read(make_image(0, *size))
