"""Which of a task's items the report shows: the first ones, or wrong and right ones with their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from gptalt_eval.contract.record import PICTURES, Record
from gptalt_eval.results.pictures import BETWEEN, MARK, Album, Part, find_start, split_prompt
from gptalt_eval.results.samples import ShownItem, view_item

SHOWN = 20  # items of a task


@dataclass(frozen=True)
class ShownTask:
    """Some items of a task.

    Attributes:
        items: each with the pieces of its prompt.
        start: the pieces of what all prompts begin with, its examples, where this is shown once.
        has_pictures: whether any of them has a picture.
    """

    items: Sequence[tuple[ShownItem, Sequence[Part]]]
    start: Sequence[Part] = field(default=())
    has_pictures: bool = False


def view_task(record: Record, result: int, task: str, judged: str, album: Album) -> ShownTask:
    """Some items of a task.

    Args:
        record: the run.
        result: the number of the results file.
        task: the task's name.
        judged: the metric that tells whether an item is correct; empty: none does.
        album: the page's pictures.
    """
    return illustrate(choose_items(record, result, task, judged), record, result, task, album)


def illustrate(items: Sequence[ShownItem], record: Record, result: int, task: str, album: Album) -> ShownTask:
    """Items of a task with the pieces of their prompts."""
    if not any(item.pictures for item in items):
        return ShownTask([(item, [Part(item.prompt)]) for item in items])
    start = find_shared(items, find_delimiter(record.results[result], task))
    before = items[0].prompt[:start].count(MARK)
    opening = [
        album.add(record, name, f"picture {number} of the examples")
        for number, name in enumerate(items[0].pictures[:before], 1)
    ]
    shown = []
    for item in items:
        names = item.pictures[before:]
        which = [
            f" {number} of {len(names)}" if len(names) > 1 else "" for number in range(1, len(names) + 1)
        ]
        pictures = [
            album.add(record, name, f"picture{number}, item {item.number}")
            for name, number in zip(names, which, strict=True)
        ]
        shown.append((item, split_prompt(item.prompt[start:], pictures)))
    return ShownTask(shown, split_prompt(items[0].prompt[:start], opening) if start else (), True)


def choose_items(record: Record, result: int, task: str, judged: str) -> list[ShownItem]:
    """The first items of a task; if it has pictures, wrong and right ones, those with pictures first."""
    items = read_items(record, result, task, judged)
    first = list(islice(items, SHOWN))
    is_illustrated = any(item.pictures for item in first) or (record.folder / PICTURES).is_dir()
    if not is_illustrated:
        return first
    kept: dict[tuple[bool, int], list[ShownItem]] = {}
    for item in chain(first, items):
        alike = kept.setdefault((bool(item.is_right), len(item.pictures)), [])
        if len(alike) < SHOWN:
            alike.append(item)
    if not any(count for _, count in kept):
        return first
    best = sorted(
        kept, key=lambda key: -key[1]
    )  # examples have pictures too: most are those of an item's own
    wrong, right = (
        [item for key in best if key[0] is is_right for item in kept[key]] for is_right in (False, True)
    )
    half = SHOWN // 2
    return [*wrong[: max(half, SHOWN - len(right))], *right[: max(half, SHOWN - len(wrong))]]


def read_items(record: Record, result: int, task: str, judged: str) -> Iterator[ShownItem]:
    """The items of a task with its first filter. Long texts are cut: a line may have 30 MB."""
    lines = record.read_samples(result, task)
    first = next(lines, None)
    if first is None:
        return
    for line in chain([first], lines):
        if line.get("filter") == first.get("filter"):
            yield view_item(line, judged)


def find_delimiter(results: Mapping[str, Any], task: str) -> str:
    """What stands between the examples of a prompt; empty: a chat template decides."""
    if results.get("chat_template_sha"):
        return ""
    return str(results.get("configs", {}).get(task, {}).get("fewshot_delimiter") or BETWEEN)


def find_shared(items: Sequence[ShownItem], between: str) -> int:
    """How long the beginning is that all prompts and their pictures have; it is shown once."""
    if any(item.prompt.count(MARK) != len(item.pictures) for item in items):
        return 0
    start = find_start([item.prompt for item in items], between)
    count = items[0].prompt[:start].count(MARK)
    while len({item.pictures[:count] for item in items}) > 1:  # the last place is that of their own picture
        start, count = items[0].prompt.rfind(MARK, 0, start), count - 1
    return start
