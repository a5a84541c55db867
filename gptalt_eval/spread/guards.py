"""What ends endless work: models that nothing can answer, places where nothing works, workers that differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from gptalt_eval.spread.crew import Crew, Member
from gptalt_eval.spread.limits import Limits
from gptalt_eval.spread.work import Report

OTHER_MODEL = "its model, libraries or settings are not those of the first worker"
CHANGED = "the model has changed since the run was started"


class Guards:
    """Counts what goes wrong, and says when it has gone wrong too often."""

    def __init__(self, limits: Limits, crew: Crew) -> None:
        self.limits, self.crew = limits, crew
        self.avoided: set[str] = set()
        self.starts = 0  # workers in a row that did not start
        self.load_failures: Counter[str] = Counter()
        self._ever_loaded: set[str] = set()
        self._failed_nodes: defaultdict[str, set[str]] = defaultdict(set)
        self._rows: Counter[str] = Counter()  # of a model: losses and failures since its last answer
        self._fruitless: Counter[str] = Counter()  # of a place: ends since the last answer
        self._answering: set[str] = set()  # places that have answered something

    def loaded(self, model: str) -> None:
        """A worker has loaded a model."""
        self.crew.doubtful.discard(model)
        self._ever_loaded.add(model)

    def answered(self, member: Member) -> None:
        """A worker has answered a unit."""
        self._rows[member.model or ""] = 0
        self._fruitless[member.place] = 0
        self._answering.add(member.place)

    def went_wrong(self, model: str) -> bool:
        """Count a loss or failure of a model that can be loaded; whether it is to be given up.

        A computer that fails takes all of its workers with it, hence one more than ever held the model.
        """
        self._rows[model] += 1
        return self._rows[model] >= max(self.limits.in_a_row, self.crew.most[model] + 1)

    def failed_to_load(self, member: Member, model: str) -> bool:
        """Count a model that was not loaded; whether it is to be given up.

        A computer on which nothing loads must not cost the others the model: while another worker loads it,
        or while other computers have not tried, nothing is decided.
        """
        if model in self._ever_loaded:
            return self.went_wrong(model)
        self.load_failures[model] += 1
        self._failed_nodes[model].add(member.node)
        if self.load_failures[model] < self.limits.failures:
            return False
        self.crew.doubtful.add(model)
        nodes = {member.node for member in self.crew.members.values() if member.state != "starting"}
        needed = min(self.limits.failures, len(nodes | self._failed_nodes[model]))
        return self.crew.loading[model] <= 0 and len(self._failed_nodes[model]) >= needed

    def ended(self, member: Member) -> bool:
        """Count a worker that was lost or ended; whether its place is to be avoided."""
        if member.answers or not member.place:
            return False
        self._fruitless[member.place] += 1
        return self._fruitless[member.place] >= self.limits.fruitless and self._others_work(member.place)

    def _others_work(self, place: str) -> bool:
        return bool(self._answering - {place}) or any(
            other.place and other.place != place and not self._fruitless[other.place]
            for other in self.crew.members.values()
        )


class Judge:
    """Refuses workers that would compute other answers than those before them."""

    def __init__(self, expected: Mapping[str, Report]) -> None:
        self.reports = dict(expected)
        self.unconfirmed = set(expected)
        self._changed: Counter[str] = Counter()

    def differ(self, model: str, report: Report) -> str | None:
        """What is different from the first worker's report, in words."""
        first = self.reports.get(model)
        if first is None:
            self.reports[model] = report
            return None
        for what, now, then in (
            ("device", report.device, first.device),
            ("way of scoring", report.way, first.way),
        ):
            if then and now != then:  # an earlier run may not say what it was computed on
                return f"its {what} is {now or 'unknown'} instead of {then or 'unknown'}"
        if report.fingerprint != first.fingerprint:
            self._changed[model] += model in self.unconfirmed
            return OTHER_MODEL
        if model in self.unconfirmed:
            self.unconfirmed.remove(model)
            self.reports[model] = report
        return None

    def has_changed(self, model: str, places: int) -> bool:
        """Whether no worker had the fingerprint of a resumed run: of three, or of as many as can run."""
        return model in self.unconfirmed and self._changed[model] >= max(1, min(3, places))
