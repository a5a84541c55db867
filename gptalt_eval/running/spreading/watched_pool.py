"""A pool that notes what workers say of themselves as they start and load models."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gptalt_eval.running.spreading.journal import Where
from gptalt_eval.running.spreading.member import Member
from gptalt_eval.spread.work import Event, Failed, Loaded, Pool, Started


class WatchedPool:
    """A pool whose workers are known by what they said of themselves.

    Args:
        pool: the pool itself.
        members: the runs, by the keys of their models.
        note: shows the user a sentence about a model, by its key.
    """

    def __init__(self, pool: Pool, members: Mapping[str, Member], note: Callable[[str, str], None]) -> None:
        self.pool = pool
        self.members = members
        self.note = note
        self.places: dict[int, Started] = {}
        self.devices: dict[int, str] = {}
        self.met: set[str] = set()
        self.count_places, self.start, self.load = pool.count_places, pool.start, pool.load
        self.answer, self.end, self.avoid, self.close = pool.answer, pool.end, pool.avoid, pool.close

    def wait(self, seconds: float) -> list[Event]:
        events = list(map(self.check, self.pool.wait(seconds)))
        for event in events:
            if isinstance(event, Started):
                self.places[event.worker] = event
            if isinstance(event, Loaded):
                self.devices[event.worker] = event.report.device
                if event.model not in self.met:
                    self.met.add(event.model)
                    for said in self.members[event.model].meet(event.report):
                        self.note(event.model, said)
        return events

    def check(self, event: Event) -> Event:
        """The event; a worker whose model is not that of the prompts could not load it."""
        reason = self.members[event.model].refuse(event.report) if isinstance(event, Loaded) else ""
        return Failed(event.worker, None, reason) if reason else event

    def where(self, worker: int) -> Where:
        place = self.places.get(worker, Started(worker))
        return Where(place.place or str(worker), place.node, self.devices.get(worker, ""))
