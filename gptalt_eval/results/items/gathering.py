"""The items of one task in all arms, read line by line and kept in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import Arm, Evaluated
from gptalt_eval.results.groups import find_task_shots
from gptalt_eval.results.items.packing import Column, Texts, order, shorten, subtract
from gptalt_eval.results.items.pictures import MARK, Album, Rank
from gptalt_eval.results.items.samples import LoggedItem, read_item

BETWEEN = "\n\n"  # examples, unless a task says otherwise
MOST_BLOCKS = 1_000  # in a prompt
SHORTEST = 12  # characters of a row's text by which it is found in a prompt
NEAR = 100  # characters between two texts of a row
Key = tuple[int, str]  # row, hash of the document


@dataclass
class Kept:
    """What is kept of an item in one arm; texts and lists of texts are numbers."""

    blocks: tuple[int, ...]
    gold: int
    options: int
    replies: int
    likelihoods: tuple[float | None, ...]
    chosen: int
    normed: int
    right: int
    pictures: tuple[str, ...]
    cut: int
    own: int  # the number of the block in which the row's own text begins; 0: unknown
    filters: dict[str, tuple[int, Mapping[str, float]]] = field(default_factory=dict)


def gather_task(
    records: Sequence[Record], entries: Sequence[Evaluated], arms: Sequence[Arm], judged: str, album: Album
) -> tuple[Column, int]:
    """The items of one task in columns, and how many of their texts were cut.

    Args:
        records: the runs.
        entries: where the task was evaluated, once for each arm.
        arms: those of the page.
        judged: the metric that tells whether an item is correct; empty: none does.
        album: the page's pictures.
    """
    texts = Texts()
    subjects: dict[Key, str] = {}
    kept = [read_arm(records[each.record], each, texts, subjects) for each in entries]
    rows = sorted(subjects)
    wrong = {row for items in kept for row, item in items.items() if is_wrong(item, judged)}
    ranks = rank_rows(rows, wrong)
    lists: dict[tuple[int, ...], int] = {(): -1}
    columns = []
    for each, items in zip(entries, kept, strict=True):
        record = records[each.record]
        results = record.results[each.result]
        folded = fold(texts, items, results, each.name)
        named = {
            row: tuple(album.add(record, name, ranks[row]) for name in item.pictures)
            for row, item in items.items()
        }
        pictures = [lists.setdefault(named[row], len(lists) - 1) if row in items else -1 for row in rows]
        columns.append(
            write_columns(items, rows, folded, judged) | {"arm": arms.index(each.arm), "pictures": pictures}
        )
    names = list(dict.fromkeys(subjects[row] for row in rows))
    return {
        **order(texts, columns),
        "pictures": [list(numbers) for numbers in lists if numbers],
        "number": subtract([number for number, _ in rows]),
        "subjects": names,
        "subject": [names.index(subjects[row]) for row in rows],
    }, len(texts.cut)


def read_arm(record: Record, where: Evaluated, texts: Texts, subjects: dict[Key, str]) -> dict[Key, Kept]:
    """The items of one arm by row; those before the first damaged line."""
    results = record.results[where.result]
    config = results.get("configs", {}).get(where.name, {})
    between = find_delimiter(results, config)
    delimiter = find_option_delimiter(results, config)
    has_turns = is_chat(results) and find_task_shots(results, where.name) > 0
    kept: dict[Key, Kept] = {}
    with suppress(GptaltError):  # the report says so
        for line in record.read_samples(where.result, where.name):
            item = read_item(line, delimiter)
            key = (item.number, item.document)
            if key not in kept:
                kept[key] = keep(
                    item, texts, between, find_own(item.prompt, line.get("doc")) if has_turns else 0
                )
                subjects.setdefault(key, item.subject)
            kept[key].filters[item.filter] = (texts.add_list(item.extracted), item.metrics)
    return kept


def keep(item: LoggedItem, texts: Texts, between: str, begin: int) -> Kept:
    blocks = split_blocks(item.prompt, between)
    ends = accumulate(map(len, blocks))
    own = sum(end <= begin for end in ends)
    return Kept(
        blocks=tuple(map(texts.add, blocks)),
        gold=texts.add(item.gold) if item.gold else -1,
        options=texts.add_list(item.options),
        replies=texts.add_list(item.replies),
        likelihoods=item.likelihoods,
        chosen=item.chosen,
        normed=item.normed,
        right=item.right,
        pictures=item.pictures,
        cut=item.cut,
        own=own,
    )


def find_delimiter(results: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What stands between the examples of a prompt. In a chat that may be anything: a line's end counts."""
    if is_chat(results):
        return "\n"
    return str(config.get("fewshot_delimiter") or BETWEEN)


def find_own(prompt: str, document: object) -> int:
    """Where the text of the row itself begins in a prompt, after all examples; 0: unknown.

    It is the last place of the row's longest text, or of a text of the row right in front of that.
    """
    values = document.values() if isinstance(document, Mapping) else ()
    texts = [value.strip() for value in values if isinstance(value, str) and len(value.strip()) >= SHORTEST]
    found = {text: place for text in texts if (place := prompt.rfind(text)) >= 0}
    if not found:
        return 0
    begin = found[max(found, key=len)]
    for text, place in sorted(found.items(), key=lambda each: -each[1]):
        if 0 <= begin - place - len(text) <= NEAR:
            begin = place
    return begin


def is_chat(results: Mapping[str, Any]) -> bool:
    """Whether prompts are in a chat template."""
    return bool(results.get("chat_template_sha"))


def find_option_delimiter(results: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What lm-eval put between the prompt and each option; it does not count for ``acc_norm``."""
    delimiter = str(config.get("target_delimiter", " "))
    prefix = str(config.get("gen_prefix") or "")
    return "" if is_chat(results) and (not prefix or prefix[-1].isspace()) else delimiter


def split_blocks(text: str, between: str) -> list[str]:
    """The pieces of a prompt, each with the delimiter after it; joined, they are the prompt."""
    if text.count(between) > MOST_BLOCKS:
        return [text]
    pieces = text.split(between)
    return [*(piece + between for piece in pieces[:-1]), *(pieces[-1:] if pieces[-1] else ())]


def fold(
    texts: Texts, items: Mapping[Key, Kept], results: Mapping[str, Any], task: str
) -> dict[Key, tuple[int, int]]:
    """By row: the list of blocks in front of the question, and the question itself, as numbers."""
    written = list(texts.texts)
    shots = 0 if is_chat(results) else find_task_shots(results, task)
    first = next(iter(items.values()), None)
    start = find_start(written, items, results, task) if first else 0
    marks = {place: text.count(MARK) for place, text in enumerate(written) if MARK in text}
    pictures = count_common([(*item.pictures, "") for item in items.values()])
    while first and sum(marks.get(place, 0) for place in first.blocks[:start]) > pictures:
        start -= 1  # the last place is that of the items' own picture
    seen = Counter(place for item in items.values() for place in set(item.blocks))
    folded = {}
    for row, item in items.items():
        end = find_question(item.blocks, start, shots, seen) if shots else max(start, item.own)
        rest = item.blocks[end:]
        question = rest[0] if len(rest) == 1 else texts.add("".join(written[place] for place in rest))
        folded[row] = texts.add_places(item.blocks[:end]), question
    return folded


def find_start(
    written: Sequence[str], items: Mapping[Key, Kept], results: Mapping[str, Any], task: str
) -> int:
    """How many blocks all prompts of an arm begin with; of a single item, those of the task's description."""
    if len(items) > 1:
        return count_common([item.blocks for item in items.values()])
    config = results.get("configs", {}).get(task, {})
    described = split_blocks(str(config.get("description") or ""), find_delimiter(results, config))
    [item] = items.values()
    begins = [written[place] for place in item.blocks[: len(described)]] == described
    return len(described) if begins and len(described) < len(item.blocks) else 0


def count_common(blocks: Sequence[tuple[Any, ...]]) -> int:
    """How many blocks all prompts begin with; each keeps one of its own."""
    if not blocks:
        return 0
    first, last = min(blocks), max(blocks)
    common = 0
    while common < min(map(len, blocks)) - 1 and first[common] == last[common]:
        common += 1
    return common


def find_question(blocks: Sequence[int], start: int, shots: int, seen: Mapping[int, int]) -> int:
    """Where the question begins: after the common beginning, if that has all examples.

    Else it is the last block, and those before it that no other item has: they are not examples.
    """
    if start >= shots:
        return start
    end = len(blocks) - 1
    least = max(start, shots + (1 if start else 0))
    while end > least and seen[blocks[end - 1]] == 1:
        end -= 1
    return max(end, start)


def is_wrong(item: Kept, judged: str) -> bool:
    """Whether it is judged incorrect, with its first filter."""
    _, metrics = next(iter(item.filters.values()))
    return bool(judged) and metrics.get(judged) == 0


def rank_rows(rows: Sequence[Key], wrong: Collection[Key]) -> dict[Key, Rank]:
    """Where each item's pictures stand among those of the page: wrong ones first, evenly over the task."""
    ranks = {}
    for is_right in (False, True):
        alike = [row for row in rows if (row not in wrong) is is_right]
        ranks.update({row: (is_right, spread(place)) for place, row in enumerate(alike)})
    return ranks


def spread(place: int) -> float:
    """A fraction: sorted by it, places of any beginning of the order are evenly spread (van der Corput)."""
    return int(f"{place:b}"[::-1], 2) / (1 << max(1, place.bit_length()))


def write_columns(
    items: Mapping[Key, Kept], rows: Sequence[Key], folded: Mapping[Key, tuple[int, int]], judged: str
) -> Column:
    """The columns of one arm; -1 where it has not scored a row."""
    there = [items.get(row) for row in rows]
    names = list(dict.fromkeys(name for item in items.values() for name in item.filters))
    filters = {name: write_filter(there, name) for name in names}
    column = {
        "judged": name_metric(judged, names[0]) if judged and names else "",
        "shots": [folded[row][0] if row in items else -1 for row in rows],
        "prompt": [folded[row][1] if row in items else -1 for row in rows],
        "gold": [item.gold if item else -1 for item in there],
        "options": [item.options if item else -1 for item in there],
        "replies": [item.replies if item else -1 for item in there],
        "right": [item.right if item else -1 for item in there],
        "chosen": [item.chosen if item else -1 for item in there],
        "normed": [item.normed if item else -1 for item in there],
        "cut": [item.cut if item else 0 for item in there],
        "counts": [len(item.likelihoods) if item else 0 for item in there],
        "likelihoods": [shorten(value) for item in there if item for value in item.likelihoods],
        "filters": filters,
    }
    kept = [item for item in there if item]
    if not agrees(kept, "acc_norm", [item.normed for item in kept]):
        column["normed"] = [-1] * len(rows)
    return column


def write_filter(items: Sequence[Kept | None], name: str) -> Column:
    """What one filter made of the replies, and the metrics of that."""
    found = [item.filters.get(name, (-1, {})) if item else (-1, {}) for item in items]
    metrics = list(dict.fromkeys(metric for _, values in found for metric in values))
    return {
        "extracted": [extracted for extracted, _ in found],
        "metrics": {metric: [shorten(values.get(metric)) for _, values in found] for metric in metrics},
    }


def name_metric(metric: str, filter_name: str) -> str:
    return metric if filter_name == "none" else f"{metric} ({filter_name})"


def agrees(items: Sequence[Kept], metric: str, chosen: Sequence[int]) -> bool:
    """Whether a metric is what these options give: a task may compute one of this name in its own way."""
    for item, place in zip(items, chosen, strict=True):
        value = next(iter(item.filters.values()))[1].get(metric)
        if value in (0, 1) and place >= 0 and item.right >= 0 and (place == item.right) != bool(value):
            return False
    return True
