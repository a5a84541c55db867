"""The Python files behind a YAML's ``!function``, read as text."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

from gptalt_eval.planning.index import Function


def find_module(function: Function) -> Path:
    """Where lm-eval looks first for a function's module: beside its YAML."""
    return function.file.parent / f"{function.name.rpartition('.')[0].replace('.', '/')}.py"


def list_sources(file: Path) -> list[Path]:
    """A Python file and those beside it that it imports; none if there is no such file."""
    found: dict[Path, None] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found[path] = None
            source = path.read_text(encoding="utf-8", errors="replace")
            waiting += [path.parent / f"{name}.py" for name in list_imports(source)]
    return list(found)


def list_imports(source: str) -> list[str]:
    """The modules that a source imports, without their packages; none if it cannot be read."""
    found: list[str] = []
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.append(node.module)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                found += [alias.name for alias in node.names]
    return [name.partition(".")[0] for name in found]
