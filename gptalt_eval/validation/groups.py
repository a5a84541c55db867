"""Groups: their members exist, they are not cyclic, their fields are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.plan import TaskEntry
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.catalog import Catalog, list_children
from gptalt_eval.planning.index import load_task_yaml, read_task_folder
from gptalt_eval.validation.scene import Scene
from gptalt_eval.validation.yamlmap import Steps

#: A member with one of these defines a task itself; its name need not exist.
WHOLE_TASK = {"dataset_path", "custom_dataset", "class", "doc_to_text", "include"}
MAX_HINTS = 10  # searching 14,000 names takes a twentieth of a second


class Neighbourhood:
    """The tasks that can be a group's members: those in its folder, and those of the catalog.

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
        """The tasks in the group's own folder; empty if the catalog already knows them."""
        if folder not in self._folders:
            is_known = any(entry.file and entry.file.parent == folder for entry in self.installed.values())
            self._folders[folder] = {} if is_known else read_task_folder(folder)
        return self._folders[folder]

    def suggest(self, scene: Scene, name: str, folder: Path) -> str:
        """A hint with the nearest names; empty after the first few of a file."""
        unknown = sum(finding.rule == "unknown-member" for finding in scene.findings.sorted())
        return did_you_mean(name, [*self.list_beside(folder), *self.installed]) if unknown < MAX_HINTS else ""

    def find_cycle(self, name: str, folder: Path, entry: TaskEntry, path: tuple[str, ...]) -> tuple[str, ...]:
        """The path from a member back to the group ``name``; empty if there is none."""
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
            cycle = self.find_cycle(name, folder, found, (*path, entry.name)) if found else ()
            if cycle:
                return cycle
        return ()


def check_group(scene: Scene, neighbourhood: Neighbourhood) -> None:
    """A group's fields, its members, and how their scores are aggregated."""
    known = (*scene.vocabulary.group_fields, *scene.vocabulary.task_fields)
    for name in scene.config:
        if name not in known:
            scene.refuse_unknown("unknown-field", "group field", name, known, (name,), True)
    members = scene.config.get("task")
    if members is None:
        scene.report("missing-field", "This group has no 'task' list of members.", "group", of_key=True)
    elif isinstance(members, str):
        text = "A group's members must be a list: write '- ' before each."
        scene.report("wrong-type", text, "task")
    check_members(scene, neighbourhood, scene.config, ("task",), set(scene.config))
    check_aggregates(scene, scene.config.get("aggregate_metric_list"), ("aggregate_metric_list",))


def check_members(
    scene: Scene, neighbourhood: Neighbourhood, group: Mapping[str, Any], steps: Steps, overrides: set[str]
) -> None:
    """Members exist, or define tasks themselves."""
    members = group.get("task")
    if len(steps) > 20:
        return
    for index, member in enumerate(members if isinstance(members, list) else ()):
        at = (*steps, index)
        if isinstance(member, str):
            check_member(scene, neighbourhood, member, at, overrides)
        elif not isinstance(member, dict):
            scene.report("wrong-type", f"A member must be a name or a mapping, not {member!r:.60}.", *at)
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
    name, folder = member["group"], follow_links(scene.definition.main.file).parent
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
    folder = follow_links(scene.definition.main.file).parent
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
        cycle = neighbourhood.find_cycle(own, folder, entry, (own,))
        if cycle:
            text = f"The group '{own}' contains itself: {' > '.join(cycle)}."
            scene.report("group-cycle", text, *at)


def check_overrides(scene: Scene, member: Mapping[Any, Any], at: Steps) -> None:
    known = [name for name in scene.vocabulary.task_fields if name != "include"]
    for name in map(str, member):
        if name == "include":
            text = "lm-eval does not process 'include' inside a member: define this task in its own file."
            scene.report("unknown-field", text, *at, name, of_key=True)
        elif name not in known:
            scene.refuse_unknown("unknown-field", "task field", name, known, (*at, name), True)


def check_aggregates(scene: Scene, value: Any, steps: Steps) -> None:
    for at, entry in list_entries(value, steps):
        if not isinstance(entry, dict):
            scene.report("wrong-type", "An entry must be a mapping such as 'metric: acc'.", *at)
            continue
        known = scene.vocabulary.aggregate_fields
        for name in map(str, entry):
            if name not in known:
                scene.refuse_unknown(
                    "unknown-field", "aggregate_metric_list field", name, known, (*at, name), True
                )
        if "metric" not in entry:
            scene.report("missing-field", "This entry has no 'metric'.", *at)
        elif not isinstance(entry["metric"], str):
            scene.report("wrong-type", "A metric's name must be text.", *at, "metric")
        filters = entry.get("filter_list")
        names = filters if isinstance(filters, list) else [filters or ""]
        if not all(isinstance(name, str) for name in names):
            text = "'filter_list' must name filters of the members' filter_list."
            scene.report("wrong-type", text, *at, "filter_list")
        aggregation = entry.get("aggregation", "mean")
        if isinstance(aggregation, str) and aggregation != "mean":
            text = f"A group's aggregation must be 'mean' or a !function, not '{aggregation}'."
            scene.report("unknown-aggregation", text, *at, "aggregation")


def list_entries(value: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    if isinstance(value, list):
        yield from (((*steps, index), entry) for index, entry in enumerate(value))
    elif value is not None:
        yield steps, value
