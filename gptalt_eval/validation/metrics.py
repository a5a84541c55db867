"""``metric_list`` and ``filter_list``: known names and arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gptalt_eval.contract.errors import did_you_mean, nearest
from gptalt_eval.machine.bounds import limit_time
from gptalt_eval.planning.index import Function
from gptalt_eval.validation.findings import Level
from gptalt_eval.validation.scene import Scene
from gptalt_eval.validation.sources import OPEN, Signature
from gptalt_eval.validation.yamlmap import Steps

PAIRED = ("likelihood",)  # its value is a pair, of which its own aggregation cannot take the mean
METRIC_FIELDS = ("metric", "aggregation", "higher_is_better", "hf_evaluate")


def check_filters(scene: Scene) -> None:
    """Each filter has a name and known steps, and these have the given arguments."""
    filters = scene.config.get("filter_list")
    for index, entry in enumerate(filters if isinstance(filters, list) else ()):
        steps: Steps = ("filter_list", index)
        if not isinstance(entry, dict):
            scene.report("wrong-type", "A filter must be a mapping with 'name:' and 'filter:'.", *steps)
            continue
        for name in ("name", "filter"):
            if name not in entry:
                scene.report("missing-field", f"This filter has no '{name}'.", *steps)
        for name in entry:
            if name not in ("name", "filter"):
                known = ("name", "filter")
                at = (*steps, str(name))
                scene.refuse_unknown("unknown-field", "filter field", str(name), known, at, True)
        parts = entry.get("filter")
        if parts is not None and not isinstance(parts, list):
            scene.report(
                "wrong-type", "'filter' must be a list of steps, each with 'function:'.", *steps, "filter"
            )
            continue
        for number, part in enumerate(parts or ()):
            check_filter_step(scene, part, (*steps, "filter", number))


def check_filter_step(scene: Scene, part: Any, steps: Steps) -> None:
    if not isinstance(part, dict) or "function" not in part:
        scene.report("missing-field", "This filter step has no 'function'.", *steps)
        return
    name = part["function"]
    if isinstance(name, Function):
        signature = scene.find_signature(name)
    elif name in scene.vocabulary.filters:
        signature = scene.vocabulary.filters[name]
    else:
        if name not in scene.list_registered("register_filter"):
            at = (*steps, "function")
            scene.refuse_unknown("unknown-filter", "filter", str(name), scene.vocabulary.filters, at)
        return
    given = [str(key) for key in part if key != "function"]
    label = name.name if isinstance(name, Function) else name
    for key in given:
        if key not in signature.names and not signature.is_open:
            arguments = f"Its arguments are: {', '.join(signature.names)}."
            hint = did_you_mean(key, signature.names) or (arguments if signature.names else "It has none.")
            text = f"The filter '{label}' has no argument '{key}'. {hint}"
            scene.report("unknown-argument", text, *steps, key, of_key=True)
    for key in signature.required:
        if key not in given:
            scene.report("missing-argument", f"The filter '{label}' needs the argument '{key}'.", *steps)
    pattern = part.get("regex_pattern")
    if isinstance(pattern, str):
        try:
            with limit_time(1.0):
                re.compile(pattern)
        except (re.error, RecursionError, OverflowError, TimeoutError) as error:
            scene.report("bad-pattern", f"Not a regular expression: {error}.", *steps, "regex_pattern")


def check_metrics(scene: Scene) -> None:
    """Each metric is known, has an aggregation, and gets only arguments that it has."""
    metrics = scene.config.get("metric_list")
    for index, entry in enumerate(metrics if isinstance(metrics, list) else ()):
        steps: Steps = ("metric_list", index)
        if not isinstance(entry, dict):
            scene.report("wrong-type", "A metric must be a mapping such as 'metric: acc'.", *steps)
            continue
        if "metric" not in entry:
            scene.report("missing-field", "This entry has no 'metric'.", *steps)
            check_metric_arguments(scene, "", OPEN, entry, steps)
            continue
        check_metric(scene, entry, steps)
    if isinstance(metrics, list):
        check_headline(scene, [str(entry.get("metric")) for entry in metrics if isinstance(entry, dict)])


def check_headline(scene: Scene, metrics: Sequence[str]) -> None:
    """The metric that stands for the task (``metadata: headline:``) is one of its own."""
    metadata = scene.config.get("metadata")
    name = metadata.get("headline") if isinstance(metadata, dict) else None
    if name is not None and name not in metrics:
        hint = did_you_mean(str(name), metrics) or f"Available: {', '.join(metrics)}."
        text = f"'headline: {name}' is not a metric of this task. {hint}"
        scene.report("unknown-metric", text, "metadata", "headline")


def check_metric(scene: Scene, entry: Mapping[Any, Any], steps: Steps) -> None:
    name, computed_elsewhere = entry["metric"], scene.config.get("process_results") is not None
    if not isinstance(name, (str, Function)):
        scene.report("wrong-type", f"A metric's name must be text, not {name!r:.60}.", *steps, "metric")
        return
    known = {*scene.vocabulary.metrics, *scene.list_registered("register_metric")}
    is_ours = isinstance(name, Function) or entry.get("hf_evaluate") is True or computed_elsewhere
    if not is_ours and name not in known:
        close = nearest(str(name), known)
        hint = did_you_mean(str(name), known)
        if not close:  # lm-eval then asks the `evaluate` library, which needs the network
            hint = "lm-eval will search the 'evaluate' library; if you want that, add 'hf_evaluate: true'."
        text = f"There is no metric '{name}'. {hint}"
        scene.report("unknown-metric", text, *steps, "metric", level="error" if close else "warning")
    elif not is_ours:
        check_is_computed(scene, str(name), entry, steps)
    check_aggregation(scene, entry, steps)
    if isinstance(name, Function):
        signature = scene.find_signature(name)
    else:
        signature = scene.vocabulary.metrics.get(str(name), OPEN)
    if entry.get("hf_evaluate") is True:
        signature = OPEN
    label = name.name if isinstance(name, Function) else str(name)
    check_metric_arguments(scene, label, signature, entry, steps)


def check_is_computed(scene: Scene, name: str, entry: Mapping[Any, Any], steps: Steps) -> None:
    """lm-eval computes a metric of its own only from the answers that it was written for."""
    output_type = str(scene.config.get("output_type", "generate_until"))
    computed = scene.vocabulary.computed.get(output_type)
    # an aggregation of the task's own gets (target, answer) of each row, whatever the metric
    has_aggregation = isinstance(entry.get("aggregation"), Function)
    is_own = name not in scene.vocabulary.metrics or has_aggregation
    is_called = output_type == "generate_until" and is_own
    is_usable = has_aggregation or name not in PAIRED
    if computed is None or (name in computed and is_usable) or name == "bypass" or is_called:
        return
    computed = tuple(other for other in computed if other not in PAIRED)
    answers = "generated text" if output_type == "generate_until" else f"the answers of '{output_type}'"
    text = (
        f"lm-eval does not compute '{name}' from {answers}, only {', '.join(computed)}. For another metric, "
        "write a process_results function."
    )
    scene.report("metric-not-computed", text, *steps, "metric")


def check_aggregation(scene: Scene, entry: Mapping[Any, Any], steps: Steps) -> None:
    aggregation = entry.get("aggregation")
    known = {*scene.vocabulary.aggregations, *scene.list_registered("register_aggregation")}
    if isinstance(aggregation, str) and aggregation not in known:
        at = (*steps, "aggregation")
        scene.refuse_unknown("unknown-aggregation", "aggregation", aggregation, sorted(known), at)
    elif "aggregation" not in entry and not isinstance(entry["metric"], Function):
        name = str(entry["metric"])
        is_known = name in scene.vocabulary.metrics or name in scene.list_registered("register_metric")
        if name not in scene.vocabulary.default_aggregations and (is_known or is_computed(scene, entry)):
            text = f"The metric '{name}' has no default aggregation: add 'aggregation: mean'."
            scene.report("missing-field", text, *steps)


def is_computed(scene: Scene, entry: Mapping[Any, Any]) -> bool:
    return scene.config.get("process_results") is not None or entry.get("hf_evaluate") is True


def check_metric_arguments(
    scene: Scene, label: str, signature: Signature, entry: Mapping[Any, Any], steps: Steps
) -> None:
    """Other keys of a metric's entry are arguments; those that the metric does not have are reported.

    Only metrics of generated text are called with arguments, so elsewhere they have no effect.
    """
    is_generated = scene.config.get("output_type", "generate_until") == "generate_until"
    is_called = is_generated and scene.config.get("process_results") is None
    for key in (str(key) for key in entry if key not in METRIC_FIELDS):
        misspelt = nearest(key, METRIC_FIELDS, 1)
        takes = (*signature.names, *METRIC_FIELDS)
        if misspelt:
            text = f"There is no metric field '{key}'. {did_you_mean(key, METRIC_FIELDS)}"
            crashes = is_called and "predictions" in signature.names
            level: Level = "error" if crashes else "warning"  # else lm-eval ignores it
            scene.report("unknown-field", text, *steps, key, of_key=True, level=level)
        elif is_called and signature.names and key not in signature.names and not signature.is_open:
            crashes = "predictions" in signature.names
            effect = "lm-eval fails on it" if crashes else "it has no effect"
            text = f"The metric '{label}' has no argument '{key}': {effect}. {did_you_mean(key, takes)}"
            level = "error" if crashes else "warning"
            scene.report("unknown-argument", text, *steps, key, of_key=True, level=level)
        elif not is_called and label:
            text = f"'{key}' has no effect: in this task, metrics are called without arguments."
            scene.report("unused-field", text, *steps, key, of_key=True, level="note")
