"""Whether prompt, choices and target of rendered rows fit together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.validation.findings import Level
from gptalt_eval.validation.scene import Scene

#: a constant, a column or a template that only names one: what computes something may compute an index
PLAIN = re.compile(r"""[\w ]+|\{\{\s*[\w.\[\]'"]+(\s*\|\s*(string|trim|int))*\s*\}\}""")
MIN_NUMBERS = 5
UNSPACED = (
    "CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "IDEOGRAPHIC", "FULLWIDTH",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One row as the model would see it; what a function makes is None.

    Attributes:
        row: the row's number, from 1; 0 if the values are in the YAML itself.
        text: the prompt, or an index if every choice is its own prompt.
        choices: the choices, if the task has any.
        target: an index, a text, or a list of either.
        prefix: ``gen_prefix``, with which the answer begins.
        origin: what messages call the rows.
    """

    row: int
    text: Any = None
    choices: Any = None
    target: Any = None
    prefix: str | None = None
    origin: str = ""


def check_choices(scene: Scene, items: list[Item]) -> None:
    """There are at least two choices, all of them strings, none empty, no two equal."""
    is_scored = scene.config.get("output_type") == "multiple_choice"
    items = [item for item in items if item.choices is not None]
    wrong = [item for item in items if not is_text_list(item.choices)]
    for item in wrong[:1]:
        text = f"Choices must be a list of strings, not {item.choices!r:.80}{describe_row(item)}."
        if isinstance(item.choices, list) and any(isinstance(choice, bool) for choice in item.choices):
            text += " YAML reads yes, no, on and off as true and false: quote them."
        scene.report("choices-not-list", text, "doc_to_choice")
    right = [item for item in items if is_text_list(item.choices)]
    few = [item for item in right if len(item.choices) < 2]
    empty = [item for item in right if "" in item.choices]
    equal = [item for item in right if len(set(item.choices)) < len(item.choices)]
    if is_scored:
        report_items(scene, "too-few-choices", "there are fewer than two choices: {0.choices!r}", few, right)
        report_items(scene, "empty-choice", "a choice is empty: {0.choices!r}", empty, right)
        report_items(scene, "equal-choices", "two choices are the same: {0.choices!r}", equal, right)


def is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(choice, str) for choice in value)


def describe_row(item: Item) -> str:
    return f" (row {item.row} of {item.origin})" if item.row else ""


def report_items(scene: Scene, rule: str, words: str, found: list[Item], looked_at: list[Item]) -> None:
    """An error if every row has the problem, because then it is the task's; else a warning about the data."""
    if not found:
        return
    every = len(found) == len(looked_at)
    level: Level = "error" if every else "warning"
    count = f" ({len(found)} of {len(looked_at)} rows)" if len(looked_at) > 1 else ""
    where = f"row {found[0].row} of {found[0].origin}" if found[0].row else "this task"
    text = f"In {where} {words.format(found[0])}{count}."
    scene.report(rule, text[:300], "doc_to_text" if rule == "empty-prompt" else "doc_to_choice", level=level)


def check_targets(scene: Scene, items: list[Item]) -> None:
    """The target is an index into the choices or one of them. Only the first problem of each kind counts."""
    output_type = scene.config.get("output_type", "generate_until")
    if output_type not in ("multiple_choice", "generate_until"):
        return
    golds = [
        (item, value, name)
        for item in items
        if is_text_list(item.choices) and item.choices and item.target is not None
        for value, name in list_golds(item, output_type)
    ]
    if report_misread(scene, [(item, value) for item, value, name in golds if name == "doc_to_target"]):
        return
    reported: set[str] = set()
    for item, value, name in golds:
        rule = judge_target(scene, value, item.choices)
        if rule and rule not in reported:
            reported.add(rule)
            scene.report(rule, describe_target(value, item), name)


def list_golds(item: Item, output_type: str) -> Iterator[tuple[Any, str]]:
    """The correct answers of a row, and the field that gives them."""
    is_index = isinstance(item.text, int) and output_type == "multiple_choice"
    gold, name = (item.text, "doc_to_text") if is_index else (item.target, "doc_to_target")
    yield from ((value, name) for value in (gold if isinstance(gold, list) else [gold]))


def report_misread(scene: Scene, golds: list[tuple[Item, Any]]) -> bool:
    """Report numbers that name a choice by its text: lm-eval takes digits for an index into the choices.

    If the number of some row is not the text of a choice, they are indexes.
    """
    numbers = [(item, gold) for item, gold in golds if isinstance(gold, int) and not isinstance(gold, bool)]
    field = scene.config.get("doc_to_target")
    is_plain = isinstance(field, int) or (isinstance(field, str) and PLAIN.fullmatch(field.strip()))
    is_own = scene.config.get("process_results") is not None
    is_constant = isinstance(scene.config.get("doc_to_choice"), (list, dict))
    if len(numbers) < MIN_NUMBERS and not is_constant:
        return False  # an index into options that are numbers can be one of them by chance
    if is_own or not is_plain or any(str(gold) not in item.choices for item, gold in numbers):
        return False
    for item, gold in numbers:
        taken = item.choices[gold] if gold < len(item.choices) else None
        if taken != str(gold):
            what = "which does not exist" if taken is None else f"which is {taken!r:.40}"
            cure = f"{{{{ {item.choices!r}.index(...) }}}}"
            text = (
                f"The target '{gold}'{describe_row(item)} is taken for the index of a choice, {what}, "
                f"and not for the choice '{gold}'. Give the index of that choice: {cure:.120}."
            )
            scene.report("number-as-index", text, "doc_to_target")
            return True
    return False


def judge_target(scene: Scene, gold: Any, choices: list[str]) -> str | None:
    if isinstance(gold, int):
        return None if 0 <= gold < len(choices) else "target-out-of-range"
    if scene.config.get("process_results") is not None:
        return None  # process_results can do anything with the target
    if isinstance(gold, str):
        generates = scene.config.get("output_type", "generate_until") == "generate_until"
        return "target-not-in-choices" if generates or gold not in choices else None
    return "target-out-of-range"


def describe_target(gold: Any, item: Item) -> str:
    count = len(item.choices)
    if isinstance(gold, int):
        return f"The target is {gold}{describe_row(item)}; the choices are numbered 0 to {count - 1}."
    if isinstance(gold, str):
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        hint = did_you_mean(gold, item.choices)
        if len(gold.strip()) == 1 and gold.strip().upper() in letters[:count]:
            hint = f"To turn a letter into an index: {{{{ '{letters[:count]}'.index(...) }}}}."
        if gold in item.choices:
            hint = "With generated text and doc_to_choice, the target must be the index of a choice."
        return f"The target {gold!r:.60}{describe_row(item)} is not one of {item.choices!r:.120}. {hint}"
    return f"The target is {gold!r:.60}{describe_row(item)}, neither an index nor one of the choices."


def check_mixtures(scene: Scene, items: list[Item]) -> None:
    """All rows are of one kind: lm-eval looks at the first to see whether targets are lists."""
    prompts = [item for item in items if item.text is not None and item.choices is not None]
    for item in prompts:
        if isinstance(item.text, int) and any(isinstance(other.text, str) for other in prompts):
            text = (
                f"The prompt '{item.text}'{describe_row(item)} is taken for the index of a choice: add words."
            )
            scene.report("number-as-index", text, "doc_to_text")
            break
    targets = [item for item in items if item.target is not None]
    is_judged = scene.config.get("process_results") is None and "loglikelihood" not in str(
        scene.config.get("output_type")
    )
    odd = [item for item in targets if isinstance(item.target, list) != isinstance(targets[0].target, list)]
    if odd and is_judged:
        kind, usual = ("a list", "is none") if isinstance(odd[0].target, list) else ("no list", "is one")
        text = (
            f"The target {odd[0].target!r:.60}{describe_row(odd[0])} is {kind}, but that of the first row "
            f"{usual}, and lm-eval treats all as the first. A text in square brackets is read as a list."
        )
        scene.report("mixed-targets", text, "doc_to_target")


def check_prompts(scene: Scene, items: list[Item]) -> None:
    field = scene.config.get("doc_to_text")
    if isinstance(field, str) and field.strip():  # an empty template is intended: no context
        rendered = [item for item in items if isinstance(item.text, str)]
        empty = [item for item in rendered if not item.text.strip()]
        report_items(scene, "empty-prompt", "the prompt is empty", empty, rendered)


def check_joins(scene: Scene, items: list[Item]) -> None:
    """Prompt and answer are joined by one space, in scripts that put spaces between words."""
    delimiter = scene.config.get("target_delimiter", " ")
    output_type = scene.config.get("output_type", "generate_until")
    shows_answers = output_type != "generate_until" or bool(scene.config.get("num_fewshot"))
    if not isinstance(delimiter, str) or output_type == "loglikelihood_rolling" or not shows_answers:
        return
    pairs = [pair for item in items for pair in list_joins(item)]
    glued = [pair for pair in pairs if runs_together(pair[0], delimiter, pair[1])]
    if glued and 2 * len(glued) > len(pairs):
        left, right = glued[0]
        text = f"Prompt and answer run together: {left[-20:] + delimiter + right[:20]!r}."
        hint = "Set target_delimiter to a space." if not delimiter else ""
        scene.report("run-together", f"{text} {hint}", "target_delimiter")
    doubled = [pair for pair in pairs if is_doubled(pair[0], delimiter, pair[1])]
    if doubled and 2 * len(doubled) > len(pairs):
        left, right = doubled[0]
        text = f"Two spaces between prompt and answer: {left[-20:] + delimiter + right[:20]!r}."
        end = "doc_to_text" if left.endswith(" ") else "doc_to_choice"
        scene.report("doubled-space", text, end if end in scene.config else "doc_to_target")


def list_joins(item: Item) -> Iterable[tuple[str, str]]:
    """(text before, text after) the delimiter; an empty string if unknown."""
    if isinstance(item.text, int) and is_text_list(item.choices):
        return [(choice, item.target if isinstance(item.target, str) else "") for choice in item.choices]
    left = item.prefix or (item.text if isinstance(item.text, str) else "")
    if is_text_list(item.choices):
        return [(left, choice) for choice in item.choices]
    answer = item.target[0] if isinstance(item.target, list) and item.target else item.target
    return [(left, answer if isinstance(answer, str) else "")]


def runs_together(left: str, delimiter: str, right: str) -> bool:
    if not left or not right or delimiter:
        return False
    before, after = left[-1], right[0]
    if before.isspace() or after.isspace() or is_unspaced(before) or is_unspaced(after):
        return False
    opens = unicodedata.category(before) in ("Ps", "Pi") or before in "\"'`$/_-=>#@*"
    return not opens and after.isalnum()


def is_unspaced(character: str) -> bool:
    """Whether the character belongs to a script that puts no spaces between words."""
    return unicodedata.name(character, "").startswith(UNSPACED)


def is_doubled(left: str, delimiter: str, right: str) -> bool:
    """Whether there are two spaces before or after the delimiter."""
    first = left.endswith(" ") and (delimiter or right).startswith(" ")
    return (bool(left) and first) or (delimiter.endswith(" ") and right.startswith(" "))
