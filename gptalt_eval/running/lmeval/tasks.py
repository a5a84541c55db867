"""lm-eval's tasks, with rows from where the plan located them."""

from __future__ import annotations

import contextlib
import functools
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.located import LocatedData
from gptalt_eval.contract.plan import Cell, Plan
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.hub import can_reach_hub, explain_unreachable
from gptalt_eval.machine.storage import cache_dir
from gptalt_eval.planning.expand import refuse_displaced
from gptalt_eval.planning.local_files import LOCAL_BUILDERS
from gptalt_eval.planning.weights import count_pictures
from gptalt_eval.running.lmeval import guards, seams
from gptalt_eval.running.lmeval.faults import explain_task
from gptalt_eval.running.lmeval.packed import limit_unpacking
from gptalt_eval.running.lmeval.pictures import show_pictures
from gptalt_eval.running.lmeval.tables import load_rows


@dataclass(frozen=True)
class LoadedTasks:
    """Tasks as lm-eval built them.

    Attributes:
        tasks: name -> lm-eval ``Task``.
        groups: name -> lm-eval ``Group``.
    """

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any] = field(default_factory=dict)


def load_tasks(plan: Plan, cell: Cell) -> LoadedTasks:
    """Build the tasks of a cell, with rows from where the plan located them."""
    manager = seams.make_manager(
        plan.entries, {**plan.model_args, **plan.spec.metadata, **describe_sight(plan)}
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(guards.guard_tasks(plan))
        stack.enter_context(serve_rows(gather_located(cell), find_places(plan, cell)))
        guards.check_unchanged(plan)
        if plan.trusted:
            stack.enter_context(compile_afresh(cache_dir() / "pycache"))
        tasks, groups = load_named(manager, plan, cell)
    check_origin(tasks, cell)
    for task in tasks.values():
        prepare_task(task, cell)
    return LoadedTasks(tasks, groups)


def describe_sight(plan: Plan) -> dict[str, str]:
    """What tasks learn of a model that sees pictures: whether a prompt may have one or several."""
    count = count_pictures(plan.model.item, plan.spec)
    return {"pictures": count} if count else {}


def load_named(manager: Any, plan: Plan, cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tasks and groups of a cell.

    Raises:
        GptaltError: lm-eval cannot build one of them; says which, and which field of which file it is.
        ImportError: a package that one of them needs is not installed.
    """
    explain = functools.partial(explain_task, plan)
    try:
        with seams.explain_builds(explain):
            return seams.load_named(manager, cell.names)
    except (GptaltError, ImportError):
        raise
    except Exception as error:  # before it knew the task: a group's settings, an include
        raise explain(", ".join(cell.names), error) from error


@dataclass(frozen=True)
class Places:
    """What tasks may read of this computer, besides located rows.

    Attributes:
        free: the folders below which they may; None: the user trusts all that was listed.
        names: what the tasks' YAMLs name, as far as it is a folder or file.
    """

    free: Sequence[Path] | None = None
    names: frozenset[str] = frozenset()


def find_places(plan: Plan, cell: Cell) -> Places:
    names = frozenset(task.data.hub for task in cell.tasks if task.data.origin == "files")
    return Places(None if plan.trusted else plan.rows, names)


@contextlib.contextmanager
def compile_afresh(folder: Path) -> Iterator[None]:
    """Inside the block, Python's compiled files are in this folder; those beside a source are not used.

    What a stranger's folder has in ``__pycache__`` need not come from the source that the user has read.
    """
    before, sys.pycache_prefix = sys.pycache_prefix, str(folder)
    try:
        yield
    finally:
        sys.pycache_prefix = before


def check_origin(tasks: Mapping[str, Any], cell: Cell) -> None:
    """Check that lm-eval built each task from the YAML that was planned.

    Raises:
        GptaltError: it read another one.
    """
    planned = {task.name: task.file for task in cell.tasks}
    for name, task in tasks.items():
        source = (task.get_config("metadata") or {}).get("config_source")
        file = planned.get(name)
        if source not in (None, "inline") and (file is None or not file.samefile(source)):
            raise GptaltError(
                f"lm-eval read {name} from {source}, not from {file}.", "Nothing was evaluated."
            )


def gather_located(cell: Cell) -> dict[tuple[str, str | None], LocatedData]:
    """All splits that the tasks of a cell need, by hub id and configuration."""
    located: dict[tuple[str, str | None], LocatedData] = {}
    for task in cell.tasks:
        if task.data.splits:
            key = (task.data.hub, task.data.config)
            others = located[key].splits if key in located else {}
            located[key] = replace(task.data, splits={**others, **task.data.splits})
    return located


@contextlib.contextmanager
def serve_rows(
    located: Mapping[tuple[str, str | None], LocatedData], places: Places | None = None
) -> Iterator[None]:
    """Inside the block, ``datasets.load_dataset`` returns located rows; other names come from the hub.

    Args:
        located: the rows by hub id and configuration.
        places: what else may be read.
    """
    made: dict[tuple[str, str | None], Any] = {}
    known = places or Places()

    def load(from_hub: Callable[..., Any], path: str, name: str | None = None, **settings: Any) -> Any:
        key = (path, name)
        if key in located:
            if key not in made:
                made[key] = make_dataset(located[key])
            return seams.take_splits(made[key], settings.get("split"))
        is_local = path in LOCAL_BUILDERS or "data_files" in settings or Path(str(path)).exists()
        free = known.free if is_local else ()
        try:
            if Path(str(path)).exists() and path not in (*LOCAL_BUILDERS, *known.names):
                refuse_displaced(path, path)
            if free is None:
                with limit_unpacking():
                    return from_hub(path=path, name=name, **settings)
            with (
                guards.check_builders(lambda builder: guards.refuse_files(path, builder, free)),
                limit_unpacking(),
            ):
                rows = from_hub(path=path, name=name, **settings)
            guards.refuse_media(path, rows, free)
            return rows
        except GptaltError:
            raise
        except Exception as error:
            title = f"{path} ({name})" if name else path
            cause = find_cause(error)
            text = f"The data of {title} could not be loaded: {type(cause).__name__}: {cause}"
            raise DataError(text, advise(path, settings.get("data_files"))) from error

    with seams.replace_load_dataset(load):
        yield


def find_cause(error: BaseException) -> BaseException:
    """The first of a chain of errors: the last ones only say that there was one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def advise(path: str, data_files: Any) -> str:
    """What to do about data that could not be loaded: local files, or those of the hub."""
    files = [path] if Path(path).exists() else [str(file) for file in flatten(data_files)]
    local = [file for file in files if "://" not in file]
    if local:
        missing = [file for file in local if not Path(file).expanduser().exists() and "*" not in file]
        named = ", ".join(missing or local)
        return f"{'There is no' if missing else 'Check its format and whether it is damaged:'} {named}"
    if not can_reach_hub():
        cure = explain_unreachable().cure
        return f"{cure[0].upper()}{cure[1:]}, or give the release files with --data_dir."
    return (
        "The hub can be reached: check its name and configuration there, and your access (hf auth login). "
        "A damaged copy in the hub's cache can be deleted."
    )


def flatten(files: Any) -> list[Any]:
    """The single files of ``data_files``: one, a list, or either by split."""
    if isinstance(files, Mapping):
        return [one for each in files.values() for one in flatten(each)]
    if isinstance(files, (list, tuple)):
        return [one for each in files for one in flatten(each)]
    return [] if files is None else [files]


def make_dataset(data: LocatedData) -> Any:
    """A ``DatasetDict`` of the located splits; other official splits are empty."""
    assert data.dataset is not None
    made = {name: load_rows(data, name) for name in data.splits}
    features = next(iter(made.values())).features
    for split in data.dataset.splits:
        # lm-eval opens the split of the examples even at 0 shots
        made.setdefault(
            split.name, datasets.Dataset.from_dict({key: [] for key in features}, features=features)
        )
    served = datasets.DatasetDict(made)
    files = [file for split in data.splits.values() for file in split.files]
    served.folder = files[0].parent  # in which a task of a plugin finds the pictures that its rows name
    return served


def prepare_task(task: Any, cell: Cell) -> None:
    """Override a task's settings with the request's, as lm-eval's ``simple_evaluate`` does.

    One difference: the requested number of shots overrides even a task's own 0.
    """
    spec = cell.spec
    if task.get_config("output_type") == "generate_until" and spec.gen_kwargs:
        task.set_config(key="generation_kwargs", value=dict(spec.gen_kwargs), update=True)
    if spec.predict_only:
        task.override_metric(metric_name="bypass")
    if cell.num_fewshot is not None:
        task.set_config(key="num_fewshot", value=cell.num_fewshot)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    if cell.style and cell.style.instruction:
        own = task.get_config("description") or ""
        task.set_config(key="description", value=f"{cell.style.instruction}\n\n{own}")
    task.set_fewshot_seed(seed=spec.seed[3])
    if task.get_config("num_fewshot") and (task.get_config("metadata") or {}).get("fewshot") == "unseen":
        drop_scored(task)
    show_pictures(task)


def drop_scored(task: Any) -> None:
    """Draw no examples from scored rows: the splits of some releases overlap."""
    scored = {task.doc_to_text(doc) for doc in task.eval_docs}
    seams.filter_examples(task, lambda doc: task.doc_to_text(doc) not in scored)


def set_seeds(spec: RunSpec, with_torch: bool) -> None:
    """Seed the generators, as lm-eval does before it loads a model.

    Args:
        spec: the request.
        with_torch: whether to seed torch too; importing it takes seconds, which other models do not need.
    """
    python, numpy, torch_seed, _ = spec.seed
    if python is not None:
        random.seed(python)
    if numpy is not None:
        np.random.seed(numpy)
    if torch_seed is not None and with_torch:
        import torch

        torch.manual_seed(torch_seed)
