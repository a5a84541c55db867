"""The float32 residual stream of models in half precision."""

import contextlib
import copy

import numpy as np
import pytest
import tiny
import torch
import transformers as tf
from transformers.pytorch_utils import Conv1D

from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.residual import Cast, can_widen, find_layers, widen
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import Alone

pytestmark = pytest.mark.torch
TREE_MODELS = [name for name in tiny.MAKERS if name not in ("rwkv", "mamba", "t5")]
TOKENS = torch.arange(3, 43)[None]


@pytest.fixture
def make_half():
    def make(name):
        return copy.deepcopy(tiny.make_model(name)).bfloat16()

    return make


@pytest.fixture(scope="module")
def deep():
    """Twelve layers: enough additions for their roundings to add up."""
    torch.manual_seed(3)
    settings = tiny.GROUPED | {"num_hidden_layers": 12, "hidden_size": 64, "initializer_range": 0.1}
    return tf.LlamaForCausalLM(tf.LlamaConfig(**settings)).eval().bfloat16()


def compute(model):
    with torch.no_grad():
        return model(TOKENS).logits.float()


def choose(model):
    return choose_engine(Alone(model, contextlib.nullcontext, torch.float32))


def draw_queries():
    rng = np.random.default_rng(0)
    common = rng.integers(3, 150, 8)
    return [
        Query(np.concatenate([common, rng.integers(3, 150, 12)]), rng.integers(3, 150, 6)) for _ in range(30)
    ]


def ask(engine, queries):
    answers = {answer.query: answer.logprob for batch in engine.score(queries) for answer in batch}
    return np.array([answers[place] for place in range(len(queries))])


def measure_error(found, exact):
    return float(np.sqrt(np.mean((found - exact) ** 2)))


def test_the_error_of_half_precision_shrinks(deep):
    exact = compute(copy.deepcopy(deep).float())
    narrow = compute(deep)
    with widen(deep):
        wide = compute(deep)
    assert (wide - exact).std() < 0.75 * (narrow - exact).std()


@pytest.mark.parametrize("name", TREE_MODELS)
def test_afterwards_a_model_is_as_before(name, make_half):
    model = make_half(name)
    before = compute(model)
    with contextlib.suppress(RuntimeError), widen(model):
        compute(model)
    assert torch.equal(compute(model), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", TREE_MODELS)
def test_the_layers_are_added_up_in_float32_and_multiplied_in_half(name, make_half):
    model = make_half(name)
    products, sums = set(), []
    for module in model.modules():
        if type(module) in (torch.nn.Linear, Conv1D):
            module.register_forward_hook(lambda _, given, output: products.add(output.dtype))
    find_layers(model)[-1].register_forward_hook(lambda _, given, output: sums.append(output))
    with widen(model):
        compute(model)
    assert products == {torch.bfloat16}
    assert (sums[0][0] if isinstance(sums[0], tuple) else sums[0]).dtype == torch.float32


@pytest.mark.parametrize("name", TREE_MODELS)
def test_the_probe_keeps_it_wherever_it_is_right(name, make_half):
    model = make_half(name)
    engine = choose(model).engine
    assert engine.wide
    queries = draw_queries()
    exact = ask(choose(copy.deepcopy(model).float()).engine, queries)
    assert measure_error(ask(engine, queries), exact) < 0.05 * exact.std()


def test_a_model_that_fails_with_it_is_scored_without(make_half):
    model = make_half("llama")
    norm = model.model.layers[0].input_layernorm

    def refuse(_, given):
        if given[0].dtype == torch.float32:
            raise RuntimeError("expected scalar type BFloat16 but found Float")

    norm.register_forward_pre_hook(refuse)
    choice = choose(model)
    assert (choice.engine.way, choice.engine.wide, choice.reason) == ("pieces", False, "")


def test_where_there_is_nothing_to_widen(make_half):
    model = make_half("llama")
    assert can_widen(model, contextlib.nullcontext)
    assert not can_widen(copy.deepcopy(model).float(), contextlib.nullcontext)
    assert not can_widen(model, lambda: torch.autocast("cpu", torch.bfloat16))
    model.is_quantized = True
    assert not can_widen(model, contextlib.nullcontext)


def test_what_several_products_are_given_is_rounded_once():
    cast = Cast()
    given = torch.randn(3)
    (first,) = cast(torch.bfloat16, None, (given,))
    (second,) = cast(torch.bfloat16, None, (given,))
    (third,) = cast(torch.float16, None, (given,))
    (other,) = cast(torch.float16, None, (torch.zeros(3),))
    assert first is second
    assert (first.dtype, third.dtype) == (torch.bfloat16, torch.float16)
    assert not other.any()
    assert cast(torch.bfloat16, None, (first,)) is None
    assert cast(torch.bfloat16, None, ()) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_places_in_a_row_are_not_taken_for_depths(dtype):
    """MPT takes a mask but counts ALiBi's distances in the row; near the prefix that is off by little."""
    for seed in range(4):
        torch.manual_seed(seed)
        sizes = {"vocab_size": 150, "d_model": 32, "n_layers": 2, "n_heads": 4, "initializer_range": 0.3}
        model = tf.MptForCausalLM(tf.MptConfig(**sizes, max_seq_len=1024)).eval().to(dtype)
        choice = choose(model)
        assert choice.engine.way == "branches"
        assert "mask: answers differ by" in choice.reason
