"""What `validate` would find in a request: in the user's own YAMLs, and in ``--gen_kwargs``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.validation.chats import check_template
from gptalt_eval.validation.findings import Finding
from gptalt_eval.validation.formats import show_path
from gptalt_eval.validation.generation import SettingFault, find_setting_faults, judge_sampling
from gptalt_eval.validation.validator import Validator
from gptalt_eval.validation.vocabulary import load_vocabulary

#: what planning reports itself, or decides by the request's own number of examples
PLANNED = {
    "syntax-error", "missing-include", "include-cycle", "unknown-member", "group-cycle", "data-unreadable",
    "too-few-examples", "own-answer",
}  # fmt: skip
METRICS = {"metric-not-computed"}  # which --predict_only replaces
GREEDY = {"do_sample": False, "temperature": 0.0}  # lm-eval's settings of a task that has none
SAMPLING = {"missing-temperature"}  # which --gen_kwargs can cure


def check_request(
    spec: RunSpec, catalog: Catalog, files: Sequence[Path], tasks: Sequence[PlannedTask]
) -> Iterator[GptaltError]:
    """The errors in a request's own YAMLs and settings, before anything runs.

    Args:
        spec: the request.
        catalog: where its names are.
        files: the YAMLs of its tasks and groups that are neither lm-eval's nor an installed plugin's.
        tasks: its tasks.
    """
    yield from check_settings(spec.gen_kwargs, tasks)
    yield from check_model(spec, catalog)
    if not files:
        return
    skipped = PLANNED | (METRICS if spec.predict_only else set()) | (SAMPLING if spec.gen_kwargs else set())
    validator = Validator(catalog)
    for file in files:
        for finding in validator.check(file).findings:
            if finding.level == "error" and finding.rule not in skipped:
                yield describe_finding(finding)


def check_model(spec: RunSpec, catalog: Catalog) -> Iterator[GptaltError]:
    """What is wrong with a chat template: of the user's own model, or a plugin's that takes no questions."""
    owned = catalog.model_names.get(spec.model)
    if owned is None:
        return
    styles = [catalog.prompt_styles[name].item for name in spec.prompt_style if name in catalog.prompt_styles]
    is_rendered = spec.apply_chat_template is True or any(style.chat for style in styles)
    if owned.owner.plugin in catalog.plugins.owners and not is_rendered:
        return
    try:
        check_template(owned.item)
    except GptaltError as error:
        yield error


def describe_finding(finding: Finding) -> GptaltError:
    place = finding.place
    text = f"{show_path(place.file)}, line {place.line}: {finding.message}"
    return GptaltError(
        text, f"To check it after a change: gptalt-eval validate {quote(show_path(place.file))}"
    )


def check_settings(given: Mapping[str, Any], tasks: Iterable[PlannedTask]) -> Iterator[GptaltError]:
    """Settings of the wrong kind, and those that fail or have no effect together with a task's own."""
    faults = list(find_setting_faults(given, load_vocabulary().generation_keys)) if given else []
    known = [fault for fault in faults if fault.is_certain or fault.rule != "unknown-generation-key"]
    yield from (describe_setting(fault) for fault in known)
    if not {"do_sample", "temperature"} & given.keys() or known:
        return
    clashes: dict[SettingFault, list[str]] = {}
    for task in tasks:
        own = task.config.get("generation_kwargs", GREEDY)
        if task.config.get("output_type", "generate_until") == "generate_until" and isinstance(own, Mapping):
            for fault in judge_sampling({**own, **given}):
                clashes.setdefault(fault, []).append(task.name)
    for fault, names in clashes.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield describe_setting(fault, f" (with the settings of {shown})")


def describe_setting(fault: SettingFault, whose: str = "") -> GptaltError:
    return GptaltError(f"--gen_kwargs: {fault.text}{whose}.", fault.cure)
