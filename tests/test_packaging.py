"""Wheel and editable installs, each in a fresh environment, find the task YAMLs, samples and pages."""

import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = {"medqa": 14, "nlpec": 8}  # tasks of each
pytestmark = [pytest.mark.install, pytest.mark.xdist_group("install")]


def make_environment(folder: Path) -> Path:
    """A fresh environment that sees this one's dependencies, but not this checkout's install."""
    venv.create(folder, with_pip=True)
    site = next(folder.glob("lib/python*/site-packages"))
    here = Path(sysconfig.get_paths()["purelib"])
    for entry in here.iterdir():
        # linked one by one, so that the editable install of the outer environment stays outside
        if "gptalt" not in entry.name.lower() and entry.suffix != ".pth" and not (site / entry.name).exists():
            (site / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def install(python: Path, *words: str) -> None:
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", *words],
        check=True,
        capture_output=True,
    )


def call(python: Path, *words: str, cwd: Path) -> str:
    program = python.with_name("gptalt-eval")
    return subprocess.run([program, *words], check=True, capture_output=True, text=True, cwd=cwd).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("gptalt_eval-*.whl"))


def test_the_wheel_carries_what_it_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    yamls = {f"gptalt_eval/task_yamls/{path.name}" for path in (ROOT / "task_yamls").glob("*.yaml")}
    assert yamls and yamls <= names
    samples = {
        str(path.relative_to(ROOT)) for path in (ROOT / "gptalt_eval" / "data" / "samples").rglob("*.jsonl")
    }
    assert samples and samples <= names
    assert {"gptalt_eval/results/pages/report.html.j2", "gptalt_eval/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "plugins/"))]


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_install_runs(wheel, tmp_path, kind):
    python = make_environment(tmp_path / "environment")
    install(python, *([str(wheel)] if kind == "wheel" else ["--editable", str(ROOT)]))
    printed = call(python, "ls", "tasks", cwd=tmp_path)
    assert "gptalt_zero_shot" in printed and "race_middle" in printed
    assert "First prompt" in call(python, "show", "task", "race_middle", cwd=tmp_path)
    where = subprocess.run(
        [python, "-c", "import gptalt_eval; print(gptalt_eval.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert (str(ROOT) in where) == (kind == "editable")


def test_the_plugins_install_with_all_their_tasks_and_samples(wheel, tmp_path):
    """Each task shows a prompt from its plugin's own sample: YAMLs, samples and functions are installed."""
    python = make_environment(tmp_path / "environment")
    install(python, str(wheel), *(str(ROOT / "plugins" / f"gptalt-eval-plugin-{name}") for name in PLUGINS))
    listed = call(python, "ls", "tasks", cwd=tmp_path)
    for plugin, count in PLUGINS.items():
        folder = ROOT / f"plugins/gptalt-eval-plugin-{plugin}/gptalt_eval_plugin_{plugin}/tasks"
        texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
        tasks = [name for name, text in texts.items() if re.search(rf"^task: {name}$", text, re.M)]
        assert len(tasks) == count
        for task in tasks:
            assert task in listed
            assert "First prompt" in call(python, "show", "task", task, "--data_dir", "sample", cwd=tmp_path)


def test_the_plugin_for_human_votes_brings_its_pages_and_questions(wheel, tmp_path):
    python = make_environment(tmp_path / "environment")
    install(python, str(wheel), str(ROOT / "plugins" / "gptalt-eval-plugin-elo"))
    package = next((tmp_path / "environment").glob("lib/python*/site-packages/gptalt_eval_plugin_elo"))
    source = ROOT / "plugins/gptalt-eval-plugin-elo/gptalt_eval_plugin_elo"
    files = {path.relative_to(source) for path in source.rglob("*") if path.suffix not in (".pyc", "")}
    assert files and files <= {path.relative_to(package) for path in package.rglob("*")}
    vote = {"question": "q", "model_a": "a", "model_b": "b", "winner": "a"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(vote) + "\n" + json.dumps(vote | {"winner": "b"}) + "\n")
    assert "2 votes" in call(python, "votes", "import", "mine.jsonl", cwd=tmp_path)
    assert "Bradley-Terry" in call(python, "elo", "--orders", "10", cwd=tmp_path)
    assert "--annotators" in call(python, "vote", "--help", cwd=tmp_path)


def test_constraints_pin_what_was_tested():
    pins = dict(
        line.split(" ;")[0].split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    )
    assert (pins["torch"], pins["transformers"], pins["lm_eval"]) == ("2.13.0", "5.23.0", "0.4.13")
    wanted = {"pluggy", "rich", "jsonlines", "sentencepiece", "gguf", "pytest", "hypothesis", "ruff", "mypy"}
    assert wanted <= pins.keys()
