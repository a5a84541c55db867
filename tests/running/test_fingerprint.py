"""What makes a model: a change of any part of it is seen, and a copy of it is the same model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.running.api import run
from gptalt_eval.running.lmeval.fingerprint import (
    clean,
    describe_parts,
    find_tokenizer,
    hash_parts,
    sum_bytes,
)
from gptalt_eval.testing import make_plugin_set, make_scripted_lm

torch_only = pytest.mark.torch


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    import tiny

    return tiny.save_model("llama", tmp_path_factory.mktemp("models") / "original")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "model")


def describe(folder, **args):
    from lm_eval.models.huggingface import HFLM

    given = {"pretrained": str(folder), **args}
    return describe_parts(HFLM(**given, device="cpu"), "", given)


def list_changed(before, after):
    return sorted(part for part in before if before[part] != after[part])


def edit(file, **changes):
    settings = json.loads(file.read_text())
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = settings
        for key in outer:
            place = place[key]
        place[last] = value
    file.write_text(json.dumps(settings))


CHANGES = [
    ("config.json", {"rope_parameters__rope_theta": 500.0}, ["configuration", "weights"]),  # its angles are a buffer
    ("config.json", {"rms_norm_eps": 0.1}, ["configuration"]),
    ("config.json", {"hidden_act": "relu"}, ["configuration"]),
    ("config.json", {"max_position_embeddings": 32}, ["configuration"]),
    ("config.json", {"dtype": "bfloat16"}, ["configuration", "weights"]),
    ("generation_config.json", {"repetition_penalty": 1.3}, ["generation settings"]),
    ("generation_config.json", {"eos_token_id": [1, 2]}, ["generation settings"]),
    ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, ["tokenizer"]),
    ("tokenizer.json", {"pre_tokenizer__add_prefix_space": True}, ["tokenizer"]),
    ("tokenizer.json", {"model__ignore_merges": True}, ["tokenizer"]),
    ("tokenizer_config.json", {"pad_token": "</s>"}, ["tokenizer"]),
    ("tokenizer_config.json", {"model_max_length": 16}, ["tokenizer"]),
    ("tokenizer_config.json", {"chat_template": "{{ messages[0].content }}"}, ["chat template"]),
]  # fmt: skip


@torch_only
@pytest.mark.parametrize(
    ("file", "changes", "parts"), CHANGES, ids=[f"{c[0]}-{next(iter(c[1]))}" for c in CHANGES]
)
def test_a_changed_file_is_a_changed_model(original, folder, file, changes, parts):
    edit(folder / file, **changes)
    assert list_changed(describe(original), describe(folder)) == parts


@torch_only
def test_a_copy_elsewhere_is_the_same_model(original, folder):
    assert describe(original) == describe(folder)


@torch_only
@pytest.mark.parametrize("name", ["model.norm.weight", "lm_head.weight"])
@pytest.mark.parametrize("change", ["one value", "two values change places"])
def test_every_single_weight_counts(original, folder, name, change):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    flat = weights[name].view(-1)
    if change == "one value":
        flat[-3] += 1e-6
    else:
        flat[0], flat[-1] = 0.25, 0.5
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        original = shutil.copytree(folder, folder.parent / "first")
        flat[0], flat[-1] = 0.5, 0.25
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert list_changed(describe(original), describe(folder)) == ["weights"]


@torch_only
@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ({"add_bos_token": True}, ["arguments", "tokenizer"]),
        ({"max_length": 20}, ["arguments"]),
        ({"think_end_token": "</think>"}, ["arguments"]),
        ({"dtype": "float16"}, ["arguments", "configuration", "weights"]),
        ({"revision": "main"}, []),
    ],
)
def test_arguments_count_except_for_places(original, args, parts):
    assert list_changed(describe(original), describe(original, **args)) == parts


@torch_only
def test_an_adapter_counts_with_its_settings(original, tmp_path):
    import tiny
    from peft import LoraConfig, get_peft_model

    for name, alpha in (("one", 8), ("two", 16)):
        import copy

        import torch

        torch.manual_seed(0)
        settings = LoraConfig(r=2, lora_alpha=alpha, target_modules=["q_proj", "v_proj"])
        get_peft_model(copy.deepcopy(tiny.make_model("llama")), settings).save_pretrained(tmp_path / name)
    plain, one, two = (
        describe(original),
        *(describe(original, peft=str(tmp_path / x)) for x in ("one", "two")),
    )
    assert list_changed(one, two) == ["adapter"]
    assert {"adapter", "weights"} <= set(list_changed(plain, one))
    script = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from test_fingerprint import describe\n"
        "print(json.dumps(describe(sys.argv[2], peft=sys.argv[3])))"
    )
    path = [str(folder) for folder in Path(__file__).parents[:2]]
    words = [sys.executable, "-c", script, json.dumps(path), str(original), str(tmp_path / "one")]
    found = subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "7"}
    )
    assert json.loads(found.stdout.splitlines()[-1]) == one, "the same in every process"


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
from .helper import SCALE

class MyConfig(LlamaConfig):
    model_type = "mine"

class MyModel(LlamaForCausalLM):
    config_class = MyConfig

    def forward(self, *args, **named):
        output = super().forward(*args, **named)
        output.logits = output.logits * SCALE
        return output
"""


@torch_only
def test_remote_code_counts_with_the_files_that_it_imports(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    (folder / "mine.py").write_text(CODE)
    auto = {"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"}
    edit(folder / "config.json", model_type="mine", auto_map=auto)
    found = []
    for scale in (1, 2):
        (folder / "helper.py").write_text(f"SCALE = {scale}\n")
        found.append(describe(folder, trust_remote_code=True))
    assert list_changed(*found) == ["code"]


@torch_only
def test_checksums_see_every_byte_whatever_the_type(monkeypatch):
    import torch

    for dtype in (torch.float32, torch.bfloat16, torch.int8, torch.bool, torch.float64):
        made = torch.arange(300_001).remainder(2).to(dtype)
        first = sum_bytes(made)
        assert sum_bytes(made.clone()) == first
        for place in (0, 131_072, 300_000):
            changed = made.clone()
            changed[place] = 1 - int(made[place])
            assert sum_bytes(changed) != first, (dtype, place)
    assert sum_bytes(torch.tensor(1.5)) != sum_bytes(torch.tensor(2.5))
    turned = torch.arange(12).view(3, 4).T
    assert sum_bytes(turned) == sum_bytes(turned.contiguous()) != sum_bytes(torch.arange(12).view(4, 3))
    assert sum_bytes(torch.empty(3, device="meta")) == []
    assert sum_bytes(torch.tensor(list(b"123456789"), dtype=torch.uint8)) == 0xCBF43926, (
        "CRC-32's check value"
    )
    monkeypatch.setattr("gptalt_eval.running.lmeval.fingerprint.BLOCK", 4)
    assert sum_bytes(torch.tensor(list(b"123456789"), dtype=torch.uint8)) == 0xCBF43926


def test_what_runs_elsewhere_is_known_by_its_arguments_and_the_files_they_name(tmp_path):
    lm = make_scripted_lm()
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    args = {"base_url": "http://one", "pretrained": str(weights)}
    before = describe_parts(lm, "", args)
    assert before == describe_parts(make_scripted_lm(), "", dict(args))
    assert list_changed(before, describe_parts(lm, "", args | {"base_url": "http://two"})) == ["arguments"]
    assert list_changed(before, describe_parts(lm, "other", args)) == ["backend"]
    (weights / "config.json").write_text("[]")
    assert list_changed(before, describe_parts(lm, "", args)) == ["arguments"]


def test_settings_are_the_same_in_every_process():
    thing = SimpleNamespace
    assert clean({"b": {1, 2}, "a": (object(), None, 1.5), "_name_or_path": "/x", 3: thing}) == {
        "b": ["1", "2"], "a": ["object", None, 1.5], "3": str(thing),
    }  # fmt: skip


def test_the_fingerprint_is_that_of_all_parts():
    assert (
        hash_parts({"a": "1", "b": "2"})
        == hash_parts({"b": "2", "a": "1"})
        != hash_parts({"a": "2", "b": "1"})
    )
    assert len(hash_parts({})) == 64


# ------------------------------------------------------------------ what stands on it


def evaluate(folder, tmp_path, resume=False, **settings):
    given = {"model": "hf", "tasks": "piqa,arc_easy", "data_dir": "sample", "limit": 2, "device": "cpu"}
    given |= {"model_args": {"pretrained": str(folder)}, "output_path": str(tmp_path / "out"), **settings}
    return run(make_spec(given), make_plugin_set(), Console(quiet=True), resume).records[0]


@torch_only
def test_answers_and_runs_of_another_configuration_are_not_used(folder, tmp_path):
    kept = {"use_cache": str(tmp_path / "kept"), "log_samples": True}
    first = evaluate(folder, tmp_path, **kept)
    assert first.run.model.parts.keys() >= {"weights", "configuration", "tokenizer", "chat template", "code"}
    file = first.folder / "run.json"
    saved = json.loads(file.read_text())
    file.write_text(json.dumps(saved | {"status": "interrupted", "done": ["piqa"], "missing": ["arc_easy"]}))
    edit(folder / "config.json", rms_norm_eps=0.5)
    with pytest.raises(
        GptaltError, match=r"The model 'hf' has changed since .* was started: configuration\."
    ):
        evaluate(folder, tmp_path, resume=True, **kept)
    again = evaluate(folder, tmp_path / "again", **kept)
    assert len(list(tmp_path.glob("kept_*.jsonl"))) == 2
    assert [row["resps"] for row in again.read_samples(0, "piqa")] != [
        row["resps"] for row in first.read_samples(0, "piqa")
    ]


def test_no_tokenizer_is_downloaded_to_describe_a_model_without_one(monkeypatch, tmp_path):
    """lm-eval's ``dummy`` would load a tokenizer of the hub if anyone looked at its attribute."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    from lm_eval.models.dummy import DummyLM

    assert find_tokenizer(DummyLM()) is None
    lm = DummyLM()
    lm.tokenizer = "loaded before"
    assert find_tokenizer(lm) == "loaded before"
