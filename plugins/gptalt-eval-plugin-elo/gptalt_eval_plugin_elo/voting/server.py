"""The web application: a page for each annotator and one for the organiser."""

from __future__ import annotations

import secrets
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from gptalt_eval import GptaltError, print_plain
from gptalt_eval_plugin_elo.naming import Names, Naming
from gptalt_eval_plugin_elo.voting.export import write_lines
from gptalt_eval_plugin_elo.voting.overview import gather_overview
from gptalt_eval_plugin_elo.voting.rendering import render
from gptalt_eval_plugin_elo.voting.store import CHOICES, Annotator, Store
from gptalt_eval_plugin_elo.voting.texts import NAMES, TEXTS, choose_language

PAGES = Path(__file__).with_name("pages")
LARGEST = 4096  # bytes of a form
MINUTE = 60.0
LISTED = 50  # answers in which a model names itself
#: links contain access tokens, so they are not sent to other sites, and nothing is loaded from other sites
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Application:
    """Answers requests with the content of a store.

    Args:
        store: the votes.
        names: the names of models.
        named: answers in which a model names itself.
    """

    def __init__(self, store: Store, names: Names, named: Sequence[Naming] = ()) -> None:
        self.store = store
        self.names = names
        self.named = named
        self.told = -MINUTE  # when the organiser was last told of a fault
        self.pages = Environment(
            loader=PackageLoader("gptalt_eval_plugin_elo.voting", "pages"), autoescape=True,
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip

    def build(self) -> Starlette:
        routes = [
            Route("/vote/{token}", self.get_vote),
            Route("/vote/{token}/{action}", self.post_action, methods=["POST"]),
            Route("/organiser/{token}", self.get_organiser),
            Route("/organiser/{token}/votes.jsonl", self.get_export),
            Route("/{file}", self.get_file),
        ]
        return Starlette(routes=routes, exception_handlers={404: self.refuse, GptaltError: self.explain})

    async def get_vote(self, request: Request) -> Response:
        return await run_in_threadpool(self.show_vote, request)

    def show_vote(self, request: Request) -> Response:
        who = self.find(request)
        if who is None:
            return self.refuse(request)
        # reserve what is shown before counting the rest
        shown = self.store.show(who)
        progress = self.store.find_progress(who)
        sides = (
            [(side, *render(text)) for side, text in (("A", shown.left), ("B", shown.right))] if shown else []
        )
        return self.make_page(
            request, "vote.html.j2", who.language, who=who, shown=shown, progress=progress, sides=sides,
            prompt=render(shown.prompt)[0] if shown else "",
            expected=render(shown.expected)[0] if shown else "",
        )  # fmt: skip

    async def post_action(self, request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(self.act, request, form)

    def act(self, request: Request, form: Mapping[str, str]) -> Response:
        """Carry out a button's action; the page is reloaded afterwards."""
        who, action = self.find(request), request.path_params["action"]
        item, turn, vote = (read_number(form.get(name)) for name in ("item", "turn", "vote"))
        if who is None:
            return self.refuse(request)
        if action == "choose" and form.get("choice") in CHOICES and item is not None and turn is not None:
            self.store.vote(who, item, turn, form["choice"])
        elif action == "undo" and vote is not None:
            self.store.undo(who, vote)
        elif action == "language" and form.get("language") in TEXTS:
            self.store.choose_language(who, form["language"])
        else:
            return Response("unknown action", 400, HEADERS)
        return RedirectResponse(f"/vote/{who.token}", 303, HEADERS)

    async def get_organiser(self, request: Request) -> Response:
        if not self.is_organiser(request):
            return self.refuse(request)
        without = request.query_params.getlist("without")
        found = await run_in_threadpool(gather_overview, self.store)
        return self.make_page(
            request, "organiser.html.j2", found=found, without=without, named=self.named, listed=LISTED,
            command=write_command(self.store.path, [each.name for each in found.voters], without),
            here=f"/organiser/{self.store.organiser}",
        )  # fmt: skip

    async def get_export(self, request: Request) -> Response:
        if not self.is_organiser(request):
            return self.refuse(request)
        text = "".join(await run_in_threadpool(lambda: list(write_lines(self.store.path, self.names))))
        headers = HEADERS | {"Content-Disposition": 'attachment; filename="votes.jsonl"'}
        return Response(text, headers=headers, media_type="application/jsonl")

    async def get_file(self, request: Request) -> Response:
        kinds = {"page.css": "text/css", "page.js": "text/javascript"}
        name = request.path_params["file"]
        if name not in kinds:
            return self.refuse(request)
        return FileResponse(PAGES / name, headers=HEADERS, media_type=kinds[name])

    def find(self, request: Request) -> Annotator | None:
        return self.store.find_annotator(request.path_params["token"])

    def is_organiser(self, request: Request) -> bool:
        token = request.path_params["token"]
        return secrets.compare_digest(token.encode(), self.store.organiser.encode())

    def refuse(self, request: Request, _: Exception | None = None) -> Response:
        return self.make_page(request, "message.html.j2", status=404, message="unknown")

    def explain(self, request: Request, error: Exception) -> Response:
        """What cannot be saved now is tried again by the page; the organiser is told once a minute."""
        now = time.monotonic()
        if now - self.told > MINUTE:
            self.told = now
            print_plain(error, file=sys.stderr, flush=True)
        return self.make_page(request, "message.html.j2", status=503, message="full")

    def make_page(
        self, request: Request, page: str, language: str = "", status: int = 200, **values: Any
    ) -> Response:
        language = choose_language(language, request.headers.get("accept-language", ""))
        html = self.pages.get_template(page).render(
            texts=TEXTS[language], language=language, languages=NAMES, **values
        )
        return HTMLResponse(html, status, HEADERS)


def write_command(path: Path, names: Sequence[str], without: Sequence[str]) -> str:
    """What to type for the ratings, with and without the votes of some annotators."""
    left_out = ",".join(name for name in names if name in without)
    command = ["gptalt-eval", "elo", str(path), *(["--without", left_out] if left_out else [])]
    return shlex.join(command)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; none if it is too large to be ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def read_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
