"""The results as files: a self-contained page, heat maps for papers, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gptalt_eval import check_plain, make_svg, render_page
from gptalt_eval_plugin_elo import __version__, published
from gptalt_eval_plugin_elo.agreement import Agreement
from gptalt_eval_plugin_elo.evaluation import Board, Evaluation
from gptalt_eval_plugin_elo.figures import draw_calibration, draw_heat_map, save_png
from gptalt_eval_plugin_elo.ratings import Scale

Line = tuple[str, int, str, float]  # published name and Elo, your name and Elo


def list_published(found: Evaluation) -> list[Line]:
    """The survey's ratings next to yours."""
    elo = {each.model: each.elo for board in found.boards for each in board.standings}
    names = published.match(elo)
    return [
        (name, rating, names.get(name, ""), elo.get(names.get(name, ""), math.nan))
        for name, rating in published.RATINGS.items()
    ]


def write_results(
    folder: Path,
    found: Evaluation,
    agreements: Sequence[Agreement],
    beside: Sequence[Line],
    rule: str,
    scale: Scale,
    seed: int,
) -> list[Path]:
    """Write ``elo.html``, ``elo.json`` and the heat maps into an existing folder; returns their paths."""
    paths, figures = [], []
    for number, board in enumerate(found.boards):
        drawn = []
        for name, title, figure in draw_board(board):
            stem = f"{name}-{number + 1}" if len(found.boards) > 1 else name
            path = folder / f"{stem}.png"
            check_plain(path, path.with_suffix(".svg"))
            svg = make_svg(figure, stem)
            save_png(figure, path)
            path.with_suffix(".svg").write_text(name_colours(svg), encoding="utf-8")
            drawn.append((title, svg))
            paths += [path, path.with_suffix(".svg")]
        figures.append(drawn)
    page = render_page(
        "gptalt_eval_plugin_elo", "elo", found=found, figures=figures, agreements=agreements,
        published=beside, rule=rule, scale=scale, seed=seed, version=__version__,
        models=[model for board in found.boards for model in board.models],
    )  # fmt: skip
    check_plain(folder / "elo.html", folder / "elo.json")
    (folder / "elo.html").write_text(page, encoding="utf-8")
    settings = {"merge": rule, "seed": seed, **asdict(scale)}
    (folder / "elo.json").write_text(dump(found, agreements, settings), encoding="utf-8")
    return [folder / "elo.html", folder / "elo.json", *paths]


def draw_board(board: Board) -> list[tuple[str, str, Any]]:
    """(file name, title, figure) of each figure."""
    if len(board.models) < 2:
        return []
    pairs, models = board.pairs, board.models
    decided = pairs.wins + pairs.wins.T
    actual, predicted = "Actual win rates, % (votes, without ties)", "Predicted win rates, %"
    difference = "Actual minus predicted, percentage points"
    return [
        ("win-rates", actual, draw_heat_map(actual, models, pairs.actual, decided)),
        ("predicted", predicted, draw_heat_map(predicted, models, pairs.predicted)),
        (
            "difference",
            difference,
            draw_heat_map(difference, models, pairs.actual - pairs.predicted, centred=True),
        ),
        ("calibration", "Calibration", draw_calibration(board.calibration)),
    ]


def name_colours(svg: str) -> str:
    """Fixed colours for an SVG outside the page."""
    return svg.replace("var(--ink)", "#1c2430").replace("var(--line)", "#dde3ea")


def dump(found: Evaluation, agreements: Sequence[Agreement], settings: dict[str, Any]) -> str:
    boards = [
        {
            "models": [clean(asdict(each)) for each in board.standings],
            "orders": board.orders,
            "calibration": [asdict(each) for each in board.calibration],
            "pairs": {
                name: [[clean(value) for value in row] for row in getattr(board.pairs, name).tolist()]
                for name in ("wins", "ties", "actual", "predicted", "more")
            },
        }
        for board in found.boards
    ]
    whole = {
        "settings": settings, "votes": found.votes, "skipped": found.skipped, "comparisons": found.merged,
        "boards": boards, "categories": found.categories, "agreement": [asdict(each) for each in agreements],
    }  # fmt: skip
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def clean(value: Any) -> Any:
    """JSON has neither nan nor infinity."""
    if isinstance(value, dict):
        return {name: clean(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
