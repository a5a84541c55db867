"""Models with names: how each is loaded, how one talks to it, and what its publisher says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gptalt_eval.contract.errors import GptaltError

#: Where a chat template puts a system message: in a place of its own; before the conversation; at the head of
#: the first user turn, as the model has no place for one; nowhere, as the model takes none.
SystemPlace = Literal["own", "preamble", "first_user", "nowhere"]
PLACES: Mapping[SystemPlace, str] = MappingProxyType(
    {
        "own": "in a place of its own",
        "preamble": "before the conversation",
        "first_user": "at the head of the first user turn: the model has no place for one",
        "nowhere": "nowhere: the model takes none",
    }
)
Commercial = Literal["yes", "no", "ask"]
Pictures = Literal["several", "one"]  # how many a prompt may have
MULTIMODAL = "hf-multimodal"  # lm-eval's model class for image-text models
GIB = 2**30
ALIKE = 0.2  # a model whose number of parameters differs by more than this part is another model


@dataclass(frozen=True)
class Template:
    """The chat template of a model that was published without one.

    Attributes:
        jinja: the template, as transformers' ``apply_chat_template`` renders it.
        system_place: where it puts a system message.
        stop: strings that end an answer.
        stop_token_ids: ids that end an answer.
        source: where the format is documented.
        notes: what one must know about it, in a sentence or two.
    """

    jinja: str
    system_place: SystemPlace = "own"
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    source: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Card:
    """What is published about a model, for people who choose one.

    Attributes:
        commercial: whether its licence allows commercial use; ``ask``: its publisher must be asked.
        parameters: their number.
        base: the model that it was made from; empty: none.
        tuning: the data that it was made with.
        released: the date, ``2023-03-14`` or ``2023-03``.
        editions: hub ids of other editions.
        modality: ``text``, or ``image-text`` for models that see pictures.
        pictures: how many a prompt of an image-text model may have: as many as it was made for.
        model_type: what its config.json says under this name; empty: unknown, or its loader reads more of it.
        sources: where these facts are from.
        unverified: which of them could not be checked.
    """

    commercial: Commercial
    parameters: int
    base: str = ""
    tuning: str = ""
    released: str = ""
    editions: tuple[str, ...] = ()
    modality: Literal["text", "image-text"] = "text"
    pictures: Pictures = "several"
    model_type: str = ""
    sources: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    def has_size(self, count: int | None) -> bool:
        """Whether weights can be this model's by their number; True where one of the numbers is unknown."""
        return not count or not self.parameters or abs(count / self.parameters - 1) <= ALIKE

    def measure_weights(self, bits: int) -> float:
        """The size of the weights in GiB at a number of bits each."""
        return self.parameters * bits / 8 / GIB


@dataclass(frozen=True)
class Loader:
    """Loads models whose files transformers cannot load itself, without code from their folder.

    Attributes:
        name: what a model's YAML calls it.
        summary: one line.
        make_class: returns the lm-eval model class, a subclass of ``HFLM``, whose argument ``pretrained`` is
            a local folder; imports what it needs when called.
        identify: the name of the model in the catalogue that a config.json describes; None: it is not one of
            this loader's, or it does not tell which.
        check: finds all that is wrong with a folder's files from names and headers alone; receives the folder
            and the model's arguments.
        converts: whether ``gptalt-eval models convert`` writes the named model in a format that transformers
            loads itself; only then can its weights be quantized.
        repairs: what it does right for a folder (with its config.json) that transformers loads with faults,
            as the end of a sentence that begins with "this loader"; empty: nothing. Such a folder is loaded
            with it, whatever it is called.
    """

    name: str
    summary: str
    make_class: Callable[[], type[Any]]
    identify: Callable[[Mapping[str, Any]], str | None]
    check: Callable[[Path, Mapping[str, Any]], Iterable[GptaltError]]
    converts: Callable[[str], bool] = lambda name: False
    repairs: Callable[[Path, Mapping[str, Any]], str] = lambda folder, config: ""


@dataclass(frozen=True)
class Model:
    """A model with a name.

    Attributes:
        name: what the user types after ``--model``.
        summary: one line for listings.
        licence: the licence of the weights, as their publisher states it.
        home: where the model is published.
        backend: the lm-eval model class that loads it (``hf`` for transformers).
        args: its lm-eval ``--model_args``; the user's own override them.
        fetch: downloads the weights if they are not simply a hub id, and returns more args. Called after
            everything else about the request was checked.
        check: checks, in well under a second, that what was downloaded before is intact; raises GptaltError.
        create: builds an lm-eval ``LM`` itself, for a model that no backend can load. Called with the
            merged args; imports what it needs when called.
        chat_template: whether its tokenizer has one; None if that is unknown before loading.
        languages: ISO 639-1 codes.
        parameters: number of parameters, in words (``135M``).
        system_instruction: its publisher's system message, for the prompt style ``system``.
        aliases: other names for it.
        template: its chat template, if its tokenizer has none.
        loader: loads it, if transformers cannot.
        card: what is published about it; None: unknown.
    """

    name: str
    summary: str
    licence: str
    home: str
    backend: str = "hf"
    args: Mapping[str, Any] = field(default_factory=dict)
    fetch: Callable[[], Mapping[str, Any]] | None = None
    check: Callable[[], None] | None = None
    create: Callable[[Mapping[str, Any]], Any] | None = None
    chat_template: bool | None = None
    languages: tuple[str, ...] = ()
    parameters: str = ""
    system_instruction: str | None = None
    aliases: tuple[str, ...] = ()
    template: Template | None = None
    loader: Loader | None = None
    card: Card | None = None

    @property
    def sees_pictures(self) -> bool:
        """Whether it is an image-text model, by its card or by what loads it."""
        is_listed = self.card is not None and self.card.modality == "image-text"
        return is_listed or self.backend == MULTIMODAL

    @property
    def is_loadable(self) -> bool:
        """Whether anything loads it; of an image-text model, transformers' class for texts does not."""
        is_known = self.loader is not None or self.create is not None
        return is_known or not self.sees_pictures or self.backend == MULTIMODAL
