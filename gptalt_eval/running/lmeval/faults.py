"""Which task, field and file an error comes from that lm-eval raises for a task's YAML."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Any

from jinja2.exceptions import SecurityError

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan, PlannedTask
from gptalt_eval.planning.consent.reads import list_texts, walk_mappings
from gptalt_eval.planning.index import as_list, parse_yaml

#: lm-eval's functions, and the field of a YAML that each reads
READERS: Mapping[str, str] = MappingProxyType(
    {
        "build_filter_ensemble": "filter_list", "get_filter": "filter_list", "apply_filters": "filter_list",
        "get_metric": "metric_list", "get_aggregation": "metric_list",
        "get_metric_aggregation": "metric_list",
        "is_higher_better": "metric_list", "process_results": "metric_list", "get_sampler": "fewshot_config",
        "from_dict": "fewshot_config", "fewshot_docs": "fewshot_config", "sample": "fewshot_config",
        "doc_to_text": "doc_to_text", "doc_to_target": "doc_to_target", "doc_to_choice": "doc_to_choice",
        "doc_to_image": "doc_to_image", "doc_to_audio": "doc_to_audio", "doc_to_prefix": "gen_prefix",
        "download": "dataset_path", "training_docs": "training_split", "validation_docs": "validation_split",
        "test_docs": "test_split", "get_prompt": "use_prompt", "_load_full_config": "metadata",
    }
)  # fmt: skip
#: what its lines say themselves
NAMED = re.compile(
    r"\bself\.config\.(\w+)|\b(metric|filter|aggregate_metric|generation)_(?:config|kwargs|list)\b"
)
WHOLE = {"metric": "metric_list", "filter": "filter_list", "aggregate_metric": "aggregate_metric_list",
         "generation": "generation_kwargs"}  # fmt: skip
UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


def explain_template(plan: Plan, template: str, error: Exception) -> GptaltError:
    """Why a template cannot be rendered, and where it is.

    Args:
        plan: whose tasks have it.
        template: its text.
        error: what rendering it raised.
    """
    reason = f"cannot be rendered: {describe(error)}"
    if isinstance(error, SecurityError):
        reason = f"reaches for more than its row: {error}"
    for cell in plan.cells:
        for task in cell.tasks:
            for field in find_fields(task.config, template):
                file = find_file(plan, task, field, template)
                return GptaltError(f"{task.name}: {field} in {file} {reason}.", advise(file))
    return GptaltError(f"A template of a task {reason}.", "Templates may only use the row's values.")


def explain_task(plan: Plan, name: str, error: Exception) -> GptaltError:
    """Why lm-eval cannot use a task or group, and the field and file, as far as its error shows them.

    Args:
        plan: the plan.
        name: the task's name; of a group, or if unknown, what was asked for.
        error: what lm-eval raised.
    """
    tasks = [task for cell in plan.cells for task in cell.tasks if task.name == name]
    entry = plan.entries.get(name)
    field = find_field(error)
    value = tasks[0].config.get(field) if tasks else None
    file = find_file(plan, tasks[0], field, value) if tasks else entry.file if entry else None
    where = f"{field} in {file}" if field and file else str(file or field or "it")
    code = find_code(plan, error)
    hint = advise(file)
    if "trust_remote_code" in str(error):
        hint = "Read that code. If you trust it, add --trust_remote_code."
    return GptaltError(f"{name}: lm-eval cannot use {where}: {describe(error)}{code}.", hint)


def describe(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")[:300]
    kind = type(error).__name__
    return (
        text
        if kind in ("EffortError", "UndefinedError", "GptaltError")
        else f"{kind}: {text}"
        if text
        else kind
    )


def advise(file: Path | None) -> str:
    return (
        f"Correct it, and check it: gptalt-eval validate {quote(str(file))}"
        if file
        else "Correct the task's YAML."
    )


def find_fields(config: Mapping[str, Any], text: str) -> Iterator[str]:
    """The fields of a task that have this text, those in mappings as ``fewshot_config.doc_to_text``."""
    for key, value in config.items():
        if value == text:
            yield str(key)
        elif isinstance(value, Mapping):
            yield from (f"{key}.{inner}" for inner in find_fields(value, text))
        elif isinstance(value, list) and text in list_texts(value):
            yield str(key)


def find_field(error: Exception) -> str:
    """The field that lm-eval was reading when it raised an error; empty: that is not to be seen."""
    unknown = UNKNOWN.search(str(error))
    if unknown:
        return unknown[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "lm_eval" not in Path(frame.filename).parts:
            continue
        if frame.name in READERS:
            return READERS[frame.name]
        named = NAMED.search(frame.line or "")
        if named:
            return named[1] or WHOLE[named[2]]
    return ""


def find_file(plan: Plan, task: PlannedTask, field: str, value: object) -> Path | None:
    """The file that sets a field of a task: its YAML, one that this includes, or that of a group."""
    own = list(list_files(task.file)) if task.file else []
    groups = [entry.file for entry in plan.entries.values() if entry.kind == "group" and entry.file]
    key = field.rpartition(".")[2]
    for file in [*own, *groups]:
        try:
            mappings = list(walk_mappings(parse_yaml(file)))
        except GptaltError:
            continue
        if any(key in mapping and value in (None, mapping[key]) for mapping in mappings):
            return file
    return task.file or (groups[0] if groups else None)


def list_files(file: Path) -> Iterator[Path]:
    """A YAML and those that it includes; none twice."""
    waiting, seen = [file], set()
    while waiting:
        each = waiting.pop(0)
        if each in seen or not each.is_file():
            continue
        seen.add(each)
        yield each
        waiting += [each.parent / include for include in as_list(parse_yaml(each).get("include"))]


def find_code(plan: Plan, error: Exception) -> str:
    """`` (helpers.py, line 3)``: where a task's own Python failed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in plan.judged:
            return f" ({frame.filename}, line {frame.lineno})"
    return ""
