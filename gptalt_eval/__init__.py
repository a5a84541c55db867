"""Evaluate open stand-ins for GPT, on lm-evaluation-harness.

The whole of the library in one line::

    import gptalt_eval
    record = gptalt_eval.evaluate(model="smollm2", tasks=["piqa"], data_dir="sample")

Plugin authors need the names below and nothing else. Nothing heavy is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptalt_eval.choices import find_choice, find_text
from gptalt_eval.data import read_jsonl
from gptalt_eval.errors import GptaltError
from gptalt_eval.figures import PAGE_INK, PAGE_LINE, make_svg
from gptalt_eval.hookspecs import hookimpl
from gptalt_eval.releases import from_rows, read_json
from gptalt_eval.types import (
    Command,
    Dataset,
    Model,
    Option,
    Owner,
    Part,
    PromptStyle,
    ReportSection,
    Sample,
    Split,
    Vote,
    VoteFormat,
)

if TYPE_CHECKING:
    from gptalt_eval.api import evaluate
    from gptalt_eval.record import Record

__version__ = "0.1.0"
__all__ = [
    "PAGE_INK",
    "PAGE_LINE",
    "Command",
    "Dataset",
    "GptaltError",
    "Model",
    "Option",
    "Owner",
    "Part",
    "PromptStyle",
    "Record",
    "ReportSection",
    "Sample",
    "Split",
    "Vote",
    "VoteFormat",
    "evaluate",
    "find_choice",
    "find_text",
    "from_rows",
    "hookimpl",
    "make_svg",
    "read_json",
    "read_jsonl",
]


def __getattr__(name: str) -> object:
    # `evaluate` pulls in the run's machinery; importing a plugin must not.
    if name == "evaluate":
        from gptalt_eval.api import evaluate

        return evaluate
    if name == "Record":
        from gptalt_eval.record import Record

        return Record
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
