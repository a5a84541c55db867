"""Flags of a run that plugins add: in the help, in the metadata, in the record; what clashes or cannot be is said."""

import json

import pytest

import gptalt_eval
from gptalt_eval import Option, Owner, hookimpl
from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec, read_argv
from gptalt_eval.testing import make_plugin_set, make_scripted_model

SIZE = Option(("--size",), {"type": int, "metavar": "N", "help": "how large"})
LOUD = Option(("--loud",), {"action": "store_true", "help": "whether loud"})
COLOUR = Option(("--colour", "--color"), {"choices": ("red", "blue"), "help": "which colour"})


class Flagged:
    def __init__(self, *options):
        self.options = options

    @hookimpl
    def register_run_options(self):
        return list(self.options)


def make(**plugins):
    made = make_plugin_set(models=[make_scripted_model()])
    for name, options in plugins.items():
        made.register(Flagged(*options), Owner(name))
    return made


def parse(plugins, *words):
    parser = cli.make_parser(cli.gather_commands(plugins), plugins)
    return read_argv(parser.parse_args(["run", *words]))


def test_values_are_metadata():
    plugins = make(size=[SIZE, LOUD], colour=[COLOUR])
    assert parse(plugins, "--size", "3", "--loud", "--color", "red").metadata == {
        "size": 3, "loud": True, "colour": "red"
    }  # fmt: skip
    assert parse(plugins).metadata == {}
    assert not plugins.problems


@pytest.mark.parametrize(
    "words", [("--size", "3", "--metadata", "a=1"), ("--metadata", "a=1", "--size", "3")]
)
def test_they_stand_beside_the_metadata_that_was_typed(words):
    assert parse(make(size=[SIZE]), *words).metadata == {"a": 1, "size": 3}


def test_they_stand_beside_the_metadata_of_a_file(tmp_path):
    """Were they to replace it, its other entries would be lost without a word."""
    file = tmp_path / "run.yaml"
    for written in ("metadata: {size: 9, other: kept}", "metadata: size=9,other=kept"):
        file.write_text(f"model: scripted\ntasks: piqa\n{written}\n")
        found = parse(make(size=[SIZE]), "--config", str(file), "--size", "3")
        assert found.metadata == {"size": 3, "other": "kept"}


def test_the_help_has_them_under_their_plugins_name(capsys):
    plugins = make(size=[SIZE], colour=[COLOUR])
    with pytest.raises(SystemExit):
        parse(plugins, "--help")
    text = capsys.readouterr().out
    assert "tasks of size:" in text and "--size N" in text and "how large" in text
    assert "tasks of colour:" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--colour", "blu"), "there is no 'blu'.\nDid you mean 'blue'"),
        (("--siez", "3"), "There is no option --siez.\nDid you mean '--size'"),
        (("--size", "large"), "invalid int value: 'large'"),
    ],
)
def test_wrong_words_have_the_nearest_right_one(words, said):
    with pytest.raises(GptaltError, match=said):
        cli.dispatch(["run", *words], make(size=[SIZE], colour=[COLOUR]))


def test_a_flag_of_the_core_stays_the_cores():
    plugins = make(mine=[Option(("--new", "--limit"), {"help": "x"}), SIZE])
    found = parse(plugins, "--limit", "5", "--size", "2")
    assert (found.limit, found.metadata) == (5, {"size": 2})
    [problem] = plugins.problems
    assert problem.plugin == "mine"
    assert problem.what == "the flag '--limit' of a run is also that of gptalt-eval itself."


def test_of_two_plugins_the_first_has_the_flag_and_both_are_named():
    plugins = make(first=[SIZE], second=[SIZE, LOUD])
    assert parse(plugins, "--size", "2", "--loud").metadata == {"size": 2, "loud": True}
    [problem] = plugins.problems
    assert (problem.plugin, problem.what) == ("second", "the flag '--size' of a run is also that of first.")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (Option(("size",), {}), "its names must begin with --"),
        (Option(("-y",), {}), "its names must begin with --"),
        (Option((), {}), "its names must begin with --"),
        (Option(("--size",), {"action": "append"}), "only 'store_true' is possible"),
        (Option(("--size",), {"default": 3}), "default"),
        (Option(("--size",), {"dest": "limit"}), "dest"),
        (Option(("--size",), {"unknown": 3}), "unknown"),
        (Option(("--size",), {"type": "int"}), "not callable"),
    ],
)
def test_a_flag_that_cannot_be_is_said_and_no_other_is_lost(option, said):
    plugins = make(mine=[option, LOUD])
    assert parse(plugins, "--loud").metadata == {"loud": True}
    [problem] = plugins.problems
    assert problem.plugin == "mine" and said in problem.what


def test_the_record_has_them_and_a_rerun_keeps_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = make(size=[SIZE])
    words = ["--model", "scripted", "--tasks", "piqa", "--data_dir", "sample", "--limit", "2", "--size", "7"]
    assert cli.dispatch([*words, "--output_path", "out"], plugins) == 0
    before = json.loads((tmp_path / "out/scripted/run.json").read_text())
    assert before["settings"]["metadata"] == {"size": 7}
    assert cli.dispatch(["rerun", "out/scripted"], plugins) == 0
    after = json.loads((tmp_path / "out/scripted/run.json").read_text())
    assert after["started"] != before["started"] and after["settings"] == before["settings"]
    assert make_spec(after["settings"]).metadata == {"size": 7}


def test_python_gives_them_as_metadata(tmp_path):
    record = gptalt_eval.evaluate(
        "scripted", "piqa", plugins=make(size=[SIZE]), data_dir="sample", limit=2, output_path=str(tmp_path),
        metadata={"size": 7},
    )  # fmt: skip
    assert record.results[0]["configs"]["piqa"]["metadata"]["size"] == 7
