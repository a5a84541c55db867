"""Problems of a request that can be found without looking up its names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.settings import SCORERS
from gptalt_eval.contract.spec import RunSpec

Fault = tuple[bool, str, str]  # whether it exists, what it is, what to type
SEEDS = 2**32  # numpy's limit


def find_faults(spec: RunSpec) -> list[GptaltError]:
    """All problems at once."""
    faults = (*check_names(spec), *check_numbers(spec), *check_prompts(spec), *check_remote_code(spec))
    faults = (*faults, *check_services(spec), *check_workers(spec))
    return [GptaltError(what, hint) for exists, what, hint in faults if exists]


def check_names(spec: RunSpec) -> Iterator[Fault]:
    yield not spec.model, "No model was given.", "For a first try: --model smollm2 --data_dir sample"
    yield not spec.tasks, "No tasks were given.", "For example: --tasks piqa. See: gptalt-eval ls tasks"
    yield (
        spec.scorer not in SCORERS,
        f"--scorer {spec.scorer}: unknown scorer.",
        did_you_mean(spec.scorer, SCORERS) or f"Available: {', '.join(SCORERS)}.",
    )


def check_numbers(spec: RunSpec) -> Iterator[Fault]:
    """Numbers that are out of range, and flags that exclude each other."""
    yield (
        any(shots < 0 for shots in spec.num_fewshot),
        f"--num_fewshot {','.join(map(str, spec.num_fewshot))}: it must not be negative.",
        "Give 0 or more.",
    )
    yield (
        spec.limit is not None and not (math.isfinite(spec.limit) and spec.limit > 0),
        f"--limit {spec.limit}: nothing would run.",
        "Give a number of items, or a fraction below 1.",
    )
    yield (
        spec.limit is not None and spec.samples is not None,
        "--limit and --samples cannot be used together.",
        "Omit one of them: --samples already selects the rows.",
    )
    yield (
        spec.samples is not None
        and not all(rows and rows[0] >= 0 for rows in (spec.samples or {"": []}).values()),
        "--samples: each task needs at least one row, and row numbers start at 0.",
        """For example: --samples '{"piqa": [0, 5]}'""",
    )
    yield (
        re.fullmatch("0*[1-9][0-9]*|auto(:0*[1-9][0-9]*)?", spec.batch_size, re.ASCII) is None,
        f"--batch_size {spec.batch_size}: not a batch size.",
        "Give a number, 'auto' or 'auto:N'.",
    )
    yield (
        spec.max_batch_size is not None and spec.max_batch_size < 1,
        f"--max_batch_size {spec.max_batch_size}: it must be at least 1.",
        "Give 1 or more.",
    )
    yield (
        spec.max_batch_size is not None and not spec.batch_size.startswith("auto"),
        "--max_batch_size only applies to --batch_size auto.",
        "Add --batch_size auto, or omit --max_batch_size.",
    )
    yield (
        spec.seed[1] is not None and not 0 <= spec.seed[1] < SEEDS,
        f"--seed {','.join(map(str, spec.seed))}: the second one, numpy's, must be from 0 to {SEEDS - 1}.",
        "Give a number in that range, or None.",
    )


def check_prompts(spec: RunSpec) -> Iterator[Fault]:
    yield (
        bool(spec.fewshot_as_multiturn) and not spec.apply_chat_template,
        "--fewshot_as_multiturn needs a chat template.",
        "Add --apply_chat_template, or omit --fewshot_as_multiturn.",
    )
    yield (
        bool(spec.prompt_style) and bool(spec.apply_chat_template or spec.system_instruction),
        "--prompt_style already sets the chat template and the system message.",
        "Omit --apply_chat_template and --system_instruction, or --prompt_style.",
    )


def check_remote_code(spec: RunSpec) -> Iterator[Fault]:
    """Generation settings with which transformers runs code from a folder or the hub."""
    for key in ("custom_generate", "trust_remote_code"):
        yield (
            bool(spec.gen_kwargs.get(key)) and not spec.trust_remote_code,
            f"--gen_kwargs {key}={spec.gen_kwargs.get(key)}: this runs Python code that comes with a model.",
            "Look at that code. If you trust it, add --trust_remote_code.",
        )


def check_services(spec: RunSpec) -> Iterator[Fault]:
    """Settings that lm-eval's loggers would silently ignore, and a secret that would be saved."""
    hub = spec.hf_hub_log_args
    pushes_samples = bool(hub.get("push_samples_to_hub"))
    yield (
        bool(spec.wandb_config_args) and not spec.wandb_args,
        "--wandb_config_args has no effect without --wandb_args.",
        "Add --wandb_args project=NAME.",
    )
    yield (
        bool(hub) and not (hub.get("push_results_to_hub") or pushes_samples),
        "--hf_hub_log_args: nothing would be pushed.",
        "Add push_results_to_hub=True, push_samples_to_hub=True, or both.",
    )
    yield (
        pushes_samples and not (spec.log_samples or spec.predict_only),
        "--hf_hub_log_args push_samples_to_hub=True needs logged samples.",
        "Add --log_samples.",
    )
    yield (
        "token" in hub,
        "--hf_hub_log_args token=...: the token would be saved with the run's settings.",
        "Set HF_TOKEN in the environment instead.",
    )
    yield (
        "output_path" in hub,
        "--hf_hub_log_args output_path=...: --output_path says where results go.",
        "Omit it.",
    )


def check_workers(spec: RunSpec) -> Iterator[Fault]:
    """Workers that cannot be there, and settings that say something else."""
    flag = "--cluster" if spec.cluster else "--workers"
    spreads = bool(spec.cluster or spec.workers)
    yield (
        spec.workers is not None and spec.workers < 0,
        f"--workers {spec.workers}: it must not be negative.",
        "Give the number of processes; 0: all in this one.",
    )
    yield (
        bool(spec.cluster) and spec.workers is not None,
        "--workers and --cluster cannot be used together.",
        "Omit --workers: a cluster has one worker for each GPU.",
    )
    yield (
        bool(spec.cluster) and not re.fullmatch(r"auto|[^\s:/]+:\d+", str(spec.cluster)),
        f"--cluster {spec.cluster}: not the address of a Ray cluster.",
        "Give HOST:PORT, as 'ray start --head' prints it, or auto.",
    )
    yield (
        spec.gpus_per_worker is not None and spec.gpus_per_worker < 1,
        f"--gpus_per_worker {spec.gpus_per_worker}: it must be at least 1.",
        "Give 1 or more.",
    )
    yield (
        spreads and bool(spec.use_cache),
        f"{flag} and --use_cache cannot be used together.",
        "Omit --use_cache: what workers answer is kept in the run's folder, and a resumed run uses it.",
    )
    yield (
        spreads and bool(spec.device) and ":" in str(spec.device),
        f"{flag} and --device {spec.device} cannot be used together.",
        "Omit --device: each worker gets GPUs of its own. CUDA_VISIBLE_DEVICES says which there are.",
    )
