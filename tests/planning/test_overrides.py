"""A name that stands for something else than usual is said in the run's notes."""

from pathlib import Path

import pytest

from gptalt_eval import Dataset, Model, Owner, Split, hookimpl
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.testing import make_plugin_set, make_scripted_lm, make_scripted_model

TASK = """\
task: {name}
dataset_path: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["a", "b"]
doc_to_target: answer
"""
OWN = Owner("evil", "1.0", "gptalt-eval-plugin-evil")


class Evil:
    """A plugin that takes names of others."""

    def __init__(self, folder, models=(), tasks=(), groups=(), datasets=()):
        self.models, self.datasets, self.folder = models, datasets, folder
        folder.mkdir(exist_ok=True)
        for split in ("train", "validation", "test"):
            (folder / f"{split}.jsonl").write_text('{"question": "?", "answer": 0}\n', encoding="utf-8")
        for name in tasks:
            (folder / f"{name}.yaml").write_text(TASK.format(name=name, data="evil/rows"), encoding="utf-8")
        for name in groups:
            (folder / f"{name}.yaml").write_text(f"group: {name}\ntask: [piqa]\n", encoding="utf-8")

    @hookimpl(tryfirst=True)
    def register_models(self):
        return [
            Model(name, "x", "MIT", "x", create=lambda args: make_scripted_lm(), chat_template=False)
            for name in self.models
        ]

    @hookimpl(tryfirst=True)
    def register_task_dirs(self):
        return [self.folder]

    @hookimpl(tryfirst=True)
    def register_datasets(self):
        given = {"evil": "evil/rows", **dict(self.datasets)}
        return [
            Dataset(
                name, name, hub, (Split("test", ("test.jsonl",)), Split("validation", ("test.jsonl",)),
                                  Split("train", ("test.jsonl",))),
                lambda files, config: iter(()), "MIT", "x", sample=self.folder,
            )
            for name, hub in given.items()
        ]  # fmt: skip


@pytest.fixture
def note(tmp_path):
    """The notes of a run with an evil plugin, except that about the sample."""

    def explain(model="scripted", tasks="piqa", evil=None, **settings):
        plugins = make_plugin_set(models=[make_scripted_model()])
        if evil is not None:
            plugins.register(Evil(tmp_path / "evil", **evil), OWN)
        assert plugins.problems == []
        plan = resolve(make_spec({"model": model, "tasks": tasks, "data_dir": "sample", **settings}), plugins)
        return [text for text in plan.notes if "embedded sample" not in text]

    return explain


@pytest.mark.parametrize("evil", [None, {}, {"models": ["mine"], "tasks": ["my_own"]}])
def test_nothing_is_said_where_nothing_is_replaced(note, evil):
    assert note(evil=evil) == []
    assert note(tasks="race_middle,gptalt_zero_shot", evil=evil) == []


@pytest.mark.parametrize("name", ["hf", "dummy", "vllm"])
def test_a_model_class_of_lm_evals(note, name):
    assert note(model=name, evil={"models": [name]}) == [
        f"The model '{name}' is that of gptalt-eval-plugin-evil, not lm-eval's model class."
    ]


def test_a_model_of_the_hub(note):
    assert note(model="org/pythia", evil={"models": ["org/pythia"]}) == [
        "The model 'org/pythia' is that of gptalt-eval-plugin-evil, not the one of this name on the hub."
    ]


def test_a_model_in_a_folder(note, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    assert note(model="weights", evil={"models": ["weights"]}) == [
        "The model 'weights' is that of gptalt-eval-plugin-evil, not the one in the folder of this name."
    ]


@pytest.mark.parametrize("name", ["hellaswag", "sciq", "mathqa"])
def test_a_task_of_lm_evals(note, name):
    assert note(tasks=name, evil={"tasks": [name]}) == [
        f"The task '{name}' is that of gptalt-eval-plugin-evil, not of lm-eval."
    ]


def test_a_group_of_lm_evals(note):
    assert note(tasks="glue", evil={"groups": ["glue"]}) == [
        "The task 'glue' is that of gptalt-eval-plugin-evil, not of lm-eval."
    ]


def test_a_member_of_a_group(note):
    found = note(tasks="gptalt_zero_shot", evil={"tasks": ["hellaswag"]})
    assert found == ["The task 'hellaswag' is that of gptalt-eval-plugin-evil, not of lm-eval."]


@pytest.mark.parametrize(
    ("name", "other"), [("hellaswag", "lm-eval"), ("race_middle", "gptalt-eval"), ("mine", "gptalt-eval-plugin-evil")]
)  # fmt: skip
def test_a_folder_or_file_of_the_user(note, name, other, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    text = TASK.format(name=name, data="evil/rows")
    (mine / "x.yaml").write_text(text, encoding="utf-8")
    evil = {"tasks": ["mine"]}
    assert note(tasks=name, evil=evil, include_path=str(mine)) == [
        f"The task '{name}' is that of --include_path {mine}, not of {other}."
    ]
    file = (mine / "x.yaml").resolve()
    assert note(tasks=str(file), evil=evil) == [f"The task '{name}' is that of {file}, not of {other}."]


def test_the_own_file_of_a_task_replaces_nothing(note, plugins):
    file = Catalog(plugins).find_task("hellaswag").item.file
    assert note(tasks=str(file)) == []


def test_rows_of_the_core(note):
    """Another name, but the core's place on the hub, and first in the order."""
    hub = next(
        owned.item.hub
        for owned in Catalog(make_plugin_set()).datasets.values()
        if owned.item.name == "hellaswag"
    )
    assert note(tasks="hellaswag", evil={"datasets": {"quiet": hub}.items()}) == [
        "The rows of hellaswag are those of gptalt-eval-plugin-evil, not of gptalt-eval."
    ]


def test_rows_of_lm_evals(note):
    assert note(tasks="mathqa", evil={"datasets": {"quiet": "regisss/math_qa"}.items()}) == [
        "The rows of mathqa are those of gptalt-eval-plugin-evil."
    ]


def test_rows_of_its_own_are_not_a_replacement(note):
    assert note(tasks="my_own", evil={"tasks": ["my_own"]}) == []
