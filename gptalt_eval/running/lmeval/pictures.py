"""Gives each request the pictures of its examples too: lm-eval passes on those of its row only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.pictures import Picture, make_picture
from gptalt_eval.running.lmeval.draws import fix_draws, watch_draws

PLACE = "<image>"  # a picture in a prompt, in lm-eval and here


class Shown(dict[str, list[Picture]]):
    """The third argument of a request, as lm-eval has it; equal pictures make equal requests."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        super().__init__(visual=list(pictures))

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self["visual"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Shown, (self["visual"],)


class Gallery:
    """The pictures of a task's prompts, in the order of their places.

    Args:
        task: an lm-eval task with ``doc_to_image``.

    Attributes:
        fits: whether a request fits into the model's context; unknown before the model is loaded.
        dropped: called with the arguments of a request that had to do without some of its examples, and with
            the longer context.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.fits: Callable[[tuple[Any, ...]], bool] = lambda arguments: True
        self.dropped: Callable[[tuple[Any, ...], tuple[Any, ...]], None] = lambda kept, whole: None
        self.known: dict[str, Picture] = {}
        self.drawn: list[Any] = []
        self.settings: dict[str, Any] = {}
        self.write_context, self.make_requests = task.fewshot_context, task.construct_requests

    def fewshot_context(self, doc: Any, num_fewshot: int, **settings: Any) -> Any:
        """As lm-eval's; remembers which examples were drawn."""
        self.settings, self.drawn = settings, []
        with watch_draws(self.task, self.drawn.extend):
            return self.write_context(doc, num_fewshot, **settings)

    def construct_requests(self, doc: Any, ctx: Any, **settings: Any) -> Any:
        """As lm-eval's, with all pictures; without the first examples if the prompt would be too long."""
        requests = self.list_requests(doc, ctx, self.drawn, settings)
        whole = [request.args for request in requests]
        count = len(self.drawn)
        while count and not all(self.fits(request.args) for request in requests):
            count -= 1
            drawn = self.drawn[len(self.drawn) - count :]
            with fix_draws(self.task, drawn):
                ctx = self.write_context(doc, count, **self.settings)
            requests = self.list_requests(doc, ctx, drawn, settings)
        if count < len(self.drawn):
            for request, before in zip(requests, whole, strict=True):
                self.dropped(request.args, before)
        return requests

    def list_requests(self, doc: Any, ctx: Any, drawn: Sequence[Any], settings: dict[str, Any]) -> list[Any]:
        pictures = [picture for each in (*drawn, doc) for picture in self.find_pictures(each)]
        made = self.make_requests(doc, ctx, **settings)
        requests = made if isinstance(made, list) else [made]
        for request in requests:
            context, asked = request.arguments[:2]
            # an answer without its question, for mutual information
            shown = pictures if context or not asked else []
            if not settings.get("apply_chat_template"):  # a template writes places in its own way
                check_places(self.task.config.task, context, shown)
            request.arguments = (context, asked, Shown(shown))
        return requests

    def find_pictures(self, doc: Any) -> Iterator[Picture]:
        found = self.task.doc_to_image(doc)
        for each in found if isinstance(found, (list, tuple)) else [found]:
            if each is None:
                continue
            name = f"A picture of {self.task.config.task}"
            if not isinstance(each, str):
                yield make_picture(each, name)
            else:
                if each not in self.known:
                    self.known[each] = make_picture(each, name)
                yield self.known[each]


def show_pictures(task: Any) -> None:
    """Make a task that asks about pictures show those of its examples; others stay as they are."""
    if getattr(task, "MULTIMODAL", False) and task.get_config("doc_to_image"):
        gallery = task.gallery = Gallery(task)
        task.fewshot_context = gallery.fewshot_context
        task.construct_requests = gallery.construct_requests


def find_gallery(task: Any) -> Gallery | None:
    """What shows a task's pictures; None: it asks about none."""
    found: Gallery | None = getattr(task, "gallery", None)
    return found


def check_places(task: str, context: Any, pictures: Sequence[Picture]) -> None:
    """Check that a prompt has one place for each picture.

    Raises:
        GptaltError: it has not.
    """
    places = str(context).count(PLACE)
    if places != len(pictures):
        raise GptaltError(
            f"{task}: a prompt has {places} places for pictures ({PLACE}), and its rows have {len(pictures)} "
            f"pictures: {str(context)[-200:]!r}",
            f"Write {PLACE} in doc_to_text where each picture of doc_to_image belongs.",
        )


def name_pictures(value: Any) -> Any:
    """A row, or a value of it, with the name of each picture in its place; itself if it has none.

    ``datasets`` gives pictures as objects, whose text has an address in memory, or as bytes, which would be
    written into every sample.
    """
    if isinstance(value, bytes) or is_image(value):
        return name_picture(value)
    if isinstance(value, Mapping):
        if value.keys() == {"bytes", "path"}:
            return name_picture(value)
        named: Any = {key: name_pictures(each) for key, each in value.items()}
        return named if any(named[key] is not value[key] for key in value) else value
    if isinstance(value, list):
        named = [name_pictures(each) for each in value]
        return named if any(new is not old for new, old in zip(named, value, strict=True)) else value
    return value


def name_picture(value: Any) -> Any:
    try:
        return str(make_picture(value))
    except GptaltError:  # not a picture after all
        return value


def is_image(value: object) -> bool:
    """Whether it is a Pillow image; Pillow need not be imported for that."""
    image = getattr(sys.modules.get("PIL.Image"), "Image", ())
    return isinstance(value, image)


def open_pictures(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A request's arguments for lm-eval's own model classes, which take opened pictures."""
    if len(arguments) < 3 or not isinstance(arguments[2], Shown):
        return arguments
    return (*arguments[:2], {"visual": [picture.open() for picture in arguments[2]["visual"]]})
