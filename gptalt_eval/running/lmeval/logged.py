"""Samples in lm-eval's two formats: in memory and saved."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import RunData
from gptalt_eval.results.clusters import sum_up_clusters
from gptalt_eval.results.rows import MEANS, find_column
from gptalt_eval.running.lmeval import seams


def dump_sample(sample: Mapping[str, Any]) -> str:
    """One line of ``samples_<task>_<time>.jsonl``, in lm-eval's format."""
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(request)}
        for i, request in enumerate(sample["arguments"])
    }
    answers = {key: seams.write_out_texts(sample[key]) for key in ("resps", "filtered_resps")}
    line = {**sample, **answers, "arguments": arguments, "target": str(sample["target"])}
    return seams.dump_json(line)


def describe_clusters(
    result: Mapping[str, Any], task: str, samples: Sequence[Mapping[str, Any]], data: RunData | None
) -> dict[str, Any]:
    """By task, what its intervals need if samples are not saved; empty: nothing besides its results."""
    column = find_column(result, task, data)
    kinds = {frozenset(sample["metrics"]) for sample in samples}
    if not column and len(kinds) < 2 and all(kind <= MEANS for kind in kinds):
        return {}
    try:
        lines = (json.loads(dump_sample(sample)) for sample in samples)
        return {task: asdict(sum_up_clusters(result, task, lines, column))}
    except GptaltError:  # the rows have no such column; the report says so
        return {}


def read_raw_samples(record: Record, result: int) -> dict[str, list[dict[str, Any]]]:
    """The samples of a result by task, in lm-eval's format in memory."""
    configs: Mapping[str, Any] = record.results[result]["configs"]
    return {
        task: [restore_sample(line, config["output_type"]) for line in record.read_samples(result, task)]
        for task, config in configs.items()
    }


def restore_sample(line: Mapping[str, Any], output_type: str) -> dict[str, Any]:
    """The inverse of ``dump_sample``: numbers in text are numbers again, pairs are tuples."""
    arguments = [tuple(request.values()) for request in line["arguments"].values()]
    is_text = output_type == "generate_until"
    answers = {
        key: line[key] if is_text else [restore_answer(answer) for answer in line[key]]
        for key in ("resps", "filtered_resps")
    }
    return {**line, **answers, "arguments": arguments, "target": restore_target(line["target"], is_text)}


def restore_answer(answer: Any) -> Any:
    """A log-likelihood, or (log-likelihood, whether it is the greedy continuation), at any depth."""
    if isinstance(answer, str):
        return answer == "True" if answer in ("True", "False") else float(answer)
    restored = [restore_answer(part) for part in answer]
    return tuple(restored) if any(isinstance(part, bool) for part in restored) else restored


def restore_target(target: str, is_text: bool) -> Any:
    """The target: of a choice, the option's number; of a text, the text or a list of accepted texts."""
    try:
        value = ast.literal_eval(target)
    except (ValueError, SyntaxError):
        return target
    return value if isinstance(value, list) or (isinstance(value, int) and not is_text) else target
