"""The example plugin as its users have it: built, installed in a fresh environment, beside broken plugins."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from environments import EXAMPLE, FreshEnvironment

import gptalt_eval

MODULE = EXAMPLE / "gptalt_eval_plugin_example"
pytestmark = pytest.mark.xdist_group("example")  # the environment is made once, not once a worker
RUN = ["--model", "shortest-option", "--tasks", "capitals", "--data_dir", "sample"]
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "gptalt-eval-plugin-{name}"
version = "1.0"
dependencies = ["{requires}"]
[project.entry-points.gptalt_eval]
{name} = "gptalt_eval_plugin_{name}"
"""
# name -> (what it requires, its module)
BROKEN = {
    "importless": ("gptalt-eval", "raise RuntimeError('my licence server is down')"),
    "misspelt": (
        "gptalt-eval",
        """
        from gptalt_eval import hookimpl
        @hookimpl
        def register_model():
            return []
        """,
    ),
    "misargued": (
        "gptalt-eval",
        """
        from gptalt_eval import hookimpl
        @hookimpl
        def run_finished(result, verbose):
            pass
        """,
    ),
    "future": ("gptalt-eval>=99", ""),
    "raising": (
        "gptalt-eval",
        """
        from gptalt_eval import hookimpl
        @hookimpl
        def register_models():
            raise OSError("my disk is full")
        """,
    ),
    "taskrival": (
        "gptalt-eval",
        """
        from pathlib import Path
        from gptalt_eval import hookimpl
        @hookimpl
        def register_task_dirs():
            return [Path(__file__).parent]
        """,
    ),
    "modelrival": (
        "gptalt-eval",
        """
        from gptalt_eval import Model, hookimpl
        @hookimpl
        def register_models():
            return [Model("shortest-option", "another one", "MIT", "elsewhere")]
        """,
    ),
}


def write_broken_plugins(folder: Path) -> list[Path]:
    projects = []
    for name, (requires, source) in BROKEN.items():
        module = folder / name / f"gptalt_eval_plugin_{name}"
        module.mkdir(parents=True)
        (module / "__init__.py").write_text(textwrap.dedent(source), encoding="utf-8")
        (module.parent / "pyproject.toml").write_text(PYPROJECT.format(name=name, requires=requires))
        projects.append(module.parent)
    rival = folder / "taskrival" / "gptalt_eval_plugin_taskrival" / "capitals.yaml"
    rival.write_text("task: capitals\ndataset_path: someone/else\n", encoding="utf-8")
    return projects


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, wheels) -> FreshEnvironment:
    folder = tmp_path_factory.mktemp("example")
    plugins = (wheels[EXAMPLE.name], *write_broken_plugins(folder))
    return FreshEnvironment(folder / "venv", wheels["gptalt-eval"], *plugins)


def read_rows(split: str) -> list[dict]:
    text = (MODULE / "sample" / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def score_by_hand() -> dict[str, float]:
    """What a model that counts characters must score: the shortest option, the first of equal ones.

    Divided by its length an option of n letters has -(n + 1) / n (with the blank before it), so that
    ``acc_norm`` asks for the longest.
    """
    rows = read_rows("test")
    shortest = [row["options"].index(min(row["options"], key=len)) for row in rows]
    longest = [row["options"].index(max(row["options"], key=len)) for row in rows]
    return {
        "acc,none": sum(pick == row["answer"] for pick, row in zip(shortest, rows, strict=True)) / len(rows),
        "acc_norm,none": sum(pick == row["answer"] for pick, row in zip(longest, rows, strict=True))
        / len(rows),
    }


# ---------------------------------------------------------------------- its source


def test_it_imports_only_public_names_and_nothing_heavy():
    source = (MODULE / "__init__.py").read_text(encoding="utf-8")
    imported = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imported if str(node.module).startswith("gptalt_eval")]

    assert [node.module for node in ours] == ["gptalt_eval"]
    assert {name.name for name in ours[0].names} <= set(gptalt_eval.__all__)
    assert len(source.splitlines()) < 80
    heavy = "{'torch', 'transformers', 'datasets', 'lm_eval'}"
    program = f"import gptalt_eval_plugin_example, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=EXAMPLE, check=False).returncode == 0


def test_the_sample_is_twenty_questions_and_five_examples():
    test, train = read_rows("test"), read_rows("train")

    assert (len(test), len(train)) == (20, 5)
    assert len({row["country"] for row in test + train}) == 25
    assert sorted(row["answer"] for row in test) == sorted([0, 1, 2, 3] * 5)
    assert all(row.keys() == test[0].keys() for row in test + train)


def test_release_files_are_read(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    import gptalt_eval_plugin_example as plugin

    from gptalt_eval.testing import make_plugin_set

    (tmp_path / "data" / "capitals").mkdir(parents=True)
    whole = (MODULE / "sample" / "test.jsonl").read_text(encoding="utf-8")
    release = tmp_path / "data" / "capitals" / "test.jsonl"
    settings = {"data_dir": str(tmp_path / "data"), "output_path": str(tmp_path / "out")}

    release.write_text(whole, encoding="utf-8")
    record = gptalt_eval.evaluate("shortest-option", "capitals", plugins=make_plugin_set(plugin), **settings)
    release.write_text(whole[: len(whole) // 2], encoding="utf-8")
    with pytest.raises(
        gptalt_eval.GptaltError, match=r"test\.jsonl, line 11: [^\n]*\nDownload the file again"
    ):
        gptalt_eval.evaluate("shortest-option", "capitals", plugins=make_plugin_set(plugin), **settings)

    assert record.run.data["capitals"].splits["test"].official_rows == 20
    assert record.notes == ()
    assert score_by_hand().items() <= record.results[0]["results"]["capitals"].items()


def test_its_yaml_and_model_run_unchanged_in_plain_lm_eval(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    import datasets
    import gptalt_eval_plugin_example as plugin
    import lm_eval
    from lm_eval.tasks import TaskManager

    from gptalt_eval.running.lmeval import seams
    from gptalt_eval.testing import make_plugin_set

    def load_from_hub(path, name=None, split=None, **settings):
        assert path == "gptalt-eval/capitals"
        rows = {split: datasets.Dataset.from_list(read_rows(split)) for split in ("train", "test")}
        return seams.take_splits(datasets.DatasetDict(rows), split)

    ours = gptalt_eval.evaluate(
        "shortest-option", "capitals", plugins=make_plugin_set(plugin), data_dir="sample",
        num_fewshot=2, output_path=str(tmp_path), log_samples=True,
    )  # fmt: skip
    monkeypatch.setattr(datasets, "load_dataset", load_from_hub)
    manager = TaskManager(include_defaults=False, include_path=str(plugin.TASKS))
    theirs = lm_eval.simple_evaluate(
        plugin.make_model({}), tasks=["capitals"], task_manager=manager, num_fewshot=2, log_samples=True
    )

    for metric in ("acc,none", "acc_norm,none"):
        assert ours.results[0]["results"]["capitals"][metric] == theirs["results"]["capitals"][metric]
    hashes = [(sample["doc_hash"], sample["prompt_hash"]) for sample in theirs["samples"]["capitals"]]
    assert [(s["doc_hash"], s["prompt_hash"]) for s in ours.read_samples(0, "capitals")] == hashes


# ---------------------------------------------------------------------- installed


@pytest.mark.install
def test_its_names_are_listed_with_their_owner(fresh, tmp_path):
    tasks = fresh.gptalt_eval("ls", "tasks", cwd=tmp_path, plugins="example")
    models = fresh.gptalt_eval("ls", "models", cwd=tmp_path, plugins="gptalt-eval-plugin-example")

    assert tasks.returncode == models.returncode == 0
    assert ["capitals", "task", "gptalt-eval-plugin-example"] in [
        line.split() for line in tasks.stdout.splitlines()
    ]
    (line,) = [line for line in models.stdout.splitlines() if line.startswith("shortest-option")]
    assert "gptalt-eval-plugin-example" in line
    assert tasks.stderr == models.stderr == ""


@pytest.mark.install
def test_a_run_scores_what_was_computed_by_hand(fresh, tmp_path):
    done = fresh.gptalt_eval(*RUN, "--output_path", "out", cwd=tmp_path, plugins="example")

    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "out" / "shortest-option").glob("results_*.json")
    scores = json.loads(results.read_text(encoding="utf-8"))["results"]["capitals"]
    assert score_by_hand().items() <= scores.items()
    run = json.loads((tmp_path / "out" / "shortest-option" / "run.json").read_text(encoding="utf-8"))
    assert run["model"]["owner"]["distribution"] == "gptalt-eval-plugin-example"
    assert run["data"]["capitals"]["task_from"] == "gptalt-eval-plugin-example"
    assert any("sample" in note for note in run["notes"])


@pytest.mark.install
def test_a_run_loads_no_torch(fresh, tmp_path):
    program = (
        "import sys; from gptalt_eval.commands.cli import main; code = main(); "
        "sys.exit(code or 10 * ('torch' in sys.modules))"
    )

    done = fresh.run("-c", program, *RUN, "--output_path", "out", cwd=tmp_path, plugins="example")

    assert done.returncode == 0, done.stderr


@pytest.mark.install
def test_its_own_tests_pass(fresh, tmp_path):
    # a copy elsewhere, as its author has it: without this checkout's conftest.py
    tests = shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    pytest_run = ("-m", "pytest", "-p", "no:cacheprovider", str(tests))

    done = fresh.run(*pytest_run, cwd=tmp_path, plugins="example")

    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


# ---------------------------------------------------------------------- beside broken ones


@pytest.mark.install
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("importless", ["raised RuntimeError: my licence server is down", "pip install -U gptalt-eval-plugin-importless"]),
        ("misspelt", ["there is no hook 'register_model'", "Rename it to 'register_models'."]),
        ("misargued", ["wrong arguments", "The hook is run_finished(record: Record) -> None."]),
        ("future", ["it needs gptalt-eval>=99", "pip install -U gptalt-eval gptalt-eval-plugin-future"]),
        ("raising", ["register_models raised OSError: my disk is full", "pip install -U gptalt-eval-plugin-raising"]),
        ("taskrival", ["the task 'capitals'", "Uninstall one of the two"]),
        ("modelrival", ["the model 'shortest-option'", "Uninstall one of the two"]),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_reported_and_the_others_go_on(name, told, fresh, tmp_path):
    allowed = f"example,{name}"

    plugins = fresh.gptalt_eval("plugins", cwd=tmp_path, plugins=allowed)
    listed = fresh.gptalt_eval("ls", "models", cwd=tmp_path, plugins=allowed)

    assert plugins.returncode == listed.returncode == 0
    assert f"gptalt-eval-plugin-{name}" in plugins.stderr
    for words in told:
        assert words in plugins.stderr
    assert "Traceback" not in plugins.stderr + listed.stderr
    assert {"shortest-option", "smollm2"} <= {line.split(" ")[0] for line in listed.stdout.splitlines()}


@pytest.mark.install
def test_all_at_once(fresh, tmp_path):
    tasks = fresh.gptalt_eval("ls", "tasks", cwd=tmp_path)
    plugins = fresh.gptalt_eval("plugins", "--json", cwd=tmp_path)

    assert tasks.returncode == 0
    reported = {problem["plugin"] for problem in json.loads(plugins.stdout)["problems"]}
    # which of two rivals comes first is up to the file system
    rivals = {"gptalt-eval-plugin-taskrival", "gptalt-eval-plugin-modelrival", "gptalt-eval-plugin-example"}
    assert {f"gptalt-eval-plugin-{name}" for name in BROKEN} - rivals <= reported
    assert reported & rivals


@pytest.mark.install
@pytest.mark.parametrize("rival", ["taskrival", "modelrival"])
def test_a_run_that_needs_a_name_of_two_owners_is_refused(rival, fresh, tmp_path):
    done = fresh.gptalt_eval(*RUN, cwd=tmp_path, plugins=f"example,{rival}")

    assert done.returncode == 2
    assert "Two plugins register" in done.stderr
    assert "gptalt-eval-plugin-example" in done.stderr
    assert f"gptalt-eval-plugin-{rival}" in done.stderr
    assert "Load only one of them, for example: GPTALT_EVAL_LOAD_PLUGINS=" in done.stderr


@pytest.mark.install
@pytest.mark.parametrize(("allowed", "loaded"), [("", {"builtin"}), ("example", {"builtin", "example"})])
def test_the_allow_list(allowed, loaded, fresh, tmp_path):
    listed = fresh.gptalt_eval("plugins", "--json", cwd=tmp_path, plugins=allowed)

    found = json.loads(listed.stdout)
    assert {plugin["name"] for plugin in found["plugins"] if plugin["state"] == "installed"} == loaded
    assert found["problems"] == []


@pytest.mark.install
def test_a_name_of_the_example_says_how_to_get_it_where_it_is_not_loaded(fresh, tmp_path):
    done = fresh.gptalt_eval(*RUN, cwd=tmp_path, plugins="")

    assert done.returncode == 2
    assert "'capitals' comes with gptalt-eval-plugin-example" in done.stderr
    assert "Install it: gptalt-eval install example" in done.stderr
