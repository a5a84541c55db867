"""Small faults put into a module, one at a time: what its tests should notice."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NAMES = {
    "any": "all",
    "all": "any",
    "min": "max",
    "max": "min",
    "match": "search",
    "search": "match",
    "fullmatch": "match",
    "startswith": "endswith",
    "endswith": "startswith",
    "partition": "rpartition",
    "rpartition": "partition",
    "append": "clear",
}
CONVERSIONS = {"int", "float", "str", "bool", "abs", "round", "sorted", "set"}
#: what changes nothing on this machine, or is only a check of our own: dropped, nobody could tell
HARMLESS = {"strict", "encoding"}
#: in a pattern: a word that follows others, a word that others follow, an anchor
PIECES = (
    re.compile(r"\|[^|()\[\]]+(?=[|)]|\Z)"),
    re.compile(r"(?:(?<=\()|(?<=\?:)|\A)[^|()\[\]?:{}]+\|"),
    re.compile(r"\\[bAZ]"),
)


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        file: the module, relative to the checkout.
        line: of the change.
        function: in which it is, with its class; empty at the module's top.
        change: the expression or statement, with what stood there and what stands there now in braces.
        source: the module's text with the change.
    """

    file: str
    line: int
    function: str
    change: str
    source: str

    @property
    def key(self) -> str:
        """Names the mutant while lines move."""
        return f"{self.file} {self.function or '-'}: {self.change}"


@dataclass(frozen=True)
class Place:
    """Where a node of a syntax tree hangs: ``owner.name`` or ``owner.name[index]``."""

    owner: ast.AST
    name: str
    index: int | None = None

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.owner, self.name, node)
        else:
            getattr(self.owner, self.name)[self.index] = node

    @contextmanager
    def holding(self, node: ast.AST, instead: ast.AST) -> Iterator[None]:
        self.put(instead)
        yield
        self.put(node)


def list_mutants(root: Path, file: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"))
    found = {}
    for place, node, above in walk(Place(tree, "body"), tree, ()):
        shown = choose_shown(node, above)
        before = ast.unparse(shown)
        names = [each.name for each in above if isinstance(each, (ast.FunctionDef, ast.ClassDef))]
        line = next(each.lineno for each in (node, *reversed(above)) if hasattr(each, "lineno"))
        for instead in (*vary(node), *vary_statement(node, above)):
            with place.holding(node, ast.copy_location(instead, node)):
                source = ast.unparse(ast.fix_missing_locations(tree))
                change = mark_change(before, ast.unparse(instead if shown is node else shown))
            if is_code(source):
                found[source] = Mutant(file, line, ".".join(names), change, source)
    found.pop(ast.unparse(tree), None)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def choose_shown(node: ast.AST, above: tuple[ast.AST, ...]) -> ast.AST:
    """A node, or where it says little by itself, the expression that it is part of."""
    if isinstance(above[-1], ast.arguments):
        return above[-1]
    if isinstance(node, (ast.Constant, ast.Name, ast.Attribute, ast.UnaryOp, ast.Slice, ast.keyword)):
        around = [each for each in above if isinstance(each, (ast.expr, ast.stmt))]
        return next((each for each in reversed(around) if not isinstance(each, ast.JoinedStr)), node)
    return node


def mark_change(before: str, after: str) -> str:
    """``max(disagreeing, {1 -> 2})``, with at most some 40 characters on each side."""
    one, other = (re.findall(r"\w+|\s+|.", text) for text in (before, after))
    shortest = min(len(one), len(other))
    start = next((place for place in range(shortest) if one[place] != other[place]), shortest)
    left = shortest - start
    end = next((place for place in range(left) if one[-1 - place] != other[-1 - place]), left)
    old, new = ("".join(words[start : len(words) - end]) for words in (one, other))
    old = " ".join(old.split())
    old = old if len(old) < 100 else f"{old[:60]} ... {old[-30:]}"
    prefix, suffix = "".join(one[:start]), "".join(one[len(one) - end :])
    return " ".join(f"{prefix[-40:]}{{{old} -> {new}}}{suffix[:40]}".split())


def is_code(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def walk(
    place: Place, node: ast.AST, above: tuple[ast.AST, ...]
) -> Iterator[tuple[Place, ast.AST, tuple[ast.AST, ...]]]:
    """Every node that runs, where it hangs, and what is above it: no docstrings, types, decorators."""
    if above:
        yield place, node, above
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment", "format_spec", "conversion"):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not is_passed_over(child):
                where = Place(node, name, index if isinstance(value, list) else None)
                yield from walk(where, child, (*above, node))


def is_passed_over(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
            return True
        case ast.If(ast.Name("TYPE_CHECKING")) | ast.Assign([ast.Name("__all__")]):
            return True
        case ast.keyword("strict") | ast.Subscript(ast.Name("Literal" | "Callable" | "Mapping" | "Sequence")):
            return True
    return False


def vary(node: ast.AST) -> Iterator[ast.AST]:
    """What an expression may be mistaken for."""
    match node:
        case ast.Compare(left, ops, others):
            for index, operator in enumerate(ops):
                for other in COMPARISONS[type(operator)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], others)
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(value):
            yield from map(ast.Constant, vary_constant(value))
        case ast.Slice(lower, upper, step):
            if lower:
                yield ast.Slice(None, upper, step)
            if upper:
                yield ast.Slice(lower, None, step)
        case ast.IfExp(test, body, orelse) if not isinstance(test, (ast.Compare, ast.BoolOp)):
            yield ast.IfExp(negate(test), body, orelse)
        case ast.comprehension(target, each, ifs, is_async) if ifs:
            for index in range(len(ifs)):
                yield ast.comprehension(target, each, [*ifs[:index], *ifs[index + 1 :]], is_async)
        case ast.Call():
            yield from vary_call(node)


def vary_constant(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
    elif isinstance(value, str):
        yield "" if value else "XX"
        if "|" in value or "\\" in value:
            for found in (found for piece in PIECES for found in piece.finditer(value)):
                yield value[: found.start()] + value[found.end() :]


def vary_call(call: ast.Call) -> Iterator[ast.AST]:
    match call.func:
        case ast.Name(name) if name in NAMES:
            yield ast.Call(ast.Name(NAMES[name]), call.args, call.keywords)
        case ast.Attribute(of, name) if name in NAMES:
            yield ast.Call(ast.Attribute(of, NAMES[name]), call.args, call.keywords)
        case ast.Name(name) if name in CONVERSIONS and len(call.args) == 1 and not call.keywords:
            yield call.args[0]
    for index, keyword in enumerate(call.keywords):
        is_flag = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        if keyword.arg and not is_flag and keyword.arg not in HARMLESS:
            yield ast.Call(call.func, call.args, call.keywords[:index] + call.keywords[index + 1 :])
    is_order_free = isinstance(call.func, ast.Name) and call.func.id in ("min", "max")
    if (
        len(call.args) > 1
        and not is_order_free
        and not any(isinstance(each, ast.Starred) for each in call.args[:2])
    ):
        yield ast.Call(call.func, [call.args[1], call.args[0], *call.args[2:]], call.keywords)


def vary_statement(node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[ast.AST]:
    """A statement left out, a condition turned round, a value not returned."""
    match node:
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()
        case ast.Expr(ast.Yield() | ast.YieldFrom()):
            yield ast.Expr(ast.YieldFrom(ast.Tuple([])))
        case ast.Assign(targets):
            if not isinstance(targets[0], ast.Name) or is_set_again(targets[0].id, above):
                yield ast.Pass()
        case ast.Return(value) if value is not None and ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.If(test, body, orelse):
            if not isinstance(test, (ast.Compare, ast.BoolOp)):
                yield ast.If(negate(test), body, orelse)
        case ast.While(test, body, orelse):
            yield ast.While(ast.Constant(False), body, orelse)


def negate(test: ast.expr) -> ast.expr:
    match test:
        case ast.UnaryOp(ast.Not(), operand):
            return operand
    return ast.UnaryOp(ast.Not(), test)


def is_set_again(name: str, above: tuple[ast.AST, ...]) -> bool:
    """Whether a function has a value of this name without the statement that sets it."""
    functions = [each for each in above if isinstance(each, ast.FunctionDef)]
    if not functions:
        return False
    stored = Counter(
        each.arg if isinstance(each, ast.arg) else each.id
        for each in ast.walk(functions[-1])
        if isinstance(each, ast.arg) or (isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
    )
    return stored[name] > 1
