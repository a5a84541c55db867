"""A model folder that someone hands over runs no code without consent, and says what it would run."""

import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set

pytestmark = pytest.mark.torch

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({mark!r}).write_text("ran")

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig

class OwnTokenizer(PreTrainedTokenizerFast):
    pass

def generate(model, *words, **settings):
    return model.generate(*words, **settings)
"""
MODEL = {"auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
TOKENIZER = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer"] * 2}}
BREAKOUT = "{{ cycler.__init__.__globals__.os.system('touch %s') }}{{ messages[0].content }}"


@dataclass(frozen=True)
class Hostile:
    """A model folder, and the file that exists after its code ran."""

    folder: Path
    mark: Path

    def edit(self, name, **settings):
        file = self.folder / name
        known = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(known | settings))


class Pickled:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "ran")


def add_generate(model):
    (model.folder / "custom_generate").mkdir()
    shutil.copy(model.folder / "own.py", model.folder / "custom_generate" / "generate.py")


def pickle_weights(model):
    import torch

    (model.folder / "model.safetensors").unlink()
    torch.save({"weight": Pickled(model.mark)}, model.folder / "pytorch_model.bin")


def add_adapter(model):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model.folder), LoraConfig(task_type="CAUSAL_LM")
    )
    adapted.save_pretrained(model.folder / "adapter")
    (model.folder / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({"weight": Pickled(model.mark)}, model.folder / "adapter" / "adapter_model.bin")


# what is done to the folder, and what is said without consent ("": it is loaded, and the code is left alone)
ATTACKS = {
    "a model of its own": (lambda model: model.edit("config.json", model_type="own", **MODEL), "own.py in"),
    "a known model with code": (lambda model: model.edit("config.json", **MODEL), ""),
    "a config that trusts itself": (lambda model: model.edit("config.json", model_type="own", trust_remote_code=True, **MODEL), "own.py in"),
    "a tokenizer of its own": (lambda model: model.edit("tokenizer_config.json", **TOKENIZER), "own.py in"),
    "a tokenizer that trusts itself": (lambda model: model.edit("tokenizer_config.json", trust_remote_code=True, **TOKENIZER), "own.py in"),
    "a way to generate": (add_generate, ""),
}  # fmt: skip
# what transformers and torch refuse whatever is allowed
NEVER = {
    "settings that name a way to generate": (lambda model: model.edit("generation_config.json", custom_generate=str(model.folder), trust_remote_code=True), ""),
    "a pickle": (pickle_weights, "a pickle that would run code when it is read"),
    "a pickled adapter": (add_adapter, "a pickle that would run code when it is read"),
    "a chat template": (lambda model: model.edit("tokenizer_config.json", chat_template=BREAKOUT % model.mark), "chat template cannot be applied: access to attribute '__init__'"),
    "a kernel": (lambda model: model.edit("config.json", attn_implementation="someone/kernel"), "names an attention kernel from the hub, which is code"),
}  # fmt: skip


@pytest.fixture
def evaluate(tmp_path):
    """Runs a model after an attack on its folder; returns whether its code ran, and what failed."""
    import tiny

    def evaluate(attack, **settings):
        shutil.rmtree(tmp_path / "model", ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        model = Hostile(tmp_path / "model", tmp_path / "mark")
        tiny.save_model("llama", model.folder)
        (model.folder / "own.py").write_text(CODE.format(mark=str(model.mark)))
        attack(model)
        adapter = model.folder / "adapter"
        args = {"pretrained": str(model.folder)} | ({"peft": str(adapter)} if adapter.is_dir() else {})
        given = {
            "model": "hf", "model_args": args, "tasks": "triviaqa,arc_easy", "limit": 1, "device": "cpu", "data_dir": "sample",
            "gen_kwargs": {"max_gen_toks": 2}, "output_path": str(tmp_path / "out"), **settings,
        }  # fmt: skip
        failure = ""
        try:
            [record] = run(make_spec(given), make_plugin_set(), Console(file=io.StringIO())).records
            assert record.is_complete, record.run.failed
        except GptaltError as error:
            failure = f"{error} {error.hint}"
        return model.mark.exists(), failure

    return evaluate


@pytest.mark.parametrize("name", ATTACKS)
def test_a_models_own_code_runs_with_consent_only(evaluate, name):
    attack, said = ATTACKS[name]
    ran, failure = evaluate(attack)
    assert not ran
    assert (said in failure and "--trust_remote_code" in failure) if said else not failure, failure
    ran, failure = evaluate(attack, trust_remote_code=True)
    assert ran and not failure


@pytest.mark.parametrize("name", NEVER)
@pytest.mark.parametrize("settings", [{}, {"trust_remote_code": True}], ids=["", "trusted"])
def test_what_only_looks_like_data_never_runs(evaluate, name, settings):
    attack, said = NEVER[name]
    if name == "a pickled adapter":
        pytest.importorskip("peft")
    chat = {"apply_chat_template": True} if name == "a chat template" else {}
    ran, failure = evaluate(attack, **settings, **chat)
    assert not ran
    assert said in failure if said else not failure, failure
