"""A backend that encodes and checks requests as it does with weights, and leaves the answers to others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from gptalt_eval.scoring import stock
from gptalt_eval.scoring.probe import Choice

CPU_ONLY = "ACCELERATE_USE_CPU"  # so that no memory of a GPU is taken


def drop_weights(backend: type[Any]) -> type[Any]:
    """The backend without weights; its tokenizer, context length and templates are as with them."""
    return type(f"Weightless{backend.__name__}", (WeightlessLM, backend), {})


class Shell(torch.nn.Module):  # type: ignore[misc]
    """Stands for a model of which only the configuration is needed."""

    def __init__(self, config: Any, name: str) -> None:
        super().__init__()
        self.config = config
        self.name_or_path = name

    def tie_weights(self) -> None:
        """As of transformers; there are none."""


class WeightlessLM:
    """Changes where answers come from; the backend, an ``HFLM``, is the next base class.

    Attributes:
        recall: gives the answers of others to requests of a kind.
    """

    AUTO_MODEL_CLASS: Any
    config: Any
    recall: Callable[[str, Sequence[Any]], list[Any]]

    def __init__(self, *args: Any, **settings: Any) -> None:
        with using_no_gpu():
            super().__init__(*args, **settings)

    def _create_model(self, pretrained: str, **settings: Any) -> None:
        if not getattr(self, "MULTIMODAL", False):
            self._model = Shell(self.config, pretrained)
            return
        with torch.device("meta"):  # how pictures are laid out among the tokens shows in the model's parts
            # a backend with a model of its own makes it itself
            make = getattr(self, "make_model", partial(stock.make_model, self.AUTO_MODEL_CLASS))
            self._model = make(self.config)

    def count_parameters(self) -> int:
        """How many parameters the model has by its configuration; 0: only its own code could say."""
        try:
            with torch.device("meta"):  # takes neither memory nor time
                made = stock.make_model(self.AUTO_MODEL_CLASS, self.config, trust_remote_code=False)
        except Exception:
            return 0
        return sum(each.numel() for each in made.parameters())

    def choose(self) -> Choice:
        """Nothing is tried out: the workers choose."""
        return Choice(None)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
        return self.recall("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
        return self.recall("loglikelihood_rolling", requests)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
        return self.recall("generate_until", requests)

    def finds_nan(self, prompt: str) -> bool:
        """The workers look for that."""
        return False


@contextlib.contextmanager
def using_no_gpu() -> Iterator[None]:
    """While the block lasts, accelerate takes no GPU."""
    before = os.environ.get(CPU_ONLY)
    os.environ[CPU_ONLY] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[CPU_ONLY]
        else:
            os.environ[CPU_ONLY] = before
