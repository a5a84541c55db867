"""What is decided between loading a model and evaluating it."""

from functools import cached_property
from types import SimpleNamespace

import pytest
from rich.console import Console

from gptalt_eval.contract.errors import InterruptedRun
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.arithmetic import Dtype
from gptalt_eval.running import opening
from gptalt_eval.running.api import run
from gptalt_eval.running.lmeval import seams
from gptalt_eval.testing import make_plugin_set


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
    monkeypatch.setattr(opening.arithmetic, "choose_dtype", lambda: chosen)
    notes = []
    files = SimpleNamespace(run=SimpleNamespace(resumed=resumed, model=SimpleNamespace(dtype=before)))
    assert opening.pick_dtype("bfloat16", files, SimpleNamespace(note=notes.append)) == picked
    assert (
        notes
        == [f"The model computes in bfloat16: {chosen.reason}. --model_args dtype=... changes it."] * said
    )


class Stops:
    """An observer that presses Ctrl-C in the task of a name."""

    def __init__(self, task):
        self.task = task

    @hookimpl
    def sample_scored(self, sample):
        if sample.task == self.task:
            raise KeyboardInterrupt


@pytest.mark.torch
@pytest.mark.parametrize(
    ("first", "later"), [("float32", "bfloat16"), ("bfloat16", "float32"), ("auto", "auto")]
)
def test_a_run_that_is_resumed_twice_keeps_its_type(monkeypatch, tmp_path, first, later):
    import tiny

    weights = tiny.save_model("llama", tmp_path / "weights")

    def evaluate(dtype, stop_at, resume=True):
        monkeypatch.setattr(opening.arithmetic, "choose_dtype", lambda: Dtype(dtype, "it is faster"))
        made = {"pretrained": str(weights), "dtype": dtype}
        model = Model("little", "a tiny model", "Apache-2.0", "here", fetch=lambda: made)
        spec = make_spec(
            {
                "model": "little", "tasks": "piqa,arc_easy,sciq", "data_dir": "sample", "limit": 2,
                "output_path": str(tmp_path / "out"), "device": "cpu",
            }
        )  # fmt: skip
        return run(spec, make_plugin_set(Stops(stop_at), models=[model]), Console(quiet=True), resume).records

    with pytest.raises(InterruptedRun):
        evaluate(first, "arc_easy", resume=False)
    with pytest.raises(InterruptedRun):
        evaluate(later, "sciq")
    [record] = evaluate(later, "")
    assert record.is_complete
    assert record.run.model.dtype == f"torch.{'float32' if first == 'auto' else first}"


def test_a_tokenizer_that_nothing_used_is_not_loaded_to_be_described():
    class Lazy:
        @cached_property
        def tokenizer(self):
            loaded.append(1)
            return SimpleNamespace(
                pad_token="p", pad_token_id=1, eos_token="e", eos_token_id=2, bos_token="b", bos_token_id=3
            )

    loaded, lm, described = [], Lazy(), {}
    seams.add_tokenizer(described, lm)
    assert (loaded, described) == ([], {})
    assert lm.tokenizer  # as when a chat template is applied
    seams.add_tokenizer(described, lm)
    assert loaded == [1] and described["tokenizer_eos_token"] == ["e", "2"]
