"""Whether ``--help`` says what one needs: a description of every argument, and examples that can be typed."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator

from gptalt_eval.commands.parser import Parser, add_commands, list_examples
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.implementations import Fault
from gptalt_eval.contract.types import Command

PROGRAM = "gptalt-eval"
Parse = Callable[[list[str]], argparse.Namespace]


def find_help_faults(command: Command, parse: Parse | None = None, path: str = PROGRAM) -> Iterator[Fault]:
    """What the help of a command and of its subcommands lacks.

    Args:
        command: the command.
        parse: reads what is typed after ``gptalt-eval``; None: as if there were no other command.
        path: how it is called.
    """
    parse = parse or make_parse(command)
    called = f"{path} {command.name}"
    for option in command.options:
        if not str(option.settings.get("help") or "").strip():
            text = f"'{called}' does not describe {'/'.join(option.names)}."
            yield Fault(text, 'Add to the settings of its Option: "help": "..."')
    if not list_examples(command):
        yield Fault(f"'{called}' has no example.", f'Add to the Command: examples=("{called} ...",)')
    for example in command.examples:
        if not example.startswith(called) and command.name != "run":  # bare flags mean `run`
            yield Fault(f"'{example}' is not an example of '{called}'.", f"Begin it with: {called}")
            continue
        try:
            parse(shlex.split(example.partition(" > ")[0])[1:])
        except (GptaltError, ValueError, SystemExit) as error:
            yield Fault(f"the example '{example}' cannot be typed: {error}", "Write one that can.")
    for inner in command.commands:
        yield from find_help_faults(inner, parse, called)


def make_parse(command: Command) -> Parse:
    parser = Parser(prog=PROGRAM)
    add_commands(parser, [command])

    def parse(words: list[str]) -> argparse.Namespace:
        namespace, rest = parser.parse_known_args(words)
        if rest:
            namespace.subparser.error(f"unrecognized arguments: {' '.join(rest)}")
        return namespace

    return parse
