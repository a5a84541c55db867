"""What results files and samples contain, as far as it is read: other people's may contain anything."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any

from gptalt_eval.contract.typed import convert

DEEPEST_GROUPS = 100  # groups in groups; lm-eval's have at most 4

#: the parts of a results file; any may be missing, and others are not read
RESULTS: Mapping[str, Any] = MappingProxyType(
    {
        "results": Mapping[str, Mapping[str, Any]],
        "group_subtasks": Mapping[str, tuple[str, ...]],
        "configs": Mapping[str, Mapping[str, Any]],
        "higher_is_better": Mapping[str, Mapping[str, bool | None]],
        "n-shot": Mapping[str, int | float | None],
        "n-samples": Mapping[str, Mapping[str, int | float | None]],
        "versions": Mapping[str, Any],
        "config": Mapping[str, Any],
        "task_hashes": Mapping[str, str],
        "chat_template_sha": str | None,
        "system_instruction": str | None,
        "gptalt_clusters": Mapping[str, Mapping[str, Any]],
    }
)
CONFIG: Mapping[str, Any] = MappingProxyType({"prompt_style": str | None})
TASK: Mapping[str, Any] = MappingProxyType(
    {"num_fewshot": int | float | None, "metric_list": tuple[Mapping[str, Any], ...] | None}
)
SCORES: Mapping[str, Any] = MappingProxyType({"sample_len": int | float | None})
CLUSTERS: Mapping[str, Any] = MappingProxyType(
    {"column": str, "means": Mapping[str, Mapping[str, bool | int | float]]}
)
MEAN: Mapping[str, Any] = MappingProxyType(
    dict.fromkeys(("value", "stderr", "freedom", "clusters", "effective"), int | float)
    | {"rows": int, "are_shares": bool}
)
#: the parts of a sample
SAMPLE: Mapping[str, Any] = MappingProxyType(
    {
        "doc_id": int,
        "filter": str,
        "metrics": tuple[str, ...],
        "doc_hash": str,
        "prompt_hash": str,
        "resps": tuple[Any, ...],
        "filtered_resps": tuple[Any, ...],
        "arguments": Mapping[str, Mapping[str, Any]] | tuple[Any, ...],
    }
)


def check_results(content: Mapping[str, Any]) -> None:
    """Check the content of a results file.

    Raises:
        ValueError: a part has the wrong type; says which one.
    """
    check(content, RESULTS, "")
    check(content.get("config", {}), CONFIG, "config.")
    for name, scores in content.get("results", {}).items():
        check(scores, SCORES, f"results.{name}.")
    for name, config in content.get("configs", {}).items():
        check(config, TASK, f"configs.{name}.")
        check_finite(config.get("num_fewshot"), f"configs.{name}.num_fewshot")
    for name, saved in content.get("gptalt_clusters", {}).items():
        check(saved, CLUSTERS, f"gptalt_clusters.{name}.")
        for key, mean in saved.get("means", {}).items():
            check_mean(mean, f"gptalt_clusters.{name}.means.{key}")
    for part in ("n-shot", "n-samples"):
        check_finite(content.get(part, {}), part)
    for name, scores in content.get("results", {}).items():
        check_finite(scores.get("sample_len"), f"results.{name}.sample_len")
    check_groups(content.get("group_subtasks", {}))


def check_sample(line: Mapping[str, Any]) -> None:
    """Check a line of saved samples.

    Raises:
        ValueError: a part is missing or has the wrong type; says which one.
    """
    if "doc_id" not in line:
        raise ValueError("doc_id is missing")
    check(line, SAMPLE, "")


def check(content: Mapping[str, Any], shape: Mapping[str, Any], place: str) -> None:
    for name, kind in shape.items():
        if name in content:
            convert(kind, content[name], f"{place}{name}")


def check_finite(value: object, place: str) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            check_finite(inner, f"{place}.{name}")
    elif isinstance(value, (int, float)) and not (isfinite(value) and 0 <= value < 2**53):
        raise ValueError(f"{place} is {value!r:.60}, expected a count")


def check_mean(mean: Mapping[str, float], place: str) -> None:
    """Check a mean of clustered rows; its standard error may be unknown."""
    for name in ("value", "stderr", "freedom", "clusters", "effective"):
        if name not in mean:
            raise ValueError(f"{place}.{name} is missing")
        if name not in ("value", "stderr"):
            check_finite(mean[name], f"{place}.{name}")
    check(mean, MEAN, f"{place}.")
    check_finite(mean.get("rows", 0), f"{place}.rows")
    is_sound = isfinite(mean["value"]) and mean["clusters"] >= 1 and mean["effective"] >= 1
    rows = mean.get("rows") or mean["clusters"]  # those of earlier versions do not say
    within = 0 <= mean["value"] <= 1 or not mean.get("are_shares")
    if not (is_sound and within and mean["clusters"] <= rows):
        raise ValueError(f"{place} is {dict(mean)!r:.60}, expected a mean of at least one row")


def check_groups(groups: Mapping[str, list[str]]) -> None:
    """Check that groups are not nested without end, by taking away those without groups in them."""
    left = {name: [child for child in children if child in groups] for name, children in groups.items()}
    for _ in range(DEEPEST_GROUPS):
        closed = {name for name, children in left.items() if not children}
        if not closed:
            break
        left = {
            name: [child for child in children if child not in closed]
            for name, children in left.items()
            if name not in closed
        }
    if left:
        raise ValueError(f"group_subtasks: {sorted(left)[0]!r:.60} is in itself, or nested too deep")
