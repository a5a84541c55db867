"""Judges beside people, in words and numbers for the terminal, the page and the JSON file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from gptalt_eval_plugin_elo.agreement import Estimate
from gptalt_eval_plugin_elo.judges import JudgeReport, Swayed
from gptalt_eval_plugin_elo.sharpening import Sharpened


class Row(NamedTuple):
    """One measure of a judge.

    Attributes:
        name: what it is.
        value: in words.
        interval: its 95 % interval; may be empty.
    """

    name: str
    value: str
    interval: str = ""


def list_rows(report: JudgeReport) -> Iterator[Row]:
    """The measures of a judge; the same ones, in the same order, for every judge."""
    yield Row("verdicts", f"{report.verdicts:,}")
    yield Row("no verdict", f"{report.without:,}")
    yield Row("comparisons in both orders", f"{report.comparisons:,}")
    yield Row("inconsistent: the place won", count_of(report.flipped, report.comparisons))
    yield Row("ties, with the inconsistent", count_of(report.ties, report.comparisons))
    yield Row("compared by people too", f"{report.shared:,}")
    yield show("agreement with people", report.agreement)
    yield show("agreement of two people", report.people_agreement)
    yield show("Cohen's κ with people", report.kappa)
    yield show("Cohen's κ of two people", report.people_kappa)
    yield show("first shown minus second", report.first_shown, "+.2f")
    yield contrast("wins of the longer answer", report.longer, ".2f")
    yield contrast("log-odds for twice the length", report.length, ".2f")
    yield contrast("points of its own answers", report.own, ".0f")


def count_of(number: int, total: int) -> str:
    return f"{number:,} ({100 * number / total:.0f} %)" if total else "0"


def show(name: str, value: Estimate | None, form: str = ".3f") -> Row:
    return Row(name, format(value.value, form), show_interval(value, form)) if value else Row(name, "-")


def contrast(name: str, value: Swayed | None, form: str) -> Row:
    """A judge's value, people's, and the difference with its interval."""
    if value is None:
        return Row(name, "-")
    difference = format(value.difference.value, f"+{form}")
    text = f"{value.judge:{form}}, people {value.people:{form}}: {difference}"
    return Row(name, text, show_interval(value.difference, f"+{form}"))


def show_interval(value: Estimate, form: str) -> str:
    return "" if math.isnan(value.low) else f"{value.low:{form}} to {value.high:{form}}"


def explain(each: Sharpened) -> str:
    """What a judge's verdicts add to people's votes."""
    if not each.weight:
        return (
            f"{each.judge} does not make people's ratings more precise: its verdicts say too little about "
            f"people's {each.shared:,} votes on the same answers, or it judged no others."
        )
    return (
        f"With the {each.judged:,} comparisons by {each.judge}, at the weight of {each.weight:.2f} that its "
        f"agreement with people on {each.shared:,} votes supports, the ratings are as precise as with "
        f"{each.gain:.2f} times as many votes by people."
    )


class Shown(NamedTuple):
    """A judge for the page."""

    name: str
    rows: Sequence[Row]


class Helped(NamedTuple):
    """For the page: the ratings are (model, people, with the judge); there are none if it does not help."""

    judge: str
    text: str
    ratings: Sequence[tuple[str, Row, Row]]


def show_judge(report: JudgeReport) -> Shown:
    return Shown(report.judge, list(list_rows(report)))


def show_help(each: Sharpened) -> Helped:
    columns = zip(each.models, each.people, each.sharpened, strict=True)
    ratings = [
        (model, show(model, people, ".0f"), show(model, helped, ".0f")) for model, people, helped in columns
    ]
    return Helped(each.judge, explain(each), ratings if each.weight else [])


def print_judges(judges: Sequence[JudgeReport], sharpened: Sequence[Sharpened]) -> None:
    """A table of each judge, and one of people's ratings with each that helps."""
    from gptalt_eval import make_console
    from gptalt_eval import print_plain as print
    from gptalt_eval_plugin_elo.leaderboard import make_table

    for judge in map(show_judge, judges):
        table = make_table("Judge", judge.name, "95 %")
        for row in judge.rows:
            table.add_row(*row)
        make_console().print(table)
    for each in map(show_help, sharpened):
        if each.ratings:
            table = make_table("Model", "people", "95 %", f"with {each.judge}", "95 %")
            for model, people, helped in each.ratings:
                table.add_row(model, *people[1:], *helped[1:])
            make_console().print(table)
        print(each.text)


def describe(found: JudgeReport | Sharpened) -> dict[str, Any]:
    """For JSON, which has no nan."""
    whole: dict[str, Any] = clean(asdict(found))
    return whole


def clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: clean(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
