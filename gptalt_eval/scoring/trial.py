"""Rows of tokens that a model is asked about alone, and how far an engine's answers are from its own."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from gptalt_eval.scoring.engine import Engine, find_context_end, unwrap
from gptalt_eval.scoring.memory import Memory
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.residual import HALF
from gptalt_eval.scoring.rounding import rounding_more
from gptalt_eval.scoring.tree import Ints, Query

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
LONGEST = 24  # tokens of a short row
SHORT = 256  # tokens of a row whose logits are all read
SHARED = 8  # tokens with which all rows begin
TRIED = 6  # rows that show how far rounding moves answers
NOISE, MOST = 3, 0.25  # how many times what rounding does is tolerated, and never more than this


@dataclass(frozen=True)
class Trial:
    """Queries, and what the model alone answers.

    Attributes:
        queries: [Q] several of each row.
        expected: [Q] log-probabilities.
    """

    queries: list[Query]
    expected: np.ndarray

    def measure(self, found: Sequence[float], parts: int = 1) -> float:
        """Root-mean-square difference from other answers to the queries, in standard deviations.

        Args:
            found: [Q] the other answers.
            parts: number of equal parts in which they are compared; the largest difference counts.
        """
        spread = float(np.std(self.expected)) or 1.0
        differences = (np.array(found) - self.expected).reshape(parts, -1)
        return float(np.sqrt(np.mean(differences**2, axis=1)).max()) / spread


class Alone:
    """A model that is asked about one row at a time.

    Args:
        model: a causal transformers model, in evaluation mode; it was not called before.
        autocast: makes the context in which it is called.
        softmax_dtype: type of the log-softmax.

    Attributes:
        pictures: those of its rows; None: the rows are texts.
    """

    pictures: Pictures | None = None

    def __init__(self, model: Any, autocast: Autocast, softmax_dtype: torch.dtype) -> None:
        self.model = model
        self.autocast = autocast
        self.softmax_dtype = softmax_dtype
        self.memory = Memory(unwrap(model))
        self.can_keep = "logits_to_keep" in inspect.signature(unwrap(model).forward).parameters

    def ask_instead(self, model: Any) -> Alone:
        """The same for another model of this kind, in float32."""
        return Alone(model, contextlib.nullcontext, torch.float32)

    def ask(self, rows: Sequence[Ints], together: bool = False) -> Trial:
        """Ask how likely the same few tokens are after each row's last positions.

        The same at each position, so that the log-probabilities vary.

        Args:
            rows: the rows.
            together: all in one batch, padded on the right as lm-eval does it.
        """
        targets = [int(row[place]) for row, place in zip(rows, (3, -1, -1, -1), strict=False)]
        count = min(map(len, rows)) - 2
        queries = [Query(row, [target] * count) for row in rows for target in targets]
        batches = [rows] if together else [[row] for row in rows]
        return Trial(queries, np.concatenate([self.score(batch, targets, count) for batch in batches]))

    def score(self, rows: Sequence[Ints], targets: Sequence[int], count: int) -> np.ndarray:
        """For each row and target, the sum of log-probabilities after the row's last ``count`` positions."""
        logprobs = self.read(rows, count)[..., list(targets)]
        return np.asarray(logprobs.double().sum(1).flatten().cpu().numpy())

    def read(self, rows: Sequence[Ints], count: int) -> torch.Tensor:
        """Log-probabilities [rows, count, vocabulary] after the last positions of rows that are one batch.

        All logits of long rows can take more memory than the run. Those of short rows are all read, to find
        out whether the model computes some of them rightly.
        """
        device = self.model.get_input_embeddings().weight.device
        padded = pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True).to(device)
        with torch.no_grad(), self.autocast(), self.memory.kept_fresh():
            kept = padded.shape[1] - min(map(len, rows)) + count
            few = {"logits_to_keep": kept} if self.can_keep and padded.shape[1] > SHORT else {}
            logits = self.model(padded, **few).logits
        left_out = padded.shape[1] - logits.shape[1]
        ends = [len(row) - left_out for row in rows]
        parts = [logits[place, end - count : end] for place, end in enumerate(ends)]
        return torch.stack(parts).to(self.softmax_dtype).log_softmax(-1)

    def answer(self, query: Query) -> float:
        """The log-probability of a query's targets."""
        return self.answer_greedy(query)[0]

    def answer_greedy(self, query: Query) -> tuple[float, bool]:
        """The log-probability of a query's targets, and whether each is the most likely token."""
        logprobs = self.read([np.asarray(query.inputs)], len(query.targets))[0]
        places = torch.arange(len(query.targets), device=logprobs.device)
        targets = torch.tensor(list(query.targets), device=logprobs.device)
        likely = bool((logprobs.argmax(-1) == targets).all())
        return float(logprobs[places, targets].double().sum()), likely

    def predict(self, rows: Sequence[Ints]) -> torch.Tensor:
        """The logits [rows, vocabulary] of the tokens that lm-eval generates after rows in one batch."""
        device = self.model.get_input_embeddings().weight.device
        longest = max(map(len, rows))
        padded = [np.pad(row, (longest - len(row), 0)) for row in rows]
        mask = [np.arange(longest) >= longest - len(row) for row in rows]
        settings = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 0, "use_cache": True}
        with torch.no_grad(), self.autocast(), self.memory.kept_fresh():
            output = self.model.generate(
                input_ids=torch.from_numpy(np.stack(padded)).to(device),
                attention_mask=torch.from_numpy(np.stack(mask).astype(np.int64)).to(device),
                output_logits=True, return_dict_in_generate=True, **settings,
            )  # fmt: skip
        logits: torch.Tensor = output.logits[0].float()
        return logits

    @property
    def usual_tolerance(self) -> float:
        """The largest difference that rounding explains in most models, as in ``Trial.measure``."""
        return find_tolerance(find_precision(self.model, self.autocast))

    @cached_property
    def tolerance(self) -> float:
        """The largest difference that rounding explains in this model, as in ``Trial.measure``.

        In half precision, rounding can move the answers of a deep and wide model further than most models'.
        """
        usual = self.usual_tolerance
        if find_precision(self.model, self.autocast) not in HALF:
            return usual
        try:
            rows = make_rows(self.model, [LONGEST] * TRIED)
            trial = self.ask(rows)
            with rounding_more(unwrap(self.model)) as disturbed:
                moved = trial.measure(self.ask(rows).expected.tolist()) if disturbed else 0.0
        except Exception:  # the model's own code can raise anything
            return usual
        return max(usual, min(MOST, NOISE * moved)) if np.isfinite(moved) else usual


def make_rows(model: Any, lengths: Sequence[int]) -> list[Ints]:
    """Rows that begin alike; the last two share twice as much with each other.

    If something ends the context of a prefix-LM, it is in each row, and the last two have the same context.
    """
    generator = np.random.default_rng(0)
    vocabulary = unwrap(model).config.get_text_config().vocab_size
    rows = [generator.integers(5, vocabulary, length) for length in lengths]
    shared = min(SHARED, min(lengths) // 3)
    for row in rows:
        row[:shared] = rows[0][:shared]
    rows[-1][: 2 * shared] = rows[-2][: 2 * shared]
    end = find_context_end(model)
    if end is not None:
        for row in rows:
            row[row == end] = end - 1 if end else 1
            row[2 * shared - 2] = end
    return rows


def answer_all(engine: Engine, queries: Sequence[Query]) -> list[float]:
    """An engine's answers, in the order of the queries."""
    found = {answer.query: answer.logprob for batch in engine.score(queries) for answer in batch}
    return [found[number] for number in range(len(queries))]


def find_precision(model: Any, autocast: Autocast) -> torch.dtype:
    """The type in which a model's matrix products are computed."""
    kind = model.get_input_embeddings().weight.device.type
    with autocast():
        mixed = torch.is_autocast_enabled(kind)
        precision: torch.dtype = torch.get_autocast_dtype(kind) if mixed else model.dtype
    return precision


def find_tolerance(dtype: torch.dtype) -> float:
    """The largest difference that rounding can explain."""
    return 1e-3 if torch.finfo(dtype).bits >= 32 else 5e-2


def describe(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:100]}" if text else type(error).__name__
