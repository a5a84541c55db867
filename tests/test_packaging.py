"""Wheel and editable installs of the core, each in a fresh environment, find the task YAMLs, samples and pages."""

import re
import zipfile

import pytest
from environments import ROOT, FreshEnvironment

from gptalt_eval.planning.known import KNOWN


@pytest.mark.install
@pytest.mark.xdist_group("install")
def test_the_wheel_carries_what_it_needs(wheels):
    names = set(zipfile.ZipFile(wheels["gptalt-eval"]).namelist())
    yamls = {f"gptalt_eval/task_yamls/{path.name}" for path in (ROOT / "task_yamls").glob("*.yaml")}
    assert yamls and yamls <= names
    samples = {
        str(path.relative_to(ROOT)) for path in (ROOT / "gptalt_eval" / "data" / "samples").rglob("*.jsonl")
    }
    assert samples and samples <= names
    read = {
        "results/pages/report.html.j2", "planning/known.json", "planning/lm_eval_models.json",
        "validation/vocabulary.json", "py.typed",
    }  # fmt: skip
    assert {f"gptalt_eval/{name}" for name in read} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "plugins/"))]


@pytest.mark.install
@pytest.mark.xdist_group("install")
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_install_runs(wheels, tmp_path, kind):
    project = [wheels["gptalt-eval"]] if kind == "wheel" else ["-e", ROOT]
    environment = FreshEnvironment(tmp_path / "environment", *project)

    printed = environment.gptalt_eval("ls", "tasks", cwd=tmp_path).stdout
    assert "gptalt_zero_shot" in printed and "race_middle" in printed
    assert "First prompt" in environment.gptalt_eval("show", "task", "race_middle", cwd=tmp_path).stdout
    where = environment.run("-c", "import gptalt_eval; print(gptalt_eval.__file__)", cwd=tmp_path).stdout
    assert (str(ROOT) in where) == (kind == "editable")


def test_extras_name_every_plugin_that_is_no_template():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = dict(re.findall(r'^(\w+) = \["gptalt-eval-plugin-(\w+)>=0\.1"\]$', text, re.M))
    assert {name: name for name in KNOWN if name != "example"} == extras
    [everything] = re.findall(r'^all = \["gptalt-eval\[(.*)\]"\]$', text, re.M)
    assert set(everything.split(",")) == set(extras)


def test_constraints_pin_what_was_tested():
    pins = dict(
        line.split(" ;")[0].split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    )
    assert (pins["torch"], pins["transformers"], pins["lm_eval"]) == ("2.13.0", "5.23.0", "0.4.13")
    wanted = {"pluggy", "rich", "jsonlines", "sentencepiece", "gguf", "pytest", "hypothesis", "ruff", "mypy"}
    assert wanted <= pins.keys()
