"""What is wrong with a request for vLLM or SGLang is said before anything is loaded."""

import importlib.metadata
import importlib.util

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.planning import engines
from gptalt_eval.planning.engines import find_engine_faults


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Both engines, of releases for GPUs, and two GPUs."""
    real, version = importlib.util.find_spec, importlib.metadata.version
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name in engines.GPUS else real(name)
    )
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.0" if name in engines.GPUS else version(name)
    )
    monkeypatch.setattr(engines, "count_devices", lambda kind: 2)


def complain(engine, device=None, **args):
    return [str(fault) for fault in find_engine_faults(engine, args, device)]


@pytest.mark.parametrize(
    ("engine", "args"),
    [
        ("vllm", {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5, "max_model_len": 2048}),
        ("sglang", {"tp_size": 2, "mem_fraction_static": 1, "context_length": 2048}),
        ("vllm", {"tensor_parallel_size": 1, "data_parallel_size": 2, "max_model_len": None}),
        ("vllm", {}),
    ],
)
def test_right_arguments(engine, args):
    assert complain(engine, **args) == []


@pytest.mark.parametrize("value", [0, -1, 1.5, "two", True])
def test_numbers_that_are_none(value):
    [text] = complain("vllm", tensor_parallel_size=value)
    assert text.startswith(f"--model_args tensor_parallel_size={value}: it must be a whole number above 0.")
    [text] = complain("sglang", max_model_len=value)
    assert text.startswith(f"--model_args max_model_len={value}:")


@pytest.mark.parametrize("value", [0, 1.2, "half", True, -0.5])
def test_shares_of_memory_that_are_none(value):
    [text] = complain("vllm", gpu_memory_utilization=value)
    assert "gpu_memory_utilization" in text and "up to 1" in text
    [text] = complain("sglang", mem_fraction_static=value)
    assert "mem_fraction_static" in text


def test_two_names_of_one_length():
    [text] = complain("sglang", max_model_len=10, context_length=20)
    assert text == "max_model_len and context_length in --model_args are the same.\nGive one of them."


def test_too_few_gpus():
    [text] = complain("vllm", tensor_parallel_size=4)
    assert text == (
        "--model_args tensor_parallel_size=4: that needs 4 GPUs, and there are 2.\nGive tensor_parallel_size=2."
    )
    [text] = complain("sglang", tp_size=2, dp_size=2)
    assert text == "--model_args tp_size=2,dp_size=2: that needs 4 GPUs, and there are 2."


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(engines, "count_devices", lambda kind: 0)
    [text] = complain("vllm")
    assert text.startswith("--model vllm needs a GPU, and torch finds none") and "Use --model hf" in text
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.33.0+cpu")
    assert complain("vllm") == [], "a build for processors"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert complain("vllm") == [], "that it is not installed is said elsewhere"


def test_several_copies_of_vllm_need_ray(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else real(name))
    [text] = complain("vllm", data_parallel_size=2)
    assert "need Ray" in text and "-c constraints-vllm.txt '.[vllm,ray]'" in text
    assert complain("sglang", dp_size=2) == complain("vllm") == []


def test_a_device_is_chosen_otherwise():
    [text] = complain("vllm", device="cuda:1")
    assert text.startswith("--device cuda:1:") and "export CUDA_VISIBLE_DEVICES" in text


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_all_is_said_at_once(engine, capsys, tmp_path):
    command = ["--model", engine, "--model_args", "dtype=fp16,max_model_len=x", "--tasks", "piqa"]
    assert cli.main([*command, "--data_dir", "sample", "--output_path", str(tmp_path)]) == 2
    text = capsys.readouterr().err
    assert "needs weights to load" in text and "Did you mean 'float16'?" in text and "max_model_len=x" in text
    assert "Traceback" not in text


def test_log_likelihoods_of_a_model_that_thinks(capsys, tmp_path):
    args = f"pretrained={tmp_path},enable_thinking=True,think_end_token=</think>"
    command = ["--model", "vllm", "--model_args", args, "--tasks", "piqa", "--data_dir", "sample"]
    assert cli.main([*command, "--output_path", str(tmp_path)]) == 2
    assert "these tasks compare options: piqa" in capsys.readouterr().err
