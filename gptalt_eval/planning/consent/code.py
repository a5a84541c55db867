"""The Python files behind a YAML's ``!function``, read as text."""

from __future__ import annotations

import ast
import contextlib
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder, all_suffixes
from itertools import islice
from pathlib import Path

from gptalt_eval.contract.handed import open_named
from gptalt_eval.machine.storage import follow_links, walk_files
from gptalt_eval.planning.index import Function

MOST_LOOKED_AT = 100_000  # files below a folder with code
MOST_FILES = 10_000  # of a package; more are not a task's


def find_module(function: Function) -> Path:
    """Where lm-eval finds a function's module: beside its YAML, links followed, else where Python looks."""
    name = function.name.rpartition(".")[0]
    beside = follow_links(function.file.parent / f"{name.replace('.', '/')}.py")
    return beside if beside.is_file() else find_importable(name) or beside


def find_importable(name: str) -> Path | None:
    """The file of a module on ``sys.path``, found without importing anything; None: there is none."""
    places: list[str] | None = None
    origin: str | None = None
    for part in filter(None, name.split(".")):
        with contextlib.suppress(ImportError, ValueError, OSError):
            spec = PathFinder.find_spec(part, places)
            if spec is None:
                return None
            origin, places = spec.origin, list(spec.submodule_search_locations or ())
    return Path(origin) if origin and Path(origin).is_file() else None


def list_sources(file: Path) -> list[Path]:
    """A Python file and what it imports beside it: modules, and whole packages; none without the file."""
    found: dict[Path, None] = {}
    waiting = [file]
    while waiting:
        path = follow_links(waiting.pop())
        if path not in found and path.is_file():
            found[path] = None
            if path.suffix == ".py":
                imported = list_imports(read_source(path))
                waiting += [each for name in imported for each in find_beside(path.parent, name)]
    return list(found)


def read_source(file: Path) -> str:
    with open_named(file, errors="replace") as stream:
        return str(stream.read())


def find_beside(folder: Path, name: str) -> Iterator[Path]:
    """What an import of a name can take from a folder. Python prefers a package to a module."""
    yield from (folder / f"{name}{suffix}" for suffix in all_suffixes())
    if (folder / name).is_dir() and not is_installed(folder):
        sources = (file for file in walk_files(folder / name) if file.suffix == ".py")
        yield from islice(sources, MOST_FILES)


def is_installed(folder: Path) -> bool:
    """Whether a folder has the packages that were installed: their code is the user's, not a task's."""
    return str(folder) in {str(follow_links(Path(path))) for path in sysconfig.get_paths().values()}


def list_code(folder: Path) -> list[Path]:
    """The Python files that transformers could run of a model's folder, also behind links.

    It takes what generates from ``custom_generate/generate.py``.
    """
    inner = [file for file in islice(walk_files(folder), MOST_LOOKED_AT) if file.suffix == ".py"]
    return sorted({*inner, *folder.glob("*.py"), *(folder / "custom_generate").glob("*.py")})


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
