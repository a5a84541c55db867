"""What a model class would complain about after minutes, said at once."""

import importlib.util
import inspect
from pathlib import Path

import pytest
from model_folders import write_model
from read_backends import read_settings

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning import backends
from gptalt_eval.planning.backends import find_extra, find_near, load_backends, load_loading_arguments
from gptalt_eval.planning.loading import (
    DTYPES,
    find_bits_faults,
    find_device_faults,
    find_dtype_faults,
    find_gptq_faults,
    find_quantization_faults,
)
from gptalt_eval.planning.weights import check_weights


def complain(name="hf", settings=(), **args):
    model = Model(name, "", "", "", backend=name)
    return [str(fault) for fault in backends.check_backend(model, args, settings)]


# ------------------------------------------------------------------------------- names of arguments


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dtyp", "dtype"), ("Dtype", "dtype"), ("pretraned", "pretrained"), ("revison", "revision"), ("tokeniser", "tokenizer"),
        ("trust_remote_cod", "trust_remote_code"), ("parallelise", "parallelize"), ("attn_implementaion", "attn_implementation"),
        ("maxlength", "max_length"), ("max_len", "max_length"), ("devicemap", "device_map"), ("pefft", "peft"),
        ("batchsize", "batch_size"), ("quantisation_config", "quantization_config"),
    ],
)  # fmt: skip
def test_a_misspelt_argument(typed, meant):
    [text] = complain(**{typed: "x"})
    assert text.startswith(
        f"--model_args {typed}=...: 'hf' has no argument '{typed}'.\nDid you mean '{meant}'"
    )


def test_no_setting_of_any_model_is_taken_for_a_misspelling():
    """transformers takes every field of a configuration as an argument too: sliding_window=64."""
    folder = Path(importlib.util.find_spec("transformers").submodule_search_locations[0])
    settings = read_settings(folder)
    assert len(settings) > 2000
    assert complain(**dict.fromkeys(settings, 1)) == []


def test_the_settings_of_the_model_at_hand_are_arguments_too():
    assert len(complain(dtyp=1)) == 1
    assert complain(dtyp=1, settings=["dtyp"]) == []


def test_the_arguments_are_those_of_the_class_itself():
    from lm_eval.models.huggingface import HFLM

    assert set(load_backends()["hf"].arguments) == set(inspect.signature(HFLM).parameters) - {"kwargs"}
    assert {"attn_implementation", "device_map", "quantization_config"} <= set(load_loading_arguments()[0])


def test_other_classes_have_arguments_of_their_own(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    [text] = complain("openai-chat-completions", model="x", base_ulr="y")
    assert "Did you mean 'base_url'" in text
    [text] = complain("vllm", pretrained="x", tensor_parallel_sise=2)
    assert "'tensor_parallel_size'" in text
    assert complain("vllm", pretrained="x", enforce_eager=True) == [], "vLLM itself knows it"


def test_only_clear_cases_are_near():
    known = load_backends()["hf"].arguments
    assert find_near("load_in_4bit", known) == [] and find_near("", known) == []
    assert find_near("patch_size", known) == [], "not batch_size"


# ------------------------------------------------------------------------------- packages and keys


def test_a_package_that_is_not_installed(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("tenacity", "vllm") else real(name)
    )
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert complain("openai-chat-completions", model="x") == [
        "--model openai-chat-completions needs packages that are not installed: tenacity.\n"
        "Type: pip install 'lm-eval[api]'"
    ]
    [text] = complain("vllm", pretrained="x")
    assert "not installed: vllm" in text and "-c constraints-vllm.txt '.[vllm]'" in text
    assert complain("hf", pretrained="x") == []


def test_a_key_that_is_not_set(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name, variable in (
        ("openai-completions", "OPENAI_API_KEY"),
        ("anthropic-chat", "ANTHROPIC_API_KEY"),
        ("textsynth", "TEXTSYNTH_API_SECRET_KEY"),
    ):
        monkeypatch.delenv(variable, raising=False)
        [text] = complain(name, model="x", engine="x")
        assert f"needs a key in the environment variable {variable}" in text
    assert complain("local-completions", model="x") == [], "a server of one's own needs none"


def test_extras():
    assert find_extra(["tenacity", "aiohttp"]) == "api"
    assert find_extra(["ibm_watsonx_ai"]) == "ibm-watsonx-ai"
    assert find_extra(["no_such_package"]) == ""


# ------------------------------------------------------------------------------- numbers and devices


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("flaot16", "'float16'"), ("bf16", "'bfloat16'"), ("fp32", "'float32'"), ("torch.bfloat", "'bfloat16'"),
        ("int8", "Available: auto"), (16, "Available: auto"), ("", "Available: auto"), ("Float16", "'float16'"),
    ],
)  # fmt: skip
def test_a_type_that_does_not_exist(value, hint):
    [fault] = find_dtype_faults({"dtype": value})
    assert hint in str(fault)


def test_the_types_are_those_that_lm_eval_finds_in_torch():
    import torch
    from lm_eval.models.utils_hf import get_dtype

    for name in set(DTYPES) - {"auto"}:
        assert get_dtype(name).is_floating_point and isinstance(get_dtype(name), torch.dtype)
        assert list(find_dtype_faults({"dtype": name, "softmax_dtype": name})) == []


@pytest.fixture
def gpus(monkeypatch):
    from gptalt_eval.planning import loading

    return lambda **found: monkeypatch.setattr(loading, "count_devices", lambda kind: found.get(kind, 0))


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cuda", None), ("cuda:0", None), ("cuda:1", None), ("cpu", None), (None, None),
        ("cuda:9", "there are only cuda:0 to cuda:1.\nGive cuda:1."), ("mps", "torch finds no such device"),
        ("gpu", "Did you mean 'cuda'"), ("cudda:0", "Did you mean 'cuda"), ("cuda:x", "Did you mean 'cuda"),
        ("xpu", "torch finds no such device"), ("tpu", "there is no such device"), ("abacus", "Give cpu, cuda, cuda:0 or mps"),
    ],
)  # fmt: skip
def test_devices(gpus, device, expected):
    gpus(cuda=2, cpu=1)
    found = [str(fault) for fault in find_device_faults(device)]
    assert found == [] if expected is None else expected in found[0]


def test_devices_are_counted_as_torch_counts_them():
    import torch

    from gptalt_eval.machine.environment import count_devices

    assert count_devices("cpu") == 1
    assert count_devices("cuda") == torch.cuda.device_count()
    assert count_devices("mps") == int(torch.backends.mps.is_available())
    assert count_devices("abacus") == 0


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("gptq", "optimum"),
        ("awq", "gptqmodel"),
        ("aqlm", "aqlm"),
        ("compressed-tensors", "compressed-tensors"),
    ],
)
def test_a_quantized_model_without_its_package(method, package):
    if importlib.util.find_spec(package.replace("-", "_")):
        pytest.skip(f"{package} is installed here")
    [fault] = find_quantization_faults({"quantization_config": {"quant_method": method, "bits": 4}})
    assert (
        f"quantized with {method}" in str(fault)
        and "Type: pip install" in fault.hint
        and package in fault.hint
    )


def test_other_quantizations():
    [fault] = find_quantization_faults({"quantization_config": {"quant_method": "gtpq"}})
    assert fault.hint == "Did you mean 'gptq'?"
    [fault] = find_quantization_faults({"quantization_config": {"bits": 4}})
    assert "quant_method" in str(fault)
    assert list(find_quantization_faults({"quantization_config": None})) == []
    assert list(find_quantization_faults({})) == []


# ------------------------------------------------------------------------------- all of them


def test_all_problems_of_a_model_at_once(tmp_path, gpus):
    gpus(cpu=1)
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    spec = make_spec(
        {
            "model": str(folder),
            "tasks": "piqa",
            "device": "cuda",
            "model_args": {"dtyp": "auto", "dtype": "fp16"},
        }
    )
    model = Model(str(folder), "", "", "", args={"pretrained": str(folder)})
    with pytest.raises(GptaltError) as caught:
        check_weights(model, spec)
    for words in ("'dtyp'", "dtype=fp16", "--device cuda", "no weights", "no vocabulary"):
        assert words in str(caught.value)
    assert str(caught.value).startswith("5 problems found")


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_quantizing_while_loading_needs_its_package(monkeypatch, bits):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [fault] = find_bits_faults({bits: True}, {})
    assert "needs the package bitsandbytes" in str(fault) and "pip install bitsandbytes" in fault.hint
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert list(find_bits_faults({bits: True}, {})) == list(find_bits_faults({bits: False}, {})) == []
    [fault] = find_bits_faults({bits: True}, {"quantization_config": {"bits": 4}})
    assert "are quantized already" in str(fault)
    [fault] = find_bits_faults({"load_in_4bit": True, "load_in_8bit": True}, {})
    assert "exclude each other" in str(fault)


@pytest.mark.parametrize(("setting", "package"), [("autogptq", "auto-gptq"), ("gptqmodel", "gptqmodel")])
def test_loading_with_gptq_needs_its_package(tmp_path, monkeypatch, setting, package):
    args = {"pretrained": str(write_model(tmp_path / "model")), setting: True}
    model, spec = Model("hf", "", "", ""), make_spec({"model": "hf", "tasks": "piqa", "model_args": args})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GptaltError, match=f"--model_args {setting} needs the package {package}") as caught:
        check_weights(model, spec)
    assert f"Type: pip install {package}" in f"{caught.value}{caught.value.hint}"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert list(find_gptq_faults({setting: True})) == list(find_gptq_faults({setting: False})) == []
    assert "exclude each other" in str(next(find_gptq_faults({"autogptq": True, "gptqmodel": True})))


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_engines_are_installed_with_their_constraints(engine):
    assert backends.name_wanted(["tqdm", engine]) == f"-c constraints-{engine}.txt '.[{engine}]'"
