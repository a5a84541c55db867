"""How flag values are read, lm-eval's way."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEFAULT_SEEDS = (0, 1234, 1234, 1234)
SCORERS = ("tree", "stock")


def split_names(values: str | Sequence[str]) -> list[str]:
    texts = [values] if isinstance(values, str) else values
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def parse_settings(text: str) -> dict[str, Any]:
    """``a=1,b=[2,3]`` or ``{"a": 1}`` as a dict; values as lm-eval reads them."""
    if text.lstrip().startswith("{"):
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON ({error.msg}); strings want double quotes") from None
        return dict(parsed)
    pairs = [part for part in split_outside_brackets(text) if part]
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"expected key=value, found {wrong[0]!r}")
    return {key: parse_value(value) for key, value in (pair.split("=", 1) for pair in pairs)}


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas that stand in no bracket and no quotes."""
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


def parse_shots(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of examples") from None


def parse_seeds(text: str) -> list[int | None]:
    """One seed for all four generators, or three or four, ``None`` leaving one unset."""
    try:
        seeds = [None if part.strip().lower() == "none" else int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': seeds are whole numbers or None") from None
    return complete_seeds(seeds)


def complete_seeds(seeds: Sequence[int | None]) -> list[int | None]:
    if len(seeds) == 1:
        return list(seeds) * len(DEFAULT_SEEDS)
    if len(seeds) in (len(DEFAULT_SEEDS) - 1, len(DEFAULT_SEEDS)):
        return [*seeds, *DEFAULT_SEEDS[len(seeds) :]]
    raise argparse.ArgumentTypeError("give one seed, or four: Python, numpy, torch, few-shot")


def parse_samples(text: str) -> dict[str, list[int]]:
    """``--samples``: JSON, or the path of a JSON file, of task -> row numbers."""
    source = (
        Path(text).read_text(encoding="utf-8")
        if not text.lstrip().startswith("{") and Path(text).is_file()
        else text
    )
    try:
        return {str(task): [int(row) for row in rows] for task, rows in json.loads(source).items()}
    except (ValueError, TypeError, AttributeError):
        raise argparse.ArgumentTypeError(
            "give JSON such as '{\"piqa\": [0, 5]}', or a file that holds it"
        ) from None
