"""A stranger's task whose template does not end: each way to it ends soon, in one message with task, field and file."""

import json
import time

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

LOOPS = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
ROWS = 400  # validate tries the first ones
TEXTS = {
    "everywhere": LOOPS,
    "in a late row": "{% if n == " + str(ROWS - 1) + " %}" + LOOPS + "{% endif %}{{ n }}",
    "in memory": "{{ 'x' * 10 ** 9 }}",
    "by recursion": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "in a pattern": "{{ ('a' * 40) | regex_replace('(a+)+$b', '') }}",
}
FIELDS = {
    "doc_to_text": "doc_to_text: {text}",
    "doc_to_target": "doc_to_target: {text}",
    "description": "description: {text}",
    "gen_prefix": "gen_prefix: {text}",
    "doc_to_choice": "doc_to_choice: {text}\noutput_type: multiple_choice\ngeneration_kwargs: null\nmetric_list: [{{metric: acc}}]",
    "fewshot_config.doc_to_text": "num_fewshot: 1\nfewshot_config: {{split: test, doc_to_text: {text}}}",
    "fewshot_config.gen_prefix": "num_fewshot: 1\nfewshot_config: {{split: test, gen_prefix: {text}}}",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a task, whose field may be in a file that it includes."""
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"n": n, "answer": "a"}) for n in range(ROWS)))

    def make(field, text, name="quiz.yaml", is_included=False):
        lines = FIELDS[field].format(text=json.dumps(text)).split("\n")
        plain = {
            "dataset_path": "json", "dataset_kwargs": f"{{data_files: {{test: {rows}}}}}", "test_split": "test",
            "output_type": "generate_until", "generation_kwargs": "{until: ['.']}", "doc_to_text": '"Q{{n}}"',
            "doc_to_target": "answer", "metric_list": "[{metric: exact_match}]",
        }  # fmt: skip
        given = {line.partition(":")[0] for line in lines}
        base = [f"{key}: {value}" for key, value in plain.items() if key not in given]
        own = [f"task: {name.removesuffix('.yaml')}"]
        if is_included:
            (tmp_path / "base.yaml").write_text("\n".join([*base, *lines, ""]))
            own.append("include: base.yaml")
        (tmp_path / name).write_text("\n".join(own if is_included else [*own, *base, *lines, ""]))
        return tmp_path / name

    return make


def call(*words):
    began = time.perf_counter()
    try:
        cli.dispatch([str(word) for word in words], make_plugin_set(models=[make_scripted_model()]))
        return ""
    except GptaltError as error:
        return str(error)
    finally:
        assert time.perf_counter() - began < 20


@pytest.mark.parametrize("is_included", [False, True])
@pytest.mark.parametrize("field", FIELDS)
def test_show_names_task_field_and_file(write, field, is_included, tmp_path):
    file = write(field, LOOPS, is_included=is_included)
    told = call("show", "task", file)
    source = tmp_path / "base.yaml" if is_included else file
    assert told.startswith(f"quiz: {field} in {source} cannot be rendered: it takes more than"), told
    assert f"gptalt-eval validate {source}" in told and "\n" in told and told.count("\n") == 1


@pytest.mark.parametrize("kind", [kind for kind in TEXTS if kind != "in a late row"])
def test_show_ends_whatever_it_is(write, kind):
    told = call("show", "task", write("doc_to_text", TEXTS[kind]))
    assert told.startswith("quiz: doc_to_text in") and "cannot be rendered: " in told, told


@pytest.mark.parametrize("field", ["doc_to_text", "doc_to_choice", "description", "gen_prefix"])
def test_a_run_names_task_field_and_file(write, field, tmp_path):
    """Of one task; beside another one, that one is evaluated, and the message is in its record."""
    text = TEXTS["in a late row"].replace(
        "{{ n }}", "['a', '{{ n }}']" if field == "doc_to_choice" else "{{ n }}"
    )
    file, out = write(field, text), tmp_path / "out"
    run = ["--model=scripted", f"--output_path={out}", "--tasks"]
    told = call(*run, file)
    assert told.startswith(f"quiz: {field} in {file} cannot be rendered: it takes more than"), told
    other = write("doc_to_text", "Good: {{ n }}", "other.yaml")
    assert call(*run, f"{file},{other}") == ""
    record = json.loads((out / "scripted" / "run.json").read_text())
    assert record["done"] == ["other"] and record["status"] == "incomplete"
    assert f"{field} in {file} cannot be rendered" in record["failed"]["quiz"]
    for way in ("resume", "rerun"):
        call(way, out / "scripted")
        record = json.loads((out / "scripted" / "run.json").read_text())
        assert record["done"] == ["other"] and "cannot be rendered" in record["failed"]["quiz"]
