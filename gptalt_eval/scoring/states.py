"""Scores a prefix tree with the state at a prefix's end copied for each branch.

For recurrent models, such as RWKV and Mamba, and those that mix recurrence with attention. Whatever a model
returns for the next call is copied, whether it calls it ``state``, ``cache_params`` or ``past_key_values``.
Runs whose state is needed are never padded, since these models may ignore masks; what follows the end of a
run that nothing follows changes nothing before it.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.carried import Carried, join
from gptalt_eval.scoring.engine import Answer, Engine, Progress, Tally, unwrap
from gptalt_eval.scoring.restarts import Restarts, Run
from gptalt_eval.scoring.tree import Ints, Queries, Query, share

KEEP = 8  # cost of keeping a state, in tokens
STEP = 4  # cost of a token that has a call of its own, in tokens
KEPT = 2**30  # bytes of the states of a call's rows
CHUNKS = {"chunk_size", "mamba_chunk_size"}  # keys of configs
FEW = 8  # part of a chunk up to which single tokens cost less
SLACK = 16  # part of the longest run by which others may be shorter, if what follows has a call a token
Figures = tuple[Ints, Any, Any]
Ends = tuple[list[Run], Carried]  # runs that something follows, and the states at their ends


@dataclass(frozen=True)
class Habit:
    """How a model continues after a state.

    Attributes:
        single: rightly only with one token at a time.
        lone: with one token rightly only in one row.
    """

    single: bool = False
    lone: bool = False


HABITS = (Habit(), Habit(lone=True), Habit(single=True), Habit(single=True, lone=True))


class StateEngine(Engine):
    """Scores trees with one model; each branch of a prefix continues from a copy of its state.

    Args:
        habit: how the model continues after a state.
        settings: see ``Engine``.
    """

    way = "states"

    def __init__(self, *settings: Any, habit: Habit = HABITS[0], **named: Any) -> None:
        super().__init__(*settings, **named)
        self.habit = habit
        self.call = KEEP
        self.step = STEP if habit.single else 1
        # up to how many tokens after a state have a call each
        self.few = sys.maxsize if habit.single else 0 if habit.lone else find_chunk(self.model) // FEW
        self.seconds = 0.0
        self.size = 0  # bytes of one row's state
        self.accepted = set(inspect.signature(unwrap(self.model).forward).parameters)

    def score(
        self,
        queries: Sequence[Query],
        progress: Callable[[Progress], None] = lambda _: None,
        known: Collection[int] = (),
    ) -> Iterator[list[Answer]]:
        """Answer queries; yields each batch's answers as soon as they are complete."""
        places = [place for place in range(len(queries)) if place not in known]
        shared = self.share([queries[place] for place in places] if known else queries)
        restarts = Restarts(shared, self.call, self.step)
        before = self.computed
        asked = int(shared.count_inputs().sum())
        tally = Tally(shared.count_targets())
        progress(Progress(0, restarts.count(), asked, 0.0))
        self.seconds = 0.0
        for figures in self.visit(restarts, restarts.list_first(), None):
            progress(Progress(self.computed - before, restarts.count(), asked, self.seconds))
            yield [replace(answer, query=places[answer.query]) for answer in tally.add(*figures)]

    def share(self, queries: Sequence[Query]) -> Queries:
        """The queries with what they have in common kept once."""
        return share(queries)

    def visit(self, restarts: Restarts, runs: Sequence[Run], state: Carried | None) -> Iterator[Figures]:
        """Compute runs and all that follows them.

        Args:
            restarts: how the tree is computed.
            runs: from the beginning, or after the rows of a state.
            state: that state.
        """
        waiting = sorted(runs, key=lambda run: (run.goes_on, -len(run)))
        while waiting:
            size = self.count_rows(waiting, state is not None)
            batch = waiting[:size]
            began = time.perf_counter()
            tokens = size * len(batch[0])
            try:
                with torch.no_grad():
                    figures, ends = self.compute(batch, state)
            except Exception as error:  # the model's own code can raise anything
                self.recover(error, tokens, parts=size)
                continue
            waiting = waiting[size:]
            self.seconds += time.perf_counter() - began
            self.computed += sum(map(len, batch))
            self.largest = max(self.largest, tokens)
            yield figures
            for ended, carried in gather(ends):
                following = [
                    each for row, run in enumerate(ended) for each in restarts.list_next(run.node, row)
                ]
                yield from self.visit(restarts, following, carried)

    def count_rows(self, runs: Sequence[Run], follows: bool) -> int:
        """How many of the runs to compute together: of one kind, and of lengths that the model can take."""
        longest, goes_on = len(runs[0]), runs[0].goes_on
        together = self.budget // longest
        if goes_on or follows:
            together = min(together, KEPT // self.size if self.size else 1)
        if not self.head.plain:
            scored = max((run.node.end - depth for run in runs[:64] for depth, _, _ in run.scored), default=1)
            together = min(together, self.rows // scored)
        count = 1
        while count < min(together, len(runs)):
            run, before = runs[count], runs[count - 1]
            if run.goes_on != goes_on or not self.fits(len(run), len(before), longest, goes_on, follows):
                break
            count += 1
        return count

    def fits(self, length: int, before: int, longest: int, goes_on: bool, follows: bool) -> bool:
        """Whether a run can be in a batch after one of at least its length."""
        if self.habit.single and self.habit.lone:
            return not follows and (length == before or not goes_on)
        if not goes_on:
            return True
        if self.habit.single:
            return follows or length >= longest - longest // SLACK
        if longest > self.few > 0:  # each row has whole chunks: what is beyond the shortest would be added
            return length == before
        if self.habit.lone:
            return length > 1 and before - length != 1
        return True

    def compute(self, runs: Sequence[Run], state: Carried | None) -> tuple[Figures, list[Ends]]:
        """Compute runs of one kind, the longest first.

        Returns:
            For each target: (query, log-probability, whether it is the most likely token); and the runs that
            something follows with the states at their ends, together where they are of the same length.
        """
        carried = None if state is None else state.select([run.owner for run in runs])
        paths = [run.read() for run in runs]
        found: list[Figures] = []
        ends: list[Ends] = []
        for start, stop in pairwise(self.cut(runs, state is not None)):
            active = sum(len(run) > start for run in runs)
            if carried is not None and carried.rows > active:
                carried = carried.select(range(active))
            figures, carried = self.run(runs[:active], paths, (start, stop), carried)
            found.append(figures)
            rows = [row for row in range(active) if len(runs[row]) == stop and runs[row].goes_on]
            if rows:
                ends.append(([runs[row] for row in rows], carried.select(rows)))
                self.size = max(self.size, ends[-1][1].count_bytes())
        owners, values, likely = (np.concatenate(column) for column in zip(*found, strict=True))
        return (owners, values, likely), ends

    def cut(self, runs: Sequence[Run], follows: bool) -> list[int]:
        """Where the runs' calls begin and end, in tokens after the beginning of the runs."""
        longest = len(runs[0])
        ends = sorted({len(run) for run in runs})
        if not runs[0].goes_on:  # nothing follows: they are padded, to two tokens where one would be wrong
            ends = [2 if longest == 1 and len(runs) > 1 and self.habit.lone else longest]
        cuts = [0]
        for end in ends:
            few = (follows or cuts[-1] > 0) and end - cuts[-1] <= self.few
            cuts += range(cuts[-1] + 1, end + 1) if few else [end]
        return cuts

    def run(
        self, runs: Sequence[Run], paths: Sequence[Ints], span: tuple[int, int], carried: Carried | None
    ) -> tuple[Figures, Carried]:
        """One call of the model.

        Args:
            runs: the runs.
            paths: all tokens of each, from the beginning of the tree on.
            span: which tokens of the runs to compute.
            carried: what the model returned for those before.
        """
        start, stop = span
        scored = [
            (row, depth - run.begin, target, query)
            for row, run in enumerate(runs)
            for depth, target, query in run.scored
            if start <= depth - run.begin < stop
        ]
        first = min((place for _, place, _, _ in scored), default=stop - 1)
        settings: dict[str, Any] = {}
        if "logits_to_keep" in self.accepted:
            settings["logits_to_keep"] = stop - first
        else:
            first = start
        with self.calling():
            output = self.forward(runs, paths, span, carried, settings)
        width = stop - first
        figures = sorted((row * width + place - first, target, query) for row, place, target, query in scored)
        places, targets, owners = np.array(figures, dtype=np.int64).reshape(-1, 3).T
        values, likely = self.head.read(output.logits, places, targets, self.rows)
        returned = {name: each for name, each in output.items() if name in self.accepted and each is not None}
        if not returned:
            raise ValueError("it returns nothing from which it could go on")
        return (owners, values, likely), Carried(returned, len(runs))

    def forward(
        self,
        runs: Sequence[Run],
        paths: Sequence[Ints],
        span: tuple[int, int],
        carried: Carried | None,
        settings: dict[str, Any],
    ) -> Any:
        """What the model returns; see ``run``."""
        start, stop = span
        tokens = np.zeros((len(runs), stop - start), dtype=np.int64)
        for row, (run, path) in enumerate(zip(runs, paths, strict=False)):
            own = path[run.begin + start : run.begin + stop]
            tokens[row, : len(own)] = own
        given = carried.values if carried else {}
        return self.model(
            input_ids=torch.from_numpy(tokens).to(self.device), use_cache=True, **given, **settings
        )


def find_chunk(model: Any) -> int:
    """To how many tokens a call is padded: without their kernels, some models always compute whole chunks."""
    if model.get_input_embeddings().weight.device.type != "cpu":
        return 1
    config = model.config.get_text_config().to_dict()
    return max((size for name, size in config.items() if name in CHUNKS and isinstance(size, int)), default=1)


def gather(ends: list[Ends]) -> list[Ends]:
    """Runs whose states can be one batch, put together."""
    together = join([carried for _, carried in ends]) if ends else None
    return [([run for runs, _ in ends for run in runs], together)] if together else ends
