"""What a results file says of its tasks and groups beside their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Results = Mapping[str, Any]


def walk(results: Results) -> Iterator[tuple[str, int]]:
    """Task and group names with their depth, each group before its members, each name once.

    A group without a score of its own is not shown, and so adds no depth.
    """
    scores: Mapping[str, Any] = results.get("results", {})
    members: Mapping[str, list[str]] = results.get("group_subtasks", {})
    inside = {child for children in members.values() for child in children}
    seen: set[str] = set()

    def descend(name: str, depth: int) -> Iterator[tuple[str, int]]:
        if name in seen or name not in scores:
            return
        seen.add(name)
        yield name, depth
        inner = depth + is_scored(results, name)
        for child in members.get(name, ()):
            yield from descend(child, inner)

    for name in [*members, *scores]:
        if name not in inside:
            yield from descend(name, 0)


def is_group(results: Results, name: str) -> bool:
    return name in results.get("group_subtasks", {})


def is_scored(results: Results, name: str) -> bool:
    """Whether it has a score: a group need not have one."""
    return any("," in key for key in results["results"][name])


def list_tasks(results: Results, name: str) -> list[str]:
    """The single tasks of a group, at any depth, each once; of a task: itself."""
    found: dict[str, None] = {}
    seen: set[str] = set()

    def descend(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        if is_group(results, name):
            for child in results["group_subtasks"][name]:
                descend(child)
        elif name in results.get("results", {}):
            found[name] = None

    descend(name)
    return list(found)


def list_hidden(results: Results) -> set[str]:
    """The tasks and groups inside a group that has a score of its own."""
    hidden: set[str] = set()
    inside: int | None = None
    for name, depth in walk(results):
        if inside is not None and depth > inside:
            hidden.add(name)
        else:
            inside = depth if is_group(results, name) and is_scored(results, name) else None
    return hidden


def find_shots(results: Results, name: str) -> int | None:
    """Examples in the prompt; None if the members of a group differ.

    lm-eval counts a group's only from its direct members, and so none for MMLU, whose members are groups.
    """
    counts = {find_task_shots(results, task) for task in list_tasks(results, name)}
    return counts.pop() if len(counts) == 1 else None


def find_task_shots(results: Results, task: str) -> int:
    config = results.get("configs", {}).get(task, {})
    return int(results.get("n-shot", {}).get(task) or config.get("num_fewshot") or 0)


def find_style(results: Results) -> str:
    named = results.get("config", {}).get("prompt_style")
    return str(named or ("chat template" if results.get("chat_template") else "standard"))
