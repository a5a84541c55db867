"""``gptalt-eval plugins check``: a good plugin, and for each check plugins that are bad in one way."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from gptalt_eval import Owner, UnknownNameError
from gptalt_eval.commands import cli, subcommands
from gptalt_eval.commands.conformance import checks, package, watch
from gptalt_eval.commands.conformance.subject import Subject
from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.hookspecs import GROUP
from gptalt_eval.contract.plugins import ALLOW_LIST, Plugins
from gptalt_eval.planning import builtin
from gptalt_eval.testing import check_plugin

ROOT = Path(__file__).parents[2]
SOURCE = """
from pathlib import Path

from gptalt_eval import Dataset, Model, Split, hookimpl, read_jsonl

gptalt_eval_api = 1
HERE = Path(__file__).parent


@hookimpl
def register_models():
    return [Model("echo", "says it again", licence="MIT", home="docs/plugins.md")]


@hookimpl
def register_task_dirs():
    return [HERE / "tasks"]


@hookimpl
def register_datasets():
    splits = (Split("test", ("rivers.jsonl",)),)
    return [
        Dataset(
            "rivers", "Rivers", "own/rivers", splits, lambda files, config: read_jsonl(files[0]),
            licence="CC0-1.0", home="own/rivers", sample=HERE / "sample",
        )
    ]
"""
#: lines of it, at its top and inside a hook
TOP, INSIDE = "\n@hookimpl\ndef register_models", '    return [Model("echo"'
TASK = """\
task: rivers
dataset_path: own/rivers
output_type: multiple_choice
test_split: test
doc_to_text: "Where is the {{river}}?"
doc_to_choice: [Asia, Africa]
doc_to_target: place
"""
ROWS = '{"river": "Amur", "place": 0}\n{"river": "Nile", "place": 1}\n'
METADATA = """\
Metadata-Version: 2.1
Name: {distribution}
Version: {version}
Requires-Dist: {requires}
"""


class FakePlugin:
    """A plugin as pip would have installed it, in a folder of its own on ``sys.path``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.module = f"gptalt_eval_plugin_{name}"
        self.metadata = {
            "distribution": f"gptalt-eval-plugin-{name}", "version": "1.2", "requires": "gptalt-eval>=0.1"
        }  # fmt: skip
        self.files = {"__init__.py": SOURCE, "tasks/rivers.yaml": TASK, "sample/test.jsonl": ROWS}

    def replace(self, old: str, new: str, file: str = "__init__.py") -> None:
        """Make it bad: change one place of one of its files."""
        assert self.files[file].count(old) == 1
        self.files[file] = self.files[file].replace(old, new)

    def insert(self, statements: str, where: str) -> None:
        """Put statements before a line of its module."""
        indent = where[: len(where) - len(where.lstrip())]
        self.replace(where, "".join(f"{indent}{line}\n" for line in statements.splitlines()) + where)

    def write(self) -> None:
        for path, text in self.files.items():
            target = self.folder / self.module / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        info = self.folder / f"{self.module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(METADATA.format(**self.metadata), encoding="utf-8")
        points = f"[gptalt_eval]\n{self.name} = {self.module}\n"
        (info / "entry_points.txt").write_text(points, encoding="utf-8")

    def check(self) -> dict[str, list[str]]:
        """What is found wrong: check -> faults, each with its cure."""
        self.write()
        os.environ[ALLOW_LIST] = self.metadata["distribution"]  # the fixture puts it back
        plugins = load_plugins(builtin, subcommands)
        found = checks.check_plugin(self.name, plugins)
        return {
            check.name: [f"{fault.what} {fault.cure}" for fault in check.faults]
            for check in found
            if check.faults
        }


@pytest.fixture
def fake(tmp_path, monkeypatch):
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv(ALLOW_LIST, "fake")
    yield FakePlugin(folder, "fake")
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def test_a_good_plugin_passes_each_check(fake, capsys, monkeypatch):
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")

    assert cli.main(["plugins", "check", "fake"]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["ok"] * 11
    facts = {line[7:21].strip(): line[21:] for line in printed}
    assert facts.pop("imports").endswith(" s, nothing heavy")
    assert facts == {
        "package": "gptalt-eval-plugin-fake: fake = gptalt_eval_plugin_fake",
        "versions": "1.2, hook API 1, gptalt-eval>=0.1",
        "side effects": "nothing written, downloaded, started or printed",
        "hooks": "register_datasets, register_models, register_task_dirs",
        "names": "3 unique names",
        "help": "0 commands",
        "licences": "CC0-1.0, MIT",
        "samples": "2 rows",
        "YAMLs": "1 file, 0 warnings",
        "prompts": "1 task",
    }


# ---------------------------------------------------------------------- the package


@pytest.mark.parametrize(
    ("distribution", "told"),
    [
        (
            "my-fake",
            "'gptalt-eval install fake' does not find the distribution 'my-fake'. In pyproject.toml: name = ",
        ),
        ("gptalt-eval-plugin-fakes", "the entry point 'fake' is not the name after 'gptalt-eval-plugin-'"),
    ],
)
def test_a_distribution_of_another_name(fake, distribution, told):
    fake.metadata["distribution"] = distribution

    (fault,) = fake.check().pop("package")

    assert told in fault


def test_a_module_of_another_name(fake):
    fake.module = "rivers_of_the_world"

    assert fake.check() == {
        "package": ["the module name 'rivers_of_the_world' is too general. Name it gptalt_eval_plugin_fake."]
    }


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("version", "one", "'one' is not a valid version."),
        ("requires", "numpy", 'In pyproject.toml: dependencies = ["gptalt-eval>=0.1"]'),
        ("requires", "gptalt-eval; extra == 'all'", "it does not require gptalt-eval"),
    ],
)
def test_metadata_without_a_version(fake, key, value, told):
    fake.metadata[key] = value

    ((check, (fault,)),) = fake.check().items()

    assert check == "versions"
    assert told in fault


def test_a_plugin_that_does_not_say_which_hook_api(fake):
    fake.replace("gptalt_eval_api = 1\n", "")

    ((check, (fault,)),) = fake.check().items()

    assert check == "versions"
    assert fault.endswith("Write at the top of the module: gptalt_eval_api = 1")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("gptalt_eval_api = 1", "gptalt_eval_api = 2", "it needs version 2 of the hook API"),
        ("gptalt_eval_api = 1", "gptalt_eval_api = '1'", "Write: gptalt_eval_api = 1"),
    ],
)
def test_a_plugin_for_another_hook_api_is_not_looked_at_further(fake, old, new, told):
    fake.replace(old, new)

    ((check, (fault,)),) = fake.check().items()

    assert check == "hooks"
    assert told in fault


def test_a_plugin_for_another_core(fake):
    fake.metadata["requires"] = "gptalt-eval>=99"

    ((check, (fault,)),) = fake.check().items()

    assert check == "hooks"
    assert fault.startswith("it needs gptalt-eval>=99")


# ---------------------------------------------------------------------- models of YAMLs

MODELS = """
@hookimpl
def register_model_dirs():
    return [HERE / "catalogue"]


@hookimpl
def register_loaders():
    return [Loader("river", "x", lambda: None, lambda config: None, lambda *_: ())]

"""
YAML = """\
models:
  nile:
    hub: org/nile
    licence: MIT
    loader: river
    aliases: [blue]
"""


@pytest.fixture
def catalogued(fake):
    """The plugin with a catalogue of models and a loader."""
    fake.insert(MODELS, TOP)
    fake.replace("import Dataset, Model", "import Dataset, Loader, Model")
    fake.files["catalogue/rivers.yaml"] = YAML
    return fake


def test_models_of_yamls_and_loaders_are_looked_at(catalogued):
    assert catalogued.check() == {}
    found = checks.check_plugin("fake", load_plugins(builtin, subcommands))
    facts = {check.name: check.found for check in found}
    assert facts["names"] == "6 unique names" and facts["YAMLs"] == "2 files, 0 warnings"
    assert facts["licences"] == "CC0-1.0, MIT"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "    licence: MIT\n",
            "",
            "licences: the model 'nile' does not state its licence. Write in its YAML: licence",
        ),
        (
            "loader: river",
            "loader: rivers",
            "YAMLs: {file}:5: There is no loader 'rivers'. Did you mean 'river'?",
        ),
        ("hub: org", "hubs: org", "YAMLs: {file}:3: Unknown key 'hubs' in 'nile'. Did you mean 'hub'?"),
        (
            "aliases: [blue]",
            "aliases: [smollm2]",
            "names: the model 'smollm2' is also registered by gptalt-eval",
        ),
        ("nile:", "echo:", "names: the model 'echo' is registered twice."),
        ("    aliases", "    template: x\n    aliases", "YAMLs: {file}:6: The chat template of 'nile' drops"),
    ],
)
def test_a_bad_catalogue(catalogued, old, new, told):
    catalogued.replace(old, new, "catalogue/rivers.yaml")
    found = catalogued.check()
    file = catalogued.folder / catalogued.module / "catalogue" / "rivers.yaml"
    said = [f"{check}: {fault}" for check, faults in found.items() for fault in faults]
    assert any(each.startswith(told.format(file=file)) for each in said), said


def test_a_catalogue_that_does_not_exist(catalogued):
    catalogued.replace('HERE / "catalogue"', 'HERE / "catalog"')
    [fault] = catalogued.check()["YAMLs"]
    assert "catalog, which does not exist" in fault


def test_a_loader_of_another_plugin_s_name(catalogued):
    catalogued.replace(
        '    return [Loader("river", ',
        '    return [Loader("river", "x", *[lambda *_: ()] * 3), Loader("river", ',
    )
    assert catalogued.check()["names"][0].startswith("the loader 'river' is registered twice.")


# ---------------------------------------------------------------------- importing it


@pytest.mark.parametrize("where", [TOP, INSIDE])
@pytest.mark.parametrize("heavy", watch.HEAVY)
def test_a_heavy_import(fake, heavy, where):
    """At the module's top, or in a hook that every command calls."""
    (fake.folder / f"{heavy}.py").write_text("", encoding="utf-8")  # stands for the heavy one
    fake.insert(f"import {heavy}", where)
    fake.write()
    subject = Subject(EntryPoint("fake", fake.module, GROUP), Owner("fake"), Plugins())

    check = package.check_imports(subject, watch.watch(fake.module))

    (fault,) = check.faults
    assert fault.what == f"importing it imports {heavy}, and every command would wait for that."
    assert fault.cure == "Import it inside the function that needs it."


def test_a_heavy_import_in_a_function_is_fine(fake):
    fake.insert("def fetch():\n    import torch", TOP)

    assert fake.check() == {}


def test_a_slow_import(fake):
    busy = "import time\nbegan = time.process_time()\nwhile time.process_time() < began + 0.6:\n    pass"
    fake.insert(busy, TOP)

    ((check, (fault,)),) = fake.check().items()

    assert check == "imports"
    assert "s of processor time; up to 0.5 s is fine." in fault


def test_an_import_that_fails(fake):
    fake.insert("raise RuntimeError('no licence server')", TOP)

    found = fake.check()

    assert found.keys() == {"imports", "hooks"}
    assert "importing it fails: RuntimeError: no licence server." in found["imports"][0]
    assert "importing gptalt_eval_plugin_fake raised RuntimeError" in found["hooks"][0]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("open('cache.txt', 'w').close()", "importing it writes cache.txt."),
        ("open('cache.txt', 'ab').close()", "importing it writes cache.txt."),
        ("Path('cache.txt').write_text('x')", "importing it writes cache.txt."),
        ("import os; os.close(os.open('cache.txt', os.O_CREAT))", "importing it writes cache.txt."),
        ("Path('cache').mkdir(exist_ok=True)", "importing it makes the folder cache."),
        ("Path('nothing').unlink(missing_ok=True)", "importing it removes nothing."),
        (
            "import os; os.path.exists('a') and os.rename('a', 'b')\nos.system('true')",
            "importing it starts true.",
        ),
        ("import subprocess; subprocess.run(['true'])", "importing it starts true."),
        ("import sqlite3; sqlite3.connect('cache.db').close()", "importing it opens the database cache.db."),
        (
            "import socket\nwith socket.socket() as opened:\n    opened.connect_ex(('127.0.0.1', 9))",
            "importing it connects to ('127.0.0.1', 9).",
        ),
        ("import socket; socket.getaddrinfo('localhost', 9)", "importing it looks up the host localhost."),
        ("print('Hello')", "importing it prints 'Hello', which would be mixed into the output of --json."),
    ],
)
def test_a_side_effect(fake, statement, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake.insert(statement, TOP)

    ((check, (fault,)),) = fake.check().items()

    assert check == "side effects"
    assert fault.startswith(told)


def test_a_side_effect_of_a_hook_that_every_command_calls(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake.insert("Path('cache').mkdir(exist_ok=True)", INSIDE)

    assert fake.check()["side effects"][0].startswith("importing it makes the folder cache.")


@pytest.mark.parametrize(
    "statement",
    [
        "(HERE / 'sample' / 'test.jsonl').read_text()",
        "import os; open(os.devnull, 'w').close()",
        "import sqlite3; sqlite3.connect(':memory:').close()",
        "import sys; print('careful', file=sys.stderr)",
        "import os; os.close(os.open(HERE, os.O_RDONLY))",
    ],
)
def test_what_is_no_side_effect(fake, statement):
    fake.insert(statement, TOP)

    assert fake.check() == {}


def test_an_import_that_ends_the_process(fake):
    (fake.folder / "leaves.py").write_text("import os; os._exit(3)", encoding="utf-8")

    assert watch.watch("leaves").error == "the process that imported it exited with code 3"


def test_an_import_that_never_ends(fake, monkeypatch):
    (fake.folder / "waits.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setattr(watch, "PATIENCE", 3)

    assert watch.watch("waits").error == "it did not finish within 3 seconds"


# ---------------------------------------------------------------------- hooks and names


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("def register_models(", "def register_model(", "there is no hook 'register_model'"),
        ("def register_models(", "def register_models(verbose", "has the wrong arguments: there is no 'verbose'."),
        ("@hookimpl\ndef register_models", "@hookimpl(wrapper=True)\ndef register_models", "is a wrapper"),
        ('[Model("echo"', '["echo", Model("echo"', "register_models returned 'echo', which is not of type Model."),
        ('    return [Model("echo"', '    raise OSError("full")\n    return [Model("echo"', "raised OSError: full"),
        ("[HERE / \"tasks\"]", "HERE / 'tasks'", "register_task_dirs raised TypeError"),
    ],
)  # fmt: skip
def test_a_hook_that_is_wrong(fake, old, new, told):
    fake.replace(old, new)

    (fault,) = fake.check()["hooks"]

    assert told in fault


def test_a_plugin_without_a_hook(fake):
    fake.files["__init__.py"] = "gptalt_eval_api = 1\n"

    ((check, (fault,)),) = fake.check().items()

    assert check == "hooks"
    assert fault.startswith("gptalt_eval_plugin_fake implements no hook")


def test_an_optional_hook_of_a_plugin_that_is_not_there(fake, capsys, monkeypatch):
    fake.files["__init__.py"] += "\n\n@hookimpl(optionalhook=True)\ndef register_sauces():\n    return []\n"
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")

    assert cli.main(["plugins", "check", "fake"]) == 0

    assert "register_sauces (of a plugin that is not installed)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('Model("echo"', 'Model("smollm2"', "the model 'smollm2' is also registered by gptalt-eval."),
        ('"rivers", "Rivers"', '"piqa", "Rivers"', "the dataset 'piqa' is also registered by gptalt-eval."),
        (
            'return [Model("echo"',
            'return [Model("echo", "", "MIT", "here"), Model("echo"',
            "the model 'echo' is registered twice. Give it another name, such as 'fake-echo'.",
        ),
    ],
)
def test_a_name_that_is_taken(fake, old, new, told):
    fake.replace(old, new)

    ((check, (fault,)),) = fake.check().items()

    assert check == "names"
    assert told in fault


def test_a_task_and_a_command_of_the_cores_name(fake):
    fake.replace("task: rivers", "task: race_middle", "tasks/rivers.yaml")
    fake.files["__init__.py"] += (
        "\n\n@hookimpl\ndef register_commands():\n"
        "    from gptalt_eval import Command\n\n    return [Command('ls', '', lambda a, p: 0)]\n"
    )

    faults = fake.check()["names"]

    assert [fault.split(". ")[0] for fault in faults] == [
        "the command 'ls' is also registered by gptalt-eval",
        "the task 'race_middle' is also registered by gptalt-eval",
    ]


def test_a_name_of_another_plugin(fake, monkeypatch, capsys):
    rival = FakePlugin(fake.folder, "rival")
    rival.write()
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake,rival")

    assert cli.main(["plugins", "check", "fake"]) == 1

    printed = capsys.readouterr().out
    assert "wrong  names         the model 'echo' is also registered by gptalt-eval-plugin-rival." in printed
    assert "the task 'rivers' is also registered by gptalt-eval-plugin-rival." in printed


# ---------------------------------------------------------------------- licences, samples, tasks


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'licence="MIT"',
            'licence=" "',
            "the model 'echo' does not state its licence. Write in its Model: licence=",
        ),
        ('home="docs/plugins.md"', 'home=""', "the model 'echo' does not state its home."),
        ('licence="CC0-1.0"', 'licence=""', "the dataset 'rivers' does not state its licence."),
        ('home="own/rivers"', "home=None", "the dataset 'rivers' does not state its home."),
    ],
)
def test_a_licence_that_is_not_stated(fake, old, new, told):
    fake.replace(old, new)

    ((check, (fault,)),) = fake.check().items()

    assert check == "licences"
    assert fault.startswith(told)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"sample/test.jsonl": ""}, "has no rows"),
        ({"sample/test.jsonl": ROWS + '{"river": "Am'}, "line 3: truncated or damaged"),
        ({"sample/test.jsonl": ROWS + "[1]"}, "line 3: a JSON object was expected"),
        (
            {"sample/test.jsonl": ROWS, "sample/tests.jsonl": ROWS},
            "does not belong to a split of 'rivers'. Did you mean 'test'?",
        ),
    ],
)
def test_a_sample_that_is_wrong(fake, files, told):
    fake.files |= files

    (fault,) = fake.check()["samples"]

    assert told in fault


@pytest.mark.parametrize(
    ("cluster", "told"), [("rivr", ["Did you mean 'river'?"]), ("page", ["The columns are: "]), ("river", [])]
)
def test_the_column_that_rows_share_is_one_of_the_samples(fake, cluster, told):
    fake.replace(', sample=HERE / "sample"', f', sample=HERE / "sample", cluster="{cluster}"')

    found = fake.check().get("samples", [])

    assert len(found) == len(told)
    for fault, hint in zip(found, told, strict=True):
        assert f"test.jsonl has no column '{cluster}', which 'cluster' names. {hint}" in fault


def test_a_sample_that_is_not_there(fake):
    del fake.files["sample/test.jsonl"]

    found = fake.check()

    assert "the sample of 'rivers' has no files" in found["samples"][0]
    assert found["samples"][0].endswith("Put test.jsonl there, or omit 'sample'.")


def test_a_dataset_without_a_sample_is_no_fault(fake, capsys, monkeypatch):
    fake.replace(', sample=HERE / "sample"', "")
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")

    assert cli.main(["plugins", "check", "fake"]) == 0

    printed = capsys.readouterr().out
    assert "ok     samples       0 rows; no sample of rivers" in printed
    assert "ok     prompts       0 tasks; no sample for rivers" in printed


def test_a_yaml_that_is_wrong(fake):
    fake.replace("doc_to_target: place", "doc_to_target: place\noutput_typ: none", "tasks/rivers.yaml")

    found = fake.check()

    (fault,) = found["YAMLs"]
    assert "rivers.yaml:8: " in fault
    assert "output_typ" in fault
    assert "See: gptalt-eval validate " in fault


def test_a_folder_of_tasks_that_is_not_there(fake):
    fake.replace('HERE / "tasks"', 'HERE / "taks"')

    (fault,) = fake.check()["YAMLs"]

    assert "taks" in fault


def test_a_task_whose_own_function_fails(fake):
    """The validator runs no functions, so that only the prompt shows this."""
    function = "process_docs: !function functions.process_docs\n"
    fake.files["tasks/rivers.yaml"] += function
    fake.files["tasks/functions.py"] = "def process_docs(rows):\n    raise KeyError('lake')\n"

    ((check, (fault,)),) = fake.check().items()

    assert check == "prompts"
    assert fault.startswith("the task 'rivers' has no prompt: ") and "KeyError: 'lake'" in fault
    assert fault.endswith("See: gptalt-eval show task rivers --data_dir sample")


def test_a_task_whose_prompt_is_empty(fake):
    fake.replace('"Where is the {{river}}?"', '"{{ river if river == 1 }}"', "tasks/rivers.yaml")

    assert fake.check()["prompts"] == [
        "the task 'rivers' has no prompt: it is empty. See: gptalt-eval show task rivers --data_dir sample"
    ]


# ---------------------------------------------------------------------- the command and the kit


def test_each_fault_is_printed_with_its_cure_and_the_exit_code_is_one(fake, capsys, monkeypatch):
    fake.replace('licence="MIT"', 'licence=""')
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")

    assert cli.main(["plugins", "check", "fake"]) == 1

    printed = capsys.readouterr().out.splitlines()
    place = printed.index("wrong  licences      the model 'echo' does not state its licence.")
    assert printed[place + 1] == '                     Write in its Model: licence="Apache-2.0"'
    assert len(printed) == 12


@pytest.mark.parametrize("name", ["fake", "gptalt-eval-plugin-fake", "gptalt_eval_plugin_fake"])
def test_a_plugin_is_found_by_any_of_its_names(fake, name, monkeypatch):
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")

    assert check_plugin(name) == []


def test_the_kit_takes_a_module(fake, monkeypatch):
    fake.replace('licence="MIT"', 'licence=""')
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")
    import gptalt_eval_plugin_fake

    assert check_plugin(gptalt_eval_plugin_fake) == [
        "licences: the model 'echo' does not state its licence.\nWrite in its Model: licence=\"Apache-2.0\""
    ]


def test_a_plugin_that_is_not_installed(fake, capsys):
    fake.write()

    assert cli.main(["plugins", "check", "fakes"]) == 2

    assert capsys.readouterr().err == "gptalt-eval: No plugin 'fakes' is installed.\nDid you mean 'fake'?\n"
    with pytest.raises(UnknownNameError, match="No plugin 'xyzzy' is installed") as raised:
        check_plugin("xyzzy")
    assert raised.value.hint == "Type: gptalt-eval install xyzzy, or in its folder: pip install -e ."


@pytest.mark.parametrize("name", ["builtin", "gptalt-eval"])
def test_the_core_is_no_plugin_to_check(name):
    with pytest.raises(UnknownNameError, match=f"'{name}' is part of gptalt-eval itself"):
        check_plugin(name)


def test_names_of_lm_evals_are_said(fake, capsys):
    fake.replace("task: rivers", "task: hellaswag", "tasks/rivers.yaml")
    fake.write()

    assert cli.main(["plugins", "check", "fake"]) == 0

    assert "3 unique names; used instead of lm-eval's: hellaswag\n" in capsys.readouterr().out


def test_a_plugin_that_the_allow_list_leaves_out(fake, monkeypatch):
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "")

    with pytest.raises(
        UnknownNameError,
        match="GPTALT_EVAL_LOAD_PLUGINS does not include the plugin 'gptalt-eval-plugin-fake'",
    ):
        check_plugin("fake")


def test_plugins_without_a_verb_lists_them(fake, capsys, monkeypatch):
    fake.write()
    monkeypatch.setenv(ALLOW_LIST, "fake")

    assert cli.main(["plugins"]) == 0

    assert "fake" in {line.split(" ")[0] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize(
    "project", sorted((ROOT / "plugins").glob("*/pyproject.toml")), ids=lambda p: p.parent.name
)
def test_no_plugin_of_ours_is_stranded_by_the_next_release(project):
    (requirement,) = re.findall(r'"gptalt-eval([<>=~!][^"]*)"', project.read_text(encoding="utf-8"))

    assert SpecifierSet(requirement).contains("0.1.0")
    assert SpecifierSet(requirement).contains("1.0")
