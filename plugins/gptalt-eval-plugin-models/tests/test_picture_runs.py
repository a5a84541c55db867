"""Models that see pictures, asked about texts; their folders; pictures as numbers."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gptalt_eval_plugin_models.families import FAMILIES
from gptalt_eval_plugin_models.minigpt4.family import PUBLISHED
from gptalt_eval_plugin_models.pictures.backend import PictureLM
from gptalt_eval_plugin_models.pictures.processors import crop, squeeze
from lm_eval.api.instance import Instance
from PIL import Image
from safetensors.torch import load_file, save_file

import gptalt_eval
from gptalt_eval import GptaltError, Model
from gptalt_eval.scoring.backend import add_tree

pytestmark = pytest.mark.torch
LOADERS = {family.name: family for family in FAMILIES}
NAMES = ("minigpt4", "mplug-owl", "otter")
PAIRS = [("Question: how many apples are left? ", "twelve"), ("Question: how", " many"), ("hi", " there")]
PAIRS += [("Look at <image> and </Img> <ImageHere> and answer:", " <image>"), ("", "hello there")]
PAIRS += [("User: a \n\n GPT:<answer> b \n<|endofchunk|>\nUser: c</s>\n d\n\ne GPT:<answer>", " b\nc")]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def folder(write_text_folder, name):
    return write_text_folder(name)


def make_lm(name, folder, scorer=lambda kind: kind, **settings):
    settings = {"dtype": "float32", "batch_size": 2, "device": "cpu", **settings}
    return scorer(LOADERS[name].make_class())(str(folder[0]), **folder[1], **settings)


def score(lm, pairs):
    requests = [Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs]
    return [each[0] for each in lm.loglikelihood(requests)]


@torch.no_grad()
def score_alone(lm, context, continuation):
    """The log-likelihood by one plain call without padding or cache."""
    before, after = (
        lm._encode_pair(context, continuation) if context else ([1], lm.tok_encode(continuation, False))
    )
    ids = torch.tensor([[*before, *after]])
    logits = lm.model(ids, use_cache=False).logits.float().log_softmax(-1)[0]
    return sum(float(logits[len(before) - 1 + place, token]) for place, token in enumerate(after))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("scorer", [add_tree, lambda kind: kind], ids=["tree", "stock"])
def test_questions_without_pictures_are_scored_as_by_a_plain_call(name, folder, scorer, batch_size):
    lm = make_lm(name, folder, scorer, batch_size=batch_size)
    found = score(lm, PAIRS)
    assert found == pytest.approx([score_alone(lm, *pair) for pair in PAIRS], abs=1e-4)
    if scorer is add_tree:
        assert lm.choice.engine is not None and lm.choice.engine.way == "pieces", lm.choice.reason


@torch.no_grad()
def test_a_text_without_pictures_is_the_language_model_s(name, folder):
    """Otter's has layers between its own, which change texts, too, but not by a picture."""
    lm = make_lm(name, folder)
    ids = torch.tensor([[1, 20, 33, 47, 5, 280]])
    inner = lm.model.lang_encoder if name == "otter" else lm.model.language_model
    assert torch.allclose(lm.model(ids).logits, inner(ids).logits, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_changes_answers_by_rounding_only(name, folder, dtype):
    precise, half = make_lm(name, folder), make_lm(name, folder, add_tree, dtype=dtype)
    assert half.model.dtype == getattr(torch, dtype)
    assert score(half, PAIRS) == pytest.approx(score(precise, PAIRS), abs=0.3, rel=0.03)
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    features = [lm.model.get_image_features(pixels).pooler_output.float() for lm in (precise, half)]
    assert float((features[0] - features[1]).abs().max()) < 0.05 * float(features[0].abs().max())


@pytest.mark.parametrize("scorer", [add_tree, lambda kind: kind], ids=["tree", "stock"])
def test_texts_are_generated_alike_in_batches_and_alone(name, folder, scorer):
    lm = make_lm(name, folder, scorer, batch_size=3)
    settings = {"until": ["\n\n"], "max_gen_toks": 6}
    texts = ["Question: how many?", "hi", "Look at <image>:"]
    ask = lambda some: lm.generate_until(  # noqa: E731
        [Instance("generate_until", {}, (text, settings), 0, doc_id=0) for text in some]
    )
    assert ask(texts) == [ask([text])[0] for text in texts]


def test_no_text_contains_a_picture(name, folder):
    lm = make_lm(name, folder)
    place = lm.places[0]
    for text in ("<image>", "a <image><image> b", "<Img><ImageHere></Img>", "\ue000", "<|image|>"):
        assert place not in lm.tok_encode(text)
        shown = lm.tokenizer.decode(lm.tok_encode(text, add_special_tokens=False))
        assert shown == text


def test_a_conversation_without_pictures_has_no_place_for_one(folder, name):
    from gptalt_eval_plugin_models import CATALOGUE

    lm = make_lm(name, folder)
    lm.tokenizer.chat_template = (CATALOGUE / f"{name}.jinja").read_text(encoding="utf-8")
    for typed in ("What is <image>?", "What is \ue000 and <image>?"):
        turns = [{"role": "system", "content": "S"}, {"role": "user", "content": typed}]
        shown = lm.apply_chat_template(turns)
        assert shown.count("<image>") == 1 and typed in shown and "ImageHere" not in shown


def test_pictures_stand_between_texts(name, folder):
    lm = make_lm(name, folder)
    encode = lambda text: lm.tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    expected = [1, *encode("hi"), *lm.places, *encode("how many?"), *lm.places, *encode("")]
    assert lm.encode_pictures(["hi", "how many?", ""]) == expected
    assert lm.encode_pictures(["<s>hi", "how many?", ""]) == expected
    assert len(lm.places) == {"minigpt4": 5, "mplug-owl": 7, "otter": 1}[name]
    if name == "otter":
        assert lm.tok_encode("<answer> hi<|endofchunk|>", add_special_tokens=False)[0] == lm.places[0] + 1
        assert lm.tok_encode("<|endofchunk|>", add_special_tokens=False) == [lm.places[0] - 1]


def test_otter_drops_blanks_beside_its_tokens_as_in_2023(write_text_folder):
    lm = make_lm("otter", write_text_folder("otter"))
    encode = lambda text: lm.tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    answer, end = lm.places[0] + 1, lm.places[0] - 1
    expected = [*encode("GPT:"), answer, *encode("hi"), end, *encode("User: x")]
    assert encode("GPT: <answer> hi \n<|endofchunk|>User: x") == expected
    assert lm.encode_pictures(["GPT: ", " hi \n", "\nx "]) == [
        1, *encode("GPT:"), *lm.places, *encode("hi"), *lm.places, *encode("x "),
    ]  # fmt: skip
    assert lm._encode_pair("User: x GPT:<answer>", " hi")[1] == encode("hi")


def find(name, folder, **args):
    return [str(fault) for fault in LOADERS[name].find_faults(folder[0], {**folder[1], **args})]


def rewrite(folder, function):
    state = load_file(folder[0] / "model.safetensors")
    function(state)
    save_file(state, folder[0] / "model.safetensors")


LOST = {
    "minigpt4": "visual_encoder.blocks.1.attn.q_bias", "otter": "perceiver.norm.weight",
    "mplug-owl": "vision_model.encoder.layers.1.self_attn.query_key_value.weight",
}  # fmt: skip


def test_missing_unknown_and_misshapen_weights_are_named(name, folder):
    assert find(name, folder) == []
    kept = load_file(folder[0] / "model.safetensors")
    for damage, told in (
        (lambda state: state.pop(LOST[name]), f"1 of {{}} weights are missing: {LOST[name]}"),
        (lambda state: state.update({LOST[name]: torch.zeros(7)}), f"{LOST[name]} has the shape [7]"),
        (lambda state: state.update({"x.y": torch.zeros(7)}), "that this model does not have: x.y"),
    ):
        rewrite(folder, damage)
        [fault] = find(name, folder)
        assert told.split("{}")[-1] in fault and str(folder[0]) in fault
        with pytest.raises(GptaltError):
            make_lm(name, folder)
        save_file(kept, folder[0] / "model.safetensors")


def test_minigpt4_says_what_it_needs(write_text_folder, write_base, tmp_path):
    folder = write_text_folder("minigpt4")
    [fault] = find("minigpt4", folder, base=None)
    assert "Vicuna v0" in fault and "base=FOLDER" in fault
    [fault] = find("minigpt4", folder, base=str(tmp_path / "none"))
    assert "There is no model folder" in fault
    base = write_base(tmp_path / "large", hidden=48)
    [fault] = find("minigpt4", folder, base=str(base))
    assert "llama_proj.weight has the shape [40, 24]; by config.json it is [48, 24] (1 others" in fault
    (base / "tokenizer.model").unlink()
    assert "no tokenizer" in find("minigpt4", folder, base=str(base))[0]


@torch.no_grad()
def test_minigpt4_is_read_from_its_publishers_files(write_text_folder, tmp_path):
    """EVA-CLIP without a prefix, BLIP-2 and a checkpoint of training; the last has the last word."""
    folder, args = write_text_folder("minigpt4")
    state = load_file(folder / "model.safetensors")
    (folder / "config.json").rename(tmp_path / "config.json")
    shutil.copy(tmp_path / "config.json", folder)
    (folder / "model.safetensors").unlink()
    tower = {key.removeprefix("visual_encoder."): each for key, each in state.items() if "visual_enc" in key}
    torch.save(
        tower | {"head.weight": torch.zeros(3), "blocks.39.attn.q_bias": torch.zeros(2)},
        folder / "eva_vit_g.pth",
    )
    former = {key: each for key, each in state.items() if "visual_enc" not in key}
    former["llama_proj.bias"] = torch.full_like(former["llama_proj.bias"], 7.0)
    torch.save(
        {"model": former | {"t5_proj.weight": torch.zeros(1)}}, folder / "blip2_pretrained_flant5xxl.pth"
    )
    own = {key: state[key] for key in ("llama_proj.weight", "llama_proj.bias")}
    training = {
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}},
        "config": {"a": [1, None]},
    }
    torch.save({"model": own, "epoch": 4, **training}, folder / "prerained_minigpt4_7b.pth")
    lm = make_lm("minigpt4", (folder, args))
    for key in ("bias", "weight"):
        found = getattr(lm.model.language_projection, key)
        assert torch.equal(found, state[f"llama_proj.{key}"])
    shutil.copy(folder / "prerained_minigpt4_7b.pth", folder / "pretrained_stage1.pth")
    [fault] = find("minigpt4", (folder, args))
    assert "Both " in fault and "pretrained_stage1.pth contain the weight llama_proj" in fault
    value = lm.model.vision_model.encoder.layers[2].self_attn.qkv.bias
    blocks = [state[f"visual_encoder.blocks.2.attn.{letter}_bias"] for letter in "qv"]
    assert torch.equal(value, torch.cat([blocks[0], torch.zeros(32), blocks[1]]))


def test_other_editions_are_refused(write_text_folder):
    folder, args = write_text_folder("otter")
    config = json.loads((folder / "config.json").read_text())
    for settings, told in (
        ({"max_num_frames": 128}, "videos"),
        ({"lora_config": {"r": 16}}, "not merged"),
        ({"text_config": {**config["text_config"], "architectures": ["MPTForCausalLM"]}}, "MPTForCausalLM"),
    ):
        (folder / "config.json").write_text(json.dumps(config | settings))
        assert told in find("otter", (folder, args))[0]


def make_picture(width, height, mode="RGB"):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def normalize(picture):
    """[3, height, width], as CLIP and BLIP were trained with."""
    values = np.asarray(picture, dtype=np.float64) / 255
    return ((values - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (40, 60), (224, 224), (1, 500), (333, 334)])
def test_pictures_become_the_numbers_that_they_became_in_2023(mode, width, height):
    picture = make_picture(width, height, mode)
    plain = picture.convert("RGB")
    expected = normalize(plain.resize((224, 224), Image.Resampling.BICUBIC))
    found = squeeze(224)(picture, return_tensors="np")["pixel_values"][0]
    assert found.shape == (3, 224, 224) and np.abs(found - expected).max() < 1e-5
    short = min(width, height)
    size = (int(224 * width / short), int(224 * height / short))
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    middle = plain.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    found = crop(224)(picture, return_tensors="np")["pixel_values"][0]
    assert found.shape == (3, 224, 224) and np.abs(found - normalize(middle)).max() < 1e-5


def test_each_model_has_the_processor_of_its_size(name, folder):
    lm = make_lm(name, folder)
    assert isinstance(lm, PictureLM)
    values = lm.make_processor()([make_picture(60, 40), make_picture(30, 90)], return_tensors="pt")[
        "pixel_values"
    ]
    assert lm.model.get_image_features(values).pooler_output.shape[0] == 2


def make_text_settings(rows=32_000, **settings):
    sizes = {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32}
    return {"vocab_size": rows, "num_attention_heads": 32, **sizes, **settings}


VICUNA_13B = {"hidden_size": 5120, "intermediate_size": 13_824, "num_hidden_layers": 40}
JOINED = 39 * 1408  # zeros that transformers keeps as the bias of keys


@pytest.mark.parametrize(
    ("name", "settings", "counted"),
    [
        ("minigpt4", {**PUBLISHED, "text_config": make_text_settings()}, 7_832_679_936 - JOINED),
        ("minigpt4", {**PUBLISHED, "text_config": make_text_settings(**VICUNA_13B)}, 14_110_916_096 - JOINED),
        ("mplug-owl", {"text_config": make_text_settings()}, 7_146_692_608),
        ("otter", {"text_config": make_text_settings(32_004), "cross_attn_every_n_layers": 4}, 8_220_463_120),
    ],
)
def test_the_published_sizes_add_up_to_the_counted_parameters(name, settings, counted):
    weights = LOADERS[name].describe(settings).weights.values()
    assert sum(math.prod(weight.shape) for weight in weights) == counted


def test_a_benchmark_of_texts_runs_from_the_command_line(name, folder, make_plugins, tmp_path):
    import gptalt_eval_plugin_medqa

    model = Model("tiny", "Tiny.", "none", "nowhere", loader=LOADERS[name].make_loader())
    found = {}
    for scorer in ("tree", "stock"):
        record = gptalt_eval.evaluate(
            "tiny", "medqa_zh", plugins=make_plugins(gptalt_eval_plugin_medqa, models=[model]),
            model_args={"pretrained": str(folder[0]), **folder[1]}, data_dir="sample", limit=4, device="cpu",
            scorer=scorer, output_path=str(tmp_path / scorer), log_samples=True,
        )  # fmt: skip
        found[scorer] = [
            [float(each[0][0]) for each in json.loads(line)["resps"]]
            for file in sorted(
                record.folder.rglob("samples_*.jsonl"), key=lambda file: file.name.partition("_2")[0]
            )
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
    assert len(found["tree"]) == 12 and len({len(set(row)) for row in found["stock"]} - {1}) >= 1
    for tree, stock in zip(found["tree"], found["stock"], strict=True):
        assert tree == pytest.approx(stock, abs=1e-4)


def test_a_base_that_is_a_difference_is_refused(write_text_folder, write_base, tmp_path):
    folder = write_text_folder("minigpt4")
    base = write_base(tmp_path / "vicuna-7b-delta-v0", vocabulary=400)
    [fault] = find("minigpt4", folder, base=str(base))
    assert "is a difference to LLaMA" in fault and "models convert vicuna-7b-v0" in fault
    config = json.loads((base / "config.json").read_text())
    plain = tmp_path / "vicuna"
    base.rename(plain)
    assert find("minigpt4", folder, base=str(plain)) == []
    (plain / "config.json").write_text(json.dumps(config | {"_name_or_path": "lmsys/vicuna-7b-delta-v0"}))
    assert "is a difference to LLaMA" in find("minigpt4", folder, base=str(plain))[0]


def test_a_tokenizer_of_another_kind_is_refused(name, folder, tmp_path):
    """It would be read by code that does not know it, in the middle of loading."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text("{}")
    [fault] = find(name, folder, tokenizer=str(other))
    assert f"{other}: it has no tokenizer (looked for tokenizer.model)" in fault


def test_a_prompt_may_be_as_long_as_the_language_model_allows(name, folder):
    place = folder[0] if name != "minigpt4" else Path(folder[1]["base"])
    config = json.loads((place / "config.json").read_text())
    inner = config if name == "minigpt4" else config["text_config"]
    inner["max_position_embeddings"] = 512
    (place / "config.json").write_text(json.dumps(config))
    lm = make_lm(name, folder)
    assert lm.max_length == 512 and lm.model.generation_config.eos_token_id == 2


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
@torch.no_grad()
def test_all_kinds_of_attention_answer_alike(name, folder, kind):
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    asked, other = (make_lm(name, folder, attn_implementation=each) for each in (kind, "sdpa"))
    ids = torch.tensor([[1, 5, 6, *asked.places, 9, 10]])
    assert asked.model.get_decoder().config._attn_implementation == kind
    found = asked.model(ids, pixel_values=pixels).logits
    assert torch.allclose(found, other.model(ids, pixel_values=pixels).logits, atol=1e-4)
