"""Pictures in prompts: as ids beyond the vocabulary, in whose places an image-text model's features are put.

Equal pictures have equal ids, so that they share tokens of the prefix tree, and each is encoded once.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from gptalt_eval.scoring.crossing import find_crossing
from gptalt_eval.scoring.engine import is_out_of_memory, unwrap
from gptalt_eval.scoring.tree import Ints, PrefixTree

Inputs = Mapping[str, torch.Tensor]
TOGETHER = 8  # pictures that are encoded in one call
LARGEST = 2**31  # ids of a tree are 32-bit integers


@dataclass(frozen=True)
class Picture:
    """What a model's processor makes of one picture.

    Attributes:
        key: SHA-256 of all that its features depend on.
        layout: the tokens that it stands for in a prompt; -1: one of its features.
        grid: height and width of its features, for models whose positions have these; None: counted.
        shapes: of its inputs: pictures of the same can be encoded together.
        mark: the id that the model itself takes for a feature.
        load: makes the keyword arguments of ``get_image_features``, for this picture alone; they are large.
    """

    key: bytes
    layout: tuple[int, ...]
    grid: tuple[int, int] | None
    shapes: tuple[object, ...] = field(compare=False, repr=False)
    load: Callable[[], Inputs] = field(compare=False, repr=False)
    mark: int = 0

    def __post_init__(self) -> None:
        features = np.flatnonzero(np.array(self.layout) < 0)
        if not len(features):
            raise ValueError("a picture without a place in the prompt")
        if self.grid is None:
            return
        height, width = self.grid
        if len(features) != height * width or features[-1] - features[0] != len(features) - 1:
            raise ValueError(f"{len(features)} features are not one run of {height} x {width}")


def make_picture(
    inputs: Inputs,
    layout: Sequence[int],
    grid: tuple[int, int] | None = None,
    load: Callable[[], Inputs] | None = None,
    mark: int = 0,
) -> Picture:
    """A picture from its inputs; ``load`` makes them again, so that they are not kept."""
    digest = hashlib.sha256(repr((tuple(layout), grid)).encode())
    for name, value in sorted(inputs.items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    shapes = tuple((name, *value.shape) for name, value in sorted(inputs.items()))
    return Picture(digest.digest(), tuple(layout), grid, shapes, load or (lambda: inputs), mark)


class Pictures:
    """The distinct pictures of a run. Their features are made when they are needed, and dropped after that.

    Args:
        model: the image-text model.
        vocabulary: ids from here on are features; no tokenizer has as many tokens.

    Attributes:
        causal: the model that reads features among tokens.
        crossing: how it is given pictures instead, if its tokens see them by cross-attention.
        encoded: pictures that went through the model.
    """

    def __init__(self, model: Any, vocabulary: int = 2**24) -> None:
        self.model = unwrap(model)
        self.causal = find_causal(model)
        self.crossing = find_crossing(self.model)
        self.vocabulary = vocabulary
        self.has_grid = any(hasattr(each, "get_rope_index") for each in (self.model, self.model.base_model))
        self.known: dict[bytes, int] = {}
        self.numbered: list[Picture] = []
        self.first = [0]  # by number: the row of its first feature; at the end, the number of rows
        self.features: dict[int, torch.Tensor] = {}  # by number: [features, hidden size]
        # by number: what is added to the output of each of the first layers (DeepStack)
        self.deep: dict[int, Sequence[torch.Tensor]] = {}
        self.encoded = 0

    @property
    def is_known(self) -> bool:
        """Whether there is a way to give the model encoded pictures."""
        return bool(self.crossing) or hasattr(self.model, "get_image_features")

    def expand(self, items: Sequence[int | Picture]) -> list[int]:
        """The ids of a prompt of tokens and pictures.

        Raises:
            ValueError: there are too many pictures, or one lacks the grid that the model's positions need.
        """
        ids: list[int] = []
        for item in items:
            ids.extend(self.list_ids(item) if isinstance(item, Picture) else [item])
        return ids

    def list_ids(self, picture: Picture) -> list[int]:
        layout = np.array(picture.layout)
        number = self.known.get(picture.key)
        if number is None:
            if self.has_grid and picture.grid is None:
                raise ValueError("a picture without a grid, for a model whose positions depend on it")
            rows = self.first[-1] + int((layout < 0).sum())
            if self.vocabulary + rows >= LARGEST:
                raise ValueError(f"more than {len(self.numbered):,} different pictures")
            number = self.known[picture.key] = len(self.numbered)
            self.numbered.append(picture)
            self.first.append(rows)
        rows_of = self.vocabulary + self.first[number] + np.cumsum(layout < 0) - 1
        ids: list[int] = np.where(layout < 0, rows_of, layout).tolist()
        return ids

    def find(self, ids: Any) -> tuple[Ints, Ints]:
        """For each id, the number of its picture (-1: none) and its place in it."""
        rows = np.asarray(ids, dtype=np.int64) - self.vocabulary
        first = np.asarray(self.first)
        number = np.searchsorted(first, rows, side="right") - 1
        return np.where(rows < 0, -1, number), np.where(rows < 0, 0, rows - first[np.maximum(number, 0)])

    def list_numbers(self, ids: Any) -> list[int]:
        """The numbers of the pictures among ids, each once."""
        number, _ = self.find(ids)
        numbers: list[int] = np.unique(number[number >= 0]).tolist()
        return numbers

    def list_shown(self, ids: Any) -> list[Picture]:
        """The pictures of a prompt, each as often as it is shown, in order."""
        number, place = self.find(ids)
        return [self.numbered[each] for each in number[(number >= 0) & (place == 0)]]

    def group(self, numbers: Sequence[int]) -> list[list[int]]:
        """Which pictures are encoded in one call: those with inputs of the same shapes, a few at a time."""
        alike: dict[object, list[int]] = {}
        for number in numbers:
            alike.setdefault(self.numbered[number].shapes, []).append(number)
        cut = range(0, max(map(len, alike.values()), default=0), TOGETHER)
        groups = (each[begin : begin + TOGETHER] for each in alike.values() for begin in cut)
        return [group for group in groups if group]

    def encode(self, numbers: Collection[int]) -> None:
        """Make the features of these pictures that are missing.

        Raises:
            ValueError: the model makes more or fewer features than the processor has places for.
        """
        for group in self.group([number for number in numbers if number not in self.features]):
            self.encode_together(group)

    def encode_together(self, group: Sequence[int]) -> None:
        """Like ``encode``, in one call; in smaller ones if the memory does not suffice."""
        try:
            self.encode_alike(group)
            return
        except Exception as error:  # the model's own code can raise anything
            if len(group) == 1 or not is_out_of_memory(error):
                raise
        half = len(group) // 2
        self.encode_together(group[:half])
        self.encode_together(group[half:])

    def encode_alike(self, group: Sequence[int]) -> None:
        inputs = [self.numbered[number].load() for number in group]
        joined = fit({name: torch.cat([each[name] for each in inputs]) for name in inputs[0]}, self.model)
        with torch.no_grad():
            if self.crossing:
                self.features.update(zip(group, self.crossing.encode(joined), strict=True))
                self.encoded += len(group)
                return
            made = self.model.get_image_features(**joined, return_dict=True)
        found = list(getattr(made, "pooler_output", made))  # one entry a picture
        deep = list(zip(*(getattr(made, "deepstack_features", None) or ()), strict=True))
        places = [self.first[number + 1] - self.first[number] for number in group]
        sizes = [len(each) for each in found]
        if sizes != places:
            raise ValueError(f"pictures have {places} places, and the model makes {sizes} features of them")
        self.features.update(zip(group, found, strict=True))
        self.deep.update(zip(group, deep, strict=True) if deep else ())
        self.encoded += len(group)

    def drop(self, numbers: Collection[int]) -> None:
        for number in list(numbers):
            self.features.pop(number, None)
            self.deep.pop(number, None)

    @contextlib.contextmanager
    def embedded(self, ids: Ints) -> Iterator[torch.Tensor]:
        """While this lasts, the causal model reads encoded pictures; yields what it is given as input_ids.

        Args:
            ids: [B, T] of tokens and pictures.
        """
        number, place = self.find(ids)
        runs = [(each, *torch.from_numpy(np.stack(np.nonzero(number == each)))) for each in np.unique(number)]
        runs = [(each, row, at, torch.from_numpy(place)[row, at]) for each, row, at in runs if each >= 0]

        def put(_: Any, __: Any, output: Any) -> Any:
            if output.shape[:2] == ids.shape:
                for each, row, at, rows in runs:
                    output[row, at] = self.features[each][rows].to(output.device, output.dtype)
            return output

        def add(layer: int, _: Any, __: Any, output: Any) -> Any:
            for each, row, at, rows in runs:
                output[row, at] += self.deep[each][layer][rows].to(output.device, output.dtype)
            return output

        handles = [self.causal.get_input_embeddings().register_forward_hook(put)] if runs else []
        deep = max((len(self.deep.get(each, ())) for each, *_ in runs), default=0)
        for layer, module in enumerate(self.causal.get_decoder().layers[:deep] if deep else ()):
            handles.append(module.register_forward_hook(partial(add, layer)))
        try:
            yield torch.from_numpy(np.where(number < 0, ids, 0))
        finally:
            for handle in handles:
                handle.remove()

    def show(self, ids: Ints, shown: Ints) -> dict[str, torch.Tensor]:
        """The arguments with which a model with cross-attention is called, after ``encode``.

        Args:
            ids: [B, T] of tokens and pictures.
            shown: [B, T] the number of the picture that each token sees; -1: none.
        """
        assert self.crossing
        numbers = np.unique(shown[shown >= 0])
        seen = np.where(shown < 0, -1, np.searchsorted(numbers, shown))
        number, _ = self.find(ids)
        marks = np.array([each.mark for each in self.numbered] or [0])[number]
        states = [self.features[each] for each in numbers]
        given = torch.from_numpy(np.where(number < 0, ids, marks))
        return {"input_ids": given, **self.crossing.give(states, seen)}

    def place(self, tree: PrefixTree) -> Ints | None:
        """Position ids [3, N] of a tree: time, height, width; None: tokens are counted.

        A picture of h x w features takes max(h, w) positions instead of h * w: what is below its last feature
        is moved by the difference, which two additions for each such feature say.
        """
        if not self.has_grid:
            return None
        number, place = self.find(tree.tokens)
        moved = np.zeros(len(tree) + 1, np.int64)
        positions: Ints = np.repeat(tree.depth[None], 3, 0)
        for each in np.unique(number[number >= 0]):
            grid = self.numbered[each].grid
            assert grid is not None
            height, width = grid
            own = np.flatnonzero(number == each)
            inside = place[own]
            positions[:, own] += np.stack([0 * inside, inside // width, inside % width]) - inside
            last = own[inside == height * width - 1]
            np.add.at(moved, last + 1, max(grid) - height * width)
            np.add.at(moved, tree.subtree_end[last], height * width - max(grid))
        positions += moved.cumsum()[:-1]
        return positions


def find_causal(model: Any) -> Any:
    """The part of an image-text model that answers texts without pictures: mostly the model itself."""
    inner = getattr(unwrap(model), "language_model", None)
    own = inner is not None and isinstance(inner.get_output_embeddings(), torch.nn.Module)
    return inner if own else model


def fit(inputs: Inputs, model: Any) -> dict[str, torch.Tensor]:
    """Inputs on the device of a model's patch embedding and in its type."""
    patches = next((weight for weight in model.parameters() if weight.ndim >= 4), None)
    device = next(model.parameters()).device if patches is None else patches.device
    dtype = None if patches is None or not patches.is_floating_point() else patches.dtype
    return {
        name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()
    }
