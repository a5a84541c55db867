"""What a run uses in place of something else of the same name, so that it is not taken for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gptalt_eval.contract.discovery import CORE_NAME
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import Cell, PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Owned, Owner
from gptalt_eval.planning.catalog import LM_EVAL, Catalog
from gptalt_eval.planning.models.editions import find_files
from gptalt_eval.planning.weights import merge_model_args, read_chat_templates


def explain_overrides(catalog: Catalog, model: Owned[Model], cells: Sequence[Cell]) -> list[str]:
    """A sentence for each model, task, group and dataset in place of one of the core, lm-eval or the hub.

    Args:
        catalog: the names.
        model: the model that runs.
        cells: what it runs on.
    """
    tasks = {task.name: task for cell in cells for task in cell.tasks}
    named = {name: catalog.tasks[name] for cell in cells for name in cell.names if name in catalog.tasks}
    used = {name: (owned.owner, owned.item.file) for name, owned in named.items()}
    used |= {task.name: (task.owner, task.file) for task in tasks.values()}
    return [
        *explain_model(catalog, model),
        *explain_template(model.item, cells),
        *explain_parts(model.item, cells[0].spec if cells else None),
        *(text for name, (owner, file) in used.items() for text in explain_task(catalog, name, owner, file)),
        *(text for task in tasks.values() for text in explain_rows(catalog, task)),
    ]


def explain_template(model: Model, cells: Sequence[Cell]) -> Iterator[str]:
    """The chat template of a model's YAML in place of one in the folder that the user gives."""
    template = model.template
    if template is None or not any(cell.is_rendered for cell in cells):
        return
    args = merge_model_args(model, cells[0].spec)
    folder = find_files(model, {**args, "pretrained": args.get("tokenizer") or args.get("pretrained")})
    others = (read_chat_templates(folder) if folder else None) or []
    if others and not any(template.jinja.strip() in other for other in others):
        yield f"The chat template is that of '{model.name}', not the one in {folder}, which is another."


def explain_parts(model: Model, spec: RunSpec | None) -> Iterator[str]:
    """Weights of the user's own for a model that is made from two: the difference or adapter is not added."""
    given = spec.model_args if spec else {}
    left = [key for key in ("delta", "peft") if model.args.get(key) and "pretrained" in given]
    for key in left if not given.keys() & {"delta", "peft"} else ():
        yield (
            f"{given['pretrained']} is taken for the whole '{model.name}'. If it is the base, add the rest: "
            f"--model_args pretrained={given['pretrained']},{key}={model.args[key]}"
        )


def explain_model(catalog: Catalog, model: Owned[Model]) -> Iterator[str]:
    name, owner = model.item.name, model.owner
    if owner == LM_EVAL or owner.distribution == CORE_NAME:
        return
    replaced = catalog.replaced_models.get(name)
    if replaced is not None:
        yield f"The model '{name}' is that of {owner}, not of {replaced.owner}."
        return
    if name not in catalog.model_names:  # a folder or hub id, of which the run says how it is loaded
        return
    if name in catalog.lm_eval_models:
        yield f"The model '{name}' is that of {owner}, not lm-eval's model class."
    elif "/" in name:
        yield f"The model '{name}' is that of {owner}, not the one of this name on the hub."
    elif Path(name).is_dir():
        yield f"The model '{name}' is that of {owner}, not the one in the folder of this name."


def explain_task(catalog: Catalog, name: str, owner: Owner, file: Path | None) -> Iterator[str]:
    if owner == LM_EVAL or owner.distribution == CORE_NAME:
        return
    others = [catalog.replaced.get(name), catalog.tasks.get(name)]
    if name in catalog.lm_eval_tasks:
        others.append(Owned(catalog.lm_eval_tasks[name], LM_EVAL))
    for other in others:  # a YAML given by its path can be that of the other one itself
        if other is not None and other.owner != owner and (file is None or other.item.file != file):
            yield f"The task '{name}' is that of {owner}, not of {other.owner}."
            return


def explain_rows(catalog: Catalog, task: PlannedTask) -> Iterator[str]:
    """Whether a plugin provides the rows of lm-eval's tasks, or displaces the dataset of another one."""
    if task.data.dataset is None or task.data.origin == "hub":
        return
    hub, config = task.config.get("dataset_path"), task.config.get("dataset_name")
    serving = [owned for owned in catalog.datasets.values() if owned.item.serves(hub, config)]
    owner = serving[0].owner
    others = [str(each.owner) for each in serving[1:] if each.owner != owner]
    if others:
        yield f"The rows of {task.name} are those of {owner}, not of {others[0]}."
    elif task.owner == LM_EVAL and owner.distribution not in (None, CORE_NAME):
        yield f"The rows of {task.name} are those of {owner}."
