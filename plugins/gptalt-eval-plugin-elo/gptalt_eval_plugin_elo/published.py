"""The published results of the 2023 human evaluation in the survey that this project continues.

16 models, 50 questions in 9 categories, every pair on every question: 6,000 comparisons. Elo from 1000 with
K = 16 and a tie worth one half, one pass in the order of the votes. 20 questions of each pair were judged
twice. The order of the votes alone changes such ratings by 26 to 29 points (standard deviation over
shuffled orders).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

QUESTIONS, COMPARISONS, AGREEMENT = 50, 6_000, 0.8002
RATINGS: Mapping[str, int] = {
    "Vicuna-7B": 1222,
    "ChatGLM": 1172,
    "Moss": 1162,
    "StableLM-Tuned-Alpha": 1124,
    "Alpaca-7B": 1094,
    "Open-Assistant": 1087,
    "Alpaca-LoRA": 998,
    "Dolly-v2-7B": 972,
    "MPT": 960,
    "Galactica": 916,
    "RWKV (Pile)-7B": 903,
    "BELLE": 900,
    "PandaLM": 898,
    "RedPajama-7B base": 889,
    "h2oGPT-6.9B": 873,
    "RedPajama-7B instruct": 831,
}
#: votes that the first model won, of those without a tie
WON = {("Vicuna-7B", "ChatGLM"): (17, 31)}


def match(names: Iterable[str]) -> dict[str, str]:
    """Published names -> yours: those that are equal without sizes and versions.

    A name that matches several published ones is left out.
    """
    ours = {name: reduce_name(name) for name in names}
    theirs = {name: reduce_name(name) for name in RATINGS}
    found = {}
    for name, reduced in ours.items():
        fitting = [other for other, its in theirs.items() if its == reduced]
        if len(fitting) == 1 and fitting[0] not in found:
            found[fitting[0]] = name
    return found


def reduce_name(name: str) -> str:
    """``chatglm-6b`` and ``ChatGLM`` are ``chatglm``; ``alpaca-lora-7b`` is ``alpacalora``."""
    last = name.rsplit("/", 1)[-1].lower()
    without_sizes = re.sub(r"\(.*?\)|(?<![a-z])v?\d+(\.\d+)*b?(?![a-z])", " ", last)
    return re.sub(r"[^a-z]", "", without_sizes)
