"""The working folder is nobody's word: what lies in it stands for nothing that a name means elsewhere."""

import json
from pathlib import Path

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

METRIC = """
import datasets
import evaluate
from pathlib import Path
Path({mark!r}).touch()

class Metric(evaluate.Metric):
    def _info(self):
        features = datasets.Features({{"predictions": datasets.Value("string"), "references": datasets.Value("string")}})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {{"score": 1.0}}
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def call(*words):
    return cli.dispatch([str(word) for word in words], make_plugin_set(models=[make_scripted_model()]))


def put_rows(work):
    folder = work / "allenai" / "ai2_arc"
    folder.mkdir(parents=True)
    row = {"question": "a stranger's", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps(row))


@pytest.mark.parametrize("words", [
    ["run", "--model=scripted", "--tasks=arc_easy", "--output_path=out"],
    ["run", "--model=scripted", "--tasks=arc_easy", "--output_path=out", "--data_dir=sample"],
    ["run", "--model=scripted", "--tasks=ai2_arc", "--output_path=out"],
    ["show", "task", "arc_easy"],
])  # fmt: skip
def test_a_folder_here_is_not_a_benchmark_s_data(work, capsys, words):
    put_rows(work)
    with pytest.raises(GptaltError, match="here is a folder 'allenai/ai2_arc'"):
        call(*words)
    assert "a stranger's" not in capsys.readouterr().out and not (work / "out").exists()


def test_nor_that_of_a_task_which_loads_it_itself(work):
    from gptalt_eval.running.lmeval import tasks

    (work / "org" / "set").mkdir(parents=True)
    (work / "org" / "set" / "train.txt").write_text("a stranger's row")
    import datasets

    with tasks.serve_rows({}), pytest.raises(GptaltError, match="here is a folder 'org/set'"):
        datasets.load_dataset("org/set")
    with tasks.serve_rows({}, tasks.Places((work,), frozenset(["org/set"]))):
        assert datasets.load_dataset("org/set")["train"][0] == {"text": "a stranger's row"}


def write_task(work, lines):
    (work / "rows.jsonl").write_text(
        '{"prompt": "a", "test": "b", "entry_point": "c", "canonical_solution": "d"}'
    )
    (work / "quiz.yaml").write_text(
        f"task: quiz\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {work / 'rows.jsonl'}}}}}\n"
        f"test_split: test\n{lines}"
    )
    return work / "quiz.yaml"


def test_a_folder_here_is_not_a_metric(work, tmp_path):
    """lm-eval's own HumanEval loads ``code_eval`` when it is imported, and the library looks here first."""
    import lm_eval.tasks

    (work / "code_eval").mkdir()
    (work / "code_eval" / "code_eval.py").write_text(METRIC.format(mark=str(tmp_path / "MARK")))
    folder = Path(lm_eval.tasks.__file__).parent / "humaneval"
    with pytest.raises(GptaltError, match="would be run as a metric"):
        call("show", "task", write_task(work, f"include: {folder / 'humaneval.yaml'}\n"))
    assert not (tmp_path / "MARK").exists()


def test_what_changes_after_it_was_judged_is_not_used(work, monkeypatch):
    from gptalt_eval.running.lmeval import guards

    file = write_task(
        work, "doc_to_text: prompt\ndoc_to_target: test\noutput_type: generate_until\nmetric_list: [{metric: exact_match}]\n"
        "generation_kwargs: {until: ['.']}\n",
    )  # fmt: skip
    check = guards.check_unchanged

    def change_first(plan):
        file.write_text(file.read_text() + "description: !function evil.f\n")
        (work / "evil.py").write_text("from pathlib import Path\nPath('MARK').touch()\nf = 'x'\n")
        check(plan)

    monkeypatch.setattr(guards, "check_unchanged", change_first)
    with pytest.raises(GptaltError, match="has changed while the run was prepared"):
        call("run", "--model=scripted", "--tasks", file, "--output_path=out")
    assert not (work / "MARK").exists()
