"""What vLLM and SGLang would refuse only after minutes of loading, or with a traceback."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.environment import count_devices

GPUS = {"vllm": ("tensor_parallel_size", "data_parallel_size"), "sglang": ("tp_size", "dp_size")}
SHARES = {"vllm": "gpu_memory_utilization", "sglang": "mem_fraction_static"}
COUNTS = ("max_model_len", "max_length", "context_length", "max_gen_toks", "max_num_seqs")


def find_engine_faults(engine: str, args: Mapping[str, Any], device: str | None) -> Iterator[GptaltError]:
    """Wrong numbers, and GPUs that are not there.

    Args:
        engine: ``vllm`` or ``sglang``.
        args: its merged arguments.
        device: the request's ``--device``.
    """
    for name in (*GPUS[engine], *COUNTS):
        value = args.get(name, 1)
        if value is not None and (type(value) is not int or value < 1):
            yield GptaltError(f"--model_args {name}={value}: it must be a whole number above 0.", "")
    share = args.get(SHARES[engine])
    if share is not None and (type(share) not in (int, float) or not 0 < share <= 1):
        yield GptaltError(f"--model_args {SHARES[engine]}={share}: it must be a number above 0, up to 1.", "")
    lengths = [name for name in COUNTS[:3] if args.get(name)]
    if len(lengths) > 1:
        yield GptaltError(f"{' and '.join(lengths)} in --model_args are the same.", "Give one of them.")
    if device is not None:
        text = f"--device {device}: --model {engine} uses the GPUs that CUDA_VISIBLE_DEVICES names."
        yield GptaltError(text, "Omit --device. Type, for example: export CUDA_VISIBLE_DEVICES=0,1")
    if engine == "vllm" and args.get("data_parallel_size", 1) != 1 and not importlib.util.find_spec("ray"):
        text = "--model_args data_parallel_size: several copies of vLLM need Ray, which is not installed."
        yield GptaltError(text, f"Type: pip install -c constraints-{engine}.txt '.[{engine},ray]'")
    if importlib.util.find_spec(engine) is not None:
        yield from find_gpu_faults(engine, args)


def find_gpu_faults(engine: str, args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Fewer GPUs than one copy or all copies of the model need; vLLM's build for processors needs none."""
    found = count_devices("cuda")
    if found is None or "cpu" in importlib.metadata.version(engine):
        return
    if not found:
        text = f"--model {engine} needs a GPU, and torch finds none on this computer."
        hint = "Use --model hf, or check the driver and CUDA_VISIBLE_DEVICES (torch.cuda.is_available())."
        yield GptaltError(text, hint)
        return
    wanted = 1
    for name in GPUS[engine]:
        value = args.get(name, 1)
        wanted *= value if type(value) is int else 1
    if wanted > found:
        given = ",".join(f"{name}={args[name]}" for name in GPUS[engine] if name in args)
        text = f"--model_args {given}: that needs {wanted} GPUs, and there are {found}."
        yield GptaltError(
            text, "" if len(given.split(",")) > 1 else f"Give {given.partition('=')[0]}={found}."
        )
