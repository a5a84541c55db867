"""What ``gptalt-eval ls models`` shows: filters by published facts, and all facts for programs."""

import json

import pytest

from gptalt_eval import Card, GptaltError, Model
from gptalt_eval.commands import cli
from gptalt_eval.commands.model_list import read_size
from gptalt_eval.testing import make_plugin_set

MODELS = [
    Model("sky", "x", "MIT", "h", languages=("zh", "en"), card=Card("yes", 6_700_000_000), aliases=("sky-7b",),
          args={"pretrained": "org/sky"}, parameters="6.7B"),
    Model("sea", "x", "own", "h", languages=("en",), card=Card("ask", 12_900_000_000)),
    Model("pond", "x", "MIT", "h", languages=("zh",), card=Card("no", 0)),
    Model("bare", "x", "MIT", "h"),
]  # fmt: skip


def list_names(capsys, *words):
    plugins = make_plugin_set(models=MODELS)
    assert cli.dispatch(["ls", "models", *words, "--json"], plugins) == 0
    return {row["name"] for row in json.loads(capsys.readouterr().out)} - {"smollm2", "dummy"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), {"sky", "sea", "pond", "bare", "hf", "hf-multimodal"}), (("--language", "zh"), {"sky", "pond"}),
        (("--commercial",), {"sky"}), (("--size", "<10B"), {"sky"}), (("--size", ">10B"), {"sea"}),
        (("--size", "7B"), {"sky"}), (("--size", "6.7b"), {"sky"}), (("--size", "6.6B"), set()),
        (("--language", "en", "--size", ">=6.7B"), {"sky", "sea"}), (("sea",), {"sea"}),
    ],
)  # fmt: skip
def test_filters(capsys, words, names):
    assert list_names(capsys, *words) == names


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("<7B", 6_999_999_999, 7 * 10**9), ("<=7B", 7 * 10**9, 7 * 10**9 + 1), (">7B", 7 * 10**9 + 1, 7 * 10**9),
     (">= 135M", 135_000_000, 134_999_999), ("7B", 7_499_999_999, 7_500_000_000), ("<1T", 1, 0)],
)  # fmt: skip
def test_the_bounds_of_a_size(text, inside, outside):
    lowest, highest = read_size(text)
    assert lowest <= inside < highest and not lowest <= outside < highest


def test_all_facts_are_there_for_programs(capsys):
    cli.dispatch(["ls", "models", "sky", "--json"], make_plugin_set(models=MODELS))
    [sky] = json.loads(capsys.readouterr().out)
    assert (sky["aliases"], sky["parameters"], sky["hub"], sky["commercial"], sky["languages"]) == (
        ["sky-7b"], 6_700_000_000, "org/sky", "yes", ["zh", "en"]
    )  # fmt: skip
    assert sky["memory"] == {"fp32": 24.96, "fp16": 12.48, "8-bit": 6.24, "4-bit": 3.12}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("models", "--size", "large"), "--size large: that is not a number of parameters."),
        (("models", "--size", "7"), "--size 7: that is not a number of parameters."),
        (("models", "--language", "xx"), "--language xx: no model here has this language."),
        (("tasks", "--language", "zh"), "--language does not apply to tasks."),
        (("datasets", "--include_path", "."), "--include_path does not apply to datasets."),
        (("models", "--include_path", "nowhere"), "--include_path: there is no folder nowhere."),
        (("datasets", "--commercial"), "--commercial does not apply to datasets."),
    ],
)
def test_what_cannot_be_asked(words, what):
    with pytest.raises(GptaltError) as raised:
        cli.dispatch(["ls", *words], make_plugin_set(models=MODELS))
    assert raised.value.what == what and raised.value.hint


def test_what_yes_no_and_ask_mean_is_said(capsys):
    cli.dispatch(["ls", "models"], make_plugin_set(models=MODELS))
    assert capsys.readouterr().out.endswith("\nyes, no, ask: commercial use (ask: its publisher decides).\n")


def test_that_nothing_is_left_is_said(capsys):
    assert cli.dispatch(["ls", "models", "--size", ">1T"], make_plugin_set(models=MODELS)) == 0
    assert "No model here meets all of these conditions" in capsys.readouterr().out


OWN = """\
models:
  mine:
    hub: me/mine
    parameters: 7B
    licence: MIT
    commercial: yes
    languages: [zh]
    tuning: my own rows
    editions: [me/mine-small]
    sources: [its page]
    unverified: [the date]
    system: Be kind.
    template: "{%- for m in messages -%}<{{ m.role }}>{{ m.content }}{%- endfor -%}"
    stop: ["<user>"]
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN)
    return str(tmp_path)


def test_models_of_the_user_s_own_are_listed_with_all_facts(capsys, own):
    assert list_names(capsys, "--include_path", own, "--size", "7B", "--commercial") == {"sky", "mine"}
    cli.dispatch(["ls", "models", "mine", "--include_path", own, "--json"], make_plugin_set(models=MODELS))
    [mine] = json.loads(capsys.readouterr().out)
    assert (mine["editions"], mine["sources"], mine["unverified"]) == (
        ["me/mine-small"],
        ["its page"],
        ["the date"],
    )
    assert (mine["tuning"], mine["system"], mine["template"]["stop"]) == (
        "my own rows",
        "Be kind.",
        ["<user>"],
    )
    assert mine["template"]["jinja"].startswith("{%- for m") and mine["template"]["system_place"] == "own"
    cli.dispatch(["ls", "models", "bare", "--json"], make_plugin_set(models=MODELS))
    [bare] = json.loads(capsys.readouterr().out)
    assert (bare["template"], bare["sources"], bare["unverified"], bare["editions"]) == (None, [], [], [])


def test_a_model_of_the_user_s_own_is_shown(capsys, own):
    words = ["show", "model", "mine", "--include_path", own]
    assert cli.dispatch(words, make_plugin_set(models=MODELS)) == 0
    shown = capsys.readouterr().out
    assert f"--include_path {own}" in shown and "<system>Be kind.<user>What is the capital" in shown
    with pytest.raises(GptaltError, match="There is no model 'mine'"):
        cli.dispatch(words[:3], make_plugin_set(models=MODELS))
    with pytest.raises(GptaltError, match="there is no folder nowhere"):
        cli.dispatch([*words[:4], "nowhere"], make_plugin_set(models=MODELS))
