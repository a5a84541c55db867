"""Image-text models: the chat template that a run announces is the one that writes its prompts."""

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Template

pytestmark = pytest.mark.torch

OWN = (
    "{{ bos_token }}{% for turn in messages %}{{ turn.role | upper }}: {{ turn.content }} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "<image>\nWhat? <image>"},
    {"role": "assistant", "content": "That."},
    {"role": "user", "content": "And this?"},
]
THEIRS = "[system]Be kind.[user]<image>\nWhat? <image>[assistant]That.[user]And this?[assistant]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from picture_folders import save_model

    return save_model("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture
def make_lm(folder):
    from lm_eval.models.hf_vlms import HFMultimodalLM

    from gptalt_eval.scoring.picture_backend import add_pictures

    def make(**settings):
        return add_pictures(HFMultimodalLM, shares=True)(str(folder), device="cpu", **settings)

    return make


def use(lm, jinja):
    from gptalt_eval.running.lmeval.model import use_template

    use_template(lm, Template(jinja) if jinja else None)
    return lm


def test_the_template_of_the_catalogue_is_used_and_recorded(make_lm):
    lm = use(make_lm(), OWN)
    text = lm.apply_chat_template(TURNS)
    assert text == (
        "<s>SYSTEM: Be kind. USER: <image>\nWhat? <image> ASSISTANT: That. USER: And this? ASSISTANT:"
    )
    assert lm.chat_template(True) == OWN and lm.chat_applied


def test_without_one_the_processor_s_is(make_lm):
    lm = use(make_lm(), "")
    assert lm.apply_chat_template(TURNS) == THEIRS
    assert lm.chat_template(True) == lm.processor.chat_template != OWN


def test_a_conversation_stays_as_it_was(make_lm):
    """lm-eval's own makes lists of the turns' texts, in which a second call finds no pictures."""
    lm, before = make_lm(), [dict(turn) for turn in TURNS]
    assert lm.apply_chat_template(TURNS) == lm.apply_chat_template(TURNS) == THEIRS
    assert before == TURNS


def test_an_answer_that_is_begun_is_continued(make_lm):
    turns = [*TURNS[:2], {"role": "assistant", "content": "It is"}]
    assert make_lm().apply_chat_template(turns, add_generation_prompt=False).endswith("[assistant]It is")
    own = use(make_lm(), OWN).apply_chat_template(turns, add_generation_prompt=False)
    assert own.endswith("ASSISTANT: It is")


def test_pictures_come_first_where_a_model_takes_them_so(make_lm):
    expected = "[system]Be kind.[user]<image><image>\nWhat? [assistant]That.[user]And this?[assistant]"
    assert make_lm(interleave=False).apply_chat_template(TURNS) == expected


def test_a_named_template_and_its_settings_are_used(make_lm):
    from gptalt_eval.running.lmeval.model import choose_template

    lm = make_lm(chat_template_args={"shout": "!"})
    plain = lm.processor.chat_template
    lm.processor.chat_template = {"default": plain, "loud": plain + "{{ shout }}"}
    choose_template(lm, "m", "loud")
    assert lm.apply_chat_template(TURNS) == THEIRS + "!"
    with pytest.raises(GptaltError, match=r"no chat template 'lout'.\nDid you mean 'loud'"):
        choose_template(lm, "m", "lout")


@pytest.mark.parametrize("jinja", [OWN, ""], ids=["with its own", "without"])
def test_a_prompt_has_one_beginning(make_lm, jinja):
    """A template that writes the token of the beginning is not given a second one by the tokenizer."""
    from tokenizers.processors import TemplateProcessing

    lm = use(make_lm(), jinja)
    start = lm.tokenizer.bos_token_id
    adds = TemplateProcessing("<s> $A", special_tokens=[("<s>", start)])
    lm.tokenizer.backend_tokenizer.post_processor = adds
    lm.add_bos_token = True  # as lm-eval finds out of such a tokenizer
    assert lm.reader.encode(lm.apply_chat_template(TURNS)).count(start) == 1
