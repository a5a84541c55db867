"""What is decided between loading a model and evaluating it."""

from types import SimpleNamespace

import pytest

from gptalt_eval.machine.arithmetic import Dtype
from gptalt_eval.running import cells


@pytest.mark.parametrize(
    ("resumed", "before", "picked", "said"),
    [
        ((), "", "bfloat16", True),
        (("2026-11-27T03:00:00Z",), "torch.float32", "float32", False),  # as when the run was started
        (("2026-11-27T03:00:00Z",), "", "bfloat16", True),  # interrupted before the model was loaded
    ],
)
def test_a_resumed_run_keeps_its_type_whatever_is_faster_now(monkeypatch, resumed, before, picked, said):
    chosen = Dtype("bfloat16", "one layer computes 1 tokens/s in float32, 2 in bfloat16")
    monkeypatch.setattr(cells.arithmetic, "choose_dtype", lambda: chosen)
    notes = []
    files = SimpleNamespace(run=SimpleNamespace(resumed=resumed, model=SimpleNamespace(dtype=before)))
    assert cells.pick_dtype("bfloat16", files, SimpleNamespace(note=notes.append)) == picked
    assert (
        notes == [f"The weights are in bfloat16: {chosen.reason}. --model_args dtype=... changes it."] * said
    )
