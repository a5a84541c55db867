"""What the settings in a file would do beyond asking a model questions: one line for each.

Only what runs code, sends something out, reads other files into prompts, or writes elsewhere. Loading a
model's weights and fetching it from the hub are not among it: without its own code, both are harmless.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as Keys
from pathlib import Path, PureWindowsPath
from typing import Any

from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.planning.backends import load_backends
from gptalt_eval.planning.consent.reads import is_free

SETTINGS = ("model_args", "gen_kwargs", "metadata")  # mappings whose content goes on to others
SERVICES = ("wandb_args", "trackio_args", "hf_hub_log_args")
#: keys by which transformers, vLLM and others run code, at any depth
RUNS = re.compile(
    r"trust|unsafe|pickle|custom_generate|use_kernel|kernel_config|extra_args|steer_path"
    r"|(^|_)(cls|class|plugins?|executor_backend|logits_processors?|extension)$",
    re.I,
)
#: keys of addresses, and what looks like one
SENDS = re.compile(
    r"(^|_)(urls?|uri|endpoint|hosts?|api_base|server|address|prox(y|ies)|webhook|mirror)$", re.I
)
ADDRESS = re.compile(r"\w://")
#: keys of what is loaded as a model or tokenizer
LOADS = frozenset(
    (
        "pretrained", "tokenizer", "peft", "delta", "model", "path", "gguf_file", "load", "subfolder",
        "revision", "tokenizer_path", "tokenizer_model", "vocab_file", "merge_file", "lora_local_path",
        "code_revision", "dtype", "torch_dtype",
    )
)  # fmt: skip
QUALIFIED = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_]\w*)+")  # of something that can be imported
HUB_KERNEL = re.compile(r"_implementation$")  # attn_implementation: OWNER/NAME fetches and runs a kernel
UNPICKLES = ("nemo_lm", "megatron_lm")  # lm-eval's classes whose files of weights can contain code
REMOTE = ("openai", "anthropic", "litellm", "textsynth", "watsonx")  # how those begin that ask a service
LOADS_TOKENIZER = ("niah_", "ruler", "babilong")  # lm-eval's tasks that run the code of the model's tokenizer


def list_asks(spec: RunSpec, keys: Keys[str], places: Sequence[Path] = ()) -> list[str]:
    """What settings would do, in lines such as ``sends prompts to http://host``.

    Args:
        spec: the request.
        keys: the settings that come from a file; what the user typed is not listed.
        places: folders below which results may be written without a word; data may be read below the first.
    """
    asks: list[str] = []
    for key in (*SETTINGS, *SERVICES):
        if key in keys:
            asks += list_service(key, spec) if key in SERVICES else list_nested(key, spec, places)
    if keys & {"model", "model_args"}:
        asks += list_model(spec)
    if "trust_remote_code" in keys and spec.trust_remote_code:
        asks.append(f"runs the code of the model {name_model(spec)} (trust_remote_code)")
    if "confirm_run_unsafe_code" in keys and spec.confirm_run_unsafe_code:
        asks.append("runs what the model writes (confirm_run_unsafe_code)")
    if "trust_task_code" in keys:
        asks += [f"runs the Python of the task {file}" for file in spec.trust_task_code]
    if keys & {"tasks", "model", "model_args", "metadata"} and any(
        name.startswith(LOADS_TOKENIZER) for name in spec.tasks
    ):
        asks.append(
            f"runs the code of the tokenizer of {name_model(spec)}, which these tasks load themselves"
        )
    if "cluster" in keys and spec.cluster not in (None, "auto"):  # who runs it can run code here
        asks.append(f"sends prompts to the cluster at {spec.cluster}, and runs what it answers (cluster)")
    for key, what in (("output_path", "results"), ("use_cache", "answers")):
        path = getattr(spec, key)
        if key in keys and path and not is_inside(path, places):
            asks.append(f"writes {what} to {path}")
    reads = places[:1]  # rows are in results and prompts: the working folder's are not for everybody
    if "include_path" in keys and spec.include_path and not is_inside(spec.include_path, reads):
        asks.append(f"lets tasks read the files in {spec.include_path} (include_path)")
    if "data_dir" in keys and reads_data(spec, reads):
        asks.append(f"lets tasks read the files in {spec.data_dir} (data_dir)")
    return list(dict.fromkeys(asks))


def list_nested(setting: str, spec: RunSpec, places: Sequence[Path]) -> Iterator[str]:
    """What the keys and values of a mapping would do, at any depth."""
    for keys, value in walk((setting,), getattr(spec, setting)):
        named = f"{setting} {'.'.join(keys[1:])}"
        text = value if isinstance(value, str) else json.dumps(value)
        if any(SENDS.search(key) for key in keys) and value not in (None, "", False):
            yield f"sends prompts to {text}{describe_key(spec)}"
        elif any(RUNS.search(key) for key in keys) and is_on(value):
            yield f"runs code: {text} ({named}, of the model {name_model(spec)})"
        elif setting == "gen_kwargs":  # texts to stop at can look like anything
            continue
        elif keys[-1] == "weights_only" and value is not True:
            yield f"runs code in pickled weights of {name_model(spec)} ({named})"
        elif any(HUB_KERNEL.search(key) for key in keys) and "/" in text:
            yield f"runs code of the hub: {text} ({named})"
        elif not isinstance(value, str) or LOADS & set(keys):
            continue
        elif ADDRESS.search(value):
            yield f"sends prompts to {text}{describe_key(spec)} ({named})"
        elif QUALIFIED.fullmatch(value) and "." in value:
            yield f"may run Python: {text} ({named})"
        elif "cache_dir" in keys or (looks_like_path(value) and not is_inside(value, places)):
            yield f"uses the files in {text} ({named})"


def walk(keys: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in a mapping with its keys, at any depth."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from walk((*keys, str(key)), inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from walk(keys, inner)
    else:
        yield keys, value


def is_on(value: object) -> bool:
    return value not in (None, False, 0, "") and str(value).lower() not in ("false", "no", "0", "none")


def list_model(spec: RunSpec) -> Iterator[str]:
    """What the model's class itself would do."""
    address = any(SENDS.search(key) for keys, _ in walk((), spec.model_args) for key in keys)
    for name in spec.model.split(","):
        if name in UNPICKLES:
            yield f"runs code in the weights of {name_model(spec)} (--model {name})"
        elif not address and (name.startswith(REMOTE) or find_key(name)):
            yield f"sends prompts to the service of {name}{describe_key(spec)}"


def list_service(key: str, spec: RunSpec) -> Iterator[str]:
    settings = getattr(spec, key)
    if settings:
        yield f"sends results and samples to others ({key} {json.dumps(settings, ensure_ascii=False)})"


def find_key(model: str) -> str:
    backend = load_backends().get(model)
    return backend.key if backend else ""


def describe_key(spec: RunSpec) -> str:
    """``, with the key in OPENAI_API_KEY``."""
    keys = dict.fromkeys(filter(None, map(find_key, spec.model.split(","))))
    return f", with the key in {' or '.join(keys)}" if keys else ""


def name_model(spec: RunSpec) -> str:
    """What is loaded: the weights that ``--model_args`` name, else the model."""
    given = (spec.model_args, spec.metadata)
    named = [str(each[key]) for each in given for key in ("pretrained", "tokenizer", "peft") if each.get(key)]
    return ", ".join(dict.fromkeys(named)) or spec.model


def looks_like_path(text: str) -> bool:
    return text.startswith(("/", "~", ".", "\\")) or bool(PureWindowsPath(text).drive)


def reads_data(spec: RunSpec, places: Sequence[Path]) -> bool:
    """Whether a data folder is one that only the file names, and task files of a user may read it."""
    if spec.data_dir in (None, "sample", os.environ.get("GPTALT_DATA")):
        return False
    is_own = spec.include_path or any(name.endswith((".yaml", ".yml")) for name in spec.tasks)
    return bool(is_own) and not is_inside(str(spec.data_dir), places)


def is_inside(path: str, places: Sequence[Path]) -> bool:
    """As :func:`is_free`, for a path as settings have it; False for text that cannot be one."""
    try:
        return is_free(Path(path).expanduser(), places)
    except (OSError, ValueError, RuntimeError):
        return False
