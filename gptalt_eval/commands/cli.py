"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from types import MappingProxyType

from gptalt_eval.commands import subcommands
from gptalt_eval.commands.flags import add_plugin_flags, add_run_flags
from gptalt_eval.commands.parser import EXAMPLES, Parser, add_commands, list_examples
from gptalt_eval.contract.discovery import CORE_NAME, load_plugins
from gptalt_eval.contract.errors import GptaltError, PluginError, did_you_mean
from gptalt_eval.contract.plugins import ALLOW_LIST
from gptalt_eval.contract.types import Command, Installed, Owned
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.plain import show_plain_record
from gptalt_eval.planning import builtin

EXIT_OF_INTERRUPT = 130
#: commands of earlier versions, and their replacements
MOVED: Mapping[str, str] = MappingProxyType(
    {
        "data ls": "gptalt-eval ls datasets",
        "data where": "gptalt-eval show dataset NAME",
        "grid": "gptalt-eval run EXPERIMENT.yaml",
    }
)
#: the core's commands by what one wants; those of plugins follow
PURPOSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "find models and tasks": ("ls", "show", "recommend", "data"),
        "evaluate": ("run", "resume", "rerun"),
        "look at results": ("report", "site", "compare"),
        "add your own": ("new", "validate", "plugins", "install", "uninstall"),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns the exit code: 0, 2 for an error that the user can fix, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    log = logging.StreamHandler()
    log.addFilter(show_plain_record)
    level = os.environ.get("GPTALT_EVAL_LOG", "WARNING").upper()
    logging.basicConfig(level=level, format="%(name)s: %(message)s", handlers=[log])
    try:
        return dispatch(words, load_plugins(builtin, subcommands))
    except GptaltError as error:
        print(f"gptalt-eval: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ngptalt-eval: stopped.", file=sys.stderr)
        return EXIT_OF_INTERRUPT
    except BrokenPipeError:  # `gptalt-eval ls tasks | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 0


def dispatch(words: list[str], plugins: Installed) -> int:
    namespace = parse(words, gather_commands(plugins), plugins)
    return run_command(namespace.chosen, namespace, plugins)


def parse(words: list[str], commands: dict[str, Command], plugins: Installed) -> argparse.Namespace:
    """What was typed, with the ``chosen`` command.

    Raises:
        GptaltError: it cannot be understood; suggests the nearest word.
    """
    if not words:
        words = ["--help"]
    if words[0] not in commands and (
        words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")
    ):
        words.insert(0, "run")  # bare flags mean `run`, as in lm-eval
    if not words[0].startswith("-") and words[0] not in commands:
        refuse_clash(words[0], plugins)
        raise unknown_command(words[0], commands)
    if " ".join(words[:2]) in MOVED:
        raise point_to_new(" ".join(words[:2]))
    if words[0] == "show" and len(words) > 1 and not words[1].startswith("-"):
        add_kind(words, commands["show"], plugins)
    parser = make_parser(commands, plugins)
    namespace, rest = parser.parse_known_args(words)
    if rest:
        namespace.subparser.error(f"unrecognized arguments: {' '.join(rest)}")
    return namespace


def add_kind(words: list[str], show: Command, plugins: Installed) -> None:
    """``show NAME`` finds out what the name stands for."""
    if words[1] not in {each.name for each in show.commands}:
        from gptalt_eval.commands.show import find_kind

        words.insert(1, find_kind(plugins, words[1]))


def run_command(command: Command, namespace: argparse.Namespace, plugins: Installed) -> int:
    if command.run is None:
        program = namespace.subparser.prog
        names = ", ".join(inner.name for inner in command.commands)
        raise GptaltError(f"'{program}' needs a subcommand: {names}.", f"See: {program} --help")
    return command.run(namespace, plugins)


def point_to_new(old: str) -> GptaltError:
    return GptaltError(f"'{old}' has been replaced.", f"Type: {MOVED[old]}")


def unknown_command(word: str, commands: dict[str, Command]) -> GptaltError:
    from gptalt_eval.planning import known as known_plugins

    if word in MOVED:
        return point_to_new(word)
    if word.endswith((".yaml", ".yml")):
        return GptaltError(
            f"There is no command '{word}'.", f"To run that file: gptalt-eval run {quote(word)}"
        )
    provider = known_plugins.find_provider("commands", word)
    if provider:
        return GptaltError(
            known_plugins.describe_provider("commands", word, provider),
            f"Install it: gptalt-eval install {provider}",
        )
    hint = did_you_mean(word, commands) or f"The commands are: {', '.join(commands)}."
    return GptaltError(f"There is no command '{word}'.", hint)


def gather_commands(plugins: Installed) -> dict[str, Command]:
    """The commands by name. Nobody replaces the core's; of what two plugins register, neither is used."""
    commands: dict[str, Command] = {}
    for name, claims in list_claims(plugins).items():
        first = claims[0]
        for other in claims[1:]:
            text = f"the command '{name}' is also registered by {first.owner}."
            plugins.blame(other.owner, text, "Uninstall one of the two.")
        if first.owner.distribution == CORE_NAME or all(each.owner == first.owner for each in claims):
            commands[name] = first.item
    return commands


def list_claims(plugins: Installed) -> dict[str, list[Owned[Command]]]:
    """By command, those that register it, the core first."""
    claims: dict[str, list[Owned[Command]]] = {}
    offered = sorted(
        plugins.contribute("register_commands"), key=lambda each: each[0].distribution != CORE_NAME
    )
    for owner, command in offered:
        claims.setdefault(command.name, []).append(Owned(command, owner))
    return claims


def refuse_clash(word: str, plugins: Installed) -> None:
    """Check that no two plugins register this command.

    Raises:
        PluginError: they do; it names both.
    """
    owners = list(dict.fromkeys(each.owner for each in list_claims(plugins).get(word, [])))
    if len(owners) > 1:
        raise PluginError(
            f"Two plugins register the command '{word}': {owners[0]} and {owners[1]}.",
            f"Load only one of them, for example: {ALLOW_LIST}={owners[0]}",
        )


def make_parser(commands: dict[str, Command], plugins: Installed) -> Parser:
    from gptalt_eval.machine.version import __version__

    parser = Parser(
        prog="gptalt-eval",
        description="Evaluate open replacements for GPT. Without a command, flags belong to 'run'.",
        usage="gptalt-eval [-h] [--version] COMMAND ...",
        epilog="\n  ".join([EXAMPLES, *list_first_examples(commands)]),
    )
    parser.add_argument("--version", action="version", version=f"gptalt-eval {__version__}")
    added = add_commands(parser, commands.values(), purposes=PURPOSES)
    add_run_flags(added["run"])
    add_plugin_flags(added["run"], plugins)
    return parser


def list_first_examples(commands: Mapping[str, Command]) -> Iterator[str]:
    """Two of a run, and the first one of some commands."""
    yield from commands["run"].examples[:2]
    for name in ("ls", "show", "report", "compare"):
        yield from list_examples(commands[name])[:1]
