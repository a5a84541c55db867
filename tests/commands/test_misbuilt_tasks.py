"""A stranger's task that lm-eval cannot build or score: one message with task, file and field, before weights are loaded."""

import json
from dataclasses import replace

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

#: what is wrong -> the task's fields, the field that is named by `show task`, what is said
WRONG = {
    "an unknown field": ({"no_such_field": 1}, "no_such_field", "unexpected keyword argument"),
    "an unknown filter": ({"filter_list": [{"name": "x", "filter": [{"function": "nope"}]}]}, "filter_list", "nope"),
    "a filter's argument": ({"filter_list": [{"name": "x", "filter": [{"function": "regex", "no": 1}]}]}, "no", "unexpected keyword"),
    "a filter's pattern": ({"filter_list": [{"name": "x", "filter": [{"function": "regex", "regex_pattern": "(["}]}]}, "filter_list", "unterminated"),
    "a filter without functions": ({"filter_list": [{"name": "x"}]}, "filter_list", "'filter'"),
    "too few answers": ({"filter_list": [{"name": "x", "filter": [{"function": "take_first_k", "k": 5}]}]}, "filter_list", "at least 5"),
    "a filter for other rows": ({"filter_list": [{"name": "x", "filter": [{"function": "multi_choice_regex"}]}]}, "filter_list", "choices"),
    "a filter's type": ({"filter_list": [{"name": "x", "filter": [{"function": "map", "mapping_dict": 1}]}]}, "filter_list", "dictionary"),
    "an unknown aggregation": ({"metric_list": [{"metric": "exact_match", "aggregation": "nope"}]}, "metric_list", ""),
    "a metric's argument": ({"metric_list": [{"metric": "exact_match", "no": 1}]}, "", ""),
    "a metric's pattern": ({"metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["(["]}]}, "metric_list", "unterminated"),
    "no metric": ({"metric_list": [{"aggregation": "mean"}]}, "metric_list", "'metric'"),
    "metrics that are a number": ({"metric_list": 1}, "metric_list", "int"),
    "an unknown split": ({"test_split": "nope"}, "test_split", "nope"),
    "no split": ({"test_split": None}, "", ""),
    "an unknown output type": ({"output_type": "nope"}, "output_type", "nope"),
    "an unknown sampler": ({"fewshot_config": {"sampler": "nope"}}, "fewshot_config", "nope"),
    "an unknown fewshot field": ({"fewshot_config": {"nope": 1}}, "nope", "unexpected keyword"),
    "examples that are numbers": ({"fewshot_config": {"samples": [1]}, "num_fewshot": 1}, "doc_to_text", ""),
    "a temperature in words": ({"generation_kwargs": {"temperature": "hot"}}, "generation_kwargs", "hot"),
    "a template's column": ({"doc_to_text": "{{ nothing }}"}, "doc_to_text", "'nothing' is undefined"),
    "a template's syntax": ({"doc_to_text": "{% if %}"}, "doc_to_text", "Expected an expression"),
    "a template's sum": ({"doc_to_target": "{{ 1 / 0 }}"}, "doc_to_target", "division by zero"),
    "choices that are text": ({"output_type": "multiple_choice", "doc_to_choice": "{{ question }} and"}, "doc_to_choice", ""),
    "a split that is a list": ({"test_split": ["test"]}, "test_split", "must be text"),
    "a split that is a mapping": ({"fewshot_split": {"a": 1}}, "fewshot_split", "must be text"),
    "examples from a list": ({"fewshot_config": {"split": ["test"]}}, "fewshot_config.split", "must be text"),
    "examples in words": ({"num_fewshot": "five"}, "num_fewshot", "must be a whole number"),
    "settings in words": ({"dataset_kwargs": "all"}, "dataset_kwargs", "must be a mapping"),
    "a class": ({"class": "Quiz"}, "", ""),
}  # fmt: skip
GROUPS = {
    "a circle": ({"task": ["quizzes"]}, "contains itself: quizzes > quizzes"),
    "a wider circle": ({"task": [{"group": "inner", "task": ["quizzes"]}]}, "contains itself"),
    "no members": ({"task": []}, "has no tasks"),
    "members in words": ({"task": 1}, "has no tasks"),
    "a metric's filters": ({"aggregate_metric_list": [{"metric": "exact_match", "filter_list": 1}]}, "filter_list"),
    "a metric's name": ({"aggregate_metric_list": [{"metric": ["exact_match"]}]}, "name must be text"),
    "an unknown aggregation": ({"aggregate_metric_list": [{"metric": "exact_match", "aggregation": "nope"}]}, "nope"),
    "an override": ({"task": [{"task": "quiz", "test_split": "nope"}]}, "nope"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"{number} + 1 =", "answer": "a"} for number in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def write_task(folder, fields):
    plain = {
        "task": "quiz", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test", "output_type": "generate_until", "doc_to_text": "question", "doc_to_target": "answer",
        "generation_kwargs": {"until": ["."]}, "metric_list": [{"metric": "exact_match"}],
    }  # fmt: skip
    (folder / "quiz.yaml").write_text(json.dumps(plain | fields))
    return folder / "quiz.yaml"


def call(*words):
    """What the program refused with; a model must not have been made by then."""
    made = []
    model = make_scripted_model()
    model = replace(model, create=lambda args, create=model.create: (made.append(args), create(args))[1])
    try:
        cli.dispatch([str(word) for word in words], make_plugin_set(models=[model]))
    except GptaltError as error:
        assert not made, error
        return str(error)
    return ""


@pytest.mark.parametrize("kind", WRONG)
def test_show_says_what_is_wrong_and_where(kind, folder):
    fields, field, said = WRONG[kind]
    file = write_task(folder, fields)
    told = call("show", "task", file)
    if kind == "an unknown aggregation":  # lm-eval takes it for the mean; a run's check finds it
        assert not told
        return
    assert "quiz" in told and field in told and said in told and told.count("\n") < 4, told
    assert not field or str(file) in told or field == "output_type", told


@pytest.mark.parametrize("kind", WRONG)
def test_a_run_says_what_is_wrong_before_weights_are_loaded(kind, folder):
    fields, _, _ = WRONG[kind]
    told = call(
        "run", "--model=scripted", "--output_path", folder / "out", "--tasks", write_task(folder, fields)
    )
    assert "quiz" in told, told


@pytest.mark.parametrize("kind", GROUPS)
def test_a_group_that_cannot_be_built(kind, folder):
    fields, said = GROUPS[kind]
    write_task(folder, {})
    (folder / "quizzes.yaml").write_text(json.dumps({"group": "quizzes", "task": ["quiz"], **fields}))
    told = call(
        "run",
        "--model=scripted",
        "--output_path",
        folder / "out",
        "--include_path",
        folder,
        "--tasks=quizzes",
    )
    assert said in told and "quizzes" in told, told


def test_a_pattern_that_does_not_end_ends_the_scoring(folder, monkeypatch):
    """On an answer of the model, which nobody knew before."""
    monkeypatch.setattr("gptalt_eval.running.lmeval.rehearsal.SECONDS", 0.5)
    filters = [
        {
            "name": "x",
            "filter": [{"function": "regex", "regex_pattern": "(a+)+$"}, {"function": "take_first"}],
        }
    ]
    file = write_task(folder, {"filter_list": filters})
    model = make_scripted_model(generate=lambda prompt: "a" * 60 + "b")
    words = ["run", "--model=scripted", "--output_path", str(folder / "out"), "--tasks", str(file)]
    with pytest.raises(GptaltError, match=r"quiz: the filters of its answers take longer than 0\.5 s"):
        cli.dispatch(words, make_plugin_set(models=[model]))
