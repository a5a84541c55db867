"""Which workers there are: how many are wanted, and where they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.environment import count_devices
from gptalt_eval.machine.words import count_things
from gptalt_eval.running.spreading.worker import PRELOAD, Job, ModelWorker
from gptalt_eval.spread.children import Place
from gptalt_eval.spread.local import LocalPool
from gptalt_eval.spread.work import Pool, Unit

VISIBLE = "CUDA_VISIBLE_DEVICES"


def list_places(spec: RunSpec, workers: int, visible: str | None, gpus: int) -> list[Place]:
    """Where the workers of this computer run.

    Args:
        spec: the request.
        workers: how many are wanted.
        visible: what ``CUDA_VISIBLE_DEVICES`` says; None: nothing.
        gpus: how many there are.

    Raises:
        GptaltError: there are too few GPUs.
    """
    per = spec.gpus_per_worker or 1
    if spec.device == "cpu" or not gpus:
        if spec.gpus_per_worker:
            raise GptaltError("--gpus_per_worker: torch finds no GPU on this computer.", "Omit it.")
        return [Place(f"CPU {number}") for number in range(workers)]
    if workers * per > gpus:
        each = f" with {per} GPUs each" if per > 1 else ""
        raise GptaltError(
            f"--workers {workers}{each}: this computer has {count_things(gpus, 'GPU')}.",
            f"Give --workers {gpus // per}, or more computers: --cluster" if gpus >= per else "Give fewer.",
        )
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    groups = [names[number * per : (number + 1) * per] for number in range(workers)]
    return [Place(f"GPU {'+'.join(group)}", {VISIBLE: ",".join(group)}) for group in groups]


def make_pool(
    spec: RunSpec,
    jobs: Mapping[str, Job],
    read: Callable[[Unit], bytes],
    workers: int | None,
    logs: Path,
    note: Callable[[str], None],
) -> Pool:
    """The workers of a request; none is started yet.

    Args:
        spec: the request.
        jobs: the models, by key.
        read: gives the requests of a unit.
        workers: on this computer; None: on the request's cluster.
        logs: the folder for what workers print.
        note: tells the user what the workers wait for.

    Raises:
        GptaltError: there are no such workers.
    """
    make: Callable[[], Any] = ModelWorker
    if workers is None:
        from gptalt_eval.spread.ray import RayPool

        pool = RayPool(make, jobs, read, str(spec.cluster), spec.gpus_per_worker)
        if pool.waits_for_gpus:
            gpus = count_things(spec.gpus_per_worker or 1, "GPU")
            note(f"Waiting for a computer with {gpus} to join; on CPUs: leave out --gpus_per_worker.")
        return pool
    places = list_places(spec, workers, os.environ.get(VISIBLE), count_devices("cuda") or 0)
    return LocalPool(make, jobs, read, places, preload=PRELOAD, logs=logs)
