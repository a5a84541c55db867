"""Task names taken apart down to single tasks, each with its data found and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.located import SAMPLE, LocatedData
from gptalt_eval.contract.plan import Cell, PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Owned, Owner, PromptStyle
from gptalt_eval.data import locate as data_module
from gptalt_eval.data.readers import REPLACE
from gptalt_eval.machine.hub import can_reach_hub, is_in_hub_cache
from gptalt_eval.planning import index as taskindex
from gptalt_eval.planning.catalog import LM_EVAL, Catalog
from gptalt_eval.planning.index import Function, TaskEntry

LOCAL_BUILDERS = ("json", "csv", "parquet", "arrow", "text", "pandas", "xml", "webdataset", "imagefolder")
NOWHERE = "nowhere"


class TaskFinder:
    """Takes task names apart down to single tasks, and finds each one's data.

    Args:
        catalog: where names are looked up.
        spec: the request.
        data_dir: a folder, the word ``sample``, None for the hub, or NOWHERE: only names are looked up.
    """

    def __init__(self, catalog: Catalog, spec: RunSpec, data_dir: Path | str | None) -> None:
        self.catalog = catalog
        self.spec = spec
        self.data_dir = data_dir
        self.folders: set[Path] = set()
        self.faults: list[GptaltError] = []
        self.lacking: dict[tuple[str, int | None], str] = {}
        self.located: dict[tuple[str, str | None, tuple[str, ...]], LocatedData] = {}
        self.hub_reachable: bool | None = None

    def is_lm_evals(self, folder: Path) -> bool:
        return folder.is_relative_to(taskindex.find_lm_eval_tasks())

    def plan_cells(self, variants: Sequence[tuple[PromptStyle | None, RunSpec]]) -> list[Cell]:
        """The cells of the request, one for each prompt style and number of shots.

        What can be evaluated at some of the shots only is noted in ``lacking``; a fault at all of them is one
        of the request.
        """
        planned: dict[int | None, dict[str, tuple[Owned[TaskEntry], list[PlannedTask]]]] = {}
        faults: dict[str, dict[int | None, list[GptaltError]]] = {}
        for pattern in self.spec.tasks:
            for owned in self._find(pattern):
                for shots in self.spec.num_fewshot or read_group_shots(owned.item) or (None,):
                    known = len(self.faults)
                    tasks = self._expand(owned, {}, shots)
                    found, self.faults = self.faults[known:], self.faults[:known]
                    if found:
                        faults.setdefault(owned.item.name, {})[shots] = found
                    else:
                        planned.setdefault(shots, {})[owned.item.name] = (owned, tasks)
        for name, by_shots in faults.items():
            if any(name in entries for entries in planned.values()):
                self.lacking |= {(name, shots): str(found[0]) for shots, found in by_shots.items()}
            else:
                self.faults += [fault for found in by_shots.values() for fault in found]
        return [
            self._plan_cell(style, spec, shots, list(entries.values()))
            for style, spec in variants
            for shots, entries in planned.items()
        ]

    def _find(self, pattern: str) -> list[Owned[TaskEntry]]:
        try:
            return self.catalog.find_tasks(pattern)
        except GptaltError as error:
            self.faults.append(error)
            return []

    def _plan_cell(
        self,
        style: PromptStyle | None,
        spec: RunSpec,
        shots: int | None,
        entries: Sequence[tuple[Owned[TaskEntry], list[PlannedTask]]],
    ) -> Cell:
        leaves: dict[str, PlannedTask] = {}
        names: dict[str, None] = {}
        for owned, tasks in entries:
            for task in tasks:
                leaves.setdefault(task.name, task)
            is_path = owned.item.file is not None and owned.item.name not in self.catalog.tasks
            is_path = is_path and owned.item.name not in self.catalog.lm_eval_tasks
            names[str(owned.item.file) if is_path else owned.item.name] = None
        return Cell(spec, style, shots, tuple(names), tuple(leaves.values()))

    def _expand(
        self, owned: Owned[TaskEntry], overrides: Mapping[str, Any], shots: int | None
    ) -> list[PlannedTask]:
        """The single tasks behind a name. ``overrides`` are the fields that enclosing groups set."""
        entry = owned.item
        if entry.kind == "tag":
            return [task for name in entry.members for task in self._expand_name(name, overrides, shots)]
        if entry.file is not None:
            self.folders.add(entry.file.parent)
        try:
            config = taskindex.load_task_yaml(entry.file) if entry.file else {}
        except GptaltError as error:
            self.faults.append(error)
            return []
        if entry.kind == "group":
            return self._expand_children(config, overrides, shots, owned.owner)
        return self._plan_task(entry.name, entry.file, owned.owner, {**config, **overrides}, shots)

    def _expand_name(self, name: str, overrides: Mapping[str, Any], shots: int | None) -> list[PlannedTask]:
        try:
            return self._expand(self.catalog.find_task(name), overrides, shots)
        except GptaltError as error:
            self.faults.append(error)
            return []

    def _expand_children(
        self, group: Mapping[str, Any], overrides: Mapping[str, Any], shots: int | None, owner: Owner
    ) -> list[PlannedTask]:
        structural = ("group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag")
        inherited = {**{key: value for key, value in group.items() if key not in structural}, **overrides}
        tasks: list[PlannedTask] = []
        children = group.get("task")
        for child in children if isinstance(children, list) else [children]:
            if isinstance(child, str):
                tasks += self._expand_name(child, inherited, shots)
            elif isinstance(child, dict):
                tasks += self._expand_inline(child, inherited, shots, owner)
        return tasks

    def _expand_inline(
        self, child: Mapping[str, Any], inherited: Mapping[str, Any], shots: int | None, owner: Owner
    ) -> list[PlannedTask]:
        """A group's member written in place: a reference with overrides, a subgroup, or a whole task."""
        name = child.get("group", child.get("task"))
        own = {
            key: value
            for key, value in child.items()
            if key not in ("group", "task", "task_alias", "group_alias")
        }
        if isinstance(name, str) and self._is_known(name):
            return self._expand_name(name, {**inherited, **own}, shots)
        if "group" in child:
            return self._expand_children(child, inherited, shots, owner)
        return self._plan_task(str(name), None, owner, {**inherited, **child}, shots)

    def _is_known(self, name: str) -> bool:
        return name in self.catalog.tasks or name in self.catalog.lm_eval_tasks

    def _refuse_unknown_code(self, name: str, owner: Owner, config: Mapping[str, Any]) -> None:
        """Ask before Python runs that a YAML from outside of lm-eval and the installed plugins names."""
        installed = owner == LM_EVAL or owner.plugin in self.catalog.plugins.owners
        if installed or self.spec.confirm_run_unsafe_code:
            return
        functions = [found for found in list_functions(config) if not self.is_lm_evals(found.file)]
        if functions:
            names = ", ".join(dict.fromkeys(f"{function.name} ({function.file})" for function in functions))
            raise GptaltError(
                f"{name}: its YAML runs Python code that comes with no installed plugin: {names}.",
                "Read that code. If you trust it, add --confirm_run_unsafe_code.",
            )

    def _plan_task(
        self, name: str, file: Path | None, owner: Owner, config: Mapping[str, Any], shots: int | None
    ) -> list[PlannedTask]:
        eval_split = config.get("test_split") or config.get("validation_split") or ""
        fewshot_split = choose_fewshot_split(config)
        try:
            self._refuse_unknown_code(name, owner, config)
            if shots and forbids_shots(config):
                raise GptaltError(f"{name}: it takes no examples.", "Leave out --num_fewshot, or give 0.")
            located = self._locate(config, eval_split, fewshot_split)
            task = PlannedTask(name, file, owner, config, located, eval_split, fewshot_split)
            self._require_rows(task, shots)
            task = replace(task, partial=self._check_rows(task, shots))
        except GptaltError as error:
            self.faults.append(error)
            return []
        return [task]

    def _locate(self, config: Mapping[str, Any], eval_split: str, fewshot_split: str | None) -> LocatedData:
        hub, name = config.get("dataset_path"), config.get("dataset_name")
        if self.data_dir == NOWHERE:
            return LocatedData(str(hub), name, "code")
        if config.get("custom_dataset") or config.get("class") or not isinstance(hub, str):
            return LocatedData(str(hub or ""), name, "code")
        if hub in LOCAL_BUILDERS or Path(hub).exists():
            return LocatedData(hub, name, "files")
        owned = self.catalog.find_dataset(hub, name)
        if owned is not None and self.data_dir is not None:
            splits = tuple(dict.fromkeys(split for split in (eval_split, fewshot_split) if split))
            key = (hub, name, splits)
            if key not in self.located:
                self.located[key] = data_module.locate(owned.item, name, splits, self.data_dir)
            return self.located[key]
        if self.data_dir == SAMPLE:
            raise DataError(
                f"There is no embedded sample of {hub}.",
                "Give --data_dir a folder, or leave it out to use the hub.",
            )
        self._require_hub(hub, owned.item.title if owned else hub)
        return LocatedData(hub, name, "hub", owned.item if owned else None)

    def _require_hub(self, hub: str, title: str) -> None:
        if is_in_hub_cache(hub, "datasets"):
            return
        if self.hub_reachable is None:
            self.hub_reachable = can_reach_hub()
        if not self.hub_reachable:
            raise DataError(
                f"{title}: its data ({hub}) is not on this disk, and the hub cannot be reached.",
                "Give --data_dir FOLDER, set HF_ENDPOINT to a mirror, or try --data_dir sample.",
            )

    def _require_rows(self, task: PlannedTask, shots: int | None) -> None:
        data = task.data
        if data.origin not in ("folder", "sample") or data.dataset is None:
            return
        self._require_split(data, task.eval_split)
        wanted = effective_shots(task.config, shots)
        if not wanted:
            return
        if task.fewshot_split:
            self._require_split(data, task.fewshot_split)
        rows = data.splits[task.fewshot_split].rows if task.fewshot_split else 0
        # the row that is asked about is never its own example
        available = rows - (task.fewshot_split == task.eval_split)
        if wanted > available:
            text = f"{task.name}: {wanted} examples were asked for, '{task.fewshot_split}' has {available}."
            raise DataError(text, f"Give --num_fewshot {available} or less.")

    def _check_rows(self, task: PlannedTask, shots: int | None) -> str:
        """Why the results of a task are not those of the whole benchmark, or an empty string.

        Raises:
            DataError: the files that it needs are short or altered, and the request does not allow that.
        """
        is_shown = effective_shots(task.config, shots) and task.fewshot_split
        names = dict.fromkeys((task.eval_split, task.fewshot_split or "") if is_shown else (task.eval_split,))
        verdicts = [task.data.splits[name].verdict for name in names if name in task.data.splits]
        for verdict in verdicts:
            if verdict and verdict.is_faulty and not self.spec.allow_partial_data:
                assert task.data.dataset is not None
                again = f"{verdict.likely} Get the file again ({task.data.dataset.home})".lstrip()
                raise DataError(verdict.reason, f"{again}, or go on with --allow-partial-data.")
        return " ".join(verdict.reason for verdict in verdicts if verdict and verdict.reason)

    def _require_split(self, data: LocatedData, name: str) -> None:
        split = data.dataset.split(name) if data.dataset else None
        if name in data.splits and data.splits[name].rows:
            return
        assert data.dataset is not None
        where = "the embedded sample" if data.is_sample else str(self.data_dir)
        looked = " or ".join(split.files).replace("{config}", data.config or "") if split else "no such split"
        if name in data.splits:
            raise DataError(f"{data.dataset.title}: '{name}' in {where} is empty ({looked}).", REPLACE)
        raise DataError(
            f"{data.dataset.title}: no '{name}' in {where} (looked for {looked}).",
            f"It is published at {data.dataset.home}; or try --data_dir sample.",
        )


def list_functions(value: Any) -> list[Function]:
    """The ``!function`` values of a task's YAML, at any depth."""
    if isinstance(value, Function):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [function for item in inner for function in list_functions(item)]


def choose_fewshot_split(config: Mapping[str, Any]) -> str | None:
    """The split that lm-eval draws examples from."""
    fewshot = config.get("fewshot_config")
    chosen = fewshot.get("split") if isinstance(fewshot, dict) else None
    keys = ("fewshot_split", "training_split", "validation_split", "test_split")
    return chosen or next((str(config[key]) for key in keys if config.get(key)), None)


def effective_shots(config: Mapping[str, Any], shots: int | None) -> int:
    """The examples in a prompt: what was asked for wins, over a task's own 0 too, unlike in lm-eval."""
    return (config.get("num_fewshot") or 0) if shots is None else shots


def forbids_shots(config: Mapping[str, Any]) -> bool:
    """Whether a task takes no examples: it scores whole texts, or says so (``metadata: fewshot: false``)."""
    metadata = config.get("metadata")
    said = isinstance(metadata, dict) and metadata.get("fewshot") is False
    return said or config.get("output_type") == "loglikelihood_rolling"


def read_group_shots(entry: TaskEntry) -> tuple[int, ...]:
    """The shot counts that a group of ours is meant to be run at (``metadata: num_fewshot: [0, 1]``)."""
    if entry.kind != "group" or entry.file is None:
        return ()
    metadata = taskindex.load_task_yaml(entry.file).get("metadata")
    counts = metadata.get("num_fewshot") if isinstance(metadata, dict) else None
    return tuple(counts) if isinstance(counts, list) else ()
