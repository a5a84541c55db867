"""Runs as they are on disk, written line by line: any texts and any number of items, without a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.record import Record, load_record

TIME = "2026-01-01T00-00-00"
LETTERS = (" A", " B", " C", " D")


def make_choice(
    number: int, question: str, chosen: int, right: int = 0, options: Iterable[str] = LETTERS, **more: Any
):
    """An item with options, of which one is chosen."""
    options = list(options)
    scores = [-1.25 if place == chosen else -2.5 - place / 8 for place in range(len(options))]
    return {
        "doc_id": number, "doc": {"question": question}, "doc_hash": f"d{number}", "prompt_hash": f"p{number}",
        "target_hash": "t", "filter": "none", "target": str(right), "metrics": ["acc"], "acc": float(chosen == right),
        "arguments": {f"gen_args_{place}": {"arg_0": question, "arg_1": option} for place, option in enumerate(options)},
        "resps": [[[str(score), "False"]] for score in scores],
        "filtered_resps": [[str(score), "False"] for score in scores], **more,
    }  # fmt: skip


def make_reply(
    number: int, question: str, reply: str, extracted: str, gold: str, filter_name: str = "strict-match"
):
    """An item with generated text and what a filter made of it."""
    is_empty = extracted == "[invalid]"
    return {
        "doc_id": number, "doc": {}, "doc_hash": f"d{number}", "prompt_hash": f"p{number}", "target_hash": "t",
        "filter": filter_name, "target": gold, "metrics": ["exact_match", "no_answer"],
        "exact_match": float(extracted == gold), "no_answer": float(is_empty),
        "arguments": {"gen_args_0": {"arg_0": question, "arg_1": {"until": ["\n"]}}},
        "resps": [[reply]], "filtered_resps": [extracted],
    }  # fmt: skip


def write_run(
    folder: Path,
    tasks: Mapping[str, list[dict]],
    model: str,
    group: str = "",
    members: Iterable[str] = (),
    shots: int = 0,
    **more: Any,
) -> Record:
    """A run of some tasks, some of which may be members of a group."""
    folder.mkdir(parents=True)
    results: dict[str, Any] = {}
    directions = {}
    for task, lines in tasks.items():
        scores = {}
        for line in lines:
            for metric in line["metrics"]:
                scores.setdefault(f"{metric},{line['filter']}", []).append(line[metric])
        results[task] = {"alias": task, "sample_len": len(lines)} | {
            name: sum(values) / len(values) for name, values in scores.items()
        }
        directions[task] = {"acc": True, "exact_match": True, "no_answer": False}
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"samples_{task}_{TIME}.jsonl").write_text(text, encoding="utf-8")
    if group:
        results[group] = {"alias": group, "acc,none": 0.5, "acc_stderr,none": 0.1}
    content = {
        "results": results, "group_subtasks": {group: list(members)} if group else {}, "n-shot": dict.fromkeys(tasks, shots),
        "configs": {task: {"task": task, "num_fewshot": shots} for task in tasks}, "higher_is_better": directions,
        "config": {"prompt_style": None}, **more,
    }  # fmt: skip
    (folder / f"results_{TIME}.json").write_text(json.dumps(content), encoding="utf-8")
    run = {
        "status": "complete",
        "model": {"name": model},
        "results": [f"results_{TIME}.json"],
        "started": "x",
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return load_record(folder)
