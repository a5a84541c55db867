"""One run of a session, while workers answer its requests: what is asked, and what has come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.run import RunScoring
from gptalt_eval.running.runfiles import RunFiles
from gptalt_eval.running.spreading.journal import Journal, Where, sum_up
from gptalt_eval.running.spreading.spread import Spread
from gptalt_eval.running.spreading.units import Spool
from gptalt_eval.running.spreading.worker import WorkerFacts
from gptalt_eval.spread.work import Outcome, Report, Result, Unit


@dataclass
class Member:
    """One run, while workers answer its requests.

    Attributes:
        spread: what the run gets in the end.
        plan: its plan.
        journal: where answers are kept.
        units: what is to be answered.
        asked: how many tokens each unit would have without shared prefixes.
        texts: a digest of each part of its model that the prompts were built with.
        size: the number of parameters of its model; 0: it is not known yet.
        answered: requests that were answered.
        tokens, saved, seconds: computed for log-likelihoods; asked of these; and the workers' time for that.
    """

    spread: Spread
    plan: Plan
    journal: Journal
    units: list[Unit] = field(default_factory=list)
    asked: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    tokens: int = 0
    saved: int = 0
    seconds: float = 0.0
    answered: int = 0

    @property
    def files(self) -> RunFiles:
        return self.spread.files

    def refuse(self, report: Report) -> str:
        """Why a worker cannot answer: the prompts would be those of another model; empty: it can."""
        theirs = report.facts.model.parts
        changed = sorted(part for part, digest in self.texts.items() if theirs.get(part) != digest)
        return f"its model has another {' and another '.join(changed)} than the prompts" if changed else ""

    def meet(self, report: Report) -> list[str]:
        """Record what the first worker says about the model, before the first answer is kept.

        Returns:
            what to show the user of that.
        """
        facts: WorkerFacts = report.facts
        before = self.spread.facts.fingerprint
        if before and before != report.fingerprint:
            return []  # the loop refuses it
        self.spread.facts = facts.model
        for note in facts.notes:
            self.files.note(note)
        self.files.update(
            model=replace(self.files.run.model, **asdict(facts.model), load_seconds=report.seconds),
            hardware=facts.hardware,
            scoring=RunScoring(report.way, facts.reason) if report.way else None,
        )
        self.files.save_run()
        return [*facts.said, *facts.notes]

    def keep(self, unit: Unit, keys: Sequence[str], result: Result, where: Where) -> None:
        self.journal.keep(unit, keys, result, where)
        self.answered += len(unit.asked)
        if unit.kind == "loglikelihood":
            self.tokens += result.tokens
            self.saved += self.asked.get(unit.name, 0) * len(unit.asked) // unit.requests
            self.seconds += result.seconds

    def finish(self, outcome: Outcome, model: str, spool: Spool) -> None:
        """Record how the workers ended; what has no answer gets its reason."""
        whole = outcome.models.get(model)
        for unit in self.units if whole else ():
            self.spread.reasons |= dict.fromkeys(spool.read_keys(unit), str(whole))
        for unit, reason in outcome.given_up.items():
            if unit.model == model:
                keys = spool.read_keys(unit)
                self.spread.reasons |= {keys[place]: reason for place in unit.asked}
        scoring = self.files.run.scoring
        if scoring is not None and self.tokens:
            scoring = replace(scoring, tokens=self.tokens, asked=self.saved, seconds=round(self.seconds, 1))
        self.spread.answers = self.journal.answers
        self.journal.close()
        self.files.save_run(scoring=scoring, workers=sum_up(self.files.units))
