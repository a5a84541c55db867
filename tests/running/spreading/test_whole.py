"""Runs with workers give what the same runs give in one process."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import tiny

from gptalt_eval import evaluate
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.running.spreading import driver

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("ray")]  # together: what they share is run once
DATA = Path(__file__).parents[4] / "shared" / "data"
TASKS = "arc_easy,gsm8k,piqa"
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save_model("llama", tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    return run(folder, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def by_two(folder, tmp_path_factory):
    """The same run by two workers of one thread each, and what was known of the models' sizes beforehand."""
    sizes = {}
    loop = driver.spread
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "MOST", 3000)
        patch.setattr(driver.os, "cpu_count", lambda: 2)
        patch.setattr(
            driver, "spread", lambda *given, **more: sizes.update(more["sizes"]) or loop(*given, **more)
        )
        return run(folder, tmp_path_factory.mktemp("by-two"), workers=2), sizes


@pytest.fixture
def small_units(monkeypatch):
    """Units as small as tiny runs need to have several."""
    monkeypatch.setattr(driver, "MOST", 3000)


def run(model, out, tasks=TASKS, **settings):
    settings = {"data_dir": "sample", "device": "cpu", "log_samples": True, **settings}
    args = {"pretrained": str(model), "max_length": 1024} if isinstance(model, Path) else {}
    name = "hf" if isinstance(model, Path) else model
    return evaluate(name, tasks, model_args=args, output_path=str(out), **settings)


def read_samples(record):
    """By file and row: the answers, and the metrics."""
    found = {}
    for file in sorted(record.folder.glob("samples_*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            key = (file.name.rsplit("_", 1)[0], row["doc_id"], row["filter"], row["prompt_hash"])
            found[key] = {name: row[name] for name in row if name not in ("doc", "arguments")}
    return found


def flatten(value):
    """The numbers and words of nested lists."""
    if isinstance(value, dict):
        return [each for key in sorted(value) for each in flatten(value[key])]
    if isinstance(value, (list, tuple)):
        return [each for one in value for each in flatten(one)]
    with contextlib.suppress(TypeError, ValueError):
        return [float(value)]
    return [value]


def assert_same(one, other, exact=False):
    first, second = read_samples(one), read_samples(other)
    assert first and first.keys() == second.keys()
    for key, row in first.items():
        for mine, theirs in zip(flatten(row), flatten(second[key]), strict=True):
            if isinstance(mine, float) and not exact:
                assert mine == pytest.approx(theirs, abs=1e-4), key
            else:
                assert mine == theirs, key
    for mine, theirs in zip(one.results, other.results, strict=True):
        assert flatten(mine["results"]) == pytest.approx(flatten(theirs["results"]), nan_ok=True, abs=1e-4)


def list_workers(folder):
    """Our processes that have to do with a folder."""
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False)
    return {int(pid) for pid in found.stdout.split()} - {os.getpid()}


def test_two_workers_and_one_process_give_the_same(alone, by_two):
    spread, sizes = by_two
    assert sizes == {"0": alone.run.model.parameters}  # known before any worker has loaded it
    assert_same(alone, spread)
    assert spread.run.status == "complete" and spread.run.resumed == ()
    assert spread.run.model.fingerprint == alone.run.model.fingerprint
    assert spread.run.scoring.way == alone.run.scoring.way
    assert spread.run.cut == alone.run.cut and spread.run.notes == alone.run.notes
    assert sum(worker.requests for worker in spread.run.workers) == 80 + 20 + 40
    assert {worker.name for worker in spread.run.workers} <= {"CPU 0", "CPU 1"}
    assert sorted(path.name.split("_")[0] for path in spread.folder.iterdir()) == sorted(
        path.name.split("_")[0] for path in alone.folder.iterdir()
    )


def test_the_number_of_workers_changes_no_bit(folder, by_two, tmp_path, small_units, monkeypatch):
    monkeypatch.setattr(driver.os, "cpu_count", lambda: 1)  # one thread, as each of the two has
    assert_same(run(folder, tmp_path, workers=1), by_two[0], exact=True)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The settings of an experiment on real tasks, and its runs in one process."""
    if not DATA.is_dir():
        pytest.skip("the real data is not here")
    folder = tmp_path_factory.mktemp("experiment")
    models = []
    for number, name in enumerate(("llama", "gpt_neox")):
        models.append(folder / f"tiny-{number}")
        tiny.save_model(name, models[-1])
        (models[-1] / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    settings = {
        "model": list(map(str, models)),
        "tasks": ["arc_easy", "winogrande", "piqa", "mmlu_astronomy", "hellaswag", "gsm8k"],
        "data_dir": str(DATA),
        "limit": 6,
        "num_fewshot": [0, 2],
        "prompt_style": ["standard", "system"],
        "model_args": {"max_length": 512},
        "device": "cpu",
    }
    return settings, evaluate(output_path=str(folder / "alone"), **settings)


CLUSTER = """
import json, os, sys
import ray_cluster
from gptalt_eval import evaluate
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.running.spreading import driver
driver.MOST = 30_000
with ray_cluster.open_cluster(2) as cluster:
    os.chdir(sys.argv[2])
    evaluate(**json.loads(sys.argv[1]), cluster=cluster.address)
"""


def run_by_workers(settings, out, monkeypatch):
    monkeypatch.setattr(driver, "MOST", 30_000)
    evaluate(output_path=str(out), workers=2, **settings)


def run_by_cluster(settings, out, monkeypatch):
    """In a process of its own: Ray reads its environment once. The cluster was started in another folder."""
    paths = [str(Path(tiny.__file__).parent), os.environ.get("PYTHONPATH", "")]
    places = [Path(model) for model in settings["model"]]
    names = [f"../{place.parent.name}/{place.name}" for place in places]
    asked = {**settings, "model": names, "output_path": str(out)}
    subprocess.run(
        [sys.executable, "-c", CLUSTER, json.dumps(asked), str(places[0].parent)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=240,
    )


@pytest.mark.parametrize(
    "run_it",
    [run_by_workers, pytest.param(run_by_cluster, marks=pytest.mark.ray)],
)
def test_an_experiment_of_models_styles_and_shots_on_real_tasks(experiment, tmp_path, monkeypatch, run_it):
    settings, alone = experiment
    run_it(settings, tmp_path / "spread", monkeypatch)
    spread = [load_record(folder) for folder in find_runs(tmp_path / "spread")]
    assert len(alone) == len(spread) == 2
    for one, other in zip(alone, spread, strict=True):
        assert one.folder.name == other.folder.name
        assert len(one.results) == len(other.results) == 4
        assert_same(one, other)
        assert sum(worker.units for worker in other.run.workers) > 2
    assert (tmp_path / "spread" / "report.html").is_file()


SCRIPT = """
import sys
from gptalt_eval import evaluate
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.running.spreading import driver
from gptalt_eval.running.spreading.journal import Journal
driver.MOST = 3000
kept = Journal.keep
count = 0
def keep(self, *args):
    global count
    kept(self, *args)
    count += 1
    print(f"unit {count}", flush=True)
    if count == 4:
        import time
        time.sleep(60)
Journal.keep = keep
evaluate("hf", "arc_easy,gsm8k,piqa", model_args={"pretrained": sys.argv[1], "max_length": 1024},
         output_path=sys.argv[2], data_dir="sample", device="cpu", log_samples=True, workers=2)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_goes_on_with_other_workers(
    folder, alone, tmp_path, small_units, number, monkeypatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    for line in child.stdout:
        if line.startswith("unit 4"):
            break
    child.send_signal(number)
    assert child.wait(20) == (-number if number == signal.SIGKILL else 1)
    deadline = time.monotonic() + 5
    while (left := list_workers(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    prompts = [path for path in temporary.rglob("*") if path.suffix == ".keys"]
    assert bool(prompts) == (number == signal.SIGKILL)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    [answers] = out.rglob("answers.jsonl")
    before = answers.read_text(encoding="utf-8").splitlines()
    assert before
    computed = []
    keep = driver.Journal.keep
    driver.Journal.keep = lambda self, unit, *rest: (computed.append(unit.name), keep(self, unit, *rest))
    try:
        resumed = run(folder, out, workers=1, resume=True)
    finally:
        driver.Journal.keep = keep
    assert len(computed) == len(set(computed))
    assert resumed.run.status == "complete" and len(resumed.run.resumed) == 1
    assert not list(temporary.iterdir())  # what was killed has no prompts left
    total = sum(worker.units for worker in resumed.run.workers)
    assert total == 4 + len(computed)
    assert_same(alone, resumed)


def test_a_run_in_one_process_goes_on_where_workers_stopped(folder, by_two, tmp_path, small_units):
    whole, _ = by_two
    copied = tmp_path / whole.folder.name
    shutil.copytree(whole.folder, copied)
    settings = json.loads((copied / "run.json").read_text(encoding="utf-8"))
    settings |= {"done": [], "missing": settings["done"], "status": "interrupted"}
    (copied / "run.json").write_text(json.dumps(settings), encoding="utf-8")
    resumed = run(folder, tmp_path, resume=True)
    assert resumed.folder == copied
    assert_same(whole, resumed)


def test_a_model_that_no_worker_can_load_leaves_the_others(folder, tmp_path, small_units):
    broken = tiny.save_model("llama", tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    (broken / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 9}), encoding="utf-8")
    models = [str(folder), str(broken)]
    good, bad = evaluate(
        models, "piqa", data_dir="sample", device="cpu", workers=2, output_path=str(tmp_path / "out")
    )
    assert good.run.status == "complete"
    assert bad.run.status == "incomplete" and list(bad.run.failed) == ["piqa"]
    assert "lack" in bad.run.failed["piqa"]


def test_what_was_answered_is_kept_when_a_unit_is_given_up(folder, alone, tmp_path, small_units, monkeypatch):
    spread, computed = driver.spread, []

    def leave_one_out(units, pool, keep, **settings):
        def note(unit, *rest):
            computed.append(unit.name)
            keep(unit, *rest)

        outcome = spread(units[1:], pool, note, **settings)
        outcome.given_up[units[0]] = "three workers did not survive it"
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(driver, "spread", leave_one_out)
        first = run(folder, tmp_path / "out", workers=1)
    assert first.run.status == "incomplete"
    [reason] = set(first.run.failed.values())
    assert "three workers did not survive it" in reason
    before = len(computed)
    resumed = run(folder, tmp_path / "out", workers=1, resume=True)
    assert resumed.run.status == "complete"
    assert sum(worker.units for worker in resumed.run.workers) == before + 1
    assert_same(alone, resumed)
    assert not list(resumed.folder.glob("answers*"))
