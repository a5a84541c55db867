"""What the weights of a model must be called and look like, and what is wrong with those of a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gptalt_eval import GptaltError
from gptalt_eval_plugin_models.checkpoint import Header, shorten


@dataclass(frozen=True)
class Weight:
    """A tensor of a published checkpoint.

    Attributes:
        shape: its shape.
        becomes: the tensors of the loaded model that it is divided into along its first axis: their names
            and numbers of rows. Empty: it is not loaded.
        required: whether a checkpoint is incomplete without it.
        groups: into how many equal groups of rows it is divided first; each part has rows of every group.
        skipped: leading axes, of size 1, that the loaded tensors do not have.
    """

    shape: tuple[int, ...]
    becomes: tuple[tuple[str, int], ...]
    required: bool = True
    groups: int = 1
    skipped: int = 0


@dataclass(frozen=True)
class Layout:
    """All tensors of a published checkpoint.

    Attributes:
        weights: by name.
        buffers: names of what older releases of transformers saved with the weights; it is computed instead.
    """

    weights: Mapping[str, Weight]
    buffers: re.Pattern[str] = field(default=re.compile(r"$^"))

    def find_faults(
        self, folder: Path, read_headers: Callable[[Path], Mapping[str, Header]]
    ) -> Iterator[GptaltError]:
        """All problems with the weights in a folder, from the headers of its files."""
        try:
            headers = read_headers(folder)
        except GptaltError as error:
            yield error
            return
        yield from self.compare(headers, folder)

    def compare(self, headers: Mapping[str, Header], folder: Path) -> Iterator[GptaltError]:
        """Missing and unexpected weights, and wrong shapes; one message for each kind."""
        missing = [name for name, weight in self.weights.items() if weight.required and name not in headers]
        if missing:
            text = f"{folder}: {len(missing)} of {len(self.weights)} weights are missing: {shorten(missing)}."
            yield GptaltError(text, "Download the whole model, or check that config.json belongs to it.")
        unknown = [name for name in headers if name not in self.weights and not self.buffers.search(name)]
        if unknown:
            first = headers[unknown[0]]
            text = f"{first.file} contains {len(unknown)} weights that this model does not have: "
            hint = "Give a folder with one model only; check that config.json belongs to it."
            yield GptaltError(f"{text}{shorten(unknown)}.", hint)
        wrong = [
            (name, headers[name])
            for name, weight in self.weights.items()
            if name in headers and headers[name].shape != weight.shape
        ]
        if wrong:
            name, header = wrong[0]
            text = (
                f"{header.file}: the weight {name} has the shape {list(header.shape)}; by config.json it is "
                f"{list(self.weights[name].shape)}"
            )
            more = f" ({len(wrong) - 1} others differ too)" if len(wrong) > 1 else ""
            yield GptaltError(f"{text}{more}.", "Check that config.json belongs to this model.")


def keep_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Weight]:
    """Weights that are called the same in the loaded model."""
    return {name: Weight(shape, ((name, shape[0]),)) for name, shape in shapes.items()}
