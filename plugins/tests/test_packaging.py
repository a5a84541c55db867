"""Every plugin as its users get it: built, installed alone or with all others, and run."""

import ast
import email
import json
import re
import sys
import zipfile
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from environments import ROOT, FreshEnvironment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gptalt_eval.planning.known import KNOWN

FOLDERS = {folder.name: folder for folder in sorted((ROOT / "plugins").glob("gptalt-eval-plugin-*"))}
PROJECTS = FOLDERS | {"gptalt-eval": ROOT}


def find_package(project: str) -> Path:
    return PROJECTS[project] / project.replace("-", "_")


# ---------------------------------------------------------------------- the wheels


@pytest.mark.install
@pytest.mark.xdist_group("install")
@pytest.mark.parametrize("project", FOLDERS)
def test_the_wheel_holds_the_whole_package_and_its_licence(project, wheels):
    package = find_package(project)
    files = {path.relative_to(FOLDERS[project]).as_posix() for path in package.rglob("*") if path.is_file()}
    wheel = zipfile.ZipFile(wheels[project])
    names = set(wheel.namelist())
    assert {name for name in files if "__pycache__" not in name} == {
        n for n in names if ".dist-info/" not in n
    }
    assert f"{package.name}/py.typed" in names

    [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
    told = email.message_from_bytes(wheel.read(metadata))
    assert (told["Name"], told["License-Expression"], told["License-File"]) == (
        project,
        "Apache-2.0",
        "LICENSE",
    )
    assert told["Summary"] == KNOWN[project.removeprefix("gptalt-eval-plugin-")].summary
    [licence] = [name for name in names if name.endswith("LICENSE")]
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def list_imported(package: Path) -> Counter:
    """The modules of others that a package imports anywhere, by top name."""
    found = Counter()
    for file in package.rglob("*.py"):
        if "templates" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module.split(".")[0]] += 1
    return found


def list_declared(project: str) -> set[str]:
    text = (PROJECTS[project] / "pyproject.toml").read_text(encoding="utf-8")
    [block] = re.findall(r"^dependencies = \[(.*?)\]\n", text, re.M | re.S)
    _, _, optional = text.partition("[project.optional-dependencies]\n")
    extras = [line for line in optional.partition("\n[")[0].splitlines() if not line.startswith("dev")]
    named = re.findall(r'"([^"]+)"', "\n".join([block, *extras]))
    return {canonicalize_name(Requirement(line).name) for line in named}


@pytest.mark.parametrize("project", PROJECTS)
def test_what_is_imported_is_declared(project):
    # an editable install's modules are in none of the lists that packages_distributions() reads
    distributions = {find_package(each).name: [each] for each in PROJECTS} | packages_distributions()
    # pytest is there for those who load the kit for tests
    own = {*sys.stdlib_module_names, find_package(project).name} | (
        {"pytest"} if project == "gptalt-eval" else set()
    )
    imported = {name for name in list_imported(find_package(project)) if name not in own}
    needed = {
        name: {canonicalize_name(each) for each in distributions.get(name, [name])} for name in imported
    }
    declared = list_declared(project)
    undeclared = {name for name, providers in needed.items() if not providers & declared}
    assert not undeclared, f"{project} imports what its pyproject.toml does not name"
    assert {"gptalt-eval"} <= declared or project == "gptalt-eval"


# ---------------------------------------------------------------------- installed


def run_tasks(model, tasks, *owners):
    """A run of tasks on the sample, whose record says which plugins they come from."""

    def run(call, folder):
        call(
            "--model", model, "--tasks", tasks, "--data_dir", "sample", "--limit", "2", "--output_path", "out"
        )
        [file] = (folder / "out").rglob("run.json")
        record = json.loads(file.read_text(encoding="utf-8"))
        assert record["status"] == "complete"
        assert {data["task_from"] for data in record["data"].values()} == set(owners)

    return run


def run_elo(call, folder):
    call(
        "answers",
        "--models",
        "dummy",
        "--plain",
        "--limit",
        "1",
        "--language",
        "en",
        "--output_path",
        "answers",
    )
    answers = (folder / "answers" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(answers) >= 5 and all(json.loads(line)["answer"] for line in answers)
    run_votes(call, folder)


def run_votes(call, folder):
    vote = {"question": "q", "model_a": "a", "model_b": "b", "winner": "a"}
    (folder / "mine.jsonl").write_text(json.dumps(vote) + "\n" + json.dumps(vote | {"winner": "b"}) + "\n")
    assert "2 new votes" in call("votes", "import", "mine.jsonl")
    assert "Bradley-Terry" in call("elo", "--orders", "10")


def run_models(call, folder):
    assert "--to FOLDER" in call("models", "convert", "--help")


ELO, EXAMPLE, MEDQA, MODELS, NLPEC, SCIENCEQA = FOLDERS
RUNS = {
    ELO: run_elo,
    EXAMPLE: run_tasks("shortest-option", "capitals", EXAMPLE),
    MEDQA: run_tasks("dummy", "medqa,medmcqa_gen,pubmedqa,sciq_gen", MEDQA),
    MODELS: run_models,
    NLPEC: run_tasks("dummy", "nlpec_zh_evidence,nlpec_en_gen,explaincpe", NLPEC),
    SCIENCEQA: run_tasks("dummy", "scienceqa,scienceqa_img_ll,scienceqa_txt_gen", SCIENCEQA),
}


def make_call(environment, folder):
    def call(*words):
        done = environment.gptalt_eval(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "Plugin '" not in done.stderr
        return done.stdout

    return call


@pytest.mark.install
@pytest.mark.xdist_group("install")
@pytest.mark.parametrize("project", FOLDERS)
def test_alone(project, wheels, tmp_path):
    environment = FreshEnvironment(tmp_path / "environment", wheels["gptalt-eval"], wheels[project])
    listed = json.loads(environment.gptalt_eval("plugins", "--json", cwd=tmp_path).stdout)
    installed = {plugin["name"] for plugin in listed["plugins"] if plugin["state"] == "installed"}
    assert installed == {"builtin", project.removeprefix("gptalt-eval-plugin-")}
    assert not listed["problems"]
    RUNS[project](make_call(environment, tmp_path), tmp_path)


@pytest.mark.install
@pytest.mark.xdist_group("install")
def test_all_together(wheels, tmp_path):
    call = make_call(FreshEnvironment(tmp_path / "environment", *wheels.values()), tmp_path)
    assert not json.loads(call("plugins", "--json"))["problems"]
    run_tasks("shortest-option", "capitals,medqa_zh_hans_4,nlpec_zh_gen", EXAMPLE, MEDQA, NLPEC)(
        call, tmp_path
    )
    run_votes(call, tmp_path)


def test_every_plugin_is_run():
    assert RUNS.keys() == FOLDERS.keys() == {f"gptalt-eval-plugin-{name}" for name in KNOWN}
