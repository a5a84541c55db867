"""Keys and passwords: hidden in settings, in messages, and wherever they are known; nothing else is touched."""

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import dump_spec, format_command, make_spec
from gptalt_eval.machine.plain import print_plain, show_plain_record
from gptalt_eval.machine.secrets import (
    fill_values,
    hide_known,
    hide_text,
    hide_values,
    is_secret,
    remember_secrets,
)
from gptalt_eval.machine.storage import write_atomically

KEY = "s3cr3t-Value=9"


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    from gptalt_eval.machine import secrets

    given = secrets.GIVEN.set(frozenset())
    yield
    secrets.GIVEN.reset(given)


@pytest.mark.parametrize(
    "name",
    ["token", "hf_token", "auth_token", "api_key", "apikey", "openai_api_key", "password", "Authorization", "X-Api-Key",
     "client_secret", "aws_secret_access_key", "access_token", "cookie", "wandb_api_key", "private_key"],
)  # fmt: skip
def test_names_of_secrets(name):
    assert is_secret(name)
    assert hide_values({name: KEY}) == {name: "***"}
    assert hide_values({"a": [{name: KEY}], "b": ({"c": {name: KEY}},)}) == {
        "a": [{name: "***"}],
        "b": ({"c": {name: "***"}},),
    }


@pytest.mark.parametrize(
    "name",
    ["tokenizer", "eos_token", "pad_token", "max_tokens", "think_end_token", "pretrained", "base_url", "num_tokens", "key",
     "add_bos_token", "prefix_token_id", "tokenized_requests", "author", "secretary", "max_gen_toks", "passages"],
)  # fmt: skip
def test_names_of_others(name):
    assert not is_secret(name)
    assert hide_values({name: "value", "n": 1, "t": (1, None, True)}) == {
        name: "value",
        "n": 1,
        "t": (1, None, True),
    }


def test_a_flag_of_that_name_is_no_secret():
    assert hide_values({"token": True, "password": None}) == {"token": True, "password": None}


def test_headers_and_addresses():
    values = {
        "header": {"X-Mine": KEY},
        "base_url": f"https://ann:{KEY}@host/v1",
        "other": f"http://host/?api_key={KEY}&a=1",
    }
    assert hide_values(values) == {
        "header": {"X-Mine": "***"}, "base_url": "https://***@host/v1", "other": "http://host/?api_key=***&a=1"
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [f"token={KEY}", f"failed with api_key={KEY}, sorry", f"{{'api_key': '{KEY}'}}", f'{{"token": "{KEY}"}}',
     f"Authorization: Bearer {KEY}", f"'Authorization': 'Bearer {KEY}'", f"https://ann:{KEY}@host/x", f"password: {KEY}",
     f"HTTPS_PROXY=http://u:{KEY}@proxy", f"OPENAI_API_KEY={KEY}",
     f"HF_TOKEN=...{KEY}"],
)  # fmt: skip
def test_messages(text):
    assert KEY not in hide_text(text) and "***" in hide_text(text)


@pytest.mark.parametrize(
    "secret", ["hf_" + "aB3" * 10, "sk-" + "aB3-" * 8, "ghp_" + "aB3" * 10, "AKIA" + "AB34" * 4]
)
def test_what_looks_like_a_key(secret):
    assert hide_text(f"no access with {secret}!") == "no access with ***!"


@pytest.mark.parametrize(
    "text",
    ["the token: '}' was unexpected", "5 tokens: a, b", "tokens=3", "the eos_token=</s> is", "sk-learn and hf_home",
     "an author@host.org", "http://host:80/a@b", "password required", "Did you mean 'tokenizer'?",
     "Type: export HF_TOKEN=..., with a valid token", "export OPENAI_API_KEY=...", "export HF_TOKEN=... (of that account)"],
)  # fmt: skip
def test_messages_without_secrets_stay(text):
    assert hide_text(text) == text


def test_known_secrets_are_hidden_wherever_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_API_KEY", 'env"secret"1')
    monkeypatch.setenv(
        "DB_PASSWORD", "password"
    )  # a word: it would be hidden in texts that have nothing to do with it
    remember_secrets({"model_args": {"token": KEY, "base_url": "http://u:pa55word@host"}})
    value = {"a": f"x{KEY}y", "b": 'env"secret"1', "c": "pa55word", "d": "the password"}
    write_atomically(tmp_path / "run.json", json.dumps(value))
    hidden = {"a": "x***y", "b": "***", "c": "***", "d": "the password"}
    assert json.loads((tmp_path / "run.json").read_text()) == hidden
    print_plain(json.dumps(value))
    assert json.loads(capsys.readouterr().out) == hidden
    record = logging.LogRecord("x", 30, "", 0, "with %s", (KEY,), None)
    assert show_plain_record(record) and record.getMessage() == "with ***"


@given(st.text())
def test_text_without_known_secrets_stays(text):
    assert hide_known(text) == text


# ---------------------------------------------------------------------- settings


SETTINGS = {
    "model": "hf", "tasks": "piqa", "seed": 1,
    "model_args": {"pretrained": "x", "token": KEY, "base_url": f"http://u:{KEY}@host"}, "wandb_args": {"api_key": KEY},
}  # fmt: skip


def test_saved_settings_have_no_secrets():
    spec = make_spec(SETTINGS)
    assert spec.model_args["token"] == KEY
    for text in (json.dumps(dump_spec(spec)), format_command(spec)):
        assert "s3cr3t" not in text and "***" in text


def test_two_runs_that_differ_only_in_secrets_are_the_same():
    other = {**SETTINGS, "model_args": {**SETTINGS["model_args"], "token": "another"}}
    assert dump_spec(make_spec(SETTINGS)) == dump_spec(make_spec(other))


def test_saved_settings_are_read_with_the_secrets_of_the_environment(monkeypatch):
    saved = json.loads(json.dumps(dump_spec(make_spec(SETTINGS))))
    for variable, value in (
        ("GPTALT_TOKEN", KEY),
        ("GPTALT_BASE_URL", "http://u:x@host"),
        ("GPTALT_API_KEY", "k"),
    ):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        with pytest.raises(
            GptaltError,
            match=re.escape("without their secrets (***)")
            + f".*{variable} is not set.*\nSet the variable {variable}",
        ):
            make_spec(saved)
        monkeypatch.setenv(variable, value)
    spec = make_spec(saved)
    assert spec.model_args == {"pretrained": "x", "token": KEY, "base_url": "http://u:x@host"}
    assert spec.wandb_args == {"api_key": "k"}
    assert dump_spec(spec) == dump_spec(make_spec(SETTINGS))


def test_the_hubs_own_variable_gives_a_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hub-token-1")
    assert fill_values({"token": "***"}) == {"token": "hub-token-1"}
