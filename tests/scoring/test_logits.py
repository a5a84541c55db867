"""Log-probabilities of rounded logits against exact arithmetic."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.scoring import logits as module
from gptalt_eval.scoring.logits import WIDTH, Head, find_highest

pytestmark = pytest.mark.torch
COUNT = 53
WORDS = 3 * WIDTH + 70


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


class Model(torch.nn.Module):
    """Nothing but embeddings at both ends, the products scaled if wanted."""

    def __init__(self, dtype, scale=None, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(COUNT, 64, dtype=dtype)
        self.head = torch.nn.Linear(64, WORDS, bias=bias, dtype=dtype)
        self.head.weight.data *= 12  # logits of real sizes
        self.scale = scale

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.head

    def forward(self, tokens):
        logits = self.head(self.embed(tokens))
        return SimpleNamespace(logits=logits if self.scale is None else logits * self.scale)

    def compute_exactly(self):
        """Log-probabilities after each token, [COUNT, WORDS]."""
        bias = 0 if self.head.bias is None else self.head.bias.double()
        logits = self.embed.weight.double() @ self.head.weight.double().T + bias
        return (logits * (self.scale or 1)).log_softmax(-1).numpy()


TOKENS = torch.arange(COUNT)[None]
ASKED = np.sort(np.random.default_rng(2).integers(0, COUNT, 90))
TARGETS = np.random.default_rng(3).integers(0, WORDS, 90)
TARGETS[10:14], ASKED[10:14] = TARGETS[10], ASKED[10]  # asked several times


def read(model, rows=ASKED, targets=TARGETS, rows_at_once=COUNT, dtype=torch.float32):
    head = Head(model, dtype=dtype)
    with head.withhold():
        logits = model(TOKENS).logits
    return head.read(logits, rows, targets, rows_at_once)


def measure_error(found, model, rows=ASKED, targets=TARGETS):
    return float(np.sqrt(np.mean((found - model.compute_exactly()[rows, targets]) ** 2)))


@pytest.mark.parametrize("bias", [False, True])
def test_half_precision_loses_less_than_its_logits_do(bias):
    model = Model(torch.bfloat16, bias=bias)
    plain = model(TOKENS).logits[0].float().log_softmax(-1).numpy()[ASKED, TARGETS]
    values, _ = read(model)
    assert measure_error(values, model) < 0.5 * measure_error(plain, model)


@pytest.mark.parametrize("rows_at_once", [1, 7, 30, COUNT, 1000])
@pytest.mark.parametrize("cached", [1, 7 * WIDTH])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_block_changes_nothing(rows_at_once, cached, dtype, monkeypatch):
    model = Model(dtype, bias=True)
    expected, likely = read(model)
    monkeypatch.setattr(module, "CACHED", cached)
    values, greedy = read(model, rows_at_once=rows_at_once)
    assert values == pytest.approx(expected, abs=1e-5)
    assert (greedy == likely).all()


@pytest.mark.parametrize("rows_at_once", [7, COUNT])
def test_only_a_block_of_logits_is_computed_at_once(rows_at_once):
    model, seen = Model(torch.float32), []
    head = Head(model)
    model.head.register_forward_hook(lambda _, given, output: seen.append(output.numel() // WORDS))
    with head.withhold():
        logits = model(TOKENS).logits
    head.read(logits, ASKED, TARGETS, rows_at_once)
    assert logits.shape == (1, 1, WORDS)
    distinct = len(set(ASKED.tolist()))
    assert max(seen) == min(rows_at_once, distinct)
    assert sum(seen) == distinct + 1  # the model makes one itself


@pytest.mark.parametrize("rows_at_once", [1, 20, COUNT])
def test_in_half_precision_a_block_is_a_slice_of_the_vocabulary(rows_at_once, monkeypatch):
    seen = []

    def linear(given, weight, bias):
        seen.append((len(given), len(weight)))
        return torch.nn.functional.linear(given, weight, bias)

    monkeypatch.setattr(module, "linear", linear)
    read(Model(torch.bfloat16), rows_at_once=rows_at_once)
    distinct = len(set(ASKED.tolist()))
    assert {rows for rows, _ in seen} == {distinct}
    assert sum(words for _, words in seen) == WORDS
    assert max(words for _, words in seen) <= max(WIDTH, rows_at_once * WORDS // distinct)


def test_slices_are_of_widths_that_are_multiplied_fast(monkeypatch):
    monkeypatch.setattr(module, "WIDE", 2 * WIDTH)
    seen = []
    monkeypatch.setattr(
        module, "linear", lambda given, weight, bias: seen.append(len(weight)) or given @ weight.T
    )
    read(Model(torch.bfloat16), rows_at_once=30)
    assert seen[:-1] == [2 * WIDTH] * (WORDS // (2 * WIDTH))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows_at_once", [1, COUNT])
def test_slices_agree_with_exact_arithmetic_where_weights_are_exact(bias, rows_at_once):
    """Logits of small integers are exact in bfloat16, and ties are many."""
    model = Model(torch.bfloat16, bias=bias)
    for weight in model.parameters():
        weight.data = torch.randint(-1, 2, weight.shape, dtype=weight.dtype) * (
            torch.rand(weight.shape) < 0.3
        )
    logits = model(TOKENS).logits[0].float()
    assert len(set(logits[0].tolist())) < 60
    every = np.repeat(np.arange(COUNT), WORDS), np.tile(np.arange(WORDS), COUNT)
    values, greedy = read(model, *every, rows_at_once=rows_at_once)
    assert values == pytest.approx(logits.log_softmax(-1).numpy().ravel(), abs=1e-5)
    assert (greedy == (logits == logits.amax(-1, keepdim=True)).numpy().ravel()).all()


def test_the_probabilities_still_sum_to_one():
    rows, targets = np.zeros(WORDS, dtype=np.int64), np.arange(WORDS)
    values, greedy = read(Model(torch.bfloat16), rows, targets)
    assert np.exp(values).sum() == pytest.approx(1, abs=1e-5)
    assert greedy.sum() >= 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_full_precision_is_as_exact_as_it_is(dtype, tolerance):
    model = Model(dtype)
    values, _ = read(model, dtype=dtype)
    assert measure_error(values, model) < tolerance


def test_logits_that_are_no_plain_product_are_taken_as_they_are():
    model = Model(torch.bfloat16, scale=0.25)
    assert not Head(model).plain
    plain = model(TOKENS).logits[0].float().log_softmax(-1).numpy()[ASKED, TARGETS]
    values, _ = read(model)
    assert values == pytest.approx(plain, abs=1e-5)


def test_greedy_is_the_largest_logit():
    model = Model(torch.float32)
    best = model(TOKENS).logits[0].argmax(-1).numpy()
    values, greedy = read(model, targets=best[ASKED])
    assert greedy.all()
    assert (values >= read(model)[0]).all()
    assert not read(model, targets=(best[ASKED] + 1) % WORDS)[1].any()


@pytest.mark.parametrize("scale", [None, 2.0])
def test_nothing_asked_is_nothing_read(scale):
    values, greedy = read(Model(torch.float32, scale), np.zeros(0, int), np.zeros(0, int))
    assert len(values) == len(greedy) == 0


@given(
    columns=st.integers(1, 3 * WIDTH + 2),
    rows=st.integers(1, 4),
    levels=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_the_highest_is_the_first_highest(columns, rows, levels, seed):
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, levels, (rows, columns))).bfloat16()
    best, place = find_highest(values)
    assert best.tolist() == values.amax(-1).tolist()
    assert place.tolist() == [row.index(max(row)) for row in values.tolist()]
