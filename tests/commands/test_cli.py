"""The command line as a user meets it: messages, exit codes, and that nothing is a traceback."""

import contextlib
import json
import subprocess
import sys

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError, PluginError
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.types import Command, Option
from gptalt_eval.testing import make_plugin_set, make_scripted_model


@pytest.fixture
def gptalt_eval(tmp_path, monkeypatch):
    """Runs the program in an empty folder; returns (exit code, what it printed, what it complained of)."""

    def call(*words, **environ):
        outcome = subprocess.run(
            [sys.executable, "-m", "gptalt_eval", *map(str, words)],
            capture_output=True, text=True, cwd=tmp_path, env={**__import__("os").environ, "HF_HUB_OFFLINE": "1", **environ},
        )  # fmt: skip
        assert "Traceback" not in outcome.stderr, outcome.stderr
        return outcome.returncode, outcome.stdout, outcome.stderr

    return call


@pytest.fixture
def broken_cache(tmp_path):
    folder = tmp_path / "cache" / "smollm2"
    folder.mkdir(parents=True)
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF cut off")
    return tmp_path / "cache"


@pytest.fixture
def truncated(tmp_path):
    folder = tmp_path / "data" / "boolq"
    folder.mkdir(parents=True)
    (folder / "dev.jsonl").write_text(
        '{"question": "q", "title": "t", "answer": true, "passage": "p"}\n{"question": "q", "ti'
    )
    return tmp_path / "data"


PIQA = ("--model", "smollm2", "--tasks", "piqa", "--data_dir", "sample")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--model", "smollm2", "--tasks", "hellaswga", "--data_dir", "sample"),
            "There is no task 'hellaswga'.\nDid you mean 'hellaswag'",
        ),
        (
            ("--model", "smolm2", "--tasks", "piqa", "--data_dir", "sample"),
            "There is no model 'smolm2'.\nDid you mean 'smollm2'",
        ),
        (
            ("--model", "chatglm", "--tasks", "medqa_zh", "--data_dir", "sample"),
            "Model 'chatglm' comes with gptalt-eval-plugin-models.\nInstall it: gptalt-eval install models",
        ),
        (
            ("--model", "chatglm", "--tasks", "medqa_zh", "--data_dir", "sample"),
            "Install it: gptalt-eval install medqa",
        ),
        (
            ("--model", "smollm2", "--tasks", "medqa_zh"),
            "Task 'medqa_zh' comes with gptalt-eval-plugin-medqa.\nInstall it: gptalt-eval install medqa",
        ),
        (
            ("--model", "smollm2", "--tasks", "piqa", "--data_dir", "/nowhere"),
            "--data_dir: there is no folder /nowhere.",
        ),
        ((*PIQA, "--num_fewshot", "-1"), "--num_fewshot -1: it must not be negative."),
        ((*PIQA, "--output_path", "/dev/null/x"), "--output_path /dev/null/x is not writable"),
        ((*PIQA, "--nun_fewshot", "1"), "There is no option --nun_fewshot.\nDid you mean '--num_fewshot'"),
        ((*PIQA, "--model_args", "dtype"), "expected key=value"),
        (("--tasks", "piqa"), "No model was given."),
        (("--model", "hf", "--tasks", "piqa", "--data_dir", "sample"), "Add --model_args pretrained="),
        (
            (
                "--model",
                "hf",
                "--model_args",
                "pretrained=./nowhere",
                "--tasks",
                "piqa",
                "--data_dir",
                "sample",
            ),
            "There is no model folder ./nowhere",
        ),
        (("lss",), "There is no command 'lss'.\nDid you mean 'ls'"),
        (
            ("mine.yaml", "--limit", "3"),
            "There is no command 'mine.yaml'.\nTo run that file: gptalt-eval run mine.yaml",
        ),
        (("grid", "mine.yaml"), "'grid' has been replaced.\nType: gptalt-eval run EXPERIMENT.yaml"),
        (("elo",), "Command 'elo' comes with gptalt-eval-plugin-elo.\nInstall it: gptalt-eval install elo"),
        (("show", "task", "piqua"), "Did you mean 'piqa'"),
        (("show", "dataset", "piqua"), "Did you mean 'piqa'"),
        (("report", "runs/none"), "There is no run folder runs/none"),
        (("rerun", "runs/none"), "There is no run folder runs/none"),
        (("ls", "taks"), "KIND: there is no 'taks'.\nDid you mean 'tasks'"),
        (("ls", "models", "--all"), "--all does not apply to models."),
        (("ls", "tasks", "--data_dir", "x"), "--data_dir does not apply to tasks."),
        (("show",), "'gptalt-eval show' needs a subcommand: task, model, dataset."),
        (("show", "modle", "x"), "There is no task, model or dataset 'modle'.\nDid you mean 'model'"),
        (("show", "piqua"), "There is no task, model or dataset 'piqua'.\nDid you mean 'piqa'"),
        (("show", "qqqqqqqq"), "There is no task, model or dataset 'qqqqqqqq'.\nSee: gptalt-eval ls"),
        (("show", "model", "hf", "--num_fewshot", "1"), "There is no option --num_fewshot"),
    ],
)
def test_mistakes_end_with_two_and_one_message(gptalt_eval, words, expected):
    code, printed, complaint = gptalt_eval(*words)
    assert code == 2
    assert complaint.startswith("gptalt-eval: ") and expected in complaint
    assert printed == ""


def test_a_truncated_file(gptalt_eval, truncated):
    code, _, complaint = gptalt_eval("--model", "smollm2", "--tasks", "boolq", "--data_dir", truncated)
    assert code == 2 and "dev.jsonl, line 2: truncated or damaged" in complaint


def test_a_corrupt_gguf(gptalt_eval, broken_cache):
    code, _, complaint = gptalt_eval(*PIQA, GPTALT_CACHE=str(broken_cache))
    assert code == 2 and "was damaged" in complaint and "Run the same command again" in complaint
    assert not list(broken_cache.rglob("*.gguf"))


def test_a_gguf_of_the_users_own(gptalt_eval, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF\x03\0\0\0 and no more")
    words = (
        "--model",
        "hf",
        "--model_args",
        f"pretrained={tmp_path},gguf_file=model.gguf",
        "--tasks",
        "piqa",
        "--data_dir",
        "sample",
    )
    code, _, complaint = gptalt_eval(*words)
    assert code == 2 and "model.gguf is damaged or truncated" in complaint


def test_help_and_version(gptalt_eval):
    assert "examples:" in gptalt_eval()[1]
    assert gptalt_eval("--version")[1].startswith("gptalt-eval 0.")
    assert "--data_dir" in gptalt_eval("run", "--help")[1]


def test_ls_filters_and_prints_json(gptalt_eval):
    assert gptalt_eval("ls", "tasks", "race")[1].splitlines()[0].split() == ["race", "task", "lm-eval"]
    rows = json.loads(gptalt_eval("ls", "datasets", "piqa", "--json")[1])
    assert rows[0]["licence"] == "AFL 3.0"
    assert len(json.loads(gptalt_eval("ls", "tasks", "--all", "--json")[1])) > 10_000
    assert "Did you mean 'piqa'" in gptalt_eval("ls", "tasks", "piqua")[1]


def test_show_task_renders_the_first_prompt(gptalt_eval):
    printed = gptalt_eval("show", "task", "arc_easy", "--num_fewshot", "1")[1]
    assert (
        printed.count("Question:") == 2 and "Compared continuations:" in printed and "CC BY-SA 4.0" in printed
    )
    assert "57" in gptalt_eval("show", "task", "mmlu")[1]


def test_plugins_lists_what_is_installed_and_what_can_be(gptalt_eval):
    printed = gptalt_eval("plugins")[1]
    assert "builtin" in printed and "medqa" in printed and "available" in printed


# ------------------------------------------------------------------ in this process, with the scripted model


class Greeter:
    @hookimpl
    def register_commands(self):
        def greet(arguments, plugins):
            print(f"hello {arguments.whom}")
            return 7

        return [Command("greet", "say hello", greet, (Option(("--whom",), {"default": "you"}),))]


def call(*words, extra=()):
    return cli.dispatch(list(words), make_plugin_set(*extra, models=[make_scripted_model()]))


def test_a_plugins_command(capsys):
    assert call("greet", "--whom", "us", extra=[Greeter()]) == 7
    assert capsys.readouterr().out == "hello us\n"


def test_a_whole_run_and_its_report_and_its_repetition(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("--model", "scripted", "--tasks", "piqa,race", "--data_dir", "sample", "--limit", "4") == 0
    printed = capsys.readouterr().out
    assert "piqa" in printed and "0." in printed and "report.html" in printed
    [run] = (tmp_path / "runs").glob("*/scripted")
    assert list(run.glob("samples_piqa_*.jsonl")), "without --output_path samples are always saved"
    assert call("rerun", str(run)) == 0
    runs = sorted((tmp_path / "runs").glob("*/scripted"))
    results = [json.loads(next(folder.glob("results_*.json")).read_text())["results"] for folder in runs]
    assert results[0] == results[-1]
    assert call("report", str(run), "--output", str(tmp_path / "both.html")) == 0
    assert "scripted" in (tmp_path / "both.html").read_text()


@pytest.mark.parametrize(("name", "kind"), [("arc_easy", "task"), ("mmlu", "task"), ("smollm2", "model")])
def test_show_finds_out_what_a_name_stands_for(gptalt_eval, name, kind):
    assert gptalt_eval("show", name)[1] == gptalt_eval("show", kind, name)[1]


def test_show_of_a_name_takes_the_flags_of_its_kind(gptalt_eval):
    shown = gptalt_eval("show", "arc_easy", "--num_fewshot", "1")[1]
    assert shown == gptalt_eval("show", "task", "arc_easy", "--num_fewshot", "1")[1]


def test_show_of_a_name_that_only_a_dataset_has(gptalt_eval):
    from gptalt_eval.planning.catalog import Catalog
    from gptalt_eval.testing import make_plugin_set

    catalog = Catalog(make_plugin_set())
    name = next(
        each for each in catalog.datasets if each not in catalog.tasks and each not in catalog.lm_eval_tasks
    )
    assert gptalt_eval("show", name)[1] == gptalt_eval("show", "dataset", name)[1]


def test_show_config_prints_the_result(tmp_path, capsys):
    assert (
        call(
            "--model",
            "scripted",
            "--tasks",
            "piqa",
            "--data_dir",
            "sample",
            "--limit",
            "1",
            "--show_config",
            "--output_path",
            str(tmp_path),
        )
        == 0
    )
    assert '"higher_is_better"' in capsys.readouterr().out


def test_two_plugins_with_one_command():
    class Other(Greeter):
        pass

    plugins = make_plugin_set(Greeter(), Other())
    assert "greet" not in cli.gather_commands(plugins), "neither is run in place of the other"
    assert [problem.what for problem in plugins.problems if problem.plugin == "Other"] == [
        "the command 'greet' is also registered by Greeter."
    ]
    with pytest.raises(PluginError) as raised:
        cli.dispatch(["greet"], plugins)
    assert raised.value.what == "Two plugins register the command 'greet': Greeter and Other."
    assert raised.value.hint == "Load only one of them, for example: GPTALT_EVAL_LOAD_PLUGINS=Greeter"


@pytest.mark.parametrize("name", ["run", "ls", "install", "plugins"])
def test_no_plugin_replaces_a_command_of_the_core(name, tmp_path):
    class Evil:
        @hookimpl(tryfirst=True)
        def register_commands(self):
            return [Command(name, "evil", lambda arguments, plugins: (tmp_path / "MARK").touch() or 0)]

    plugins = make_plugin_set(Evil())
    assert cli.gather_commands(plugins)[name] is not None
    with contextlib.suppress(GptaltError):
        cli.dispatch([name], plugins)
    assert not (tmp_path / "MARK").exists()
    assert [problem.what for problem in plugins.problems if problem.plugin == "Evil"] == [
        f"the command '{name}' is also registered by gptalt-eval."
    ]


def test_a_command_that_a_plugin_registers_twice_is_run():
    class Twice:
        @hookimpl
        def register_commands(self):
            return [Command("hum", "first", lambda *_: 3), Command("hum", "second", lambda *_: 4)]

    assert cli.dispatch(["hum"], make_plugin_set(Twice())) == 3


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "dispatch", interrupt)
    assert cli.main(["ls"]) == 130
    assert "stopped" in capsys.readouterr().err
