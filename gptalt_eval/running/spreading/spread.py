"""What workers have answered, and why some requests have no answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.lmeval.answers import Answers, make_key
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.lmeval.observed import name_request
from gptalt_eval.running.lmeval.seams import hash_request
from gptalt_eval.running.runfiles import RunFiles

#: why no worker was asked for an answer that is wanted
CHANGED = "the workers were asked another prompt: files of the task or of the model have changed meanwhile"


@dataclass
class Spread:
    """A run whose answers come from workers.

    Attributes:
        files: its files.
        facts: what the workers say about its model; empty until the first has loaded it.
        reasons: why requests, by key, have no answer.
        said: notes that were shown to the user.
        answers: every answer that there is; None: the workers were not asked yet. They are not read from the
            file again: there, what was forgotten contradicts what was answered instead.
    """

    files: RunFiles
    facts: ModelFacts = field(default_factory=lambda: ModelFacts(""))
    reasons: dict[str, str] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    answers: Answers | None = None


class Recall:
    """Gives the workers' answers, in place of a model.

    Args:
        answers: the run's file of answers; None: there are none yet.
        spread: why some are missing.
        lost: gets the requests whose prompts were cut, as the model itself would note them.
    """

    def __init__(self, answers: Answers | None, spread: Spread, lost: dict[Any, int]) -> None:
        self.answers = answers
        self.spread = spread
        self.lost = lost

    def __call__(self, request_type: str, requests: Sequence[Any]) -> list[Any]:
        """The answers to requests.

        Raises:
            GptaltError: one has none; says why.
        """
        known: Mapping[str, Any] = self.answers.known if self.answers else {}
        keys = list_keys(request_type, requests)
        for key in keys:
            if key not in known:
                reason = self.spread.reasons.get(key, CHANGED)
                raise GptaltError(f"{reason.rstrip('.')}.", "To try what is missing again, resume the run.")
        self.note_lost(request_type, requests, keys)
        return [known[key] for key in keys]

    def note_lost(self, request_type: str, requests: Sequence[Any], keys: Sequence[str]) -> None:
        """Note whose prompts were cut: who looks for that has the requests, and not the keys of draws."""
        for request, key in zip(requests, keys, strict=True):
            if cut := self.answers.lost.get(key, 0) if self.answers else 0:
                self.lost[name_request(request_type, request.args)] = cut


def list_keys(request_type: str, requests: Sequence[Any]) -> list[str]:
    """The key of each request in the file of answers.

    Equal requests have equal keys, unless their answers are drawn: then each of a row's has its own.
    """
    counts: Counter[str] = Counter()
    keys = []
    for request in requests:
        drawn = request_type == "generate_until" and (request.repeats or 1) > 1
        key = None if drawn else make_key(request_type, request.args)
        if key is None:
            place = f"{request.task_name}/{request.doc_id}/{request.idx}"
            base = f"{place}/{hash_request(request_type, request.args[:2])}"
            key = f"{base}/{counts[base]}"
            counts[base] += 1
        keys.append(key)
    return keys
