"""The first prompt of every task we ship or name: a change shows here before it shows in anyone's numbers."""

import pytest

from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.testing import make_plugin_set

TASKS = [
    "arc_challenge", "arc_easy", "boolq", "drop", "gsm8k", "hellaswag", "mmlu_anatomy", "openbookqa", "piqa", "race", "race_middle",
    "sciq", "triviaqa", "winogrande",
]  # fmt: skip


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", TASKS)
def test_the_first_prompt(name, shots, assert_golden):
    spec = make_spec({"model": "dummy", "tasks": name, "data_dir": "sample", "num_fewshot": shots})
    assert_golden(resolve(spec, make_plugin_set()), f"{name}-{shots}shot")


def test_every_listed_task_has_one():
    catalog = Catalog(make_plugin_set())
    listed = {name for name, owned in catalog.list_benchmarks().items() if owned.item.kind == "task"}
    assert listed <= set(TASKS)
