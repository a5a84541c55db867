"""A run that is held to a lock file is refused, before its weights load, where anything differs."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from distributions import write_distribution

from gptalt_eval import GptaltError, evaluate
from gptalt_eval.commands import cli
from gptalt_eval.contract.plugins import ALLOW_LIST
from gptalt_eval.contract.run import RunPlugin
from gptalt_eval.planning.lock import check_lock, compare, describe_environment, read_lock, write_lock

SOURCE = """\
from pathlib import Path
from gptalt_eval import Model, hookimpl
from gptalt_eval.testing import make_scripted_lm

def create(arguments):
    Path("LOADED").touch()
    return make_scripted_lm()

@hookimpl
def register_models():
    return [Model("sky", "x", "MIT", "x", create=create, chat_template=False)]
"""
MODULE = "gptalt_eval_plugin_sky.py"
RUN = {"data_dir": "sample", "limit": 1}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A plugin with a model is installed and allowed."""
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv(ALLOW_LIST, "sky")
    monkeypatch.chdir(tmp_path)
    yield folder
    sys.modules.pop("gptalt_eval_plugin_sky", None)


def install(folder, source=SOURCE, release="1.0"):
    point = {"sky": "gptalt_eval_plugin_sky"}
    write_distribution(folder, "gptalt-eval-plugin-sky", point, {MODULE: source}, release)


def test_the_file_has_every_plugin_the_core_and_the_libraries(site, capsys):
    assert cli.main(["plugins", "lock"]) == 0
    lock = json.loads(Path("gptalt-eval.lock").read_text(encoding="utf-8"))
    libraries = ("gptalt-eval", "lm_eval", "transformers", "torch", "datasets")
    versions = {name: version(name) for name in libraries} | {"gptalt-eval-plugin-sky": "1.0"}
    assert lock["format"] == 1
    assert {name: each["version"] for name, each in lock["packages"].items()} == versions
    assert len({each["sha256"] for each in lock["packages"].values()}) == len(versions)
    assert all(len(each["sha256"]) == 64 for each in lock["packages"].values())
    printed = capsys.readouterr().out
    assert all(f"{name} {number}  " in printed for name, number in versions.items())
    assert "gptalt-eval run --plugins_lock gptalt-eval.lock" in printed


@pytest.fixture
def call(site, tmp_path, capsys):
    """Runs a model that leaves a file when it is loaded; returns what the program complained of."""

    def run():
        mark = tmp_path / "LOADED"
        mark.unlink(missing_ok=True)
        words = ["--model", "sky", "--tasks", "piqa", "--data_dir", "sample", "--limit", "1"]
        code = cli.main([*words, "--plugins_lock", "x.lock"])
        assert mark.exists() is (code == 0), "refused before anything is loaded"
        return capsys.readouterr().err if code else ""

    return run


def edit(file, change):
    lock = json.loads(Path(file).read_text(encoding="utf-8"))
    change(lock["packages"])
    Path(file).write_text(json.dumps(lock), encoding="utf-8")


def test_the_same_environment_runs(call, site):
    assert cli.main(["plugins", "lock", "x.lock"]) == 0
    assert call() == ""


def test_a_changed_file_of_a_plugin_is_refused(call, site):
    assert cli.main(["plugins", "lock", "x.lock"]) == 0
    (site / MODULE).write_text(SOURCE + "# another\n", encoding="utf-8")
    assert call() == (
        "gptalt-eval: What is installed is not what x.lock says:\n"
        "  gptalt-eval-plugin-sky 1.0 has other files than those locked\n"
        "Install what is locked, or accept what is installed: gptalt-eval plugins lock x.lock\n"
    )
    assert cli.main(["plugins", "lock", "x.lock"]) == 0, "a lock file is replaced by a lock file"
    assert call() == ""


def test_another_release_a_missing_and_an_additional_plugin(call, site, monkeypatch):
    assert cli.main(["plugins", "lock", "x.lock"]) == 0
    edit("x.lock", lambda packages: packages["torch"].update(version="0.1"))
    edit("x.lock", lambda packages: packages.update({"a-b": packages.pop("gptalt-eval-plugin-sky")}))
    said = call()
    assert [line.strip() for line in said.splitlines()[1:-1]] == [
        "a-b 1.0 is locked, but not installed or not loaded",
        "gptalt-eval-plugin-sky 1.0 is loaded, but not locked",
        f"torch is {version('torch')}, but 0.1 is locked",
    ]


@pytest.mark.parametrize("name", ["gptalt-eval", "lm_eval", "transformers", "torch", "datasets"])
def test_each_library_counts(name, site):
    write_lock(Path("x.lock"), ())
    check_lock(Path("x.lock"), ())
    edit("x.lock", lambda packages: packages[name].update(sha256="0" * 64))
    with pytest.raises(GptaltError, match=f"{name} [^ ]+ has other files than those locked"):
        check_lock(Path("x.lock"), ())


def test_a_plugin_that_is_registered_by_hand_is_not_locked(site, plugins):
    write_lock(Path("x.lock"), ())
    with pytest.raises(GptaltError, match="given-models is loaded, but not locked"):
        evaluate("scripted", "piqa", plugins=plugins, plugins_lock="x.lock", output_path="out", **RUN)
    assert not Path("out").exists()


def test_a_repeated_run_is_held_to_it_too(site, plugins):
    write_lock(Path("x.lock"), [RunPlugin("given-models")])
    record = evaluate("scripted", "piqa", plugins=plugins, plugins_lock="x.lock", output_path="out", **RUN)
    assert record.run.settings["plugins_lock"] == "x.lock"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no lock file x.lock.\nWrite one: gptalt-eval plugins lock x.lock"),
        ("{", "x.lock is damaged"),
        ("[]", "x.lock is damaged (not a JSON object)."),
        ("[" * 100_000, "x.lock is damaged"),
        ("{}", "x.lock is not a lock file (packages is missing)."),
        ('{"packages": {"a": {"version": 1, "sha256": ""}}}', "x.lock is not a lock file (packages.a.version is 1"),
        ('{"packages": {}, "format": 2}', "x.lock has format 2, but this version reads format 1."),
        (b"\xff", "x.lock is damaged"),
    ],
)  # fmt: skip
def test_what_is_not_a_lock_file(content, said, site):
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        Path("x.lock").write_bytes(data)
    for action in (read_lock, lambda file: check_lock(file, ())):
        with pytest.raises(GptaltError) as raised:
            action(Path("x.lock"))
        assert str(raised.value).startswith(said)
    if content is not None:  # it may be a file that somebody needs
        with pytest.raises(GptaltError):
            write_lock(Path("x.lock"), ())
        assert Path("x.lock").read_bytes() == data


def test_a_link_is_not_written_through(site):
    Path("precious").write_text("{}", encoding="utf-8")
    Path("x.lock").symlink_to("precious")
    with pytest.raises(GptaltError):
        write_lock(Path("x.lock"), ())
    assert Path("precious").read_text(encoding="utf-8") == "{}"


def test_a_place_that_cannot_be_written(site):
    Path("file").touch()
    with pytest.raises(GptaltError, match=r"file/x\.lock cannot be written: "):
        write_lock(Path("file/x.lock"), ())


def test_a_library_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr("gptalt_eval.planning.lock.LIBRARIES", ("no_such_library_here",))
    assert list(describe_environment(()).packages) == ["gptalt-eval"]


def test_nothing_differs_from_itself(site):
    packages = describe_environment(()).packages
    assert list(compare(packages, packages)) == []
