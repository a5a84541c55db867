"""Commands and their subcommands, and what is said of words that are none."""

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.commands.parser import Parser, add_commands
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.types import Command, Option
from gptalt_eval.testing import make_plugin_set

JSON = Option(("--json",), {"action": "store_true"})


class Garden:
    """A plugin with `garden` (which does something itself), `garden plant NAME` and `garden tool sharpen`."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def register_commands(self):
        def note(name, code):
            return lambda arguments, plugins: self.calls.append((name, vars(arguments))) or code

        plant = Command(
            "plant",
            "put it in",
            note("plant", 3),
            (Option(("name",)), JSON, Option(("--deep",), {"type": int})),
        )
        sharpen = Command("sharpen", "a tool", note("sharpen", 4))
        tool = Command("tool", "care for tools", commands=(sharpen,))
        return [Command("garden", "the garden", note("garden", 2), (JSON,), (plant, tool))]


@pytest.fixture
def garden():
    return Garden()


@pytest.fixture
def call(garden):
    return lambda *words: cli.dispatch(["garden", *words], make_plugin_set(garden))


def test_the_innermost_command_runs(call, garden):
    assert call() == 2
    assert call("plant", "rose", "--deep", "5") == 3
    assert call("tool", "sharpen") == 4
    assert [name for name, _ in garden.calls] == ["garden", "plant", "sharpen"]
    assert garden.calls[1][1]["name"] == "rose" and garden.calls[1][1]["deep"] == 5


@pytest.mark.parametrize("words", [["--json", "plant", "rose"], ["plant", "rose", "--json"]])
def test_an_option_that_both_take_may_stand_before_or_after(call, garden, words):
    call(*words)
    assert garden.calls[0][1]["json"] is True
    call("plant", "rose")
    assert garden.calls[1][1]["json"] is False


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["palnt", "rose"], "There is no command 'garden palnt'.\nDid you mean 'plant'?"),
        (["water"], "There is no command 'garden water'.\nAvailable: plant, tool."),
        (["tool", "sharpn"], "There is no command 'garden tool sharpn'.\nDid you mean 'sharpen'?"),
        (["tool"], "'gptalt-eval garden tool' needs a subcommand: sharpen."),
        (["plant", "rose", "--dep", "x"], "--deep"),
        (["plant", "rose", "--jsn"], "There is no option --jsn.\nDid you mean '--json'?"),
        (["plant"], "The following arguments are required: name.\nSee: gptalt-eval garden plant --help"),
        (["plant", "rose", "tulip"], "Unexpected argument: tulip."),
    ],
)
def test_a_wrong_word_names_the_nearest(call, garden, words, expected):
    with pytest.raises(GptaltError) as caught:
        call(*words)
    assert expected in str(caught.value)
    assert garden.calls == []


def test_help_lists_the_subcommands(call, capsys):
    with pytest.raises(SystemExit):
        call("--help")
    printed = capsys.readouterr().out
    assert "put it in" in printed and "care for tools" in printed


def test_a_command_without_anything_to_run_blames_its_plugin():
    class Empty:
        @hookimpl
        def register_commands(self):
            return [Command("void", "nothing")]

    plugins = make_plugin_set(Empty())
    assert "void" not in cli.gather_commands(plugins)
    assert "neither 'run' nor 'commands'" in plugins.problems[0].what


def test_choices_name_the_nearest():
    parser = Parser(prog="p")
    option = Option(("--by",), {"choices": ("model", "style")})
    add_commands(parser, [Command("compare", "c", lambda *_: 0, (option,))])
    with pytest.raises(GptaltError, match=r"--by: there is no 'modle'.\nDid you mean 'model'"):
        parser.parse_args(["compare", "--by", "modle"])
    assert parser.parse_args(["compare", "--by", "style"]).by == "style"
