"""The model: a language model with lm-eval's interface."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM


class ShortestOption(LM):
    """Every character has a log-likelihood of -1, whatever the text."""

    def __init__(self, **settings: object) -> None:
        super().__init__()  # `--model_args` arrive as settings, which this model ignores

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [self.answer("loglikelihood", one, (-float(len(one.args[1])), False)) for one in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return [self.answer("loglikelihood_rolling", one, -float(len(one.args[0]))) for one in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self.answer("generate_until", one, "") for one in requests]

    def answer(self, kind: str, request: Instance, answer: Any) -> Any:
        self.cache_hook.add_partial(kind, request.args, answer)  # for the progress bar and --use_cache
        return answer
