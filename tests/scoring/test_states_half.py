"""Models that carry a state, or are prefix-LMs, in half precision: against stock at batch size 1."""

import contextlib
import copy
import inspect

import numpy as np
import prefix_lm
import pytest
import tiny
import torch
import transformers as tf
from lm_eval.models.huggingface import HFLM

from gptalt_eval.scoring import probe
from gptalt_eval.scoring.backend import add_tree
from gptalt_eval.scoring.exact import make_exact
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.states import HABITS
from gptalt_eval.scoring.trial import Alone

pytestmark = pytest.mark.torch
HALF = (torch.bfloat16, torch.float16)
HABIT = {"rwkv": HABITS[1], "mamba": HABITS[2], "mamba2": HABITS[0], "falcon_mamba": HABITS[2]}
MAKERS = {name: lambda name=name: tiny.make_model(name) for name in HABIT} | {
    "prefix-LM": prefix_lm.make_model
}


def make_alone(model):
    return Alone(model, contextlib.nullcontext, torch.float32)


def make_requests(generator, end):
    """Questions that begin alike, each with several options, in tokens."""
    begin, asked = generator.integers(5, tiny.VOCABULARY, 12).tolist(), []
    for number in range(8):
        question = [*begin, *generator.integers(5, tiny.VOCABULARY, 3 * number).tolist(), *end]
        for size in (1, 2, 5):
            option = generator.integers(5, tiny.VOCABULARY, size).tolist()
            asked.append(((f"{number}", f"{size}"), question, option))
    return asked


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", MAKERS)
def test_answers_are_as_exact_as_those_of_stock(name, dtype):
    """Measured against the same weights in float32, so that noise is told from faults."""
    model = copy.deepcopy(MAKERS[name]()).to(dtype)
    end = [prefix_lm.GMASK, prefix_lm.SOP] if name == "prefix-LM" else []
    asked = make_requests(np.random.default_rng(0), end)
    given = {"tokenizer": tiny.make_tokenizer(), "max_length": 60}
    ours = add_tree(HFLM)(pretrained=copy.deepcopy(model), batch_size=4, **given)
    stock = HFLM(pretrained=copy.deepcopy(model), batch_size=1, **given)
    exact = HFLM(pretrained=copy.deepcopy(model).float(), batch_size=1, **given)
    found, theirs, right = (
        np.array([logprob for logprob, _ in lm._loglikelihood_tokens(asked, disable_tqdm=True)])
        for lm in (ours, stock, exact)
    )
    assert ours.choice.engine.way == ("contexts" if end else "states"), ours.choice.reason
    noise = float(np.sqrt(np.mean((theirs - right) ** 2)))
    assert 0 < float(np.sqrt(np.mean((found - right) ** 2))) < 1.25 * noise
    assert noise < np.std(right) / 20


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", HABIT)
def test_how_a_model_continues_does_not_depend_on_its_type(name, dtype):
    """Found here: what is wrong with several tokens after Mamba's state was less than rounding."""
    engine = choose_engine(make_alone(copy.deepcopy(tiny.make_model(name)).to(dtype))).engine
    assert engine.habit == HABIT[name]


def make_hybrid():
    torch.manual_seed(0)
    config = tf.JambaConfig(
        vocab_size=150, hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, num_experts=2, expert_layer_period=1, expert_layer_offset=0, attn_layer_period=3, attn_layer_offset=2, mamba_d_state=8,
        mamba_dt_rank=4, pad_token_id=2,
    )  # fmt: skip
    return tf.JambaForCausalLM(config).eval()


@pytest.mark.parametrize("dtype", HALF)
def test_a_state_that_is_a_little_wrong_is_found(monkeypatch, dtype):
    """By less than rounding in half precision."""
    model = copy.deepcopy(tiny.make_model("mamba2")).to(dtype)
    assert choose_engine(make_alone(model)).engine is not None
    forward = tf.Mamba2ForCausalLM.forward

    def forget(self, *given, cache_params=None, **named):
        for layer in cache_params.layers if cache_params is not None else ():
            for state in layer.recurrent_states.values():
                state *= 0.97
        return forward(self, *given, cache_params=cache_params, **named)

    forget.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(tf.Mamba2ForCausalLM, "forward", forget)
    choice = choose_engine(make_alone(model))
    assert choice.engine is None and "states: in float32, answers differ by" in choice.reason
    monkeypatch.setattr(probe, "make_exact", lambda alone: None)
    assert choose_engine(make_alone(model)).engine is not None, (
        "rounding does not hide it: the test shows nothing"
    )


def test_the_first_layers_have_one_of_each_kind_and_leave_the_model_as_it_was():
    model = make_hybrid().to(torch.bfloat16)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    made = make_exact(make_alone(model)).model
    assert len(made.model.layers) == made.config.num_hidden_layers == 3, "two of Mamba, one with attention"
    assert {weight.dtype for weight in made.parameters()} == {torch.float32}
    assert len(model.model.layers) == model.config.num_hidden_layers == 6
    for name, weight in model.named_parameters():
        assert weight.dtype == torch.bfloat16 and torch.equal(weight, before[name])
    assert torch.equal(
        made.model.layers[0].mamba.in_proj.weight, model.model.layers[0].mamba.in_proj.weight.float()
    )


def test_what_cannot_be_copied_is_tried_as_it_is(monkeypatch):
    model = copy.deepcopy(tiny.make_model("rwkv")).to(torch.bfloat16)
    assert make_exact(make_alone(tiny.make_model("rwkv"))) is None, "it is exact itself"
    monkeypatch.setattr(torch.nn.Module, "float", lambda self: 1 / 0)
    assert make_exact(make_alone(model)) is None
    assert choose_engine(make_alone(model)).engine.habit == HABIT["rwkv"]
