"""Where few-shot examples come from: every answer is compared with the prompts that lm-eval itself builds."""

import functools
import itertools

import datasets
import pytest

from gptalt_eval.planning.examples import find_pool

ROWS = 6
SPLITS = {
    name: [{"q": f"{name} {number}?", "a": f"{name}-answer-{number}"} for number in range(ROWS)]
    for name in ("train", "validation", "test")
}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch):
    """lm-eval compiles its templates anew for every row."""
    from gptalt_eval.running.lmeval.seams import find_environment

    environment = find_environment()
    monkeypatch.setattr(environment, "from_string", functools.cache(environment.from_string))


@functools.cache
def make_rows():
    return datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in SPLITS.items()})


def make_task(config, monkeypatch):
    from lm_eval.api.task import ConfigurableTask

    made = make_rows()
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    settings = {"task": "t", "dataset_path": "x", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}", **config}
    task = ConfigurableTask(config=settings)
    task.set_fewshot_seed(1234)
    return task


def find_limit(config, monkeypatch):
    """The most examples with which lm-eval can build every prompt, and whether one held its own answer."""
    limit, own = 0, False
    for shots in range(1, ROWS + 2):
        task = make_task(config, monkeypatch)
        try:
            for _ in range(4):  # the default sampler draws at random
                for doc in task.eval_docs:
                    own |= f" {doc['a']}\n\n" in task.fewshot_context(doc, shots)
        except (AssertionError, ValueError):
            break
        limit = shots
    return limit, own


def list_configs():
    names = (None, "train", "validation", "test")
    for train, validation, test in itertools.product((None, "train"), (None, "validation"), (None, "test")):
        if not (validation or test):
            continue
        for named, sampler in itertools.product(names, ("default", "first_n")):
            config = {"training_split": train, "validation_split": validation, "test_split": test}
            config["fewshot_split"] = named
            yield {key: value for key, value in config.items() if value} | {
                "fewshot_config": {"sampler": sampler}
            }
    written = {"samples": SPLITS["train"][:4]}
    yield {"test_split": "test", "fewshot_config": written}
    yield {"validation_split": "validation", "fewshot_config": written}
    yield {"validation_split": "validation", "fewshot_config": written | {"sampler": "first_n"}}
    yield {"test_split": "test", "fewshot_split": "train", "fewshot_config": written}  # the split wins
    yield {"test_split": "test", "fewshot_config": {"split": "test"}, "fewshot_split": "train"}
    yield {"test_split": "test", "validation_split": "test"}
    yield {"test_split": "test", "training_split": "test", "fewshot_config": {"sampler": "first_n"}}


@pytest.mark.parametrize("config", list(list_configs()), ids=str)
def test_pools_are_lm_evals(config, monkeypatch):
    pool = find_pool(config)
    rows = pool.written if pool.split is None else ROWS
    limit, own = find_limit(config, monkeypatch)
    assert pool.count_usable(rows) == limit
    assert pool.shows_own_answer is own


def test_rows_that_are_changed_for_the_examples_only_are_never_left_out(monkeypatch):
    config = {"test_split": "test", "fewshot_split": "test"}
    change = {"process_docs": lambda rows: rows.map(lambda row: {"q": f"Example: {row['q']}"})}
    assert not find_pool(config).shows_own_answer
    config["fewshot_config"] = change
    assert find_pool(config).shows_own_answer
    assert find_limit(config, monkeypatch)[1]


def test_a_sampler_of_the_tasks_own_is_not_judged():
    pool = find_pool({"test_split": "test", "fewshot_split": "test", "fewshot_config": {"sampler": print}})
    assert pool.sampler == "" and pool.leaves_out
