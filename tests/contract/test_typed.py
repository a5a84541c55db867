"""JSON values as dataclasses: what each type takes, what it refuses, and how the refusal says where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gptalt_eval.contract.typed import build


@dataclass(frozen=True)
class Inner:
    number: int


@dataclass(frozen=True)
class Outer:
    text: str = ""
    number: int = 0
    share: float = 0.0
    is_on: bool = False
    maybe: int | None = 5
    several: int | str = 0
    state: Literal["on", "off"] = "on"
    inner: Inner = Inner(1)
    inners: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    anything: Any = None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, Outer()),
        ({"of a later version": 1}, Outer()),
        ({"text": "题", "number": 3, "share": 0.5, "is_on": True}, Outer("题", 3, 0.5, True)),
        ({"share": 2}, Outer(share=2.0)),
        ({"maybe": None}, Outer(maybe=None)),
        ({"maybe": 3}, Outer(maybe=3)),
        ({"several": "x"}, Outer(several="x")),
        ({"several": 3}, Outer(several=3)),
        ({"state": "off"}, Outer(state="off")),
        ({"inner": {"number": 2}}, Outer(inner=Inner(2))),
        ({"inners": [{"number": 2}, {"number": 3}]}, Outer(inners=(Inner(2), Inner(3)))),
        ({"by_name": {"a": {"number": 2}}}, Outer(by_name={"a": Inner(2)})),
        ({"anything": [1, {"a": None}]}, Outer(anything=[1, {"a": None}])),
    ],
)
def test_what_fits(content, expected):
    found = build(Outer, content)
    assert found == expected
    assert type(found.share) is float


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "the file is [], expected an object"),
        ({"text": 3}, "text is 3, expected str"),
        ({"number": "3"}, "number is '3', expected int"),
        ({"number": 0.5}, "number is 0.5, expected int"),
        ({"number": True}, "number is True, expected int"),
        ({"share": "x"}, "share is 'x', expected float"),
        ({"share": True}, "share is True, expected float"),
        ({"is_on": 1}, "is_on is 1, expected bool"),
        ({"maybe": "x"}, "maybe is 'x', expected int"),
        ({"several": None}, "several is None, expected int"),
        ({"state": "broken"}, "state is 'broken', expected one of 'on', 'off'"),
        ({"inner": 3}, "inner is 3, expected an object"),
        ({"inner": {}}, "inner.number is missing"),
        ({"inner": {"number": None}}, "inner.number is None, expected int"),
        ({"inners": {"number": 2}}, "inners is {'number': 2}, expected a list"),
        ({"inners": [{"number": 2}, {"number": ""}]}, "inners[1].number is '', expected int"),
        ({"by_name": [1]}, "by_name is [1], expected an object"),
        ({"by_name": {"a": {"number": 0}, "b": 3}}, "by_name.b is 3, expected an object"),
        ({"text": ["x" * 80]}, "text is " + repr(["x" * 80])[:60] + ", expected str"),
    ],
)
def test_what_does_not_fit(content, expected):
    with pytest.raises(ValueError) as caught:
        build(Outer, content)
    assert str(caught.value) == expected


def test_a_value_that_is_missing_at_the_top():
    with pytest.raises(ValueError, match=r"^number is missing$"):
        build(Inner, {})
