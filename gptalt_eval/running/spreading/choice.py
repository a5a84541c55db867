"""Whether a request is spread over workers, and over how many; nothing heavy is imported here."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.environment import DRIVER, count_devices
from gptalt_eval.planning.backends import ENGINES, HF_BACKENDS

#: arguments with which one process has several GPUs
OVER_SEVERAL = ("parallelize", "device_map", "tp_plan")


def choose_workers(spec: RunSpec, plans: Sequence[Plan]) -> int | None:
    """How many workers a request gets on this computer; 0: it runs in this process; None: on a cluster.

    On a computer with several GPUs that is one for each, unless the request says otherwise or cannot be
    spread.

    Raises:
        GptaltError: a model is to have several GPUs, and there is none.
    """
    if spec.cluster:
        return None
    if (spec.gpus_per_worker or 1) > 1 and not count_devices("cuda"):
        raise GptaltError("--gpus_per_worker: torch finds no GPU on this computer.", "Omit it.")
    if spec.workers is not None:
        return spec.workers
    args = [plan.model_args for plan in plans]
    asks = spec.device or spec.use_cache or any(arg.get(name) for arg in args for name in OVER_SEVERAL)
    if asks or is_one_of_several() or not DRIVER.exists() or not all(map(can_spread, plans)):
        return 0
    found = (count_devices("cuda") or 0) // (spec.gpus_per_worker or 1)
    return found if found > 1 else 0


def is_one_of_several() -> bool:
    """Whether ``torchrun`` or ``accelerate launch`` started this process beside others."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def can_spread(plan: Plan) -> bool:
    """Whether workers can answer for a model: one that lm-eval's HF backend loads."""
    model = plan.model.item
    return model.create is None and model.backend in HF_BACKENDS


def check_spread(plan: Plan) -> None:
    """Check that workers can answer for a model.

    Raises:
        GptaltError: they cannot; says what to use instead.
    """
    model, owner = plan.model.item, plan.model.owner
    flag = "--cluster" if plan.spec.cluster else "--workers"
    if can_spread(plan) and (owner.distribution or str(owner).startswith("--include_path")):
        return
    hint = f"Omit {flag}."
    if model.backend.startswith("local-"):
        text = f"{flag}: '{model.name}' is served by others."
        hint = f"Omit {flag}, and let it answer several requests at once: --model_args num_concurrent=8"
    elif model.backend in ENGINES:
        copies = "data_parallel_size" if model.backend == "vllm" else "dp_size"
        text = f"{flag}: '{model.name}' uses several GPUs by itself."
        hint = f"Omit {flag}; several copies of the model: --model_args {copies}=2"
    elif can_spread(plan):
        text = (
            f"{flag}: '{model.name}' comes with '{owner}', which is not installed, and workers load what is."
        )
        hint = "Install that plugin: gptalt-eval install ./FOLDER"
    else:
        text = f"{flag}: workers answer for models of lm-eval's HF backend, and '{model.name}' is none."
    raise GptaltError(text, hint)
