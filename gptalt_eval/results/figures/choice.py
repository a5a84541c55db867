"""The figures of a report: which ones it has, from the scores of its arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from gptalt_eval.results.analyse import Score
from gptalt_eval.results.arms import Arm
from gptalt_eval.results.columns import Entry, Heading
from gptalt_eval.results.figures.charts import Line, Mark, Row, Section, draw_curves, draw_rows
from gptalt_eval.results.figures.common import (
    Figure,
    join,
    join_sentences,
    make_mark,
    style_arms,
    tell,
    tell_best,
    tell_score,
)
from gptalt_eval.results.figures.drawing import Key, Style
from gptalt_eval.results.figures.heatmap import draw_heat_map
from gptalt_eval.results.figures.ranking import draw_costs, draw_ranking
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.rows import is_usable
from gptalt_eval.results.tree import Branch

MOST_POINTS = 12  # arms in one row of points
MOST_MARKS = 200  # points in one figure
MOST_SCALES = 6  # figures of tasks whose scores have another scale
MOST_LINES = 7  # arms in one figure of curves
MOST_CURVES = 24  # figures of curves
MOST_PAIRS = 40  # rows in the figure of prompt styles
MOST_HEADS = 16  # arms in a heat map
MOST_SUBJECTS = 70  # rows in a heat map
POINTS = "Points with 95 % intervals."
GUESS = "Dotted: the score of one who guesses."


def draw_figures(overview: Overview, tree: Sequence[Branch]) -> list[tuple[str, list[Figure]]]:
    """Figures by kind; none if there is only one arm."""
    if len(overview.arms) < 2:
        return []
    figures = [
        *draw_ranking(overview), *draw_costs(overview), *draw_scores(overview),
        *draw_styles(overview), *draw_shots(overview), *draw_subjects(overview, tree),
    ]  # fmt: skip
    return [(kind, list(found)) for kind, found in groupby(figures, lambda figure: figure.kind)]


def list_columns(overview: Overview) -> list[tuple[Heading, dict[Arm, Entry]]]:
    """Each task or group with its entries, where their main score is a number."""
    found = []
    for place, heading in enumerate(overview.headings):
        entries = ((arm, row[place]) for arm, row in zip(overview.arms, overview.entries, strict=True))
        usable = {arm: entry for arm, entry in entries if entry and is_usable(entry.score.value)}
        if usable:
            found.append((heading, usable))
    return found


def is_share(heading: Heading, entries: Sequence[Entry]) -> bool:
    """Whether scores are shares, of which more is better."""
    return heading.arrow != "↓" and all(0 <= entry.score.value <= 1 for entry in entries)


def draw_scores(overview: Overview) -> list[Figure]:
    """The scores by task: shares on one axis, what has another scale for itself."""
    columns = list_columns(overview)
    shares = [(heading, entries) for heading, entries in columns if is_share(heading, [*entries.values()])]
    if len(columns) == 1 and overview.standings:
        return []  # the ranking shows it
    others = [column for column in columns if column not in shares]
    parts = [("Scores by task", shares)] if shares else []
    parts += [(f"{heading.title}: scores", [(heading, entries)]) for heading, entries in others[:MOST_SCALES]]
    return [draw_points(overview, part, title) for title, part in parts]


def draw_points(
    overview: Overview, columns: Sequence[tuple[Heading, dict[Arm, Entry]]], title: str
) -> Figure:
    arms = [arm for arm in overview.arms if any(arm in entries for _, entries in columns)]
    styles = style_arms(arms, min(MOST_POINTS, max(3, MOST_MARKS // len(columns))))
    rows, facts = [], []
    for heading, entries in columns:
        found = [(overview.name(arm), style, entries[arm]) for arm, style in styles.items() if arm in entries]
        told = [f"{heading.title}, {name} {tell_score(entry.score)}" for name, _, entry in found]
        marks = [
            make_mark(entry.score, style, text) for (_, style, entry), text in zip(found, told, strict=True)
        ]
        facts += told
        if marks:
            rows.append(Row(f"{heading.title} ({heading.metric})", marks, heading.chance))
    chance = GUESS if any(row.chance is not None for row in rows) else ""
    keys = [Key(overview.name(arm), style) for arm, style in styles.items()]
    note = join_sentences(POINTS, chance, tell_best(overview, styles, arms, "arms"))
    return Figure("Tasks and prompts", title, draw_rows([Section("", rows)], keys), tell(title, facts), note)


def draw_shots(overview: Overview) -> list[Figure]:
    """Each task's scores over the number of shots."""
    figures: list[Figure] = []
    for heading, entries in list_columns(overview):
        groups: dict[Arm, dict[int, Entry]] = {}
        for arm in overview.arms:
            if arm in entries and arm.num_fewshot is not None:
                group = Arm(arm.model, arm.prompt_style, None)
                groups.setdefault(group, {})[arm.num_fewshot] = entries[arm]
        curves = {arm: points for arm, points in groups.items() if len(points) > 1}
        if curves and len(figures) < MOST_CURVES:
            figures.append(draw_curve(overview, heading, curves))
    return figures


def draw_curve(overview: Overview, heading: Heading, curves: Mapping[Arm, Mapping[int, Entry]]) -> Figure:
    styles = style_arms(list(curves), MOST_LINES)
    lines, facts = [], []
    for arm, style in styles.items():
        name = name_without(overview, "shots", arm)
        points = [(shots, entry.score) for shots, entry in sorted(curves[arm].items())]
        marks = [
            make_mark(score, style, f"{name}, {shots}-shot: {tell_score(score)}", shots)
            for shots, score in points
        ]
        lines.append(Line(name, marks, style))
        facts.append(f"{name} " + ", ".join(f"{shots}-shot {score.value:.3f}" for shots, score in points))
    title = f"{heading.title} by number of shots"
    chance = find_near(heading.chance, [mark for line in lines for mark in line.marks])
    note = join_sentences(
        f"{heading.metric} with 95 % intervals.",
        GUESS if chance is not None else "",
        tell_best(overview, styles, curves, "curves"),
    )
    svg = draw_curves(lines, chance=chance)
    return Figure("Number of shots", title, svg, tell(f"{heading.metric}, {title}", facts), note)


def find_near(chance: float | None, marks: Sequence[Mark]) -> float | None:
    """What guessing scores, unless it is so far from the points that there would be no room for them."""
    if chance is None:
        return None
    low, high = min(mark.low for mark in marks), max(mark.high for mark in marks)
    return chance if low - (high - low) <= chance <= high + (high - low) else None


def name_without(overview: Overview, left_out: str, arm: Arm) -> str:
    """The arm's name without one of the factors."""
    return join(str(getattr(arm, factor)) for factor in overview.factors if factor != left_out)


def draw_styles(overview: Overview) -> list[Figure]:
    """Prompt styles compared: a row for each task, model and number of shots, in one figure."""
    names = list(dict.fromkeys(arm.prompt_style for arm in overview.arms))
    columns = [each for each in list_columns(overview) if is_share(each[0], [*each[1].values()])]
    if len(names) < 2 or not columns:
        return []
    styles = {name: Style(number, number) for number, name in enumerate(names)}
    most, every = max(1, MOST_PAIRS // len(columns)), 0
    sections, facts = [], []
    for heading, entries in columns:
        groups: dict[str, dict[str, Score]] = {}
        for arm in overview.arms:
            if arm in entries:
                label = name_without(overview, "prompt_style", arm)
                groups.setdefault(label, {})[arm.prompt_style] = entries[arm].score
        several = {label: found for label, found in groups.items() if len(found) > 1}
        every = max(every, len(several))
        rows = []
        for label, found in list(several.items())[:most]:
            given = [(name, found[name]) for name in names if name in found]
            told = [f"{label}, {name}: {tell_score(score)}" for name, score in given]
            marks = [
                make_mark(score, styles[name], text) for (name, score), text in zip(given, told, strict=True)
            ]
            rows.append(Row(label, marks, heading.chance))
            facts += [f"{heading.title}, {text}" for text in told]
        sections.append(Section(heading.title, rows))
    sections = [section for section in sections if section.rows]
    if not sections:
        return []
    svg = draw_rows(sections, [Key(name, style) for name, style in styles.items()], is_linked=True)
    few = tell_best(overview, range(most), range(every), "in each task")
    title = "Scores by prompt style"
    return [Figure("Tasks and prompts", title, svg, tell(title, facts), join_sentences(POINTS, few))]


def draw_subjects(overview: Overview, tree: Sequence[Branch]) -> list[Figure]:
    """A heat map for each group and each task with subjects: what belongs to it by arms."""
    figures = []
    order = range(min(len(overview.arms), MOST_HEADS))
    for place, root in enumerate(tree):
        rows = []
        for line in tree[place + 1 : place + 1 + (0 if root.depth else root.branches)]:
            entries = [line.entries[arm] for arm in order]
            known = [entry for entry in entries if entry]
            if known and not line.branches and is_share(line.heading, known):
                rows.append((line.heading.title, [entry.score.value if entry else None for entry in entries]))
        if len(rows) < 2:
            continue
        rows.sort(key=lambda row: -find_average(row[1]))
        half = MOST_SUBJECTS // 2
        shown = rows if len(rows) <= 2 * half else [*rows[:half], *rows[-half:]]
        few = f"The {half} easiest and the {half} hardest of {len(rows)}." if len(shown) < len(rows) else ""
        columns = [overview.name(overview.arms[arm]) for arm in order]
        title = f"{root.heading.title}, part by part"
        svg = draw_heat_map([name for name, _ in shown], columns, [row for _, row in shown])
        facts = [f"{name} {find_average(row):.3f}" for name, row in shown]
        note = join_sentences(
            "In %, the easiest first.", few, tell_best(overview, order, overview.arms, "arms")
        )
        alt = tell(f"{title}, mean of the arms", facts)
        figures.append(Figure("Subjects and members", title, svg, alt, note, is_wide=True))
    return figures


def find_average(shares: Sequence[float | None]) -> float:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known)
