"""Models behind a server that gets the messages of a chat, as lm-eval's ``local-chat-completions``."""

import json
from types import SimpleNamespace

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.api_models import JsonChatStr

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.lmeval.answers import Answers
from gptalt_eval.running.lmeval.evaluation import explain_no_room
from gptalt_eval.running.lmeval.model import choose_template
from gptalt_eval.running.lmeval.observed import ObservedLM

TURNS = [{"role": "user", "content": "你好 {{x}}"}]
SILENT = SimpleNamespace(asked=lambda count, shared: None, answered=lambda count: None)


class LocalChatCompletion(LM):
    """Writes prompts and takes them as lm-eval's class of this name does."""

    backend, max_length, tokenizer = "causal", 2047, None  # it has no max_gen_toks
    limit = 99

    def __init__(self):
        super().__init__()
        self.sent = []

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        return JsonChatStr(json.dumps(chat_history, ensure_ascii=False))

    def generate_until(self, requests):
        for request in requests:
            assert isinstance(request.args[0], JsonChatStr)
            if len(self.sent) == self.limit:
                raise KeyboardInterrupt
            self.sent.append((json.loads(request.args[0].prompt), request.args[1]))
            self.cache_hook.add_partial("generate_until", request.args, f"answer {len(self.sent)}")
        return [f"answer {len(self.sent) - len(requests) + place + 1}" for place in range(len(requests))]

    loglikelihood = loglikelihood_rolling = None


class OpenAIChatCompletion(LocalChatCompletion):
    """A kind of it."""


@pytest.mark.parametrize("kind", [LocalChatCompletion, OpenAIChatCompletion])
def test_the_server_has_the_template(kind):
    choose_template(kind(), "served", True)


def test_a_model_without_a_server_and_without_a_template_is_refused():
    lm = SimpleNamespace(tokenizer=None, chat_template=lambda _: "")
    with pytest.raises(GptaltError, match="has no chat template"):
        choose_template(lm, "m", True)


def test_prompts_are_text_and_what_is_sent_are_messages(tmp_path):
    lm = LocalChatCompletion()
    observed = ObservedLM(lm, SILENT, Answers(tmp_path / "answers.jsonl"))
    prompt = observed.apply_chat_template(TURNS)
    assert type(prompt) is str and json.loads(prompt) == TURNS
    settings = {"until": []}
    requests = [Instance("generate_until", {}, (prompt, settings), 0)]
    assert observed.generate_until(requests) == ["answer 1"]
    assert lm.sent == [(TURNS, settings)]
    assert observed.generate_until(requests) == ["answer 1"]
    assert len(lm.sent) == 1, "the answer is stored under the prompt's text"
    observed.answers.close()
    again = ObservedLM(LocalChatCompletion(), SILENT, Answers(tmp_path / "answers.jsonl"))
    assert again.generate_until(requests) == ["answer 1"] and again.lm.sent == []


def test_an_interrupted_run_has_the_answers_that_came(tmp_path):
    lm = LocalChatCompletion()
    lm.limit = 2
    observed = ObservedLM(lm, SILENT, Answers(tmp_path / "answers.jsonl"))
    prompts = [observed.apply_chat_template([{"role": "user", "content": word}]) for word in "abc"]
    requests = [Instance("generate_until", {}, (prompt, {}), place) for place, prompt in enumerate(prompts)]
    with pytest.raises(KeyboardInterrupt):
        observed.generate_until(requests)
    observed.answers.close()
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2, "each is stored once"
    again = ObservedLM(LocalChatCompletion(), SILENT, Answers(tmp_path / "answers.jsonl"))
    assert again.generate_until(requests) == ["answer 1", "answer 2", "answer 1"]
    assert [turns[0]["content"] for turns, _ in again.lm.sent] == ["c"]


def test_what_a_server_can_read_is_its_own_affair():
    task = SimpleNamespace(
        OUTPUT_TYPE="generate_until", config=SimpleNamespace(generation_kwargs={"max_gen_toks": 9999})
    )
    assert explain_no_room(SimpleNamespace(lm=LocalChatCompletion()), task) == ""
    causal = SimpleNamespace(backend="causal", max_length=2047, max_gen_toks=256)
    assert "9,999 tokens" in explain_no_room(SimpleNamespace(lm=causal), task)
