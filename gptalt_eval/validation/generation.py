"""The names and values of generation settings, in ``generation_kwargs`` or ``--gen_kwargs``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gptalt_eval.contract.errors import did_you_mean

FLAGS = (
    "do_sample", "ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "use_cache",
    "renormalize_logits", "remove_invalid_values", "enable_thinking", "token_healing",
)  # fmt: skip
TEXTS = ("until", "stop", "stop_strings")
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # lm-eval reads "64" too
COUNTS: Mapping[str, int] = {  # the least value
    "num_beams": 1, "num_return_sequences": 1, "n": 1, "best_of": 1, "top_k": -1, "min_tokens": 0,
    "min_new_tokens": 0, "min_length": 0, "max_length": 1, "no_repeat_ngram_size": 0, "seed": 0,
    **dict.fromkeys(LENGTHS, 1),
}  # fmt: skip
RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"), (0, 1)),
    **dict.fromkeys(("temperature", "repetition_penalty", "max_time"), (0, math.inf)),
    **dict.fromkeys(("length_penalty", "presence_penalty", "frequency_penalty"), (-math.inf, math.inf)),
}


@dataclass(frozen=True)
class SettingFault:
    """A problem with one setting.

    Attributes:
        rule: the finding's rule.
        key: the setting.
        text: what is wrong with it.
        cure: what to write.
        is_certain: whether it fails or changes the answers, rather than having no effect.
    """

    rule: str
    key: str
    text: str
    cure: str
    is_certain: bool = True


def find_setting_faults(settings: Mapping[Any, Any], known: Iterable[str]) -> Iterator[SettingFault]:
    """All problems of a mapping of settings.

    Args:
        settings: as they are given to the model.
        known: the settings that some backend has.
    """
    names = list(known)
    for key, value in settings.items():
        if key not in names:
            hint = did_you_mean(str(key), names)
            text = f"no known backend has a generation setting '{key}'"
            yield SettingFault("unknown-generation-key", str(key), text, hint, bool(hint))
        else:
            yield from judge_value(str(key), value)
    yield from judge_sampling(settings)


def judge_value(key: str, value: Any) -> Iterator[SettingFault]:
    shown = f"'{key}' is {value!r:.60}"
    if key in TEXTS:
        yield from judge_stops(key, value)
    elif value is None and key != "temperature":
        return  # as if it were not there
    elif key in FLAGS:
        if not isinstance(value, bool):
            yield SettingFault("wrong-type", key, f"{shown}, which counts as true", "Write true or false.")
    elif key in COUNTS:
        number = int(value) if key in LENGTHS and isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number % 1:
            yield SettingFault(
                "wrong-type", key, f"{shown}, not an integer", "Write a number without quotes."
            )
        elif number < COUNTS[key]:
            yield SettingFault("bad-value", key, shown, f"The minimum is {COUNTS[key]}.")
    elif key in RANGES:
        yield from judge_number(key, value, shown)


def judge_number(key: str, value: Any, shown: str) -> Iterator[SettingFault]:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    is_text = isinstance(value, str) and key != "temperature"  # which lm-eval converts
    low, high = RANGES[key]
    if math.isnan(number) or is_text:
        yield SettingFault("wrong-type", key, f"{shown}, not a number", "Write a number without quotes.")
    elif not low <= number <= high:
        limit = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
        yield SettingFault("bad-value", key, shown, f"It must be {limit}.")


def judge_stops(key: str, value: Any) -> Iterator[SettingFault]:
    """Stop strings are text: one, or a list; an empty one is found everywhere, and ends every answer."""
    for stop in value if isinstance(value, list) else [value]:
        if not isinstance(stop, str):
            text = f"'{key}' contains {stop!r:.40}, which is not text"
            cure = "For no stop string, write []." if stop is None else f'Quote it: "{stop}".'
            yield SettingFault("wrong-type", key, text, cure)
        elif not stop:
            text = (
                f"'{key}' contains an empty text, which is found at once: every answer ends after one token"
            )
            yield SettingFault("bad-value", key, text, "Remove it; for no stop string at all, write [].")


def judge_sampling(settings: Mapping[Any, Any]) -> Iterator[SettingFault]:
    """lm-eval takes a missing temperature for 0, at which transformers does not sample."""
    try:
        temperature = float(settings.get("temperature", 0))
    except (TypeError, ValueError):
        return  # reported already
    if settings.get("do_sample") is True and temperature == 0:
        text = (
            "'do_sample' is true without a temperature, which lm-eval takes for 0: transformers refuses that"
        )
        yield SettingFault("missing-temperature", "do_sample", text, "Add a temperature, such as 1.0.")
    elif settings.get("do_sample") is False and temperature > 0:
        text = "'temperature' has no effect: 'do_sample' is false"
        yield SettingFault("unused-field", "temperature", text, "Set do_sample to true, or remove it.", False)
    many = settings.get("num_return_sequences")
    if isinstance(many, int) and many > 1:
        text = f"'num_return_sequences' is {many}, but lm-eval reads one answer to each request"
        yield SettingFault("bad-value", "num_return_sequences", text, "Use 'repeats' in the task's YAML.")
