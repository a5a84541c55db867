"""The catalogue: every model of the survey, and what its chat template renders."""

import json
import re
from pathlib import Path

import gptalt_eval_plugin_models
import pytest

from gptalt_eval import GptaltError
from gptalt_eval.commands import cli
from gptalt_eval.commands.model_list import make_row
from gptalt_eval.commands.show import describe_model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.models.editions import match_model
from gptalt_eval.planning.models.reader import find_model_yamls
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.planning.weights import count_pictures
from gptalt_eval.running.lmeval.stops import find_ends
from gptalt_eval.testing import make_plugin_set
from gptalt_eval.validation.chats import check_template, render
from gptalt_eval.validation.models import find_model_faults
from gptalt_eval.validation.requests import check_request

GOLDEN = json.loads((Path(__file__).parent / "golden" / "templates.json").read_text(encoding="utf-8"))
TURNS = [("system", "SYS"), ("user", "U1"), ("assistant", "A1"), ("user", "U2")]
CASES = {"custom": TURNS, "default": TURNS[1:], "single": TURNS[1:2]}
PLUGINS = make_plugin_set(gptalt_eval_plugin_models)
MODELS = {
    name: owned.item
    for name, owned in Catalog(PLUGINS).models.items()
    if owned.owner.plugin == "gptalt_eval_plugin_models"
}
JUDGES = {"pandalm"}  # whose messages are not texts
ASKED = [
    "chatglm",
    "chatglm-6b",
    "chatglm2",
    "chatglm3",
    "moss",
    "belle",
    "vicuna-7b",
    "vicuna-13b",
    "alpaca",
    "alpaca-lora",
    "stablelm-tuned",
    "openassistant",
    "dolly-v2",
    "mpt",
    "mpt-chat",
    "mpt-instruct",
    "galactica",
    "rwkv",
    "pandalm",
    "redpajama-base",
    "redpajama-instruct",
    "redpajama-chat",
    "h2ogpt",
    "llama",
    "llama2",
    "llama2-chat",
    "koala",
    "baize",
    "llava",
    "blip2",
    "instructblip",
    "minigpt4",
    "vpgtrans",
    "mplug-owl",
    "otter",
    "multimodal-gpt",
]


#: image-text models that transformers loads, and how many pictures a prompt of theirs may have
NATIVE = {
    "llava": "several", "llava-13b": "several", "llava-next": "several", "llava-next-vicuna": "several",
    "blip2": "one", "blip2-2.7b": "one", "instructblip": "one", "idefics": "several", "idefics2": "several",
    "idefics3": "several", "smolvlm": "several", "smolvlm-500m": "several", "smolvlm-256m": "several",
    "smolvlm2": "several", "qwen2-vl": "several", "qwen2-vl-2b": "several", "qwen2.5-vl": "several",
    "qwen2.5-vl-3b": "several",
}  # fmt: skip
COMPOSED = {
    "minigpt4": "one", "minigpt4-13b": "one", "vpgtrans": "one", "mplug-owl": "several", "otter": "several",
}  # fmt: skip


def make_messages(turns):
    return [{"role": role, "content": text} for role, text in turns]


def test_every_model_of_the_survey_is_there_and_nothing_is_wrong():
    assert set(ASKED) <= Catalog(PLUGINS).model_names.keys()
    assert len(MODELS) >= 34 and PLUGINS.problems == []


@pytest.mark.parametrize("name", MODELS)
def test_its_facts_are_stated(name):
    model = MODELS[name]
    assert model.licence != "not stated" and model.home and model.languages and model.card.sources
    assert model.card.parameters > (10**8 if model.sees_pictures else 10**9)
    assert model.card.released.startswith("202") and model.card.tuning
    assert model.loader is None or model.loader.summary != "not installed"
    assert model.card.modality == "image-text" or "pretrained" in model.args or name == "openassistant-llama"


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", sorted(GOLDEN.keys() - JUDGES))
def test_the_template_renders_what_its_publisher_s_code_does(name, case):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    special = GOLDEN[name]["special"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **special)
    tokenizer.chat_template = MODELS[name].template.jinja
    messages = make_messages(CASES[case])
    if (name, case) == ("mplug-owl", "single"):  # with a picture
        messages = make_messages([("user", "<image>\nHuman: Explain why this meme is funny.")])
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == GOLDEN[name]["golden"][case]
    special = {"bos_token": "", "eos_token": ""} | special
    assert render(MODELS[name].template.jinja, messages, special=special) == rendered  # as `show model` does


@pytest.mark.parametrize(("more", "case"), [({"input": ""}, "no_input"), ({"input": "IN"}, "with_input")])
def test_the_judge_is_shown_both_answers(more, case):
    content = {"instruction": "I", "response1": "R1", "response2": "R2", **more}
    shown = render(
        MODELS["pandalm"].template.jinja, [{"role": "user", "content": content}], special={"bos_token": "<s>"}
    )
    assert shown == GOLDEN["pandalm"]["golden"][case]


@pytest.mark.parametrize("name", sorted(JUDGES))
@pytest.mark.parametrize("asked", [{"apply_chat_template": True}, {"prompt_style": "standard,system"}])
def test_a_judge_takes_no_questions_and_says_so_before_it_is_loaded(tmp_path, name, asked):
    given = {"model_args": {"pretrained": "org/not-here"}, "tasks": "piqa", "data_dir": "sample"}
    with pytest.raises(GptaltError) as caught:
        resolve(make_spec({"model": name, **given, **asked}), PLUGINS, check_request)
    assert "cannot be applied: it compares two answers and takes no question." in str(caught.value)
    assert "Run without it: --prompt_style standard." in str(caught.value)


def test_no_yaml_of_the_catalogue_has_a_fault():
    catalog = Catalog(PLUGINS)
    files = find_model_yamls(gptalt_eval_plugin_models.CATALOGUE)
    assert len(files) > 20
    assert [fault for file in files for fault in find_model_faults(file, catalog)] == []


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_answers_end_where_the_model_s_turn_does(name):
    template = MODELS[name].template
    assert set(GOLDEN[name]["stop"]) <= set(template.stop)
    assert set(GOLDEN[name]["ids"]) <= set(template.stop_token_ids)


WITH_IDS = sorted(name for name in MODELS if MODELS[name].template and MODELS[name].template.stop_token_ids)


@pytest.mark.parametrize("name", WITH_IDS)
def test_ids_that_end_answers_are_used_only_where_the_tokenizer_has_them(name):
    template = MODELS[name].template
    wrong = find_ends(template, StandIn({}), True)
    assert (wrong.stop, wrong.ids) == (template.stop, ())
    assert all(f"{number} is 'word'" in wrong.explain(name) for number in template.stop_token_ids)
    right = StandIn(dict(zip(template.stop_token_ids, [*template.stop, *(["<end>"] * 9)], strict=False)))
    assert find_ends(template, right, True).ids == template.stop_token_ids


class StandIn:
    """A large tokenizer of words, and of some special tokens."""

    def __init__(self, special):
        self.special, self.all_special_ids = special, list(special)

    def __len__(self):
        return 200_000

    def convert_ids_to_tokens(self, number):
        return self.special.get(number, "word")


def test_chatglm3_s_ids_are_those_of_the_tokenizer_at_hand(reference):
    from gptalt_eval_plugin_models.chatglm.tokenizers import ChatGLM3Tokenizer

    small = ChatGLM3Tokenizer(str(reference / "tokenizers" / "tokenizer.model"), encode_special_tokens=True)
    ends = find_ends(MODELS["chatglm3"].template, small, True)
    assert (ends.stop, ends.ids) == (("<|user|>", "<|observation|>"), (2,))
    assert "64795 is beyond its" in ends.explain("chatglm3")


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_its_folder_contains(name):
    model = MODELS[name]
    told_apart = model.loader is not None and model.loader.name == "chatglm"
    assert model.card.modality == "image-text" or bool(model.card.model_type) is not told_apart


@pytest.mark.parametrize("name", ["minigpt4", "minigpt4-13b", "vpgtrans"])
def test_a_config_that_is_the_same_for_several_models_leaves_the_named_one(tmp_path, name):
    """VPGTrans has another chat template than MiniGPT-4."""
    (tmp_path / "config.json").write_text('{"model_type": "minigpt4"}')
    spec = make_spec({"model": name, "model_args": {"pretrained": str(tmp_path)}})
    catalog = Catalog(PLUGINS)
    assert match_model(catalog, catalog.find_model(name), spec)[0].item.name == name


@pytest.mark.parametrize("name", sorted(name for name in MODELS if MODELS[name].template))
def test_no_system_message_is_dropped_and_a_conversation_grows_at_its_end(name):
    model = MODELS[name]
    if name in JUDGES:
        assert model.template.system_place == "nowhere"
        return
    check_template(model)
    first, later = (render(model.template.jinja, make_messages(turns)) for turns in (TURNS[:2], TURNS))
    grows = name != "chatglm"  # whose first question has no heading, as its publisher's code writes it
    assert later.startswith(first) is grows
    assert first.count("{bos}") <= 1 and (not first.count("{bos}") or first.startswith("{bos}"))


@pytest.mark.parametrize("name", MODELS)
def test_show_model_says_all(name):
    page = describe_model(Catalog(PLUGINS), name)
    for fact in ("Licence:", "Commercial use:", "Weights take:", "4-bit", "Languages:", "Sources:", "Try:"):
        assert fact in page
    shows = MODELS[name].template is not None and name not in JUDGES
    assert ("Two turns" in page and "And of Italy?" in page) is shows


def test_ls_models_says_which_models_see_pictures(capsys):
    assert cli.dispatch(["ls", "models", "--json"], PLUGINS) == 0
    listed = {row["name"]: (row["modality"], row["pictures"]) for row in json.loads(capsys.readouterr().out)}
    assert {listed[name] for name in NATIVE.keys() | COMPOSED.keys()} == {
        ("image-text", "several"), ("image-text", "one"),
    }  # fmt: skip
    assert listed["vicuna-7b"] == ("text", "") and listed["hf-multimodal"] == ("image-text", "several")
    rows = {name: make_row(owned)["what"] for name, owned in Catalog(PLUGINS).models.items()}
    assert rows["llava"] == "LLaVA 1.5 7B, sees pictures"
    assert rows["blip2"] == "BLIP-2 with OPT 6.7B, sees one picture a prompt"
    assert "picture" not in rows["vicuna-7b"]


def test_ls_models_lists_all_with_their_facts(capsys):
    assert cli.dispatch(["ls", "models", "--json"], PLUGINS) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(listed) >= 34 and MODELS.keys() <= listed.keys()
    assert listed["chatglm"]["loader"] == "chatglm" and listed["chatglm"]["hub"] == "THUDM/chatglm-6b"
    assert all(listed[name]["memory"]["fp16"] > (0.4 if MODELS[name].sees_pictures else 1) for name in MODELS)


@pytest.mark.parametrize(("name", "pictures"), [*NATIVE.items(), *COMPOSED.items()])
def test_it_is_known_how_many_pictures_a_prompt_may_have(name, pictures):
    model = MODELS[name]
    assert model.is_loadable and (model.backend == "hf-multimodal") is (name in NATIVE)
    assert count_pictures(model, make_spec({"model": name})) == pictures
    said = "sees one picture a prompt" if pictures == "one" else "sees pictures, several in a prompt"
    page = describe_model(Catalog(PLUGINS), name)
    assert re.search(rf"^Pictures: +{said}$", page, re.M)


def test_no_other_model_sees_pictures_and_runs():
    known = {name for name, model in MODELS.items() if model.sees_pictures and model.is_loadable}
    assert known - {"otter-mpt", "multimodal-gpt"} == NATIVE.keys() | COMPOSED.keys()
    assert not MODELS["llava-v0"].is_loadable and not MODELS["vicuna-7b"].sees_pictures


@pytest.mark.torch
@pytest.mark.parametrize("name", NATIVE)
def test_transformers_has_a_class_for_its_type(name):
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    kind = MODELS[name].card.model_type
    assert kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or (not kind and name.startswith("smolvlm"))


@pytest.mark.parametrize("name", NATIVE)
def test_its_hub_id_is_loaded_like_it(name):
    catalog = Catalog(PLUGINS)
    hub = MODELS[name].args["pretrained"]
    found, note = match_model(catalog, catalog.find_model(hub), make_spec({"model": hub}))
    assert note == f"{hub} is loaded as '{name}'."
    assert (found.item.backend, found.item.card) == ("hf-multimodal", MODELS[name].card)
