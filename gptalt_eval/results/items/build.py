"""All items of some runs for the page: by task, compressed, each text once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import Arm, Evaluated, merge_arms, walk_arms
from gptalt_eval.results.groups import is_group, list_tasks, walk
from gptalt_eval.results.items.gathering import gather_task
from gptalt_eval.results.items.packing import Column, compress, pack, reduce, share, unshare, write_out
from gptalt_eval.results.items.pictures import LEFT_OUT, Album, ShownPicture
from gptalt_eval.results.rows import Logged, find_judged

LARGEST = 13 << 20  # characters of all items and pictures in a page
LENGTHS = (20_000, 4_000, 1_000, 250, 60)  # of texts, that are tried until all items have room


@dataclass(frozen=True)
class Items:
    """The items of a page.

    Attributes:
        index: arms, tasks, groups and pictures, compressed.
        chunks: the items of each task, compressed.
        pictures: those that are shown, by number.
        folders: the names of those with the samples.
        notes: what is left out, in sentences.
        count: of the items.
    """

    index: str
    chunks: Sequence[str]
    pictures: Mapping[int, ShownPicture]
    folders: Sequence[str]
    notes: Sequence[str]
    count: int


def make_items(
    records: Sequence[Record], logged: Sequence[Logged], album: Album | None = None, order: Sequence[Arm] = ()
) -> Items | None:
    """The items of some runs; None if no samples were saved. Arms come in the given order, others after them.

    Samples may be larger than the memory: they are read line by line, task by task, and of each task only
    what is compressed is kept.
    """
    album = album or Album()
    places = group_by_task(records, merge_arms(walk_arms(records)))
    known = dict.fromkeys(each.arm for entries in places.values() for each in entries)
    arms = list(dict.fromkeys([*(arm for arm in order if arm in known), *known]))
    chunks: list[bytes] = []
    tasks: list[Column] = []
    cut = 0
    for name, entries in places.items():
        rows = [logged[each.record].first(each.result, name) for each in entries]
        judged = find_judged(records[entries[0].record].results[entries[0].result], name, rows)
        chunk, lost = gather_task(records, entries, arms, judged, album)
        if chunk["number"]:
            chunks.append(compress(share(chunk)))
            tasks.append({"name": name, "count": len(chunk["number"])})
            cut += lost
    if not tasks:
        return None
    pictures = album.choose()
    names = [task["name"] for task in tasks]
    kept, notes = fit(chunks, names, LARGEST - sum(len(each.content) for each in pictures))
    tasks = [tasks[place] for place in kept]
    left_out = sum(each.reason == LEFT_OUT for each in pictures)
    if cut and not notes:
        notes.append(f"{cut:,} long {'text is' if cut == 1 else 'texts are'} shown without the middle.")
    notes += [f"{left_out:,} of {len(pictures):,} pictures are left out."] if left_out else []
    index = {
        "arms": [[arm.model, arm.prompt_style, "" if arm.num_fewshot is None else arm.shots] for arm in arms],
        "tasks": tasks,
        "tree": list(list_tree(records, [task["name"] for task in tasks])),
        "pictures": [each.reason or [each.width, each.height] for each in pictures],
    }
    return Items(
        index=pack(index),
        chunks=[write_out(chunk) for chunk in kept.values()],
        pictures={number: each for number, each in enumerate(pictures) if each.content},
        folders=list(dict.fromkeys(record.folder.name for record in records)),
        notes=notes,
        count=sum(task["count"] for task in tasks),
    )


def group_by_task(records: Sequence[Record], evaluated: Sequence[Evaluated]) -> dict[str, list[Evaluated]]:
    """Where each task, without the groups, was evaluated."""
    found: dict[str, list[Evaluated]] = {}
    for each in evaluated:
        if not is_group(records[each.record].results[each.result], each.name):
            found.setdefault(each.name, []).append(each)
    return found


def list_tree(records: Sequence[Record], tasks: Sequence[str]) -> Iterator[tuple[str, int, list[int]]]:
    """Groups and tasks as they are chosen: name, depth, numbers of the tasks. Groups come before members."""
    seen: set[str] = set()
    for record in records:
        for results in record.results:
            ends: list[str] = []
            for name, _ in walk(results):
                while ends and name not in members(results, ends[-1]):
                    ends.pop()
                found = [tasks.index(task) for task in list_tasks(results, name) if task in tasks]
                if name not in seen and found:
                    seen.add(name)
                    yield name, len(ends), found
                if is_group(results, name):
                    ends.append(name)


def members(results: Mapping[str, Any], group: str) -> Sequence[str]:
    children: Sequence[str] = results.get("group_subtasks", {}).get(group, ())
    return children


def fit(chunks: Sequence[bytes], names: Sequence[str], room: int) -> tuple[dict[int, bytes], list[str]]:
    """The tasks' items, by number of the task, for which there is room, and what is left out.

    First it is the examples, then the middle of long texts, and at last whole tasks.
    """
    kept = dict(enumerate(chunks))
    if measure(kept) <= room:
        return kept, []
    length = LENGTHS[0]
    for length in LENGTHS:
        kept = {
            place: compress(share(reduce(unshare(json.loads(gzip.decompress(chunk))), length)))
            for place, chunk in enumerate(chunks)
        }
        if measure(kept) <= room:
            break
    said = "The examples in front of the questions are left out, because the page would be too large."
    if length < LENGTHS[0]:
        said += f" So is the middle of texts of more than {length:,} characters."
    lost = []
    while measure(kept) > room:
        largest = max(kept, key=lambda place: len(kept[place]))
        lost.append(names[largest])
        del kept[largest]
    more = [f"So are all items of {', '.join(lost)}: see the files samples_*.jsonl."] if lost else []
    return kept, [said, *more]


def measure(chunks: Mapping[int, bytes]) -> int:
    """How many characters some chunks have as text: five for four bytes."""
    return sum(-(-len(chunk) * 5 // 4) for chunk in chunks.values())
