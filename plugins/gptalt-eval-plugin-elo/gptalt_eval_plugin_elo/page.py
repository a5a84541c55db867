"""The results as files: a self-contained page, heat maps for papers, JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptalt_eval import check_plain, make_svg, render_page
from gptalt_eval_plugin_elo import __version__, published
from gptalt_eval_plugin_elo.agreement import Agreement
from gptalt_eval_plugin_elo.evaluation import Board, Evaluation, Rules, Standing
from gptalt_eval_plugin_elo.figures import draw_calibration, draw_heat_map, draw_ratings, save_png
from gptalt_eval_plugin_elo.judges import JudgeReport
from gptalt_eval_plugin_elo.judging.presentation import describe, show_help, show_judge
from gptalt_eval_plugin_elo.sharpening import Sharpened

COLUMNS = (
    "board", "model", "rank", "rank_best", "rank_worst", "rating", "rating_low", "rating_high",
    "average_win_rate", "votes", "wins", "losses", "ties", "elo", "elo_orders_low", "elo_orders_high",
)  # fmt: skip
MAPS = ("win-rates", "predicted", "difference")
MOST_DRAWN = 150  # models that a figure has room for
MOST_PAIRS = 25  # models of which the page shows how many votes would settle each pair
Line = tuple[str, int, str, float]  # published name and Elo, your name and Elo


def list_published(found: Evaluation) -> list[Line]:
    """The survey's ratings next to yours."""
    elo = {each.model: each.elo for board in found.boards for each in board.standings}
    names = published.match(elo)
    return [
        (name, rating, names.get(name, ""), elo.get(names.get(name, ""), math.nan))
        for name, rating in published.RATINGS.items()
    ]


@dataclass(frozen=True)
class Report:
    """What the files show.

    Attributes:
        found: the boards.
        rules: by which the votes were rated.
        agreements: of annotators.
        beside: the survey's ratings next to yours.
        notes: which votes do not count.
        before: the boards with the votes of annotators who are left out; None: nobody is.
        by_judges: whether models judged, and not people.
        judges: models that judged, beside people.
        sharpened: people's ratings with each judge's help.
    """

    found: Evaluation
    rules: Rules
    agreements: Sequence[Agreement] = ()
    beside: Sequence[Line] = ()
    notes: Sequence[str] = ()
    before: Evaluation | None = None
    by_judges: bool = False
    judges: Sequence[JudgeReport] = ()
    sharpened: Sequence[Sharpened] = ()

    @property
    def changes(self) -> list[tuple[Standing, Standing]]:
        """Each model before and after annotators were left out."""
        if self.before is None:
            return []
        then = {each.model: each for board in self.before.boards for each in board.standings}
        return [(then[each.model], each) for board in self.found.boards for each in board.standings]


def write_results(folder: Path, report: Report) -> list[Path]:
    """Write ``elo.html``, ``elo.json``, ``elo.csv`` and the figures into an existing folder.

    Returns:
        their paths.
    """
    paths, figures = [], []
    found = report.found
    for number, board in enumerate(found.boards):
        drawn = []
        for name, title, figure in draw_board(board):
            stem = f"{name}-{number + 1}" if len(found.boards) > 1 else name
            path = folder / f"{stem}.png"
            check_plain(path, path.with_suffix(".svg"))
            svg = make_svg(figure, stem)
            save_png(figure, path)
            path.with_suffix(".svg").write_text(name_colours(svg), encoding="utf-8")
            drawn.append((title, set_width(svg), name in MAPS))
            paths += [path, path.with_suffix(".svg")]
        figures.append(drawn)
    page = render_page(
        "gptalt_eval_plugin_elo", "elo", report=report, found=found, rules=report.rules, figures=figures,
        version=__version__, models=[model for board in found.boards for model in board.models],
        most=MOST_PAIRS, title="Judged by models" if report.by_judges else "Human evaluation",
        by_judges=report.by_judges, start=report.rules.scale.start,
        judges=[show_judge(each) for each in report.judges],
        sharpened=[show_help(each) for each in report.sharpened],
    )  # fmt: skip
    files = [folder / f"elo.{end}" for end in ("html", "json", "csv")]
    check_plain(*files)
    for file, text in zip(files, (page, dump(report), write_table(found)), strict=True):
        file.write_text(text, encoding="utf-8")
    return [*files, *paths]


def write_table(found: Evaluation) -> str:
    """The boards as CSV: one line a model, by board and rank."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, board in enumerate(found.boards):
        for each in board.standings:
            rest = each.votes - each.wins - each.ties
            values = (
                each.rank, each.best, each.worst, each.rating, each.rating_low, each.rating_high,
                each.average, each.votes, each.wins, rest, each.ties, each.elo, each.low, each.high,
            )  # fmt: skip
            shown = [value if isinstance(value, int) else format_number(value) for value in values]
            writer.writerow([number + 1, protect(each.model), *shown])
    return lines.getvalue()


def format_number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""


def protect(name: str) -> str:
    """A name in one line of CSV; what begins like a formula is quoted, as spreadsheets would compute it."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    return f"'{plain}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else plain


def draw_board(board: Board) -> list[tuple[str, str, Any]]:
    """(file name, title, figure) of each figure."""
    if len(board.models) < 2:
        return []
    pairs, models = board.pairs, board.models
    decided = pairs.wins + pairs.wins.T
    actual, predicted = "Actual win rates, % (votes, without ties)", "Predicted win rates, %"
    difference = "Actual minus predicted, percentage points"
    each = board.standings
    places = np.array([standing.place for standing in each])
    low, high = (np.array([getattr(one, f"rating_{end}") for one in each]) for end in ("low", "high"))
    rated = np.array([standing.rating == standing.rating for standing in each])
    calibration = ("calibration", "Calibration", draw_calibration(board.calibration))
    if len(models) > MOST_DRAWN:
        return [calibration]
    return [
        ("ratings", "Ratings with 95 % intervals", draw_ratings(models, places, low, high, rated)),
        ("win-rates", actual, draw_heat_map(actual, models, pairs.actual, decided)),
        ("predicted", predicted, draw_heat_map(predicted, models, pairs.predicted)),
        (
            "difference",
            difference,
            draw_heat_map(difference, models, pairs.actual - pairs.predicted, centred=True),
        ),
        calibration,
    ]


def name_colours(svg: str) -> str:
    """Fixed colours for an SVG outside the page."""
    colours = {"ink": "#1c2430", "line": "#dde3ea", "accent": "#1f6f8b"}
    return re.sub(r"var\(--(ink|line|accent)\)", lambda found: colours[found[1]], svg)


def set_width(svg: str) -> str:
    """The SVG with its own width, at which its text has the size of the page's small text."""
    return re.sub(
        r'viewBox="0 0 ([\d.]+)', lambda box: f'width="{float(box[1]) * 1.25:.0f}" {box[0]}', svg, count=1
    )


def dump(report: Report) -> str:
    found = report.found
    boards = [
        {
            "models": [clean(asdict(each)) for each in board.standings],
            "orders": board.orders,
            "style": [asdict(each) for each in board.style],
            "calibration": [asdict(each) for each in board.calibration],
            "pairs": {
                name: [[clean(value) for value in row] for row in getattr(board.pairs, name).tolist()]
                for name in ("wins", "ties", "actual", "predicted", "more")
            },
        }
        for board in found.boards
    ]
    rules = asdict(report.rules)
    whole = {
        "settings": {**rules.pop("scale"), **rules}, "notes": list(report.notes), "votes": found.votes,
        "skipped": found.skipped, "comparisons": found.merged, "left_out": list(found.left_out),
        "boards": boards,
        "categories": {
            name: {model: asdict(each) for model, each in rated.items()}
            for name, rated in found.categories.items()
        },
        "agreement": [clean(asdict(each)) for each in report.agreements],
        "judged_by_models": report.by_judges,
        "judges": [describe(each) for each in report.judges],
        "sharpened": [describe(each) for each in report.sharpened],
    }  # fmt: skip
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def clean(value: Any) -> Any:
    """JSON has neither nan nor infinity."""
    if isinstance(value, dict):
        return {name: clean(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
