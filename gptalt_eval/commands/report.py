"""Report: the page of a run, of an experiment or of any runs, or their scores as a table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import EXPERIMENT_FILE, Record, find_file, find_runs, is_run, load_record
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.storage import check_ordinary, write_atomically
from gptalt_eval.machine.waiting import waiting

PAGE = "report.html"
OURS = b"gptalt-eval</title>"
HEAD = 1 << 16  # bytes of a page that contain its title


def run_report(arguments: argparse.Namespace, plugins: Installed) -> int:
    with waiting("Reading the runs"):
        records = read_records(arguments.runs)
    if arguments.format == "html":
        from gptalt_eval.results.report import render_report

        target = arguments.output or choose_place(arguments.runs, records)
        with waiting("Writing the report"):
            text = render_report(records, plugins)
    else:
        from gptalt_eval.results.exports import export_scores

        with waiting("Reading the answers"):
            text = export_scores(records, arguments.format)
        if arguments.output is None:
            print(text, end="")
            return 0
        target = arguments.output
    try:
        if target.exists():
            check_ordinary(target)  # nobody reads it from a pipe: it is replaced
        write_atomically(target, text)
        print(target)
    except OSError as error:
        raise GptaltError(
            f"{target} cannot be written: {error.strerror}.", "Choose another place with --output."
        ) from error
    return 0


def read_records(paths: Sequence[Path]) -> list[Record]:
    """The runs at or below some paths, each once; those of an experiment in the order in which they began.

    Runs without results are left out where others have some, as in the page that the experiment wrote.
    """
    records = {}
    for path in paths:
        found = [load_record(folder) for folder in find_runs(path)]
        if is_experiment(path):
            found.sort(key=lambda record: record.run.started)
        records.update({record.folder.resolve(): record for record in found})
    return [record for record in records.values() if record.results] or list(records.values())


def is_experiment(path: Path) -> bool:
    return find_file(path, EXPERIMENT_FILE) is not None and not is_run(path)


def choose_place(paths: Sequence[Path], records: Sequence[Record]) -> Path:
    """Where the page of some runs belongs: in their folder, and that of several in no folder of one of them.

    Raises:
        GptaltError: they have no folder in common, or there is a page that we did not write.
    """
    if len(records) == 1 and not is_experiment(paths[0]):
        return records[0].folder / PAGE
    example = "To choose where it is written, add for example: --output report.html"
    if len(paths) > 1:
        raise GptaltError(
            f"The page of {len(records)} runs from {len(paths)} folders needs a place.", example
        )
    if is_run(paths[0]):  # other runs are in folders below it
        raise GptaltError(
            f"{paths[0] / PAGE} is the page of one run, and this one has {len(records)}.", example
        )
    target = paths[0] / PAGE
    if target.is_file() and not is_experiment(paths[0]):
        check_ordinary(target)
        with target.open("rb") as stream:
            if OURS not in stream.read(HEAD):
                raise GptaltError(f"{target} was not written by gptalt-eval, and is not replaced.", example)
    return target
