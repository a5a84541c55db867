"""The hook for formats of other plugins, and its example in the README."""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from pathlib import Path

import gptalt_eval_plugin_elo as elo
import pytest
from gptalt_eval_plugin_elo import Vote, VoteFormat, votes
from gptalt_eval_plugin_elo.commands import gather_formats
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import read_votes

from gptalt_eval import GptaltError, PluginError, hookimpl
from gptalt_eval.commands import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
OWN = [known.name for known in list_formats()]


@pytest.fixture
def shown() -> types.ModuleType:
    """The plugin that the README shows."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    module = types.ModuleType("duel")
    exec(compile(source, "README.md", "exec"), vars(module))
    return module


class Brings:
    """Another plugin that brings one format."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def register_vote_formats(self):
        return [VoteFormat(self.name, "", lambda record: True, lambda record: [])]


def write_duels(folder: Path) -> Path:
    results = [("d1", 1), ("d2", 5), ("d3", 0)]
    lines = [json.dumps({"duel": duel, "fighters": ["x", "y"], "result": result}) for duel, result in results]
    file = folder / "duels.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.mark.parametrize("elo_first", [True, False])
def test_votes_in_a_format_of_another_plugin_are_imported(elo_first, shown, make_plugins, tmp_path, capsys):
    plugins = make_plugins(*((elo, shown) if elo_first else (shown, elo)))
    file = write_duels(tmp_path)

    with pytest.raises(GptaltError, match=r"^1 of 3 records of .* are not votes; the others were imported"):
        cli.dispatch(["votes", "import", str(file), "--into", str(tmp_path / "votes")], plugins)

    assert plugins.problems == []
    assert list(read_votes(tmp_path / "votes")) == [Vote("d1", "x", "y", "b"), Vote("d3", "x", "y", "a")]
    rejected = (tmp_path / "votes" / "rejected.jsonl").read_text(encoding="utf-8")
    assert json.loads(rejected)["reason"] == "there is no result 5"
    assert "duel" in capsys.readouterr().out


def test_a_format_can_be_named(shown, make_plugins, tmp_path, capsys):
    words = ["votes", "import", str(write_duels(tmp_path)), "--into", str(tmp_path / "votes"), "--json"]

    with pytest.raises(GptaltError):
        cli.dispatch([*words, "--format", "duel"], make_plugins(elo, shown))

    (counts,) = json.loads(capsys.readouterr().out).values()
    assert counts == {
        "format": "duel", "added": 2, "known": 0, "rejected": 1, "changed": 0, "taken_back": 0, "older": [],
        "reasons": {"there is no result 5": 1},
    }  # fmt: skip


def test_the_readme_shows_the_hooks_signature():
    signature = str(inspect.signature(votes.register_vote_formats)).replace("'", "")

    assert f"`register_vote_formats{signature}`" in README


def test_without_elo_the_shown_plugin_is_no_problem(shown, make_plugins, monkeypatch):
    monkeypatch.setitem(sys.modules, "gptalt_eval_plugin_elo", None)  # an import of it fails

    plugins = make_plugins(shown)

    assert plugins.problems == []
    assert "duel" in plugins.owners


def test_the_core_knows_no_votes(make_plugins):
    (problem,) = make_plugins(Brings("mine")).problems

    assert problem.what == "there is no hook 'register_vote_formats', so it is never called."


@pytest.mark.parametrize("elo_first", [True, False])
def test_our_own_formats_come_first(elo_first, make_plugins):
    mine = Brings("mine")

    plugins = make_plugins(*((elo, mine) if elo_first else (mine, elo)))

    assert [known.name for known in gather_formats(plugins)] == [*OWN, "mine"]


def test_two_formats_of_one_name(make_plugins):
    plugins = make_plugins(elo, Brings("fastchat"))

    with pytest.raises(PluginError) as raised:
        gather_formats(plugins)

    assert (
        raised.value.what
        == "The vote format 'fastchat' is registered by both gptalt_eval_plugin_elo and Brings."
    )


def test_what_is_no_format_is_refused(make_plugins):
    class Odd:
        @hookimpl
        def register_vote_formats(self):
            return ["fastchat"]

    plugins = make_plugins(elo, Odd())

    assert [known.name for known in gather_formats(plugins)] == OWN
    assert (
        plugins.problems[0].what
        == "register_vote_formats returned 'fastchat', which is not of type VoteFormat."
    )
