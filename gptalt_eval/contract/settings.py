"""How the values of settings are read, as in lm-eval: from the command line, from YAML and from Python.

Each reader takes text or the value itself, and raises a ``ValueError`` that says what it expected.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.machine.bounds import read_file

LARGEST = 64 << 20  # bytes of a file of row numbers
DEFAULT_SEEDS = (0, 1234, 1234, 1234)
SCORERS = ("tree", "stock")
REQUEST_CACHES = ("true", "refresh", "delete")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def check_text(text: str) -> str:
    """Text that can be a path, and can be saved.

    Raises:
        ValueError: it has a NUL or half a character in it.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it contains a character that cannot be saved")
    return text


def split_names(values: str | Sequence[str]) -> list[str]:
    texts = [values] if isinstance(values, str) else values
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def parse_settings(text: str) -> dict[str, Any]:
    """``a=1,b=[2,3]`` or ``{"a": 1}`` as a dict; values as lm-eval reads them."""
    if text.lstrip().startswith("{"):
        try:
            parsed = parse_json(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON ({error.msg}); strings need double quotes") from None
        return dict(parsed)
    pairs = [part for part in split_outside_brackets(text) if part]
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"expected key=value, found {wrong[0]!r}")
    return make_single([(key, parse_value(value)) for key, value in (pair.split("=", 1) for pair in pairs)])


def parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=make_single)


def make_single(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of pairs.

    Raises:
        ValueError: a key appears twice.
    """
    keys = [key for key, _ in pairs]
    twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice!r} appears twice")
    return dict(pairs)


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, start, depth, quote = [], 0, 0, ""
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[({":
            depth += 1
        elif character in "])}":
            depth = max(depth - 1, 0)
        elif character == "," and not depth:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def parse_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.isnumeric():
        return int(text)
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")
    if not value:
        raise ValueError("it is empty; omit the setting, or give it a value")
    return check_text(value)


def read_model(value: object) -> str:
    """One model, or several joined by commas: an experiment."""
    return ",".join(dict.fromkeys(read_names(value)))


def read_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, (str, Sequence)) or not all(isinstance(name, str) for name in value):
        raise ValueError("expected a name, or a list of names")
    return tuple(map(check_text, split_names(value)))


def read_flag(value: object) -> bool:
    found = WORDS.get(str(value).lower())
    if found is None or not isinstance(value, (bool, str)):
        raise ValueError("expected true or false")
    return found


def read_number(value: object) -> float:
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            number = float(value)
            return number if isinstance(value, str) else value
    except (ValueError, OverflowError):
        pass
    raise ValueError("expected a number")


def read_integer(value: object) -> int:
    """An integer."""
    try:
        if isinstance(value, (int, str)) and not isinstance(value, bool) and abs(int(value)) < 2**63:
            return int(value)
    except ValueError:
        pass
    raise ValueError("expected an integer")


def read_batch_size(value: object) -> str:
    """A number of items, ``auto``, or ``auto:N``."""
    return value if isinstance(value, str) else str(read_integer(value))


def read_shots(value: object) -> tuple[int, ...]:
    """One or several numbers of examples, without duplicates."""
    values = value.split(",") if isinstance(value, str) else value
    counts = values if isinstance(values, Sequence) else [values]
    return tuple(dict.fromkeys(read_integer(count) for count in counts))


def read_seeds(value: object) -> tuple[int | None, ...]:
    """One seed for all four generators, or three or four seeds; ``None`` leaves one unset."""
    values = value.split(",") if isinstance(value, str) else value
    given = values if isinstance(values, Sequence) else [values]
    seeds = [None if str(seed).strip().lower() == "none" else read_integer(seed) for seed in given]
    if len(seeds) == 1:
        return tuple(seeds * len(DEFAULT_SEEDS))
    if len(seeds) in (len(DEFAULT_SEEDS) - 1, len(DEFAULT_SEEDS)):
        return (*seeds, *DEFAULT_SEEDS[len(seeds) :])
    raise ValueError("give one seed, or four: Python, numpy, torch, few-shot")


def read_settings(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return parse_settings(value)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("expected key=value, or a mapping")
    try:
        check_text(json.dumps(value, ensure_ascii=False).replace("\\u0000", "\0"))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("its values must be text, numbers, lists or mappings: they are saved") from None
    return dict(value)


def read_samples(value: object) -> dict[str, list[int]]:
    """Row numbers by task, ascending: JSON, the path of a JSON file, or a mapping."""
    try:
        parsed: Any = parse_json(find_json(value)) if isinstance(value, str) else value
        # lm-eval reads the rows in the order of the data, but numbers them in the order given here
        return {
            str(task): sorted({read_integer(row) for row in read_list(rows)}) for task, rows in parsed.items()
        }
    except (ValueError, TypeError, AttributeError, OSError):
        raise ValueError("give JSON such as '{\"piqa\": [0, 5]}', or the path of a JSON file") from None


def read_list(value: object) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("expected a list")
    return value


def find_json(text: str) -> str:
    is_path = not text.lstrip().startswith("{") and Path(text).is_file()
    return read_file(Path(text), LARGEST).decode("utf-8") if is_path else text


def read_request_cache(value: object) -> str | None:
    if value is False:
        return None
    word = "true" if value is True else value
    if word not in REQUEST_CACHES:
        raise ValueError(f"expected {', '.join(REQUEST_CACHES[:-1])} or {REQUEST_CACHES[-1]}")
    return str(word)


def read_template(value: object) -> bool | str:
    """Whether to apply the chat template, or the name of one of several."""
    if isinstance(value, bool):
        return value
    name = read_text(value)
    if name.lower() in WORDS:
        raise ValueError("this would be the name of a template; use the flag without a value, or omit it")
    return name


def read_level(value: object) -> str:
    level = read_text(value).upper()
    if level not in LEVELS:
        raise ValueError(did_you_mean(level, LEVELS) or f"expected one of {', '.join(LEVELS)}")
    return level
