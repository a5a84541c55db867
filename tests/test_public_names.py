"""What a hook takes, gives or raises can be imported from ``gptalt_eval``, and so can what its docs name."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import gptalt_eval
from gptalt_eval.contract import errors, hookspecs, types

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
ELSEWHERE = {"Iterable", "Iterator", "Mapping", "Sequence", "Callable", "Any", "Path"}


def find_names(annotation: str) -> set[str]:
    """The types that an annotation names, but those of Python itself."""
    found = {node.id for node in ast.walk(ast.parse(annotation)) if isinstance(node, ast.Name)}
    return {name for name in found - ELSEWHERE if name[0].isupper()}


@pytest.mark.parametrize("name", gptalt_eval.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(gptalt_eval, name) is not None


@pytest.mark.parametrize("hook", hookspecs.HOOKS, ids=lambda hook: hook.name)
def test_what_a_hook_takes_and_gives_is_public(hook):
    annotations = inspect.get_annotations(hook.spec)
    named = {name for text in annotations.values() for name in find_names(text)}

    assert annotations
    assert named <= set(gptalt_eval.__all__)


def test_what_a_commands_function_takes_is_public():
    named = find_names(inspect.get_annotations(types.Command)["run"])

    assert "Installed" in named
    assert named - {"argparse"} <= set(gptalt_eval.__all__)


def test_every_error_that_a_user_can_cause_is_public():
    raised = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.GptaltError)
    ]

    assert len(raised) >= 6
    for error in raised:
        assert getattr(gptalt_eval, error.__name__) is error


def test_every_type_that_the_page_names_is_public():
    """Also those in prose, such as the errors that a hook may raise."""
    house = {
        value.__name__ for room in (errors, types) for value in vars(room).values() if inspect.isclass(value)
    }
    named = set(re.findall(r"`(?:\w+\.)?([A-Z]\w+)", PAGE)) & house

    assert {"GptaltError", "Model", "Dataset"} <= named
    assert named <= set(gptalt_eval.__all__)
