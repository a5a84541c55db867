"""Tries out how a model can score a prefix tree.

Nothing is derived from a model's name: a few short branches are scored one at a time and with each available
method, and the first method whose answers agree is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from gptalt_eval.scoring.apart import answer_apart
from gptalt_eval.scoring.branches import BranchEngine
from gptalt_eval.scoring.contexts import ContextEngine
from gptalt_eval.scoring.engine import Engine, find_context_end, is_out_of_memory, unwrap
from gptalt_eval.scoring.exact import make_exact
from gptalt_eval.scoring.lengths import STRICT, find_window
from gptalt_eval.scoring.packed import PackedEngine, Way
from gptalt_eval.scoring.picture_trial import TARGETS, AlonePictures
from gptalt_eval.scoring.residual import can_widen
from gptalt_eval.scoring.states import HABITS, StateEngine
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import (
    LONGEST,
    SHARED,
    Alone,
    Trial,
    answer_all,
    describe,
    make_rows,
)

TOKENS = 2048  # in a chunk on devices that do not report free memory: CPUs gain nothing from more
LOGITS = 16 * 2**20  # bytes of logits that are computed at once on such devices
MAX_TOKENS = 16384
CHUNK = 100  # tokens in a chunk while engines are tried out
ROWS = 6  # that are tried out
# by how much each is shorter, where it matters which lengths are computed together
UNEVEN, TWINS = (0, 0, 1, 2, 0, 0), (0, 0, 0, 0, 1, 1)
BOTH_WAYS = "mask, pictures both ways"
NEAR = 300  # places between a row and its beginning
ASTRIDE = 30  # so that the place at which a power of two is reached is within a row


@dataclass(frozen=True)
class Choice:
    """How a model is scored.

    Attributes:
        engine: the engine; None: lm-eval's own scorer.
        reason: why not with the tree, or why not with the first method; empty if it is.
    """

    engine: Engine | None
    reason: str = ""


def choose_engine(alone: Alone) -> Choice:
    """The engine for a causal model; if it is ``AlonePictures``, one that answers rows with pictures too."""
    model = alone.model
    length = min(LONGEST, find_window(model.config.get_text_config()) or LONGEST)
    if length < SHARED:
        return Choice(None, "its attention window is only a few tokens long")
    if isinstance(alone, AlonePictures) and not alone.pictures.is_known:
        return Choice(None, "its pictures are seen in a way that is not known here, and not among its tokens")
    try:
        trials = [alone.ask(make_rows(model, [length] * ROWS))]
        shown = alone.ask_pictures() if isinstance(alone, AlonePictures) else None
    except Exception as error:  # remote code can raise anything; lm-eval will show it if it matters
        return Choice(None, f"the probe failed ({describe(error)})")
    reasons: dict[str, str] = {}  # why not, by method
    exact = Exact(alone, length)
    for number, (way, make) in enumerate(list_ways(alone)):
        if fault := exact.find_fault(number, way):
            reasons[way] = fault
            continue
        for wide in (True, False) if can_widen(model, alone.autocast) else (False,):
            allowed = alone.tolerance
            try:
                engine: Engine = make(CHUNK, 64, wide=wide)
                if isinstance(engine, StateEngine):
                    # without its state, an answer can be off by little
                    allowed *= STRICT.get(model.dtype, 1.0)
                    trials = trials if len(trials) > 1 else [*trials, *ask_uneven(alone, length)]
                difference = try_out(engine, trials, allowed)
                reason = describe_difference(difference)
                if shown and difference <= allowed:
                    difference = shown.measure(
                        answer_all(engine, shown.queries), len(shown.queries) // TARGETS
                    )
                    reason = f"with pictures, {describe_difference(difference)}"
            except Exception as error:
                difference, reason = float("inf"), describe(error)
            if alone.usual_tolerance < difference <= allowed and not exact.is_right(number):
                # only what is right in float32 may differ by more than rounding does in most models
                difference = float("inf")
            if difference <= allowed:
                make = partial(make, wide=wide)
                return Choice(make(*find_budget(model, make)), join_reasons(reasons))
        reasons[way] = reason
    return Choice(None, join_reasons(reasons))


class Exact:
    """Tries out in float32 how a model in half precision continues after a state, and how it sees pictures.

    In rows as short as those of the trials, what is a little wrong is off by less than rounding.

    Args:
        alone: the model.
        length: tokens of a row.
    """

    def __init__(self, alone: Alone, length: int) -> None:
        self.alone = alone
        self.length = length

    @cached_property
    def made(self) -> Alone | None:
        return make_exact(self.alone)

    @cached_property
    def trials(self) -> list[Trial]:
        assert self.made is not None
        if isinstance(self.made, AlonePictures):
            return [self.made.ask_pictures()]
        rows = make_rows(self.made.model, [self.length] * ROWS)
        return [self.made.ask(rows), *ask_uneven(self.made, self.length)]

    def find_fault(self, number: int, way: str) -> str:
        """What is wrong with a method; empty: nothing, or that cannot be tried so.

        Args:
            number: which of ``list_ways``.
            way: its name.
        """
        continues = way in (StateEngine.way, ContextEngine.way)
        if not (continues or self.alone.pictures):
            return ""
        return self.try_in_float32(number) or ""

    def is_right(self, number: int) -> bool:
        """Whether a method of ``list_ways`` was tried out in float32 and its answers are right."""
        return self.try_in_float32(number) == ""

    def try_in_float32(self, number: int) -> str | None:
        """What is wrong with a method; None: it cannot be tried."""
        if self.made is None:
            return None
        try:
            trials = self.trials
        except Exception:  # the model's own code can raise anything
            return None
        make = list(list_ways(self.made))[number][1]
        allowed = self.made.tolerance * STRICT[torch.float32]
        try:
            engine: Engine = make(CHUNK, 64)
            if self.alone.pictures:
                difference = measure_shown(engine, trials[0])
            else:
                difference = try_out(engine, trials, allowed)
        except Exception as error:
            return describe(error)
        return "" if difference <= allowed else f"in float32, {describe_difference(difference)}"


def measure_shown(engine: Engine, trial: Trial) -> float:
    """How far an engine's answers about pictures are from the right ones."""
    return trial.measure(answer_all(engine, trial.queries), len(trial.queries) // TARGETS)


def describe_difference(difference: float) -> str:
    return f"answers differ by {difference:.2%} of their standard deviation"


def join_reasons(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{way}: {reason}" for way, reason in reasons.items())


def ask_uneven(alone: Alone, length: int) -> list[Trial]:
    """Trials with rows of several lengths up to this one, and with rows that differ only at their end.

    So one token has a call of its own, in several rows and in one: some models err only then.
    """
    twins = make_rows(alone.model, [length - less for less in TWINS])
    for row in twins[2:4]:
        row[:-2] = twins[0][:-2]
    for one, other in zip(twins[::2], twins[1::2], strict=True):
        other[:-1] = one[:-1]
    return [alone.ask(make_rows(alone.model, [length - less for less in UNEVEN])), alone.ask(twins)]


def try_out(engine: Engine, trials: Sequence[Trial], allowed: float) -> float:
    """How far an engine's answers are from the right ones; see ``Trial.measure``.

    In a packed row, first with a few hundred places between the rows and their beginning: a table of
    positions is longer than that, and looking up what it does not have would end a GPU's process.
    """
    trial = trials[0]
    if isinstance(engine, StateEngine):
        engine.call, engine.step = 0, 1
        return max(each.measure(answer_all(engine, each.queries), ROWS) for each in trials)
    if not isinstance(engine, PackedEngine):
        if isinstance(engine, BranchEngine):
            engine.call = 0  # so that even rows this short share their prefix
        return trial.measure(answer_all(engine, trial.queries), ROWS)
    shared = len(trial.queries[0].inputs) // 3
    far = 2 * (MAX_TOKENS if engine.device.type == "cuda" else TOKENS) - ASTRIDE
    near = trial.measure(answer_apart(engine, trial.queries, shared, NEAR, room=far), ROWS)
    if not near <= allowed:
        return near
    return trial.measure(answer_apart(engine, trial.queries, shared, far, room=far), ROWS)


def list_ways(alone: Alone) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Methods and engine factories, fastest first; each factory takes tokens in a call and rows of logits."""
    model = alone.model
    kind = model.get_input_embeddings().weight.device.type
    own: list[Way] = ["flex"] if kind == "cuda" else ["pieces"] if kind == "cpu" else []
    if not getattr(unwrap(model), "_can_set_attn_implementation", bool)():
        own = []
    settings = {"autocast": alone.autocast, "softmax_dtype": alone.softmax_dtype}
    ways: list[Way] = [*own, "mask"]
    for way in ways:
        yield way, partial(PackedEngine, model, way, pictures=alone.pictures, **settings)
    if alone.pictures:
        yield (
            BOTH_WAYS,
            partial(PackedEngine, model, "mask", pictures=alone.pictures, both_ways=True, **settings),
        )
        return
    yield BranchEngine.way, partial(BranchEngine, model, **settings)
    for habit in HABITS:
        yield StateEngine.way, partial(StateEngine, model, habit=habit, **settings)
    if (end := find_context_end(model)) is not None:
        yield ContextEngine.way, partial(ContextEngine, model, end=end, **settings)


def find_budget(model: Any, make: Callable[[int, int], Any]) -> tuple[int, int]:
    """Tokens in a call, and rows of logits at once, that fit into memory."""
    config = model.config.get_text_config()
    device = model.get_input_embeddings().weight.device
    row = config.vocab_size * torch.finfo(model.dtype).bits // 8
    if device.type != "cuda":
        return TOKENS, max(16, LOGITS // row)
    tokens = MAX_TOKENS
    longest = int(getattr(config, "max_position_embeddings", None) or 2048)
    while tokens > 128:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        logits = max(16, min(tokens, free // 8 // row))
        try:
            # the worst case: the keys of a row as long as the context in the cache, then a full chunk;
            # no row is longer than the context, as a place beyond a table of positions would end the process
            branch = min(64, longest // 2)
            shared = min(longest, tokens) - branch
            ids = [5 + number % (config.vocab_size - 6) for number in range(shared + tokens)]
            if (end := find_context_end(model)) is not None:
                ids[shared - 1] = end
            rows = [ids[:shared] + ids[place : place + branch] for place in range(0, tokens, branch)]
            for _ in make(tokens, logits).score([Query(each, each[-branch:]) for each in rows]):
                pass
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            if torch.cuda.mem_get_info(device)[0] > free // 10:
                return tokens, logits
        tokens //= 2
    return tokens, 64
