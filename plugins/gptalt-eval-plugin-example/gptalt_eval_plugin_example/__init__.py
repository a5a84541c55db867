"""The smallest useful plugin for gptalt-eval, to copy from: one model, one task and its data.

Every `gptalt-eval` command imports this file, so it imports nothing heavy at the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval import Dataset, Model, Split, hookimpl, read_jsonl

gptalt_eval_api = 1  # the version of gptalt-eval's hook API
HERE = Path(__file__).parent
TASKS = HERE / "tasks"


@hookimpl
def register_models() -> list[Model]:
    return [
        Model(
            name="shortest-option",
            summary="always prefers the shortest answer: a baseline for length alone",
            licence="Apache-2.0",
            home="gptalt-eval-plugin-example",
            create=make_model,
            chat_template=False,
        )
    ]


def make_model(args: Mapping[str, Any]) -> object:
    from gptalt_eval_plugin_example.model import ShortestOption  # imports lm-eval: only for a run

    return ShortestOption(**args)


@hookimpl
def register_task_dirs() -> list[Path]:
    return [TASKS]


@hookimpl
def register_datasets() -> list[Dataset]:
    return [
        Dataset(
            name="capitals",
            title="Capitals",
            hub="gptalt-eval/capitals",  # the dataset_path in the task's YAML
            splits=(
                Split("test", ("capitals/test.jsonl",), 20),
                Split("train", ("capitals/train.jsonl",), 5),
            ),
            read=read_rows,
            licence="Apache-2.0",
            home="gptalt-eval-plugin-example",
            sample=HERE / "sample",
        )
    ]


def read_rows(files: tuple[Path, ...], config: str | None) -> Iterator[dict[str, Any]]:
    """The rows of release files below `--data_dir`, in the schema that the task's YAML reads."""
    for file in files:
        yield from read_jsonl(file)
