"""Rows with pictures that an image-text model is asked about alone, by its own full forward."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.memory import Memory
from gptalt_eval.scoring.pictures import Picture, Pictures, fit
from gptalt_eval.scoring.tree import Ints, Query
from gptalt_eval.scoring.trial import SHARED, SHORT, Alone, Autocast, Trial

SCORED = 6  # tokens at the end of a row with pictures
TARGETS = 4  # that are tried after each of them


class Reader(Protocol):
    """What is needed of a ``PictureReader``."""

    def make_inputs(
        self, ids: Sequence[int], pictures: Sequence[Picture], suffix: int = 0
    ) -> dict[str, torch.Tensor]: ...

    def sample(self, seed: int) -> Picture: ...


class AlonePictures(Alone):
    """An image-text model that is asked about one row at a time, with all its pictures.

    Args:
        model: the whole model, in evaluation mode; it was not called before.
        autocast, softmax_dtype: see ``Alone``.
        pictures: those of the rows.
        reader: makes the arguments of the model's forward.

    Attributes:
        model: the part that answers texts without pictures.
    """

    pictures: Pictures

    def __init__(
        self, model: Any, autocast: Autocast, softmax_dtype: torch.dtype, pictures: Pictures, reader: Reader
    ) -> None:
        super().__init__(pictures.causal, autocast, softmax_dtype)
        self.whole = unwrap(model)
        self.memory = Memory(self.whole)
        self.pictures = pictures
        self.reader = reader

    def ask_instead(self, model: Any) -> AlonePictures:
        pictures = Pictures(model, self.pictures.vocabulary)
        return AlonePictures(model, contextlib.nullcontext, torch.float32, pictures, self.reader)

    def make_inputs(self, row: Ints, suffix: int = 0) -> dict[str, torch.Tensor]:
        """The arguments with which the whole model takes a row; ``suffix`` of its ids are an answer's."""
        number, _ = self.pictures.find(row)
        ids = np.where(number < 0, row, -1).tolist()
        return fit(self.reader.make_inputs(ids, self.pictures.list_shown(row), suffix), self.whole)

    def choose_part(self, row: Ints) -> Any:
        """The part of the model that takes a row: some models refuse texts as a whole."""
        own = unwrap(self.model)
        return self.whole if own is self.whole or self.pictures.list_numbers(row) else own

    def read(self, rows: Sequence[Ints], count: int) -> torch.Tensor:
        if len(rows) > 1:  # as lm-eval pads texts
            return super().read(rows, count)
        [row] = rows
        inputs, part = self.make_inputs(row, count - 1), self.choose_part(row)
        keeps = "logits_to_keep" in inspect.signature(part.forward).parameters
        few = {"logits_to_keep": count} if keeps and len(row) > SHORT else {}
        with torch.no_grad(), self.autocast(), self.memory.kept_fresh():
            self.memory.restore()
            logits = part(**inputs, use_cache=False, **few).logits[:, -count:]
        return logits.to(self.softmax_dtype).log_softmax(-1)

    def generate(self, row: Ints, **settings: Any) -> list[int]:
        """The tokens that the whole model generates after a row."""
        inputs = self.make_inputs(row)
        with torch.no_grad(), self.autocast(), self.memory.kept_fresh():
            self.memory.restore()
            made: list[int] = self.choose_part(row).generate(**inputs, **settings)[0].tolist()
        # models that pass on embeddings return only what they generate
        repeats = made[: len(row)] == inputs["input_ids"][0].tolist()
        return made[len(row) :] if repeats else made

    def ask_pictures(self) -> Trial:
        """Ask how likely a few tokens are after rows with two pictures of noise."""
        rows = list(self.make_rows())
        targets = rows[0][: SHARED : SHARED // TARGETS].tolist()
        queries = [Query(row, [target] * SCORED) for row in rows for target in targets]
        found = [self.score([row], targets, SCORED) for row in rows]
        return Trial(queries, np.concatenate(found))

    def make_rows(self) -> Iterator[Ints]:
        """Rows that begin with the same text and picture; what follows is different."""
        one, other = self.reader.sample(0), self.reader.sample(1)
        config = self.model.config.get_text_config()
        special = set(list_special(self.whole.config)) | {*one.layout, *other.layout}
        words = np.setdiff1d(np.arange(5, config.vocab_size), list(special))
        words = np.random.default_rng(0).permutation(words)[: 4 * SHARED].tolist()
        for begin, second in ((SHARED, other), (2 * SHARED, one)):
            middle, end = words[begin : begin + 3], words[begin + 3 : begin + 3 + SHARED]
            yield np.array(self.pictures.expand([*words[:SHARED], one, *middle, second, *end]))


def list_special(config: Any) -> Iterator[int]:
    """The ids of which a config says that they stand for something else than text."""
    for name, value in config.to_dict().items():
        if name.endswith(("_token_id", "_token_index")) and isinstance(value, int):
            yield value
