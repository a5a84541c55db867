"""Log-probabilities of rounded logits against exact arithmetic."""

import numpy as np
import pytest
import torch

from gptalt_eval.scoring.logits import ROWS, read_logits, watch_head

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


class Model(torch.nn.Module):
    """Nothing but output embeddings, their products scaled if wanted."""

    def __init__(self, dtype, scale=None, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(64, 500, bias=bias, dtype=dtype)
        self.head.weight.data *= 12  # logits of real sizes
        self.scale = scale

    def get_output_embeddings(self):
        return self.head

    def forward(self, hidden):
        logits = self.head(hidden)
        return logits if self.scale is None else logits * self.scale


def make_case(dtype, **settings):
    model = Model(dtype, **settings)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(1, 3 * ROWS + 5, 64, generator=generator).to(dtype)
    rows = np.sort(np.random.default_rng(2).integers(0, hidden.shape[1], 90))
    targets = np.random.default_rng(3).integers(0, 500, 90)
    targets[10:14], rows[10:14] = targets[10], rows[10]  # asked several times
    bias = 0 if model.head.bias is None else model.head.bias.double()
    exact = (hidden[0].double() @ model.head.weight.double().T + bias) * (settings.get("scale") or 1)
    wanted = exact.log_softmax(-1)[torch.from_numpy(rows), torch.from_numpy(targets)].detach().numpy()
    with watch_head(model) as head:
        logits = model(hidden)
    return logits, rows, targets, head, wanted


def measure_error(found, wanted):
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


@pytest.mark.parametrize("bias", [False, True])
def test_half_precision_loses_less_than_its_logits_do(bias):
    logits, rows, targets, head, wanted = make_case(torch.bfloat16, bias=bias)
    plain, _ = read_logits(logits, rows, targets, torch.float32)
    sharp, _ = read_logits(logits, rows, targets, torch.float32, head)
    assert measure_error(sharp, wanted) < 0.5 * measure_error(plain, wanted)


def test_the_probabilities_still_sum_to_one():
    logits, _, _, head, _ = make_case(torch.bfloat16)
    rows, targets = np.zeros(500, dtype=np.int64), np.arange(500)
    values, greedy = read_logits(logits, rows, targets, torch.float32, head)
    assert np.exp(values).sum() == pytest.approx(1, abs=1e-5)
    assert greedy.sum() >= 1


def test_float32_is_left_as_it_is():
    logits, rows, targets, head, wanted = make_case(torch.float32)
    values, _ = read_logits(logits, rows, targets, torch.float32, head)
    assert values == pytest.approx(wanted, abs=1e-4)
    assert head.multiply(logits, torch.tensor([0]), torch.tensor([1])) is None


def test_logits_that_are_no_plain_product_are_taken_as_they_are():
    logits, rows, targets, head, wanted = make_case(torch.bfloat16, scale=0.25)
    values, _ = read_logits(logits, rows, targets, torch.float32, head)
    plain, _ = read_logits(logits, rows, targets, torch.float32)
    assert (values == plain).all()
    assert measure_error(values, wanted) < 0.05


def test_greedy_is_the_largest_logit():
    logits, rows, targets, _, _ = make_case(torch.float32)
    best = logits[0].argmax(-1).numpy()
    values, greedy = read_logits(logits, rows, best[rows], torch.float32)
    assert greedy.all()
    assert (values >= read_logits(logits, rows, targets, torch.float32)[0]).all()


def test_nothing_asked_is_nothing_read():
    values, greedy = read_logits(torch.zeros(1, 1, 5), np.zeros(0, int), np.zeros(0, int), torch.float32)
    assert len(values) == len(greedy) == 0
