"""Evaluate open replacements for GPT, based on lm-evaluation-harness.

The library in one line::

    import gptalt_eval
    record = gptalt_eval.evaluate(model="smollm2", tasks=["piqa"], data_dir="sample")

Plugin authors need only the names below. Nothing heavy is imported here.
"""

from __future__ import annotations

from gptalt_eval.machine import startup as startup  # before what the working folder could replace

# isort: split
from typing import TYPE_CHECKING

from gptalt_eval.contract.errors import (
    DataError,
    GptaltError,
    InterruptedRun,
    PluginError,
    RequestErrors,
    ServerGone,
    UnknownNameError,
)
from gptalt_eval.contract.handed import check_folders, check_plain, open_named
from gptalt_eval.contract.hooks import Hook, Problem
from gptalt_eval.contract.hookspecs import HOOK_API, hookimpl
from gptalt_eval.contract.models import Card, Loader, Model, Template
from gptalt_eval.contract.pictures import Picture, make_picture
from gptalt_eval.contract.plan import Cell, Plan, PlannedTask
from gptalt_eval.contract.record import Record, find_runs, load_record
from gptalt_eval.contract.replies import find_choice, find_text
from gptalt_eval.contract.settings import parse_settings
from gptalt_eval.contract.types import (
    Command,
    Dataset,
    Installed,
    Option,
    Owner,
    Part,
    PromptStyle,
    ReportSection,
    Sample,
    Split,
)
from gptalt_eval.data.readers import from_rows, read_json, read_jsonl
from gptalt_eval.machine.consents import read_secret
from gptalt_eval.machine.plain import print_plain
from gptalt_eval.machine.version import __version__ as __version__
from gptalt_eval.results.figures.matplotlib_style import make_svg, page_style
from gptalt_eval.results.page import render_page

if TYPE_CHECKING:
    from gptalt_eval.machine.consoles import make_console
    from gptalt_eval.running.api import evaluate, find_model

__all__ = [
    "HOOK_API",
    "Card",
    "Cell",
    "Command",
    "DataError",
    "Dataset",
    "GptaltError",
    "Hook",
    "Installed",
    "InterruptedRun",
    "Loader",
    "Model",
    "Option",
    "Owner",
    "Part",
    "Picture",
    "Plan",
    "PlannedTask",
    "PluginError",
    "Problem",
    "PromptStyle",
    "Record",
    "ReportSection",
    "RequestErrors",
    "Sample",
    "ServerGone",
    "Split",
    "Template",
    "UnknownNameError",
    "check_folders",
    "check_plain",
    "evaluate",
    "find_choice",
    "find_model",
    "find_runs",
    "find_text",
    "from_rows",
    "hookimpl",
    "load_record",
    "make_console",
    "make_picture",
    "make_svg",
    "open_named",
    "page_style",
    "parse_settings",
    "print_plain",
    "read_json",
    "read_jsonl",
    "read_secret",
    "render_page",
]


def __getattr__(name: str) -> object:
    if name in ("evaluate", "find_model"):  # they import what runs need; importing a plugin must not
        from gptalt_eval.running import api

        return getattr(api, name)
    if name == "make_console":  # imports rich
        from gptalt_eval.machine.consoles import make_console

        return make_console
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
