"""The 2023 models answer through workers as in one process: on log-likelihoods, texts and chat templates."""

import json

import pytest

import gptalt_eval
from gptalt_eval.running.spreading import driver

pytestmark = [pytest.mark.torch]


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Runs a model by its name, as a user does; returns the record, and the answers by file and prompt."""
    monkeypatch.setattr(driver, "MOST", 1500)
    monkeypatch.setenv("GPTALT_EVAL_LOAD_PLUGINS", "models,medqa")

    def evaluate(model, folder, workers):
        record = gptalt_eval.evaluate(
            model, "medqa_zh,gsm8k", model_args={"pretrained": str(folder)}, data_dir="sample", limit=4, device="cpu",
            apply_chat_template=True, gen_kwargs={"max_gen_toks": 8}, log_samples=True, workers=workers,
            output_path=str(tmp_path / str(workers)),
        )  # fmt: skip
        found = {}
        for file in sorted(record.folder.glob("samples_*.jsonl")):
            for row in map(json.loads, file.read_text("utf-8").splitlines()):
                found[file.name.rsplit("_", 1)[0], row["doc_id"], row["filter"]] = row["resps"]
        return record.run, found

    return evaluate


@pytest.mark.parametrize("model", ["chatglm", "chatglm2", "chatglm3"])
def test_workers_answer_as_one_process_does(evaluate, folders, model):
    alone, answers = evaluate(model, folders[model], 0)
    spread, others = evaluate(model, folders[model], 2)
    assert sum(worker.units for worker in spread.workers) > 1
    assert spread.model.fingerprint == alone.model.fingerprint
    assert sorted(spread.notes) == sorted(alone.notes)
    assert any("these are not its scores" in note for note in spread.notes)
    assert (spread.scoring.way, spread.scoring.reason) == (alone.scoring.way, alone.scoring.reason)
    assert answers.keys() == others.keys() and len(answers) == 12 + 2 * 4
    for key, rows in answers.items():
        for mine, theirs in zip(rows, others[key], strict=True):
            if isinstance(mine[0], list):
                assert float(mine[0][0]) == pytest.approx(float(theirs[0][0]), abs=1e-4)
            else:
                assert mine == theirs
