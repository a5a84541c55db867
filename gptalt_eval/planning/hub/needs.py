"""What a model needs of this computer: space on the disk, and memory for its weights."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.machine.environment import measure_gpus, measure_memory
from gptalt_eval.machine.hub import find_hub_cache
from gptalt_eval.planning.memory import fits, read_size

GB = 1e9
BITS: Mapping[str, int] = {
    "float64": 64, "double": 64, "float32": 32, "float": 32, "float16": 16, "half": 16, "bfloat16": 16,
}  # fmt: skip
LIMITS = ("max_memory_per_gpu", "max_cpu_memory")  # of lm-eval's model class: what the user says there is


@dataclass(frozen=True)
class Need:
    """What a model needs.

    Attributes:
        name: what it is called in messages.
        download: bytes that are still to be downloaded.
        weights: bytes of its files of weights.
        parameters: number of its weights; None: unknown.
        is_quantized: whether a dtype does not change its size.
        is_estimate: whether the sizes are not the hub's own.
    """

    name: str
    download: int
    weights: int
    parameters: int | None = None
    is_quantized: bool = False
    is_estimate: bool = False

    def measure(self, args: Mapping[str, Any]) -> float:
        """Bytes of memory for the weights with these arguments: an estimate."""
        bits = choose_bits(args)
        if bits is None or (self.is_quantized and bits > 8):
            return self.weights
        return self.parameters * bits / 8 if self.parameters else self.weights * bits / 16


@dataclass(frozen=True)
class Room:
    """The memory in which a model is loaded: ``bytes`` of ``what``; ``all`` counts further GPUs too.

    ``is_named``: the user says so, of the weights alone.
    """

    what: str
    bytes: float
    all: float = 0
    has_gpu: bool = False
    is_named: bool = False

    def holds(self, weights: float) -> bool:
        """Whether it holds a number of bytes of weights, and what is needed beside them."""
        return weights <= self.bytes if self.is_named else fits(weights, self.bytes)


def choose_bits(args: Mapping[str, Any]) -> int | None:
    """Bits for each weight with these arguments; None: as it is stored."""
    if args.get("load_in_4bit"):
        return 4
    if args.get("load_in_8bit"):
        return 8
    dtype = str(args.get("dtype") or args.get("torch_dtype") or "auto").removeprefix("torch.")
    return BITS.get(dtype)


def find_disk_faults(needs: Sequence[Need], cache: Path) -> Iterator[GptaltError]:
    """A disk that does not hold what is still to be downloaded into a folder."""
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    free, wanted = shutil.disk_usage(place).free, sum(need.download for need in needs)
    if wanted <= free:
        return
    names = " and ".join(f"'{need.name}'" for need in needs)
    about = "about " if any(need.is_estimate for need in needs) else ""
    variable = "HF_HOME" if cache == find_hub_cache() else "MODELSCOPE_CACHE"
    yield GptaltError(
        f"{names}: {about}{wanted / GB:.1f} GB are to be downloaded, and the disk of {cache} has "
        f"{free / GB:.1f} GB free.",
        f"Free some space, or type: export {variable}=FOLDER, on another disk",
    )


def measure_room(args: Mapping[str, Any], device: str | None) -> Room | None:
    """The memory for a model, by measuring or as the user says; None: unknown, or placed piece by piece."""
    given = [size for key in LIMITS if (size := read_limit(args.get(key))) is not None]
    if given:
        return Room("the memory that --model_args names", sum(given), sum(given), is_named=True)
    if args.get("parallelize"):  # accelerate distributes the weights, and moves the rest elsewhere
        return None
    gpus = measure_gpus() if device is None or device.startswith("cuda") else []
    if gpus:
        number = int((device or "").partition(":")[2] or 0)
        here = gpus[number] if number < len(gpus) else max(gpus)
        return Room("the GPU", here, sum(gpus), True)
    found = measure_memory()
    return Room("this computer", found, found) if found is not None else None


def read_limit(value: Any) -> float | None:
    """Bytes, of a number or of text such as ``40GiB``; None: it is neither."""
    text = str(value)
    return float(text) if text.isdecimal() else read_size(text)


def find_memory_faults(
    need: Need, model: Model, args: Mapping[str, Any], device: str | None, others: Iterable[Model]
) -> Iterator[GptaltError]:
    """Weights that the memory does not hold, with what would fit."""
    room = measure_room(args, device)
    needed = need.measure(args)
    if room is None or room.holds(needed):
        return
    dtype = args.get("dtype") or args.get("torch_dtype")
    named = f" in {dtype}" if dtype and dtype != "auto" and not need.is_quantized else ""
    count = f" from {need.parameters / 1e9:.1f} billion parameters" if need.parameters else ""
    limit = LIMITS[0] if room.has_gpu else LIMITS[1]
    ways = [*list_ways(need, model, args, room), *list_smaller(model, others, room, args)]
    enough = math.ceil(needed / GB)
    ways.append(f"If it fits all the same, say how much there is: --model_args {limit}={enough}GB")
    more = "" if room.is_named else " and a tenth more to compute with"
    yield GptaltError(
        f"'{need.name}' needs about {needed / GB:.1f} GB of memory{named} (an estimate{count}){more}, and "
        f"{room.what} has {room.bytes / GB:.1f} GB.",
        "\n".join(ways),
    )


def list_ways(need: Need, model: Model, args: Mapping[str, Any], room: Room) -> Iterator[str]:
    """What to type so that this model fits."""
    half = {**args, "dtype": "bfloat16", "load_in_4bit": None, "load_in_8bit": None}
    if room.holds(need.measure(half)):
        yield f"With 16 bits a weight it fits: --model_args dtype=bfloat16 ({need.measure(half) / GB:.1f} GB)"
    four = need.measure({"load_in_4bit": True})
    if room.has_gpu and not need.is_quantized and room.holds(four) and not args.get("load_in_4bit"):
        package = "" if importlib.util.find_spec("bitsandbytes") else ", after: pip install bitsandbytes"
        if model.loader is None:
            yield f"With 4 bits it fits: --model_args load_in_4bit=true ({four / GB:.1f} GB){package}"
        elif model.loader.converts(model.name):
            yield (
                f"With 4 bits it fits: gptalt-eval models convert {model.name} --to FOLDER, then "
                f"--model {model.name} --model_args pretrained=FOLDER,load_in_4bit=true "
                f"({four / GB:.1f} GB){package}"
            )
    if room.has_gpu and room.all > room.bytes and fits(need.measure(args), room.all):
        yield f"On all GPUs it fits: --model_args parallelize=true ({room.all / GB:.1f} GB)"


def list_smaller(model: Model, others: Iterable[Model], room: Room, args: Mapping[str, Any]) -> Iterator[str]:
    """The largest model of the catalogue that fits, of its kind, and speaks one of its languages."""
    bits = choose_bits(args) or 16
    fitting = [
        other
        for other in others
        if other.card is not None
        and other.is_loadable
        and other.sees_pictures == model.sees_pictures
        and room.holds(other.card.parameters * bits / 8)
        and (not model.languages or set(model.languages) & set(other.languages))
    ]
    best = max(fitting, key=lambda other: (is_related(other, model), count_parameters(other)), default=None)
    if best is not None and best.card is not None:
        yield f"A smaller one: --model {best.name} ({best.card.parameters * bits / 8 / GB:.1f} GB)"


def is_related(other: Model, model: Model) -> bool:
    """Whether two models are of one family, by the beginnings of their names."""
    return other.name.split("-")[0] == model.name.split("-")[0]


def count_parameters(model: Model) -> int:
    return model.card.parameters if model.card else 0
