"""A hook as an object, and a problem of a plugin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any


@dataclass(frozen=True)
class Hook:
    """A hook that a plugin defines for others to implement.

    Attributes:
        spec: a function with the hook's name, arguments and docstring; it is never called.
        gives: an implementation returns a list of these; None: it only observes.
    """

    spec: Callable[..., Any]
    gives: type | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.spec, FunctionType):
            raise TypeError(f"a hook must be described by a function, not {self.spec!r:.80}")

    @property
    def name(self) -> str:
        return self.spec.__name__

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of its arguments; an implementation may omit those that it does not use."""
        return tuple(inspect.signature(self.spec).parameters)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a plugin, and how to fix it."""

    plugin: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"Plugin '{self.plugin}': {self.what}\n{self.cure}"
