"""``gptalt-eval votes import``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gptalt_eval import Option, Owner, PluginError, make_console
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_elo.votes import VoteFormat

if TYPE_CHECKING:
    from gptalt_eval import Installed
    from gptalt_eval_plugin_elo.counts import Counts

FOLDER = "votes"
RULES = ("survey", "majority", "all")
JSON = Option(("--json",), {"action": "store_true", "help": "print JSON"})
SEED = Option(("--seed",), {"type": int, "default": 0, "metavar": "N", "help": "for shuffling and bootstrap"})
IMPORT = (
    Option(
        ("files",),
        {"nargs": "+", "type": Path, "metavar": "FILE", "help": "JSON, CSV, Parquet or Excel"},
    ),
    Option(
        ("--into",),
        {"type": Path, "default": Path(FOLDER), "metavar": "FOLDER", "help": f"default: {FOLDER}"},
    ),
    Option(("--format",), {"metavar": "NAME", "help": "format of the files; default: detected"}),
    Option(
        ("--columns",),
        {"metavar": "FIELD=COLUMN,...", "help": "question=prompt,model_a=left,annotator={file}"},
    ),
    Option(
        ("--winners",),
        {
            "metavar": "WINNER=WORD,...",
            "help": "the file's words: a=left,b=right,tie=equal,tie=both",
        },
    ),
    JSON,
)


def run_import(arguments: argparse.Namespace, plugins: Installed) -> int:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn

    from gptalt_eval_plugin_elo.counts import check_imported
    from gptalt_eval_plugin_elo.importing import REJECTED, VOTES, import_files
    from gptalt_eval_plugin_elo.winners import read_winners

    class TimeLeft(ProgressColumn):
        def render(self, task: Task) -> str:
            return f"{task.time_remaining:,.0f} s left" if task.time_remaining is not None else "estimating"

    console = make_console(stderr=True)
    formats = gather_formats(plugins)
    columns = read_columns(arguments.columns)
    total = sum(file.stat().st_size for file in arguments.files if file.is_file())
    bars = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeLeft(),
    )
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading votes", total=total)
        counts = import_files(
            arguments.files, arguments.into, formats, arguments.format, columns,
            gather_steps(lambda size: progress.advance(task, size)), read_winners(arguments.winners),
        )  # fmt: skip
    if arguments.json:
        # asdict would break the Counter
        listed = {str(file): vars(each) for file, each in counts.items()}
        print(json.dumps(listed, ensure_ascii=False), as_is=True)
    else:
        print_counts(counts, arguments.into / VOTES, arguments.into / REJECTED)
    check_imported(counts, arguments.into / REJECTED)
    return 0


def gather_formats(plugins: Installed) -> list[VoteFormat]:
    """Every plugin's formats, our own first.

    Raises:
        PluginError: two plugins register a format with the same name.
    """
    found: dict[str, tuple[Owner, VoteFormat]] = {}
    for owner, known in plugins.contribute("register_vote_formats"):
        if known.name in found:
            text = f"The vote format '{known.name}' is registered by both {found[known.name][0]} and {owner}."
            raise PluginError(text, "Uninstall one of the two, or rename the format.")
        found[known.name] = owner, known
    return [known for _, known in found.values()]


def gather_steps(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Advance the progress bar every 256 KiB: doing so for every line takes longer than reading it."""
    waiting = 0

    def step(size: int) -> None:
        nonlocal waiting
        waiting += size
        if waiting >= 1 << 18:
            advance(waiting)
            waiting = 0

    return step


def read_columns(text: str | None) -> dict[str, str]:
    """``question=prompt,model_a=left`` as a mapping.

    Raises:
        GptaltError: a part without '=', or a field that votes do not have.
    """
    from gptalt_eval_plugin_elo.formats.own import FIELDS
    from gptalt_eval_plugin_elo.winners import split_pairs

    return dict(split_pairs(text, "--columns", FIELDS))


def print_counts(counts: Mapping[Path, Counts], votes: Path, rejected: Path) -> None:
    from gptalt_eval_plugin_elo.counts import count_rejected

    for file, each in counts.items():
        said = [each.format, f"{each.added:,} new {'vote' if each.added == 1 else 'votes'}"]
        said += [f"{each.known:,} already known"] if each.known else []
        changed = "vote" if each.changed == 1 else "votes"
        said += [f"{each.changed:,} {changed} changed"] if each.changed else []
        said += [f"{each.taken_back:,} taken back"] if each.taken_back else []
        rejected_here = f"; {count_rejected(each.rejected)}" if each.rejected else ""
        print(f"{file}: {', '.join(said)}{rejected_here}")
        for text in each.older:
            print(f"  {text}")
        for reason, count in each.reasons.most_common(5):
            print(f"  {count:,} times: {reason}")
    print(f"Votes: {votes}")
    if any(each.rejected for each in counts.values()):
        print(f"Records that are not votes, with file, line and reason: {rejected}")
