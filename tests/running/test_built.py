"""Rows of the hub are counted when the tasks are built: before the weights are loaded, not after."""

import json

import datasets
import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.api import evaluate
from gptalt_eval.testing import make_plugin_set, make_scripted_model

ROWS = [{"q": f"{number} + 1 =", "a": str(number + 1)} for number in range(11)]


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Runs a task whose rows are on the hub, with a model that must not be loaded."""
    made = datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS) for name in ("train", "test")})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    monkeypatch.setattr("gptalt_eval.planning.task_data.is_in_hub_cache", lambda *_: True)
    monkeypatch.setattr("gptalt_eval.running.lmeval.model.load_model", lambda *_: 1 / 0)
    fields = {
        "task": "mine", "dataset_path": "our_own/rows", "test_split": "test", "training_split": "train",
        "fewshot_split": "train", "doc_to_text": "q", "doc_to_target": "a", "generation_kwargs": {"until": ["."]},
    }  # fmt: skip

    def call(code="", **settings):
        (tmp_path / "mine.yaml").write_text(json.dumps(fields))
        if code:
            (tmp_path / "code.py").write_text(code)
            with (tmp_path / "mine.yaml").open("w") as file:
                file.write("".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items()))
                file.write("process_results: !function code.score\n")
        with pytest.raises(GptaltError) as caught:
            evaluate(
                "scripted", str(tmp_path / "mine.yaml"), output_path=str(tmp_path / "out"), trust_task_code=str(tmp_path / "mine.yaml"),
                plugins=make_plugin_set(models=[make_scripted_model()]), **settings,
            )  # fmt: skip
        return str(caught.value)

    return call


def test_more_examples_than_there_are(ask):
    assert ask(num_fewshot=40) == (
        "mine: 40 examples requested, but 'train' has only 11.\nUse --num_fewshot 11 or less."
    )


def test_rows_that_are_not_there(ask):
    assert ask(samples={"mine": [0, 11]}) == "--samples: mine has no row 11.\nIts 11 rows are 0 to 10."


def test_both_at_once(ask):
    assert ask(samples={"mine": [99]}, num_fewshot="12,13").startswith("3 problems found")


def test_a_module_that_a_task_imports_is_not_installed(ask):
    text = ask(code="import no_such_module_here\n\ndef score(doc, results):\n    return {'acc': 1}\n")
    assert "no_such_module_here" in text and "pip install no_such_module_here" in text
