"""Fills a model with published weights, tensor by tensor: there is never a second copy of them in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import AGAIN, Header
from gptalt_eval_plugin_models.layout import Layout, Weight


class Source(Protocol):
    """Published weights."""

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor), one after the other; a tensor is read when it is asked for."""


class Checkpoint:
    """The weights of a folder.

    Args:
        headers: where each is.
    """

    def __init__(self, headers: Mapping[str, Header]) -> None:
        self.headers = headers

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        opened: io.BufferedReader | None = None
        file: Path | None = None
        try:
            for name, header in self.headers.items():
                if opened is None or file != header.file:
                    if opened is not None:
                        opened.close()
                    file, opened = header.file, header.file.open("rb")
                yield name, read_tensor(header, opened, name)
        finally:
            if opened is not None:
                opened.close()

    def read(self, name: str) -> Tensor:
        """One of them."""
        header = self.headers[name]
        with header.file.open("rb") as stream:
            return read_tensor(header, stream, name)


def read_tensor(header: Header, stream: io.BufferedReader, name: str) -> Tensor:
    """Read a tensor into memory of its own.

    Raises:
        GptaltError: the file ends before it.
    """
    raw = torch.empty(header.size, dtype=torch.uint8)
    stream.seek(header.begin)
    if stream.readinto(memoryview(raw.numpy())) != header.size:
        raise GptaltError(f"{header.file} ends within the weight {name}.", AGAIN)
    return raw.view(getattr(torch, header.dtype)).as_strided(header.shape, header.stride)


def stream_parts(layout: Layout, source: Source) -> Iterator[tuple[str, Tensor]]:
    """(name in the loaded model, tensor) of all that is loaded."""
    for name, tensor in source:
        weight = layout.weights.get(name)
        if weight is None or not weight.becomes:
            continue
        for (target, _), part in zip(weight.becomes, divide(tensor, weight), strict=True):
            yield target, part


def divide(tensor: Tensor, weight: Weight) -> tuple[Tensor, ...]:
    """The parts of a published tensor."""
    rows = [count for _, count in weight.becomes]
    if weight.groups == 1:
        return tuple(tensor.reshape(tensor.shape[weight.skipped :]).split(rows))
    groups = tensor.unflatten(0, (weight.groups, -1))
    parts = groups.split([count // weight.groups for count in rows], dim=1)
    return tuple(part.flatten(0, 1) for part in parts)


def fill_model(
    model: Any, layout: Layout, source: Source, dtype: torch.dtype, device: torch.device | str
) -> Any:
    """Give a model that was built on torch's meta device its weights.

    Args:
        model: of transformers.
        layout: what the published weights become.
        source: the published weights.
        dtype: the type of the loaded numbers, except those that the model needs in fp32.
        device: where they are stored.

    Raises:
        GptaltError: a weight of the model was not among the published ones.
    """
    precise = list_precise(model, dtype)
    for target, part in stream_parts(layout, source):
        kind = torch.float32 if any(word in target for word in precise) else dtype
        place_weight(model, target, part.to(device, kind).contiguous())
    model.tie_weights()
    compute_buffers(model, device)
    empty = [name for name, weight in model.named_parameters() if weight.is_meta]
    if empty:
        raise GptaltError(f"The weight {empty[0]} of the model was not loaded.", AGAIN)
    model.config.dtype = dtype
    return model.eval()


def list_precise(model: Any, dtype: torch.dtype) -> set[str]:
    """Parts of the names of weights that stay in fp32, by the rules of transformers."""
    if dtype not in (torch.float16, torch.bfloat16):
        return set()
    strict = set(model._keep_in_fp32_modules_strict or ())
    return strict | set(model._keep_in_fp32_modules or ()) if dtype == torch.float16 else strict


def place_weight(model: nn.Module, name: str, tensor: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if tensor.is_cpu and tensor.untyped_storage().nbytes() > tensor.nbytes:
        tensor = tensor.clone()  # a part must not keep the whole in memory
    setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def compute_buffers(model: Any, device: torch.device | str) -> None:
    """Compute what is not saved with the weights, such as the frequencies of rotary positions.

    Raises:
        GptaltError: the model's code does not compute one of them.
    """
    for weight in model.parameters():
        weight._is_hf_initialized = True  # else it would get new random numbers
    owners = {name: part for name, part in model.named_modules() if isinstance(part, PreTrainedModel)}
    for name, module in model.named_modules():
        left = [each for each, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        for each in left:
            setattr(module, each, mark_empty(getattr(module, each)))
        if left:
            owner = max((other for other in owners if is_within(name, other)), key=len)
            owners[owner]._init_weights(module)
        for each in left:
            made = getattr(module, each)
            if torch.equal(made.nan_to_num(), mark_empty(made).nan_to_num()):
                raise GptaltError(f"The buffer {name}.{each} of the model was not computed.", AGAIN)
            setattr(module, each, made.to(device))


def is_within(name: str, owner: str) -> bool:
    return not owner or name == owner or name.startswith(f"{owner}.")


def mark_empty(buffer: Tensor) -> Tensor:
    """A tensor like a buffer, with numbers that no buffer has."""
    kind = buffer.dtype
    empty = float("nan") if kind.is_floating_point else kind == torch.bool or torch.iinfo(kind).min
    return torch.full_like(buffer, empty, device="cpu")
