"""The chat template that ``--apply_chat_template`` chooses is the one that writes the prompts."""

from types import SimpleNamespace

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.lmeval.model import choose_template

SINGLE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
SEVERAL = {"default": SINGLE, "loud": SINGLE.replace("message.content", "message.content | upper")}


def make_lm(template):
    """An lm-eval HF model as far as its templates go."""
    tiny = pytest.importorskip("tiny")
    from lm_eval.models.huggingface import HFLM

    lm = HFLM.__new__(HFLM)
    lm.tokenizer, lm.chat_template_args = tiny.make_tokenizer(), {"tools": None}
    lm.tokenizer.chat_template = template
    return lm


def write(lm):
    return lm.apply_chat_template([{"role": "user", "content": "hi"}])


@pytest.mark.torch
def test_the_default_and_a_named_template():
    lm = make_lm(SEVERAL)
    choose_template(lm, "m", True)
    assert write(lm) == "<user>hi"
    choose_template(lm, "m", "loud")
    assert write(lm) == "<user>HI"
    assert lm.chat_template_args == {"tools": None, "chat_template": "loud"}


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        (SEVERAL, "lood", "no chat template 'lood'.\nDid you mean 'loud'?"),
        (SEVERAL, "x", "no chat template 'x'.\nAvailable: default, loud."),
        (SINGLE, "loud", "no chat template 'loud'.\nGive --apply_chat_template without a name."),
        (None, "loud", "no chat template 'loud'."),
        (None, True, "has no chat template.\nOmit --apply_chat_template"),
    ],
)
def test_a_template_that_is_not_there(template, name, expected):
    tokenizer = SimpleNamespace(chat_template=template)
    lm = SimpleNamespace(tokenizer=tokenizer, chat_template_args={}, chat_template=lambda _: template)
    with pytest.raises(GptaltError) as caught:
        choose_template(lm, "m", name)
    assert expected in str(caught.value)
