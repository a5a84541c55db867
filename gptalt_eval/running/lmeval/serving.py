"""Answers units of requests with a loaded model, as a run alone would."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance

from gptalt_eval.running.display import SILENT
from gptalt_eval.running.lmeval.observed import ObservedLM
from gptalt_eval.spread.work import Kind

Packed = tuple[str, tuple[Any, ...], int, tuple[Any, ...]]


def pack_request(request: Any) -> Packed:
    """What of a request is sent to a worker: not its row, which can be large."""
    metadata = (request.task_name, request.doc_id, request.repeats)
    return request.request_type, request.args, request.idx, metadata


def unpack_requests(payload: bytes) -> list[Instance]:
    """The requests of a unit."""
    packed: list[Packed] = pickle.loads(zlib.decompress(payload))
    return [Instance(kind, {}, args, idx, metadata) for kind, args, idx, metadata in packed]


def answer_requests(
    lm: Any, kind: Kind, requests: Sequence[Instance], asked: range
) -> tuple[list[tuple[Any, int]], int]:
    """Answer some of the requests of a unit, rounded as if all were answered.

    Args:
        lm: the model.
        kind: of the requests.
        requests: those of the whole unit.
        asked: the indices of those to answer.

    Returns:
        each answer with the number of tokens that were cut from its prompt; and how many were computed, 0 if
        they are not counted.
    """
    observed = ObservedLM(lm, SILENT)
    wanted = [requests[place] for place in asked]
    if kind == "loglikelihood":
        is_whole = len(wanted) == len(requests)
        observed.expect(requests, None if is_whole else {request.args for request in wanted})
    answers = getattr(observed, kind)(wanted)
    lost = [observed.find_lost(kind, request.args) for request in wanted]
    return list(zip(answers, lost, strict=True)), observed.tokens
