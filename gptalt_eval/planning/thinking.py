"""Models that think before they answer: what lm-eval refuses of them after they were loaded."""

from __future__ import annotations

from collections.abc import Iterable

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.planning.backends import HF_BACKENDS
from gptalt_eval.planning.weights import merge_model_args

COMPARING = ("multiple_choice", "loglikelihood")  # output types that lm-eval scores by log-likelihoods


def check_thinking(model: Model, spec: RunSpec, tasks: Iterable[PlannedTask]) -> None:
    """Refuse log-likelihoods of a model that thinks before it answers.

    Raises:
        GptaltError: a task compares log-likelihoods, or nothing says where the thinking ends.
    """
    args = merge_model_args(model, spec)
    can_think = model.create is None and model.backend in (*HF_BACKENDS, "vllm")
    if not can_think or not args.get("enable_thinking"):
        return
    if args.get("think_end_token") is None:
        text = "enable_thinking=True needs think_end_token: the answer is what follows it."
        raise GptaltError(text, "Add think_end_token to --model_args, such as think_end_token=</think>.")
    comparing = [task.name for task in tasks if task.config.get("output_type") in COMPARING]
    if comparing:
        names = ", ".join(dict.fromkeys(comparing[:5])) + (", ..." if len(comparing) > 5 else "")
        raise GptaltError(
            f"enable_thinking=True is only for generated text, and these tasks compare options: {names}.",
            "Omit enable_thinking, or choose tasks whose answers are generated.",
        )
