"""Which models of the catalogue meet a user's needs, by what is published about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.models import GIB, Model
from gptalt_eval.planning.memory import fits, read_size

#: bits of a weight, what the precision is called, and the --model_args that load it
PRECISIONS = (
    (16, "float16", "dtype=float16"),
    (8, "8-bit", "load_in_8bit=true"),
    (4, "4-bit", "load_in_4bit=true"),
)


@dataclass(frozen=True)
class Needs:
    """What a model must be.

    Attributes:
        language: ISO 639-1 code; empty: any.
        memory: bytes on one device; None: any.
        commercial: whether commercial use must be allowed.
    """

    language: str = ""
    memory: float | None = None
    commercial: bool = False


@dataclass(frozen=True)
class Candidate:
    """A model that meets the needs, or what it lacks.

    Attributes:
        model: the model.
        bits: of a weight, in the finest precision that fits; 0: none does.
        lacks: why it does not meet the needs.
    """

    model: Model
    bits: int = 16
    lacks: tuple[str, ...] = field(default=())

    @property
    def precision(self) -> str:
        return next((name for bits, name, _ in PRECISIONS if bits == self.bits), "")

    @property
    def size(self) -> float | None:
        """GiB of the weights in that precision; None: their number is unknown."""
        return self.model.card.measure_weights(self.bits) if self.model.card and self.bits else None

    @property
    def argument(self) -> str:
        """The ``--model_args`` for that precision; empty: none is needed.

        A model with a loader is converted before, into ``FOLDER``.
        """
        if self.bits == 16:
            return ""
        setting = next(text for bits, _, text in PRECISIONS if bits == self.bits)
        return f"pretrained=FOLDER,{setting}" if self.model.loader else setting


def read_memory(text: str) -> float:
    """``16GB`` or ``15.9GiB`` in bytes.

    Raises:
        GptaltError: it is not an amount of memory.
    """
    size = read_size(text)
    if not size:
        raise GptaltError(f"--memory {text}: that is not an amount of memory.", "Write it like this: 16GB")
    return size


def check_language(language: str, models: Iterable[Model]) -> None:
    """Check that some model has a language.

    Raises:
        GptaltError: none has; names the languages that there are.
    """
    known = sorted({code for model in models for code in model.languages})
    if language and language not in known:
        hint = did_you_mean(language, known) or f"Languages of the models here: {', '.join(known)}."
        raise GptaltError(f"--language {language}: no model here has this language.", hint)


def find_candidates(models: Sequence[Model], needs: Needs) -> list[Candidate]:
    """Every model with what it lacks, if anything; in the order given."""
    return [consider(model, needs) for model in models]


def consider(model: Model, needs: Needs) -> Candidate:
    card = model.card
    if card is None:
        return Candidate(model, 0, ("too little is known about it",))
    lacks = []
    if needs.language and needs.language not in model.languages:
        lacks.append(f"not {needs.language}")
    if needs.commercial and card.commercial != "yes":
        asked = card.commercial == "ask"
        lacks.append("commercial use only if its publisher agrees" if asked else "no commercial use")
    if model.sees_pictures:
        lacks.append("for questions with pictures")
    possible = list_precisions(model)
    fitting = [bits for bits in possible if needs.memory is None or is_held(model, bits, needs.memory)]
    if not fitting:
        finest = min(possible)
        width = "in 16-bit, and it cannot be quantized" if finest == 16 else f"even in {finest}-bit"
        lacks.append(f"too large ({card.measure_weights(finest):.1f} GiB {width})")
    return Candidate(model, max(fitting, default=0), tuple(lacks))


def list_precisions(model: Model) -> list[int]:
    """Bits of a weight with which a model can be loaded: transformers quantizes what it loads itself."""
    quantizes = model.loader is None or model.loader.converts(model.name)
    return [bits for bits, *_ in PRECISIONS if bits == 16 or quantizes]


def is_held(model: Model, bits: int, memory: float) -> bool:
    """Whether a model's weights and some room for activations fit into a number of bytes."""
    assert model.card is not None
    return fits(model.card.measure_weights(bits) * GIB, memory)
