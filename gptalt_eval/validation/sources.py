"""Reads Python modules as text: the names that they define and their functions' arguments. Runs nothing."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gptalt_eval.machine.bounds import open_file
from gptalt_eval.machine.storage import follow_links


@dataclass(frozen=True)
class Signature:
    """The keyword arguments of a function or class.

    Attributes:
        names: the named ones.
        required: the named ones without a default.
        is_open: whether it accepts others too.
    """

    names: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    is_open: bool = False


OPEN = Signature(is_open=True)


@dataclass(frozen=True)
class Module:
    """A module's source.

    Attributes:
        file: where it is; None for one that is compiled or built in.
        names: the names that it defines at its top level.
        is_open: whether it can define more than its text shows (``import *``, ``globals()``).
        definitions: its functions and classes.
        registered: decorator name -> the names registered with it (``register_filter`` -> ...).
    """

    file: Path | None
    names: frozenset[str] = frozenset()
    is_open: bool = False
    definitions: Mapping[str, ast.stmt] = field(default_factory=dict)
    registered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find_signature(self, name: str) -> Signature:
        """The signature of a function or class of this module; open if it is unknown."""
        node = self.definitions.get(name)
        if isinstance(node, ast.ClassDef):
            return read_class_signature(node, self.definitions)
        return read_function_signature(node, self.definitions) if isinstance(node, ast.FunctionDef) else OPEN


class Sources:
    """Finds and reads modules, each once."""

    def __init__(self) -> None:
        self._modules: dict[Path, Module] = {}

    def find(self, name: str, folder: Path) -> Module | None:
        """The module of ``!function name.x`` in a YAML in ``folder``: from that folder, else installed."""
        if "\0" in name:
            return None
        beside = folder / f"{name.replace('.', '/')}.py"
        return self.read(beside) if beside.is_file() else self._find_installed(name)

    def read(self, file: Path) -> Module:
        file = follow_links(file)
        if file not in self._modules:
            self._modules[file] = read_module(file)
        return self._modules[file]

    def _find_installed(self, name: str) -> Module | None:
        top, *rest = name.split(".")
        try:
            spec = importlib.util.find_spec(top)  # a top-level name: found without running anything
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        folders = [Path(place) for place in spec.submodule_search_locations or ()]
        if not rest:
            has_source = spec.origin and spec.origin.endswith(".py")
            return self.read(Path(str(spec.origin))) if has_source else Module(None, is_open=True)
        for folder in folders:
            base = folder.joinpath(*rest)
            for file in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                if file.is_file():
                    return self.read(file)
            if base.is_dir() or list(base.parent.glob(f"{base.name}.*.so")):
                return Module(None, is_open=True)
        return None


def read_module(file: Path) -> Module:
    try:
        with open_file(file) as stream:
            source = stream.read()
        tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return Module(file, is_open=True)  # unknown names
    statements = list(walk_top_level(tree.body))
    dynamic = "globals()" in source or "sys.modules[" in source
    stars = any(
        isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        for node in statements
    )
    names = frozenset(name for node in statements for name in list_defined(node))
    definitions: dict[str, ast.stmt] = {
        node.name: node for node in statements if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    is_open = dynamic or stars or "__getattr__" in names
    return Module(file, names, is_open, definitions, list_registered(statements))


def walk_top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run in the module's own scope, including those inside if, try, with and loops."""
    for node in body:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for inner in ("body", "orelse", "finalbody"):
            yield from walk_top_level(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            yield from walk_top_level(handler.body)


def list_defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0]
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.With)):
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def list_registered(statements: list[ast.stmt]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for node in statements:
        for call in list_decorator_calls(node):
            name = read_registered_name(call)
            if name:
                decorator = ast.unparse(call.func).rpartition(".")[2]
                found[decorator] = (*found.get(decorator, ()), name)
    return found


def list_decorator_calls(node: ast.stmt) -> list[ast.Call]:
    decorators = node.decorator_list if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
    return [decorator for decorator in decorators if isinstance(decorator, ast.Call)]


def read_registered_name(call: ast.Call) -> str | None:
    """The name in ``@register_filter("regex")`` or ``@register_metric(metric="acc", ...)``."""
    values = [*call.args[:1], *(word.value for word in call.keywords if word.arg in ("metric", "name"))]
    constants = [value.value for value in values if isinstance(value, ast.Constant)]
    return next((value for value in constants if isinstance(value, str)), None)


def read_function_signature(node: ast.FunctionDef, definitions: Mapping[str, ast.stmt]) -> Signature:
    """A function's keywords; if it only forwards ``**kwargs``, its callee's."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    named = [*positional, *arguments.kwonlyargs]
    names = [argument.arg for argument in named if argument.arg != "self"]
    if arguments.kwarg is None:
        without = len(positional) - len(arguments.defaults)
        required = [argument.arg for argument in positional[:without] if argument.arg != "self"]
        return Signature(tuple(names), tuple(required))
    for statement in node.body:
        callee = read_forwarded(statement, arguments.kwarg.arg)
        target = definitions.get(callee) if callee else None
        if isinstance(target, ast.FunctionDef) and target is not node:
            return read_function_signature(target, {})
    return Signature(tuple(names), find_popped(node, arguments.kwarg.arg), is_open=True)


def read_forwarded(statement: ast.stmt, kwargs: str) -> str | None:
    """``g`` in ``return g(**kwargs)``."""
    if not isinstance(statement, ast.Return) or not isinstance(statement.value, ast.Call):
        return None
    call = statement.value
    forwards = any(word.arg is None and ast.unparse(word.value) == kwargs for word in call.keywords)
    return call.func.id if forwards and isinstance(call.func, ast.Name) else None


def find_popped(node: ast.FunctionDef, kwargs: str) -> tuple[str, ...]:
    """The keys that a function pops from its ``**kwargs`` without a default, and so requires."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call) and len(part.args) == 1]
    return tuple(
        str(call.args[0].value)
        for call in calls
        if ast.unparse(call.func) == f"{kwargs}.pop" and isinstance(call.args[0], ast.Constant)
    )


def read_class_signature(node: ast.ClassDef, definitions: Mapping[str, ast.stmt]) -> Signature:
    """The keywords of a class: its own ``__init__``'s, or that of a base in the same module."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return read_function_signature(part, {})
    for base in node.bases:
        parent = definitions.get(ast.unparse(base))
        if isinstance(parent, ast.ClassDef) and parent is not node:
            others = {name: other for name, other in definitions.items() if other is not node}
            return read_class_signature(parent, others)
    return OPEN
