"""Builds frozen dataclasses from JSON values, and checks every value's type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def build(kind: type[T], value: object) -> T:
    """An object of a dataclass from the content of a JSON file.

    Keys that the class does not know are ignored, so that files of later versions can be read.

    Raises:
        ValueError: a value is missing or has the wrong type; says which one, and where.
    """
    built: T = convert(kind, value, "")
    return built


def convert(kind: Any, value: object, place: str) -> Any:
    if kind is Any or type(value) is kind:  # as nearly all are; samples have millions
        return value
    is_class, origin, inner = take_apart(kind)
    if is_class:
        return convert_fields(kind, value, place)
    if origin in (Union, UnionType):
        return convert_union(inner, value, place)
    if origin is Literal:
        allowed = inner
        return require(value in allowed, value, f"one of {', '.join(map(repr, allowed))}", place)
    if origin is tuple:
        item = inner[0]
        require(isinstance(value, (list, tuple)), value, "a list", place)
        assert isinstance(value, (list, tuple))
        return tuple(convert(item, each, f"{place}[{at}]") for at, each in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        item = inner[1]
        require(isinstance(value, Mapping), value, "an object", place)
        assert isinstance(value, Mapping)
        return {key: convert(item, each, f"{place}.{key}") for key, each in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return require(is_right, value, kind.__name__, place)


@cache
def take_apart(kind: Any) -> tuple[bool, Any, tuple[Any, ...]]:
    """Whether a type is a dataclass, and the parts of one with parameters, once for all samples."""
    return dataclasses.is_dataclass(kind), get_origin(kind), get_args(kind)


def convert_fields(kind: Any, value: object, place: str) -> Any:
    require(isinstance(value, Mapping), value, "an object", place)
    assert isinstance(value, Mapping)
    hints = get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            found[field.name] = convert(hints[field.name], value[field.name], f"{place}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{f'{place}.{field.name}'.lstrip('.')} is missing")
    return kind(**found)


def convert_union(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    faults = []
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
            continue
        try:
            return convert(kind, value, place)
        except ValueError as error:
            faults.append(error)
    raise faults[0]


def require(is_right: bool, value: object, wanted: str, place: str) -> object:
    if not is_right:
        raise ValueError(f"{place.lstrip('.') or 'the file'} is {value!r:.60}, expected {wanted}")
    return value
