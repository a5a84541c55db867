"""ScienceQA: science questions from school, half of them with a picture."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval import Command, Dataset, Option, Split, hookimpl
from gptalt_eval_plugin_scienceqa.formats import FORMATS
from gptalt_eval_plugin_scienceqa.releases import read_test, read_train, read_validation
from gptalt_eval_plugin_scienceqa.settings import BAD_ROWS

gptalt_eval_api = 1  # the version of gptalt-eval's hook API
HERE = Path(__file__).parent
READERS = {"train": (read_train, 12726), "validation": (read_validation, 4241), "test": (read_test, 4241)}


@hookimpl
def register_task_dirs() -> list[Path]:
    return [HERE / "tasks"]


@hookimpl
def register_run_options() -> list[Option]:
    return [
        Option(
            ("--prompt_format",),
            {
                "metavar": "FORMAT",
                "choices": FORMATS,
                "help": "format of ScienceQA's questions, by the release's names; QCM-A by default",
            },
        ),
        Option(
            ("--use_caption",),
            {"action": "store_true", "help": "give ScienceQA's captions to models that see no pictures"},
        ),
        Option(
            ("--shot_qids",),
            {"metavar": "ID,ID", "help": "ScienceQA's examples, by their numbers in the release"},
        ),
        Option(
            ("--bad_rows",),
            {"choices": BAD_ROWS, "help": "what to do with questions that have a fault; refuse by default"},
        ),
    ]


@hookimpl
def register_commands() -> list[Command]:
    from gptalt_eval_plugin_scienceqa.commands import make_command

    return [make_command()]


@hookimpl
def register_datasets() -> list[Dataset]:
    # pictures of the examples are not hashed with the rows: those that are shown are in each prompt's hash
    beside = ("pid_splits.json", "captions.json")
    splits = tuple(
        Split(
            name,
            ("scienceqa/problems.json",),
            rows,
            beside=(*beside, "images/test/*/image.png") if name == "test" else beside,
            read=read,
            is_listed=True,
        )
        for name, (read, rows) in READERS.items()
    )
    return [
        Dataset(
            "scienceqa",
            "ScienceQA",
            "derek-thomas/ScienceQA",
            splits,
            read_test,
            "CC BY-NC-SA 4.0",
            "scienceqa.github.io",
            sample=HERE / "sample",
        )
    ]
