"""What is wrong with a served model is said before a run, in one message each."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_server import ModelServer

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning import backends
from gptalt_eval.planning.served import check, server
from gptalt_eval.planning.served.logprobs import UnusableError, find_way, read_scored
from gptalt_eval.planning.served.server import PassingError, Server

COMPLETIONS, CHATS = "local-completions", "local-chat-completions"


@pytest.fixture
def serve():
    """Starts a server, which is stopped after the test."""
    started = []

    def start(**settings):
        started.append(ModelServer(**settings))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def make_cell(kind="multiple_choice", chat=False, style=None, name="quiz"):
    task = SimpleNamespace(name=name, config={"output_type": kind})
    return SimpleNamespace(tasks=[task], spec=SimpleNamespace(apply_chat_template=chat), style=style)


def ask(backend, *cells, **args):
    spec = make_spec({"model": backend, "tasks": "quiz", "model_args": args})
    return check.ask_servers(Model(backend, "", "", "", backend=backend), spec, cells or [make_cell()])


def complain(backend, *cells, **args):
    with pytest.raises(GptaltError) as caught:
        ask(backend, *cells, **args)
    return str(caught.value)


# ------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1/v1/completions"),
        ("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/completions"),
        ("http://127.0.0.1:1/v1/chat/completions", "http://127.0.0.1:1/v1/completions"),
        ("127.0.0.1:1/v1/completions", "http://127.0.0.1:1/v1/completions"),
        ("https://host/proxy/v1/completion", "https://host/proxy/v1/completion/v1/completions"),
        ("http://127.0.0.1:1/completions", "http://127.0.0.1:1/v1/completions"),
    ],
)
def test_a_wrong_address(url, right):
    text = complain(COMPLETIONS, base_url=url)
    assert (
        text == f"base_url={url}: --model local-completions asks for /v1/completions.\nType base_url={right}"
    )


def test_the_address_of_a_chat_server():
    text = complain(
        CHATS, make_cell("generate_until", chat=True), base_url="http://127.0.0.1:1/v1/completions"
    )
    assert text.endswith("Type base_url=http://127.0.0.1:1/v1/chat/completions")


def test_no_address():
    assert "base_url=http://localhost:8000/v1/completions" in complain(COMPLETIONS)


@pytest.mark.parametrize("url", ["ftp://host/v1/completions", "http:///v1/completions"])
def test_no_address_of_a_server(url):
    assert "is not the address of a server" in complain(COMPLETIONS, base_url=url)


def test_several_addresses_are_a_list_or_have_semicolons_between_them():
    assert check.list_urls("http://a; http://b/;") == check.list_urls(["http://a", "http://b"])
    assert check.list_urls(None) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_concurrent", 0),
        ("num_concurrent", 1.5),
        ("max_retries", "many"),
        ("timeout", -1),
        ("requests_per_minute", True),
    ],
)
def test_a_number_that_is_none(name, value):
    text = complain(COMPLETIONS, base_url="http://127.0.0.1:9/v1/completions", **{name: value})
    assert text.startswith(f"--model_args {name}={value}: it must be a")


def test_a_misspelt_limit():
    model = Model(COMPLETIONS, "", "", "", backend=COMPLETIONS)
    [fault] = backends.check_backend(model, {"request_per_minute": 5}, ())
    assert "Did you mean 'requests_per_minute'?" in str(fault)
    assert list(backends.check_backend(model, {"requests_per_minute": 5}, ())) == []


def test_a_login_in_an_address_is_not_shown():
    assert "word" not in complain(COMPLETIONS, base_url="http://me:word@127.0.0.1:1/v1")


# ------------------------------------------------------------------------------- is it there


def test_no_server():
    text = complain(COMPLETIONS, base_url="http://127.0.0.1:9/v1/completions", model="a/b")
    assert text.startswith("There is no server at http://127.0.0.1:9/v1/completions.")


def test_an_encrypted_address_of_a_server_that_does_not_encrypt(serve):
    url = serve().url.replace("http://", "https://")
    text = complain(COMPLETIONS, base_url=url, model="a/b")
    assert text.endswith(f"Type base_url={url.replace('https://', 'http://')}")


def test_no_proxy_is_used_for_this_computer(serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(COMPLETIONS, base_url=serve().url, tokenizer="a/b").args["model"] == "tiny"


@pytest.mark.parametrize(
    ("key", "said"), [("", "needs a key in"), ("wrong-key-123", "does not accept the key in")]
)
def test_a_key(serve, monkeypatch, key, said):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    text = complain(COMPLETIONS, base_url=serve(key="right-key-123").url, tokenizer="a/b")
    assert said in text and "Type: export OPENAI_API_KEY=..." in text and "key-123" not in text
    monkeypatch.setenv("OPENAI_API_KEY", "right-key-123")
    assert ask(COMPLETIONS, base_url=serve(key="right-key-123").url, tokenizer="a/b")


def test_a_server_of_something_else(serve):
    text = complain(
        COMPLETIONS, make_cell("generate_until"), base_url=serve(faults=lambda *_: 404).url, tokenizer="a/b"
    )
    assert "answers with status 404" in text and "OpenAI-compatible" in text


# ------------------------------------------------------------------------------- which model


def test_the_only_model_is_taken_and_named(serve):
    started = serve()
    found = ask(COMPLETIONS, base_url=started.url, tokenizer="a/b")
    assert found.args == {"model": "tiny", "max_length": 64}
    assert found.notes == (f"The model is 'tiny': {started.url} has no other.",)


def test_a_context_that_the_server_does_not_tell(serve):
    found = ask(COMPLETIONS, base_url=serve(facts={}).url, tokenizer="a/b", model="tiny")
    assert found.args == {"model": "tiny"} and "2,048 are assumed" in found.notes[0]
    assert (
        ask(COMPLETIONS, base_url=serve(facts={}).url, tokenizer="a/b", model="tiny", max_length=9).notes
        == ()
    )


def test_a_misspelt_model(serve):
    text = complain(COMPLETIONS, base_url=serve(name="qwen-small").url, model="qwen-smal", tokenizer="a/b")
    assert "has no model 'qwen-smal'.\nDid you mean 'qwen-small'?" in text


def test_another_model(serve):
    text = complain(COMPLETIONS, base_url=serve(name="qwen\x1b[2J").url, model="llama", tokenizer="a/b")
    assert "It has: qwen" in text and "\x1b" not in text


def test_no_list_of_models(serve):
    text = complain(COMPLETIONS, base_url=serve(lists=False).url, tokenizer="a/b")
    assert "does not say which models it has" in text
    assert ask(COMPLETIONS, base_url=serve(lists=False).url, tokenizer="a/b", model="tiny").args == {
        "model": "tiny"
    }


@pytest.mark.parametrize("other", [{"name": "other"}, {"facts": {"root": "elsewhere", "max_model_len": 64}}])
def test_servers_of_different_models(serve, other):
    text = complain(COMPLETIONS, base_url=f"{serve().url};{serve(**other).url}", tokenizer="a/b")
    assert "different models" in text


# ------------------------------------------------------------------------------- what it can do


@pytest.mark.parametrize(("gives", "way"), [("echo", "echo"), ("prompt_logprobs", "prompt_logprobs")])
def test_the_way_to_log_probabilities(serve, gives, way):
    assert find_way(Server(serve(gives=gives).url, {}), "tiny") == way


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gives": "nothing"}, "answers with status 400: cannot do that"),
        ({"gives": "written"}, "leaves out the log-probabilities of the prompt"),
        ({"adds_bos": True}, "adds tokens to the prompt"),
    ],
)
def test_no_log_probabilities(serve, settings, said):
    text = complain(COMPLETIONS, base_url=serve(**settings).url, tokenizer="a/b")
    assert "gives no log-likelihoods, which these tasks compare: quiz." in text and said in text
    assert "docs/served.md" in text
    assert ask(COMPLETIONS, make_cell("generate_until"), base_url=serve(**settings).url, tokenizer="a/b")


@pytest.mark.parametrize("kind", ["multiple_choice", "generate_until"])
def test_a_server_that_takes_text_only(serve, kind):
    given = {"base_url": serve(takes_text_only=True).url, "tokenizer": "a/b"}
    assert complain(COMPLETIONS, make_cell(kind), **given).endswith(
        "Add tokenized_requests=False to --model_args."
    )
    assert ask(COMPLETIONS, make_cell(kind), tokenized_requests=False, **given).args["model"] == "tiny"


def test_chats_compare_nothing():
    text = complain(CHATS, make_cell(chat=True), base_url="http://127.0.0.1:9/v1/chat/completions")
    assert text.startswith(
        "--model local-chat-completions gives no log-likelihoods, which these tasks compare: quiz."
    )


def test_chats_need_a_template(serve):
    started, kind = serve(), "generate_until"
    assert "Add --apply_chat_template" in complain(CHATS, make_cell(kind), base_url=started.chat_url)
    style = SimpleNamespace(name="standard")
    assert "--prompt_style standard" in complain(
        CHATS, make_cell(kind, style=style), base_url=started.chat_url
    )
    assert ask(CHATS, make_cell(kind, chat=True), base_url=started.chat_url).args == {"model": "tiny"}


def test_a_tokenizer_is_needed(serve):
    assert "Add it to --model_args: tokenizer=<hub id" in complain(COMPLETIONS, base_url=serve().url)
    rooted = serve(facts={"root": "Qwen/Qwen3-0.6B"})
    assert "tokenizer=Qwen/Qwen3-0.6B" in complain(COMPLETIONS, base_url=rooted.url)
    assert "no folder /nowhere" in complain(COMPLETIONS, base_url=serve().url, tokenizer="/nowhere")


def test_other_models_are_not_asked():
    assert (
        check.ask_servers(Model("m", "", "", ""), make_spec({"model": "m", "tasks": "t"}), [])
        == check.Served()
    )


# ------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("way", ["echo", "prompt_logprobs"])
@pytest.mark.parametrize("writes_end", [True, False])
def test_the_numbers_of_exactly_the_tokens(serve, way, writes_end):
    """lm-eval's own client leaves out the last token where a server writes none after the prompt."""
    from model_server import invent

    started, tokens = serve(gives=way, writes_end=writes_end), [3, 200, 7, 7, 91]
    question = {"echo": True, "logprobs": 1} if way == "echo" else {"prompt_logprobs": 1}
    reply = Server(started.url, {}).ask({"model": "tiny", "prompt": tokens, "max_tokens": 1} | question)
    numbers = invent(tokens)
    expected = sum(numbers[place - 1, tokens[place]] for place in (3, 4))
    value, greedy = read_scored(reply, way, tokens, 3)
    assert value == pytest.approx(expected) and greedy is False
    best = [*tokens[:4], int(numbers[3].argmax())]
    reply = Server(started.url, {}).ask({"model": "tiny", "prompt": best, "max_tokens": 1} | question)
    assert read_scored(reply, way, best, 4) == (pytest.approx(numbers[3].max()), True)


def make_reply(values, tops=None, **usage):
    tops = [{"a": value} for value in values] if tops is None else tops
    return {"choices": [{"logprobs": {"token_logprobs": values, "top_logprobs": tops}}], "usage": usage}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (make_reply([None, -1.0, None, -1.0]), "no number"),
        (make_reply([None, -1.0, float("nan"), -1.0]), "no number"),
        (make_reply([None, -1.0, "-1", -1.0]), "no number"),
        (make_reply([None, -1.0, -1.0, -1.0], [None] * 4), "no number"),
        (make_reply([None, -1.0, -1.0, -1.0], []), "most probable"),
        (make_reply([None, -1.0]), "as 1 tokens, and the tokenizer here as 3"),
        (make_reply([None, -1.0, -1.0, -1.0, -1.0]), "as 4 tokens, and the tokenizer here as 3"),
        (make_reply([None, -1.0, -1.0, -1.0], prompt_tokens=4), "as 4 tokens, and the tokenizer here as 3"),
        ({"choices": []}, "no 'choices'"),
        ({"choices": [{}]}, "leaves out"),
        ({"choices": [{"logprobs": None}]}, "leaves out"),
    ],
)
def test_an_answer_that_is_not_about_these_tokens(reply, said):
    with pytest.raises(UnusableError, match=said):
        read_scored(reply, "echo", [1, 2, 3], 1)


def test_tokens_that_the_server_names_otherwise():
    entries = [None, {"7": {"logprob": -1.0}}, {"9": {"logprob": -2.0}}]
    reply = {"choices": [{"prompt_logprobs": entries}]}
    assert read_scored(reply, "prompt_logprobs", [1, 7, 9], 1) == (-3.0, True)
    with pytest.raises(UnusableError, match="other tokens"):
        read_scored(reply, "prompt_logprobs", [1, 7, 8], 1)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["logprobs", "token_logprobs", "top_logprobs", "prompt_logprobs", "1", "logprob"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(ANY, ANY, st.sampled_from(["echo", "prompt_logprobs"]))
def test_any_answer_is_read_or_refused(choice, usage, way):
    try:
        value, _ = read_scored({"choices": [choice], "usage": usage}, way, [1, 1], 1)
    except UnusableError:
        return
    assert value == value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("1e9", 600.0), ("-3", 0.0), ("Wed, 21 Oct", None), (None, None)],
)
def test_how_long_to_wait(text, seconds):
    assert server.read_wait(text) == seconds


@pytest.mark.parametrize(
    ("fault", "said", "wait"),
    [(500, "status 500: this one fails", None), (503, "status 503", None), (("wait", 7), "status 429: slowly", 7),
     ("cut", "cut off, or not JSON", None), ("drop", "there is no server at http", None)],
)  # fmt: skip
def test_what_may_pass(serve, fault, said, wait):
    with pytest.raises(PassingError, match=said) as caught:
        Server(serve(faults=lambda *_: fault).url, {}).ask(
            {"model": "tiny", "prompt": [1, 2], "max_tokens": 1, "echo": True}
        )
    assert caught.value.wait == wait


def test_a_message_of_a_server_is_plain_and_without_keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "right-key-123")
    text = server.describe('{"error": {"message": "bad \\u001b[2J key right-key-123 ' + "x" * 999 + '"}}')
    assert "\x1b" not in text and "right-key" not in text and len(text) < 220
