"""lm-eval's image-text models with log-likelihoods scored as a prefix tree over text and pictures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.hf_vlms import HFMultimodalLM
from lm_eval.models.huggingface import HFLM

from gptalt_eval.scoring import stock
from gptalt_eval.scoring.backend import TreeLM
from gptalt_eval.scoring.generate import Style
from gptalt_eval.scoring.guarded import Encoded, Scored
from gptalt_eval.scoring.picture_chats import PictureChats
from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.pictures import Picture, Pictures
from gptalt_eval.scoring.probe import Choice
from gptalt_eval.scoring.processors import PictureReader, Unreadable
from gptalt_eval.scoring.tree import Query

MANY = 999  # pictures: lm-eval's default, for any number
Arguments = tuple[Any, ...]  # of a request: context, continuation or settings, and maybe pictures


class Visual(Protocol):
    """A picture of a request: equal for equal files, and not opened yet."""

    def __hash__(self) -> int: ...

    def open(self) -> Any:
        """The picture, as Pillow has it."""


class PictureTreeLM(TreeLM):
    """Changes how the backend scores and generates; the backend, which sees pictures, is the next base class.

    A request's last argument is ``{"visual": pictures}``, one for each place in its context. Among the ids of
    a prompt, a picture is a run of ids beyond the vocabulary, equal for equal pictures.

    Attributes:
        opens_pictures: its requests have pictures that are not opened yet.
        MULTIMODAL: as in lm-eval.
    """

    opens_pictures = True
    MULTIMODAL = True
    shares = True
    scorer_name = "The model's own forward, asked about one request at a time,"
    alone: AlonePictures

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any, **settings: Any) -> None:
        """As lm-eval's; without the part for videos where only that is missing."""
        try:
            made = super()._create_tokenizer(pretrained, tokenizer, **settings)
        except ImportError as error:
            made = Parts.load(str(tokenizer or pretrained), error)
        if made is not None:  # lm-eval's returns the processor of ``tokenizer=``, and does not keep it
            self.processor, self.tokenizer = made, made.tokenizer

    def make_alone(self, softmax_dtype: torch.dtype) -> AlonePictures:
        self.reader = PictureReader(self)
        self.pictures = Pictures(self.model)
        self.seen: dict[tuple[Visual, str], Picture] = {}
        return AlonePictures(self.model, self.autocast, softmax_dtype, self.pictures, self.reader)

    def choose(self) -> Choice:
        return super().choose() if self.shares else Choice(None, "--scorer stock")

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Scored]:
        if all(len(request.args) < 3 for request in requests):
            return super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        answers = dict(pair for batch in self.stream_loglikelihood(requests) for pair in batch)
        for place, request in enumerate(requests):
            if place not in answers:
                raise ValueError(self.unscorable[request.args])
        return [answers[place] for place in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        if self.choice.engine is not None:
            return super().loglikelihood_rolling(requests, disable_tqdm)
        # of texts alone; the backend's own method takes no second argument
        answers: list[Any] = HFLM.loglikelihood_rolling(self, requests, disable_tqdm)
        return answers

    def encode(self, context: str, continuation: str, shown: Mapping[str, Any] | None = None) -> Encoded:
        """A request's tokens and pictures; an answer without its question has none."""
        if shown is None or not context:
            arguments, before, after = super().encode(context, continuation)
            return (arguments if shown is None else (context, continuation, shown)), before, after
        asked = (context, continuation, shown)
        read, scored = self.reader.encode_pair(context, continuation)
        row, reason = self.show(read, scored, shown["visual"], context)
        if reason:
            self.unscorable[asked] = reason
            return asked, [], []
        return asked, row, [each for each in scored if each is not None]

    def show(
        self,
        read: Sequence[int | None],
        scored: Sequence[int | None],
        visuals: Sequence[Visual],
        context: str,
    ) -> tuple[list[int], str]:
        """The ids of a prompt, with those of a picture where there is None; or why it cannot be shown."""
        if reason := explain_places(read, scored, visuals):
            return [], reason
        if len(visuals) > self.most:
            whose = "the model's processor" if self.reader.looks_around else "--model_args max_images"
            return [], f"its prompt has {len(visuals)} pictures, and may have {self.most} by {whose}"
        texts = self.reader.split(context)
        try:
            shown = iter([self.read(visual, text) for visual, text in zip(visuals, texts[1:], strict=True)])
        except Unreadable as refusal:
            return [], str(refusal)
        return self.pictures.expand([next(shown) if each is None else each for each in read]), ""

    def read(self, visual: Visual, text: str) -> Picture:
        """A picture, as the model's processor makes it; some encode it for the text that follows it."""
        text = text if self.reader.reads_text else ""
        if (visual, text) not in self.seen:
            picture = self.reader.read(visual.open(), text)

            def load() -> Mapping[str, Any]:
                return self.reader.read(visual.open(), text).load()

            # processed again when it is encoded: kept until then, all pictures of a run would fill the memory
            self.seen[visual, text] = replace(picture, load=load)
        return self.seen[visual, text]

    def check(self, requests: Sequence[Encoded]) -> list[int]:
        """As for texts, but no picture is cut: what does not fit cannot be scored."""
        known = {each[0]: self.unscorable[each[0]] for each in requests if each[0] in self.unscorable}
        faulty = super().check(requests)
        self.unscorable |= known
        for place, (arguments, before, after) in enumerate(requests):
            if arguments is not None and len(arguments) > 2 and place not in faulty:
                excess = len(before) + len(after) - self.max_length - 1
                if excess > 0 and self.pictures.list_numbers(before):
                    self.lost.pop(arguments, None)
                    self.unscorable[arguments] = self.explain_length(len(before) + len(after))
                    faulty.append(place)
        return faulty

    def explain_length(self, size: int) -> str:
        return f"with its pictures it has {size:,} tokens, and the model's context {self.max_length:,}"

    def has_room(self, arguments: Arguments) -> bool:
        """Whether a request fits into the model's context, and has no more pictures than ``max_images``."""
        few = len(arguments[2]["visual"]) <= self.most
        return few and bool(self.measure(arguments) <= self.max_length)

    @property
    def most(self) -> int:
        """How many pictures a prompt may have: by the user's word, or as the processor reads them."""
        asked = int(getattr(self, "max_images", None) or MANY)
        return 1 if self.reader.looks_around else asked if asked < MANY else sys.maxsize

    def measure(self, arguments: Arguments) -> int:
        """Tokens that a request needs in the model's context, those to generate included."""
        context, asked, shown = arguments
        if isinstance(asked, str):
            _, before, after = self.encode(context, asked, shown)
            return len(before) + len(after) - 1
        row, reason = self.show(self.reader.encode(context), [], shown["visual"], context)
        longest: int = stock.read_settings(asked, self.max_gen_toks)["max_gen_toks"]
        return 0 if reason else len(row) + longest

    def note_dropped(self, kept: Arguments, whole: Arguments) -> None:
        """Note that a request does without some of its examples."""
        name = kept if isinstance(kept[1], str) else (kept[0], kept[2])
        self.lost[name] = self.measure(whole) - self.measure(kept)

    def encode_prompt(self, arguments: Arguments, room: int) -> list[int]:
        """The ids of a prompt after which a text is generated.

        Raises:
            ValueError: it does not fit, its pictures do not belong to its places, or the model's processor
                refuses one of them.
        """
        context, _, shown = arguments
        row, reason = self.show(self.reader.encode(context), [], shown["visual"], context)
        if len(row) > room:
            reason = self.explain_length(len(row) + self.max_length - room)
        if reason:
            self.unscorable[context, shown] = reason
            raise ValueError(reason)
        return row

    def generate_as_stock(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Those with pictures one at a time, by the model's own ``generate``; others by lm-eval's loop."""
        plain = [request for request in requests if len(request.args) < 3]
        texts = iter(super().generate_as_stock(plain, disable_tqdm) if plain else ())
        return [
            next(texts) if len(request.args) < 3 else self.generate_alone(request.args)
            for request in requests
        ]

    def generate_alone(self, arguments: Arguments) -> str:
        style = Style(self, arguments[1])
        settings = stock.read_settings(arguments[1], self.max_gen_toks)
        kept = {name: value for name, value in settings.items() if name not in ("max_gen_toks", "until")}
        if not kept.get("temperature"):
            kept = {"do_sample": False} | {name: kept[name] for name in kept if name != "temperature"}
        row = self.encode_prompt(arguments, self.max_length - style.max_new_tokens)
        made = self.alone.generate(
            np.asarray(row), max_new_tokens=style.max_new_tokens, stop_strings=style.until,
            tokenizer=self.tokenizer, pad_token_id=self.tokenizer.pad_token_id, **kept,
        )  # fmt: skip
        return style.decode(made)

    def answer_as_stock(self, requests: Sequence[Encoded], **settings: Any) -> list[Scored]:
        """Those with pictures one at a time, by the model's own forward; others as lm-eval's own scorer."""
        shown = {n for n, (_, before, _) in enumerate(requests) if self.pictures.list_numbers(before)}
        plain = [request for place, request in enumerate(requests) if place not in shown]
        texts = iter(super().answer_as_stock(plain, **settings) if plain else ())
        return [
            self.alone.answer_greedy(Query([*before, *after][:-1], after)) if place in shown else next(texts)
            for place, (_, before, after) in enumerate(requests)
        ]


@dataclass(frozen=True)
class Parts:
    """A processor of pictures and a tokenizer, where transformers cannot make the one that has both."""

    image_processor: Any
    tokenizer: Any

    @classmethod
    def load(cls, pretrained: str, error: Exception) -> Parts:
        """Those of a model.

        Raises:
            ImportError: its processor of pictures needs a package that is missing.
        """
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(pretrained)
        except (ImportError, ValueError, OSError):
            raise error from None
        return cls(processor, transformers.AutoTokenizer.from_pretrained(pretrained))

    def to_dict(self) -> dict[str, Any]:
        return {"image_processor": self.image_processor.to_dict()}

    def apply_chat_template(self, turns: Any, **settings: Any) -> Any:
        return self.tokenizer.apply_chat_template(turns, tokenize=False, **settings)


def sees_pictures(backend: type[Any]) -> bool:
    return issubclass(backend, HFMultimodalLM) or hasattr(backend, "encode_pictures")


def add_pictures(backend: type[Any], shares: bool) -> type[Any]:
    """A backend that sees pictures, with log-likelihoods and texts about several of them.

    Args:
        backend: one for which ``sees_pictures`` holds.
        shares: whether what prompts share is computed once.
    """
    chats = (PictureChats,) if issubclass(backend, HFMultimodalLM) else ()
    return type(f"Picture{backend.__name__}", (PictureTreeLM, *chats, backend), {"shares": shares})


def explain_places(
    read: Sequence[int | None], scored: Sequence[int | None], visuals: Sequence[Visual]
) -> str:
    """Why a prompt cannot be shown; empty: it can be."""
    if None in scored:
        return "what is to be scored has a place for a picture"
    places = list(read).count(None)
    if places == len(visuals):
        return ""
    return f"its prompt has {places} places for pictures, and there are {len(visuals)}"
