"""Models whose answers rounding moves far: deep and wide ones in half precision."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as tf

from gptalt_eval.scoring import probe, trial
from gptalt_eval.scoring.batch import verify
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.rounding import disturb_output, rounding_more
from gptalt_eval.scoring.trial import Alone, find_tolerance, make_rows


def make_model(dtype=torch.bfloat16, spread=0.2):
    """A model of 24 layers; with weights as large as these, each layer makes more of a difference."""
    torch.manual_seed(0)
    config = tf.LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=24, num_attention_heads=4,
        max_position_embeddings=512, initializer_range=spread,
    )  # fmt: skip
    return tf.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def make_alone(model):
    return Alone(model, contextlib.nullcontext, torch.float32)


def test_the_tree_is_used_although_rounding_moves_answers_further_than_usual():
    alone = make_alone(make_model())
    assert alone.tolerance > alone.usual_tolerance == 0.05
    choice = choose_engine(alone)
    assert choice.engine is not None and choice.engine.way == "pieces" and not choice.reason
    trials = [alone.ask(make_rows(alone.model, [24] * 6))]
    apart = probe.try_out(probe.PackedEngine(alone.model, "pieces", 100, 64), trials, alone.tolerance)
    assert apart > 0.05, "the usual tolerance would do: the test shows nothing"


class Wrong(probe.PackedEngine):
    """Off by a fiftieth, which is less than rounding in this model."""

    def compute(self, *given, **named):
        owners, values, greedy = super().compute(*given, **named)
        return owners, values * 1.02, greedy


def test_what_is_wrong_in_float32_is_not_used_however_much_rounding_explains(monkeypatch):
    monkeypatch.setattr(probe, "PackedEngine", Wrong)
    choice = choose_engine(make_alone(make_model(spread=0.5)))
    assert choice.engine is None or not isinstance(choice.engine, Wrong)
    assert "pieces: answers differ by" in choice.reason and "mask: answers differ by" in choice.reason


def test_what_cannot_be_tried_in_float32_keeps_the_usual_tolerance(monkeypatch):
    monkeypatch.setattr(probe, "make_exact", lambda alone: None)
    assert choose_engine(make_alone(make_model(spread=0.5))).engine is None


@pytest.mark.parametrize(
    ("dtype", "spread", "expected"),
    [(torch.float32, 0.2, 1e-3), (torch.bfloat16, 0.02, 0.05), (torch.bfloat16, 0.5, trial.MOST)],
)
def test_tolerance(dtype, spread, expected):
    """In float32 nothing is measured; most models have the usual one; it never exceeds the largest."""
    assert make_alone(make_model(dtype, spread)).tolerance == pytest.approx(expected)


def test_the_tolerance_is_about_what_rounding_does():
    """Against the same weights in float64: the model's own error in bfloat16."""
    model = make_model()
    alone = make_alone(model)
    rows = make_rows(model, [24] * 6)
    found = alone.ask(rows)
    exact = Alone(make_model().double(), contextlib.nullcontext, torch.float64).ask(rows)
    error = found.measure(exact.expected.tolist())
    assert error / 2 < alone.tolerance / trial.NOISE < 2 * error


def test_a_model_that_fails_has_the_usual_tolerance(monkeypatch):
    alone = make_alone(make_model())
    monkeypatch.setattr(alone, "ask", lambda rows: 1 / 0)
    assert alone.tolerance == 0.05


def test_answers_that_are_no_numbers_have_the_usual_tolerance(monkeypatch):
    alone = make_alone(make_model())
    monkeypatch.setattr(
        alone, "ask", lambda rows: SimpleNamespace(expected=np.zeros(1), measure=lambda _: float("nan"))
    )
    assert alone.tolerance == 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_errors_are_at_most_the_distance_of_two_numbers(dtype):
    hidden = torch.randn(1, 50, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    moved, rest = disturb_output(torch.Generator().manual_seed(0), None, (), (hidden, "rest"))
    assert rest == "rest" and moved.dtype == dtype
    share = ((moved.float() - hidden.float()) / hidden.float()).abs()
    assert 0.1 < (share > 0).float().mean() < 0.9
    assert share.max() <= torch.finfo(dtype).eps


def test_errors_go_away():
    model = make_model()
    ids = torch.arange(5, 29)[None]
    with torch.no_grad():
        before = model(ids).logits
        with rounding_more(model) as disturbed:
            moved = model(ids).logits
        after = model(ids).logits
    assert disturbed and not torch.equal(moved, before)
    assert torch.equal(after, before)


def test_a_model_without_layers_is_not_disturbed():
    model = SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: SimpleNamespace()), modules=lambda: []
    )
    with rounding_more(model) as disturbed:
        assert not disturbed


def test_generated_tokens_are_compared_with_the_models_tolerance():
    expected = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    found = expected + 0.1 * torch.randn(1000, generator=torch.Generator().manual_seed(1))
    verify(found, expected, 0.15)
    with pytest.raises(Exception, match="logits differ by"):
        verify(found, expected, find_tolerance(torch.bfloat16))
