"""Models that see pictures, asked about texts; their folders; pictures as numbers."""

import json
from pathlib import Path

import pytest
import torch
from gptalt_eval_plugin_models.families import FAMILIES
from lm_eval.api.instance import Instance

import gptalt_eval
from gptalt_eval import Model
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
