"""docs/plugins.md says of every hook what hookspecs.py says, and what it shows runs."""

from __future__ import annotations

import inspect
import re
import sys
import types
from pathlib import Path

import pytest

import gptalt_eval
from gptalt_eval import Owner
from gptalt_eval.commands import cli
from gptalt_eval.contract import hookspecs
from gptalt_eval.contract.plugins import Plugins
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.testing import make_plugin_set

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
HOOKS = {hook.name: hook.spec for hook in hookspecs.HOOKS}
DOCUMENTED = dict(re.findall(r"^### `(\w+)(\(.*)`$", PAGE, re.MULTILINE))
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = [block for block in BLOCKS if "@hookimpl" in block]


def list_hooks(source: str) -> set[str]:
    return set(re.findall(r"@hookimpl(?:\(.*\))?\s+def (\w+)", source))


def make_module(source: str, folder: Path, name: str) -> types.ModuleType:
    """A block of the page as the module it would be in a package."""
    module = types.ModuleType(name)
    module.__file__ = str(folder / f"{name}.py")
    exec(compile(source, module.__file__, "exec"), vars(module))
    return module


@pytest.fixture
def shown(tmp_path) -> Plugins:
    """The core and every example of the page; the folders that these speak of are there."""
    for folder in ("tasks", "sample", "catalogue"):
        (tmp_path / folder).mkdir()
    plugins = make_plugin_set()
    for number, source in enumerate(SHOWN):
        name = f"shown_{number}"
        plugins.register(make_module(source, tmp_path, name), Owner(name))
    return plugins


def test_every_hook_is_documented_with_its_signature():
    signatures = {name: str(inspect.signature(hook)).replace("'", "") for name, hook in HOOKS.items()}

    assert signatures == DOCUMENTED


def test_every_hook_has_an_example():
    sections = PAGE.split("\n### `")[1:]

    for section in sections:
        name = section.split("(")[0]
        source = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
        assert name in list_hooks(source)
        assert "Fires" in section


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_test(name):
    tests = {*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/**/test_*.py")} - {Path(__file__)}
    sources = [file.read_text(encoding="utf-8") for file in tests]

    assert any(name in list_hooks(source) for source in sources), f"no test implements {name}"


def test_the_examples_are_plugins_without_a_problem(shown):
    for hook in ("register_models", "register_task_dirs", "register_datasets"):
        assert len({owner for owner, _ in shown.contribute(hook)}) >= 2  # the core and the page's

    assert shown.problems == []


def test_the_examples_work_in_a_run(shown, tmp_path, capsys):
    settings = {"data_dir": "sample", "output_path": str(tmp_path / "out"), "limit": 3}

    record = gptalt_eval.evaluate("yes", "piqa", plugins=shown, **settings)

    printed = capsys.readouterr().out
    assert shown.problems == []
    assert "yes on piqa\n" in printed
    assert "wrong: piqa " in printed
    assert f"complete: {record.folder}\n" in printed
    assert "Tasks in this run" in (record.folder / "report.html").read_text(encoding="utf-8")


def test_the_shown_reader_reads(shown, tmp_path):
    release = tmp_path / "test.csv"
    release.write_text("River,Length in km\nAmur,2824\n", encoding="utf-8")
    (rivers,) = [data for _, data in shown.contribute("register_datasets") if data.name == "rivers"]

    assert list(rivers.read((release,), None)) == [{"river": "Amur", "length": 2824}]


def test_the_shown_loader_finds_and_checks_a_folder(shown, tmp_path):
    pond = Catalog(shown).loaders["pond"].item

    assert [pond.identify({"model_type": kind}) for kind in ("pond", "llama")] == ["pond", None]
    assert [fault.what for fault in pond.check(tmp_path, {})] == [f"{tmp_path} has no tokenizer.json."]
    (tmp_path / "tokenizer.json").write_text("{}")
    assert list(pond.check(tmp_path, {})) == []


@pytest.mark.torch
def test_the_shown_loader_makes_a_class_of_lm_evals_kind(shown, tmp_path):
    from lm_eval.models.huggingface import HFLM

    made = Catalog(shown).loaders["pond"].item.make_class()
    (tmp_path / "config.json").write_text('{"model_type": "pond", "hidden_size": 64}')
    backend = made.__new__(made)
    backend._get_config(str(tmp_path))

    assert issubclass(made, HFLM) and backend.config.hidden_size == 64


def test_the_shown_command_runs(shown, capsys):
    assert cli.dispatch(["greet", "--times", "2"], shown) == 0
    assert capsys.readouterr().out == f"Hello from {len(shown.owners)} plugins.\n" * 2


def test_the_shown_hook_is_called(shown, capsys):
    assert cli.dispatch(["welcome"], shown) == 0
    assert capsys.readouterr().out == "Good morning\nGood evening\n"


def test_the_shown_test_passes(make_plugins, scripted_model, tmp_path):
    (source,) = [block for block in BLOCKS if "def test_" in block]
    module = make_module(source, tmp_path, "shown_test")

    (test,) = [value for name, value in vars(module).items() if name.startswith("test_")]
    test(make_plugins, scripted_model, tmp_path)


def test_every_block_is_run_here():
    others = [block for block in BLOCKS if block not in SHOWN and "def test_" not in block]

    assert others == ['pytest_plugins = ["gptalt_eval.testing"]\n']
    assert "gptalt_eval.testing" in sys.modules
