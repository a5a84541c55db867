"""Going on with an interrupted run: its packages, its files, and the names of its tasks."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.models import Template
from gptalt_eval.contract.plan import label
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.run import Run, RunCut
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import PromptStyle
from gptalt_eval.machine import environment
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running import runfiles
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model


def make_plugins(calls, stop_at=None):
    def likelihood(prompt, answer):
        calls.append((prompt, answer))
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return hash_likelihood(prompt, answer)

    return make_plugin_set(models=[make_scripted_model(likelihood)])


@pytest.fixture
def evaluate(tmp_path):
    """Runs or resumes piqa and arc_easy (10 and 20 calls); returns the record, what was shown, and the calls."""

    def evaluate(resume=False, stop_at=None, **settings):
        calls, screen = [], io.StringIO()
        given = {
            "model": "scripted",
            "tasks": "piqa,arc_easy",
            "data_dir": "sample",
            "limit": 5,
            "log_samples": True,
        }
        spec = make_spec({**given, "output_path": str(tmp_path / "out"), **settings})
        console = Console(file=screen, width=300)
        records = run(spec, make_plugins(calls, stop_at), console, resume).records
        return records[0], " ".join(screen.getvalue().split()), calls

    return evaluate


@pytest.fixture
def install(monkeypatch):
    """Pretends that other releases are installed."""
    installed = environment.describe_versions()
    return lambda **others: monkeypatch.setattr(
        environment, "describe_versions", lambda: {**installed, **others}
    )


# ------------------------------------------------------------------ versions


def test_a_run_with_other_packages_says_so_and_keeps_the_history(evaluate, install):
    install(torch="2.0", transformers="4.0")
    with pytest.raises(InterruptedRun):
        evaluate(stop_at=15)
    install(torch="2.1", transformers="4.0")
    with pytest.raises(InterruptedRun):
        evaluate(resume=True, stop_at=3)
    install(torch="2.2", transformers="5.0")
    record, shown, _ = evaluate(resume=True)
    assert record.is_complete
    history = [*record.run.earlier_versions, record.run.versions]
    assert [(one["torch"], one["transformers"]) for one in history] == [
        ("2.0", "4.0"),
        ("2.1", "4.0"),
        ("2.2", "5.0"),
    ]
    first = "A part of this run was computed with torch 2.0, and what follows with torch 2.1."
    second = (
        "A part of this run was computed with transformers 4.0, torch 2.1, and what follows with "
        "transformers 5.0, torch 2.2."
    )
    assert first in record.notes and second in record.notes and first in shown and second in shown
    assert second in (record.folder / "report.html").read_text(encoding="utf-8")


def test_the_same_packages_need_no_word(evaluate):
    with pytest.raises(InterruptedRun):
        evaluate(stop_at=15)
    record, shown, _ = evaluate(resume=True)
    assert record.run.earlier_versions == () and "was computed with" not in shown + "".join(record.notes)


def test_another_gptalt_eval_and_a_package_that_is_gone_are_named(evaluate, install):
    install(**{"gptalt-eval": "0.0.1", "accelerate": "1"})
    with pytest.raises(InterruptedRun):
        evaluate(stop_at=15)
    now = {key: value for key, value in environment.describe_versions().items() if key != "accelerate"}
    now["gptalt-eval"] = "0.0.2"
    sentence = replace(
        Run(), earlier_versions=(environment.describe_versions(),), versions=now
    ).explain_versions()
    assert sentence == [
        "A part of this run was computed with gptalt-eval 0.0.1, accelerate 1, and what follows with "
        "gptalt-eval 0.0.2, accelerate (none)."
    ]


def test_another_lm_eval_makes_other_prompts_and_is_refused(evaluate, install):
    install(lm_eval="0.4.12")
    with pytest.raises(InterruptedRun):
        evaluate(stop_at=15)
    install(lm_eval="0.4.13")
    with pytest.raises(GptaltError, match=r"was started with lm-eval 0\.4\.12, and 0\.4\.13 is installed"):
        evaluate(resume=True)
    install(lm_eval="0.4.12")
    assert evaluate(resume=True)[0].is_complete


def test_where_nothing_is_finished_another_lm_eval_may_go_on(evaluate, install):
    install(lm_eval="0.4.12")
    with pytest.raises(InterruptedRun):
        evaluate(stop_at=3)
    install(lm_eval="0.4.13")
    record, shown, _ = evaluate(resume=True)
    assert (
        record.is_complete and "computed with lm_eval 0.4.12, and what follows with lm_eval 0.4.13" in shown
    )


# ------------------------------------------------------------------ files that are gone


def test_a_results_file_that_is_gone_is_computed_again(evaluate):
    whole, _, calls = evaluate()
    whole.files[0].unlink()
    [note] = [note for note in load_record(whole.folder).notes if "is missing" in note]
    assert note.startswith(f"{whole.files[0].name} is missing, so its scores are not shown.")
    record, shown, again = evaluate(resume=True)
    assert "evaluated again: arc_easy, piqa." in shown and "already finished" not in shown
    assert len(again) == len(calls) and record.files == whole.files
    assert record.results[0]["results"] == whole.results[0]["results"]
    assert not [note for note in record.notes if "is missing" in note]


def test_a_samples_file_that_is_gone_is_computed_again_alone(evaluate):
    whole, _, _ = evaluate()
    [file] = whole.folder.glob("samples_piqa_*")
    rows = file.read_text()
    file.unlink()
    record, shown, again = evaluate(resume=True)
    assert "evaluated again: piqa." in shown and len(again) == 10
    assert file.read_text() == rows and record.results[0]["results"] == whole.results[0]["results"]


def test_one_of_several_results_files(evaluate):
    whole, _, calls = evaluate(num_fewshot="0,1")
    whole.files[1].unlink()
    record, shown, again = evaluate(resume=True, num_fewshot="0,1")
    assert "evaluated again: arc_easy (1-shot), piqa (1-shot)." in shown and len(again) == len(calls) / 2
    assert [result["results"] for result in record.results] == [result["results"] for result in whole.results]


def test_a_task_that_is_not_in_its_results_file_is_computed_again(evaluate):
    whole, _, _ = evaluate()
    saved = json.loads(whole.files[0].read_text())
    for part in saved.values():
        if isinstance(part, dict):
            part.pop("piqa", None)
    whole.files[0].write_text(json.dumps(saved))
    record, _, again = evaluate(resume=True)
    assert len(again) == 10 and record.results[0]["results"] == whole.results[0]["results"]


def test_samples_that_nobody_asked_for_are_not_missing(evaluate):
    evaluate(log_samples=False)
    assert "already finished" in evaluate(resume=True, log_samples=False)[1]


def test_what_a_kill_left_half_written_is_removed_when_the_run_goes_on(evaluate, tmp_path):
    script = (
        "import os, sys\n"
        "from gptalt_eval.machine import storage\n"
        "from gptalt_eval.testing import make_plugin_set, make_scripted_model\n"
        "import gptalt_eval\n"
        "sync, synced = os.fsync, []\n"
        "def stop(handle):\n"
        "    synced.append(handle)\n"
        "    os.kill(os.getpid(), 9) if len(synced) == 4 else sync(handle)\n"
        "storage.os.fsync = stop\n"
        "gptalt_eval.evaluate('scripted', ['piqa', 'arc_easy'], plugins=make_plugin_set(models=[make_scripted_model()]),\n"
        "    data_dir='sample', limit=5, log_samples=True, output_path=sys.argv[1])\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "out")]
    killed = subprocess.run(words, capture_output=True, text=True, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = tmp_path / "out" / "scripted"
    assert [file for file in folder.iterdir() if file.name.startswith(".")]
    record, _, _ = evaluate(resume=True)
    assert record.is_complete and not [file for file in folder.iterdir() if file.name.startswith(".")]


# ------------------------------------------------------------------ names


def test_a_tasks_name_is_not_read_from_a_label(tmp_path):
    """The task 'mine' has changed and is not finished; the finished one is only called 'mine (hard)'."""
    files = {}
    for name in ("mine", "mine (hard)"):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(
            f"task: {name}\ndataset_path: baber/piqa\noutput_type: multiple_choice\nvalidation_split: validation\n"
            "doc_to_text: '{{goal}}'\ndoc_to_target: label\ndoc_to_choice: '{{[sol1, sol2]}}'\n"
        )
    tasks = [str(file) for file in files.values()]
    spec = make_spec(
        {"model": "scripted", "tasks": tasks, "data_dir": "sample", "output_path": str(tmp_path / "out")}
    )
    plugins = make_plugins([])
    started = runfiles.RunFiles(resolve(spec, plugins), main=True)
    started.save_run()
    started.save_task(0, "mine (hard)", [], json.dumps({"results": {"mine (hard)": {}}}))
    assert label("mine", None, PromptStyle("hard", "")) in started.run.done
    files["mine"].write_text(files["mine"].read_text() + "num_fewshot: 0\n")
    earlier = load_record(started.folder)
    continued = runfiles.RunFiles(resolve(spec, plugins), True, earlier).run
    assert continued.missing == ("mine",) and continued.done == ("mine (hard)",)
    files["mine (hard)"].write_text(files["mine (hard)"].read_text() + "num_fewshot: 0\n")
    with pytest.raises(GptaltError, match=r"has changed since it was started: mine \(hard\)\."):
        runfiles.RunFiles(resolve(spec, plugins), True, earlier)


# ------------------------------------------------------------------ what is kept


def start_two(folder, **settings):
    """A started run of piqa and arc_easy, piqa finished, and its plan."""
    spec = make_spec(
        {
            "model": "scripted",
            "tasks": "piqa,arc_easy",
            "data_dir": "sample",
            "output_path": str(folder / "out"),
            **settings,
        }
    )
    plan = resolve(spec, make_plugins([]))
    started = runfiles.RunFiles(plan, main=True)
    started.save_run()
    started.save_task(0, "piqa", [], json.dumps({"results": {"piqa": {}}}), RunCut(3, 20, 64))
    return plan, started


def test_what_is_known_of_finished_tasks_and_of_the_model_is_kept(tmp_path):
    plan, started = start_two(tmp_path)
    started.update(
        cut={**started.run.cut, "arc_easy": RunCut(1, 8, 64)},  # of a task that a kill interrupted
        model=replace(started.run.model, fingerprint="f", parts={"weights": "w"}, dtype="float32"),
    )
    started.save_run()
    continued = runfiles.RunFiles(plan, True, load_record(started.folder)).run
    assert continued.done == ("piqa",) and continued.missing == ("arc_easy",)
    assert dict(continued.cut) == {"piqa": RunCut(3, 20, 64)}
    assert (continued.model.fingerprint, dict(continued.model.parts), continued.model.dtype) == (
        "f",
        {"weights": "w"},
        "float32",
    )
    assert continued.started == started.run.started and len(continued.resumed) == 1


def test_other_prompts_are_refused_only_where_something_is_finished(tmp_path):
    """Of two styles, the first has a finished task."""
    plan, started = start_two(tmp_path, prompt_style="standard,system")
    record = load_record(started.folder)
    first, second = record.run.cells
    assert first.results and not second.results and first.prompts != second.prompts

    def go_on(*cells):
        return runfiles.RunFiles(plan, True, replace(record, run=replace(record.run, cells=cells))).run

    assert go_on(first, replace(second, prompts="other")).missing
    assert go_on(replace(first, prompts=""), second).missing, "a release that did not note its prompts"
    with pytest.raises(GptaltError, match="has changed since it was started: standard"):
        go_on(replace(first, prompts="other"), second)
    with pytest.raises(GptaltError, match="has changed since it was started: "):
        go_on(first, replace(second, prompt_style="another"))
    with pytest.raises(GptaltError, match="has changed since it was started: "):
        go_on(first, replace(second, num_fewshot=7))


@pytest.mark.parametrize(("stop", "is_refused"), [(("###",), False), (("</s>",), True), ((), True)])
def test_other_stops_are_refused_where_something_is_finished(tmp_path, stop, is_refused):
    """They are in no prompt, and end answers elsewhere."""
    plan, started = start_two(tmp_path, apply_chat_template=True)
    item = replace(plan.model.item, template=Template("{{ messages }}", stop=("###",)))
    plan = replace(plan, model=replace(plan.model, item=item))
    record = load_record(started.folder)
    record = replace(record, run=replace(record.run, model=replace(record.run.model, stop=stop)))
    if not is_refused:
        assert runfiles.RunFiles(plan, True, record).run.model.stop == stop
        return
    with pytest.raises(GptaltError, match="has changed since it was started: what ends an answer"):
        runfiles.RunFiles(plan, True, record)
    unfinished = replace(record, run=replace(record.run, done=(), missing=("piqa", "arc_easy")))
    assert runfiles.RunFiles(plan, True, unfinished).run.missing


def test_other_prompts_at_a_shot_count_are_named_by_it(tmp_path):
    plan, started = start_two(tmp_path, num_fewshot="0,1")
    record = load_record(started.folder)
    cells = (replace(record.run.cells[0], prompts="other"), record.run.cells[1])
    changed = replace(record, run=replace(record.run, cells=cells))
    with pytest.raises(GptaltError, match="has changed since it was started: 0-shot"):
        runfiles.RunFiles(plan, True, changed)
