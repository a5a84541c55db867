"""The commands of gptalt-eval with the tasks, which are classes, and with the flags of this plugin."""

import json

import gptalt_eval_plugin_scienceqa as scienceqa
import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.record import load_record
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

NAMES = {f"scienceqa{subset}{kind}" for subset in ("", "_img", "_txt") for kind in ("", "_ll", "_gen")}


@pytest.fixture
def command(capsys):
    """Run a command with two scripted models; returns its exit code, what it printed, and its errors."""

    def run(*words, likelihood=hash_likelihood):
        models = [
            make_scripted_model(likelihood),
            make_scripted_model(lambda p, a: -len(p + a), name="other"),
        ]
        code = cli.dispatch([str(word) for word in words], make_plugin_set(scienceqa, models=models))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(make_release, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return make_release()


def test_they_are_listed(command):
    code, printed, _ = command("ls", "tasks", "scienceqa")
    assert code == 0
    assert {line.split()[0] for line in printed.splitlines() if line.startswith("scienceqa")} == NAMES


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name[-3:] in ("_ll", "gen")))
def test_the_first_prompt_is_shown(command, folder, name):
    code, printed, _ = command("show", "task", name, "--data_dir", folder)
    first = 12 if "img" in name else 11
    assert code == 0 and "CC BY-NC-SA 4.0" in printed and "folder, 12 rows" in printed
    assert printed.count("The answer is ") >= 2 and f"Which is right in {first}?" in printed


def test_their_yamls_are_valid(command):
    code, printed, _ = command("validate", scienceqa.HERE / "tasks")
    assert code == 0 and "9 files: 0 errors, 0 warnings" in printed


def test_the_sample_runs(command, folder):
    code, printed, _ = command("--model", "scripted", "--tasks", "scienceqa", "--data_dir", "sample")
    assert code == 0
    for column in ("acc_NAT", "acc_SOC", "acc_LAN", "acc_TXT", "acc_IMG", "acc_NO", "acc_G1-6", "acc_G7-12"):
        assert printed.count(column) == 2


FLAGS = ("--prompt_format", "CQM-A", "--shot_qids", "1,3", "--bad_rows", "leave_out", "--use_caption")
SAID = {"prompt_format": "CQM-A", "shot_qids": "1,3", "bad_rows": "leave_out", "use_caption": True}


def run(command, folder, *more, model="scripted", output="out"):
    words = ("--model", model, "--tasks", "scienceqa", "--data_dir", folder, "--output_path", output)
    return command(*words, "--log_samples", *more)


def test_flags_reach_the_prompts_the_record_and_a_rerun(command, folder):
    assert run(command, folder, *FLAGS)[0] == 0
    before = load_record(folder.parent / "out/scripted")
    assert before.run.settings["metadata"] == SAID
    [first, *_] = [
        line["arguments"]["gen_args_0"]["arg_0"] for line in before.read_samples(0, "scienceqa_ll")
    ]
    assert first.startswith("Context: The hint of 1.\nQuestion: Which is right in 1?")
    assert command("rerun", "out/scripted")[0] == 0
    after = load_record(folder.parent / "out/scripted")
    assert after.run.settings == before.run.settings
    assert after.results[0]["task_hashes"] == before.results[0]["task_hashes"]


def test_an_interrupted_run_goes_on_with_its_flags(command, folder):
    """The second task fails as if the power went; resuming asks it as it was to be asked."""
    assert run(command, folder, *FLAGS, output="whole")[0] == 0
    whole = load_record(folder.parent / "whole/scripted")

    def stop(prompt, answer):
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRun):
        words = ("--model", "scripted", "--tasks", "scienceqa", "--data_dir", folder, "--output_path", "out")
        command(*words, "--log_samples", *FLAGS, likelihood=stop)
    assert load_record(folder.parent / "out/scripted").run.status != "complete"
    assert command("resume", "out/scripted")[0] == 0
    resumed = load_record(folder.parent / "out/scripted")
    assert resumed.run.status == "complete"
    assert resumed.results[0]["task_hashes"] == whole.results[0]["task_hashes"]
    assert resumed.results[0]["results"] == whole.results[0]["results"]


def test_two_runs_are_compared(command, folder):
    for model in ("scripted", "other"):
        assert run(command, folder, model=model)[0] == 0
    code, printed, _ = command("compare", "out")
    assert code == 0 and "scienceqa_ll (standard, 2-shot), 12 rows" in printed and "scienceqa_gen" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prompt_format", "QCM-AEL2"), "--prompt_format: there is no 'QCM-AEL2'.\nDid you mean 'QCM-A"),
        (("--bad_rows", "leave"), "--bad_rows: there is no 'leave'"),
        (("--promt_format", "QCM-A"), "There is no option --promt_format.\nDid you mean '--prompt_format'"),
        (("--metadata", "promt_format=QCM-A"), "ScienceQA knows no setting 'promt_format'.\nDid you mean prompt_format"),
        (("--metadata", "prompt_format=QCMA"), "ScienceQA knows no prompt_format 'QCMA'.\nDid you mean QCM-A"),
        (("--shot_qids", "1,11"), "question 11 is not one of the 8 of train"),
        (("--shot_qids", "1,2", "--num_fewshot", "3"), "--num_fewshot 3: shot_qids has 2 questions"),
    ],
)  # fmt: skip
def test_wrong_values_are_said_before_the_model_is_loaded(command, folder, words, said):
    def load(args):
        raise AssertionError("the model was loaded")

    from dataclasses import replace

    plugins = make_plugin_set(scienceqa, models=[replace(make_scripted_model(), create=load)])
    with pytest.raises(GptaltError, match=said):
        cli.dispatch(
            ["--model", "scripted", "--tasks", "scienceqa", "--data_dir", str(folder), *words], plugins
        )


def test_faults_are_said_before_the_model_is_loaded(make_release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(args):
        raise AssertionError("the model was loaded")

    def change(problems, splits):
        problems["13"]["answer"] = 9

    from dataclasses import replace

    plugins = make_plugin_set(scienceqa, models=[replace(make_scripted_model(), create=load)])
    words = ["--model", "scripted", "--tasks", "scienceqa", "--data_dir", str(make_release(change=change))]
    with pytest.raises(GptaltError, match="1 of 12 questions cannot be asked"):
        cli.dispatch(words, plugins)


def test_the_help_lists_the_flags(capsys):
    with pytest.raises(SystemExit):
        cli.dispatch(["run", "--help"], make_plugin_set(scienceqa))
    text = capsys.readouterr().out
    assert all(
        flag in text
        for flag in ("--prompt_format FORMAT", "--use_caption", "--shot_qids ID,ID", "--bad_rows")
    )


def test_a_yaml_file_can_say_it_too(command, folder):
    file = folder.parent / "run.yaml"
    file.write_text(
        f"model: scripted\ntasks: scienceqa_ll\ndata_dir: {folder}\noutput_path: {folder.parent / 'out'}\n"
        "log_samples: true\nmetadata: {prompt_format: CQM-A, shots: per_question}\n"
    )
    assert command("run", file, "--use_caption", "--trust")[0] == 0
    said = json.loads((folder.parent / "out/scripted/run.json").read_text())["settings"]["metadata"]
    assert said == {"prompt_format": "CQM-A", "shots": "per_question", "use_caption": True}
