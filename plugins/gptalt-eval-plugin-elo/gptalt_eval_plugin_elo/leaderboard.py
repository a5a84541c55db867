"""``gptalt-eval elo`` and ``gptalt-eval votes agreement``."""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import GptaltError, Option, make_console
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_elo.votes import KINDS

if TYPE_CHECKING:
    from gptalt_eval import Installed
    from gptalt_eval_plugin_elo.agreement import Agreement
    from gptalt_eval_plugin_elo.evaluation import Board, Evaluation, Rules, Standing
    from gptalt_eval_plugin_elo.filters import Filters

FOLDER = "votes"
LARGEST = 1_000_000  # points
RULES = ("survey", "majority", "all")
VOTES = Option(
    ("votes",),
    {"nargs": "?", "type": Path, "metavar": "VOTES",
     "help": f"folder, JSONL or the page's votes.sqlite; default: {FOLDER}"},
)  # fmt: skip
SEED = Option(("--seed",), {"type": int, "default": 0, "metavar": "N", "help": "for shuffling and bootstrap"})
JSON = Option(("--json",), {"action": "store_true", "help": "print JSON"})
FILTERS = (
    Option(("--category",), {"metavar": "NAME", "help": "only votes of this category"}),
    Option(("--language",), {"metavar": "CODE", "help": "only votes on questions in this language"}),
    Option(("--kind",), {"choices": KINDS, "help": "whose votes; default: people's, if there are any"}),
    Option(("--names_shown",), {"action": "store_true",
                                "help": "count votes by people who saw the models' names too"}),
    Option(("--without",), {"metavar": "NAME,...", "help": "leave out these annotators' votes"}),
)  # fmt: skip
AGREEMENT = (VOTES, *FILTERS, SEED, JSON)
ELO = (
    VOTES,
    Option(("--published",), {"action": "store_true",
                              "help": "show the survey's published ratings next to yours"}),
    *FILTERS,
    Option(("--merge",), {"choices": RULES, "default": "survey",
                          "help": "how to merge several votes on the same answers"}),
    Option(("--anchor",), {"metavar": "MODEL=RATING", "help": "the rating that a model is to have"}),
    Option(("--even_pairs",), {"action": "store_true",
                               "help": "each pair of models counts alike, whatever its number of votes"}),
    Option(("--least_votes",), {"type": int, "default": 0, "metavar": "N",
                                "help": "leave out models with fewer comparisons"}),
    Option(("--style_control",), {"action": "store_true",
                                  "help": "control for the answers' length and Markdown"}),
    Option(("--k",), {"type": float, "default": 16.0, "help": "maximum change of Elo per vote (16)"}),
    Option(("--start",), {"type": float, "default": 1000.0, "help": "initial rating of every model (1000)"}),
    Option(("--scale",), {"type": float, "default": 400.0,
                          "help": "rating difference with odds of ten to one (400)"}),
    Option(("--orders",), {"type": int, "default": 1000, "help": "number of shuffled vote orders (1000)"}),
    Option(("--output", "-o"), {"type": Path, "metavar": "FOLDER", "help": "default: next to the votes"}),
    SEED,
    JSON,
)  # fmt: skip


def run_agreement(arguments: argparse.Namespace, _: Installed) -> int:
    from gptalt_eval_plugin_elo.agreement import measure_agreement
    from gptalt_eval_plugin_elo.filters import choose_votes
    from gptalt_eval_plugin_elo.importing import read_votes
    from gptalt_eval_plugin_elo.page import clean
    from gptalt_eval_plugin_elo.table import gather_votes

    check_least("seed", arguments.seed, 0)
    table = gather_votes(read_votes(arguments.votes or Path(FOLDER)))
    chosen, notes = choose_votes(table, read_filters(arguments))
    found = measure_agreement(chosen, arguments.seed)
    if arguments.json:
        print(json.dumps([clean(asdict(each)) for each in found], ensure_ascii=False), as_is=True)
    else:
        print_notes(notes)
        print_agreement(found)
    return 0


def run_elo(arguments: argparse.Namespace, _: Installed) -> int:
    from gptalt_eval_plugin_elo.agreement import measure_agreement
    from gptalt_eval_plugin_elo.evaluation import evaluate
    from gptalt_eval_plugin_elo.filters import choose_beside, choose_votes
    from gptalt_eval_plugin_elo.folders import written
    from gptalt_eval_plugin_elo.importing import find_source, read_votes
    from gptalt_eval_plugin_elo.judges import measure_judges
    from gptalt_eval_plugin_elo.judging.presentation import print_judges
    from gptalt_eval_plugin_elo.page import Report, list_published, write_results
    from gptalt_eval_plugin_elo.sharpening import fit_with_judges
    from gptalt_eval_plugin_elo.table import gather_votes

    folder = arguments.votes or Path(FOLDER)
    if arguments.published and arguments.votes is None and not find_source(folder).exists():
        print_published()
        return 0
    rules, filters = read_rules(arguments), read_filters(arguments)
    table = gather_votes(read_votes(folder))
    chosen, notes = choose_votes(table, filters)
    found = evaluate(chosen, rules)
    before = None
    if filters.without:
        before = evaluate(choose_votes(table, replace(filters, without=()))[0], rules)
    try:
        agreements = measure_agreement(chosen, arguments.seed)
    except GptaltError:  # nothing was judged twice
        agreements = []
    beside = list_published(found) if arguments.published else []
    both = choose_beside(table, filters)
    judges, sharpened = measure_judges(both), fit_with_judges(both, rules.scale)
    by_judges = bool(chosen.by_judge.all())
    output = arguments.output or (folder if folder.is_dir() else folder.parent)
    with written(output, "--output"):
        report = Report(found, rules, agreements, beside, notes, before, by_judges, judges, sharpened)
        files = write_results(output, report)
    if arguments.json:
        print(files[1].read_text(encoding="utf-8"), end="")
        return 0
    print_notes(notes)
    print_boards(found)
    if before:
        print_before(before, found)
    print_judges(judges, sharpened)
    if beside:
        print_beside(beside)
    print(f"Report: {files[0]}")
    return 0


def read_filters(arguments: argparse.Namespace) -> Filters:
    from gptalt_eval_plugin_elo.filters import Filters

    without = [name.strip() for name in next(csv.reader([arguments.without or ""]), []) if name.strip()]
    return Filters(
        arguments.category, arguments.language, arguments.kind, arguments.names_shown,
        tuple(without),
    )  # fmt: skip


def read_rules(arguments: argparse.Namespace) -> Rules:
    """The rules of ratings.

    Raises:
        GptaltError: a number is out of range.
    """
    from gptalt_eval_plugin_elo.evaluation import Rules
    from gptalt_eval_plugin_elo.ratings import Scale

    for name, usual, least in (("k", 16, 0), ("scale", 400, 0), ("start", 1000, -LARGEST)):
        if not least < (value := getattr(arguments, name)) <= LARGEST:
            what = f"--{name} {value}: the number must be above {least:,}, and at most {LARGEST:,}."
            raise GptaltError(what, f"Omit it for {usual}.")
    check_least("orders", arguments.orders, 1)
    check_least("seed", arguments.seed, 0)
    check_least("least_votes", arguments.least_votes, 0)
    return Rules(
        arguments.merge, Scale(arguments.start, arguments.k, arguments.scale), arguments.orders,
        arguments.seed, arguments.even_pairs, arguments.least_votes, arguments.style_control,
        read_anchor(arguments.anchor, arguments.start),
    )  # fmt: skip


def check_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise GptaltError(f"--{name} {value}: the number must be at least {least}.", f"Omit --{name}.")


def read_anchor(text: str | None, start: float) -> tuple[str, float] | None:
    """``MODEL=RATING``, or ``MODEL`` alone for the initial rating."""
    if text is None:
        return None
    model, separator, rating = text.rpartition("=")
    if not separator:
        return text, start
    try:
        value = float(rating)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not model:
        raise GptaltError(f"--anchor: '{text}' is not a model and its rating.", "--anchor MODEL=1000")
    return model, value


def make_table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        justify: Any = "left" if number == 0 else "right"
        table.add_column(column, justify=justify, no_wrap=number > 0, overflow="fold")
    return table


def print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"Note: {note}")


def print_agreement(found: Sequence[Agreement]) -> None:
    table = make_table("Votes", "pairs", "tie-discounted", "95 %", "kappa", "alpha")
    for each in found:
        discounted = each.tie_discounted
        rest = [f"{value.value:.3f}" if value else "" for value in (each.kappa, each.alpha)]
        interval = f"{discounted.low:.3f}-{discounted.high:.3f}" if discounted.low == discounted.low else ""
        table.add_row(each.who, f"{each.pairs:,}", f"{discounted.value:.4f}", interval, *rest)
    make_console().print(table)
    print("Tie-discounted: 1 for equal votes, 0.5 if exactly one is a tie, 0 for opposite votes.")
    print("kappa: Cohen's kappa, for two votes each. alpha: Krippendorff's nominal alpha.")


def print_boards(found: Evaluation) -> None:
    compared = "comparison" if found.merged == 1 else "comparisons"
    print(f"{found.votes:,} votes, {found.skipped:,} skipped; {found.merged:,} {compared} after merging.")
    if found.left_out:
        print(f"Left out, with too few comparisons or none: {', '.join(found.left_out)}.")
    if len(found.boards) > 1:
        print(f"No vote connects these {len(found.boards)} groups of models; compare only within a group.")
    for board in found.boards:
        print_board(board)
    orders = found.boards[0].orders
    print(
        "Rating: Bradley-Terry, with 95 % intervals of rating and rank. Wins: predicted, against the others."
    )
    if any(each.rating != each.rating for board in found.boards for each in board.standings):
        print(
            "none: the model, or a group with it, won or lost all its comparisons with the rated ones; "
            "the interval has the end that the votes support."
        )
    print(f"Elo: the survey's, one pass in the votes' order; over {orders:,} orders: central 95 %.")


def print_board(board: Board) -> None:
    table = make_table("Model", "rank", "95 %", "rating", "95 %", "wins", "Elo", "over orders", "votes")
    for each in board.standings:
        table.add_row(
            each.model, f"{each.rank}", f"{each.best}-{each.worst}", show(each.rating), show_interval(each),
            f"{each.average:.0%}", f"{each.elo:.0f}", span(each.low, each.high), f"{each.votes:,}",
        )  # fmt: skip
    make_console().print(table)
    for style in board.style:
        print(
            f"Style: {style.name} moves votes by {style.value:+.0f} points"
            f" ({style.low:+.0f} to {style.high:+.0f}) for each usual difference."
        )


def show(rating: float) -> str:
    return f"{rating:.0f}" if math.isfinite(rating) else "none"


def show_interval(each: Standing) -> str:
    low, high = each.rating_low, each.rating_high
    if math.isfinite(low) and math.isfinite(high):
        return span(low, high)
    return f"above {low:.0f}" if math.isfinite(low) else f"below {high:.0f}" if math.isfinite(high) else ""


def span(low: float, high: float) -> str:
    """An interval; a minus is not read as the dash."""
    return f"{low:.0f}{'-' if low >= 0 else ' to '}{high:.0f}"


def print_before(before: Evaluation, after: Evaluation) -> None:
    table = make_table("Model", "rank before", "after", "rating before", "after")
    then = {each.model: each for board in before.boards for each in board.standings}
    for board in after.boards:
        for each in board.standings:
            old = then[each.model]
            table.add_row(each.model, f"{old.rank}", f"{each.rank}", show(old.rating), show(each.rating))
    make_console().print(table)


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
