"""How a model is to be loaded: number type, device, quantization."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.machine.environment import count_devices

#: the names of torch's floating-point types with which a model can be loaded, and what others call them
DTYPES = ("auto", "float32", "float16", "bfloat16", "float64", "float", "half", "double")
ALIASES: Mapping[str, str] = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "fp64": "float64", "f16": "float16",
}  # fmt: skip
#: the module and the package that a setting needs
GPTQ = {"autogptq": ("auto_gptq", "auto-gptq"), "gptqmodel": ("gptqmodel", "gptqmodel")}
DEVICE = re.compile(r"(cpu|cuda|mps|npu|xpu|hpu)(?::(\d+))?")


def find_dtype_faults(args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Number types that torch does not have, or that a model cannot be loaded with."""
    for key in ("dtype", "torch_dtype", "softmax_dtype", "mixed_precision_dtype"):
        value = args.get(key)
        if value is None or value in DTYPES or not isinstance(value, (str, int, float)):
            continue
        name = str(value).removeprefix("torch.")
        hint = f"Did you mean '{ALIASES[name]}'?" if name in ALIASES else did_you_mean(name, DTYPES)
        yield GptaltError(
            f"--model_args {key}={value}: there is no such type for a model's numbers.",
            hint or f"Available: {', '.join(DTYPES[:5])}.",
        )


def find_device_faults(device: str | None) -> Iterator[GptaltError]:
    """A device that does not exist here; lm-eval would fail, or silently use another one."""
    if device is None:
        return
    matched = DEVICE.fullmatch(device)
    if matched is None:
        near = did_you_mean(device, ("cpu", "cuda", "cuda:0", "mps"))
        hint = "Did you mean 'cuda'?" if device.lower() == "gpu" else near
        yield GptaltError(
            f"--device {device}: there is no such device.", hint or "Give cpu, cuda, cuda:0 or mps."
        )
        return
    kind, number = matched[1], int(matched[2] or 0)
    found = count_devices(kind)
    if found is None or number < found:
        return
    if not found:
        text = f"--device {device}: torch finds no such device on this computer."
        hint = (
            "Omit --device, or check the driver and that torch is built for it (torch.cuda.is_available())."
        )
        yield GptaltError(text, hint if kind == "cuda" else "Omit --device, or give cpu.")
    else:
        text = (
            f"--device {device}: there is only {kind}:0."
            if found == 1
            else (f"--device {device}: there are only {kind}:0 to {kind}:{found - 1}.")
        )
        yield GptaltError(text, f"Give {kind}:{found - 1}.")


def find_bits_faults(args: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Weights that are to be quantized while loading, and cannot be."""
    given = [name for name in ("load_in_4bit", "load_in_8bit") if args.get(name)]
    if not given:
        return
    if len(given) > 1:
        yield GptaltError("--model_args load_in_4bit and load_in_8bit exclude each other.", "Omit one.")
    if isinstance(config.get("quantization_config"), Mapping):
        text = f"--model_args {given[0]}: the weights of this model are quantized already."
        yield GptaltError(text, "Omit it.")
    yield from find_missing(given[0], "bitsandbytes", "bitsandbytes")


def find_gptq_faults(args: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Packages that load quantized weights in place of transformers, and are not installed."""
    given = [name for name in GPTQ if args.get(name)]
    if len(given) > 1:
        yield GptaltError("--model_args autogptq and gptqmodel exclude each other.", "Omit one.")
    for name in given:
        yield from find_missing(name, *GPTQ[name])


def find_missing(setting: str, module: str, package: str) -> Iterator[GptaltError]:
    """That a setting needs a package, if it is not installed."""
    if importlib.util.find_spec(module) is None:
        text = f"--model_args {setting} needs the package {package}, which is not installed."
        yield GptaltError(text, f"Type: pip install {package}")


def find_quantization_faults(config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """What transformers' own quantizer complains about: packages, devices, an unknown method.

    Only a quantized model pays for importing transformers here, which the run needs anyway.
    """
    settings = config.get("quantization_config")
    if not isinstance(settings, Mapping):
        return
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, AutoHfQuantizer

    method = settings.get("quant_method", "unnamed")
    try:
        quantizer = AutoHfQuantizer.from_config(dict(settings), pre_quantized=True)
        quantizer.validate_environment(device_map=None, dtype=None, weights_only=None)
    except ImportError as error:
        named = re.search(r"pip install (?:-U )?([^`'\")]+)", str(error))
        hint = f"Type: pip install '{named[1].strip()}'" if named else "Install what it names."
        yield GptaltError(f"The weights are quantized with {method}: {' '.join(str(error).split())}", hint)
    except (ValueError, RuntimeError) as error:
        text = f"The weights are quantized with {method}: {' '.join(str(error).split())}"
        near = did_you_mean(str(method), AUTO_QUANTIZER_MAPPING)
        yield GptaltError(text, near or "Use weights that are not quantized, or another computer.")
