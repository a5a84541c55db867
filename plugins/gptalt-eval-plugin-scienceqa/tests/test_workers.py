"""Questions about pictures that workers answer."""

import json

import pytest

import gptalt_eval
from gptalt_eval.running.spreading import driver

pytestmark = [pytest.mark.torch]


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
def test_workers_answer_as_one_process_does(tmp_path, monkeypatch, kind):
    folders = pytest.importorskip("picture_folders")
    monkeypatch.setattr(driver, "MOST", 2000)
    monkeypatch.setenv("GPTALT_EVAL_LOAD_PLUGINS", "scienceqa")
    folder = folders.save_model(kind, tmp_path / kind)

    def run(workers):
        record = gptalt_eval.evaluate(
            "hf-multimodal", "scienceqa_img", model_args={"pretrained": str(folder)}, data_dir="sample",
            limit=4, device="cpu", log_samples=True, workers=workers, output_path=str(tmp_path / str(workers)),
        )  # fmt: skip
        files = sorted(record.folder.glob("samples_*.jsonl"))
        rows = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
        return record, {(row["doc_id"], row["prompt_hash"]): row["resps"] for row in rows}

    _, answers = run(0)
    spread, others = run(2)
    assert sum(worker.units for worker in spread.run.workers) > 1
    assert answers.keys() == others.keys()
    for key in answers:
        for mine, theirs in zip(answers[key], others[key], strict=True):
            if isinstance(mine[0], list):
                assert float(mine[0][0]) == pytest.approx(float(theirs[0][0]), abs=1e-4)
            else:
                assert mine == theirs
