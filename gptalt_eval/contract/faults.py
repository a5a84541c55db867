"""What is wrong with a request by itself, whatever the names in it mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.settings import SCORERS
from gptalt_eval.contract.spec import RunSpec

Fault = tuple[bool, str, str]  # whether it is there, what it is, what to type
SEEDS = 2**32  # numpy's limit


def find_faults(spec: RunSpec) -> list[GptaltError]:
    """All of them at once."""
    faults = (*check_names(spec), *check_numbers(spec), *check_prompts(spec), *check_services(spec))
    return [GptaltError(what, hint) for is_there, what, hint in faults if is_there]


def check_names(spec: RunSpec) -> Iterator[Fault]:
    yield not spec.model, "No model was named.", "For a first try: --model smollm2 --data_dir sample"
    yield not spec.tasks, "No tasks were named.", "For example: --tasks piqa. See: gptalt-eval ls tasks"
    yield (
        spec.scorer not in SCORERS,
        f"--scorer {spec.scorer}: there is no such scorer.",
        did_you_mean(spec.scorer, SCORERS) or f"There are: {', '.join(SCORERS)}.",
    )


def check_numbers(spec: RunSpec) -> Iterator[Fault]:
    """Counts that are out of range, or that exclude each other."""
    yield (
        any(shots < 0 for shots in spec.num_fewshot),
        f"--num_fewshot {','.join(map(str, spec.num_fewshot))}: it cannot be negative.",
        "Give 0 or more.",
    )
    yield (
        spec.limit is not None and not (math.isfinite(spec.limit) and spec.limit > 0),
        f"--limit {spec.limit}: nothing would run.",
        "Give a number of items, or a fraction below 1.",
    )
    yield (
        spec.limit is not None and spec.samples is not None,
        "--limit and --samples exclude each other.",
        "Leave one out: --samples names the very rows.",
    )
    yield (
        spec.samples is not None
        and not all(rows and rows[0] >= 0 for rows in (spec.samples or {"": []}).values()),
        "--samples: each task needs a row, and rows are counted from 0.",
        """For example: --samples '{"piqa": [0, 5]}'""",
    )
    yield (
        re.fullmatch("0*[1-9][0-9]*|auto(:0*[1-9][0-9]*)?", spec.batch_size, re.ASCII) is None,
        f"--batch_size {spec.batch_size}: not a batch size.",
        "Give a number, 'auto' or 'auto:N'.",
    )
    yield (
        spec.max_batch_size is not None and spec.max_batch_size < 1,
        f"--max_batch_size {spec.max_batch_size}: no batch is that small.",
        "Give 1 or more.",
    )
    yield (
        spec.max_batch_size is not None and not spec.batch_size.startswith("auto"),
        "--max_batch_size limits what --batch_size auto tries.",
        "Add --batch_size auto, or leave it out.",
    )
    yield (
        spec.seed[1] is not None and not 0 <= spec.seed[1] < SEEDS,
        f"--seed {','.join(map(str, spec.seed))}: numpy's, the second, is a number from 0 to {SEEDS - 1}.",
        "Give such a number, or None.",
    )


def check_prompts(spec: RunSpec) -> Iterator[Fault]:
    yield (
        bool(spec.fewshot_as_multiturn) and not spec.apply_chat_template,
        "--fewshot_as_multiturn has no meaning without a chat template.",
        "Add --apply_chat_template, or leave it out.",
    )
    yield (
        bool(spec.prompt_style) and bool(spec.apply_chat_template or spec.system_instruction),
        "--prompt_style decides on the chat template and the system message itself.",
        "Leave out --apply_chat_template and --system_instruction, or --prompt_style.",
    )


def check_services(spec: RunSpec) -> Iterator[Fault]:
    """What lm-eval's loggers would leave undone without a word, and a secret that would be saved."""
    hub = spec.hf_hub_log_args
    pushes_samples = bool(hub.get("push_samples_to_hub"))
    yield (
        bool(spec.wandb_config_args) and not spec.wandb_args,
        "--wandb_config_args describes the run that --wandb_args begins.",
        "Add --wandb_args project=NAME.",
    )
    yield (
        bool(hub) and not (hub.get("push_results_to_hub") or pushes_samples),
        "--hf_hub_log_args: nothing would be pushed.",
        "Add push_results_to_hub=True, push_samples_to_hub=True, or both.",
    )
    yield (
        pushes_samples and not (spec.log_samples or spec.predict_only),
        "--hf_hub_log_args push_samples_to_hub=True needs the samples.",
        "Add --log_samples.",
    )
    yield (
        "token" in hub,
        "--hf_hub_log_args token=...: it would be saved with the settings of the run.",
        "Set HF_TOKEN in the environment instead.",
    )
    yield (
        "output_path" in hub,
        "--hf_hub_log_args output_path=...: results go where --output_path says.",
        "Leave it out.",
    )
