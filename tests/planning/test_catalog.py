import pytest

from gptalt_eval.contract.errors import GptaltError, PluginError, UnknownNameError
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.planning.catalog import Catalog, list_children
from gptalt_eval.testing import make_plugin_set, make_scripted_model


@pytest.fixture
def catalog(plugins):
    return Catalog(plugins)


def test_listing_needs_no_look_into_lm_eval(catalog, monkeypatch):
    monkeypatch.setattr(
        "gptalt_eval.planning.index.read_lm_eval_tasks", lambda: pytest.fail("read lm-eval's folders")
    )
    names = catalog.list_benchmarks()
    survey = {
        "boolq",
        "hellaswag",
        "winogrande",
        "piqa",
        "arc_easy",
        "arc_challenge",
        "openbookqa",
        "race",
        "drop",
        "gsm8k",
    }
    assert survey | {"mmlu", "triviaqa", "sciq", "gptalt_zero_shot", "gptalt_few_shot"} <= names.keys()
    assert names["mmlu"].item.kind == "group"
    assert str(names["piqa"].owner) == "lm-eval"
    assert str(names["race_middle"].owner) == "gptalt-eval"


def test_every_listed_name_is_one_that_runs(catalog):
    for name in catalog.list_benchmarks():
        assert catalog.find_task(name).item.file.is_file()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hellaswga", "Did you mean 'hellaswag'"),
        (
            "medqa_zh",
            "Task 'medqa_zh' comes with gptalt-eval-plugin-medqa.\nInstall it: gptalt-eval install medqa",
        ),
        ("medqa_hz", "gptalt-eval install medqa"),
        ("qqqqqqqqqq", "gptalt-eval ls tasks"),
    ],
)
def test_unknown_tasks(catalog, name, expected):
    with pytest.raises(UnknownNameError) as caught:
        catalog.find_tasks(name)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shortest-opton", "Did you mean 'shortest-option'?\n'shortest-option' comes with a plugin."),
        ("shortest-option", "Model 'shortest-option' comes with gptalt-eval-plugin-example."),
        (
            "qqqqqqqqqq",
            "There is no model 'qqqqqqqqqq'.\nSee: gptalt-eval ls models\n"
            "Any transformers model works too: --model OWNER/qqqqqqqqqq (its page names the owner), "
            "or --model hf --model_args pretrained=HUB_ID_OR_FOLDER",
        ),
        (
            "chatglm",
            "Model 'chatglm' comes with gptalt-eval-plugin-models.\nInstall it: gptalt-eval install models",
        ),
        ("smolm2", "Did you mean 'smollm2'"),
        ("./nowhere", "There is no model folder"),
    ],
)
def test_unknown_models(catalog, name, expected):
    with pytest.raises(UnknownNameError) as caught:
        catalog.find_model(name)
    assert expected in str(caught.value)


def test_lm_evals_model_classes_are_those_of_its_registry(catalog):
    from lm_eval.models import MODEL_MAPPING

    assert set(catalog.lm_eval_models) == set(MODEL_MAPPING)
    assert catalog.find_model("hf").item.backend == "hf"


def test_a_folder_or_hub_id_is_a_model(catalog, tmp_path):
    assert catalog.find_model(str(tmp_path)).item.args == {"pretrained": str(tmp_path)}
    assert catalog.find_model("org/name").item.args == {"pretrained": "org/name"}


def test_globs(catalog):
    names = [owned.item.name for owned in catalog.find_tasks("mmlu_college_*")]
    assert "mmlu_college_biology" in names and len(names) >= 6
    with pytest.raises(UnknownNameError, match="No task matches"):
        catalog.find_tasks("zzz_*")


def test_yaml_paths(catalog, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: mine\ndataset_path: json\n")
    assert catalog.find_tasks(str(file))[0].item.name == "mine"
    with pytest.raises(UnknownNameError, match=r"mine\.yaml"):
        catalog.find_tasks(str(tmp_path / "nime.yaml"))
    file.write_text("dataset_path: json\n")
    with pytest.raises(GptaltError, match="does not name a task"):
        catalog.find_tasks(str(file))


def test_include_path_wins(plugins, tmp_path):
    (tmp_path / "piqa.yaml").write_text("task: piqa\n")
    found = Catalog(plugins, [tmp_path]).find_task("piqa")
    assert found.item.file == tmp_path / "piqa.yaml"


class First:
    @hookimpl
    def register_models(self):
        return [make_scripted_model(name="twin"), make_scripted_model(name="only")]


class Second:
    @hookimpl
    def register_models(self):
        return [make_scripted_model(name="twin")]


def test_two_owners_of_one_name_are_an_error_that_names_both():
    plugins = make_plugin_set(First(), Second())
    catalog = Catalog(plugins)
    with pytest.raises(PluginError, match="First and Second"):
        catalog.find_model("twin")
    assert str(catalog.find_model("only").owner) == "First"
    assert [problem for problem in plugins.problems if problem.plugin == "Second" and "First" in problem.what]


class Wrong:
    @hookimpl
    def register_models(self):
        return ["smollm3", make_scripted_model(name="right")]


def test_a_contribution_of_the_wrong_kind_is_named_and_left_out():
    plugins = make_plugin_set(Wrong())
    catalog = Catalog(plugins)
    assert catalog.find_model("right")
    assert [
        problem for problem in plugins.problems if "smollm3" in problem.what and problem.plugin == "Wrong"
    ]


def test_children_of_nested_groups():
    group = {"task": ["a", {"group": "g", "task": ["b"]}, {"task": "c", "num_fewshot": 2}]}
    assert [(child.name, child.kind) for child in list_children(group)] == [
        ("a", "task"),
        ("g", "group"),
        ("b", "task"),
        ("c", "task"),
    ]
