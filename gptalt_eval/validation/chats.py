"""Chat templates rendered without a tokenizer: to show them, and to check them before weights load."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model, Template
from gptalt_eval.machine.bounds import limit_time
from gptalt_eval.validation.sandbox import Sandbox

PATIENCE = 2.0  # seconds for one conversation; all known templates take milliseconds
#: stand for the tokenizer's own tokens
SPECIAL: Mapping[str, str] = {"bos_token": "{bos}", "eos_token": "{eos}"}
SYSTEM, QUESTION, ANSWER = "Answer in one word.", "What is the capital of France?", "Paris."
SECOND = "And of Italy?"
#: transformers' marks of what the model wrote, which change no text
MARKS = (
    (re.compile(r"({%-?\s*)generation\b"), r"\1if true"),
    (re.compile(r"({%-?\s*)endgeneration\b"), r"\1endif"),
)
Turn = Mapping[str, Any]


class NoConversation(GptaltError):
    """A chat template that refuses conversations itself, as that of a judge does."""


def render(
    jinja: str, turns: Sequence[Turn], opens: bool = True, special: Mapping[str, str] = SPECIAL
) -> str:
    """A conversation as a prompt, as transformers' ``apply_chat_template`` renders it.

    Args:
        jinja: the template.
        turns: the messages.
        opens: whether the model's next turn is opened (``add_generation_prompt``).
        special: the tokenizer's special tokens.

    Raises:
        jinja2.TemplateError: the template is not valid, or refuses the conversation.
        TimeoutError: it takes too long.
    """
    for mark, plain in MARKS:
        jinja = mark.sub(plain, jinja)
    with limit_time(PATIENCE):
        return make_sandbox().from_string(jinja).render(
            messages=turns, add_generation_prompt=opens, **special
        )  # fmt: skip


def make_sandbox() -> Sandbox:
    """Jinja with transformers' settings for chat templates."""

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    sandbox = Sandbox(jinja2.Environment(trim_blocks=True, lstrip_blocks=True))
    sandbox.add_extension(loopcontrols)
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return sandbox


def make_turns(system: str | None, *texts: str) -> list[Turn]:
    """A conversation that begins with the user."""
    roles = ("user", "assistant")
    first: list[Turn] = [{"role": "system", "content": system}] if system is not None else []
    return first + [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def show_example(model: Model) -> str:
    """Two turns of a conversation, as the model receives them; ``{bos}`` and ``{eos}`` are its own tokens.

    Raises:
        GptaltError: the template cannot be applied.
    """
    template = model.template
    if template is None:
        return ""
    system = None if template.system_place == "nowhere" else model.system_instruction or SYSTEM
    return try_render(template, model.name, make_turns(system, QUESTION, ANSWER, SECOND))


def try_render(template: Template, name: str, turns: Sequence[Turn]) -> str:
    try:
        return render(template.jinja, turns)
    except (TemplateError, TimeoutError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        text = f"The chat template of '{name}' cannot be applied: {error}".rstrip(".")
        if type(error) is TemplateError and template.system_place == "nowhere":
            raise NoConversation(f"{text}.", "Run without it: --prompt_style standard.") from error
        raise GptaltError(f"{text}.", "Correct it, or run without it.") from error


def check_template(model: Model) -> None:
    """Check that a model's template renders conversations, and drops nothing of them.

    Raises:
        GptaltError: it does not; says why.
    """
    template = model.template
    if template is None:
        return
    takes_system = template.system_place != "nowhere"
    for texts in ((QUESTION,), (QUESTION, ANSWER, SECOND)):
        shown = try_render(template, model.name, make_turns(SYSTEM if takes_system else None, *texts))
        if takes_system and SYSTEM not in shown:
            hint = "Place it in the template, or write 'system_place: nowhere'."
            raise GptaltError(f"The chat template of '{model.name}' drops the system message.", hint)
        if any(text not in shown for text in texts):
            text = f"The chat template of '{model.name}' drops messages."
            raise GptaltError(text, "Each content must be in the prompt, unchanged.")
