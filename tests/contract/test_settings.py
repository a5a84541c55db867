"""How the words of a flag are read: conversions, empty parts, and what is refused."""

import argparse
import json

import pytest

from gptalt_eval.contract.settings import (
    DEFAULT_SEEDS,
    SCORERS,
    complete_seeds,
    parse_samples,
    parse_seeds,
    parse_settings,
    parse_shots,
    parse_value,
    split_names,
    split_outside_brackets,
)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ("piqa", ["piqa"]),
        ("a, ,b,", ["a", "b"]),
        (["a,b", " c "], ["a", "b", "c"]),
        ("", []),
        ([], []),
        (["", ","], []),
    ],
)
def test_names_without_empty_parts(values, names):
    assert split_names(values) == names


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("a=1,", {"a": 1}),
        (",a=1,,b=x", {"a": 1, "b": "x"}),
        ("", {}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ("a=[1,2],b=(3,4)", {"a": [1, 2], "b": (3, 4)}),
        ('{"a": [1, true, null]}', {"a": [1, True, None]}),
        ('  {"a": 1}', {"a": 1}),
        ("a='x,y',b=2", {"a": "x,y", "b": 2}),
        ("模型=中文", {"模型": "中文"}),
    ],
)
def test_settings(text, settings):
    assert parse_settings(text) == settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,b", "expected key=value, found 'b'"),
        ("b,c", "expected key=value, found 'b'"),
        (
            "{'a': 1}",
            "not valid JSON (Expecting property name enclosed in double quotes); strings want double quotes",
        ),
    ],
)
def test_settings_that_are_none(text, expected):
    with pytest.raises(ValueError) as caught:
        parse_settings(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("", [""]),
        (",", ["", ""]),
        ("f(a,b),c", ["f(a,b)", "c"]),
        ("[a,(b,c)],d", ["[a,(b,c)]", "d"]),
        ("{a,b},c", ["{a,b}", "c"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ('"a\',b",c', ['"a\',b"', "c"]),
        ("'(',b", ["'('", "b"]),
        ("a),b", ["a)", "b"]),
        ("a),(b,c)", ["a)", "(b,c)"]),
        ("((a),b),c", ["((a),b)", "c"]),
        ("(a", ["(a"]),
    ],
)
def test_commas_in_brackets_and_quotes_stay(text, parts):
    assert split_outside_brackets(text) == parts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("TRUE", True), ("False", False), ("1", 1), ("007", 7), ("-1", -1.0), ("1.5", 1.5), ("1e-4", 1e-4),
        ("None", None), ("[1]", [1]), ("'x'", "x"), ("auto", "auto"), ("a b", "a b"), ("", ""), ("(", "("), ("f(x)", "f(x)"),
    ],
)  # fmt: skip
def test_values_have_types(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


def test_shots():
    assert parse_shots("0,3, 5") == [0, 3, 5]
    for text in ("few", "1,", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=f"^'{text}' is not a number of examples$"):
            parse_shots(text)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7, 7, 7, 7]),
        ("None", [None] * 4),
        ("1,2,3", [1, 2, 3, 1234]),
        ("1, none ,3,4", [1, None, 3, 4]),
        ("0,1234,1234,1234", list(DEFAULT_SEEDS)),
    ],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,x", "'1,x': seeds are whole numbers or None"),
        ("", "'': seeds are whole numbers or None"),
        ("1,2", "give one seed, or four: Python, numpy, torch, few-shot"),
        ("1,2,3,4,5", "give one seed, or four: Python, numpy, torch, few-shot"),
    ],
)
def test_seeds_that_are_none(text, expected):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse_seeds(text)
    assert str(caught.value) == expected
    with pytest.raises(argparse.ArgumentTypeError):
        complete_seeds([])


def test_rows_as_json_or_in_a_file(tmp_path, monkeypatch):
    assert parse_samples('{"piqa": [0, "5"], "race": []}') == {"piqa": [0, 5], "race": []}
    assert parse_samples(' {"piqa": [1]}') == {"piqa": [1]}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps({"题目": [3]}, ensure_ascii=False), encoding="utf-8")
    assert parse_samples("rows.json") == {"题目": [3]}
    for text in ("gone.json", "[1]", "{", '{"piqa": 3}', '{"piqa": ["x"]}', "3"):
        with pytest.raises(
            argparse.ArgumentTypeError, match=r"^give JSON such as '\{\"piqa\": \[0, 5\]\}', or a file"
        ):
            parse_samples(text)


def test_the_scorers_are_two():
    assert SCORERS == ("tree", "stock")
