"""What `gptalt-eval new` writes: complete, installable, runnable, and never over a file that is there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from environments import EXAMPLE, FreshEnvironment

import gptalt_eval
from gptalt_eval import GptaltError
from gptalt_eval.commands import cli
from gptalt_eval.commands import new as scaffold
from gptalt_eval.planning import index
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.testing import make_plugin_set, make_scripted_model

ROOT = Path(__file__).parents[2]


def type_new(*words: str) -> int:
    """What ``gptalt-eval new WORDS`` does."""
    return cli.dispatch(["new", *words], make_plugin_set(models=[make_scripted_model()]))


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not {"__pycache__", ".pytest_cache"} & set(file.parts)
    }


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------------- new plugin


def test_the_example_plugin_is_the_template_rendered():
    rendered = {path: text.encode() for path, text in scaffold.render_plugin(scaffold.EXAMPLE).items()}
    cure = (
        "Edit gptalt_eval/commands/templates/plugin, then render the example again: rm -r plugins/gptalt-eval-plugin-example "
        "&& python -c 'from gptalt_eval.commands import new; new.write_example()'"
    )

    assert read_tree(EXAMPLE) == rendered, cure


def test_the_example_can_be_rendered_again(tmp_path):
    scaffold.write_example(tmp_path)

    assert read_tree(tmp_path / EXAMPLE.name) == read_tree(EXAMPLE)


def test_a_new_plugin_has_exactly_these_files(here, capsys):
    assert type_new("plugin", "night-sky") == 0

    assert list(read_tree(here)) == [
        "gptalt-eval-plugin-night-sky/LICENSE",
        "gptalt-eval-plugin-night-sky/README.md",
        "gptalt-eval-plugin-night-sky/gptalt_eval_plugin_night_sky/__init__.py",
        "gptalt-eval-plugin-night-sky/gptalt_eval_plugin_night_sky/model.py",
        "gptalt-eval-plugin-night-sky/gptalt_eval_plugin_night_sky/py.typed",
        "gptalt-eval-plugin-night-sky/gptalt_eval_plugin_night_sky/sample/test.jsonl",
        "gptalt-eval-plugin-night-sky/gptalt_eval_plugin_night_sky/sample/train.jsonl",
        "gptalt-eval-plugin-night-sky/gptalt_eval_plugin_night_sky/tasks/night_sky_capitals.yaml",
        "gptalt-eval-plugin-night-sky/pyproject.toml",
        "gptalt-eval-plugin-night-sky/tests/test_plugin.py",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "gptalt-eval-plugin-night-sky is a working plugin. Next:",
        "  cd gptalt-eval-plugin-night-sky",
        "  pip install -e .",
        "  gptalt-eval ls tasks night_sky_capitals",
        "  gptalt-eval --model night-sky-shortest-option --tasks night_sky_capitals --data_dir sample",
        "  gptalt-eval plugins check night-sky",
        "  pytest",
    ]


def test_nothing_of_the_example_is_left_in_a_new_plugin():
    files = scaffold.render_plugin(scaffold.name_plugin("night-sky"))
    text = "\n".join([*files, *files.values()])

    assert "$" not in text.replace("$ ", "")  # the prompt of a shell is no placeholder
    for word in ("plugin-example", "plugin_example", "gptalt-eval/capitals"):
        assert word not in text


def test_a_plugin_declares_our_entry_point_and_lm_evals():
    text = scaffold.render_plugin(scaffold.name_plugin("night-sky"))["pyproject.toml"]

    for line in (
        "[project.entry-points.gptalt_eval]",
        'night-sky = "gptalt_eval_plugin_night_sky"',
        '[project.entry-points."lm_eval.models"]',
        '[project.entry-points."lm_eval.tasks"]',
        'night-sky = "gptalt_eval_plugin_night_sky:TASKS"',
        'dependencies = ["gptalt-eval>=0.1", "lm-eval"]',
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("typed", "name"), [("sky", "sky"), ("gptalt-eval-plugin-sky", "sky"), ("night-sky-2", "night-sky-2")]
)
def test_plugin_names(typed, name):
    assert scaffold.name_plugin(typed).name == name


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("night_sky", "night-sky"), ("Night Sky", "night-sky"), ("sky/../x", "sky-x"), ("2sky", "sky"),
        ("-sky", "sky"), ("夜空", "my-plugin"), ("", "my-plugin"), ("sky\n", "sky"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_plugins_name(typed, near):
    with pytest.raises(GptaltError, match="is not a valid plugin name") as raised:
        scaffold.name_plugin(typed)

    assert raised.value.hint == f"Type: gptalt-eval new plugin {near}"


@pytest.mark.parametrize("name", ["medqa", "example", "builtin"])
def test_a_plugin_of_ours_is_not_named_again(name):
    with pytest.raises(GptaltError, match=f"There is already a plugin '{name}'") as raised:
        scaffold.name_plugin(name)

    assert raised.value.hint.endswith(f"gptalt-eval new plugin my-{name}")


def test_files_that_are_there_are_left_alone(here):
    mine = here / "gptalt-eval-plugin-sky" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")

    with pytest.raises(GptaltError) as raised:
        type_new("plugin", "sky")

    readme = Path("gptalt-eval-plugin-sky", "README.md")
    assert raised.value.what == f"{readme} already exists; nothing was written."
    assert raised.value.hint == "Type: gptalt-eval new plugin ANOTHER-NAME, or add --into FOLDER"
    assert read_tree(here) == {readme.as_posix(): b"mine"}


def test_into_another_folder(here):
    type_new("plugin", "sky", "--into", "deep/down")

    assert (here / "deep" / "down" / "gptalt-eval-plugin-sky" / "pyproject.toml").is_file()


def test_a_folder_that_cannot_be_written(here):
    (here / "file").write_text("")

    with pytest.raises(GptaltError, match="cannot be written") as raised:
        type_new("plugin", "sky", "--into", "file")

    assert raised.value.hint == "Choose another folder with --into."


@pytest.mark.install
def test_a_new_plugin_installs_and_its_own_tests_pass(here, wheels):
    type_new("plugin", "night-sky")
    project = here / "gptalt-eval-plugin-night-sky"
    environment = FreshEnvironment(here / "venv", wheels["gptalt-eval"], project)

    listed = environment.gptalt_eval("ls", "tasks", cwd=here, plugins="night-sky")
    tested = environment.run("-m", "pytest", cwd=project, plugins="night-sky")

    assert "night_sky_capitals" in listed.stdout
    assert listed.stderr == ""
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout


# ---------------------------------------------------------------------- new task


def test_a_new_task_has_exactly_these_files(here, capsys):
    assert type_new("task", "night_sky") == 0

    assert list(read_tree(here)) == ["night_sky.fixture.jsonl", "night_sky.golden.txt", "night_sky.yaml"]
    assert capsys.readouterr().out.splitlines() == [
        "night_sky.yaml is a working task with three rows. Next:",
        "  gptalt-eval validate night_sky.yaml",
        "  gptalt-eval show task night_sky.yaml",
        "  gptalt-eval --model smollm2 --tasks night_sky.yaml",
    ]


def test_the_fixture_has_three_rows_in_the_yamls_schema(here):
    type_new("task", "night_sky")
    config = yaml.safe_load((here / "night_sky.yaml").read_text(encoding="utf-8"))
    rows = [
        json.loads(line)
        for line in (here / "night_sky.fixture.jsonl").read_text(encoding="utf-8").splitlines()
    ]

    assert config["task"] == "night_sky"
    assert len(rows) == 3
    for row in rows:
        prompt = scaffold.render_golden(config, row)
        assert prompt == f"Question: {row['question']}\nAnswer: {row['choices'][row['answer']]}"


def test_the_golden_prompt_is_what_lm_eval_makes_of_the_first_row(here):
    from lm_eval.tasks import TaskManager

    from gptalt_eval.running.lmeval import seams

    type_new("task", "night_sky")
    task = TaskManager(include_defaults=False, include_path=str(here)).load(["night_sky"])["tasks"][
        "night_sky"
    ]
    instances = seams.build_requests(task, limit=1)
    prompt, continuation = instances[task.doc_to_target(instances[0].doc)].args

    assert (here / "night_sky.golden.txt").read_bytes().decode() == prompt + continuation


def test_golden_prompts_of_a_written_answer_and_another_delimiter():
    config = {"doc_to_text": "{{q}}?\n", "doc_to_target": "{{a}}", "target_delimiter": ""}

    assert scaffold.render_golden(config, {"q": "为什么", "a": "因为"}) == "为什么?\n因为"


def test_a_new_task_runs_at_once_on_its_fixture(here):
    type_new("task", "night_sky")

    record = gptalt_eval.evaluate(
        "scripted",
        "night_sky.yaml",
        plugins=make_plugin_set(models=[make_scripted_model()]),
        output_path="out",
    )

    assert record.results[0]["n-samples"]["night_sky"]["effective"] == 3


def test_a_new_task_is_shown(here, capsys):
    type_new("task", "night_sky")

    assert cli.dispatch(["show", "task", "night_sky.yaml"], make_plugin_set()) == 0

    assert "Question: Which of these can a magnet lift?\nAnswer:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("night-sky", "night_sky"),
        ("night sky", "night_sky"),
        ("../sky", "sky"),
        ("3d", "d"),
        ("夜空", "my_task"),
    ],
)
def test_what_cannot_be_a_tasks_name(typed, near, here):
    with pytest.raises(GptaltError, match="is not a valid task name") as raised:
        type_new("task", typed)

    assert raised.value.hint == f"Type: gptalt-eval new task {near}"
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("name", "owner"), [("race_middle", "builtin|gptalt-eval"), ("piqa", "lm-eval")])
def test_a_name_that_is_taken(name, owner, here):
    with pytest.raises(GptaltError, match=f"There is already a task '{name}', from ({owner})"):
        type_new("task", name)


def test_task_files_that_are_there_are_left_alone(here):
    (here / "night_sky.golden.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(GptaltError, match=r"night_sky\.golden\.txt already exists; nothing was written"):
        type_new("task", "night_sky")

    assert list(read_tree(here)) == ["night_sky.golden.txt"]


def test_inside_a_checkout_a_task_goes_to_task_yamls(here, monkeypatch, capsys):
    checkout = here / "checkout"
    (checkout / "task_yamls").mkdir(parents=True)
    (checkout / "gptalt_eval" / "contract").mkdir(parents=True)
    (checkout / "gptalt_eval" / "contract" / "hookspecs.py").write_text("")
    (checkout / "docs").mkdir()
    monkeypatch.chdir(checkout / "docs")

    type_new("task", "night_sky")

    assert (checkout / "task_yamls" / "night_sky.yaml").is_file()
    assert f"  cd {checkout / 'task_yamls'}" in capsys.readouterr().out.splitlines()


def test_this_is_a_checkout():
    assert scaffold.find_task_folder(ROOT / "docs") == ROOT / "task_yamls"


# ---------------------------------------------------------------------- new model


@pytest.mark.parametrize("name", ["my-7b", "C++_7b.v1"])
def test_a_new_model_of_any_name_that_yamls_allow_is_valid(here, name):
    assert type_new("model", name) == 0
    assert cli.dispatch(["validate", f"{name}.yaml"], make_plugin_set()) == 0


def test_a_new_model_is_valid_and_known(here, capsys):
    assert type_new("model", "my-7b") == 0
    assert list(read_tree(here)) == ["my-7b.yaml"]
    assert "  gptalt-eval validate my-7b.yaml" in capsys.readouterr().out.splitlines()

    assert cli.dispatch(["validate", "my-7b.yaml"], make_plugin_set()) == 0
    model = Catalog(make_plugin_set(), [here]).find_model("my-7b").item
    assert (model.args, model.card.commercial, model.template.stop) == (
        {"pretrained": "OWNER/NAME"}, "ask", ("\nuser:",)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what"),
    [("org/my", "is not a valid model name"), ("-x", "is not a valid model name"), ("hf", "already a model"), ("smollm2", "already a model")],
)  # fmt: skip
def test_what_cannot_be_a_models_name(name, what, here):
    with pytest.raises(GptaltError, match=what):
        type_new("model", "--", name)
    assert list(here.iterdir()) == []


# ---------------------------------------------------------------------- CONTRIBUTING.md


def read_console(page: str) -> list[tuple[str, str]]:
    """What is typed and what is printed then, of every console block, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE)


def is_printed(expected: str, printed: str) -> bool:
    """Whether the page tells the truth; ``...`` stands for anything, a line of it for lines."""
    lines = expected.splitlines(keepends=True)
    escaped = (re.escape(line).replace(r"\.\.\.", ".*") for line in lines)
    pattern = "".join(
        "(?:.*\n)*?" if line == "...\n" else one for line, one in zip(lines, escaped, strict=True)
    )
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.install
def test_contributing_says_what_happens(here, wheels):
    environment = FreshEnvironment(here / "venv", wheels["gptalt-eval"])
    (here / "work").mkdir()
    folder = here / "work"
    ran = []
    for typed, expected in read_console((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        program, *words = shlex.split(typed, comments=True)
        if (program, words[:1]) == ("cd", ["gptalt-eval-plugin-night-sky"]):
            folder /= words[0]
        elif typed == "pip install -e .":
            environment.install(folder)
        elif program in ("gptalt-eval", "pytest") and "smollm2" not in words:
            run = environment.gptalt_eval if program == "gptalt-eval" else environment.run
            done = run(*(words or ("-m", "pytest")), cwd=folder, plugins="night-sky")
            assert done.returncode == 0, done.stderr
            assert is_printed(expected, done.stderr + done.stdout), (typed, done.stderr + done.stdout)
            ran.append(typed)

    assert len(ran) == 8


# ---------------------------------------------------------------------- the package


def test_the_templates_define_no_task_of_their_own():
    assert index.read_task_folder(scaffold.TEMPLATES) == {}


def test_the_command_line():
    parser = cli.make_parser(cli.gather_commands(make_plugin_set()), make_plugin_set())

    parsed = parser.parse_args(["new", "task", "sky", "--into", "x"])

    assert (parsed.kind, parsed.name, parsed.into) == ("task", "sky", Path("x"))
