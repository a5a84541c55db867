"""What a worker decides while it loads a model: the type of weights that nobody names, and what is not there."""

from types import SimpleNamespace

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.arithmetic import Dtype
from gptalt_eval.running.spreading import worker
from gptalt_eval.running.spreading.worker import Job, ModelWorker, check_paths

pytestmark = [pytest.mark.torch]
FAST = Dtype("bfloat16", "it is fast here")


@pytest.fixture
def fetch(monkeypatch):
    """Has a worker fetch a model; ``given`` is what its ``fetch`` returns."""

    def fetch(given, cuda=False, before="", args=None):
        monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
        monkeypatch.setattr(worker, "choose_dtype", lambda: FAST)
        item = SimpleNamespace(fetch=lambda: given)
        plan = SimpleNamespace(model=SimpleNamespace(item=item), model_args=args or {})
        return ModelWorker().fetch(plan, Job(None, (), before))

    return fetch


def test_on_processors_all_workers_choose_alike_whatever_is_fast_where(fetch):
    found, chosen = fetch({"dtype": "bfloat16"})
    assert found == {"dtype": "float32"}
    assert chosen.name == "float32" and "several computers" in chosen.reason


def test_on_a_gpu_it_is_what_the_gpu_computes_fast(fetch):
    assert fetch({"dtype": "float32"}, cuda=True) == ({"dtype": "bfloat16"}, FAST)


@pytest.mark.parametrize("cuda", [True, False])
def test_a_resumed_run_keeps_its_type(fetch, cuda):
    assert fetch({"dtype": "float32"}, cuda, before="float16") == ({"dtype": "float16"}, None)


@pytest.mark.parametrize("before", ["", "float16"])
def test_what_the_user_or_the_files_say_counts(fetch, before):
    assert fetch({"dtype": "bfloat16"}, before=before, args={"dtype": "float32"}) == (
        {"dtype": "bfloat16"},
        None,
    )
    assert fetch({"pretrained": "x"}, before=before) == ({"pretrained": "x"}, None)


@pytest.mark.parametrize("name", ["pretrained", "peft", "tokenizer"])
@pytest.mark.parametrize("value", ["./gone", "/gone", "~/gone", "../gone"])
def test_a_folder_that_is_not_on_the_workers_computer_is_named(tmp_path, monkeypatch, name, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        GptaltError, match=rf"{name}={value}: /.*gone is not on the computer [^\0]*same\s+folders"
    ):
        check_paths({"dtype": "float32", name: value})
    check_paths({name: "org/model", "dtype": "./x"})
    (tmp_path / "gone").mkdir()
    check_paths({name: "./gone"})
