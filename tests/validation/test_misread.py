"""What `validate` says of a task is what lm-eval makes of it: each is built and scored by lm-eval itself."""

import json

import datasets
import pytest
import yaml
from transformers import GenerationConfig

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.validation.generation import find_setting_faults
from gptalt_eval.validation.validator import Validator
from gptalt_eval.validation.vocabulary import load_vocabulary


@pytest.fixture(scope="module")
def validator():
    return Validator(Catalog(load_plugins(builtin)))


@pytest.fixture
def make(tmp_path, monkeypatch, validator):
    """A task with these rows: as lm-eval builds it, and the rules that `validate` finds broken."""

    def build(rows, **config):
        from lm_eval.api.task import ConfigurableTask

        config = {"task": "t", "dataset_path": "our_own/rows", "test_split": "test"} | config
        (tmp_path / "t.yaml").write_text(yaml.safe_dump(config))
        (tmp_path / "t.fixture.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        rules = [
            found.rule for found in validator.check(tmp_path / "t.yaml").findings if found.level == "error"
        ]
        made = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
        return ConfigurableTask(config=config), rules

    return build


CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}} is",
    "doc_to_choice": ["1", "2", "3", "4"],
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def score(task, best):
    """Whether lm-eval takes the choice ``best`` for the right one in the first row."""
    answers = [(0.0 if index == best else -9.0, False) for index in range(4)]
    return task.process_results(task.eval_docs[0], answers)["acc"]


@pytest.mark.parametrize(
    ("target", "value", "best", "rules"),
    [
        ("{{a}}", "2", 2, ["number-as-index"]),  # the choice "3"
        ("a", 2, 2, ["number-as-index"]),
        ("a", "2", 1, []),  # a column's text is looked up among the choices
        ("{{ ['1', '2', '3', '4'].index(a) }}", "2", 1, []),  # the cure
        ("{{a}}", "0", 0, []),  # no choice is called 0: an index
    ],
)
def test_which_choice_a_number_means(make, target, value, best, rules):
    task, found = make([{"q": "1 + 1", "a": value}], doc_to_target=target, **CHOICES)
    assert [score(task, index) for index in range(4)] == [float(index == best) for index in range(4)]
    assert found == rules


def test_numbers_are_indexes_if_one_of_them_is_no_choice(make):
    rows = [{"q": "1 + 1", "a": 2}, {"q": "0 + 0", "a": 0}]
    task, found = make(rows, doc_to_target="a", **CHOICES)
    assert score(task, 2) == 1.0 and found == []


TEXT = {
    "output_type": "generate_until",
    "doc_to_text": "{{q}}",
    "generation_kwargs": {"until": ["."]},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def test_a_target_in_brackets_is_read_as_a_list_and_never_matches(make):
    rows = [{"q": "a", "a": "one"}, {"q": "b", "a": "['two', '2']"}]
    task, found = make(rows, doc_to_target="{{a}}", **TEXT)
    assert task.process_results(task.eval_docs[1], ["two"])["exact_match"] == 0.0
    assert found == ["mixed-targets"]
    task, found = make(rows[1:], doc_to_target="{{a}}", **TEXT)
    assert task.process_results(task.eval_docs[0], ["two"])["exact_match"] == 1.0
    assert found == []


def list_uncomputed():
    for output_type, computed in load_vocabulary().computed.items():
        for name in load_vocabulary().metrics:
            yield output_type, name, name in computed and name != "likelihood"  # of which lm-eval fails


@pytest.mark.parametrize(("output_type", "name", "is_computed"), list(list_uncomputed()))
def test_the_metrics_of_each_output_type_are_those_that_lm_eval_computes(
    make, output_type, name, is_computed
):
    config = CHOICES if output_type == "multiple_choice" else TEXT | {"output_type": output_type}
    if "loglikelihood" in output_type:
        config = {key: value for key, value in config.items() if key != "generation_kwargs"}
    aggregation = load_vocabulary().default_aggregations[name]
    config = config | {
        "metric_list": [{"metric": name, "aggregation": aggregation, "higher_is_better": True}]
    }
    rows = [{"q": "0 + 1", "a": "1"}, {"q": "1 + 1", "a": "2"}]
    task, found = make(rows, doc_to_target="a", **config)
    answers = {
        "multiple_choice": [(-1.0, False)] * (8 if name == "acc_mutual_info" else 4),
        "loglikelihood": [(-1.0, True)],
        "loglikelihood_rolling": [-1.0],
        "generate_until": ["2"],
    }[output_type]
    try:
        kept = [task.process_results(doc, answers)[name] for doc in task.eval_docs]
        works = isinstance(float(task.aggregation()[name](kept)), float)
    except Exception:
        works = False
    if name != "bypass":  # what --predict_only sets
        assert works is is_computed
        assert found == ([] if is_computed else ["metric-not-computed"])


@pytest.mark.parametrize("aggregation", [True, False])
def test_pairs_need_an_aggregation_of_the_tasks_own(tmp_path, validator, aggregation):
    """lm-eval's likelihood is a pair for each row, of which its own aggregation cannot take the mean."""
    own = "\n    aggregation: !function code.f" if aggregation else ""
    (tmp_path / "code.py").write_text("def f(items):\n    return 0\n")
    (tmp_path / "t.yaml").write_text(
        "task: t\ndataset_path: our_own/rows\noutput_type: multiple_choice\ntest_split: test\n"
        f"doc_to_text: x\ndoc_to_choice: [a, b]\ndoc_to_target: 0\nmetric_list:\n  - metric: likelihood{own}\n"
    )
    found = [fault.rule for fault in validator.check(tmp_path / "t.yaml").findings if fault.level == "error"]
    assert found == ([] if aggregation else ["metric-not-computed"])


def test_indices_of_examples_have_no_effect_in_lm_eval(make):
    rows = [{"q": f"q{number}", "a": f"a{number}"} for number in range(9)]
    config = TEXT | {"doc_to_target": "a", "fewshot_split": "test"}
    shown = []
    for indices in (None, [0, 1, 2]):
        task, _ = make(rows, **config, fewshot_config={"sampler": "first_n", "fewshot_indices": indices})
        shown.append(task.fewshot_context(task.eval_docs[1], 5))
    assert shown[0] == shown[1] and "q5" in shown[1]


# ------------------------------------------------------------------------------- generation settings

KNOWN = load_vocabulary().generation_keys


def judge(**settings):
    return [(fault.rule, fault.key) for fault in find_setting_faults(settings, KNOWN)]


@pytest.mark.parametrize(
    "settings",
    [
        {"until": ["\n"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 32},
        {"until": "\n", "max_gen_toks": "32", "temperature": "0.7"},  # lm-eval converts these two
        {"until": [], "do_sample": True, "temperature": 1, "top_p": 1.0, "top_k": 50, "seed": 3},
        {"temperature": 0.7},  # lm-eval samples then
        {"do_sample": None, "max_gen_toks": None, "max_new_tokens": 64.0},
        {"top_k": -1, "min_tokens": 0, "presence_penalty": -2.0, "num_beams": 4},
    ],
)
def test_right_settings(settings):
    assert judge(**settings) == []


@pytest.mark.parametrize(
    ("settings", "rule", "key"),
    [
        ({"until": [""]}, "bad-value", "until"),
        ({"until": ""}, "bad-value", "until"),
        ({"stop": ["a", ""]}, "bad-value", "stop"),
        ({"until": 4}, "wrong-type", "until"),
        ({"until": [True]}, "wrong-type", "until"),
        ({"until": None}, "wrong-type", "until"),
        ({"until": {"a": 1}}, "wrong-type", "until"),
        ({"do_sample": "False"}, "wrong-type", "do_sample"),
        ({"do_sample": 0}, "wrong-type", "do_sample"),
        ({"max_gen_toks": "many"}, "wrong-type", "max_gen_toks"),
        ({"max_gen_toks": True}, "wrong-type", "max_gen_toks"),
        ({"max_gen_toks": 1.5}, "wrong-type", "max_gen_toks"),
        ({"max_new_tokens": 0}, "bad-value", "max_new_tokens"),
        ({"num_beams": "4"}, "wrong-type", "num_beams"),
        ({"top_k": -2}, "bad-value", "top_k"),
        ({"temperature": "hot"}, "wrong-type", "temperature"),
        ({"temperature": None}, "wrong-type", "temperature"),
        ({"temperature": True}, "wrong-type", "temperature"),
        ({"temperature": float("nan")}, "wrong-type", "temperature"),
        ({"temperature": -0.1}, "bad-value", "temperature"),
        ({"top_p": 1.1}, "bad-value", "top_p"),
        ({"top_p": "0.9"}, "wrong-type", "top_p"),
        ({"max_gen_toks": float("inf")}, "wrong-type", "max_gen_toks"),
        ({"do_sample": True}, "missing-temperature", "do_sample"),
        ({"do_sample": True, "temperature": "0.0"}, "missing-temperature", "do_sample"),
        ({"do_sample": False, "temperature": 0.7}, "unused-field", "temperature"),
        ({"num_return_sequences": 2}, "bad-value", "num_return_sequences"),
        ({"temprature": 1.0}, "unknown-generation-key", "temprature"),
        ({3: 4}, "unknown-generation-key", "3"),
    ],
)  # fmt: skip
def test_wrong_settings(settings, rule, key):
    assert [(fault.rule, fault.key) for fault in find_setting_faults(settings, KNOWN)] == [(rule, key)]


def test_sampling_without_a_temperature_is_what_transformers_refuses():
    from lm_eval.models.utils import normalize_gen_kwargs

    settings = normalize_gen_kwargs({"do_sample": True})
    assert settings["do_sample"] is True and settings.get("temperature", 0.0) == 0.0
    with pytest.raises(ValueError, match="temperature"):
        from transformers import TemperatureLogitsWarper

        TemperatureLogitsWarper(0.0)
    assert GenerationConfig(temperature=1.0).temperature == 1.0
