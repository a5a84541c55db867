"""Commands as argparse knows them, with complaints that name the nearest right word."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.types import Command


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are GptaltErrors that name the nearest flag or word."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments:"):
            unknown = message.split(": ", 1)[1].split()
            flags = [flag for action in self._actions for flag in action.option_strings]
            hint = did_you_mean(unknown[0].split("=")[0], flags) or f"See: {self.prog} --help"
            kind = "option" if unknown[0].startswith("-") else "place for"
            raise GptaltError(f"There is no {kind} {unknown[0]}.", hint)
        raise GptaltError(f"{message[:1].upper()}{message[1:]}.", f"See: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own message lists the choices, and does not say which is near
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), choices) or f"There are: {', '.join(choices)}."
        if isinstance(action, argparse._SubParsersAction):
            raise GptaltError(f"There is no command '{self.prog.split(' ', 1)[-1]} {value}'.", hint)
        named = "/".join(action.option_strings) or action.metavar or action.dest
        raise GptaltError(f"{named}: there is no '{value}'.", hint)


def add_commands(
    parser: Parser, commands: Iterable[Command], outer: frozenset[str] = frozenset()
) -> dict[str, Parser]:
    """Give a parser commands, and these their own.

    The parsed namespace then has ``chosen``, the innermost command that was named, and its ``subparser``.

    Args:
        parser: of the program, or of a command.
        commands: its subcommands.
        outer: the arguments that stand before them; one that was typed there holds for them too.

    Returns:
        each one's parser, by its name.
    """
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    added: dict[str, Parser] = {}
    for command in commands:
        added[command.name] = subparser = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary
        )
        subparser.set_defaults(chosen=command, subparser=subparser)
        own = set()
        for option in command.options:
            action = subparser.add_argument(*option.names, **option.settings)
            own.add(action.dest)
            if action.dest in outer:  # what was typed before is not to be overwritten
                action.default = argparse.SUPPRESS
        if command.commands:
            add_commands(subparser, command.commands, outer | own)
    return added
