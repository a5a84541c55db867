"""Fake plugins, right and wrong, as classes; those that are installed are in test_example_plugin.py."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest

from gptalt_eval import (
    Command,
    Dataset,
    GptaltError,
    Model,
    Owner,
    ReportSection,
    Sample,
    Split,
    evaluate,
    hookimpl,
)
from gptalt_eval.commands import cli
from gptalt_eval.contract import hookspecs
from gptalt_eval.contract.discovery import load_plugin, load_plugins, read_allow_list
from gptalt_eval.contract.errors import PluginError, UnknownNameError
from gptalt_eval.contract.plugins import Plugins
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.testing import make_plugin_set, make_scripted_lm


def make_model(name: str) -> Model:
    return Model(name, "for tests", "Apache-2.0", "nowhere", create=lambda args: make_scripted_lm())


def register(*fakes: object) -> Plugins:
    """Without the core, so that only the fakes are seen. Their owners are named after their classes."""
    plugins = Plugins()
    for fake in fakes:
        plugins.register(fake, Owner(type(fake).__name__.lower()))
    return plugins


def write_task(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(f"task: {name}\ndataset_path: own/{name}\n", encoding="utf-8")
    return folder


class Good:
    @hookimpl
    def register_models(self):
        return [make_model("good-one"), make_model("good-two")]


# ---------------------------------------------------------------------- contributing


def test_contributions_come_in_order_of_registration_with_their_owner():
    class Later:
        @hookimpl
        def register_models(self):
            yield make_model("later")

    given = [
        (owner.plugin, model.name) for owner, model in register(Good(), Later()).contribute("register_models")
    ]

    assert given == [("good", "good-one"), ("good", "good-two"), ("later", "later")]


def test_a_hook_that_returns_nothing_contributes_nothing():
    class Empty:
        @hookimpl
        def register_models(self):
            return None

    plugins = register(Empty(), Good())

    assert len(list(plugins.contribute("register_models"))) == 2
    assert plugins.problems == []


@pytest.mark.parametrize("error", [RuntimeError("no licence file"), SystemExit("no licence file")])
def test_a_hook_that_raises_is_blamed_and_the_others_go_on(error):
    class Raising:
        @hookimpl
        def register_models(self):
            raise error

    plugins = register(Raising(), Good())

    assert [model.name for _, model in plugins.contribute("register_models")] == ["good-one", "good-two"]
    (problem,) = plugins.problems
    assert problem.plugin == "raising"
    assert problem.what == f"register_models raised {type(error).__name__}: no licence file"
    assert "GPTALT_EVAL_LOG=debug" in problem.cure


def test_what_a_generator_gave_before_it_raised_counts():
    class Halfway:
        @hookimpl
        def register_models(self):
            yield make_model("first")
            raise RuntimeError("halfway")

    plugins = register(Halfway(), Good())

    assert [m.name for _, m in plugins.contribute("register_models")] == ["first", "good-one", "good-two"]
    assert "halfway" in plugins.problems[0].what


def test_a_string_is_not_taken_apart_into_folders():
    class GivesText:
        @hookimpl
        def register_task_dirs(self):
            return "/usr"

    plugins = register(GivesText())

    assert list(plugins.contribute("register_task_dirs")) == []
    assert "string instead of a list" in plugins.problems[0].what


def test_the_same_problem_is_reported_once():
    class Raising:
        @hookimpl
        def register_models(self):
            raise RuntimeError("again")

    plugins = register(Raising())
    for _ in range(3):
        list(plugins.contribute("register_models"))

    assert len(plugins.problems) == 1


# ---------------------------------------------------------------------- plugins with mistakes


def test_a_misspelt_hook_is_named_with_the_right_spelling():
    class Misspelt:
        @hookimpl
        def register_model(self):
            return []

    plugins = register(Misspelt(), Good())

    (problem,) = plugins.problems
    assert str(problem) == (
        "Plugin 'misspelt': there is no hook 'register_model', so it is never called.\n"
        "Rename it to 'register_models'. "
        "If it is the hook of a plugin that may not be installed, use '@hookimpl(optionalhook=True)'."
    )
    assert len(list(plugins.contribute("register_models"))) == 2


def test_a_hook_of_another_name_altogether_gets_the_list_of_hooks():
    class Unheard:
        @hookimpl
        def bake_bread(self):
            return []

    (problem,) = register(Unheard()).problems

    assert "register_models" in problem.cure
    assert "run_finished" in problem.cure


def test_wrong_arguments_set_the_plugin_aside_and_show_the_hook():
    class WrongArguments:
        @hookimpl
        def register_models(self):
            return [make_model("unseen")]

        @hookimpl
        def run_finished(self, result):
            pass

    plugins = register(WrongArguments(), Good())

    (problem,) = plugins.problems
    assert "wrong arguments" in problem.what
    assert "result" in problem.what
    assert problem.cure == "The hook is run_finished(record: Record) -> None."
    assert [model.name for _, model in plugins.contribute("register_models")] == ["good-one", "good-two"]
    assert list(plugins.owners) == ["good"]


def test_two_plugins_of_one_name():
    plugins = register(Good())
    plugins.register(object(), Owner("good", "2.0", "someone-elses-good"))

    (problem,) = plugins.problems
    assert problem.plugin == "someone-elses-good"
    assert problem.what == "the name is taken by good."
    assert "Uninstall one of the two" in problem.cure


def test_one_plugin_under_two_names():
    plugins, good = register(), Good()
    plugins.register(good, Owner("first"))
    plugins.register(good, Owner("second"))

    assert plugins.problems[0].what == "it is already loaded as 'first'."
    assert len(list(plugins.contribute("register_models"))) == 2


# ---------------------------------------------------------------------- names that two claim


def test_two_owners_of_a_model_name():
    class Rival:
        @hookimpl
        def register_models(self):
            return [make_model("good-one"), make_model("rival")]

    catalog = Catalog(register(Good(), Rival()))

    with pytest.raises(PluginError, match="Two plugins register the model 'good-one': good and rival"):
        catalog.find_model("good-one")
    assert catalog.find_model("rival").owner.plugin == "rival"
    assert catalog.find_model("good-two").owner.plugin == "good"
    assert "'good-one' is also registered by good" in catalog.plugins.problems[0].what


def test_two_owners_of_a_task_name(tmp_path):
    class One:
        @hookimpl
        def register_task_dirs(self):
            return [write_task(tmp_path / "one", "capitals"), write_task(tmp_path / "one", "rivers")]

    class Two:
        @hookimpl
        def register_task_dirs(self):
            return [write_task(tmp_path / "two", "capitals")]

    catalog = Catalog(register(One(), Two()))

    with pytest.raises(PluginError, match="one and two") as raised:
        catalog.find_task("capitals")
    assert raised.value.hint.endswith("GPTALT_EVAL_LOAD_PLUGINS=one")
    assert catalog.find_task("rivers").owner.plugin == "one"


def test_a_plugin_that_gives_a_name_twice_keeps_the_first():
    class Twice:
        @hookimpl
        def register_models(self):
            return [make_model("twin"), make_model("twin")]

    catalog = Catalog(register(Twice()))

    assert catalog.find_model("twin").owner.plugin == "twice"
    assert catalog.plugins.problems[0].what == "it registers the model 'twin' twice; the first one is used."


def test_a_thing_of_another_kind_is_refused_and_the_rest_counts():
    class Mixed:
        @hookimpl
        def register_models(self):
            return ["gpt2", make_model("real")]

    catalog = Catalog(register(Mixed()))

    assert list(catalog.models) == ["real"]
    assert catalog.plugins.problems[0].what == "register_models returned 'gpt2', which is not of type Model."


@pytest.mark.parametrize(
    ("folder", "told"),
    [(Path("nowhere"), "which does not exist"), ("tasks", "is not of type Path"), (5, "is not of type Path")],
)
def test_what_is_no_task_folder_is_refused(folder, told, tmp_path):
    class Folders:
        @hookimpl
        def register_task_dirs(self):
            return [folder, write_task(tmp_path / "real", "rivers")]

    catalog = Catalog(register(Folders()))

    assert list(catalog.tasks) == ["rivers"]
    assert told in catalog.plugins.problems[0].what


def test_an_unknown_name_mentions_the_plugins_that_have_a_problem():
    class Raising:
        @hookimpl
        def register_models(self):
            raise RuntimeError("broken")

    with pytest.raises(UnknownNameError, match=r"a problem \(raising\), see: gptalt-eval plugins"):
        Catalog(register(Raising())).find_model("xyzzy")


# ---------------------------------------------------------------------- loading


def test_the_allow_list_takes_short_and_long_names():
    assert read_allow_list({}) is None
    assert read_allow_list({"GPTALT_EVAL_LOAD_PLUGINS": ""}) == set()
    assert read_allow_list({"GPTALT_EVAL_LOAD_PLUGINS": "medqa, gptalt-eval-plugin-elo"}) == {
        "medqa",
        "gptalt-eval-plugin-elo",
    }


def test_an_empty_allow_list_leaves_the_core():
    plugins = load_plugins(builtin, environ={"GPTALT_EVAL_LOAD_PLUGINS": ""})

    assert list(plugins.owners) == ["builtin"]
    assert plugins.problems == []


def test_the_allow_list_names_a_plugin_that_is_not_there():
    plugins = load_plugins(builtin, environ={"GPTALT_EVAL_LOAD_PLUGINS": "builtn, a-plugin-nobody-has"})

    assert [str(problem) for problem in plugins.problems] == [
        "Plugin 'a-plugin-nobody-has': GPTALT_EVAL_LOAD_PLUGINS lists it, but it is not installed.\n"
        "Install it: gptalt-eval install a-plugin-nobody-has",
        "Plugin 'builtn': GPTALT_EVAL_LOAD_PLUGINS lists it, but it is not installed.\nDid you mean 'builtin'?",
    ]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('no GPU here')", "raised RuntimeError: no GPU here"),
        ("import sys; sys.exit(3)", "raised SystemExit: 3"),
        ("import a_module_that_nobody_has", "raised ModuleNotFoundError: No module named"),
        ("def f(:", "raised SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(source, told, tmp_path, monkeypatch):
    (tmp_path / "broken_at_import.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = register(Good())

    load_plugin(plugins, EntryPoint("broken", "broken_at_import", hookspecs.GROUP), Owner("broken"))

    (problem,) = plugins.problems
    assert problem.what.startswith("importing broken_at_import")
    assert told in problem.what
    assert "pip install -U broken" in problem.cure
    assert list(plugins.owners) == ["good"]


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ("gptalt-eval>=99", False),
        ("gptalt_eval<0.1", False),
        ("gptalt-eval>=0.1,<0.2", True),
        ("gptalt-eval>=99; extra == 'next'", True),
        ("lm-eval>=99", True),
    ],
)
def test_a_plugin_for_another_version_of_the_core_is_not_imported(requirement, fits, tmp_path, monkeypatch):
    (tmp_path / "for_another_core.py").write_text("imported = True\n", encoding="utf-8")
    folder = tmp_path / "for_another_core-1.0.dist-info"
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: for-another-core\nVersion: 1.0\nRequires-Dist: {requirement}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    (folder / "entry_points.txt").write_text("[gptalt_eval]\nother = for_another_core\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (entry_point,) = PathDistribution(folder).entry_points
    plugins = register()

    load_plugin(plugins, entry_point, Owner("other", "1.0", "for-another-core"))

    assert ("other" in plugins.owners) is fits
    if not fits:
        assert plugins.problems[0].what.startswith("it needs gptalt-eval")
        assert plugins.problems[0].cure == "Type: pip install -U gptalt-eval for-another-core"


# ---------------------------------------------------------------------- every hook, in a run


class Everything:
    """Implements each hook once, and notes what it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[object] = []

    @hookimpl
    def register_models(self):
        return [make_model("scripted")]

    @hookimpl
    def register_task_dirs(self):
        text = (
            "task: sums\ndataset_path: own/sums\noutput_type: multiple_choice\ntest_split: test\n"
            "doc_to_text: '{{a}} + {{b}} ='\ndoc_to_choice: ['2', '3']\ndoc_to_target: answer\n"
        )
        (self.folder / "sums.yaml").write_text(text, encoding="utf-8")
        return [self.folder]

    @hookimpl
    def register_datasets(self):
        rows = [{"a": 1, "b": 1, "answer": 0}, {"a": 1, "b": 2, "answer": 1}]
        (self.folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        splits = (Split("test", ("sums.jsonl",), 2),)
        return [
            Dataset(
                "sums",
                "Sums",
                "own/sums",
                splits,
                lambda f, c: iter(rows),
                "CC0-1.0",
                "here",
                sample=self.folder,
            )
        ]

    @hookimpl
    def register_commands(self):
        return [Command("count", "count to three", lambda arguments, plugins: print("1 2 3") or 0)]

    @hookimpl
    def run_started(self, plan):
        self.seen.append(("started", plan.model.item.name, plan.cells[0].tasks[0].name))

    @hookimpl
    def sample_scored(self, sample):
        self.seen.append(sample)

    @hookimpl
    def run_finished(self, record):
        self.seen.append(("finished", record.run.status))

    @hookimpl
    def report_sections(self, record):
        return [ReportSection("Sums of our own", f"<p>{record.model} counted.</p>")]


@pytest.fixture
def everything(tmp_path):
    folder = tmp_path / "everything"
    folder.mkdir()
    return Everything(folder)


def run_sums(plugins, tmp_path):
    return evaluate("scripted", "sums", plugins=plugins, data_dir="sample", output_path=str(tmp_path / "out"))


def test_every_hook_fires_in_a_run(everything, tmp_path):
    plugins = make_plugin_set(everything)

    record = run_sums(plugins, tmp_path)

    assert plugins.problems == []
    started, *samples, finished = everything.seen
    assert started == ("started", "scripted", "sums")
    assert [sample.doc_id for sample in samples] == [0, 1]
    assert isinstance(samples[0], Sample)
    assert samples[0].prompt == "1 + 1 ="
    assert samples[0].metrics["acc"] in (0.0, 1.0)
    assert finished == ("finished", "complete")
    report = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "Sums of our own" in report
    assert "<p>scripted counted.</p>" in report


def test_a_command_of_a_plugin_runs(everything, capsys):
    assert cli.dispatch(["count"], make_plugin_set(everything)) == 0
    assert capsys.readouterr().out == "1 2 3\n"


def test_what_is_no_command_leaves_the_others(everything, capsys):
    class NoCommand:
        @hookimpl
        def register_commands(self):
            return ["greet"]

    plugins = make_plugin_set(NoCommand(), everything)

    assert cli.dispatch(["count"], plugins) == 0
    assert plugins.problems[0].what == "register_commands returned 'greet', which is not of type Command."


def test_sections_of_another_kind_are_left_out(everything, tmp_path):
    class Odd:
        @hookimpl
        def report_sections(self, record):
            yield "<p>no section</p>"
            raise RuntimeError("halfway")

    plugins = make_plugin_set(Odd(), everything)

    record = run_sums(plugins, tmp_path)

    assert "Sums of our own" in (record.folder / "report.html").read_text(encoding="utf-8")
    assert [problem.what for problem in plugins.problems] == [
        "report_sections returned '<p>no section</p>', which is not of type ReportSection.",
        "report_sections raised RuntimeError: halfway",
    ]


def test_observers_that_raise_do_not_stop_a_run(everything, tmp_path):
    class Clumsy:
        @hookimpl
        def run_started(self, plan):
            raise RuntimeError("started")

        @hookimpl
        def sample_scored(self, sample):
            raise RuntimeError("scored")

        @hookimpl
        def run_finished(self, record):
            raise RuntimeError("finished")

        @hookimpl
        def report_sections(self, record):
            raise RuntimeError("reported")

    plugins = make_plugin_set(Clumsy(), everything)

    record = run_sums(plugins, tmp_path)

    assert record.is_complete
    assert len(everything.seen) == 4
    raised = [problem.what for problem in plugins.problems]
    assert raised == [
        "run_started raised RuntimeError: started",
        "sample_scored raised RuntimeError: scored",
        "run_finished raised RuntimeError: finished",
        "report_sections raised RuntimeError: reported",
    ]


def test_a_run_that_needs_what_a_broken_plugin_offered_is_refused(everything, tmp_path):
    def refuse():
        raise RuntimeError("no disk")

    everything.register_models = hookimpl(refuse)

    with pytest.raises(GptaltError, match="There is no model 'scripted'"):
        run_sums(make_plugin_set(everything), tmp_path)
