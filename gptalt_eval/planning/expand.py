"""Expands task names into single tasks, each with its data located and counted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Cell, PlannedTask, TaskEntry
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Owned, Owner, PromptStyle
from gptalt_eval.planning import index as taskindex
from gptalt_eval.planning.catalog import LM_EVAL, Catalog
from gptalt_eval.planning.consent.deeds import Deeds, read_deeds
from gptalt_eval.planning.consent.trust import find_free, is_trusted
from gptalt_eval.planning.examples import find_pool
from gptalt_eval.planning.local_files import LOCAL_BUILDERS
from gptalt_eval.planning.overlaps import drop_parts, find_overlaps
from gptalt_eval.planning.task_data import DataFinder, find_wrong_kinds


class TaskFinder:
    """Expands task names into single tasks, and locates each task's data.

    Args:
        catalog: where to look up names.
        spec: the request.
    """

    def __init__(self, catalog: Catalog, spec: RunSpec) -> None:
        self.catalog = catalog
        self.spec = spec
        self.data = DataFinder(catalog, spec)
        self.free = find_free(catalog)
        self.entries: dict[str, TaskEntry] = {}  # what lm-eval may look up
        self.files: dict[Path, None] = {}  # YAMLs that are neither lm-eval's nor an installed plugin's
        self.refused: dict[str, Deeds] = {}  # what those do that the user has not allowed
        self.trusted: dict[str, str] = {}  # the files, with SHA-256, of those that the user has allowed
        self.judged: dict[str, str] = {}  # these files, whatever they do
        self.faults: list[GptaltError] = []
        self.open: list[str] = []  # the groups whose members are being expanded
        self.setters: dict[str, str] = {}  # the fields that those from outside set for their members
        self.changes: dict[str, str] = {}  # what they change in a task, by its name
        self.matched: set[str] = set()  # names that only a pattern such as mmlu_* names
        self.lacking: dict[tuple[str, int | None], str] = {}

    def is_installed(self, owner: Owner) -> bool:
        return owner == LM_EVAL or owner.plugin in self.catalog.plugins.owners

    def plan_cells(self, variants: Sequence[tuple[PromptStyle | None, RunSpec]]) -> list[Cell]:
        """The cells of the request, one for each prompt style and shot count.

        A task that can only be evaluated at some shot counts is noted in ``lacking``; a problem at all of
        them is a problem of the request.
        """
        planned: dict[int | None, dict[str, tuple[Owned[TaskEntry], list[PlannedTask]]]] = {}
        faults: dict[str, dict[int | None, list[GptaltError]]] = {}
        for pattern in self.spec.tasks:
            for owned in self._find(pattern):
                for shots in self.spec.num_fewshot or read_group_shots(owned.item) or (None,):
                    known = len(self.faults)
                    tasks = self._expand(owned, {}, shots)
                    if not tasks and known == len(self.faults) and not self.refused:
                        self.faults.append(describe_empty(owned.item))
                    found, self.faults = self.faults[known:], self.faults[:known]
                    if found:
                        faults.setdefault(owned.item.name, {})[shots] = found
                        continue
                    same = planned.setdefault(shots, {}).setdefault(owned.item.name, (owned, tasks))
                    self._refuse_same(owned.item.name, owned.item.file, same[0].item.file)
        for name, by_shots in faults.items():
            if any(name in entries for entries in planned.values()):
                self.lacking |= {(name, shots): str(found[0]) for shots, found in by_shots.items()}
            else:
                self.faults += [fault for found in by_shots.values() for fault in found]
        kept = {shots: drop_parts(list(each.values()), self.matched) for shots, each in planned.items()}
        for entries in kept.values():
            self.faults += find_overlaps(entries)
        return [
            self._plan_cell(style, spec, shots, entries)
            for style, spec in variants
            for shots, entries in kept.items()
        ]

    def _find(self, pattern: str) -> list[Owned[TaskEntry]]:
        try:
            found = self.catalog.find_tasks(pattern)
        except GptaltError as error:
            self.faults.append(error)
            return []
        self.matched |= {owned.item.name for owned in found if len(found) > 1} - {*self.spec.tasks}
        return found

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
                self._refuse_same(task.name, leaves.setdefault(task.name, task).file, task.file)
            name = str(owned.item.file) if self._is_path(owned.item) else owned.item.name
            self.entries[name] = owned.item
            names[name] = None
        return Cell(spec, style, shots, tuple(names), tuple(leaves.values()))

    def _refuse_same(self, name: str, one: Path | None, other: Path | None) -> None:
        if one != other:
            text = f"Two tasks have the name {name}: {one} and {other}."
            self.faults.append(GptaltError(text, "Omit or rename one of them."))

    def _is_path(self, entry: TaskEntry) -> bool:
        """Whether lm-eval must be given the entry's file: its name is unknown, or another file's."""
        known = self.catalog.tasks.get(entry.name)
        meant = known.item if known else self.catalog.lm_eval_tasks.get(entry.name)
        return entry.file is not None and (meant is None or meant.file != entry.file)

    def _judge(self, entry: TaskEntry, file: Path) -> None:
        """Note what a YAML from outside does, and whether the user has allowed that."""
        self.files[file] = None
        deeds = read_deeds(file, self.free)
        self.judged |= deeds.hash_files()
        if not is_trusted(deeds, self.spec.trust_task_code):
            self.refused[entry.name] = deeds
        elif deeds.found:
            self.trusted |= deeds.hash_files()

    def _expand(
        self, owned: Owned[TaskEntry], overrides: Mapping[str, Any], shots: int | None
    ) -> list[PlannedTask]:
        """The single tasks of a name. ``overrides`` are fields that enclosing groups set."""
        entry = owned.item
        if entry.kind == "tag":
            return [task for name in entry.members for task in self._expand_name(name, overrides, shots)]
        try:
            config = taskindex.load_task_yaml(entry.file) if entry.file else {}
            if entry.file is not None and not self.is_installed(owned.owner) and entry.file not in self.files:
                self._judge(entry, entry.file)
        except GptaltError as error:
            self.faults.append(error)
            return []
        if entry.kind == "group":
            if entry.name in self.open:
                self.faults.append(describe_circle([*self.open, entry.name], entry.file))
                return []
            self.open.append(entry.name)
            tasks = self._expand_children(config, overrides, shots, owned.owner)
            self.open.pop()
            return tasks
        self._note_changes(entry.name, config, overrides, shots)
        return self._plan_task(entry.name, entry.file, owned.owner, {**config, **overrides}, shots)

    def _note_changes(
        self, name: str, config: Mapping[str, Any], overrides: Mapping[str, Any], shots: int | None
    ) -> None:
        """Note what a group changes, so that its results are not taken for those of the task itself."""
        changed = [key for key, value in overrides.items() if value != config.get(key)]
        kept = [
            key for key in changed if key in self.setters and not (key == "num_fewshot" and shots is not None)
        ]
        if kept:
            self.changes[name] = (
                f"{name} is not as in its own YAML: {self.setters[kept[0]]} sets {', '.join(kept)}."
            )

    @contextlib.contextmanager
    def _set_by(self, keys: Iterable[str], owner: Owner) -> Iterator[None]:
        """Inside the block, a group sets these fields for its members."""
        before = self.setters
        if not self.is_installed(owner):
            self.setters = before | dict.fromkeys(keys, f"the group '{self.open[-1]}' ({owner})")
        yield
        self.setters = before

    def _expand_name(self, name: str, overrides: Mapping[str, Any], shots: int | None) -> list[PlannedTask]:
        try:
            owned = self.catalog.find_task(name)
            self.entries[name] = owned.item
            return self._expand(owned, overrides, shots)
        except GptaltError as error:
            self.faults.append(error)
            return []

    def _expand_children(
        self, group: Mapping[str, Any], overrides: Mapping[str, Any], shots: int | None, owner: Owner
    ) -> list[PlannedTask]:
        structural = ("group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag")
        own = {key: value for key, value in group.items() if key not in structural}
        inherited = {**own, **overrides}
        tasks: list[PlannedTask] = []
        children = group.get("task")
        with self._set_by(own, owner):
            for child in children if isinstance(children, list) else [children]:
                if isinstance(child, str):
                    tasks += self._expand_name(child, inherited, shots)
                elif isinstance(child, dict):
                    tasks += self._expand_inline(child, inherited, shots, owner)
        return tasks

    def _expand_inline(
        self, child: Mapping[str, Any], inherited: Mapping[str, Any], shots: int | None, owner: Owner
    ) -> list[PlannedTask]:
        """An inline member of a group: a reference with overrides, a subgroup, or a complete task."""
        name = child.get("group", child.get("task"))
        own = {
            key: value
            for key, value in child.items()
            if key not in ("group", "task", "task_alias", "group_alias")
        }
        if isinstance(name, str) and self._is_known(name):
            with self._set_by(own, owner):
                return self._expand_name(name, {**inherited, **own}, shots)
        if "group" in child:
            return self._expand_children(child, inherited, shots, owner)
        return self._plan_task(str(name), None, owner, {**inherited, **child}, shots)

    def _is_known(self, name: str) -> bool:
        return name in self.catalog.tasks or name in self.catalog.lm_eval_tasks

    def _plan_task(
        self, name: str, file: Path | None, owner: Owner, config: Mapping[str, Any], shots: int | None
    ) -> list[PlannedTask]:
        if self.refused:
            return []  # not even its rows are looked at
        wrong = list(find_wrong_kinds(name, file, config))
        if wrong:
            self.faults += wrong
            return []
        eval_split = config.get("test_split") or config.get("validation_split") or ""
        fewshot_split = find_pool(config).split
        try:
            if shots and forbids_shots(config):
                raise GptaltError(
                    f"{name} takes no few-shot examples.", "Omit --num_fewshot, or set it to 0."
                )
            located = self.data.locate(config, eval_split, fewshot_split)
            if located.origin == "files" and file is not None and self.free.has_yaml(file):
                refuse_displaced(name, located.hub)
            task = PlannedTask(name, file, owner, config, located, eval_split, fewshot_split)
            self.data.require_rows(task, shots)
            task = replace(task, partial=self.data.check_rows(task, shots))
        except GptaltError as error:
            self.faults.append(error)
            return []
        return [task]


def refuse_displaced(name: str, hub: str) -> None:
    """Refuse a folder of the working folder that has the name of an installed task's data on the hub.

    Raises:
        GptaltError: there is one, which the ``datasets`` library would read instead.
    """
    if hub not in LOCAL_BUILDERS and not Path(hub).is_absolute():
        raise GptaltError(
            f"{name}: here is a folder '{hub}', which would be taken for the data of that name on the hub.",
            "Rename the folder, or change to another one and start again.",
        )


def describe_empty(entry: TaskEntry) -> GptaltError:
    text = f"The {entry.kind} '{entry.name}' has no tasks: its field 'task' must be a list of names."
    return GptaltError(text, f"Look at {entry.file}." if entry.file else "")


def describe_circle(names: Sequence[str], file: Path | None) -> GptaltError:
    chain = " > ".join(names[names.index(names[-1]) :])
    return GptaltError(f"The group '{names[-1]}' contains itself: {chain} ({file}).", "Remove one of them.")


def forbids_shots(config: Mapping[str, Any]) -> bool:
    """Whether a task takes no examples: it scores whole texts, or has ``metadata: fewshot: false``."""
    metadata = config.get("metadata")
    is_declared = isinstance(metadata, dict) and metadata.get("fewshot") is False
    return is_declared or config.get("output_type") == "loglikelihood_rolling"


def read_group_shots(entry: TaskEntry) -> tuple[int, ...]:
    """The default shot counts of one of our groups (``metadata: num_fewshot: [0, 1]``)."""
    if entry.kind != "group" or entry.file is None:
        return ()
    metadata = taskindex.load_task_yaml(entry.file).get("metadata")
    counts = metadata.get("num_fewshot") if isinstance(metadata, dict) else None
    return tuple(counts) if isinstance(counts, list) else ()
