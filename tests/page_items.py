"""Reads the items of a report: an inverse of what writes them, made from the page alone."""

from __future__ import annotations

import base64
import gzip
import json
import re
from itertools import accumulate


def read_blocks(page: str) -> dict[str, str]:
    """The page's data blocks by their id."""
    return dict(
        re.findall(r'<script type="(?:application/gzip|image/webp)" id="([\w-]+)">([^<]*)</script>', page)
    )


def unpack(block: str):
    plain = block.translate(str.maketrans(",.:", "<>&"))
    return json.loads(gzip.decompress(base64.b85decode(plain)))


def read_pictures(page: str) -> dict[int, bytes]:
    blocks = read_blocks(page)
    return {
        int(name.removeprefix("picture-")): base64.b64decode(block)
        for name, block in blocks.items() if name.startswith("picture-")
    }  # fmt: skip


def read_index(page: str):
    return unpack(read_blocks(page)["items-index"])


def read_chunks(page: str) -> dict[str, dict]:
    blocks = read_blocks(page)
    return {
        task["name"]: unpack(blocks[f"items-{place}"]) for place, task in enumerate(read_index(page)["tasks"])
    }


def read_items(page: str) -> dict[str, list[dict]]:
    """By task: its items, one for each row and arm that scored it."""
    return {name: list(read_chunk(chunk)) for name, chunk in read_chunks(page).items()}


def read_chunk(chunk):
    texts, lists = chunk["texts"], chunk["lists"]
    numbers = list(accumulate(chunk["number"]))

    def text(place):
        return texts[place] if place >= 0 else None

    def read_list(place):
        return [texts[each] for each in lists[place]] if place >= 0 else [] if place == -1 else None

    def read_columns(part, name=""):
        if isinstance(part, dict):
            return {key: read_columns(each, key) for key, each in part.items()}
        return part if name in ("arm", "judged") or not chunk.get("columns") else chunk["columns"][part]

    for arm in map(read_columns, chunk["arms"]):
        columns = {
            name: list(accumulate(arm[name]))
            for name in ("shots", "prompt", "gold", "options", "replies", "pictures")
        }
        values = iter(arm["likelihoods"])
        filters = {
            name: (list(accumulate(each["extracted"])), each["metrics"])
            for name, each in arm["filters"].items()
        }
        for row, number in enumerate(numbers):
            likelihoods = [next(values) for _ in range(arm["counts"][row])]
            if columns["prompt"][row] < 0:
                continue
            shots = read_list(columns["shots"][row])
            yield {
                "number": number, "arm": arm["arm"], "judged": arm["judged"],
                "subject": chunk["subjects"][chunk["subject"][row]],
                "shots": None if shots is None else "".join(shots), "prompt": text(columns["prompt"][row]),
                "gold": text(columns["gold"][row]) or "", "options": read_list(columns["options"][row]),
                "replies": read_list(columns["replies"][row]), "likelihoods": likelihoods,
                "right": arm["right"][row], "chosen": arm["chosen"][row], "cut": arm.get("cut", [0] * len(numbers))[row], "normed": arm["normed"][row],
                "pictures": chunk["pictures"][columns["pictures"][row]] if columns["pictures"][row] >= 0 else [],
                "filters": {
                    name: (read_list(extracted[row]), {key: each[row] for key, each in metrics.items()})
                    for name, (extracted, metrics) in filters.items()
                },
            }  # fmt: skip
        assert next(values, None) is None
