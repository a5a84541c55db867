"""Renders doc_to_text, doc_to_choice and doc_to_target by the rules of lm-eval's ConfigurableTask."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from gptalt_eval.machine.bounds import limit_time
from gptalt_eval.planning.index import Function
from gptalt_eval.validation.findings import Place
from gptalt_eval.validation.sandbox import Sandbox
from gptalt_eval.validation.yamlmap import Definition

Row = Mapping[str, Any]
SECONDS = 1.0  # in which a template must be rendered: lm-eval's take less than a hundredth
SLOW = f"it takes longer than {SECONDS:g} s: its loops or regular expressions have too many steps"
UNDEFINED = re.compile(r"^'(.+)' is undefined$")
MISSING_PART = re.compile(r"has no (?:attribute|element) '?(.+?)'?$")


class Placeholder(jinja2.ChainableUndefined):
    """Takes the place of a missing column, so that the next missing one is found too."""


@dataclass(frozen=True)
class Fault:
    """Why a template could not be rendered.

    Attributes:
        rule: the finding's rule.
        message: the reason.
        line: the line in the template, from 1.
        name: the missing column, if that is the reason.
    """

    rule: str
    message: str
    line: int = 1
    name: str = ""


class RenderError(Exception):
    """A template failed on a row."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.message)


class Renderer:
    """lm-eval's Jinja environment in a sandbox: a foreign YAML must not access this process."""

    def __init__(self) -> None:
        self.environment = Sandbox()
        self._templates: dict[str, jinja2.Template] = {}
        self._slow: set[str] = set()

    def find_syntax_fault(self, text: str) -> Fault | None:
        try:
            self._compile(text)
        except jinja2.TemplateSyntaxError as error:
            return Fault("template-syntax", f"{error.message}", error.lineno)
        except (RecursionError, MemoryError, ValueError, SyntaxError, OverflowError) as error:
            return Fault("template-syntax", f"this template cannot be compiled ({error}).")
        return None

    def render(self, text: str, row: Row) -> str:
        """The rendered template.

        Raises:
            RenderError: a column is missing, or the template fails otherwise.
        """
        if text in self._slow:
            raise RenderError(Fault("template-error", SLOW))
        try:
            with limit_time(SECONDS):
                return self._compile(text).render(**{str(key): value for key, value in row.items()})
        except TimeoutError as error:
            self._slow.add(text)
            raise RenderError(Fault("template-error", SLOW, find_line(error))) from error
        except jinja2.UndefinedError as error:
            message = str(error.message)
            found = UNDEFINED.match(message) or MISSING_PART.search(message)
            name = found[1] if found else ""
            raise RenderError(Fault("undefined-column", message, find_line(error), name)) from error
        except Exception as error:  # any error is the template's fault
            text = f"{type(error).__name__}: {error}"
            raise RenderError(Fault("template-error", text[:200], find_line(error))) from error

    def list_missing(self, text: str, row: Row) -> list[Fault]:
        """All columns that a template uses and a row lacks, found one after another."""
        faults: list[Fault] = []
        filled = dict(row)
        while len(faults) < 20:
            try:
                self.render(text, filled)
            except RenderError as error:
                fault = error.fault
                if faults and not UNDEFINED.match(fault.message):
                    break  # a consequence of the placeholder
                faults.append(fault)
                if not fault.name or fault.name in filled:
                    break
                filled[fault.name] = Placeholder(name=fault.name)
            else:
                break
        return faults

    def read(self, field: Any, row: Row, columns: tuple[str, ...]) -> Any:
        """A template field's raw value: the column of that name, or the rendered text."""
        if isinstance(field, str):
            return row[field] if field in columns else self.render(field, row)
        return field

    def read_text(self, field: Any, row: Row, columns: tuple[str, ...], has_choices: bool) -> Any:
        text = self.read(field, row, columns)
        is_template = isinstance(field, str) and field not in columns
        return read_digits(text) if is_template and has_choices else text

    def read_target(self, field: Any, row: Row, columns: tuple[str, ...], has_choices: bool) -> Any:
        target = self.read(field, row, columns)
        if not isinstance(field, str) or field in columns:
            return target
        if has_choices and target.isdigit():
            return read_digits(target)
        if len(target) >= 2 and target[0] == "[" and target[-1] == "]":
            try:
                return ast.literal_eval(target)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return target
        return target

    def read_choices(self, field: Any, row: Row, columns: tuple[str, ...]) -> Any:
        """The choices.

        Raises:
            RenderError: see :meth:`render`, or the rendered text is not a Python list.
        """
        if isinstance(field, dict):
            return list(field.values())
        choices = self.read(field, row, columns)
        if not isinstance(field, str) or field in columns:
            return choices
        try:
            return ast.literal_eval(choices)
        except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError) as error:
            text = f"it must render to a Python list such as ['yes', 'no'], not {choices!r:.80}."
            raise RenderError(Fault("choices-not-list", text)) from error

    def _compile(self, text: str) -> jinja2.Template:
        if text not in self._templates:
            self._templates[text] = self.environment.from_string(text)
        return self._templates[text]


def read_digits(text: Any) -> Any:
    """``"2"`` as 2, like lm-eval; ``"02"`` and ``"²"`` stay as they are."""
    if not isinstance(text, str) or not text.isdigit():
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def find_line(error: BaseException) -> int:
    """The line in the template that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>" and frame.lineno]
    return lines[-1] if lines else 1


def is_function(field: Any) -> bool:
    return isinstance(field, Function)


def place_in_template(definition: Definition, steps: tuple[str | int, ...], fault: Fault) -> Place:
    """The place in the YAML of a template's line, and of the missing column's name in it."""
    document = definition.source(steps)
    node, _ = document.find(steps)
    start, end = node.start_mark, node.end_mark
    if getattr(node, "style", None) == "|":
        line = start.line + fault.line
    elif getattr(node, "style", None) == ">":
        line = min(start.line + fault.line, end.line)
    else:
        line = min(start.line + fault.line - 1, end.line)
    column = start.column if line == start.line else 0
    for number in range(line, max(line, end.line) + 1):
        text = document.text[number] if number < len(document.text) else ""
        found = re.search(rf"\b{re.escape(fault.name)}\b", text[column:]) if fault.name else None
        if found:
            return Place(document.file, number + 1, column + found.start() + 1)
        column = 0
    text = document.text[line] if line < len(document.text) else ""
    first = start.column if line == start.line else len(text) - len(text.lstrip())
    return Place(document.file, line + 1, first + 1)
