"""The figures of a report about whole arms: their ranking, and their means over size and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gptalt_eval.results.arms import Arm
from gptalt_eval.results.figures.charts import Mark, Row, Section, draw_rows
from gptalt_eval.results.figures.common import Figure, join_sentences, tell, tell_best
from gptalt_eval.results.figures.drawing import Key, Style
from gptalt_eval.results.figures.scales import list_times
from gptalt_eval.results.figures.scatter import Spot, draw_scatter
from gptalt_eval.results.overview import Overview

MOST_RANKED = 20  # arms in the ranking
MARKED = {
    "best": "the best, or not significantly different",
    "worse": "significantly lower",
    "untested": "not tested",
}


def draw_ranking(overview: Overview) -> list[Figure]:
    """Arms by their mean; which are not significantly different from the best is marked."""
    ranked = [arm for arm in overview.arms if arm in overview.standings]
    marks = any(overview.is_best(arm) for arm in ranked)
    styles = {"best": Style(0), "worse": Style(0, is_hollow=True), "untested": Style(1, 1, is_hollow=True)}
    rows, facts, used = [], [], set()
    for arm in ranked[:MOST_RANKED]:
        standing = overview.standings[arm]
        low, high = standing.interval or (standing.mean, standing.mean)
        is_tied = not marks or overview.is_best(arm) or overview.is_tied(arm)
        place = "best" if is_tied else "untested" if standing.p_value is None else "worse"
        used.add(place)
        ends = (standing.lowest, standing.highest)
        rank = f"{ends[0]}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        text = f"{standing.mean:.3f}" + (f" ({low:.3f} to {high:.3f})" if low < high else "")
        told = f"{overview.name(arm)} {text}, rank {rank}"
        mark = Mark(standing.mean, low, high, styles[place], told)
        rows.append(Row(overview.name(arm), [mark], notes=(f"{standing.mean:.3f}", rank)))
        facts.append(told)
    if not rows:
        return []
    keys = [Key(text, styles[place]) for place, text in MARKED.items() if marks and place in used]
    names = [overview.headings[place].title for place in overview.averaged]
    title = f"Mean of {len(names)} scores" if len(names) > 1 else f"Ranking by {names[0]}"
    over = f"Over {', '.join(names)}." if 1 < len(names) <= 12 else ""
    note = join_sentences(
        "95 % intervals; ranks that each arm may have.", over, tell_best(overview, rows, ranked, "arms")
    )
    svg = draw_rows([Section("", rows)], keys, heads=("mean", "rank"))
    return [Figure("Ranking", title, svg, tell(title, facts), note)]


def draw_costs(overview: Overview) -> list[Figure]:
    """Each model's highest mean over its size, and over the time of its run."""
    facts = dict(zip(overview.arms, overview.facts, strict=True))
    firsts: dict[str, Arm] = {}
    for arm in overview.arms:
        if arm in overview.standings:
            firsts.setdefault(arm.model, arm)
    sizes = {model: float(size) for model, arm in firsts.items() if (size := facts[arm].parameters)}
    times = {model: time for model, arm in firsts.items() if (time := facts[arm].seconds)}
    figures = []
    if len(set(sizes.values())) > 1:
        figures.append(draw_cost(overview, firsts, sizes, "Mean by size", "parameters"))
    if len(set(times.values())) > 1 and len({facts[firsts[model]].device for model in times}) == 1:
        figures.append(draw_cost(overview, firsts, times, "Mean by time", "seconds"))
    return figures


def draw_cost(
    overview: Overview, firsts: Mapping[str, Arm], costs: Mapping[str, float], title: str, axis: str
) -> Figure:
    standings = {model: overview.standings[firsts[model]] for model in costs}
    ends = {model: model.rpartition("/")[2] for model in costs}
    shared = {end for end, count in Counter(ends.values()).items() if count > 1}
    names = {model: model if end in shared else end for model, end in ends.items()}
    spots, told = [], []
    for model in sorted(costs, key=costs.__getitem__)[:MOST_RANKED]:
        mean, interval = standings[model].mean, standings[model].interval
        is_front = not any(
            costs[other] <= costs[model]
            and standings[other].mean >= mean
            and (costs[other], standings[other].mean) != (costs[model], mean)
            for other in costs
        )
        low, high = interval or (mean, mean)
        text = f"{model} {mean:.3f} with {costs[model]:,.0f} {axis}"
        style = Style(0, is_hollow=not is_front)
        spots.append(Spot(names[model], Mark(mean, low, high, style, text, costs[model]), is_front))
        told.append(text + (", at the front" if is_front else ""))
    note = join_sentences(
        "Each model with its best prompt and shots.",
        "Filled, at the front: no other model has at least its mean for less.",
        f"The {len(spots)} smallest of {len(costs)} models." if len(spots) < len(costs) else "",
    )
    is_time = axis == "seconds"
    svg = draw_scatter(
        spots, "time of the whole run" if is_time else axis, "mean", list_times() if is_time else ()
    )
    return Figure("Ranking", title, svg, tell(title, told), note)
