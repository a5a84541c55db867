"""Who computes: in this process, in several, on a cluster; and what is refused, with what to type."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gptalt_eval.commands.cli import main
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.faults import find_faults
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import RunSpec, make_spec
from gptalt_eval.contract.types import Owner
from gptalt_eval.planning.catalog import LM_EVAL
from gptalt_eval.planning.weights import merge_model_args
from gptalt_eval.running.resuming import list_changes
from gptalt_eval.running.spreading import choice
from gptalt_eval.running.spreading.pools import list_places, make_pool
from gptalt_eval.spread import ray

TEXT = Model(name="hf", backend="hf", summary="", licence="", home="")


def make_plan(model=TEXT, spec=None, **args):
    return SimpleNamespace(
        model=SimpleNamespace(item=model, owner=LM_EVAL), model_args=args, spec=spec or RunSpec(), title="m"
    )


@pytest.fixture
def four_gpus(monkeypatch, tmp_path):
    driver = tmp_path / "version"
    driver.touch()
    monkeypatch.setattr(choice, "DRIVER", driver)
    monkeypatch.setattr(choice, "count_devices", lambda kind: {"cuda": 4}[kind])
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        ({}, 4),
        ({"workers": 2}, 2),
        ({"workers": 0}, 0),
        ({"workers": 1}, 1),
        ({"gpus_per_worker": 2}, 2),
        ({"gpus_per_worker": 4}, 0),
        ({"device": "cpu"}, 0),
        ({"device": "cuda:1"}, 0),
        ({"use_cache": "answers"}, 0),
        ({"cluster": "auto"}, None),
    ],
)
def test_one_worker_for_each_gpu_unless_the_request_says_otherwise(four_gpus, settings, workers):
    assert choice.choose_workers(RunSpec(**settings), [make_plan()]) == workers


@pytest.mark.parametrize("name", ["parallelize", "device_map", "tp_plan"])
def test_a_model_over_several_gpus_has_them_all(four_gpus, name):
    assert choice.choose_workers(RunSpec(), [make_plan(**{name: "auto"})]) == 0


def test_a_process_that_was_launched_beside_others_has_no_workers(four_gpus, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert choice.choose_workers(RunSpec(), [make_plan()]) == 0


def test_one_gpu_needs_no_workers(four_gpus, monkeypatch):
    monkeypatch.setattr(choice, "count_devices", lambda kind: 1)
    assert choice.choose_workers(RunSpec(), [make_plan()]) == 0


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_several_gpus_for_a_model_where_there_is_none(four_gpus, monkeypatch, workers):
    monkeypatch.setattr(choice, "count_devices", lambda kind: 0)
    with pytest.raises(GptaltError, match="finds no GPU"):
        choice.choose_workers(RunSpec(gpus_per_worker=2, workers=workers), [make_plan()])


def test_without_a_driver_torch_is_not_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(choice, "DRIVER", tmp_path / "none")
    monkeypatch.setattr(choice, "count_devices", lambda kind: pytest.fail("imports torch"))
    assert choice.choose_workers(RunSpec(), [make_plan()]) == 0


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (replace(TEXT, name="local-completions", backend="local-completions"), "num_concurrent=8"),
        (replace(TEXT, name="vllm", backend="vllm"), "data_parallel_size=2"),
        (replace(TEXT, name="mine", create=dict), "Omit --workers."),
        (replace(TEXT, name="gguf", backend="gguf"), "Omit --workers."),
    ],
)
def test_models_for_which_workers_cannot_answer(four_gpus, model, hint):
    plan = make_plan(model, RunSpec(workers=2))
    assert choice.choose_workers(RunSpec(), [plan]) == 0
    with pytest.raises(GptaltError) as refused:
        choice.check_spread(plan)
    assert hint in refused.value.hint and "--workers" in refused.value.what


def test_workers_know_no_plugin_that_is_registered_by_hand():
    plan = make_plan(spec=RunSpec(workers=2))
    plan.model.owner = Owner("mine")
    with pytest.raises(GptaltError, match="comes with 'mine', which is not installed"):
        choice.check_spread(plan)
    plan.model.owner = Owner("--include_path models")
    choice.check_spread(plan)


def test_places_are_gpus_each_in_an_environment_of_its_own():
    places = list_places(RunSpec(), 3, None, 4)
    assert [(place.name, dict(place.environ)) for place in places] == [
        (f"GPU {number}", {"CUDA_VISIBLE_DEVICES": str(number)}) for number in range(3)
    ]


def test_a_worker_with_several_gpus_and_those_that_are_visible():
    places = list_places(RunSpec(gpus_per_worker=2), 2, "4,5,6,GPU-7", 4)
    assert [place.environ["CUDA_VISIBLE_DEVICES"] for place in places] == ["4,5", "6,GPU-7"]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_places_on_a_computer_without_gpus(device):
    gpus = 2 if device else 0
    assert [place.name for place in list_places(RunSpec(device=device), 2, None, gpus)] == ["CPU 0", "CPU 1"]


@pytest.mark.parametrize(
    ("settings", "workers", "gpus", "hint"),
    [
        ({}, 8, 4, "--workers 4"),
        ({"gpus_per_worker": 2}, 4, 4, "--workers 2"),
        ({"gpus_per_worker": 8}, 1, 4, "Give fewer."),
        ({"gpus_per_worker": 2}, 2, 0, "Omit it."),
    ],
)
def test_more_than_there_are(settings, workers, gpus, hint):
    with pytest.raises(GptaltError) as refused:
        list_places(RunSpec(**settings), workers, None, gpus)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"workers": -1}, "must not be negative"),
        ({"workers": 2, "cluster": "auto"}, "cannot be used together"),
        ({"cluster": "localhost"}, "not the address of a Ray cluster"),
        ({"cluster": "http://a:1"}, "not the address of a Ray cluster"),
        ({"gpus_per_worker": 0}, "at least 1"),
        ({"workers": 2, "use_cache": "x"}, "--use_cache"),
        ({"workers": 2, "device": "cuda:1"}, "--device cuda:1"),
    ],
)
def test_settings_that_contradict_each_other(settings, part):
    spec = RunSpec(model="hf", tasks=("piqa",), **settings)
    assert [part in fault.what for fault in find_faults(spec)] == [True]


@pytest.mark.parametrize("cluster", ["auto", "10.0.0.1:6379", "head:6379"])
def test_addresses_of_a_cluster(cluster):
    assert find_faults(RunSpec(model="hf", tasks=("piqa",), cluster=cluster)) == []


def test_several_gpus_for_a_worker_divide_the_model_among_them():
    assert merge_model_args(TEXT, RunSpec(gpus_per_worker=2)) == {"parallelize": True}
    assert merge_model_args(TEXT, RunSpec(gpus_per_worker=1)) == {}


def test_workers_are_no_difference_between_two_runs():
    one, other = make_spec({"model": "m", "workers": "2"}), make_spec({"model": "m", "cluster": "auto"})
    assert list_changes(vars(one), vars(other)) == []


def test_a_request_for_too_much_ends_before_anything_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        "run --model hf --model_args pretrained=x --tasks piqa --data_dir sample --workers 2 --cluster auto"
    )
    assert main(words.split()) == 2
    assert "--workers and --cluster cannot be used together." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "waits", "said"),
    [
        (None, False, []),
        (1, False, []),
        (1, True, ["Waiting for a computer with 1 GPU to join; on CPUs: leave out --gpus_per_worker."]),
        (2, True, ["Waiting for a computer with 2 GPUs to join; on CPUs: leave out --gpus_per_worker."]),
    ],
)
def test_one_gpu_for_each_worker_is_not_the_same_as_nothing(monkeypatch, asked, waits, said):
    opened, notes = [], []

    def open_cluster(make, jobs, read, address, gpus):
        opened.append((address, gpus))
        return SimpleNamespace(waits_for_gpus=waits)

    monkeypatch.setattr(ray, "RayPool", open_cluster)
    make_pool(RunSpec(cluster="auto", gpus_per_worker=asked), {}, bytes, None, Path("logs"), notes.append)
    assert opened == [("auto", asked)] and notes == said
