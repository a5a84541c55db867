"""The details of a task, model or dataset, for ``gptalt-eval show``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gptalt_eval.commands.model_page import list_facts, render_example
from gptalt_eval.commands.printing import format_facts
from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.plan import Plan, PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Dataset, Installed, Split
from gptalt_eval.data.locate import choose_data_dir, find_sample
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.resolve import resolve

KINDS = ("task", "model", "dataset")


def find_kind(plugins: Installed, name: str) -> str:
    """What a name stands for, the first of ``KINDS``.

    Raises:
        UnknownNameError: nothing has this name; suggests the nearest.
    """
    catalog = Catalog(plugins)
    finds: tuple[Callable[[str], object], ...] = (catalog.find_task, catalog.find_model)
    for kind, find in zip(KINDS, finds, strict=False):
        try:
            find(name)
        except UnknownNameError:
            continue
        return kind
    if name in catalog.datasets:
        return KINDS[2]
    known = [*KINDS, *catalog.list_benchmarks(), *catalog.model_names, *catalog.datasets]
    hint = did_you_mean(name, dict.fromkeys(known)) or "See: gptalt-eval ls tasks, models, datasets"
    raise UnknownNameError(f"There is no task, model or dataset '{name}'.", hint)


def describe_model(catalog: Catalog, name: str) -> str:
    owned = catalog.find_model(name)
    return format_facts(list_facts(owned)) + render_example(owned.item)


def describe_dataset(catalog: Catalog, name: str) -> str:
    if name not in catalog.datasets:
        hint = did_you_mean(name, catalog.datasets) or "See: gptalt-eval ls datasets"
        raise UnknownNameError(f"There is no dataset '{name}'.", hint)
    owned = catalog.datasets[name]
    dataset = owned.item
    facts = {
        "Dataset": f"{dataset.name}: {dataset.title}",
        "From": str(owned.owner),
        "Licence": dataset.licence,
        "Published": dataset.home,
        "Hub": dataset.hub
        + (f" ({', '.join(str(config) for config in dataset.configs)})" if dataset.configs else ""),
        "Sample": "embedded, written for trying things out" if dataset.sample else "none",
    }
    if dataset.cluster:
        facts["Shared"] = f"{dataset.cluster}; rows with the same one are not taken for independent"
    facts |= {split.name: describe_split(dataset, split, catalog.data_dir) for split in dataset.splits}
    return format_facts(facts)


def describe_split(dataset: Dataset, split: Split, folder: Path | str | None) -> str:
    """How many rows a split has and which of its files are in the folder or the embedded sample."""
    rows = f"{split.rows:,} rows" if split.rows else "number of rows unknown"
    if folder is None:
        return f"{rows}; below --data_dir: {' or '.join(split.files)}"
    if not isinstance(folder, Path):
        return f"{rows}; {'some' if find_sample(dataset, split.name) else 'none'} in the sample"
    places = []
    for pattern in split.files:
        shown = pattern.replace("{config}", "*")
        count = len(list(folder.glob(shown)))
        found = f"found ({count:,} files)" if count > 1 else "found" if count else "not found"
        places.append(f"{folder / shown}: {found}")
    return f"{rows}; {', or '.join(places)}"


def describe_task(
    plugins: Installed, name: str, data_dir: str | None, shots: int | None, trusted: tuple[str, ...] = ()
) -> str:
    """Where a task comes from, and its first prompt as a model receives it.

    Args:
        trusted: the YAMLs that may run the Python that they name.
    """
    owned = Catalog(plugins).find_task(name)
    spec = RunSpec(
        model="dummy", tasks=(name,), data_dir=data_dir or (None if choose_data_dir(None) else SAMPLE),
        num_fewshot=() if shots is None else (shots,), trust_task_code=trusted,
    )  # fmt: skip
    plan = resolve(spec, plugins)
    tasks = plan.cells[0].tasks
    facts = {
        "Task": f"{name} ({owned.item.kind})",
        "From": str(owned.owner),
        "Defined in": str(owned.item.file or ""),
    }
    if owned.item.kind != "task":
        facts["Tasks"] = (
            f"{len(tasks)}: {', '.join(task.name for task in tasks[:12])}{' ...' if len(tasks) > 12 else ''}"
        )
        return format_facts(facts) + f"\n\nFor one of them: gptalt-eval show task {tasks[0].name}"
    return format_facts(facts | describe_data(tasks[0])) + "\n\n" + render_first_prompt(plan)


def describe_data(task: PlannedTask) -> dict[str, str]:
    data = task.data
    facts = {
        "Kind": str(task.config.get("output_type", "generate_until")),
        "Scored split": str(task.eval_split),
    }
    if data.dataset:
        facts |= {"Data": data.dataset.title, "Licence": data.dataset.licence, "Published": data.dataset.home}
    where = "the embedded sample" if data.is_sample else data.origin
    rows = data.splits[task.eval_split].rows if task.eval_split in data.splits else 0
    return facts | {"Prompt from": where + (f", {rows:,} rows" if rows else "")}


def render_first_prompt(plan: Plan) -> str:
    from gptalt_eval.running.lmeval import evaluation

    with evaluation.quiet(None):
        request = evaluation.build_first_requests(plan)
    if not request:
        raise GptaltError("The task has no rows to show.")
    prompt, continuations = request
    lines = ["First prompt:", "-" * 60, prompt, "-" * 60]
    if continuations:
        lines += ["Compared continuations:", *(f"  {continuation!r}" for continuation in continuations)]
    return "\n".join(lines)
