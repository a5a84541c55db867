"""Run folders of tasks and groups, with the keys that lm-eval writes and no others."""

import json
from pathlib import Path

from gptalt_eval.contract.record import Record, load_record


def write_cell(
    folder: Path, stamp: str, tasks: dict[str, list], groups: dict[str, list[str]] | None = None, shots: int | dict[str, int] = 0,
    metric: str = "acc", equal: bool = False, docs: dict[str, list[dict]] | None = None, prompt: str = "", config: dict | None = None,
) -> None:  # fmt: skip
    """One results file and its samples.

    Args:
        tasks: the rows' scores by task; None: the row has no score.
        groups: members by group, the outermost first; each has a score, weighted as ``equal`` says.
        shots: of all tasks, or by task.
        docs: the rows' documents by task.
        config: what every task's YAML contains beside its name.
    """
    groups = groups or {}
    counts = shots if isinstance(shots, dict) else dict.fromkeys(tasks, shots)

    def flatten(name: str) -> list[str]:
        return [task for member in groups[name] for task in flatten(member)] if name in groups else [name]

    numbers = {
        task: [value for value in values if isinstance(value, (int, float))] for task, values in tasks.items()
    }
    means = {task: sum(values) / max(1, len(values)) for task, values in numbers.items()}
    scores: dict[str, dict] = {
        task: {"alias": task, "sample_len": len(tasks[task]), f"{metric},none": means[task], f"{metric}_stderr,none": "N/A"}
        for task in tasks
    }  # fmt: skip
    known = dict(counts)
    for name, members in groups.items():
        leaves = flatten(name)
        sizes = [1 if equal else len(tasks[task]) for task in leaves]
        total = sum(size * means[task] for size, task in zip(sizes, leaves, strict=True))
        scores[name] = {
            "alias": name,
            "name": name,
            f"{metric},none": total / sum(sizes),
            f"{metric}_stderr,none": 0.0,
        }
        direct = {
            known[member] for member in members if member in known
        }  # as lm-eval counts, outermost first
        if len(direct) == 1:
            known[name] = direct.pop()
    results = {
        "results": scores, "group_subtasks": groups, "n-shot": known,
        "configs": {task: {"task": task, "num_fewshot": counts[task], **(config or {})} for task in tasks},
        "higher_is_better": {task: {metric: True} for task in tasks},
        "n-samples": {task: {"original": 100, "effective": len(values)} for task, values in tasks.items()},
        "config": {"num_fewshot": shots if isinstance(shots, int) else None, "prompt_style": None},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"results_{stamp}.json").write_text(json.dumps(results))
    for task, values in tasks.items():
        lines = []
        for row, value in enumerate(values):
            line = {
                "doc_id": row, "doc": (docs or {}).get(task, [{}] * len(values))[row], "doc_hash": f"{task} {row}",
                "prompt_hash": prompt or f"{task} {row} {counts[task]}", "filter": "none", "metrics": [metric], metric: value,
            }  # fmt: skip
            if value is None:
                del line[metric]
            lines.append(json.dumps(line))
        (folder / f"samples_{task}_{stamp}.jsonl").write_text("\n".join(lines))


def write_run(folder: Path, model: str, cells: list[dict]) -> Record:
    """A run folder as ours are: its results files in the order of the cells."""
    names = []
    for number, cell in enumerate(cells):
        stamp = f"2026-01-01T00-00-{number:02}"
        names.append(f"results_{stamp}.json")
        write_cell(folder, stamp, **cell)
    (folder / "run.json").write_text(
        json.dumps({"status": "complete", "model": {"name": model}, "results": names, "started": "x"})
    )
    return load_record(folder)
