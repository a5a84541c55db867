"""ModelScope, with a module that has the interface of its client (1.20 and 1.40); the site itself is not asked."""

import hashlib

import pytest
from model_folders import write_model
from services import make_module

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.hub.obtain import obtain_files
from gptalt_eval.planning.weights import check_weights

HF = Model("hf", "", "", "")
ARGS = {"pretrained": "modelscope:org/tiny"}


@pytest.fixture
def site(monkeypatch, tmp_path, cache):
    """What the client does stands in ``asked``; ``files`` are listed, and lie in a folder once downloaded."""
    source = write_model(tmp_path / "made")
    (source / "modeling.py").write_text("boom()")
    target, asked = tmp_path / "copy", []

    class HubApi:
        def get_model_files(self, model_id, revision=None, root=None, recursive=False):
            asked.append(("list", model_id, revision))
            if model_id != "org/tiny":
                raise RuntimeError(f"{model_id} does not exist")
            return [
                {"Path": path.name, "Size": path.stat().st_size, "Type": "blob",
                 "Sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
                for path in source.iterdir()
            ]  # fmt: skip

    def snapshot_download(model_id, revision=None, local_files_only=False, allow_patterns=None):
        if local_files_only:
            if not target.is_dir():
                raise ValueError("nothing is cached")
            return str(target)
        asked.append(("download", sorted(allow_patterns)))
        target.mkdir(exist_ok=True)
        for name in allow_patterns:
            (target / name).write_bytes(b"damaged" if name == site.damaged else (source / name).read_bytes())
        return str(target)

    for name in ("modelscope", "modelscope.hub"):
        make_module(monkeypatch, name)
    make_module(monkeypatch, "modelscope.hub.api", HubApi=HubApi)
    site = make_module(monkeypatch, "modelscope.hub.snapshot_download", snapshot_download=snapshot_download)
    site.asked, site.target, site.damaged = asked, target, ""
    return site


def plan(**args):
    check_weights(HF, make_spec({"model": "hf", "tasks": "piqa", "model_args": {**ARGS, **args}}))


def test_a_model_comes_from_modelscope_without_its_code(site, shown):
    plan()
    found = obtain_files(HF, ARGS, shown.say, shown.note)
    assert found.args == {"pretrained": str(site.target)} and found.commits == {
        "pretrained": "org/tiny@master"
    }
    wanted = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert site.asked[-1] == ("download", wanted)
    site.asked.clear()
    plan()
    assert obtain_files(HF, ARGS, shown.say, shown.note) == found and site.asked == []


def test_a_damaged_file_is_named_and_removed(site, shown):
    site.damaged = "model.safetensors"
    with pytest.raises(GptaltError, match=r"model\.safetensors of 'org/tiny' is damaged"):
        obtain_files(HF, ARGS, shown.say, shown.note)
    assert not (site.target / "model.safetensors").exists()


def test_no_such_model(site):
    with pytest.raises(GptaltError, match="ModelScope does not give 'org/other'"):
        plan(pretrained="modelscope:org/other")


def test_without_the_client(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GptaltError, match="pip install modelscope"):
        plan()
