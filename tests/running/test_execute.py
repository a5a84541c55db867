"""Whole evaluations with the scripted model: no torch, seconds."""

import json
import sys
from pathlib import Path

import jinja2
import pytest
from rich.console import Console

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.running import runfiles
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set, make_scripted_model

QUIET = Console(quiet=True)


@pytest.fixture
def evaluate(plugins, tmp_path):
    def evaluate(tasks="piqa", plugins=plugins, **settings):
        spec = make_spec(
            {
                "model": "scripted",
                "tasks": tasks,
                "data_dir": "sample",
                "output_path": str(tmp_path / "out"),
                "log_samples": True,
                **settings,
            }
        )
        return run(spec, plugins, QUIET).records[0]

    return evaluate


def test_files_are_lm_evals_layout(evaluate, tmp_path):
    record = evaluate("piqa,gsm8k", limit=3)
    assert record.folder == tmp_path / "out" / "scripted"
    [results] = record.folder.glob("results_*.json")
    stamp = results.stem.removeprefix("results_")
    names = {path.name for path in record.folder.iterdir()}
    assert names == {
        results.name,
        f"samples_piqa_{stamp}.jsonl",
        f"samples_gsm8k_{stamp}.jsonl",
        "run.json",
        "report.html",
    }
    assert record.is_complete


def test_lm_evals_own_tools_read_the_files(evaluate):
    from lm_eval.utils import (
        get_file_datetime,
        get_file_task_name,
        get_results_filenames,
        get_sample_results_filenames,
        make_table,
    )

    record = evaluate("piqa", limit=3)
    names = [str(path) for path in record.folder.iterdir()]
    [results], [samples] = get_results_filenames(names), get_sample_results_filenames(names)
    assert get_file_task_name(Path(samples).name) == "piqa"
    assert get_file_datetime(Path(results).name).startswith(get_file_datetime(Path(samples).name))
    assert "piqa" in make_table(json.loads(Path(results).read_text()))


def test_run_json_tells_how_the_numbers_came_about(evaluate):
    run = evaluate("piqa,race", limit=2).run
    assert run.status == "complete"
    assert run.command.startswith("gptalt-eval --model scripted --tasks piqa,race")
    assert run.settings["limit"] == 2
    assert {"python", "gptalt-eval", "lm_eval", "transformers", "torch"} <= run.versions.keys()
    assert len(run.model.fingerprint) == 64
    assert run.model.licence == "Apache-2.0"
    assert len(run.data["piqa"].splits["validation"].sha256) == 64
    assert run.data["piqa"].origin == "sample"
    assert run.seeds == (0, 1234, 1234, 1234)
    assert run.hardware["cores"] >= 1
    assert run.done == ("piqa", "race") and run.missing == ()
    assert "embedded sample" in run.notes[0]


def test_it_needs_no_torch(tmp_path):
    import subprocess

    script = (
        "import sys, gptalt_eval\n"
        "from gptalt_eval.testing import make_plugin_set, make_scripted_model\n"
        "plugins = make_plugin_set(models=[make_scripted_model()])\n"
        f"gptalt_eval.evaluate('scripted', 'piqa', plugins=plugins, data_dir='sample', output_path={str(tmp_path)!r})\n"
        "sys.exit(1 if 'torch' in sys.modules else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_from_python(plugins, tmp_path):
    record = gptalt_eval.evaluate(
        model="scripted", tasks=["piqa"], plugins=plugins, data_dir="sample", output_path=str(tmp_path)
    )
    assert record.results[0]["results"]["piqa"]["sample_len"] == 20
    with pytest.raises(GptaltError, match="no setting 'nun_fewshot'"):
        gptalt_eval.evaluate("scripted", "piqa", plugins=plugins, nun_fewshot=3)


def test_a_perfect_model_is_perfect(tmp_path):
    # the sample's items, each with its right answer: the model knows them by heart
    from gptalt_eval.data.readers import read_jsonl
    from gptalt_eval.data.standard import SAMPLES

    right = {
        row["goal"]: row[f"sol{row['label'] + 1}"]
        for row in read_jsonl(SAMPLES / "piqa" / "validation.jsonl")
    }
    model = make_scripted_model(
        lambda prompt, answer: 0.0 if answer.strip() == right[prompt[10:-8]] else -9.0
    )
    record = gptalt_eval.evaluate(
        "scripted",
        "piqa",
        plugins=make_plugin_set(models=[model]),
        data_dir="sample",
        output_path=str(tmp_path),
    )
    assert record.results[0]["results"]["piqa"]["acc,none"] == 1.0


def test_groups_are_aggregated(evaluate):
    record = evaluate("mmlu")
    results = record.results[0]
    subjects = [
        name
        for name in results["results"]
        if name.startswith("mmlu_") and name not in results["group_subtasks"]
    ]
    assert len(subjects) == 57
    mean = sum(results["results"][name]["acc,none"] for name in subjects) / 57
    assert results["groups"]["mmlu"]["acc,none"] == pytest.approx(mean)
    assert results["groups"]["mmlu"]["sample_len"] == 57


def test_several_shot_counts_are_several_results_of_one_run(evaluate):
    record = evaluate("piqa", num_fewshot="0,2", limit=3)
    assert [result["n-shot"]["piqa"] for result in record.results] == [0, 2]
    prompts = [
        next(record.read_samples(index, "piqa"))["arguments"]["gen_args_0"]["arg_0"] for index in (0, 1)
    ]
    assert [prompt.count("Question:") for prompt in prompts] == [1, 3]


def test_chat_template_and_system_instruction(evaluate):
    record = evaluate("piqa", limit=1, apply_chat_template=True, system_instruction="Be brief.")
    prompt = next(record.read_samples(0, "piqa"))["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.startswith("<system>Be brief.<user>Question:") and prompt.endswith("<assistant>")
    assert record.results[0]["chat_template"] == "<role>content"


def test_predict_only_computes_nothing(evaluate):
    record = evaluate("piqa", limit=2, predict_only=True)
    assert "acc,none" not in record.results[0]["results"]["piqa"]
    assert len(list(record.read_samples(0, "piqa"))) == 2


def test_gen_kwargs_reach_the_task(evaluate):
    record = evaluate("gsm8k", limit=1, gen_kwargs={"max_gen_toks": 7})
    assert record.results[0]["configs"]["gsm8k"]["generation_kwargs"]["max_gen_toks"] == 7


def test_named_rows(evaluate):
    record = evaluate("piqa", samples={"piqa": [2, 5]})
    assert [line["doc_id"] for line in record.read_samples(0, "piqa")] == [2, 5]


def test_without_log_samples_there_are_no_samples(evaluate):
    assert not list(evaluate("piqa", limit=1, log_samples=False).folder.glob("samples_*"))


def test_output_path_may_be_a_json_file(evaluate, tmp_path):
    record = evaluate("piqa", limit=1, output_path=str(tmp_path / "deep" / "mine.json"))
    assert record.folder == tmp_path / "deep"
    assert record.files[0].name.startswith("mine_results_")


def test_a_second_run_in_the_same_place_leaves_the_first_whole(evaluate):
    first = evaluate("piqa", limit=1)
    second = evaluate("boolq", limit=1)
    assert first.files[0].is_file() and second.files[0] != first.files[0]
    assert len(list(second.folder.glob("run_*.json"))) == 1
    assert second.run.done == ("boolq",)


# ------------------------------------------------------------------ when it ends early


def model_that_fails_on(word, error):
    def likelihood(prompt, answer):
        if word in prompt:
            raise error
        return -float(len(answer))

    return make_plugin_set(models=[make_scripted_model(likelihood)])


def test_ctrl_c_leaves_what_was_finished(evaluate, tmp_path):
    plugins = model_that_fails_on("Article:", KeyboardInterrupt())
    with pytest.raises(InterruptedRun) as caught:
        evaluate("piqa,boolq,race,sciq", plugins=plugins, limit=2)
    text = str(caught.value)
    assert "2 of 4 tasks are saved" in text and "missing: race, sciq" in text and "gptalt-eval resume" in text
    record = load_record(tmp_path / "out" / "scripted")
    assert record.run.status == "interrupted"
    assert set(record.results[0]["results"]) == {"piqa", "boolq"}
    assert len(list(record.read_samples(0, "boolq"))) == 2


SLOW_RUN = """
import sys, time
from gptalt_eval.commands import cli
from gptalt_eval.testing import make_plugin_set, make_scripted_model

def answer(prompt, continuation):
    if "Article:" in prompt:
        print("asked", flush=True)
        time.sleep(60)
    return -1.0

cli.load_plugins = lambda *core: make_plugin_set(models=[make_scripted_model(answer)])
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_pressed_twice_for_real(tmp_path):
    import signal
    import subprocess

    words = [
        "--model",
        "scripted",
        "--tasks",
        "piqa,race",
        "--data_dir",
        "sample",
        "--output_path",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in complaint
    assert json.loads((tmp_path / "scripted" / "run.json").read_text())["status"] in (
        "interrupted",
        "running",
    )
    assert load_record(tmp_path / "scripted").run.done == ("piqa",)


def test_a_group_that_is_not_complete_is_not_reported(evaluate, tmp_path):
    plugins = model_that_fails_on("Article:", KeyboardInterrupt())
    with pytest.raises(InterruptedRun):
        evaluate("gptalt_zero_shot", plugins=plugins, limit=1)
    assert "gptalt_zero_shot" not in load_record(tmp_path / "out" / "scripted").results[0]["results"]


def test_a_full_disk_leaves_what_was_finished(evaluate, tmp_path, monkeypatch):
    write, written = runfiles.write_atomically, []

    def fill_up(path, text):
        if "boolq" in path.name:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)
        write(path, text)

    monkeypatch.setattr(runfiles, "write_atomically", fill_up)
    with pytest.raises(InterruptedRun) as caught:
        evaluate("piqa,boolq", limit=2)
    assert "No space left on device" in str(caught.value) and "missing: boolq" in str(caught.value)
    record = load_record(tmp_path / "out" / "scripted")
    assert record.run.status == "failed" and list(record.results[0]["results"]) == ["piqa"]


def test_a_bug_keeps_its_traceback(evaluate):
    with pytest.raises(ZeroDivisionError):
        evaluate("race", plugins=model_that_fails_on("Article:", ZeroDivisionError()), limit=1)


# ------------------------------------------------------------------ answers that are kept


def test_kept_answers_are_used_again_by_the_same_model_only(evaluate, tmp_path):
    asked = []

    def counting(name, score):
        def likelihood(prompt, answer):
            asked.append(name)
            return score(answer)

        return make_scripted_model(likelihood, name=name)

    plugins = make_plugin_set(models=[counting("short", lambda a: -len(a)), counting("long", len)])
    settings = {"plugins": plugins, "use_cache": str(tmp_path / "answers"), "limit": 4}
    first = evaluate("piqa", model="short", **settings)
    assert asked == ["short"] * 8
    again = evaluate("piqa", model="short", **settings)
    assert asked == ["short"] * 8, "all answers were kept"
    assert again.results[0]["results"] == first.results[0]["results"]
    evaluate("piqa", model="long", **settings)
    assert asked.count("long") == 8, "another model does not share them"
    assert len(list(tmp_path.glob("answers_*.jsonl"))) == 2


def make_drawing_model(stop_at=None):
    """Each answer is another one, as from a random draw."""
    drawn = []

    def draw(prompt):
        drawn.append(prompt)
        if len(drawn) == stop_at:
            raise KeyboardInterrupt
        return f"{len(drawn)} of {stop_at}"

    return make_plugin_set(models=[make_scripted_model(generate=draw)])


def read_responses(record):
    return [tuple(row["resps"][0]) for row in record.read_samples(0, "drawn")]


@pytest.mark.parametrize("flags", [{}, {"use_cache": True}])
@pytest.mark.parametrize(
    ("own", "given"),
    [
        ({"temperature": 1.5}, {}),
        ({}, {"temperature": "0.8"}),
        ({"do_sample": True, "temperature": 0.7}, {}),
        ({}, {}),
    ],
    ids=["a temperature in the YAML", "one as a flag", "do_sample", "a service that always draws"],
)
def test_a_kept_answer_never_stands_for_a_random_draw(evaluate, tmp_path, own, given, flags):
    file = tmp_path / "drawn.yaml"
    settings = {"until": ["\n"], **own}
    file.write_text(
        "task: drawn\ndataset_path: allenai/ai2_arc\ndataset_name: ARC-Easy\noutput_type: generate_until\n"
        "test_split: test\ndoc_to_text: '{{question}}'\ndoc_to_target: answerKey\nrepeats: 4\n"
        f"generation_kwargs: {json.dumps(settings)}\nmetric_list: [{{metric: exact_match}}]\n"
    )
    asked = {"limit": 3, "gen_kwargs": given}
    if flags:
        asked["use_cache"] = str(tmp_path / "kept")
    with pytest.raises(InterruptedRun):
        evaluate(str(file), plugins=make_drawing_model(stop_at=10), **asked)
    spec = make_spec(load_record(tmp_path / "out" / "scripted").run.settings)
    record = run(spec, make_drawing_model(), QUIET, resume=True).records[0]
    for draws in read_responses(record):
        assert len(set(draws)) == 4, "each repeat is a draw of its own"
    again = evaluate(str(file), plugins=make_drawing_model(stop_at=-1), **asked)
    assert not {*sum(read_responses(again), ())} & {*sum(read_responses(record), ())}


def test_models_of_other_settings_do_not_share_answers(evaluate, tmp_path):
    for length in (5, 6, 5):
        evaluate("piqa", use_cache=str(tmp_path / "answers"), model_args={"max_length": length}, limit=1)
    assert len(list(tmp_path.glob("answers_*.jsonl"))) == 2


def test_templates_are_compiled_once(evaluate, monkeypatch, tmp_path):
    compile_it, compiled = jinja2.Environment.compile, []
    monkeypatch.setattr(
        jinja2.Environment,
        "compile",
        lambda self, source, *a, **k: compiled.append(source) or compile_it(self, source, *a, **k),
    )
    own = f"{tmp_path}: {{{{question}}}}"  # no other test has had it compiled
    (tmp_path / "own.yaml").write_text(
        "task: own\ndataset_path: allenai/ai2_arc\ndataset_name: ARC-Easy\noutput_type: generate_until\n"
        f"test_split: test\ndoc_to_text: '{own}'\ndoc_to_target: answerKey\n"
        "generation_kwargs: {until: ['x']}\nmetric_list: [{metric: exact_match}]\n"
    )
    evaluate(str(tmp_path / "own.yaml"), limit=5)
    assert compiled.count(own) == 2, "by lm-eval, and before the run by validate in its sandbox"


def test_prompts_kept_for_other_data_are_not_used(evaluate, cache, tmp_path):
    evaluate("piqa", cache_requests="true", limit=2)
    folder = tmp_path / "data" / "piqa"
    folder.mkdir(parents=True)
    (folder / "valid.jsonl").write_text('{"goal": "quite another goal", "sol1": "a", "sol2": "b"}\n' * 3)
    (folder / "valid-labels.lst").write_text("0\n1\n0\n")
    settings = {"data_dir": str(tmp_path / "data"), "allow_partial_data": True}
    record = evaluate("piqa", cache_requests="true", limit=2, **settings)
    assert "quite another goal" in next(record.read_samples(0, "piqa"))["arguments"]["gen_args_0"]["arg_0"]
    assert len(list((cache / "requests").iterdir())) == 2
    evaluate("piqa", cache_requests="delete", limit=1)
    assert not (cache / "requests").exists()


def test_prompts_kept_for_other_settings_are_not_used(evaluate, cache):
    """lm-eval tells kept prompts apart by the task's name and the number of shots."""

    def read_prompts(**settings):
        record = evaluate("piqa", cache_requests="true", log_samples=True, **settings)
        return [
            (row["doc_id"], row["arguments"]["gen_args_0"]["arg_0"]) for row in record.read_samples(0, "piqa")
        ]

    zero = read_prompts()
    assert read_prompts(samples={"piqa": [3, 5]}) == [zero[3], zero[5]]
    assert read_prompts(samples={"piqa": [1, 2]}) == [zero[1], zero[2]]
    assert len(list((cache / "requests").iterdir())) == 3
    assert read_prompts(limit=4) == zero[:4]
    assert len(list((cache / "requests").iterdir())) == 3, "prompts of the same settings are used again"
    assert read_prompts(num_fewshot=2) != read_prompts(num_fewshot=2, seed=[0, 0, 0, 7])


def test_prompts_kept_for_another_chat_template_are_not_used(evaluate, monkeypatch, cache):
    """The model has the same name; only the text of its template has changed."""
    import gptalt_eval.testing as testing

    settings = {"cache_requests": "true", "limit": 1, "apply_chat_template": True}
    made = testing.make_scripted_lm

    def make_shouting(*rules):
        lm = made(*rules)
        type(lm).chat_template = lambda self, name=False: "<ROLE>content"
        type(lm).apply_chat_template = lambda self, turns, **named: f"<{turns[0]['role'].upper()}>"
        return lm

    before = next(evaluate("piqa", **settings).read_samples(0, "piqa"))["arguments"]["gen_args_0"]["arg_0"]
    monkeypatch.setattr(testing, "make_scripted_lm", make_shouting)
    after = next(evaluate("piqa", **settings).read_samples(0, "piqa"))["arguments"]["gen_args_0"]["arg_0"]
    assert before.startswith("<user>") and after.startswith("<USER>")
    assert len(list((cache / "requests").iterdir())) == 2


@pytest.mark.parametrize("changed", ["a helper", "the YAML", "a generation setting", "a seed"])
def test_prompts_kept_for_another_task_are_not_used(evaluate, tmp_path, cache, changed):
    def write(greeting, end, stop):
        (tmp_path / "greet.py").write_text(
            f"def help():\n    return {greeting!r}\n\ndef ask(doc):\n    return help() + doc['question']\n"
        )
        (tmp_path / "own.yaml").write_text(
            "task: own\ndataset_path: allenai/ai2_arc\ndataset_name: ARC-Easy\noutput_type: generate_until\n"
            f"test_split: test\ndoc_to_text: !function greet.ask\ndoc_to_target: '{{{{answerKey}}}}{end}'\n"
            f"generation_kwargs: {{until: ['{stop}']}}\nmetric_list: [{{metric: exact_match}}]\n"
        )

    def look(**settings):
        file = str(tmp_path / "own.yaml")
        given = {"cache_requests": "true", "limit": 1, "trust_task_code": file, **settings}
        record = evaluate(file, **given)
        request = next(record.read_samples(0, "own"))["arguments"]["gen_args_0"]
        return request["arg_0"][:5], request["arg_1"]["until"]

    write("hello", "", "x")
    assert look() == ("hello", ["x"])
    words = {
        "a helper": ("servu", "", "x"),
        "the YAML": ("hello", "!", "x"),
        "a generation setting": ("hello", "", "y"),
    }
    write(*words.get(changed, ("hello", "", "x")))
    greeting, _, stop = words.get(changed, ("hello", "", "x"))
    assert look(**({"seed": [7, 8, 9, 1234]} if changed == "a seed" else {})) == (greeting, [stop])
    assert len(list((cache / "requests").iterdir())) == 2


# ------------------------------------------------------------------ observers


class Observer:
    def __init__(self):
        self.seen = []

    @hookimpl
    def run_started(self, plan):
        self.seen.append(("started", plan.model.item.name, len(plan.cells[0].tasks)))

    @hookimpl
    def sample_scored(self, sample):
        self.seen.append((sample.task, sample.doc_id, sample.metrics["acc"]))

    @hookimpl
    def run_finished(self, record):
        self.seen.append(("finished", record.run.status))


class Faulty:
    @hookimpl
    def sample_scored(self, sample):
        raise RuntimeError("no thanks")


def test_observers_see_the_run(evaluate):
    observer = Observer()
    plugins = make_plugin_set(observer, Faulty(), models=[make_scripted_model()])
    evaluate("piqa", plugins=plugins, limit=2)
    assert observer.seen[0] == ("started", "scripted", 1)
    assert [event[:2] for event in observer.seen[1:3]] == [("piqa", 0), ("piqa", 1)]
    assert observer.seen[-1] == ("finished", "complete")
    assert [
        problem for problem in plugins.problems if problem.plugin == "Faulty" and "no thanks" in problem.what
    ]


def test_two_tasks_on_one_dataset_each_get_their_splits(evaluate, tmp_path):
    # the second needs no examples from 'train', which the first one does
    for name, shots, more in (("piqa_shown", 2, "training_split: train\n"), ("piqa_plain", 0, "")):
        (tmp_path / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: baber/piqa\noutput_type: multiple_choice\nvalidation_split: validation\n"
            f"doc_to_text: 'Question: {{{{goal}}}}'\ndoc_to_target: label\ndoc_to_choice: '{{{{[sol1, sol2]}}}}'\n"
            f"num_fewshot: {shots}\n{more}"
        )
    record = evaluate(f"{tmp_path / 'piqa_shown.yaml'},{tmp_path / 'piqa_plain.yaml'}", limit=2)
    assert record.results[0]["n-shot"] == {"piqa_shown": 2, "piqa_plain": 0}
    prompt = next(record.read_samples(0, "piqa_shown"))["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.count("Question:") == 3
