"""``gptalt-eval votes`` and ``gptalt-eval elo``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import GptaltError, Option, Owner, PluginError, make_console
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_elo.votes import VoteFormat

if TYPE_CHECKING:
    from gptalt_eval import Installed
    from gptalt_eval_plugin_elo.agreement import Agreement
    from gptalt_eval_plugin_elo.evaluation import Evaluation
    from gptalt_eval_plugin_elo.importing import Counts

FOLDER = "votes"
RULES = ("survey", "majority", "all")
JSON = Option(("--json",), {"action": "store_true", "help": "print JSON"})
SEED = Option(("--seed",), {"type": int, "default": 0, "metavar": "N", "help": "for shuffling and bootstrap"})
IMPORT = (
    Option(("files",), {"nargs": "+", "type": Path, "metavar": "FILE", "help": "votes, as JSON or CSV"}),
    Option(
        ("--into",),
        {"type": Path, "default": Path(FOLDER), "metavar": "FOLDER", "help": f"default: {FOLDER}"},
    ),
    Option(("--format",), {"metavar": "NAME", "help": "format of the files; default: detected"}),
    Option(
        ("--columns",),
        {"metavar": "FIELD=COLUMN,...", "help": "question=prompt,model_a=left,model_b=right,winner=choice"},
    ),
    JSON,
)
AGREEMENT = (
    Option(
        ("votes",),
        {"nargs": "?", "type": Path, "metavar": "VOTES", "help": f"folder or JSONL; default: {FOLDER}"},
    ),
    SEED,
    JSON,
)
ELO = (
    Option(
        ("votes",),
        {"nargs": "?", "type": Path, "metavar": "VOTES", "help": f"folder or JSONL; default: {FOLDER}"},
    ),
    Option(
        ("--published",),
        {"action": "store_true", "help": "show the survey's published ratings next to yours"},
    ),
    Option(
        ("--merge",),
        {"choices": RULES, "default": "survey", "help": "how to merge several votes on the same answers"},
    ),
    Option(("--category",), {"metavar": "NAME", "help": "only votes of this category"}),
    Option(("--k",), {"type": float, "default": 16.0, "help": "maximum rating change per vote (16)"}),
    Option(("--start",), {"type": float, "default": 1000.0, "help": "initial rating of every model (1000)"}),
    Option(
        ("--scale",),
        {"type": float, "default": 400.0, "help": "rating difference with odds of ten to one (400)"},
    ),
    Option(("--orders",), {"type": int, "default": 1000, "help": "number of shuffled vote orders (1000)"}),
    Option(("--output", "-o"), {"type": Path, "metavar": "FOLDER", "help": "default: next to the votes"}),
    SEED,
    JSON,
)


def run_import(arguments: argparse.Namespace, plugins: Installed) -> int:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from gptalt_eval_plugin_elo.importing import REJECTED, VOTES, import_files

    console = make_console(stderr=True)
    formats = gather_formats(plugins)
    columns = read_columns(arguments.columns)
    total = sum(file.stat().st_size for file in arguments.files if file.is_file())
    bars = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading votes", total=total)
        counts = import_files(
            arguments.files, arguments.into, formats, arguments.format, columns,
            gather_steps(lambda size: progress.advance(task, size)),
        )  # fmt: skip
    if arguments.json:
        # asdict would break the Counter
        listed = {str(file): vars(each) for file, each in counts.items()}
        print(json.dumps(listed, ensure_ascii=False))
    else:
        print_counts(counts, arguments.into / VOTES, arguments.into / REJECTED)
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
    from gptalt_eval_plugin_elo.formats import FIELDS

    columns = {}
    for part in (text or "").split(",") if text else ():
        name, separator, column = part.partition("=")
        if not separator or name.strip() not in FIELDS:
            raise GptaltError(
                f"--columns: '{part}' does not name a field of a vote.", f"Available: {', '.join(FIELDS)}."
            )
        columns[name.strip()] = column.strip()
    return columns


def print_counts(counts: Mapping[Path, Counts], votes: Path, rejected: Path) -> None:
    for file, each in counts.items():
        print(f"{file}: {each.format}, {each.added:,} new votes", end="")
        print(f", {each.known:,} already known" if each.known else "", end="")
        print(
            f", {each.changed:,} {'vote' if each.changed == 1 else 'votes'} changed" if each.changed else "",
            end="",
        )
        print(f", {each.taken_back:,} taken back" if each.taken_back else "", end="")
        print(f", {each.rejected:,} records that are not votes" if each.rejected else "")
        for text in each.older:
            print(f"  {text}")
        for reason, count in each.reasons.most_common(5):
            print(f"  {count:,} times: {reason}")
    print(f"Votes: {votes}")
    if any(each.rejected for each in counts.values()):
        print(f"Records that are not votes, with file, line and reason: {rejected}")


def run_agreement(arguments: argparse.Namespace, _: Installed) -> int:
    from gptalt_eval_plugin_elo.agreement import measure_agreement
    from gptalt_eval_plugin_elo.importing import read_votes

    found = measure_agreement(list(read_votes(arguments.votes or Path(FOLDER))), arguments.seed)
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], ensure_ascii=False))
    else:
        print_agreement(found)
    return 0


def make_table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def print_agreement(found: Sequence[Agreement]) -> None:
    table = make_table("Votes", "pairs", "tie-discounted", "95 %", "kappa", "alpha")
    for each in found:
        discounted = each.tie_discounted
        rest = [f"{value.value:.3f}" if value else "" for value in (each.kappa, each.alpha)]
        interval = f"{discounted.low:.3f}-{discounted.high:.3f}"
        table.add_row(each.who, f"{each.pairs:,}", f"{discounted.value:.4f}", interval, *rest)
    make_console().print(table)
    print("Tie-discounted: 1 for equal votes, 0.5 if exactly one is a tie, 0 for opposite votes.")
    print("kappa: Cohen's kappa, for two judges. alpha: Krippendorff's nominal alpha.")


def run_elo(arguments: argparse.Namespace, _: Installed) -> int:
    from gptalt_eval_plugin_elo.agreement import measure_agreement
    from gptalt_eval_plugin_elo.evaluation import evaluate
    from gptalt_eval_plugin_elo.folders import written
    from gptalt_eval_plugin_elo.importing import VOTES, read_votes
    from gptalt_eval_plugin_elo.page import list_published, write_results
    from gptalt_eval_plugin_elo.ratings import Scale

    folder = arguments.votes or Path(FOLDER)
    if arguments.published and arguments.votes is None and not (folder / VOTES).exists():
        print_published()
        return 0
    if arguments.scale <= 0 or arguments.orders < 1:
        raise GptaltError("--scale and --orders must be above 0.", "Omit them for 400 and 1000.")
    votes = choose_category(list(read_votes(folder)), arguments.category)
    scale = Scale(arguments.start, arguments.k, arguments.scale)
    found = evaluate(votes, arguments.merge, scale, arguments.orders, arguments.seed)
    try:
        agreements = measure_agreement(votes, arguments.seed)
    except GptaltError:  # nothing was judged twice
        agreements = []
    beside = list_published(found) if arguments.published else []
    output = arguments.output or (folder if folder.is_dir() else folder.parent)
    with written(output, "--output"):
        files = write_results(output, found, agreements, beside, arguments.merge, scale, arguments.seed)
    if arguments.json:
        print(files[1].read_text(encoding="utf-8"), end="")
        return 0
    print_boards(found)
    if beside:
        print_beside(beside)
    print(f"Report: {files[0]}")
    return 0


def choose_category(votes: list[Any], category: str | None) -> list[Any]:
    if category is None:
        return votes
    chosen = [vote for vote in votes if vote.category == category]
    if not chosen:
        names = sorted({vote.category for vote in votes if vote.category})
        raise GptaltError(
            f"There are no votes in the category '{category}'.", f"Available: {', '.join(names) or 'none'}."
        )
    return chosen


def print_boards(found: Evaluation) -> None:
    print(f"{found.votes:,} votes, {found.skipped:,} skipped; {found.merged:,} comparisons after merging.")
    if len(found.boards) > 1:
        print(f"No vote connects these {len(found.boards)} groups of models; compare only within a group.")
    for board in found.boards:
        table = make_table("Model", "Elo", "95 %", "in order", "B-T", "95 %", "rank", "votes")
        for each in board.standings:
            finite = each.rating == each.rating
            rank = f"{each.best}" if each.best == each.worst else f"{each.best}-{each.worst}"
            table.add_row(
                each.model, f"{each.mean:.0f}", f"{each.low:.0f}-{each.high:.0f}",
                f"{each.elo:.0f}",
                f"{each.rating:.0f}" if finite else "none",
                f"{each.rating_low:.0f}-{each.rating_high:.0f}" if finite else "", rank if finite else "",
                f"{each.votes:,}",
            )  # fmt: skip
        make_console().print(table)
    orders = found.boards[0].orders
    print(f"Elo: mean and 95 % range over {orders:,} vote orders; in order: one pass as given.")
    print("B-T: Bradley-Terry on the same scale, with 95 % intervals of rating and rank.")


def print_published() -> None:
    from gptalt_eval_plugin_elo import published

    table = make_table("Published", "Elo")
    for name, elo in published.RATINGS.items():
        table.add_row(name, str(elo))
    make_console().print(table)
    print(
        f"{published.COMPARISONS:,} comparisons of 16 models on {published.QUESTIONS} questions; "
        f"tie-discounted agreement {published.AGREEMENT:.4f}."
    )
    for (first, second), (won, decided) in published.WON.items():
        print(f"{first} won {won} of {decided} against {second}, without ties.")
    print("To see yours next to it: gptalt-eval votes import FILE..., then gptalt-eval elo --published")


def print_beside(beside: Iterable[tuple[str, int, str, float]]) -> None:
    table = make_table("Published", "Elo", "yours", "Elo")
    for name, elo, own, value in beside:
        table.add_row(name, str(elo), own, f"{value:.0f}" if own else "")
    make_console().print(table)
