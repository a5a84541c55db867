"""What shows only when lm-eval has built the tasks: how many rows the hub has, and what modules import."""

from __future__ import annotations

from collections.abc import Iterator

from gptalt_eval.contract.errors import GptaltError, raise_together
from gptalt_eval.contract.plan import Cell, Plan
from gptalt_eval.planning.backends import HF_BACKENDS, find_extra
from gptalt_eval.planning.examples import find_pool
from gptalt_eval.planning.task_data import describe_shortage
from gptalt_eval.planning.weights import count_pictures
from gptalt_eval.running.lmeval import seams
from gptalt_eval.running.lmeval.pictures import find_gallery
from gptalt_eval.running.lmeval.rehearsal import rehearse_tasks
from gptalt_eval.running.lmeval.tasks import LoadedTasks, load_tasks


def build_tasks(plan: Plan) -> list[LoadedTasks]:
    """The tasks of each cell, built before the weights are loaded.

    Raises:
        GptaltError, RequestErrors: a package that a task imports is missing, a task has fewer rows than the
            request needs, or lm-eval cannot build or score one of a user's YAMLs.
    """
    try:
        loaded = [load_tasks(plan, cell) for cell in plan.cells]
    except ImportError as error:
        extra = find_extra([error.name.partition(".")[0]] if error.name else [])
        wanted = f"'lm-eval[{extra}]'" if extra else error.name
        hint = f"Type: pip install {wanted}" if wanted else "Install it, or correct its name in the YAML."
        raise GptaltError(f"A task needs what is not installed: {error}", hint) from error
    cells = zip(plan.cells, loaded, strict=True)
    faults = [fault for cell, tasks in cells for fault in find_shortages(cell, tasks)]
    raise_together([*faults, *(fault for tasks in loaded for fault in find_unseen(plan, tasks))])
    for cell, each in zip(plan.cells, loaded, strict=True):
        rehearse_tasks(plan, cell, each.tasks)
    return loaded


def find_unseen(plan: Plan, loaded: LoadedTasks) -> Iterator[GptaltError]:
    """Tasks that show pictures to a model that sees none."""
    model = plan.model.item
    if model.create or model.backend not in HF_BACKENDS or count_pictures(model, plan.spec):
        return
    for name, task in loaded.tasks.items():
        if find_gallery(task):
            text = f"{name} asks about pictures, and the model '{plan.spec.model}' sees none."
            hint = "Models that see pictures: gptalt-eval ls models. A folder with one: --model hf-multimodal"
            yield GptaltError(text, f"{hint} --model_args pretrained=FOLDER")


def find_shortages(cell: Cell, loaded: LoadedTasks) -> Iterator[GptaltError]:
    """More examples or rows than a task has."""
    planned = {task.name: task for task in cell.tasks}
    for name, task in loaded.tasks.items():
        config, sampler = (planned[name].config if name in planned else {}), getattr(task, "sampler", None)
        shots, pool = task.config.num_fewshot, find_pool(config)
        if shots and sampler is not None and name in planned and pool.sampler:
            rows = seams.count_examples(sampler)
            if shots > pool.count_usable(rows):
                yield GptaltError(*describe_shortage(name, shots, pool, rows))
        wanted = (cell.spec.samples or {}).get(name)
        if wanted and wanted[-1] >= len(task.eval_docs):
            count = len(task.eval_docs)
            text = f"--samples: {name} has no row {wanted[-1]}."
            yield GptaltError(text, f"Its {count:,} rows are 0 to {count - 1}.")
