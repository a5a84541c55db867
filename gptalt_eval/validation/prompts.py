"""A task's templates, tried on rows: whether they parse and find their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gptalt_eval.contract.errors import did_you_mean, nearest
from gptalt_eval.validation.items import (
    Item,
    check_choices,
    check_joins,
    check_mixtures,
    check_prompts,
    check_targets,
)
from gptalt_eval.validation.rendering import (
    Fault,
    Renderer,
    RenderError,
    is_function,
    place_in_template,
    read_digits,
)
from gptalt_eval.validation.rows import Rows
from gptalt_eval.validation.scene import Scene

MAX_RENDERED = 100
TEMPLATES = ("doc_to_text", "doc_to_choice", "doc_to_target")
OTHER_TEMPLATES = ("description", "gen_prefix")


def check_templates(scene: Scene, renderer: Renderer, rows: Rows | None) -> None:
    """Templates parse, find their columns, and produce prompts that can be scored."""
    broken = set(check_syntax(scene, renderer))
    usable = rows if rows is not None and rows.are_ready else None
    if usable is None:
        items = [make_static_item(scene)]
    else:
        items = list(render_rows(scene, renderer, usable, broken))
        check_literal_columns(scene, usable)
    check_fewshot_templates(scene, renderer, usable, broken)
    if scene.config.get("doc_to_choice") is not None:
        check_choices(scene, items)
        check_targets(scene, items)
    check_mixtures(scene, items)
    check_prompts(scene, items)
    check_joins(scene, items)


def check_syntax(scene: Scene, renderer: Renderer) -> Iterator[tuple[str, ...]]:
    """Yields the templates that do not parse."""
    fewshot = scene.config.get("fewshot_config")
    places: list[tuple[str, ...]] = [(name,) for name in (*TEMPLATES, *OTHER_TEMPLATES)]
    nested = fewshot if isinstance(fewshot, dict) else {}
    places += [("fewshot_config", name) for name in TEMPLATES if name in nested]
    if scene.config.get("should_decontaminate"):
        places.append(("doc_to_decontamination_query",))
    for steps in places:
        text = scene.config.get(steps[0]) if len(steps) == 1 else nested[steps[1]]
        fault = renderer.find_syntax_fault(text) if isinstance(text, str) else None
        if fault:
            place = place_in_template(scene.definition, steps, fault)
            scene.findings.add(
                fault.rule, f"'{steps[-1]}' is not a valid Jinja template: {fault.message}", place
            )
            yield steps


def make_static_item(scene: Scene) -> Item:
    """What is known without rows: choices and targets in the YAML itself, and the end of the prompt."""
    config = scene.config
    choices = config.get("doc_to_choice")
    choices = list(choices.values()) if isinstance(choices, dict) else choices
    target = config.get("doc_to_target")
    target = read_digits(target) if choices is not None else target
    text = config.get("doc_to_text")
    prefix = config.get("gen_prefix")
    return Item(
        0,
        text=text if isinstance(text, str) and "{" in text and not text.rstrip().endswith("}") else None,
        choices=choices if isinstance(choices, list) else None,
        target=target if isinstance(target, (int, list)) else None,
        prefix=prefix if isinstance(prefix, str) and not prefix.endswith("}") else None,
    )


def render_rows(scene: Scene, renderer: Renderer, rows: Rows, broken: set[tuple[str, ...]]) -> Iterator[Item]:
    """Render the first rows; the first failure of each template is reported."""
    failed = {steps[0] for steps in broken}
    for number, row in enumerate(rows.scored[:MAX_RENDERED], 1):
        values: dict[str, Any] = {}
        for name in (*TEMPLATES, "gen_prefix"):
            field = scene.config.get(name)
            if field is None or is_function(field) or name in failed:
                continue
            try:
                values[name] = read_field(scene, renderer, name, row, rows.columns)
            except RenderError as error:
                failed.add(name)
                report_faults(scene, renderer, (name,), row, error.fault, f"row {number} of {rows.origin}")
        text, choices, target, prefix = (values.get(name) for name in (*TEMPLATES, "gen_prefix"))
        yield Item(number, text, choices, target, prefix, rows.origin)


def read_field(
    scene: Scene, renderer: Renderer, name: str, row: Mapping[str, Any], columns: tuple[str, ...]
) -> Any:
    field, has_choices = scene.config[name], scene.config.get("doc_to_choice") is not None
    if name == "doc_to_text":
        return renderer.read_text(field, row, columns, has_choices)
    if name == "doc_to_target":
        return renderer.read_target(field, row, columns, has_choices)
    if name == "doc_to_choice":
        return renderer.read_choices(field, row, columns)
    return renderer.read(field, row, columns)


def report_faults(
    scene: Scene, renderer: Renderer, steps: tuple[str, ...], row: Mapping[str, Any], fault: Fault, where: str
) -> None:
    faults = [fault]
    if fault.rule == "undefined-column":
        config = scene.config["fewshot_config"] if len(steps) > 1 else scene.config
        faults = renderer.list_missing(config[steps[-1]], row) or faults
    for each in faults:
        text = f"'{steps[-1]}' fails on {where}: {each.message}"
        if each.rule == "undefined-column":
            known = list(dict.fromkeys(list_keys(row)))
            hint = did_you_mean(each.name, known) or f"Columns: {', '.join(map(str, row))}."
            text = f"'{steps[-1]}' uses '{each.name}', which {where} does not have. {hint}"
        scene.findings.add(each.rule, text, place_in_template(scene.definition, steps, each))


def list_keys(value: Any, depth: int = 0) -> Iterator[str]:
    """The columns of a row, and the keys inside them."""
    if isinstance(value, Mapping) and depth < 4:
        for key, inner in value.items():
            yield str(key)
            yield from list_keys(inner, depth + 1)
    elif isinstance(value, list) and value and depth < 4:
        yield from list_keys(value[0], depth + 1)


def check_literal_columns(scene: Scene, rows: Rows) -> None:
    """A bare word that is almost a column's name: lm-eval would use it as the text itself."""
    for name in TEMPLATES:
        field = scene.config.get(name)
        if isinstance(field, str) and field.isidentifier() and field not in rows.columns:
            close = nearest(field, rows.columns, 1)
            if close:
                text = (
                    f"'{name}: {field}' is not a column of {rows.origin}. {did_you_mean(field, rows.columns)}"
                )
                scene.report("undefined-column", text, name)


def check_cluster(scene: Scene, rows: Rows) -> None:
    """The column that rows share (``metadata: cluster:``) is one of theirs."""
    metadata = scene.config.get("metadata")
    name = metadata.get("cluster") if isinstance(metadata, dict) else None
    if name is not None and rows.are_ready and name not in rows.columns:
        hint = did_you_mean(str(name), rows.columns) or f"Columns: {', '.join(rows.columns)}."
        text = f"'cluster: {name}' is not a column of {rows.origin}. {hint}"
        scene.report("undefined-column", text, "metadata", "cluster")


def check_fewshot_templates(
    scene: Scene, renderer: Renderer, rows: Rows | None, broken: set[tuple[str, ...]]
) -> None:
    """The examples in ``fewshot_config`` have the columns that the templates use."""
    fewshot = scene.config.get("fewshot_config")
    if not isinstance(fewshot, dict):
        return
    samples = fewshot.get("samples")
    samples = [row for row in samples if isinstance(row, dict)] if isinstance(samples, list) else []
    named = find_template_rows(samples, rows)
    for name in TEMPLATES:
        own = fewshot.get(name)
        steps = ("fewshot_config", name) if own is not None else (name,)
        field = own if own is not None else scene.config.get(name)
        if not isinstance(field, str) or steps in broken or (not samples and own is None):
            continue
        for number, row in enumerate(named, 1):
            columns = rows.columns if rows else tuple(map(str, row))
            try:
                if field not in columns:
                    renderer.render(field, row)
                elif field not in row:
                    raise RenderError(Fault("undefined-column", f"'{field}' is undefined", name=field))
            except RenderError as error:
                where = f"example {number} of fewshot_config"
                report_faults(scene, renderer, steps, row, error.fault, where)
                break


def find_template_rows(samples: list[dict[str, Any]], rows: Rows | None) -> list[Mapping[str, Any]]:
    if samples:
        return list(samples[:MAX_RENDERED])
    return list((rows.fewshot or rows.scored)[:3]) if rows else []
