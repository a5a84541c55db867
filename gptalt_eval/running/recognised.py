"""What shows only when a model is here or loaded: what it is, its size and scorer, where answers end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.run import RunScoring
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.arithmetic import Dtype
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.models.editions import match_folder
from gptalt_eval.planning.weights import count_pictures
from gptalt_eval.running.lmeval.stops import Ends
from gptalt_eval.running.runfiles import RunFiles
from gptalt_eval.running.thumbnails import list_pictures


def recognise(plan: Plan, plugins: Installed, folder: Path) -> tuple[Plan, str]:
    """The plan with the model that a downloaded folder contains, or with the loader that it needs.

    Returns:
        the plan, and a sentence about what is run instead; empty: nothing is.

    Raises:
        GptaltError: it contains another model than the named one.
    """
    catalog, named = Catalog(plugins), plan.model
    if named.item.loader is not None and named.item.name not in catalog.models:
        return plan, ""  # a hub id that was recognised
    found, said = match_folder(catalog, named, plan.spec, folder)
    if not said:
        return plan, ""
    if found.item.name != named.item.name:
        text = said.partition(": it is run")[0]
        raise GptaltError(f"{text}.", "Start again: its files are here now.")
    return replace(plan, model=found), said


def explain_size(plan: Plan, lm: Any, count: int | None) -> str:
    """What to say about a model that is much larger or smaller than the named one; empty: it is not."""
    card = plan.model.item.card
    quantized = getattr(lm.config, "quantization_config", None) if hasattr(lm, "config") else None  # packed
    if not card or not count or quantized or "pretrained" not in plan.spec.model_args or card.has_size(count):
        return ""
    text = f"The weights have {count:,} parameters, and the published '{plan.model.item.name}'"
    return f"{text} has {card.parameters:,}: these are not its scores."


def describe_scorer(lm: Any) -> RunScoring | None:
    """How log-likelihoods are computed, and why not with the fastest method; None: as the backend does.

    Args:
        lm: an lm-eval ``LM``; only the tree scorer's has a ``choice``.
    """
    choice = getattr(lm, "choice", None)
    return RunScoring(choice.engine.way if choice.engine else "stock", choice.reason) if choice else None


def explain_scorer(lm: Any) -> str:
    """What to say if log-likelihoods are not computed with the fastest method; empty: they are.

    Args:
        lm: an lm-eval ``LM``; only the tree scorer's has a ``choice``.
    """
    choice = getattr(lm, "choice", None)
    if choice is None:
        return ""
    if choice.engine is None:
        return f"{lm.scorer_name} computes this model's log-likelihoods: {choice.reason}."
    if not choice.reason:
        return ""
    way = choice.engine.way
    return f"Prefixes are shared with the method '{way}'; run.json says why not with a faster one."


def explain_dtype(dtype: Dtype) -> str:
    """What to say of the type of weights of which neither the user nor the model's files say the type."""
    return f"The model computes in {dtype.name}: {dtype.reason}. --model_args dtype=... changes it."


def explain_several(plan: Plan, label: str, samples: Sequence[Mapping[str, Any]]) -> str:
    """What to say of prompts with more pictures than their model was made for; empty: there are none."""
    model = plan.model.item
    if count_pictures(model, plan.spec) != "one":
        return ""
    several = {sample["doc_id"] for sample in samples if len(list(list_pictures([sample]))) > 1}
    if not several:
        return ""
    have = "prompt has" if len(several) == 1 else "prompts have"
    return f"{label}: {len(several):,} {have} several pictures, and '{model.name}' was made for one."


def note_ends(ends: Ends | None, files: RunFiles) -> None:
    """Record in ``run.json`` what ends an answer, and a note if it is not what the model's YAML says."""
    if ends is None:
        return
    files.update(model=replace(files.run.model, stop_token_ids=ends.ids))
    files.note(ends.explain(files.plan.model.item.name))
