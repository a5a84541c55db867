"""What a template may take: counted while it is rendered, so that it ends soon on every computer.

A unit is one turn of a loop, one call, one value, or four characters. What a single step of Jinja or Python
could make large at once (``'x' * 10**9``, ``'x' | center(10**9)``) is counted before it is made.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jinja2.utils import generate_lorem_ipsum

UNITS = 300_000  # for one rendering; lm-eval's own templates take at most 610 on short rows
SECONDS = 2.0  # of the processor, for all regular expressions of one rendering, whose steps cannot be counted
UNITS_OF_ROW = 64  # more, for each unit of the row: rows of a million characters are read as well
LARGEST_ROW = 1 << 22  # units that are looked at
LARGEST = 100_000  # of numbers that say how long something becomes
MOST_BITS = 100_000
CONTAINERS = (list, tuple, set, frozenset, Mapping)
#: methods of lists and mappings that look at one value
CHEAP = frozenset(("append", "get", "items", "keys", "pop", "setdefault", "values"))
#: filters that look at one value
FREE = frozenset(("count", "d", "default", "first", "last", "length", "safe"))
#: tests that compare values
TESTS = frozenset(
    ("in", "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt", "lessthan",
     "le", "<=")
)  # fmt: skip
#: the widths in ``%5d``, and the formats in ``{:5d}``
WIDTHS = re.compile(r"[%)][-#0 +]*(\d*)(?:\.(\d+))?")
FORMATS = re.compile(r"\{[^{}]*[:!]([^{}]*)")
NESTED = re.compile(r"\{[^{}]*[:!][^{}]*\{")


class EffortError(Exception):
    """A template takes more than any real one."""

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text or f"it takes more than {UNITS:,} steps: its loops, calls or texts do not end soon"
        )


class Effort:
    """What is left of the units for the template that is being rendered."""

    def __init__(self) -> None:
        self.left = UNITS
        self.row: Any = None
        self.seconds = SECONDS

    def begin(self, row: Any) -> None:
        self.left, self.row, self.seconds = UNITS, row, SECONDS

    def take(self, units: int = 1) -> None:
        """
        Raises:
            EffortError: nothing is left.
        """
        self.left -= units
        if self.left < 0:
            self.refill()

    def refill(self) -> None:
        """Only now look at how large the row is."""
        row, self.row = self.row, None
        if row is not None:
            used, self.left = self.left, LARGEST_ROW
            with contextlib.suppress(EffortError):
                self.weigh(row)
            self.left = used + (LARGEST_ROW - max(0, self.left)) * UNITS_OF_ROW
        if self.left < 0:
            raise EffortError

    def weigh(self, value: Any) -> Any:
        """Take the units of a value, and return it; what several lists share counts for each of them."""
        kind = type(value)
        if kind is str:
            self.take(len(value) >> 2)
        elif kind is int:
            self.take(value.bit_length() >> 6)
        elif isinstance(value, (str, bytes)):
            self.take(len(value) >> 2)
        elif isinstance(value, range):
            self.take(len(value))
        elif isinstance(value, CONTAINERS):
            self.weigh_all(value)
        return value

    def weigh_all(self, value: Any) -> None:
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, CONTAINERS):
                self.take(len(each) + 1)
                waiting += each
                if isinstance(each, Mapping):
                    waiting += each.values()
            else:
                self.weigh(each)

    def weigh_call(self, function: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Take the units of a call before it is made."""
        self.take(5)
        if arguments:
            self.weigh_all(arguments)
        if named:
            self.weigh_all(named)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            self.weigh(owner)
            name = function.__name__
            if name in PRODUCTS:
                self.take(measure_made(name, owner, [*arguments, *named.values()]))
        elif isinstance(owner, CONTAINERS):
            self.weigh(owner if function.__name__ not in CHEAP else None)
        elif function is generate_lorem_ipsum:
            self.take(
                10 * sum(abs(value) for value in (*arguments, *named.values()) if isinstance(value, int))
            )

    def weigh_operation(self, sign: str, left: Any, right: Any) -> None:
        """Take the units of an operation before it is made."""
        if sign == "%" and isinstance(left, (str, bytes)):
            refuse_width(left, right)
        elif sign == "**" and isinstance(left, int) and isinstance(right, int):
            refuse_bits(left.bit_length() * right)
        elif sign == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, int) and isinstance(other, (str, bytes, list, tuple)):
                    refuse_large([one])
                    self.take(max(0, one) * (len(other) + 1) >> (2 if isinstance(other, (str, bytes)) else 0))
        self.weigh(left)
        self.weigh(right)

    def guard(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter or test that takes units for what it is given and what it returns."""

        @functools.wraps(function)
        def weighed(*given: Any, **named: Any) -> Any:
            arguments = given[1:] if hasattr(function, "jinja_pass_arg") else given
            if name == "join":
                arguments = tuple(make_list(each) for each in arguments)
                given = (*given[: len(given) - len(arguments)], *arguments)
            self.take(5)
            self.weigh(arguments)
            if name == "format":
                refuse_width(arguments[0], named or arguments[1:])
            elif name in PRODUCTS and arguments:
                self.take(measure_made(name, arguments[0], [*arguments[1:], *named.values()]))
            made = function(*given, **named)
            self.take(len(made) if isinstance(made, CONTAINERS) else 0)
            return made

        return weighed


def make_list(value: Any) -> Any:
    """A list of what can be gone through only once, so that it can be counted."""
    return value if hasattr(value, "__len__") or not hasattr(value, "__iter__") else list(value)


def refuse_large(values: Sequence[Any]) -> None:
    """
    Raises:
        EffortError: one of the numbers would make something that fills the memory.
    """
    for value in values:
        if isinstance(value, int) and abs(value) > LARGEST:
            raise EffortError(f"{value:.3g} is too large here")


def refuse_bits(bits: int) -> None:
    if bits > MOST_BITS:
        raise EffortError("its power is too large to compute")


def refuse_width(text: Any, values: Any) -> None:
    """Refuse a ``%`` or ``format`` that would make a very long text: ``%999999999d``, ``%*d``."""
    shown = text.decode("latin-1") if isinstance(text, bytes) else str(text)
    refuse_digits([number for found in WIDTHS.findall(shown) for number in found])
    if "*" in shown:
        refuse_large(values if isinstance(values, (list, tuple)) else [values])


def refuse_fields(text: str, values: Sequence[Any]) -> None:
    """The same of ``str.format``, whose widths can be values: ``{:{width}}``."""
    refuse_digits([number for found in FORMATS.findall(text) for number in re.findall(r"\d+", found)])
    if NESTED.search(text):
        refuse_large(values)
        refuse_digits([number for value in values for number in re.findall(r"\d+", str(value))])


def refuse_digits(numbers: Sequence[str]) -> None:
    if any(len(number) > 18 or int(number) > LARGEST for number in filter(None, numbers)):
        raise EffortError("a width in its format is too large")


def measure_made(name: str, owner: Any, arguments: Sequence[Any]) -> int:
    """The units of what a method of texts, or a filter of the same name, makes of its arguments together."""
    refuse_large(arguments)
    try:
        return PRODUCTS[name](owner, arguments) >> 2
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):
        return 0  # of the wrong kind, which the method itself says


def measure_replaced(owner: Any, arguments: Sequence[Any]) -> int:
    text, old, new = str(owner), str(arguments[0]), str(arguments[1])
    return text.count(old) * len(new)


def measure_joined(owner: Any, arguments: Sequence[Any]) -> int:
    """``', '.join(texts)``, and ``texts | join(', ')``."""
    between, parts = (owner, arguments[0]) if isinstance(owner, (str, bytes)) else (arguments[0], owner)
    return len(between) * len(parts)


def measure_translated(owner: Any, arguments: Sequence[Any]) -> int:
    longest = max((len(value) for value in arguments[0].values() if isinstance(value, str)), default=0)
    return len(owner) * longest


def measure_lines(owner: Any, arguments: Sequence[Any]) -> int:
    """What is put before or after each line (``indent``), or for each tab."""
    widths = [len(each) if isinstance(each, str) else int(each) for each in arguments]
    text = str(owner)
    return (text.count("\n") + text.count("\t") + text.count("\r") + 1) * max(widths, default=8)


def measure_wrapped(owner: Any, arguments: Sequence[Any]) -> int:
    """``wordwrap(width, break_long_words, wrapstring)``."""
    return len(owner) * max([len(each) for each in arguments if isinstance(each, str)], default=1)


def measure_filled(owner: Any, arguments: Sequence[Any]) -> int:
    """``batch`` and ``slice`` make lists of as many values as they are told; ``center`` texts."""
    return max([4 * int(each) for each in arguments if isinstance(each, int)], default=0)


def measure_nested(owner: Any, arguments: Sequence[Any]) -> int:
    """``tojson(indent)`` puts it before each value, as often as it is nested."""
    widths = [each for each in arguments if isinstance(each, int)]
    return len(str(owner)) * max(widths, default=1)


PRODUCTS: Mapping[str, Callable[[Any, Sequence[Any]], int]] = MappingProxyType(
    {
        "replace": measure_replaced, "join": measure_joined, "translate": measure_translated,
        "expandtabs": measure_lines, "indent": measure_lines, "wordwrap": measure_wrapped,
        "batch": measure_filled, "slice": measure_filled, "center": measure_filled,
        "ljust": measure_filled, "rjust": measure_filled, "zfill": measure_filled,
        "to_bytes": measure_filled, "tojson": measure_nested, "round": measure_filled,
    }
)  # fmt: skip
