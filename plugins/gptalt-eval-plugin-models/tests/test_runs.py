"""Tiny folders of each ChatGLM run from the command line, and answer as with lm-eval's own scorer."""

import json

import pytest
import torch
from gptalt_eval_plugin_models.chatglm.backend import ChatGLMLM
from gptalt_eval_plugin_models.families import FAMILIES
from lm_eval.api.instance import Instance

import gptalt_eval
from gptalt_eval import Model
from gptalt_eval.scoring.backend import add_tree
from gptalt_eval.scoring.guarded import add_guard

pytestmark = pytest.mark.torch


@pytest.fixture(params=["chatglm", "chatglm2", "chatglm3"])
def name(request):
    return request.param


def make_lm(folder, **settings):
    return add_tree(ChatGLMLM)(str(folder), device="cpu", batch_size=4, **settings)


def ask(lm, pairs):
    return lm.loglikelihood([Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs])


def read_answers(folder):
    """(task and item, log-likelihoods of its options) of a run, from its samples."""
    found = {}
    for file in folder.rglob("samples_*.jsonl"):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        task = file.name.partition("_2")[0]
        found |= {(task, row["doc_id"]): [float(each[0][0]) for each in row["resps"]] for row in rows}
    return found


def test_medqa_runs_as_with_the_stock_scorer(folders, name, make_plugins, tmp_path):
    import gptalt_eval_plugin_medqa

    [loader] = [family.make_loader() for family in FAMILIES if family.name == "chatglm"]
    model = Model("tiny-glm", "Tiny.", "none", "nowhere", loader=loader)
    found = {}
    for scorer in ("tree", "stock"):
        record = gptalt_eval.evaluate(
            "tiny-glm", "medqa_zh", plugins=make_plugins(gptalt_eval_plugin_medqa, models=[model]),
            model_args={"pretrained": str(folders[name])}, data_dir="sample", limit=5, device="cpu",
            scorer=scorer, output_path=str(tmp_path / scorer), log_samples=True,
        )  # fmt: skip
        found[scorer] = read_answers(record.folder)
    assert len(found["tree"]) == 15
    for item, answers in found["stock"].items():
        assert found["tree"][item] == pytest.approx(answers, abs=1e-4)
        assert len(set(answers)) > 1


@torch.no_grad()
def test_a_context_comes_first_in_chatglm_6b(folders):
    lm = make_lm(folders["chatglm"])
    tokenizer, suffix = lm.tokenizer, lm.tokenizer.suffix
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    assert suffix == [86, 89]
    assert lm._encode_pair("Question: x \nAnswer:", " A") == (
        encode("Question: x \nAnswer:") + suffix,
        encode("A"),
    )
    assert lm._encode_pair("<sop>x", "y") == (encode("<sop>x") + suffix, encode("y"))
    [(score, _)] = ask(lm, [("Question: x", " A")])
    ids = torch.tensor([encode("Question: x") + suffix + encode("A")])
    logits = torch.log_softmax(lm.model(ids).logits[0], -1)
    start = ids.shape[1] - len(encode("A"))
    expected = sum(float(logits[place - 1, ids[0, place]]) for place in range(start, ids.shape[1]))
    assert score == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_what_follows_sop_does_not_move_what_is_before(folders):
    """[gMASK] and <sop> in an answer are text; and a model says what it can continue from."""
    import inspect

    model = make_lm(folders["chatglm"]).model
    start = torch.tensor([[350, 932, 367, 86, 89, 709]])
    whole = torch.cat([start, torch.tensor([[455, 86, 85, 89, 7]])], 1)
    bare = torch.tensor([[350, 932, 367, 89, 709, 86, 5]])
    assert torch.allclose(model(whole).logits[:, :6], model(start).logits, atol=1e-5)
    assert torch.allclose(model(bare).logits[:, :5], model(bare[:, :5]).logits, atol=1e-5)
    assert model.context_end_id == 89
    known = inspect.signature(model.forward).parameters
    assert {
        "past_key_values",
        "position_ids",
        "attention_mask",
        "use_cache",
        "logits_to_keep",
    } <= known.keys()


def test_gmask_and_sop_are_never_lost_nor_doubled(folders, name):
    lm = make_lm(folders[name])
    context = "hello world " * 8
    for text in (context, "[gMASK]sop hello", "[gMASK] hello", "<sop> hello"):
        ids, _ = lm._encode_pair(text, " A")
        special = lm.tokenizer.suffix if name == "chatglm" else lm.tokenizer.prefix
        where = ids[-2:] if name == "chatglm" else ids[:2]
        assert where == special, text
        batch, _ = lm.tok_batch_encode([text])
        row = batch[0].tolist()
        assert (row[-2:] if name == "chatglm" else row[:2]) == special, text


def test_a_prompt_that_is_cut_keeps_gmask_and_sop(folders):
    lm = make_lm(folders["chatglm"])
    texts = ["hello world " * 30, "hi"]
    ids, mask = lm.tok_batch_encode(texts, left_truncate_len=12)
    whole = lm.tokenizer.encode(texts[0], add_special_tokens=False)
    assert ids[0].tolist() == [*whole[-10:], 86, 89]
    short = lm.tokenizer.encode("hi")
    assert ids[1, -len(short) :].tolist() == short and mask[1].sum() == len(short)


@torch.no_grad()
def test_an_empty_context_begins_with_gmask_and_sop(folders, name):
    lm, stock = make_lm(folders[name]), add_guard(ChatGLMLM)(str(folders[name]), device="cpu")
    tokens = lm.tokenizer.encode("hello world", add_special_tokens=False)
    begin = lm.tokenizer.encode("")
    assert len(begin) == 2
    ids = torch.tensor([[*begin, *tokens]])
    logits = torch.log_softmax(lm.model(ids).logits[0], -1)
    expected = sum(float(logits[place + 1, token]) for place, token in enumerate(tokens))
    for each in (lm, stock):
        [(score, _)] = ask(each, [("", "hello world")])
        assert score == pytest.approx(expected, abs=1e-4)
    [(streamed, _)] = [each for batch in lm.stream_loglikelihood(
        [Instance("loglikelihood", {}, ("", "hello world"), 0, doc_id=0)]) for _, each in batch]  # fmt: skip
    assert streamed == pytest.approx(expected, abs=1e-4)


def test_texts_are_generated_alike_in_batches_and_alone(folders, name):
    lm = make_lm(folders[name])
    settings = {"until": ["\n\n"], "max_gen_toks": 8}
    texts = ["Question: how are you?", "hi", "Question: what is the capital of the country?"]
    together = lm.generate_until(
        [Instance("generate_until", {}, (text, settings), 0, doc_id=0) for text in texts]
    )
    for text, answer in zip(texts, together, strict=True):
        ids, _ = lm.tok_batch_encode([text])
        for _ in range(8):
            ids = torch.cat([ids, lm.model(ids).logits[:, -1:].argmax(-1)], 1)
            if ids[0, -1] == lm.eot_token_id:
                break
        alone = lm.tok_decode(ids[0, -8:].tolist()) if ids[0, -1] != lm.eot_token_id else answer
        assert answer == alone.split("\n\n")[0]


def test_commands_import_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, gptalt_eval_plugin_models as plugin; loaders = plugin.register_loaders();"
        "print([loader.identify({'model_type': 'moss'}) for loader in loaders]);"
        "assert not {'torch', 'transformers', 'sentencepiece', 'lm_eval'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'moss'" in done.stdout
