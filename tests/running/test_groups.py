"""Every group that we ship runs on the embedded sample, at every number of examples that it is offered with."""

import pytest

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.expand import read_group_shots
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.lmeval.tasks import load_tasks

CORE = {"gptalt_zero_shot", "gptalt_few_shot", "gptalt_demo"}


@pytest.fixture
def installed(monkeypatch):
    """The core and every plugin of this environment."""
    monkeypatch.delenv("GPTALT_EVAL_LOAD_PLUGINS")
    return load_plugins(builtin)


def list_groups(plugins):
    return {name: owned.item for name, owned in Catalog(plugins).tasks.items() if owned.item.kind == "group"}


def test_every_group_runs_on_the_sample_at_every_number_of_examples(installed):
    groups = list_groups(installed)
    assert groups.keys() >= CORE
    for name, entry in groups.items():
        offered = read_group_shots(entry) or (None,)
        plan = resolve(RunSpec(model="dummy", tasks=(name,), data_dir="sample"), installed)
        assert [cell.num_fewshot for cell in plan.cells] == list(offered) and not plan.lacking, name
        for cell in plan.cells:
            for task in load_tasks(plan, cell).tasks.values():
                shots = task.config.num_fewshot
                for doc in task.eval_docs:
                    assert task.fewshot_context(doc, shots), (name, shots)


@pytest.mark.parametrize("shots", [1, 5])
def test_the_standard_benchmarks_take_the_usual_numbers_of_examples_too(installed, shots):
    """``--num_fewshot 5`` with the survey's zero-shot block: lm-eval draws six where it could meet the row."""
    spec = RunSpec(model="dummy", tasks=("gptalt_zero_shot",), data_dir="sample", num_fewshot=(shots,))
    plan = resolve(spec, installed)
    [cell] = plan.cells
    for task in load_tasks(plan, cell).tasks.values():
        for doc in task.eval_docs:
            assert task.fewshot_context(doc, shots)
