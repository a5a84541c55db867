"""The models of a site: what each of them is, its runs and its scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from gptalt_eval.contract.record import Record
from gptalt_eval.results.arms import Arm
from gptalt_eval.results.columns import Heading
from gptalt_eval.results.overview import Overview
from gptalt_eval.results.ranking import Standing
from gptalt_eval.results.site.publishing import name_page
from gptalt_eval.results.site.tasks import Ranked, TaskView


@dataclass(frozen=True)
class ScoreLine:
    """The scores of a model's arms on one task; None: not evaluated.

    Attributes:
        path: of the task's page.
        heading: of the task.
        arms: in the order of the model's.
        count: how many arms of all models the task ranks.
    """

    path: str
    heading: Heading
    arms: Sequence[Ranked | None]
    count: int


@dataclass(frozen=True)
class ModelView:
    """A model of a site.

    Attributes:
        name: what the runs call it.
        path: of its page.
        runs: the numbers of its runs.
        arms: those of its runs.
        licences, homes, dtypes, parameters: as the runs state them; several where they differ.
        weights: how many different weights the runs had.
        best: the mean and rank of its best arm; None: it has none.
        lines: its scores.
    """

    name: str
    path: str
    runs: Sequence[int]
    arms: Sequence[Arm]
    licences: Sequence[str]
    homes: Sequence[str]
    dtypes: Sequence[str]
    parameters: Sequence[int]
    weights: int
    best: Standing | None
    lines: Sequence[ScoreLine]


def view_models(records: Sequence[Record], overview: Overview, tasks: Sequence[TaskView]) -> list[ModelView]:
    """The models of some runs, the best first."""
    runs: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        runs.setdefault(record.model, []).append(place)
    arms: dict[int, dict[Arm, None]] = {}
    for each in overview.evaluated:
        if each.arm in overview.arms:
            arms.setdefault(each.record, {})[each.arm] = None
    views = []
    for name, places in sorted(runs.items()):
        own = list(dict.fromkeys(arm for place in places for arm in arms.get(place, ())))
        views.append(view_model(records, name, places, own, overview, tasks))
    return sorted(views, key=lambda view: view.best.rank if view.best else inf)


def view_model(
    records: Sequence[Record],
    name: str,
    places: Sequence[int],
    arms: Sequence[Arm],
    overview: Overview,
    tasks: Sequence[TaskView],
) -> ModelView:
    models = [records[place].run.model for place in places]
    standings = [overview.standings[arm] for arm in arms if arm in overview.standings]
    return ModelView(
        name=name,
        path=f"models/{name_page(name)}.html",
        runs=places,
        arms=arms,
        licences=list(dict.fromkeys(model.licence for model in models if model.licence)),
        homes=list(dict.fromkeys(model.home for model in models if model.home)),
        dtypes=list(dict.fromkeys(model.dtype.removeprefix("torch.") for model in models if model.dtype)),
        parameters=list(dict.fromkeys(model.parameters for model in models if model.parameters)),
        weights=len({model.fingerprint for model in models if model.fingerprint}),
        best=min(standings, key=lambda standing: standing.rank, default=None),
        lines=list(list_lines(arms, tasks)),
    )


def list_lines(arms: Sequence[Arm], tasks: Sequence[TaskView]) -> Iterator[ScoreLine]:
    """The scores of some arms; members of groups are left out."""
    for task in tasks:
        for ranking in task.rankings if not task.depth else ():
            ranked = {each.arm: each for each in ranking.arms}
            found = [ranked.get(arm) for arm in arms]
            if any(found):
                yield ScoreLine(task.path, ranking.heading, found, len(ranked))
