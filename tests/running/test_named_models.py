"""A model of a YAML: its chat template writes the prompts, and its stops end the answers, on both scorers."""

import json

import pytest

import gptalt_eval
from gptalt_eval import Template
from gptalt_eval.testing import make_plugin_set

pytestmark = pytest.mark.torch
BODY = """\
{%- for message in messages -%}
<{{ message.role }}>{{ message.content }}
{%- endfor -%}
{%- if add_generation_prompt -%}<assistant>{%- endif -%}
"""
YAML = """\
licence: MIT
models:
  sky:
    hub: {folder}
    system: Be kind.
    template: sky.jinja
    system_place: {place}
    stop: {stop}
    stop_token_ids: {ids}
"""


@pytest.fixture
def sky(tmp_path):
    """Runs a tiny model that a YAML names, and returns the record."""
    import tiny

    weights = tiny.save_model("llama", tmp_path / "weights")
    own = tmp_path / "own"
    own.mkdir()

    def evaluate(out, place="own", stop=(), ids=(), body=BODY, tasks="gsm8k", **settings):
        (own / "sky.jinja").write_text(body)
        text = YAML.format(folder=weights, place=place, stop=json.dumps(list(stop)), ids=list(ids))
        (own / "sky.yaml").write_text(text if ids else text.replace("    stop_token_ids: []\n", ""))
        if not stop:
            (own / "sky.yaml").write_text((own / "sky.yaml").read_text().replace("    stop: []\n", ""))
        given = {
            "data_dir": "sample", "limit": 2, "log_samples": True, "device": "cpu", "include_path": str(own),
            "output_path": str(tmp_path / out), "num_fewshot": 0, "gen_kwargs": {"max_gen_toks": 8}, **settings,
        }  # fmt: skip
        return gptalt_eval.evaluate("sky", tasks, plugins=make_plugin_set(), **given)

    return evaluate


def read(record, cell=0, task="gsm8k"):
    """The prompts, settings and answers of a task."""
    rows = list(record.read_samples(cell, task))
    asked = [row["arguments"]["gen_args_0"] for row in rows]
    return [each["arg_0"] for each in asked], asked[0]["arg_1"], [row["resps"][0][0] for row in rows]


def test_the_template_writes_the_prompts_and_is_on_record(sky):
    record = sky("a", stop=["<user>"], ids=[1, 7], prompt_style=["standard", "system"])
    plain, chat = read(record, 0), read(record, 1)
    assert chat[0] == [f"<system>Be kind.<user>{prompt}<assistant>" for prompt in plain[0]]
    assert "<user>" not in plain[1]["until"] and "eos_token_id" not in plain[1]
    assert chat[1]["until"][-1:] == ["<user>"] and chat[1]["eos_token_id"] == [1, 7]
    model = record.run.model
    assert (model.system_place, model.stop, model.stop_token_ids) == ("own", ("<user>",), (1, 7))
    assert record.results[1]["chat_template"] == BODY


@pytest.mark.parametrize("asked", [{}, {"prompt_style": "standard"}])
def test_a_run_without_the_template_has_none_of_its_stops(sky, asked):
    record = sky("a", stop=["<user>"], ids=[1, 7], **asked)
    model = record.run.model
    assert (model.system_place, model.stop, model.stop_token_ids) == ("", (), ())
    assert "<user>" not in read(record)[1]["until"]


def test_ids_of_another_tokenizer_are_said_and_not_used(sky, tmp_path):
    other = {"model_args": {"pretrained": str(tmp_path / "weights")}, "apply_chat_template": True}
    record = sky("a", stop=["<user>"], ids=[1, 7, 99999], **other)
    assert "eos_token_id" not in read(record)[1] or 7 not in read(record)[1]["eos_token_id"]
    assert 7 not in record.run.model.stop_token_ids and record.run.model.stop == ("<user>",)
    [note] = [note for note in record.run.notes if "end an answer" in note]
    assert "99999 is beyond its" in note and "Answers end at '<user>'." in note


def test_a_template_of_the_tokenizer_that_is_named_has_none_of_the_yaml_s_stops(sky, monkeypatch):
    from gptalt_eval.running.lmeval import model

    def give(lm, name, template):
        lm.tokenizer.chat_template = BODY

    monkeypatch.setattr(model, "choose_template", give)
    record = sky("a", stop=["<user>"], ids=[1, 7], apply_chat_template="tool_use")
    assert record.run.model.stop == () and "<user>" not in read(record)[1]["until"]


def test_the_fingerprint_knows_the_template(sky):
    first = sky("a", apply_chat_template=True).run.model
    assert first.fingerprint == sky("b", prompt_style="standard").run.model.fingerprint
    other = sky("c", body=BODY.replace("<assistant>", "<bot>"), apply_chat_template=True).run.model
    assert other.fingerprint != first.fingerprint
    assert {part for part in first.parts if first.parts[part] != other.parts[part]} == {"chat template"}


@pytest.mark.parametrize("kind", ["stop", "ids"])
def test_stops_end_answers_on_our_path_and_on_stock_s(sky, kind):
    import tiny

    tokenizer = tiny.make_tokenizer()
    asked = {"apply_chat_template": True, "limit": 6, "tasks": "triviaqa"}
    answers = read(sky("a", **asked), task="triviaqa")[2]
    tokens, row = max((tokenizer.encode(text), row) for row, text in enumerate(answers))
    assert len(tokens) > 4
    stop = {"stop": [tokenizer.decode(tokens[2:4])]} if kind == "stop" else {"ids": [tokens[3]]}
    fast, slow = (
        read(sky(scorer, scorer=scorer, **asked, **stop), task="triviaqa")[2] for scorer in ("tree", "stock")
    )
    assert fast == slow != answers
    assert answers[row].startswith(fast[row]) and len(tokenizer.encode(fast[row])) <= 4


def test_examples_can_be_turns(sky):
    turns, one = (
        read(sky(str(several), apply_chat_template=True, num_fewshot=2, fewshot_as_multiturn=several))[0][0]
        for several in (True, False)
    )
    assert turns.count("<user>") == 3 and turns.count("<assistant>") == 3
    assert one.count("<user>") == 1 and one.count("<assistant>") == 1


@pytest.mark.parametrize(
    "style", [{"prompt_style": "system"}, {"system_instruction": "Be kind.", "apply_chat_template": True}]
)
def test_a_system_message_is_never_dropped_without_a_word(sky, monkeypatch, style):
    refusing = "{%- if messages[0].role == 'system' -%}{{ raise_exception('no system') }}{%- endif -%}" + BODY
    with pytest.raises(gptalt_eval.GptaltError, match="cannot be applied: no system"):
        sky("a", body=refusing, **style)  # said before the weights load
    # a tokenizer's own template is known only after loading
    monkeypatch.setattr("gptalt_eval.validation.requests.check_model", lambda *_: ())
    record = sky("b", body=refusing, **style)
    assert list(record.run.failed.values()) == ["the model's chat template drops the system message"]


def test_a_named_template_of_the_tokenizer_is_left_to_choose():
    from types import SimpleNamespace

    from gptalt_eval.running.lmeval.model import use_template

    lm = SimpleNamespace(tokenizer=SimpleNamespace(chat_template="old"))
    use_template(lm, None)
    assert lm.tokenizer.chat_template == "old"
    use_template(lm, Template("new"))
    assert lm.tokenizer.chat_template == "new"
    use_template(SimpleNamespace(), Template("new"))  # a backend without a tokenizer
