"""The fields of a task: known names, types of value, ranges of numbers."""

from __future__ import annotations

from collections.abc import Mapping

from gptalt_eval.planning.index import Function
from gptalt_eval.validation.findings import Level
from gptalt_eval.validation.generation import find_setting_faults
from gptalt_eval.validation.scene import Scene

KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "task": ((str, list), "a name"),
    "dataset_path": ((str,), "text"),
    "dataset_name": ((str,), "text"),
    "training_split": ((str,), "the name of a split"),
    "validation_split": ((str,), "the name of a split"),
    "test_split": ((str,), "the name of a split"),
    "fewshot_split": ((str,), "the name of a split"),
    "description": ((str,), "text"),
    "target_delimiter": ((str,), "text"),
    "fewshot_delimiter": ((str,), "text"),
    "gen_prefix": ((str,), "text"),
    "dataset_kwargs": ((dict,), "a mapping"),
    "generation_kwargs": ((dict,), "a mapping"),
    "fewshot_config": ((dict,), "a mapping"),
    "metric_list": ((list,), "a list of mappings, each with 'metric:'"),
    "filter_list": ((list,), "a list of mappings, each with 'name:' and 'filter:'"),
    "num_fewshot": ((int,), "an integer"),
    "repeats": ((int,), "an integer"),
}


def check_field_names(scene: Scene) -> None:
    """The top-level fields of a task, and those of its ``fewshot_config``."""
    for name in scene.config:
        if name not in scene.vocabulary.task_fields:
            scene.refuse_unknown("unknown-field", "field", name, scene.vocabulary.task_fields, (name,), True)
    fewshot = scene.config.get("fewshot_config")
    for name in fewshot if isinstance(fewshot, dict) else ():
        if name not in scene.vocabulary.fewshot_fields:
            known = scene.vocabulary.fewshot_fields
            steps = ("fewshot_config", str(name))
            scene.refuse_unknown("unknown-field", "fewshot_config field", str(name), known, steps, True)


def check_idle_fields(scene: Scene) -> None:
    """Fields that lm-eval accepts and does not use."""
    fewshot = scene.config.get("fewshot_config")
    fewshot = fewshot if isinstance(fewshot, dict) else {}
    if "fewshot_indices" in fewshot:
        text = "'fewshot_indices' has no effect: lm-eval does not pass it on. Write the rows as 'samples'."
        scene.report("unused-field", text, "fewshot_config", "fewshot_indices", of_key=True)
    named = fewshot.get("split") or scene.config.get("fewshot_split")
    if fewshot.get("samples") is not None and named:
        text = f"'samples' has no effect: the examples come from the split '{named}'. Remove one of the two."
        scene.report("unused-field", text, "fewshot_config", "samples", of_key=True)
    settings, repeats = scene.config.get("generation_kwargs"), scene.config.get("repeats")
    is_random = isinstance(settings, dict) and (settings.get("do_sample") or settings.get("temperature"))
    if isinstance(repeats, int) and repeats > 1 and not is_random:
        text = f"'repeats' is {repeats}, but nothing is drawn at random: all answers to a row are the same."
        scene.report("unused-field", text, "repeats")


def check_kinds(scene: Scene) -> None:
    """Values have the types that lm-eval handles, and numbers are in range."""
    for name, (kinds, words) in KINDS.items():
        value = scene.config.get(name)
        is_right = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        if value is not None and not is_right and not isinstance(value, Function):
            scene.report("wrong-type", f"'{name}' must be {words}, not {value!r:.60}.", name)
    for name, least in (("num_fewshot", 0), ("repeats", 1)):
        value = scene.config.get(name)
        if isinstance(value, int) and value < least:
            scene.report("bad-value", f"'{name}' is {value}; the minimum is {least}.", name)


def check_choice_of_names(scene: Scene) -> None:
    """lm-eval has this ``output_type`` and this sampler."""
    output_type = scene.config.get("output_type")
    known = scene.vocabulary.output_types
    if output_type is not None and output_type not in known:
        scene.refuse_unknown("unknown-output-type", "output type", str(output_type), known, ("output_type",))
    fewshot = scene.config.get("fewshot_config")
    sampler = fewshot.get("sampler") if isinstance(fewshot, dict) else None
    if isinstance(sampler, str) and sampler not in scene.vocabulary.samplers:
        steps = ("fewshot_config", "sampler")
        scene.refuse_unknown("unknown-sampler", "sampler", sampler, scene.vocabulary.samplers, steps)


def check_generation(scene: Scene) -> None:
    """``generation_kwargs`` says where to stop, and contains only settings that some backend has."""
    settings = scene.config.get("generation_kwargs")
    if not isinstance(settings, dict):
        return
    if scene.config.get("output_type", "generate_until") != "generate_until":
        text = "'generation_kwargs' has no effect: nothing is generated with this output_type."
        scene.report("unused-field", text, "generation_kwargs", of_key=True)
        return
    if "until" not in settings:
        text = "'generation_kwargs' has no 'until': text is cut at fewshot_delimiter (two newlines)."
        scene.report("missing-until", text, "generation_kwargs", of_key=True)
    for fault in find_setting_faults(settings, scene.vocabulary.generation_keys):
        text = f"{fault.text[0].upper()}{fault.text[1:]}. {fault.cure}"
        level: Level = "error" if fault.is_certain else "warning"
        of_key = fault.rule == "unknown-generation-key"
        scene.report(fault.rule, text, "generation_kwargs", fault.key, of_key=of_key, level=level)
