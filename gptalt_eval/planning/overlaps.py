"""Requested names that have tasks in common, which lm-eval refuses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import PlannedTask, TaskEntry
from gptalt_eval.contract.types import Owned

Expanded = tuple[Owned[TaskEntry], list[PlannedTask]]


def drop_parts(entries: Sequence[Expanded], matched: Collection[str]) -> list[Expanded]:
    """The names that are evaluated, without what a pattern such as ``mmlu_*`` matches beside its group.

    Args:
        entries: the names, each with its tasks.
        matched: those that only a pattern named.
    """
    members = {owned.item.name: {task.name for task in tasks} for owned, tasks in entries}
    groups: dict[str, list[str]] = {}  # by task
    for owned, _ in entries:
        if owned.item.kind == "group":
            for task in members[owned.item.name]:
                groups.setdefault(task, []).append(owned.item.name)
    kept: dict[str, Expanded] = {}
    for owned, tasks in sorted(entries, key=lambda entry: (-len(entry[1]), entry[0].item.kind != "group")):
        name = owned.item.name
        wholes = groups.get(tasks[0].name, []) if tasks and name in matched else []
        if not any(whole in kept and members[name] <= members[whole] for whole in wholes):
            kept[name] = (owned, tasks)
    return [entry for entry in entries if entry[0].item.name in kept]


def find_overlaps(entries: Sequence[Expanded]) -> Iterator[GptaltError]:
    """A group and its member, or groups with the same members; a task may be named twice otherwise.

    Args:
        entries: the names that are evaluated together, each with its tasks.
    """
    sizes = {owned.item.name: len(tasks) for owned, tasks in entries}
    shared: dict[tuple[str, str], list[str]] = {}
    seen: dict[str, TaskEntry] = {}
    for owned, tasks in entries:
        for name in dict.fromkeys(task.name for task in tasks):
            first = seen.setdefault(name, owned.item)
            if first.name != owned.item.name and "group" in (first.kind, owned.item.kind):
                shared.setdefault((first.name, owned.item.name), []).append(name)
    parts: dict[str, list[str]] = {}
    for (first_name, second_name), names in shared.items():
        part, whole = sorted((first_name, second_name), key=lambda name: sizes[name])
        if len(names) < sizes[part]:
            shown = names[0] if len(names) == 1 else f"{len(names)} tasks, such as {names[0]}"
            text = f"'{first_name}' and '{second_name}' have in common: {shown}."
            yield GptaltError(text, "Evaluate them in two runs.")
        else:
            parts.setdefault(whole, []).append(part)
    for whole, inner in parts.items():
        inner.sort(key=list(sizes).index)
        shown = ", ".join(inner[:3]) + (f" and {len(inner) - 3} more" if len(inner) > 3 else "")
        verb, them = ("is", "it") if len(inner) == 1 else ("are", "them")
        text = f"{shown} {verb} part of '{whole}', which is requested too."
        yield GptaltError(text, f"Omit {them}: the results of '{whole}' contain those of its tasks.")
