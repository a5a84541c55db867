"""How the words of a flag are read: conversions, empty parts, and what is refused."""

import json
from pathlib import Path

import pytest

from gptalt_eval.contract.settings import (
    DEFAULT_SEEDS,
    SCORERS,
    parse_settings,
    parse_value,
    read_batch_size,
    read_flag,
    read_integer,
    read_level,
    read_model,
    read_names,
    read_number,
    read_request_cache,
    read_samples,
    read_seeds,
    read_settings,
    read_shots,
    read_template,
    read_text,
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
            "not valid JSON (Expecting property name enclosed in double quotes); strings need double quotes",
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
    assert read_shots("0,3, 5") == (0, 3, 5)
    assert read_shots([3, "0", 3]) == (3, 0)  # each once: two cells of one name would be one
    assert read_shots(2) == (2,)
    for value in ("few", "1,", "", 1.5, True, [1.5], ["x"], {}, None):
        with pytest.raises(ValueError, match=r"^expected an integer$"):
            read_shots(value)


@pytest.mark.parametrize(
    ("value", "seeds"),
    [
        ("7", (7, 7, 7, 7)),
        (7, (7, 7, 7, 7)),
        ("None", (None,) * 4),
        (None, (None,) * 4),
        ("1,2,3", (1, 2, 3, 1234)),
        ("1, none ,3,4", (1, None, 3, 4)),
        ([1, None, "3", 4], (1, None, 3, 4)),
        ("0,1234,1234,1234", DEFAULT_SEEDS),
    ],
)
def test_seeds(value, seeds):
    assert read_seeds(value) == seeds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1,x", "expected an integer"),
        ("", "expected an integer"),
        (1.5, "expected an integer"),
        (True, "expected an integer"),
        ("1,2", "give one seed, or four: Python, numpy, torch, few-shot"),
        ("1,2,3,4,5", "give one seed, or four: Python, numpy, torch, few-shot"),
        ([], "give one seed, or four: Python, numpy, torch, few-shot"),
    ],
)
def test_seeds_that_are_none(value, expected):
    with pytest.raises(ValueError) as caught:
        read_seeds(value)
    assert str(caught.value) == expected


def test_rows_as_json_or_in_a_file(tmp_path, monkeypatch):
    assert read_samples('{"piqa": [0, "5"], "race": []}') == {"piqa": [0, 5], "race": []}
    assert read_samples(' {"piqa": [1]}') == {"piqa": [1]}
    assert read_samples({"piqa": (5, 0, 5)}) == {"piqa": [0, 5]}
    with pytest.raises(ValueError, match="give JSON such as"):
        read_samples({"piqa": "12"})  # not rows 1 and 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps({"题目": [3]}, ensure_ascii=False), encoding="utf-8")
    assert read_samples("rows.json") == {"题目": [3]}
    for value in ("gone.json", "[1]", "{", '{"piqa": 3}', '{"piqa": ["x"]}', "3", 3, [1], {"piqa": [1.5]}):
        with pytest.raises(
            ValueError, match=r"^give JSON such as '\{\"piqa\": \[0, 5\]\}', or the path of a JSON file"
        ):
            read_samples(value)


READ = [
    (read_text, "x", "x"),
    (read_names, "a, b,", ("a", "b")),
    (read_names, ["a", "b,c"], ("a", "b", "c")),
    (read_model, ["a", "b", "a"], "a,b"),
    (read_model, " a ,b", "a,b"),
    (read_flag, True, True),
    (read_flag, "true", True),
    (read_flag, "YES", True),
    (read_flag, "false", False),  # a text that is not empty would count as true
    (read_flag, "0", False),
    (read_number, "5", 5.0),
    (read_number, 5, 5),
    (read_number, "1e-2", 0.01),
    (read_integer, "64", 64),
    (read_integer, 0, 0),
    (read_batch_size, 8, "8"),
    (read_batch_size, "auto:3", "auto:3"),
    (read_settings, "a=1,b=x", {"a": 1, "b": "x"}),
    (read_settings, {"a": None}, {"a": None}),
    (read_request_cache, True, "true"),
    (read_request_cache, False, None),
    (read_request_cache, "refresh", "refresh"),
    (read_template, True, True),
    (read_template, "rag", "rag"),
    (read_level, "debug", "DEBUG"),
]


@pytest.mark.parametrize(("reader", "value", "expected"), READ)
def test_values_are_read(reader, value, expected):
    found = reader(value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("reader", "value", "expected"),
    [
        (read_text, 0, "expected text"),
        (read_text, True, "expected text"),
        (read_text, "", "it is empty"),
        (read_names, 3, "expected a name, or a list of names"),
        (read_names, ["a", 3], "expected a name, or a list of names"),
        (read_names, {"a": 1, "b": 2}, "expected a name"),
        (read_flag, "ture", "expected true or false"),
        (read_flag, 1, "expected true or false"),
        (read_flag, [], "expected true or false"),
        (read_number, "abc", "expected a number"),
        (read_number, True, "expected a number"),
        (read_number, [5], "expected a number"),
        (read_integer, "1.5", "expected an integer"),
        (read_integer, 2.0, "expected an integer"),
        (read_batch_size, True, "expected an integer"),
        (read_batch_size, 1.5, "expected an integer"),
        (read_settings, 3, "expected key=value, or a mapping"),
        (read_settings, {1: 2}, "expected key=value, or a mapping"),
        (read_settings, "a", "expected key=value, found 'a'"),
        (read_request_cache, "perhaps", "expected true, refresh or delete"),
        (read_request_cache, 1, "expected true, refresh or delete"),
        (read_template, "False", "this would be the name of a template"),
        (read_template, 3, "expected text"),
        (read_level, "LOUD", "expected one of DEBUG, INFO"),
        (read_level, "WARNIN", "Did you mean 'WARNING'"),
    ],
)
def test_values_that_are_refused(reader, value, expected):
    with pytest.raises(ValueError, match=expected):
        reader(value)


def test_the_scorers_are_two():
    assert SCORERS == ("tree", "stock")


def test_what_cannot_be_saved_is_no_value():
    assert read_settings({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
    with pytest.raises(ValueError, match="its values must be text, numbers"):
        read_settings({"dtype": Path("x")})
