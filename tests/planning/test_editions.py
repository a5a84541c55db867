"""What a folder contains decides how it is loaded, whatever the user called it."""

import json
import shutil

import pytest
from model_folders import write_model

from gptalt_eval import Card, GptaltError, Loader, Model, Template, hookimpl
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.hub import find_storage
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.models.editions import list_native_types, match_model
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.planning.weights import check_weights, count_pictures, has_chat_template, merge_model_args
from gptalt_eval.testing import make_plugin_set

FIRST, SECOND = (Template(f"{{{{ messages }}}}{name}", "first_user") for name in ("1", "2"))


def find_faults(folder, args):
    if (folder / "broken").exists():
        yield GptaltError(f"{folder}: a shard is missing.")


def identify(config):
    return {"glm1": "chatglm", "glm2": "chatglm2", None: None}[config.get("layout")]  # raises for others


def describe_repair(folder, config):
    return "keeps rows apart" if config["model_type"] in ("rwkv", "llama-wrong") else ""


GLM = Loader("chatglm", "x", lambda: None, identify, find_faults, repairs=describe_repair)


def make_named(name, template, **more):
    settings = {"args": {"pretrained": f"org/{name}"}, "loader": GLM, "template": template, **more}
    return Model(name, name, "MIT", f"org/{name}", **settings)


class Glm:
    """A plugin with two editions of a model, one loader, and models that transformers loads."""

    @hookimpl
    def register_loaders(self):
        return [GLM]

    @hookimpl
    def register_models(self):
        return [
            make_named("chatglm", FIRST, aliases=("chatglm-6b",)),
            make_named("chatglm2", SECOND),
            make_named("vicuna", Template("{{ messages }}", "nowhere"), loader=None),
            make_named("neo", FIRST, loader=None, card=Card("no", 1, model_type="gpt_neox")),
            make_named("llava", FIRST, loader=None, card=Card("no", 1, modality="image-text")),
            make_named(
                "idefics3",
                None,
                loader=None,
                backend="hf-multimodal",
                card=Card("no", 1, modality="image-text", pictures="one", model_type="idefics3"),
            ),
            make_named(
                "lora",
                FIRST,
                loader=None,
                args={"pretrained": "org/base", "peft": "org/l", "revision": "v1", "tokenizer": "org/t"},
            ),
        ]


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def write_glm(folder, layout="glm2", **config):
    return write_model(folder, config={"model_type": "chatglm", "layout": layout, **config})


def plan(model, pretrained=None, **settings):
    args = {"model_args": {"pretrained": str(pretrained)}} if pretrained else {}
    spec = make_spec({"model": str(model), "tasks": "piqa", "data_dir": "sample", **args, **settings})
    return resolve(spec, make_plugin_set(Glm()))


def list_notes(found):
    return [note for note in found.notes if "embedded sample" not in note]


def refuse(*words, **settings):
    with pytest.raises(GptaltError) as caught:
        plan(*words, **settings)
    return str(caught.value)


@pytest.mark.parametrize("name", ["chatglm", "chatglm-6b"])
def test_a_folder_of_another_edition_is_run_as_that_edition(tmp_path, name):
    folder = write_glm(tmp_path / "mine")
    found = plan(name, folder)
    assert (found.model.item.template, found.title) == (SECOND, "chatglm2")
    assert found.model_args == {"pretrained": str(folder)}
    assert list_notes(found) == [
        f"{folder} contains a model like 'chatglm2', not 'chatglm': "
        "it is run as 'chatglm2', with the chat template of that."
    ]


def test_a_folder_of_the_named_edition_is_not_talked_about(tmp_path):
    found = plan("chatglm", write_glm(tmp_path / "mine", "glm1"))
    assert (found.model.item.template, list_notes(found)) == (FIRST, [])


def test_a_folder_as_a_model_finds_its_loader(tmp_path):
    folder = write_glm(tmp_path / "mine")
    found = plan(folder)
    assert (found.model.item.loader, found.model.item.template) == (GLM, SECOND)
    assert found.model_args == {"pretrained": str(folder)} and found.title.endswith("/mine")
    assert list_notes(found) == [f"{folder} is loaded as a model like 'chatglm2'."]


def test_hf_is_refused_before_loading(tmp_path):
    folder = write_glm(tmp_path / "mine")
    assert refuse("hf", folder) == (
        f"--model hf cannot load {folder}, which contains a model like 'chatglm2'.\n"
        f"Type: --model chatglm2 --model_args pretrained={folder}"
    )
    assert plan("hf", folder, trust_remote_code=True).model.item.loader is None  # as the user asks


def test_a_folder_that_transformers_knows_is_left_alone(tmp_path):
    assert {"llama", "gpt_neox", "rwkv", "glm"} <= list_native_types()
    assert not {"chatglm", "moss"} & list_native_types()
    folder = write_model(tmp_path / "llama")
    assert plan(folder).model.item.loader is None
    assert plan("vicuna", folder).model.item.name == "vicuna"


@pytest.mark.parametrize("name", ["folder", "hf", "hf-auto", "vicuna", "own/rwkv"])
def test_a_folder_that_transformers_loads_with_faults_gets_the_loader_that_mends_them(tmp_path, name):
    place = folder = write_model(tmp_path / "rwkv", config={"model_type": "rwkv"})
    if name == "own/rwkv":  # of the hub, in its cache
        place, _ = name, keep_in_cache(name, folder)
    found = plan(place, None) if name in ("folder", "own/rwkv") else plan(name, place)
    own = Template("{{ messages }}", "nowhere") if name == "vicuna" else None
    assert (found.model.item.loader, found.model.item.template) == (GLM, own)
    assert list_notes(found) == [f"{place} is loaded by the loader 'chatglm', which keeps rows apart."]
    assert found.title == {"folder": f"{tmp_path.name}/rwkv"}.get(name, name) or name.startswith("hf")


def test_code_that_a_folder_does_not_have_is_no_reason_to_leave_it_as_it_is(tmp_path):
    folder = write_model(tmp_path / "rwkv", config={"model_type": "rwkv"})
    assert plan("hf", folder, trust_remote_code=True).model.item.loader is GLM
    folder = write_model(tmp_path / "own", config={"model_type": "rwkv", "auto_map": {"AutoModel": "m.X"}})
    assert plan("hf", folder, trust_remote_code=True).model.item.loader is None
    assert plan("hf", folder).model.item.loader is GLM


def keep_in_cache(hub, folder):
    storage = find_storage(hub)
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, storage / "snapshots" / ("0" * 40))


def test_a_model_of_the_hub_s_cache_is_looked_at_too(tmp_path):
    keep_in_cache("me/glm", write_glm(tmp_path / "mine"))
    assert plan("me/glm").model.item.template == SECOND
    text = refuse("hf", "me/glm")
    assert text == (
        "--model hf cannot load me/glm, which contains a model like 'chatglm2'.\n"
        "Type: --model chatglm2 --model_args pretrained=me/glm"
    )


def test_a_converted_folder_is_that_of_one_model_and_transformers_can_load_it(tmp_path):
    folder = write_model(tmp_path / "glm", config={"model_type": "glm", "layout": "glm2"})
    assert plan(folder).model.item.template == plan("chatglm", folder).model.item.template == SECOND
    assert plan("hf", folder).model.item.loader is None
    wrong = write_model(tmp_path / "wrong", config={"model_type": "rwkv", "layout": "glm2"})
    found = plan("hf", wrong).model.item
    assert (found.loader, found.template) == (GLM, None)


@pytest.mark.parametrize("kind", ["qwen2", "llama", "bloom"])
def test_a_folder_of_another_kind_than_the_named_model_is_refused(tmp_path, kind):
    folder = write_model(tmp_path / "mine", config={"model_type": kind})
    assert refuse("neo", folder) == (
        f"{folder} contains a model of the type '{kind}', and 'neo' is of the type 'gpt_neox'.\n"
        f"To run it with its own chat template, if it has one: --model {folder}"
    )
    keep_in_cache("me/other", folder)
    assert "me/other contains a model of the type" in refuse("neo", "me/other")
    assert plan(folder).model.item.template is None
    right = write_model(tmp_path / "right", config={"model_type": "gpt_neox"})
    assert plan("neo", right).model.item.template == FIRST


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"model_type": "chatglm"}', '{"model_type": ["a"], "layout": 3}']
)
def test_a_config_of_any_content_is_no_crash(tmp_path, content):
    folder = write_glm(tmp_path / "mine")
    (folder / "config.json").write_text(content)
    assert isinstance(refuse_or_run("hf", folder), str)


def refuse_or_run(*words):
    try:
        return plan(*words).title
    except GptaltError as error:
        return str(error)


def test_a_loader_that_fails_is_its_plugin_s_problem(tmp_path):
    plugins = make_plugin_set(Glm())
    folder = write_glm(tmp_path / "mine", "unheard of")
    spec = make_spec({"model": str(folder), "tasks": "piqa", "data_dir": "sample"})
    assert resolve(spec, plugins).model.item.loader is None
    assert "the loader 'chatglm' cannot read a config.json: KeyError" in plugins.problems[0].what


def test_a_hub_id_that_needs_a_loader_gets_it(monkeypatch):
    monkeypatch.setattr("gptalt_eval.planning.weights.find_source_faults", lambda *_: ())
    found = plan("org/chatglm2")
    assert (found.model.item.loader, found.title) == (GLM, "org/chatglm2")
    assert list_notes(found) == ["org/chatglm2 is loaded as 'chatglm2'."]
    assert plan("org/vicuna").model.item.template is None  # transformers loads it as it is
    assert plan("org/base").model.item.args == {"pretrained": "org/base"}  # not the adapter on it


def test_a_model_of_the_user_s_own_keeps_its_template(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    text = {"models": {"chatglm": {"hub": "me/glm", "loader": "chatglm", "template": "{{ messages }}mine"}}}
    (own / "glm.yaml").write_text(json.dumps(text))
    found = plan("chatglm", write_glm(tmp_path / "mine"), include_path=str(own))
    assert found.model.item.template.jinja == "{{ messages }}mine"
    assert list_notes(found) == [f"The model 'chatglm' is that of --include_path {own}, not of Glm."]


def test_a_loader_says_what_is_wrong_with_a_folder(tmp_path):
    folder = write_glm(tmp_path / "mine")
    (folder / "broken").touch()
    assert refuse("chatglm2", folder) == f"{folder}: a shard is missing."
    (folder / "broken").unlink()
    (folder / "tokenizer.json").unlink()  # which only transformers would need
    assert plan("chatglm2", folder)


def test_a_model_that_sees_pictures_is_listed_and_not_run():
    text = refuse("llava")
    assert text.startswith("'llava' sees pictures, and nothing here loads its files.")
    assert "gptalt-eval show model llava" in text and "problems" not in text


@pytest.mark.parametrize("kind", ["folder", "hub id"])
def test_a_model_that_sees_pictures_gets_the_class_for_such(tmp_path, kind):
    place = str(write_model(tmp_path / "mine", config={"model_type": "idefics3"}))
    if kind == "hub id":
        place = "org/idefics3"
    catalog = Catalog(make_plugin_set(Glm()))
    found, note = match_model(catalog, catalog.find_model(place), make_spec({"model": place}))
    assert found.item.backend == "hf-multimodal" and found.item.name == place
    assert note.startswith(f"{place} ") and "loaded as" in note


@pytest.mark.parametrize("name", ["hf", "hf-auto", "huggingface"])
def test_a_class_for_texts_is_refused_for_a_model_that_sees_pictures(tmp_path, name):
    folder = write_model(tmp_path / "mine", config={"model_type": "idefics3"})
    text = refuse(name, folder)
    assert f"--model {name} cannot load {folder}, which contains a model that sees pictures." in text
    assert f"Type: --model hf-multimodal --model_args pretrained={folder}" in text
    catalog = Catalog(make_plugin_set(Glm()))
    spec = make_spec({"model": "hf-multimodal", "model_args": {"pretrained": str(folder)}})
    named = catalog.find_model("hf-multimodal")
    assert match_model(catalog, named, spec) == (named, "")


def test_a_named_model_of_pictures_takes_only_its_kind(tmp_path):
    text = refuse("idefics3", write_model(tmp_path / "mine", config={"model_type": "gpt_neox"}))
    assert "contains a model of the type 'gpt_neox', and 'idefics3' is of the type 'idefics3'" in text


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("hf-multimodal", {}, "several"), ("hf-multimodal", {"max_images": 1}, "one"),
        ("hf-multimodal", {"max_images": "1"}, "one"), ("hf-multimodal", {"max_images": 3}, "several"),
        ("hf-multimodal", {"max_images": 0}, ""), ("idefics3", {}, "one"), ("idefics3", {"max_images": 9}, "one"),
        ("idefics3", {"max_images": 0}, ""), ("llava", {}, "several"), ("vicuna", {}, ""), ("hf", {}, ""),
        ("neo", {}, ""), ("neo", {"max_images": 1}, ""), ("dummy", {}, ""), ("org/any", {}, ""),
    ],
)  # fmt: skip
def test_how_many_pictures_a_prompt_may_have(name, given, expected):
    model = Catalog(make_plugin_set(Glm())).find_model(name).item
    assert count_pictures(model, make_spec({"model": name, "model_args": given})) == expected


def test_weights_of_the_user_s_own_are_whole(tmp_path):
    model = Catalog(make_plugin_set(Glm())).find_model("lora").item

    def merge(**args):
        return merge_model_args(model, make_spec({"model": "lora", "tasks": "piqa", "model_args": args}))

    assert merge() == {**model.args} and "peft" in merge(dtype="float16")
    assert merge(pretrained="./mine") == {"pretrained": "./mine"}
    assert merge(pretrained="./base", peft="./mine") == {"pretrained": "./base", "peft": "./mine"}


def test_a_base_without_what_is_added_to_it_is_said_to_be_taken_as_the_whole(tmp_path):
    folder = write_model(tmp_path / "base")
    assert list_notes(plan("lora", folder)) == [
        f"{folder} is taken for the whole 'lora'. If it is the base, add the rest: "
        f"--model_args pretrained={folder},peft=org/l"
    ]
    assert list_notes(plan("vicuna", folder)) == []
    whole = {"pretrained": str(folder), "peft": str(folder)}
    assert "is taken for" not in str(list_notes_or_fault("lora", model_args=whole))


def list_notes_or_fault(*words, **settings):
    try:
        return list_notes(plan(*words, **settings))
    except GptaltError as error:
        return [str(error)]


def test_a_system_message_goes_where_the_model_takes_one_or_is_refused(tmp_path):
    folder = write_glm(tmp_path / "mine")
    asked = {"apply_chat_template": True, "system_instruction": "Be kind."}
    [note] = list_notes(plan("chatglm2", folder, **asked))
    assert note == (
        "The system message is put at the head of the first user turn: "
        "the model has no place for one (chatglm2)."
    )
    for less in ({}, {"apply_chat_template": True}, {"system_instruction": "Be kind."}):
        assert list_notes(plan("chatglm2", folder, **less)) == []
    llama = write_model(tmp_path / "llama")
    assert "'vicuna' takes no system message" in refuse("vicuna", llama, **asked)
    assert plan("vicuna", llama, apply_chat_template=True)


@pytest.mark.parametrize(
    "file", ["chat_template.jinja", "tokenizer_config.json", "named", "jinja in a folder"]
)
def test_a_chat_template_that_is_not_used_is_named(tmp_path, file):
    folder = write_model(tmp_path / "mine", config={"model_type": "gpt_neox"})
    written = {"chat_template.jinja": "theirs", "jinja in a folder": "theirs"}.get(file)
    (folder / "additional_chat_templates").mkdir()
    if written:
        (folder / ("additional_chat_templates/x.jinja" if "folder" in file else file)).write_text(written)
    else:
        own = [{"name": "x", "template": "theirs"}] if file == "named" else "theirs"
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": own}))
    assert list_notes(plan("neo", folder, apply_chat_template=True)) == [
        f"The chat template is that of 'neo', not the one in {folder}, which is another."
    ]
    assert list_notes(plan("neo", folder)) == []
    (folder / "chat_template.jinja").write_text(f"\n{FIRST.jinja}")
    assert list_notes(plan("neo", folder, apply_chat_template=True)) == []
    (folder / "tokenizer_config.json").write_text("{")
    assert isinstance(refuse_or_run("neo", folder), str)


def test_a_template_of_a_yaml_is_known_before_loading(tmp_path):
    spec = make_spec({"model": "chatglm", "tasks": "piqa"})
    assert has_chat_template(make_named("m", FIRST), spec) is True
    assert has_chat_template(make_named("m", None, chat_template=False), spec) is False
    check_weights(make_named("m", FIRST, args={"pretrained": str(write_glm(tmp_path / "a"))}), spec)
