"""Other evaluators on the same requests, where they are installed: lighteval, and vLLM by lm-eval's backend.

pip install lighteval        or        pip install vllm
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from workloads import Request

BATCH_SIZE = 32  # rows; lighteval makes them 8 questions of 4 options
Score = Callable[[list[Request]], Any]


def load_others(folder: str, dtype: str) -> dict[str, Score]:
    """By name, what scores requests with the model in a folder."""
    makers = {"lighteval": load_lighteval, "vllm": load_vllm}
    return {name: make(folder, dtype) for name, make in makers.items() if find_spec(name)}


def load_lighteval(folder: str, dtype: str) -> Score:
    from lighteval.models.transformers.transformers_model import TransformersModel, TransformersModelConfig
    from lighteval.tasks.requests import Doc

    config = TransformersModelConfig(
        model_name=folder,
        dtype=dtype,
        batch_size=BATCH_SIZE,
        override_chat_template=False,  # the very prompts that the others score
    )
    model = TransformersModel(config)

    def score(requests: list[Request]) -> Any:
        options: dict[str, list[str]] = {}
        for context, continuation in requests:
            options.setdefault(context, []).append(continuation)
        docs = [
            Doc(query=context, choices=choices, gold_index=0, id=str(number), task_name="benchmark")
            for number, (context, choices) in enumerate(options.items())
        ]
        return model._loglikelihood_tokens(docs)

    return score


def load_vllm(folder: str, dtype: str) -> Score:
    from lm_eval.models.vllm_causallms import VLLM

    lm = VLLM(pretrained=folder, dtype=dtype, max_model_len=2048)

    def score(requests: list[Request]) -> Any:
        encoded = [((context, end), *lm._encode_pair(context, end)) for context, end in requests]
        return lm._loglikelihood_tokens(encoded, disable_tqdm=True)

    return score
