"""``install`` and ``uninstall``: what pip is told, and what is refused before it is asked."""

import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from environments import ROOT, FreshEnvironment

from gptalt_eval.commands import cli, install
from gptalt_eval.commands.checkout import find_checkout
from gptalt_eval.machine import subprocesses
from gptalt_eval.planning.known import KNOWN

PLUGINS = ROOT / "plugins"


class Pip(list):
    """Stands for pip: remembers what it was told, and ends with ``code``."""

    code = 0

    def run(self, command, check, env):
        assert command[0] == sys.executable and command[2:4] == ["-m", "pip"]
        assert not check
        self.append(command[4:])
        return subprocess.CompletedProcess(command, self.code)


@pytest.fixture
def pip(monkeypatch, tmp_path):
    pip = Pip()
    monkeypatch.setattr(subprocesses, "subprocess", SimpleNamespace(run=pip.run))
    monkeypatch.chdir(tmp_path)
    return pip


@pytest.fixture
def no_checkout(monkeypatch):
    """As where the core was installed from a package index."""
    monkeypatch.setattr(install, "find_checkout", lambda *starts: None)


@pytest.fixture
def complain(pip, capsys):
    """What the program says of words that it refuses, without asking pip."""

    def call(*words):
        assert cli.main(words) == 2
        assert pip == []
        return capsys.readouterr().err

    return call


# ---------------------------------------------------------------------- install


@pytest.mark.parametrize(
    ("typed", "package"),
    [
        ("medqa", "gptalt-eval-plugin-medqa"),
        ("gptalt-eval-plugin-medqa", "gptalt-eval-plugin-medqa"),
        ("elo==0.1.0", "gptalt-eval-plugin-elo==0.1.0"),
        ("night-sky", "gptalt-eval-plugin-night-sky"),
        ("gptalt-eval-plugin-medqb", "gptalt-eval-plugin-medqb"),  # the whole name is taken at its word
    ],
)
def test_a_name_is_a_package(typed, package, pip, no_checkout, capsys):
    assert cli.main(["install", typed]) == 0
    assert pip == [["install", package]]
    assert capsys.readouterr().out == f"pip install {package}\n"


@pytest.mark.parametrize("typed", ["medqa", "gptalt-eval-plugin-medqa"])
def test_a_name_is_a_folder_of_the_checkout_that_one_is_in(typed, pip, monkeypatch, tmp_path):
    checkout = tmp_path / "checkout"
    for file in (
        "gptalt_eval/contract/hookspecs.py",
        "task_yamls/x.yaml",
        "plugins/gptalt-eval-plugin-medqa/README.md",
    ):
        (checkout / file).parent.mkdir(parents=True)
        (checkout / file).touch()
    monkeypatch.chdir(checkout / "plugins")
    assert cli.main(["install", typed, "night-sky"]) == 0
    folder = checkout / "plugins" / "gptalt-eval-plugin-medqa"
    assert pip == [["install", "-e", str(folder), "gptalt-eval-plugin-night-sky"]]


def test_an_editable_install_knows_its_checkout_from_anywhere(pip):
    assert find_checkout(Path.cwd()) is None
    assert cli.main(["install", "elo", "medqa==0.1.0"]) == 0
    assert pip == [
        ["install", "-e", str(PLUGINS / "gptalt-eval-plugin-elo"), "gptalt-eval-plugin-medqa==0.1.0"]
    ]


def test_paths_and_requirement_files_are_handed_on(pip, tmp_path):
    (tmp_path / "sky").mkdir()
    (tmp_path / "sky" / "pyproject.toml").touch()
    (tmp_path / "sky-1.0-py3-none-any.whl").touch()
    (tmp_path / "wanted.txt").touch()
    assert cli.main(["install", "./sky", "sky-1.0-py3-none-any.whl", "-r", "wanted.txt"]) == 0
    assert cli.main(["install", "-r", "wanted.txt", "-r", "wanted.txt"]) == 0
    assert pip == [
        ["install", "./sky", "sky-1.0-py3-none-any.whl", "-r", "wanted.txt"],
        ["install", "-r", "wanted.txt", "-r", "wanted.txt"],
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "No plugin was given.\nType: gptalt-eval install elo|example|medqa|nlpec, or ./FOLDER"),
        (
            ["mdeqa"],
            "There is no known plugin 'mdeqa'.\nDid you mean 'medqa'? "
            "If not, give the full name: gptalt-eval install gptalt-eval-plugin-mdeqa",
        ),
        (["med qa"], "'med qa' is not a valid plugin name.\nDid you mean 'medqa'?"),
        (["?"], "'?' is not a valid plugin name.\nType: gptalt-eval install elo|"),
        (["./skyy"], "skyy does not exist.\nDid you mean 'sky'?"),
        (["nowhere/sky"], "nowhere/sky does not exist."),
        (["./sky"], "sky is not a Python project: pyproject.toml is missing.\nIt contains: sky/moon"),
        (
            ["./sky/empty"],
            "sky/empty is not a Python project: pyproject.toml is missing.\nGive the folder with pyproject.toml.",
        ),
        (["-r", "wantd.txt"], "There is no file wantd.txt.\nDid you mean 'wanted.txt'?"),
    ],
)
def test_mistakes_are_answered_without_pip(words, expected, complain, tmp_path):
    for file in ("sky/moon/pyproject.toml", "sky/empty/notes.txt", "wanted.txt"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert complain("install", *words).startswith(f"gptalt-eval: {expected}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("medqa", "'medqa' is part of gptalt-eval's repository; in a checkout of it, type: make install"),
        ("night-sky", "Known plugins: gptalt-eval plugins"),
    ],
)
def test_what_pip_cannot_install(name, hint, pip, no_checkout, capsys):
    pip.code = 1
    assert cli.main(["install", name]) == 2
    assert capsys.readouterr().err == (
        f"gptalt-eval: pip could not install it; pip's own message is above.\n{hint}\n"
    )


@pytest.mark.parametrize("words", [["install", "./my sky"], ["uninstall", "sky"]])
def test_an_environment_without_pip(words, complain, monkeypatch, tmp_path):
    (tmp_path / "my sky").mkdir()
    (tmp_path / "my sky" / "pyproject.toml").touch()
    monkeypatch.setattr(install, "find_spec", lambda name: None)
    monkeypatch.setattr(install, "entry_points", list_entry_points)
    typed = "install './my sky'" if words[0] == "install" else "uninstall --yes gptalt-eval-plugin-sky"
    text = complain(*words)
    assert text.startswith(f"gptalt-eval: This environment ({sys.prefix}) has no pip;")
    assert text.endswith(f"\nType: uv pip {typed}\nor install pip first: {sys.executable} -m ensurepip\n")


# ---------------------------------------------------------------------- uninstall


def list_entry_points(group):
    """One plugin with two entry points, and one whose distribution is called something else."""
    assert group == "gptalt_eval"
    for name, distribution in (
        ("sky", "gptalt-eval-plugin-sky"),
        ("moon", "gptalt-eval-plugin-sky"),
        ("sea", "waves"),
    ):
        point = EntryPoint(name, name, group)
        vars(point).update(dist=SimpleNamespace(name=distribution))
        yield point


@pytest.mark.parametrize(
    ("typed", "distributions"),
    [
        (["sky"], ["gptalt-eval-plugin-sky"]),
        (["gptalt-eval-plugin-sky", "moon"], ["gptalt-eval-plugin-sky"]),
        (["sea"], ["waves"]),
        (["waves", "sky"], ["waves", "gptalt-eval-plugin-sky"]),
    ],
)
def test_uninstalling_by_plugin_or_distribution(typed, distributions, pip, monkeypatch):
    monkeypatch.setattr(install, "entry_points", list_entry_points)
    assert cli.main(["uninstall", *typed]) == 0
    assert pip == [["uninstall", "--yes", *distributions]]


@pytest.mark.parametrize(
    ("name", "hint"), [("skky", "Did you mean 'sky'?"), ("qqqq", "Installed: moon, sea, sky")]
)
def test_what_is_not_installed(name, hint, complain, monkeypatch):
    monkeypatch.setattr(install, "entry_points", list_entry_points)
    assert complain("uninstall", "sky", name) == f"gptalt-eval: No plugin '{name}' is installed.\n{hint}\n"


def test_what_pip_cannot_uninstall(pip, monkeypatch, capsys):
    monkeypatch.setattr(install, "entry_points", list_entry_points)
    pip.code = 1
    assert cli.main(["uninstall", "sky"]) == 2
    assert "pip could not uninstall it" in capsys.readouterr().err


# ---------------------------------------------------------------------- with pip itself


@pytest.mark.install
@pytest.mark.xdist_group("install")
def test_installed_used_and_uninstalled(wheels, tmp_path):
    environment = FreshEnvironment(tmp_path / "environment", wheels["gptalt-eval"])
    shutil.copytree(PLUGINS / "gptalt-eval-plugin-example", tmp_path / "mine")

    def list_models():
        return environment.gptalt_eval("ls", "models", cwd=tmp_path).stdout

    assert "shortest-option" not in list_models()
    installed = environment.gptalt_eval("install", "./mine", cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout.startswith("pip install ./mine\n")
    assert "shortest-option" in list_models()
    removed = environment.gptalt_eval("uninstall", "example", cwd=tmp_path)
    assert removed.returncode == 0, removed.stderr
    assert "shortest-option" not in list_models()


@pytest.mark.install
@pytest.mark.xdist_group("install")
def test_medqa_of_the_checkout_is_installed_and_runs(wheels, tmp_path):
    environment = FreshEnvironment(tmp_path / "environment", wheels["gptalt-eval"])
    run = ("--model", "dummy", "--tasks", "medqa_zh", "--data_dir", "sample")

    refused = environment.gptalt_eval(*run, cwd=tmp_path)
    assert "Install it: gptalt-eval install medqa" in refused.stderr
    installed = environment.gptalt_eval("install", "medqa", cwd=ROOT)
    assert installed.returncode == 0, installed.stderr
    assert str(PLUGINS / "gptalt-eval-plugin-medqa") in installed.stdout
    done = environment.gptalt_eval(*run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "medqa_zh" in done.stdout


def test_the_folders_are_those_of_known_plugins():
    for name in KNOWN:
        assert (PLUGINS / f"gptalt-eval-plugin-{name}" / "pyproject.toml").is_file()
