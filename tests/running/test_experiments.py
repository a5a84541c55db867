"""Models x prompt styles x shots in one folder: cells, refusals, failures, and going on after a stop."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import PromptStyle
from gptalt_eval.machine.consoles import make_console
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.api import run as run_request
from gptalt_eval.running.runfiles import describe_failure
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model


class Styles:
    @hookimpl
    def register_prompt_styles(self):
        return [
            PromptStyle("chat", "the chat template alone", chat=True),
            PromptStyle("think", "asks for steps", instruction="Think step by step."),
            PromptStyle("again", "as standard"),
        ]


def make_model(name="scripted", system="Be kind.", **rules):
    made = make_scripted_model(name=name, **rules)
    return Model(name, made.summary, made.licence, made.home, create=made.create, system_instruction=system)


def make_plugins(*models):
    return make_plugin_set(Styles(), models=list(models) or [make_model()])


def evaluate(tmp_path, plugins=None, **settings):
    given = {"data_dir": "sample", "output_path": str(tmp_path), "log_samples": True, "limit": 5, **settings}
    return gptalt_eval.evaluate(
        "scripted",
        settings.pop("tasks", "arc_easy"),
        plugins=plugins or make_plugins(),
        **{k: v for k, v in given.items() if k != "tasks"},
    )


def read_prompts(record, index, task="arc_easy"):
    return [row["arguments"]["gen_args_0"]["arg_0"] for row in record.read_samples(index, task)]


def test_styles_are_cells(tmp_path):
    record = evaluate(tmp_path, prompt_style=["standard", "system", "think"], num_fewshot=[0, 2])
    cells = [(cell.prompt_style, cell.num_fewshot) for cell in record.run.cells]
    assert cells == [(style, shots) for style in ("standard", "system", "think") for shots in (0, 2)]
    assert [cell.results for cell in record.run.cells] == [file.name for file in record.files]
    plain, system, think = (read_prompts(record, index)[0] for index in (0, 2, 4))
    assert system == f"<system>Be kind.<user>{plain}<assistant>"
    assert think == f"Think step by step.\n\n{plain}"
    assert record.results[2]["config"]["prompt_style"] == "system"
    assert record.results[2]["system_instruction"] == "Be kind."
    assert "prompt_style" not in evaluate(tmp_path / "plain").results[0]["config"]


def test_labels_name_style_and_shots(tmp_path):
    record = evaluate(tmp_path, prompt_style=["standard", "system"], num_fewshot=[0, 1])
    assert list(record.run.done) == [
        f"arc_easy ({style}, {shots}-shot)" for style in ("standard", "system") for shots in (0, 1)
    ]


def test_a_style_with_the_same_prompts_is_refused(tmp_path):
    record = evaluate(tmp_path, prompt_style=["standard", "again"])
    assert record.run.failed == {"arc_easy (again)": "its prompts are the same as with the style 'standard'"}
    assert record.run.status == "incomplete"
    assert len(record.results) == 1


def test_a_template_that_drops_the_system_message_is_refused(tmp_path, monkeypatch):
    import gptalt_eval.testing as testing

    made = testing.make_scripted_lm

    def make_deaf(*rules):
        lm = made(*rules)
        plain = type(lm).apply_chat_template
        type(lm).apply_chat_template = lambda self, turns, **named: plain(
            self, [turn for turn in turns if turn["role"] != "system"], **named
        )
        return lm

    monkeypatch.setattr(testing, "make_scripted_lm", make_deaf)
    record = evaluate(tmp_path, prompt_style=["standard", "system"])
    assert record.run.failed == {"arc_easy (system)": "the model's chat template drops the system message"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"prompt_style": "sytem"}, "There is no prompt style 'sytem'.\nDid you mean 'system'?"),
        (
            {"prompt_style": "system", "apply_chat_template": True},
            "--prompt_style already sets the chat template",
        ),
    ],
)
def test_what_is_wrong_with_a_style(settings, expected):
    spec = make_spec({"model": "scripted", "tasks": "arc_easy", "data_dir": "sample", **settings})
    with pytest.raises(GptaltError) as caught:
        resolve(spec, make_plugins())
    assert str(caught.value).startswith(expected)


def test_a_model_without_a_template_has_no_system_style():
    model = Model("scripted", "", "", "", create=lambda args: None, chat_template=False)
    spec = make_spec(
        {"model": "scripted", "tasks": "arc_easy", "data_dir": "sample", "prompt_style": "system"}
    )
    with pytest.raises(GptaltError, match="'scripted' has no chat template"):
        resolve(spec, make_plugins(model))


def write_task(folder, name="mine", **fields):
    folder.mkdir(exist_ok=True)
    rows = [{"question": f"{number} + 1 =", "answer": str(number + 1)} for number in range(6)]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": name, "dataset_path": "json", "output_type": "multiple_choice", "test_split": "test", "training_split": "train",
        "dataset_kwargs": {"data_files": {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}},
        "doc_to_text": "{{question}}", "doc_to_choice": ["1", "2", "3", "4", "5", "6"], "doc_to_target": "{{answer|int - 1}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}], **fields,
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(json.dumps(task))
    return str(folder / f"{name}.yaml")


def test_the_flag_wins_over_a_tasks_own_zero(tmp_path):
    file = write_task(tmp_path / "task", num_fewshot=0)
    record = evaluate(tmp_path / "out", tasks=file, num_fewshot=2, data_dir=None)
    assert record.results[0]["n-shot"]["mine"] == 2
    assert read_prompts(record, 0, "mine")[0].count("+ 1 =") == 3
    assert "which lm-eval would keep; --num_fewshot overrides it here" in " ".join(record.notes)
    own = evaluate(tmp_path / "own", tasks=file, data_dir=None)
    assert own.results[0]["n-shot"]["mine"] == 0
    assert own.notes == ()


@pytest.mark.parametrize("field", [{"metadata": {"version": 1, "fewshot": False}}])
def test_a_task_that_takes_no_examples_says_so(field, tmp_path):
    file = write_task(tmp_path / "task", **field)
    with pytest.raises(GptaltError, match="mine takes no few-shot examples"):
        evaluate(tmp_path / "out", tasks=file, num_fewshot=2, data_dir=None)
    record = evaluate(tmp_path / "both", tasks=file, num_fewshot=[0, 2], data_dir=None)
    assert record.run.done == ("mine (0-shot)",)
    assert list(record.run.failed) == ["mine (2-shot)"]


def test_what_lacks_its_examples_is_marked_and_the_rest_goes_on(tmp_path, shared_data):
    record = evaluate(
        tmp_path, tasks=["hellaswag", "arc_easy"], num_fewshot=[0, 2], data_dir=str(shared_data)
    )
    assert list(record.run.done) == ["hellaswag (0-shot)", "arc_easy (0-shot)", "arc_easy (2-shot)"]
    [(name, reason)] = record.run.failed.items()
    assert name == "hellaswag (2-shot)"
    assert "no 'train' in" in reason
    with pytest.raises(GptaltError, match="no 'train' in"):  # where nothing would be left, nothing is begun
        evaluate(tmp_path / "alone", tasks=["hellaswag"], num_fewshot=[2], data_dir=str(shared_data))


def fail_on(word):
    def likelihood(prompt, answer):
        if word in prompt:
            raise ValueError(f"no {word}, please")
        return hash_likelihood(prompt, answer)

    return likelihood


def test_a_task_that_fails_is_marked_and_the_rest_goes_on(tmp_path):
    plugins = make_plugins(make_model(likelihood=fail_on("Question:")))
    record = evaluate(tmp_path, plugins, tasks=["arc_easy", "hellaswag"])
    assert record.run.done == ("hellaswag",)
    assert record.run.failed == {"arc_easy": "ValueError: no Question:, please"}
    assert "Traceback" in (record.folder / "errors.log").read_text()
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert ": this run is incomplete." in page
    assert "Not evaluated: arc_easy: ValueError: no Question:, please" in page
    with pytest.raises(ValueError, match="no Question"):  # alone, it is a bug's own traceback
        evaluate(tmp_path / "alone", plugins, tasks=["arc_easy"])


def run(tmp_path, *models, resume=False, **settings):
    given = {
        "model": ",".join(model.name for model in models),
        "tasks": "arc_easy,hellaswag",
        "data_dir": "sample",
        "limit": 5,
    }
    spec = make_spec({**given, "output_path": str(tmp_path), **settings})
    return run_request(spec, make_plugins(*models), Console(quiet=True), resume)


def test_models_are_runs_in_one_folder(tmp_path):
    records, root = run(
        tmp_path / "grid", make_model("one"), make_model("two", likelihood=lambda *_: 0.0), num_fewshot="0,1"
    )
    assert root == tmp_path / "grid"
    assert [record.model for record in records] == ["one", "two"]
    assert [folder.name for folder in find_runs(root)] == ["one", "two"]
    assert all(len(record.run.done) == 4 for record in records)
    assert (root / "report.html").is_file()


def count_calls(calls):
    def likelihood(prompt, answer):
        calls.append((prompt, answer))
        return hash_likelihood(prompt, answer)

    return likelihood


def stop_at(number, calls):
    def likelihood(prompt, answer):
        calls.append((prompt, answer))
        if len(calls) == number:
            raise KeyboardInterrupt
        return hash_likelihood(prompt, answer)

    return likelihood


def read_scores(root):
    return {
        (folder.name, index, task): scores
        for folder in find_runs(root)
        for index, results in enumerate(load_record(folder).results)
        for task, scores in results["results"].items()
    }


def test_a_stopped_experiment_goes_on_where_it_was(tmp_path):
    settings = {"num_fewshot": "0,1", "prompt_style": "standard,system"}
    whole, once = tmp_path / "whole", []
    run(whole, make_model("one", likelihood=count_calls(once)), make_model("two"), **settings)
    first, second = [], []
    with pytest.raises(InterruptedRun, match=r"resume .*stopped"):
        run(
            tmp_path / "stopped",
            make_model("one", likelihood=stop_at(50, first)),
            make_model("two"),
            **settings,
        )
    done = load_record(tmp_path / "stopped" / "one").run.done
    assert 0 < len(done) < 8
    settings["resume"] = True
    run(
        tmp_path / "stopped", make_model("one", likelihood=count_calls(second)), make_model("two"), **settings
    )
    assert read_scores(tmp_path / "stopped") == read_scores(whole)
    assert len(second) < len(once)
    assert len(second) >= len(once) - 50
    record = load_record(tmp_path / "stopped" / "one")
    assert record.run.status == "complete"
    assert len(record.run.done) == 8
    assert len(record.run.resumed) == 1
    third = []
    run(tmp_path / "stopped", make_model("one", likelihood=count_calls(third)), make_model("two"), **settings)
    assert third == []  # what is finished is not done again


def test_groups_are_whole_after_going_on(tmp_path):
    """The members' results of the first part enter the group's score of the second."""
    calls = []
    settings = {"tasks": "mmlu_stem", "limit": 1, "num_fewshot": "0"}
    run(tmp_path / "whole", make_model("one"), **settings)
    with pytest.raises(InterruptedRun):
        run(tmp_path / "stopped", make_model("one", likelihood=stop_at(30, calls)), **settings)
    run(tmp_path / "stopped", make_model("one"), resume=True, **settings)
    assert read_scores(tmp_path / "stopped") == read_scores(tmp_path / "whole")


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_other_settings_are_not_gone_on_with(tmp_path, names):
    models = [make_model(name) for name in names]
    run(tmp_path, *models)
    with pytest.raises(GptaltError, match=r"contains another .* \(it differs in limit\)"):
        run(tmp_path, *models, limit=3, resume=True)
    with pytest.raises(GptaltError, match=r"differs in limit, seed"):
        run(tmp_path, *models, limit=3, seed=5, resume=True)


def test_other_models_are_another_experiment(tmp_path):
    run(tmp_path, make_model("one"), make_model("two"))
    with pytest.raises(GptaltError, match=r"already contains another experiment \(it differs in model\)"):
        run(tmp_path, make_model("one"), make_model("three"), resume=True)


def test_an_experiment_is_not_begun_twice_in_one_folder(tmp_path):
    models = [make_model("one"), make_model("two")]
    run(tmp_path, *models)
    with pytest.raises(GptaltError, match=r"already contains this experiment.\n.*gptalt-eval resume"):
        run(tmp_path, *models)


def test_a_run_is_begun_anew_where_it_is_not_resumed(tmp_path):
    """As in lm-eval: the results of both are there."""
    calls = []
    for _ in range(2):
        run(tmp_path, make_model("one", likelihood=count_calls(calls)), tasks="arc_easy")
    assert len(calls) == 2 * len(set(calls))
    assert len(list(tmp_path.rglob("results_*.json"))) == 2


def test_a_folder_that_was_moved_is_resumed_where_it_is(tmp_path):
    calls = []
    with pytest.raises(InterruptedRun):
        run(tmp_path / "out", make_model("one", likelihood=stop_at(30, [])), make_model("two"))
    (tmp_path / "out").rename(tmp_path / "new")
    run(tmp_path / "new", make_model("one", likelihood=count_calls(calls)), make_model("two"), resume=True)
    assert [folder.parent.name for folder in find_runs(tmp_path)] == ["new", "new"]
    assert 0 < len(calls) < 40


def test_a_model_that_cannot_be_loaded_is_marked(tmp_path):
    def fail(args):
        raise OSError("no such weights")

    broken = Model("broken", "", "", "", create=fail)
    records, root = run(tmp_path, broken, make_model("two"))
    assert [(record.model, bool(record.results)) for record in records] == [("broken", False), ("two", True)]
    assert set(load_record(root / "broken").run.failed.values()) == {"OSError: no such weights"}


@pytest.mark.parametrize("reason", ["no [/bold] here", "[/]", "\x1b[2J", "\u202e", "\ud800"])
def test_a_models_error_cannot_end_an_experiment(reason, tmp_path, capsys):
    def fail(args):
        raise OSError(reason)

    models = (Model("broken", "", "", "", create=fail), make_model("fine"))
    spec = make_spec(
        {
            "model": "broken,fine",
            "tasks": "arc_easy",
            "data_dir": "sample",
            "limit": 2,
            "output_path": str(tmp_path),
        }
    )
    records, _ = run_request(spec, make_plugins(*models), make_console(stderr=True))
    assert records[0].run.failed and records[1].is_complete
    shown = show_plain(reason)
    assert f"broken failed: OSError: {shown}" in capsys.readouterr().err
    assert f"OSError: {shown}" in (tmp_path / "broken" / "errors.log").read_text(encoding="utf-8")


def test_what_is_wrong_with_any_model_is_said_before_anything_runs(tmp_path):
    with pytest.raises(GptaltError, match="There is no model 'tow'"):
        spec = make_spec(
            {"model": "one,tow", "tasks": "arc_easy", "data_dir": "sample", "output_path": str(tmp_path)}
        )
        run_request(spec, make_plugins(make_model("one")), Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_changed_data_is_not_gone_on_with(tmp_path):
    file = write_task(tmp_path / "task")
    data = tmp_path / "data"
    (data / "arc").mkdir(parents=True)
    row = {
        "id": "1",
        "question": {"stem": "?", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]},
        "answerKey": "A",
    }
    release = data / "arc/ARC-Easy-Test.jsonl"
    release.write_text("\n".join(json.dumps(row | {"id": str(number)}) for number in range(2376)))
    settings = {"tasks": f"arc_easy,{file}", "data_dir": str(data), "allow_partial_data": True}
    with pytest.raises(InterruptedRun):
        run(tmp_path / "out", make_model("one", likelihood=stop_at(14, [])), **settings)
    release.write_text("\n".join(json.dumps(row | {"id": f"x{number}"}) for number in range(2376)))
    with pytest.raises(GptaltError, match="arc_easy: its data has changed since"):
        run(tmp_path / "out", make_model("one"), resume=True, **settings)


def test_resume_of_a_single_run(tmp_path, monkeypatch, capsys):
    calls = []
    evaluate(
        tmp_path / "whole",
        make_plugins(make_model(likelihood=count_calls(calls))),
        tasks=["arc_easy", "hellaswag"],
    )
    whole = len(calls)
    plugins = make_plugins(make_model(likelihood=stop_at(25, [])))
    with pytest.raises(InterruptedRun, match="gptalt-eval resume"):
        evaluate(tmp_path / "out", plugins, tasks=["arc_easy", "hellaswag"])
    again = []
    monkeypatch.setattr(
        cli, "load_plugins", lambda *core: make_plugins(make_model(likelihood=count_calls(again)))
    )
    assert cli.main(["resume", str(tmp_path / "out")]) == 0
    assert len(again) == whole - 24, "the answers before the interruption are not asked for again"
    assert list(load_record(tmp_path / "out" / "scripted").run.done) == ["arc_easy", "hellaswag"]
    assert cli.main(["resume", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "scripted: already finished" in printed.err and "arc_easy" in printed.out
    assert len(again) == whole - 24


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "load_plugins", lambda *core: make_plugins(make_model("one"), make_model("two")))
    words = [
        "--model",
        "one,two",
        "--tasks",
        "arc_easy",
        "--num_fewshot",
        "0,1",
        "--prompt_style",
        "standard,system",
    ]
    assert cli.main([*words, "--data_dir", "sample", "--output_path", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    assert f"Compare: gptalt-eval compare {tmp_path / 'a'}" in printed
    assert re.search(r"Task +┃ Prompt +┃ Shots", printed)
    assert re.search(r"arc_easy +│ system +│ +1 │ acc", printed)
    assert cli.main(["compare", str(tmp_path / "a"), "--by", "prompt_style"]) == 0
    file = tmp_path / "experiment.yaml"
    file.write_text(
        f"model: [one, two]\ntasks: [arc_easy]\nnum_fewshot: [0, 1]\nprompt_style: [standard, system]\ndata_dir: sample\n"
        f"output_path: {tmp_path / 'b'}\n"
    )
    assert cli.main(["run", str(file)]) == 0
    assert read_scores(tmp_path / "b") == read_scores(tmp_path / "a")
    assert cli.main(["run", str(file)]) == 2
    assert cli.main(["resume", str(tmp_path / "b")]) == 0
    assert cli.main(["run", str(file), "--limit", "2", "--output_path", str(tmp_path / "c")]) == 0
    assert load_record(tmp_path / "c" / "one").run.settings["limit"] == 2
    capsys.readouterr()
    assert cli.main(["run", str(file), "--config", str(file)]) == 2
    assert "Give only one of them" in capsys.readouterr().err
    assert cli.main(["grid", str(file)]) == 2
    assert "Type: gptalt-eval run EXPERIMENT.yaml" in capsys.readouterr().err


KILLED = """
import os, sys
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model
from gptalt_eval.running.api import run
from gptalt_eval.contract.spec import make_spec
from rich.console import Console

calls = []
def likelihood(prompt, answer):
    calls.append(prompt)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    return hash_likelihood(prompt, answer)

spec = make_spec({"model": "scripted", "tasks": "arc_easy,hellaswag,piqa", "num_fewshot": "0,1", "data_dir": "sample",
                  "limit": 5, "output_path": sys.argv[1]})
run(spec, make_plugin_set(models=[make_scripted_model(likelihood)]), Console(quiet=True), resume=True)
print(len(calls))
"""


def test_a_killed_experiment_ends_with_the_same_numbers(tmp_path):
    def call(folder, stop):
        words = [sys.executable, "-c", KILLED, str(folder), str(stop)]
        return subprocess.run(words, capture_output=True, text=True, env=os.environ, check=False)

    whole = call(tmp_path / "whole", -1)
    assert call(tmp_path / "killed", 60).returncode == -signal.SIGKILL
    done = load_record(tmp_path / "killed" / "scripted").run.done
    assert 0 < len(done) < 6
    rest = call(tmp_path / "killed", -1)
    assert rest.returncode == 0, rest.stderr
    assert read_scores(tmp_path / "killed") == read_scores(tmp_path / "whole")
    assert int(rest.stdout) == int(whole.stdout) - 59, "no answer is computed twice"
    assert not list(tmp_path.rglob("answers.jsonl"))


def test_styles_are_listed(capsys, monkeypatch):
    monkeypatch.setattr(cli, "load_plugins", make_plugins)
    assert cli.main(["ls", "styles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["standard", "gptalt-eval", "the", "task's", "text", "alone"]
    assert [line.split()[0] for line in lines] == ["standard", "system", "chat", "think", "again"]


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_answers_of_other_weights_are_not_gone_on_with(tmp_path, names):
    """Even where the run was killed before its first task was finished."""

    def call(likelihood, **given):
        models = [make_model("one", likelihood=likelihood), *map(make_model, names[1:])]
        return run(tmp_path, *models, tasks="arc_easy", **given)

    with pytest.raises(InterruptedRun):
        call(stop_at(3, []))
    [folder] = [file.parent for file in tmp_path.rglob("run.json")]
    assert (folder / "answers.jsonl").read_text().count("\n") == 2
    saved = json.loads((folder / "run.json").read_text())
    saved["model"]["fingerprint"] = "0" * 64
    (folder / "run.json").write_text(json.dumps(saved))
    calls = []
    if len(names) == 1:
        with pytest.raises(GptaltError, match="The model 'one' has changed since"):
            call(count_calls(calls), resume=True)
    else:  # it is marked, and the other model goes on
        call(count_calls(calls), resume=True)
        assert "The model 'one' has changed since" in load_record(folder).run.failed["arc_easy"]
    assert calls == []


def test_from_python_as_from_the_command_line(tmp_path):
    plugins = make_plugins(make_model("one"), make_model("two"))
    given = {"plugins": plugins, "data_dir": "sample", "limit": 3, "output_path": str(tmp_path)}
    records = gptalt_eval.evaluate(["one", "two"], "arc_easy", **given)
    assert [record.model for record in records] == ["one", "two"]
    assert (tmp_path / "report.html").is_file()
    again = gptalt_eval.evaluate(["one", "two"], "arc_easy", resume=True, **given)
    assert [record.run.started for record in again] == [record.run.started for record in records]
    [alone] = gptalt_eval.evaluate(["one"], "arc_easy", **given | {"output_path": str(tmp_path / "alone")})
    assert alone.results[0]["results"] == records[0].results[0]["results"]
    with pytest.raises(GptaltError, match=r"Give a list: evaluate\(\['a', 'b'\]"):
        gptalt_eval.evaluate("one,two", "arc_easy", **given)


def test_what_failed_is_tried_again(tmp_path):
    def fail(args):
        raise OSError("no memory")

    calls = []
    one = make_model("one", likelihood=count_calls(calls))
    run(tmp_path, one, Model("two", "", "", "", create=fail), tasks="arc_easy")
    before = len(calls)
    records, _ = run(tmp_path, one, make_model("two"), tasks="arc_easy", resume=True)
    assert [record.is_complete for record in records] == [True, True]
    assert not records[1].failed and len(calls) == before


@pytest.mark.parametrize("names", [("a/b", "a__b"), ("one", "two")])
def test_models_whose_results_would_lie_in_one_folder_are_refused(tmp_path, names):
    path = tmp_path / ("x.json" if names[0] == "one" else "x")
    with pytest.raises(
        GptaltError, match=f"The results of '{names[0]}' and '{names[1]}' would go to the same folder"
    ):
        run(path, *map(make_model, names), tasks="arc_easy")


def write_yaml(folder, name, description):
    """In block style: what lies in ``--include_path`` is found by its line ``task:``."""
    file = Path(write_task(folder, name, description=description))
    file.write_text(yaml.safe_dump(json.loads(file.read_text())))


def interrupt(tmp_path, **settings):
    """A run of a group of ours that is stopped in the second of its tasks."""
    folder = tmp_path / "task"
    for name in ("mine", "yours"):
        write_yaml(folder, name, name)
    (folder / "g.yaml").write_text(yaml.safe_dump({"group": "g", "task": ["mine", "yours"], **settings}))
    given = {"tasks": "g", "include_path": str(folder), "limit": 6}
    with pytest.raises(InterruptedRun):
        run(tmp_path / "out", make_model("one", likelihood=stop_at(50, [])), **given)
    return folder, given


def test_changed_tasks_are_not_gone_on_with(tmp_path):
    folder, given = interrupt(tmp_path)
    write_yaml(folder, "mine", "other")
    with pytest.raises(GptaltError, match=r"has changed since it was started: mine\."):
        run(tmp_path / "out", make_model("one"), resume=True, **given)
    write_yaml(folder, "mine", "mine")
    (folder / "g.yaml").write_text(yaml.safe_dump({"group": "g", "task": ["yours"]}))
    with pytest.raises(GptaltError, match=r"has changed since it was started: mine\."):
        run(tmp_path / "out", make_model("one"), resume=True, **given)


@pytest.mark.parametrize("split", ["test", "train"])
def test_changed_files_of_a_task_are_not_gone_on_with(tmp_path, split):
    folder, given = interrupt(tmp_path)
    file = folder / f"{split}.jsonl"
    rows = file.read_text()
    file.write_text(rows.replace('"answer": "3"', '"answer": "4"'))
    with pytest.raises(GptaltError, match="its data has changed since"):
        run(tmp_path / "out", make_model("one"), resume=True, **given)
    file.write_text(rows)  # written anew, but the same
    [record], _ = run(tmp_path / "out", make_model("one"), resume=True, **given)
    assert record.is_complete


def test_a_task_without_results_may_be_mended(tmp_path):
    folder, given = interrupt(tmp_path)
    write_yaml(folder, "yours", "other")
    [record], _ = run(tmp_path / "out", make_model("one"), resume=True, **given)
    assert record.is_complete and set(record.run.done) == {"mine", "yours"}
    assert record.results[0]["configs"]["yours"]["description"] == "other"


def test_changed_shots_of_a_group_are_not_gone_on_with(tmp_path):
    folder, given = interrupt(tmp_path, metadata={"num_fewshot": [0, 1]})
    changed = {"group": "g", "task": ["mine", "yours"], "metadata": {"num_fewshot": [1, 0]}}
    (folder / "g.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(GptaltError, match="has changed since it was started: 1-shot, 0-shot"):
        run(tmp_path / "out", make_model("one"), resume=True, **given)


def test_a_changed_prompt_style_is_not_gone_on_with(tmp_path, monkeypatch):
    given = {"tasks": "arc_easy,hellaswag", "prompt_style": "think"}
    with pytest.raises(InterruptedRun):
        run(tmp_path, make_model("one", likelihood=stop_at(25, [])), **given)
    other = PromptStyle("think", "asks for steps", instruction="Think twice.")
    monkeypatch.setattr(Styles, "register_prompt_styles", hookimpl(lambda self: [other]))
    with pytest.raises(GptaltError, match="has changed since it was started: think"):
        run(tmp_path, make_model("one"), resume=True, **given)


# ------------------------------------------------------------------ models that crash


def crash_on_load(args):
    raise ValueError("weights of\nanother shape")


def crash_in_prompts(args):
    lm = make_scripted_model().create({})
    type(lm).apply_chat_template = lambda self, *args, **named: 1 // 0
    return lm


def exit_on_load(args):
    sys.exit(3)


def refuse_in_hand(args):
    raise GptaltError("The weights are damaged.", "Download them again.")


@pytest.mark.parametrize(
    ("create", "reason", "frame"),
    [
        (crash_on_load, "ValueError: weights of another shape", "in crash_on_load"),
        (crash_in_prompts, "ZeroDivisionError: integer division or modulo by zero", "in <lambda>"),
        (exit_on_load, "SystemExit: 3", "in exit_on_load"),
        (refuse_in_hand, "The weights are damaged. Download them again.", "in refuse_in_hand"),
    ],
)
def test_a_model_that_crashes_leaves_its_traceback(tmp_path, create, reason, frame):
    screen = io.StringIO()
    models = [Model("broken", "", "", "", create=create), make_model("two")]
    given = {"model": "broken,two", "tasks": "arc_easy,hellaswag", "data_dir": "sample", "limit": 2}
    spec = make_spec(given | {"output_path": str(tmp_path), "apply_chat_template": True})
    records, root = run_request(spec, make_plugins(*models), Console(file=screen, width=300))
    assert records[0].run.failed == {"arc_easy": reason, "hellaswag": reason} and records[1].is_complete
    assert (records[0].run.status, records[0].run.missing) == ("incomplete", ())
    log = (root / "broken" / "errors.log").read_text(encoding="utf-8")
    by_task = create is crash_in_prompts  # after it was loaded, each task fails by itself
    assert log.startswith("arc_easy\nTraceback" if by_task else "broken\nTraceback") and frame in log
    shown = " ".join(screen.getvalue().split())
    assert f"{'hellaswag' if by_task else 'broken'} failed: {reason}" in shown
    assert (f"The traceback is in {root / 'broken' / 'errors.log'}" in shown) is not by_task
    assert not (root / "two" / "errors.log").exists()


def test_a_model_whose_run_cannot_be_continued_is_marked_and_the_others_go_on(tmp_path):
    run(tmp_path, make_model("one"), make_model("two"), tasks="arc_easy,hellaswag")
    file = tmp_path / "one" / "run.json"
    saved = json.loads(file.read_text())
    saved["data"]["arc_easy"]["splits"]["test"]["rows"] = 1
    file.write_text(
        json.dumps(saved | {"done": ["arc_easy"], "missing": ["hellaswag"], "status": "interrupted"})
    )
    records, _ = run(tmp_path, make_model("one"), make_model("two"), tasks="arc_easy,hellaswag", resume=True)
    assert "its data has changed since" in records[0].run.failed["hellaswag"] and records[1].is_complete
    assert "continuing.py" in (tmp_path / "one" / "errors.log").read_text()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    """There is nothing to mark."""

    def fail(folder, run):
        raise RuntimeError("no such device")

    monkeypatch.setattr("gptalt_eval.running.runfiles.write_run_file", fail)
    with pytest.raises(RuntimeError, match="no such device"):
        run(tmp_path, make_model("one"), make_model("two"))


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (ValueError("a\n b"), "ValueError: a b"),
        (ValueError(), "ValueError"),
        (AssertionError(""), "AssertionError"),
        (GptaltError("What.", "Hint."), "What. Hint."),
    ],
)
def test_a_failure_in_one_line(error, described):
    assert describe_failure(error) == described


# ------------------------------------------------------------------ single runs beside experiments


@pytest.mark.parametrize("where", ["", "mine.json", "one/mine.json"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_single_run_does_not_displace_that_of_an_experiment(tmp_path, where, resume):
    run(tmp_path, make_model("one"), make_model("two"))
    before = sorted((file, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file())
    with pytest.raises(GptaltError, match="contains an experiment, and this run would displace") as caught:
        run(tmp_path / where, make_model("one"), resume=resume)
    assert f"gptalt-eval resume {tmp_path}" in caught.value.hint
    assert sorted((file, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()) == before
    run(tmp_path / "elsewhere" / "deeper", make_model("one"))


def test_rerun_does_not_displace_it_either(tmp_path, monkeypatch, capsys):
    run(tmp_path, make_model("one"), make_model("two"))
    monkeypatch.setattr(cli, "load_plugins", lambda *core: make_plugins(make_model("one"), make_model("two")))
    assert cli.main(["rerun", str(tmp_path / "one")]) == 2
    assert "contains an experiment" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "one").glob("run*.json")] == ["run.json"]


@pytest.mark.parametrize("asked", [False, True])
def test_samples_that_are_only_compared_are_not_sent(tmp_path, monkeypatch, asked):
    """Neither by the experiment, nor when one of its models is resumed alone."""
    sent = []

    class Loggers:
        def __init__(self, spec, sends_samples, note):
            sent.append(sends_samples)

    monkeypatch.setattr("gptalt_eval.running.lmeval.loggers.Loggers", Loggers)
    given = {
        "tasks": "arc_easy,hellaswag",
        "hf_hub_log_args": {"push_results_to_hub": True},
        "log_samples": asked,
    }
    with pytest.raises(InterruptedRun):
        run(tmp_path, make_model("one", likelihood=stop_at(25, [])), make_model("two"), **given)
    monkeypatch.setattr(cli, "load_plugins", lambda *core: make_plugins(make_model("one"), make_model("two")))
    assert cli.main(["resume", str(tmp_path / "one")]) == 0
    assert cli.main(["resume", str(tmp_path)]) == 0
    assert sent == [asked] * 3
    record = load_record(tmp_path / "one")
    assert ("log_samples" in record.run.settings) is asked
    assert len(list(record.read_samples(0, "hellaswag"))) == 5, "saved, since the models are compared"
    assert "log_samples" not in record.run.command or asked


def test_results_name_the_model_and_not_a_backend_that_did_not_build_it(tmp_path):
    [record], _ = run(tmp_path, make_model("one"), tasks="arc_easy", limit=1)
    results = record.results[0]
    assert (results["model_source"], results["model_name"], results["config"]["model"]) == (
        "one",
        "one",
        "one",
    )
