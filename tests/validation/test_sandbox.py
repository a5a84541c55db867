"""The sandbox of templates: every template that lm-eval ships renders in it as it does in lm-eval."""

import inspect
import itertools
from pathlib import Path

import jinja2
import jinja2.meta
import pytest

from gptalt_eval.planning.index import find_lm_eval_tasks, parse_yaml
from gptalt_eval.validation.sandbox import Sandbox

#: what a row's columns may hold; templates that fail on all of them are only compiled
VALUES = [
    "1",
    ["alpha", "beta", "gamma", "delta"],
    1,
    {"text": ["a", "b"], "label": ["x", "y"], "answer": "q", "choices": ["1", "2"], "value": ["v"]},
    {"text": "a", "label": 0, "option": "b", "input": "z"},
]


def find_texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from find_texts(inner)


@pytest.fixture(scope="module")
def templates():
    """Every distinct template in lm-eval's YAMLs."""
    files = filter(is_candidate, find_lm_eval_tasks().rglob("*.yaml"))
    texts = (find_texts(parse_yaml(file)) for file in files)
    return sorted({text for text in itertools.chain(*texts) if "{{" in text or "{%" in text})


def is_candidate(file: Path):
    content = file.read_bytes()
    return b"{{" in content or b"{%" in content


def render(template, row):
    try:
        return template.render(**row)
    except Exception as error:
        return type(error)


def test_every_template_of_lm_eval_renders_as_there(templates):
    from gptalt_eval.running.lmeval.seams import find_environment

    env = find_environment()

    sandbox, rendered = Sandbox(env), 0
    assert len(templates) > 1800
    for text in templates:
        names = jinja2.meta.find_undeclared_variables(env.parse(text))
        theirs, ours = env.from_string(text), sandbox.from_string(text)
        rows = [dict.fromkeys(names, value) for value in VALUES]
        outcomes = [(render(theirs, row), render(ours, row)) for row in rows]
        assert all(one == other for one, other in outcomes), text
        rendered += any(isinstance(one, str) for one, _ in outcomes)
    assert rendered / len(templates) > 0.95


def test_settings_and_filters_are_lm_evals():
    from gptalt_eval.running.lmeval.seams import find_environment

    env = find_environment()

    sandbox = Sandbox(env)
    assert {name: inspect.unwrap(filter_) for name, filter_ in sandbox.filters.items()} == {
        **{name: inspect.unwrap(filter_) for name, filter_ in env.filters.items()},
        "regex_replace": sandbox.replace_pattern,
    }
    assert {name: inspect.unwrap(test) for name, test in sandbox.tests.items()} == dict(env.tests)
    assert sandbox.undefined is env.undefined
    assert sandbox.keep_trailing_newline is env.keep_trailing_newline is True
    for name in ("trim_blocks", "lstrip_blocks", "autoescape", "newline_sequence", "line_statement_prefix"):
        assert getattr(sandbox, name) == getattr(env, name)


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("{{ picture.size }}", {"picture": Path("a")}, jinja2.UndefinedError),
        ("{{ picture.name }}", {"picture": Path("a")}, "a"),  # a value; methods are refused
        ("{{ picture.exists() }}", {"picture": Path("a")}, jinja2.exceptions.SecurityError),
        ("{{ q.strip().upper() }}", {"q": " a "}, "A"),
        ("{{ '{:.1f}'.format(q) }}", {"q": 1.25}, "1.2"),
        ("{% set n = namespace(x=1) %}{% for a in q %}{% set n.x = n.x + loop.index %}{% endfor %}{{ n.x }}", {"q": "ab"}, "4"),
        ("{% set out = [] %}{% for a in q %}{% set _ = out.append(a) %}{% endfor %}{{ out|join('-') }}", {"q": "ab"}, "a-b"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(q) }}{{ cycler('a', 'b').next() }}", {"q": 1}, "<1>a"),
        ("{{ q.strftime('%Y') }}", {"q": __import__("datetime").date(2020, 1, 1)}, "2020"),
    ],
)  # fmt: skip
def test_what_templates_may_do(text, row, expected):
    assert render(Sandbox().from_string(text), row) == expected
