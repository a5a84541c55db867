"""Groups: members that exist, no circles, known fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.planning.catalog import Catalog, list_children
from gptalt_eval.planning.index import TaskEntry, load_task_yaml, read_task_folder
from gptalt_eval.validation.scene import Scene
from gptalt_eval.validation.yamlmap import Steps

#: A member with one of these is meant as a task of its own, not as the name of another.
WHOLE_TASK = {"dataset_path", "custom_dataset", "class", "doc_to_text", "include"}
MOST_HINTS = 10  # a look through 14,000 names takes a twentieth of a second


class Neighbourhood:
    """The tasks that a group's members can be: those beside it, and those of the catalog.

    Args:
        catalog: the core's, the plugins' and lm-eval's tasks.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._folders: dict[Path, Mapping[str, TaskEntry]] = {}

    @cached_property
    def installed(self) -> Mapping[str, TaskEntry]:
        ours = {name: owned.item for name, owned in self.catalog.tasks.items()}
        return {**self.catalog.lm_eval_tasks, **ours}

    def find(self, name: str, folder: Path) -> TaskEntry | None:
        return self.list_beside(folder).get(name) or self.installed.get(name)

    def list_beside(self, folder: Path) -> Mapping[str, TaskEntry]:
        """The tasks in the group's own folder; those of lm-eval's are known already."""
        if folder not in self._folders:
            is_known = any(entry.file and entry.file.parent == folder for entry in self.installed.values())
            self._folders[folder] = {} if is_known else read_task_folder(folder)
        return self._folders[folder]

    def suggest(self, scene: Scene, name: str, folder: Path) -> str:
        """The nearest names; nothing any more after the first few of a file."""
        unknown = sum(finding.rule == "unknown-member" for finding in scene.findings.sorted())
        return (
            did_you_mean(name, [*self.list_beside(folder), *self.installed]) if unknown < MOST_HINTS else ""
        )

    def find_circle(
        self, name: str, folder: Path, entry: TaskEntry, path: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The way from a member back to the group ``name``, or nothing."""
        if entry.name == name:
            return (*path, name)
        if entry.kind != "group" or entry.file is None or entry.name in path:
            return ()
        try:
            children = list_children(load_task_yaml(entry.file))
        except (GptaltError, RecursionError):
            return ()
        for child in children:
            found = self.find(child.name, folder)
            way = self.find_circle(name, folder, found, (*path, entry.name)) if found else ()
            if way:
                return way
        return ()


def check_group(scene: Scene, neighbourhood: Neighbourhood) -> None:
    """A group's fields, its members and how their scores are put together."""
    known = (*scene.vocabulary.group_fields, *scene.vocabulary.task_fields)
    for name in scene.config:
        if name not in known:
            scene.refuse_unknown("unknown-field", "field of a group", name, known, (name,), True)
    members = scene.config.get("task")
    if members is None:
        scene.report("missing-field", "This group has no 'task' list of members.", "group", of_key=True)
    elif isinstance(members, str):
        text = "lm-eval takes a group's members from a list only: write '- ' before each."
        scene.report("wrong-type", text, "task")
    check_members(scene, neighbourhood, scene.config, ("task",), set(scene.config))
    check_aggregates(scene, scene.config.get("aggregate_metric_list"), ("aggregate_metric_list",))


def check_members(
    scene: Scene, neighbourhood: Neighbourhood, group: Mapping[str, Any], steps: Steps, overrides: set[str]
) -> None:
    """Members exist, or are whole tasks of their own."""
    members = group.get("task")
    if len(steps) > 20:
        return
    for index, member in enumerate(members if isinstance(members, list) else ()):
        at = (*steps, index)
        if isinstance(member, str):
            check_member(scene, neighbourhood, member, at, overrides)
        elif not isinstance(member, dict):
            scene.report("wrong-type", f"A member is a name or a mapping, not {member!r:.60}.", *at)
        elif "group" in member:
            check_subgroup(scene, neighbourhood, member, at, overrides)
        elif isinstance(member.get("task"), str):
            check_overrides(scene, member, at)
            check_member(scene, neighbourhood, member["task"], (*at, "task"), overrides | set(member))
        else:
            scene.report("missing-field", "This member has neither 'task' nor 'group'.", *at)


def check_subgroup(
    scene: Scene, neighbourhood: Neighbourhood, member: Mapping[str, Any], at: Steps, overrides: set[str]
) -> None:
    name, folder = member["group"], scene.definition.main.file.resolve().parent
    entry = neighbourhood.find(name, folder) if isinstance(name, str) else None
    if entry is not None:
        check_member(scene, neighbourhood, name, (*at, "group"), overrides)
    elif "task" in member:
        check_members(scene, neighbourhood, member, (*at, "task"), overrides | set(member))
        aggregates = member.get("aggregate_metric_list")
        check_aggregates(scene, aggregates, (*at, "aggregate_metric_list"))
    else:
        hint = neighbourhood.suggest(scene, str(name), folder)
        scene.report("unknown-member", f"There is no group '{name}'. {hint}", *at, "group")


def check_member(
    scene: Scene, neighbourhood: Neighbourhood, name: str, at: Steps, overrides: set[str]
) -> None:
    folder = scene.definition.main.file.resolve().parent
    entry = neighbourhood.find(name, folder)
    own = str(scene.config.get("group"))
    if name == own:
        scene.report("group-cycle", f"The group '{own}' contains itself.", *at)
    elif entry is None:
        is_whole_task = WHOLE_TASK & overrides
        if not is_whole_task:
            hint = neighbourhood.suggest(scene, name, folder)
            scene.report("unknown-member", f"There is no task '{name}'. {hint}", *at)
    else:
        circle = neighbourhood.find_circle(own, folder, entry, (own,))
        if circle:
            text = f"The group '{own}' contains itself: {' > '.join(circle)}."
            scene.report("group-cycle", text, *at)


def check_overrides(scene: Scene, member: Mapping[Any, Any], at: Steps) -> None:
    known = [name for name in scene.vocabulary.task_fields if name != "include"]
    for name in map(str, member):
        if name == "include":
            text = "lm-eval includes nothing inside a member: give this task a file of its own."
            scene.report("unknown-field", text, *at, name, of_key=True)
        elif name not in known:
            scene.refuse_unknown("unknown-field", "field of a task", name, known, (*at, name), True)


def check_aggregates(scene: Scene, value: Any, steps: Steps) -> None:
    for at, entry in list_entries(value, steps):
        if not isinstance(entry, dict):
            scene.report("wrong-type", "This takes mappings such as 'metric: acc'.", *at)
            continue
        known = scene.vocabulary.aggregate_fields
        for name in map(str, entry):
            if name not in known:
                scene.refuse_unknown(
                    "unknown-field", "field of aggregate_metric_list", name, known, (*at, name), True
                )
        if "metric" not in entry:
            scene.report("missing-field", "This entry has no 'metric'.", *at)
        aggregation = entry.get("aggregation", "mean")
        if isinstance(aggregation, str) and aggregation != "mean":
            text = f"Groups aggregate by 'mean' or a !function, not '{aggregation}'."
            scene.report("unknown-aggregation", text, *at, "aggregation")


def list_entries(value: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    if isinstance(value, list):
        yield from (((*steps, index), entry) for index, entry in enumerate(value))
    elif value is not None:
        yield steps, value
