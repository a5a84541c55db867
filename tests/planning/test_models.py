"""YAMLs of models: what they may say, where a fault is, and who has a name."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval import Loader, Model, hookimpl
from gptalt_eval.contract.errors import GptaltError, PluginError, RequestErrors, UnknownNameError
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.index import read_task_folder
from gptalt_eval.planning.models.made import show_number
from gptalt_eval.planning.models.reader import describes_models, find_model_yamls, read_models
from gptalt_eval.testing import make_plugin_set, make_scripted_model

GLM = Loader("glm", "x", lambda: None, lambda config: config.get("says"), lambda folder, args: ())
FAMILY = """\
licence: MIT
commercial: yes
languages: [zh, en]
system: Be kind.
template: "{{ default_system }}{% for m in messages %}{{ m.content }}{% endfor %}"
models:
  sky:
    aliases: [sky-7b]
    hub: org/sky
    parameters: 6.7B
    released: 2023-03-14
    stop: ["\\n\\n"]
    stop_token_ids: [2, 64795]
  sea:
    base: org/sky
    adapter: org/sea-lora
    commercial: no
    template:
    system:
"""


def write(folder, text, name="family.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def read(folder, text):
    return read_models(write(folder, text), {"glm": GLM})


def explain(folder, text):
    """Each fault of a YAML, as LINE:COLUMN TEXT HINT."""
    return [f"{fault.line}:{fault.column} {fault.text} {fault.hint}" for fault in read(folder, text).faults]


def test_what_a_family_shares_and_what_a_model_has_of_its_own(tmp_path):
    sky, sea = read(tmp_path, FAMILY).models
    assert (sky.licence, sky.languages, sky.parameters, sky.aliases) == (
        "MIT",
        ("zh", "en"),
        "6.7B",
        ("sky-7b",),
    )
    assert (sky.card.commercial, sky.card.parameters, sky.card.released) == (
        "yes",
        6_700_000_000,
        "2023-03-14",
    )
    assert (sky.args, sky.home, sky.system_instruction) == ({"pretrained": "org/sky"}, "org/sky", "Be kind.")
    assert (sky.template.stop, sky.template.stop_token_ids, sky.chat_template) == (
        ("\n\n",),
        (2, 64795),
        True,
    )
    assert sky.template.jinja.startswith('{%- set default_system = "Be kind." -%}\n{{ default_system }}')
    assert (sea.args, sea.home) == ({"pretrained": "org/sky", "peft": "org/sea-lora"}, "org/sea-lora")
    assert (sea.card.commercial, sea.template, sea.system_instruction) == ("no", None, None)


@pytest.mark.parametrize("written", ["yes", "'yes'", "Yes", "true", "on", '"true"'])
@pytest.mark.parametrize(
    ("swap", "expected"), [({}, "yes"), ({"yes": "no", "true": "false", "on": "off"}, "no")]
)
def test_yes_and_no_in_every_spelling(tmp_path, written, swap, expected):
    for word, other in swap.items():
        written = written.lower().replace(word, other) if word in written.lower() else written
    [model] = read(tmp_path, f"models: {{m: {{hub: a/b, commercial: {written}}}}}").models
    assert model.card.commercial == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hubb: a/b", "3:5 unknown key 'hubb' in 'm'. Did you mean 'hub'?"),
        ("trust_remote_code: true", "3:5 unknown key 'trust_remote_code' in 'm'. Valid keys: "),
        ("dtype: float16", "Settings for loading belong on the command line, in --model_args."),
        ("commercial: maybe", "3:17 'commercial' in 'm' must be yes, no or ask."),
        (
            "parameters: many",
            "3:17 'parameters' in 'm' must be a number of parameters. Example: 6738415616, or 6.7B",
        ),
        ("released: 14 March", "3:15 'released' in 'm' must be a date."),
        ("released: 2023-13", "3:15 'released' in 'm' must be a date."),
        ("languages: [zh, English]", "3:16 'languages' in 'm' has 'English', which is not an ISO 639 code."),
        ("stop_token_ids: [2, x]", "3:21 'stop_token_ids' in 'm' must be a list of token ids."),
        ("stop_token_ids: [[2, 3]]", "3:21 'stop_token_ids' in 'm' must be text, or a list of texts."),
        ("aliases: [a/b]", "3:14 'aliases' in 'm' is not a model's name"),
        ("modality: images", "3:15 'modality' in 'm' must be one of text, image-text."),
        ("system_place: frist_user", "Did you mean 'first_user'?"),
        ("hub: {a: b}", "3:10 'hub' in 'm' must be text, or a list of texts."),
        ("hub: ''", "3:10 'hub' in 'm' must be text."),
        ("stop: ['']", "3:11 'stop' in 'm' contains an empty text."),
        ("delta: a/b", "3:12 'm' has no 'base', to which its delta is added."),
        ("{hub: a/b, base: c/d, adapter: e/f}", "3:36 'm' has more than one of hub, delta and adapter."),
        ("stop: [x]", "3:11 'stop' has no effect without 'template'."),
        (
            "template: '{{ default_system }}'",
            "3:15 the template names default_system, but there is no 'system'.",
        ),
        ("template: ../up.jinja", "3:15 '../up.jinja' is not the name of a file beside family.yaml."),
        (
            "template: ther.jinja",
            "3:15 there is no file ther.jinja beside family.yaml. Did you mean 'there.jinja'?",
        ),
        (
            "pictures: one",
            "3:15 'pictures: one' is for models that see pictures. Add 'modality: image-text', or remove it.",
        ),
        ("backend: hf-multimodal", "3:14 'backend: hf-multimodal' is for models that see pictures."),
        (
            "{hub: a/b, modality: text, backend: hf-multimodal}",
            "'backend: hf-multimodal' is for models that see pictures.",
        ),
        (
            "{hub: a/b, modality: image-text, loader: glm, backend: hf-multimodal}",
            "'backend: hf-multimodal' and the loader 'glm' would both load it. Remove one of them.",
        ),
        ("backend: vllm", "3:14 'backend' in 'm' must be one of hf, hf-multimodal."),
        ("pictures: 2", "3:15 'pictures' in 'm' must be one of several, one."),
        ("loader: glmm", "3:13 there is no loader 'glmm'. Did you mean 'glm'?"),
    ],
)
def test_a_fault_has_its_line_and_column(tmp_path, line, expected):
    write(tmp_path, "x", "there.jinja")
    found = explain(tmp_path, f"models:\n  m:\n    {line}\n")
    assert expected in " ".join(found) and len(found) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models: {m: {hub: a}}\nmodel: x\n", "2:1 unknown key 'model' in the file."),
        ("aliases: [a]\nmodels: {m: {hub: a}}\n", "1:1 unknown key 'aliases' in the file."),
        ("models: {m: {hub: a}}\nmodels: {n: {hub: a}}\n", "2:1 'models' appears twice in the file."),
        ("models:\n  m: {hub: a, hub: b}\n", "2:15 'hub' appears twice in 'm'."),
        ("models:\n  m: x\n", "2:6 'm' must consist of 'key: value' lines."),
        ("models:\n  a b: {hub: a}\n", "2:3 'a b' is not a model's name"),
        ("models:\n  m: {hub: a}\n  n: {hub: b, aliases: [m]}\n", "3:3 'm' is already a name of 'm'."),
        ("models:\n  m: {hub: a\n", "not valid YAML"),
        ("models:\n  m: [\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_fault_of_the_file(tmp_path, text, expected):
    assert any(expected in fault for fault in explain(tmp_path, text))


def test_only_the_faulty_model_is_left_out(tmp_path):
    found = read(
        tmp_path, "models:\n  a: {hub: x/a, stopp: 1}\n  b: {hub: x/b}\n  c: {hub: x/c, loader: new}\n"
    )
    assert [model.name for model in found.models] == ["b", "c"]
    [gone] = found.models[1].loader.check(tmp_path, {})
    assert "The loader 'new' is not installed." in str(gone)
    with pytest.raises(GptaltError, match="not installed"):
        found.models[1].loader.make_class()


TEXTS = st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text)


@given(
    st.dictionaries(
        st.sampled_from(["hub", "licence", "stop", "parameters", "x", "loader"]), TEXTS | st.lists(TEXTS)
    )
)
def test_a_yaml_of_any_content_raises_nothing(tmp_path_factory, facts):
    file = tmp_path_factory.mktemp("any") / "m.yaml"
    file.write_text(yaml.safe_dump({"models": {"m": facts}}), encoding="utf-8")
    found = read_models(file, {})
    assert found.models or found.faults


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"models", b"\xff\xfe\x00", b"models: " + b"[" * 5000, b"- models: 3"]
)
def test_a_file_that_is_no_yaml_of_models(tmp_path, content):
    (tmp_path / "x.yaml").write_bytes(content)
    assert find_model_yamls(tmp_path) == []
    assert read_models(tmp_path / "x.yaml", {}).models == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FAMILY, True),
        ("{models: {m: {hub: a/b}}}", True),
        ("  models:\n    m: {hub: a/b}\n", True),
        ("models: [a, b]\n", False),  # an experiment
        ("task: t\nmodels: {m: {hub: a}}\n", False),
        ("task: t\ndoc_to_text: 'models: x'\n", False),
    ],
)
def test_tasks_and_models_share_a_folder(tmp_path, text, expected):
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "x.yaml").write_text(text, encoding=encoding)
        assert describes_models(tmp_path / "x.yaml") is expected
    write(tmp_path, "task: mine\n", "mine.yaml")
    assert "sky" not in read_task_folder(tmp_path) and "mine" in read_task_folder(tmp_path)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, ""),
        (6738415616, "6.7B"),
        (13015864320, "13B"),
        (134_515_008, "135M"),
        (9_950_000_000, "9.9B"),
        (7, "7"),
    ],
)
def test_numbers_in_words(count, expected):
    assert show_number(count) == expected


class Folder:
    """A plugin with a folder of model YAMLs."""

    def __init__(self, folder, text=FAMILY, models=()):
        self.folder, self.models = folder, models
        folder.mkdir(exist_ok=True)
        write(folder, text)

    @hookimpl
    def register_model_dirs(self):
        return [self.folder]

    @hookimpl
    def register_models(self):
        return self.models


def test_a_plugin_s_yamls_are_models_with_aliases(tmp_path):
    catalog = Catalog(make_plugin_set(Folder(tmp_path / "a")))
    assert {"sky", "sea"} <= catalog.models.keys() and "sky-7b" not in catalog.models
    assert catalog.find_model("sky-7b").item.name == "sky"
    assert str(catalog.find_model("sky").owner) == "Folder"
    with pytest.raises(UnknownNameError, match="Did you mean 'sky-7b'"):
        catalog.find_model("sky-7bb")


def test_a_faulty_yaml_is_its_plugin_s_problem_and_the_others_work(tmp_path):
    broken = Folder(tmp_path / "a", "models:\n  sky: {hubb: a}\n  sun: {hub: a/b}\n")
    plugins = make_plugin_set(broken, models=[make_scripted_model()])
    catalog = Catalog(plugins)
    assert {"sun", "scripted"} <= catalog.models.keys() and "sky" not in catalog.models
    [problem] = plugins.problems
    assert problem.plugin == "Folder" and "line 2, column 9: unknown key 'hubb'" in problem.what
    missing = Folder(tmp_path / "b")
    missing.folder = tmp_path / "nowhere"
    plugins = make_plugin_set(missing)
    assert Catalog(plugins).models and "which does not exist" in plugins.problems[0].what


class Rival(Folder):
    pass


@pytest.mark.parametrize("name", ["sky", "sky-7b"])
def test_two_plugins_with_one_name_or_alias(tmp_path, name):
    rival = Rival(tmp_path / "b", f"models:\n  moon: {{hub: a/b, aliases: [{name}]}}\n")
    catalog = Catalog(make_plugin_set(Folder(tmp_path / "a"), rival))
    with pytest.raises(PluginError, match=r"Two plugins register the model .sky.*Folder and Rival"):
        catalog.find_model(name)
    assert catalog.find_model("moon") and catalog.find_model("sea")
    own = tmp_path / "own"
    own.mkdir()
    write(own, f"models: {{{name}: {{hub: me/mine}}}}")  # the user's own settles it
    settled = Catalog(make_plugin_set(Folder(tmp_path / "a"), rival), [own]).find_model(name)
    assert settled.item.args == {"pretrained": "me/mine"}


def test_a_model_of_the_user_s_own_wins(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    write(own, "models:\n  sky: {hub: ./weights, aliases: [scripted]}\n", "mine.yaml")
    plugins = make_plugin_set(Folder(tmp_path / "a"), models=[make_scripted_model()])
    catalog = Catalog(plugins, [own])
    found = catalog.find_model("sky")
    assert found.item.args == {"pretrained": str(own / "weights")}
    assert str(found.owner) == f"--include_path {own}"
    assert catalog.find_model("scripted") == found and catalog.replaced_models.keys() == {"sky", "scripted"}
    assert plugins.problems == []


def test_all_faults_of_the_user_s_yamls_are_said_at_once(tmp_path):
    write(tmp_path, "models:\n  m: {hubb: a}\n", "a.yaml")
    write(tmp_path, "models:\n  n: {hub: a}\n", "b.yaml")
    write(tmp_path, "models:\n  n: {hub: a}\n", "c.yaml")
    with pytest.raises(RequestErrors) as caught:
        Catalog(make_plugin_set(), [tmp_path]).find_model("n")
    assert f"{tmp_path / 'a.yaml'}, line 2, column 7: unknown key 'hubb'" in str(caught.value)
    assert "Two YAMLs describe the model 'n'" in str(caught.value)


def test_a_model_of_python_has_aliases_too():
    model = Model("long-name", "x", "MIT", "x", aliases=("short",))
    catalog = Catalog(make_plugin_set(models=[model]))
    assert catalog.find_model("short").item == model


def test_the_system_message_is_a_text_in_the_template_whatever_it_contains(tmp_path):
    jinja2 = pytest.importorskip("jinja2")
    system = 'He said: "{{ 1 }} \\ %}"\nné 你好 \u2028'
    text = json.dumps(
        {"models": {"m": {"hub": "a/b", "system": system, "template": "{{ default_system }}!"}}}
    )
    [model] = read(tmp_path, text).models
    assert jinja2.Environment().from_string(model.template.jinja).render() == system + "!"
