"""Every loaded plugin is in run.json with the hash of its files, whatever it contributes."""

import json
import sys
from importlib.metadata import distribution

import pytest
from distributions import write_distribution
from rich.console import Console

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.errors import InterruptedRun
from gptalt_eval.contract.plugins import ALLOW_LIST
from gptalt_eval.contract.provenance import describe_plugins
from gptalt_eval.contract.run import RunPlugin
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import Owner
from gptalt_eval.machine.installed import hash_installation
from gptalt_eval.planning import builtin
from gptalt_eval.results.report import write_report
from gptalt_eval.running.api import run
from gptalt_eval.testing import GivenModels, make_scripted_model

START = "from gptalt_eval import Command, hookimpl\n@hookimpl\n"
KINDS = {
    "watcher": START + "def sample_scored(sample): pass\n",
    "teller": START + "def register_commands(): return [Command('tell', 'x', lambda a, p: 0)]\n",
    "nothing": "",
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def install(site, name, source, version="1.0"):
    distribution, module = f"gptalt-eval-plugin-{name}", f"gptalt_eval_plugin_{name}"
    write_distribution(site, distribution, {name: module}, {f"{module}.py": source}, version)


def answer(prompt, continuation):
    return 0.0


def interrupt(prompt, continuation):
    raise KeyboardInterrupt


def load(interrupts=False):
    plugins = load_plugins(builtin, environ={ALLOW_LIST: ",".join(KINDS)})
    model = make_scripted_model(interrupt if interrupts else answer)
    plugins.register(GivenModels([model]), Owner("by-hand"))
    return plugins


def evaluate(folder, plugins, resume=False):
    spec = make_spec({
        "model": "scripted", "tasks": "piqa,arc_easy", "data_dir": "sample", "limit": 2, "output_path": str(folder)
    })  # fmt: skip
    return run(spec, plugins, Console(quiet=True), resume).records[0]


def test_every_loaded_plugin_is_recorded(site, tmp_path):
    for name, source in KINDS.items():
        install(site, name, source)
    record = evaluate(tmp_path / "out", load())
    written = json.loads((record.folder / "run.json").read_text(encoding="utf-8"))["plugins"]
    assert {plugin["name"] for plugin in written} == {*KINDS, "by-hand"}
    for name in KINDS:
        [plugin] = [plugin for plugin in written if plugin["name"] == name]
        digest = hash_installation(distribution(f"gptalt-eval-plugin-{name}"), f"gptalt_eval_plugin_{name}")
        assert plugin == {
            "name": name, "distribution": f"gptalt-eval-plugin-{name}", "version": "1.0", "sha256": digest
        }  # fmt: skip
    assert {"name": "by-hand", "distribution": "", "version": "", "sha256": ""} in written
    assert len({plugin["sha256"] for plugin in written}) == 4
    page = write_report([record], tmp_path / "report.html", load()).read_text(encoding="utf-8")
    assert f"<dt>Plugins</dt><dd>{', '.join(map(str, record.run.plugins))}</dd>" in page


def test_the_core_is_not_a_plugin():
    assert describe_plugins(load_plugins(builtin, environ={ALLOW_LIST: ""}).owners.values()) == ()


def test_what_a_resumed_run_had_before_is_said(site, tmp_path):
    install(site, "watcher", KINDS["watcher"])
    with pytest.raises(InterruptedRun):
        evaluate(tmp_path / "out", load(interrupts=True))
    [before, _] = describe_plugins(load().owners.values())
    (site / "gptalt_eval_plugin_watcher.py").write_text(KINDS["watcher"] + "# another\n", encoding="utf-8")
    record = evaluate(tmp_path / "out", load(), resume=True)
    assert record.run.earlier_plugins == (before,)
    assert record.run.plugins[0].sha256 != before.sha256
    said = f"A part of this run was computed with gptalt-eval-plugin-watcher 1.0 ({before.sha256[:12]})."
    assert said in record.notes


def test_the_same_plugins_need_no_word(site, tmp_path):
    install(site, "watcher", KINDS["watcher"])
    with pytest.raises(InterruptedRun):
        evaluate(tmp_path / "out", load(interrupts=True))
    record = evaluate(tmp_path / "out", load(), resume=True)
    assert record.run.earlier_plugins == () and "computed with" not in " ".join(record.notes)


def test_how_a_plugin_is_named_to_people():
    assert str(RunPlugin("sky", "gptalt-eval-plugin-sky", "1.0", "0123456789abcdef")) == (
        "gptalt-eval-plugin-sky 1.0 (0123456789ab)"
    )
    assert str(RunPlugin("by-hand")) == "by-hand (not installed)"
