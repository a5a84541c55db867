"""lm-eval's image-text models through our backend: the answers are those of transformers alone."""

import hashlib
import warnings

import numpy as np
import picture_folders
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.hf_vlms import HFMultimodalLM
from PIL import Image

from gptalt_eval.scoring.picture_backend import PictureTreeLM, add_pictures, sees_pictures

pytestmark = pytest.mark.torch
KINDS = list(picture_folders.MAKERS)
OPTIONS = (" A", " B", " the red one", " A")


class Shown(dict):
    def __hash__(self):
        return hash(tuple(self["visual"]))


class File(str):
    """A picture as a request has it: a name that is equal for equal pictures."""

    opened = 0

    def open(self):
        File.opened += 1
        generator = np.random.default_rng(int(hashlib.sha256(self.encode()).hexdigest()[:8], 16))
        height, width = [(24, 40), (32, 32), (40, 24)][int(generator.integers(3))]
        return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return request.param, picture_folders.save_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def make_lm(folder):
    made = {}

    def make(shares=True, **settings):
        key = (shares, *settings.items())
        if key not in made:
            backend = add_pictures(HFMultimodalLM, shares)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[key] = backend(pretrained=str(folder[1]), device="cpu", dtype="float32", **settings)
        return made[key]

    return make


def make_requests(pictures=("a", "b", "c", "d"), options=OPTIONS):
    """Two examples with pictures, then questions with another one, the same one, two, or none."""
    shots = "<image>\nQuestion: one?\nAnswer: A\n\n<image>\nQuestion: two?\nAnswer: B\n\n"
    questions = [("<image>\nQuestion: this?\nAnswer:", ["c"]), ("<image>\nQuestion: that?\nAnswer:", ["d"]),
                 ("<image>\nQuestion: again?\nAnswer:", ["a"]), ("Question: which? <image> or <image>\nAnswer:", ["c", "d"]),
                 ("Question: none?\nAnswer:", [])]  # fmt: skip
    asked = [(shots + text, ["a", "b", *shown]) for text, shown in questions]
    asked.append(("Question: no examples? <image>\nAnswer:", ["c"]))
    names = dict(zip("abcd", pictures, strict=True))
    return [
        Instance(
            "loglikelihood",
            {},
            (text, option, Shown(visual=[File(names[each]) for each in shown])),
            0,
            doc_id=0,
        )
        for text, shown in asked
        for option in options
    ]


def ask_transformers(lm, kind, context, continuation, pictures):
    """The log-likelihood and greediness as transformers' processor and model have them, in one call."""
    mark = picture_folders.MARKS.get(kind, "<image>")
    images = [picture.open() for picture in pictures]
    texts = [(context + continuation).replace("<image>", mark), context.replace("<image>", mark)]
    if kind == "qwen2_vl":
        made = [write_out_qwen(lm, text, images) for text in texts]
    else:
        shown = {"images": [images] if kind == "idefics3" else images} if images else {}
        made = [dict(lm.processor(text=[text], return_tensors="pt", **shown)) for text in texts]
    inputs, before = made[0], made[1]["input_ids"].shape[1]
    ids = inputs["input_ids"]
    with torch.no_grad():
        logprobs = lm.model(**inputs, use_cache=False).logits.log_softmax(-1)[0, before - 1 : -1]
    targets = ids[0, before:]
    return float(logprobs.gather(1, targets[:, None]).sum()), bool((logprobs.argmax(-1) == targets).all())


def write_out_qwen(lm, text, images):
    """What Qwen's processor makes, without its part for videos."""
    made = dict(lm.processor.image_processor(images, return_tensors="pt")) if images else {}
    for grid in made.get("image_grid_thw", []):
        text = text.replace("<|image_pad|>", "<place>" * int(grid.prod() // 4), 1)
    ids = lm.tokenizer(text.replace("<place>", "<|image_pad|>"), return_tensors="pt")["input_ids"]
    more = {"mm_token_type_ids": (ids == lm.image_token_id).int()} if images else {}
    return {"input_ids": ids, **made, **more}


def read(requests):
    return [
        (context, continuation, shown["visual"])
        for context, continuation, shown in (r.args for r in requests)
    ]


@pytest.mark.parametrize("shares", [True, False])
def test_answers_are_those_of_transformers_alone(folder, make_lm, shares):
    lm = make_lm(shares)
    requests = make_requests()
    found = lm.loglikelihood(requests)
    expected = [ask_transformers(lm, folder[0], *request) for request in read(requests)]
    assert np.allclose([value for value, _ in found], [value for value, _ in expected], atol=1e-4, rtol=0)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert np.std([value for value, _ in expected]) > 1  # they differ: a wrong one would be seen
    assert (lm.choice.engine is not None) == shares


def test_other_pictures_are_other_answers(make_lm):
    lm = make_lm()
    right = lm.loglikelihood(make_requests())
    for changed in (("b", "a", "c", "d"), ("a", "b", "d", "c"), ("x", "b", "c", "d")):
        wrong = lm.loglikelihood(make_requests(changed))
        pairs = list(zip(right, wrong, strict=True))
        moved = [abs(one - other) for (one, _), (other, _) in pairs]
        assert max(moved) > 1e-2
    assert (
        max(
            abs(one - other)
            for (one, _), (other, _) in zip(right, lm.loglikelihood(make_requests()), strict=True)
        )
        == 0
    )


def test_each_picture_is_encoded_once_and_each_token_computed_once(make_lm):
    """Counted where they go in: the vision tower, and the language model's embeddings."""
    lm = make_lm()
    rows, images = [], []
    embedding = lm.pictures.causal.get_input_embeddings()
    requests = make_requests(("p", "q", "r", "s"))
    asked = [lm.encode(*request.args) for request in requests]
    original = type(lm.model).get_image_features

    def see(self, *args, **settings):
        made = original(self, *args, **settings)
        images.append(len(made.pooler_output))
        return made

    handle = embedding.register_forward_hook(lambda module, given, output: rows.append(given[0].numel()))
    try:
        type(lm.model).get_image_features = see
        lm.choice.engine.largest, lm.choice.engine.checked = (
            0,
            10**9,
        )  # no answer is computed again, to compare
        lm.loglikelihood(requests)
    finally:
        type(lm.model).get_image_features = original
        handle.remove()
    prefixes = {
        tuple((before + after)[:end]) for _, before, after in asked for end in range(1, len(before + after))
    }
    assert sum(rows) == len(prefixes)
    assert sum(images) == 4


def test_pictures_are_opened_when_they_are_needed(make_lm):
    lm = make_lm()
    File.opened = 0
    lm.loglikelihood(make_requests(("k", "l", "m", "n")))
    assert File.opened == 8  # to count its places, and to encode it


@pytest.mark.parametrize(
    ("context", "count", "reason"),
    [
        ("<image> Question?", 2, "1 places for pictures, and there are 2"),
        ("Question?", 1, "0 places for pictures, and there are 1"),
        ("<image><image> Question?", 1, "2 places for pictures, and there are 1"),
    ],
)
def test_a_place_too_many_or_too_few_is_refused(make_lm, context, count, reason):
    lm = make_lm()
    arguments = (context, " A", Shown(visual=[File("a")] * count))
    requests = [Instance("loglikelihood", {}, arguments, 0, doc_id=0)]
    assert list(lm.stream_loglikelihood(requests)) == []
    assert reason in lm.unscorable[arguments]
    with pytest.raises(ValueError, match=reason):
        lm.loglikelihood(requests)
    generate = (context, {"until": ["\n"]}, arguments[2])
    with pytest.raises(ValueError, match=reason):
        lm.generate_until([Instance("generate_until", {}, generate, 0, doc_id=0)])


class Thin(File):
    """A picture that Qwen's processor refuses: its sides differ too much."""

    def open(self):
        return Image.new("RGB", (1000, 2))


def test_a_picture_that_the_processor_refuses_is_named(folder, make_lm):
    lm = make_lm()
    arguments = ("<image> Question?", " A", Shown(visual=[Thin("thin")]))
    requests = [Instance("loglikelihood", {}, arguments, 0, doc_id=0)]
    prompts = [Instance("generate_until", {}, (arguments[0], {"until": ["\n"]}, arguments[2]), 0, doc_id=0)]
    if folder[0] != "qwen2_vl":
        assert len(lm.loglikelihood(requests)) == len(lm.generate_until(prompts)) == 1
        return
    assert list(lm.stream_loglikelihood(requests)) == []
    assert "refuses a picture of 1,000 x 2 pixels" in lm.unscorable[arguments]
    assert lm.has_room(arguments)  # what is wrong with it is said, not that it is too long
    for ask in (lambda: lm.loglikelihood(requests), lambda: lm.generate_until(prompts)):
        with pytest.raises(ValueError, match="refuses a picture of 1,000 x 2 pixels"):
            ask()


def test_what_does_not_fit_is_refused_and_never_cut(make_lm):
    shown = Shown(visual=[File("a")])
    short, long = "<image> Question?", "<image> Question? ?"
    room = make_lm().measure((short, " A", shown))
    assert room == len(make_lm().encode(short, " A", shown)[1]) + 1
    lm = make_lm(max_length=room)
    for context, fits in ((short, True), (long, False)):
        arguments = (context, " A", shown)
        assert lm.has_room(arguments) is fits
        found = list(lm.stream_loglikelihood([Instance("loglikelihood", {}, arguments, 0, doc_id=0)]))
        assert bool(found) is fits
        assert ("with its pictures it has" in lm.unscorable.get(arguments, "")) is not fits
        assert arguments not in lm.lost


def test_no_prompt_has_more_pictures_than_asked_for(make_lm):
    """Of two, lm-eval drops the second without a word."""
    lm = make_lm(max_images=1)
    for count in (1, 2):
        arguments = ("<image>" * count + " Question?", " A", Shown(visual=[File("a"), File("b")][:count]))
        found = list(lm.stream_loglikelihood([Instance("loglikelihood", {}, arguments, 0, doc_id=0)]))
        assert lm.has_room(arguments) is bool(found) is (count == 1)
        assert ("has 2 pictures" in lm.unscorable.get(arguments, "")) is (count == 2)


def test_left_out_examples_are_noted(make_lm):
    lm = make_lm()
    shown = Shown(visual=[File("a")])
    whole = ("Example.\n\n<image> Question?", " A", shown)
    kept = ("<image> Question?", " A", shown)
    lm.note_dropped(kept, whole)
    assert lm.lost[kept] == len("Example.\n\n")
    lm.note_dropped((kept[0], {"until": []}, shown), (whole[0], {"until": []}, shown))
    assert lm.lost[kept[0], shown] == len("Example.\n\n")


def test_texts_alone_are_scored_as_ever(folder, make_lm):
    lm = make_lm()
    pairs = [("Question: how", " many"), ("Question: how", " much"), ("", "many apples")]
    requests = [Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs]
    found = [value for value, _ in lm.loglikelihood(requests)]
    expected = [ask_transformers(lm, folder[0], context or "<s>", text, [])[0] for context, text in pairs]
    assert np.allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shares", [True, False])
def test_whole_texts_are_scored_as_ever(folder, make_lm, shares):
    lm = make_lm(shares)
    text = "How many apples are left?"
    [found] = lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0, doc_id=0)])
    assert abs(found - ask_transformers(lm, folder[0], "<s>", text, [])[0]) < 1e-4


def test_a_chat_template_writes_places_in_its_own_way(folder, make_lm):
    lm = make_lm()
    turns = [{"role": "user", "content": "<image>What? <image>"}, {"role": "assistant", "content": "That."},
             {"role": "user", "content": "And <image>?"}]  # fmt: skip
    mark = picture_folders.MARKS.get(folder[0], "<image>")
    text = lm.apply_chat_template(turns)
    assert text == f"[user]{mark}What? {mark}[assistant]That.[user]And {mark}?[assistant]"
    request = Instance(
        "loglikelihood", {}, (text, "Yes", Shown(visual=[File("a"), File("b"), File("c")])), 0, doc_id=0
    )
    [(found, _)] = lm.loglikelihood([request])
    expected, _ = ask_transformers(lm, folder[0], text, "Yes", request.args[2]["visual"])
    assert abs(found - expected) < 1e-4


def generate_with_transformers(lm, kind, context, pictures, count):
    """Greedy tokens, each by a call with the whole prompt."""
    text = context
    made = []
    for _ in range(count):
        mark = picture_folders.MARKS.get(kind, "<image>")
        images = [picture.open() for picture in pictures]
        marked = text.replace("<image>", mark)
        if kind == "qwen2_vl":
            inputs = write_out_qwen(lm, marked, images)
        else:
            shown = {"images": [images] if kind == "idefics3" else images} if images else {}
            inputs = dict(lm.processor(text=[marked], return_tensors="pt", **shown))
        if made:
            ids = torch.tensor([made])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            if "mm_token_type_ids" in inputs:
                inputs["mm_token_type_ids"] = torch.cat(
                    [inputs["mm_token_type_ids"], torch.zeros_like(ids)], 1
                )
        with torch.no_grad():
            made.append(int(lm.model(**inputs, use_cache=False).logits[0, -1].argmax()))
        if made[-1] == lm.tokenizer.eos_token_id:
            break
    return lm.tok_decode(made)


@pytest.mark.parametrize("shares", [True, False])
def test_texts_are_those_of_transformers_alone(folder, make_lm, shares):
    lm = make_lm(shares)
    settings = {"until": ["\n\n\n"], "max_gen_toks": 6, "do_sample": False}
    asked = {r.args[0]: r.args[2] for r in make_requests()}
    requests = [
        Instance("generate_until", {}, (text, settings, shown), 0, doc_id=0) for text, shown in asked.items()
    ]
    found = lm.generate_until(requests)
    for text, request in zip(found, requests, strict=True):
        expected = generate_with_transformers(lm, folder[0], request.args[0], request.args[2]["visual"], 6)
        assert text == expected.split("\n\n\n")[0]


def test_what_the_backend_adds_to():
    assert sees_pictures(HFMultimodalLM) and issubclass(add_pictures(HFMultimodalLM, True), PictureTreeLM)


def test_the_tokenizer_may_be_in_another_folder(folder, make_lm):
    """``tokenizer=`` names the whole processor; lm-eval's class forgets it."""
    lm, own = make_lm(), make_lm(tokenizer=str(folder[1]))
    request = Instance("loglikelihood", {}, ("<image>What?", "Yes", Shown(visual=[File("a")])), 0, doc_id=0)
    assert own.loglikelihood([request]) == lm.loglikelihood([request])
