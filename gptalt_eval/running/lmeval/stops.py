"""What ends an answer to a prompt with a model's own chat template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.models import Template
from gptalt_eval.contract.plan import Plan
from gptalt_eval.running.lmeval.tasks import LoadedTasks


@dataclass(frozen=True)
class Ends:
    """What ends an answer, for the loaded tokenizer.

    Attributes:
        stop: strings.
        ids: tokens.
        refused: the template's other ids, each with what it is in this tokenizer.
    """

    stop: tuple[str, ...]
    ids: tuple[int, ...]
    refused: tuple[str, ...]

    def explain(self, model: str) -> str:
        """What to tell the user about ids that are not used; empty: all are."""
        if not self.refused:
            return ""
        rest = ", ".join(map(repr, self.stop)) or "the end of the text"
        return (
            f"The ids that end an answer of '{model}' are not those of this tokenizer "
            f"({'; '.join(self.refused)}): they are not used. Answers end at {rest}."
        )


def find_ends(template: Template, tokenizer: Any, is_other: bool) -> Ends:
    """The template's strings, and those of its ids that the tokenizer has.

    Args:
        template: what ends an answer, as published.
        tokenizer: that of the loaded model.
        is_other: whether it need not be the published one, in which an id can be any word: then only ids that
            stand for one of the strings or for a special token are kept.
    """
    kept: list[int] = []
    refused: list[str] = []
    special = {*getattr(tokenizer, "all_special_ids", ()), *getattr(tokenizer, "added_tokens_decoder", ())}
    for number in template.stop_token_ids:
        size = len(tokenizer) if tokenizer is not None else 0
        text = str(tokenizer.convert_ids_to_tokens(number)) if number < size else ""
        if text and (number in special or text in template.stop or not is_other):
            kept.append(number)
        else:
            refused.append(f"{number} is {text!r}" if text else f"{number} is beyond its {size:,} tokens")
    return Ends(template.stop, tuple(kept), tuple(refused))


def add_stops(plan: Plan, loaded: Sequence[LoadedTasks], tokenizer: Any) -> Ends | None:
    """Let answers end where the model ends its turn, which its tokenizer need not know.

    Returns:
        what ends them; None: no prompt is rendered with the model's own template.
    """
    template = plan.template
    if template is None:
        return None
    is_place = plan.model.item.args.get("pretrained") == plan.spec.model  # a folder or hub id, not a name
    is_other = is_place or bool(plan.spec.model_args.keys() & {"pretrained", "tokenizer"})
    ends = find_ends(template, tokenizer, is_other)
    for task in list_rendered(plan, loaded):
        settings = dict(task.get_config("generation_kwargs") or {})
        until = settings.get("until") or []
        own = [until] if isinstance(until, str) else list(until)
        settings["until"] = [*own, *(stop for stop in ends.stop if stop not in own)]
        if ends.ids:
            settings.setdefault("eos_token_id", list(ends.ids))
        task.set_config(key="generation_kwargs", value=settings)
    return ends


def list_rendered(plan: Plan, loaded: Sequence[LoadedTasks]) -> Iterator[Any]:
    """The tasks with generated answers whose prompts are rendered with the model's own template."""
    for cell, tasks in zip(plan.cells, loaded, strict=True):
        if cell.is_rendered:
            for task in tasks.tasks.values():
                if task.get_config("output_type") == "generate_until":
                    yield task
