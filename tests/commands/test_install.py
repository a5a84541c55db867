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


@pytest.mark.parametrize("typed", ["medqa", "gptalt-eval-plugin-medqa"])
def test_a_name_is_a_package(typed, pip, no_checkout, capsys):
    assert cli.main(["install", typed]) == 0
    assert pip == [["install", "--", "gptalt-eval-plugin-medqa"]]
    assert capsys.readouterr().out == "pip install -- gptalt-eval-plugin-medqa\n"


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
    assert cli.main(["install", typed, "nlpec"]) == 0
    folder = checkout / "plugins" / "gptalt-eval-plugin-medqa"
    assert pip == [["install", "-e", str(folder), "--", "gptalt-eval-plugin-nlpec"]]


def test_an_editable_install_knows_its_checkout_from_anywhere(pip):
    assert find_checkout(Path.cwd()) is None
    assert cli.main(["install", "elo"]) == 0
    assert pip == [["install", "-e", str(PLUGINS / "gptalt-eval-plugin-elo")]]


@pytest.fixture
def sky(tmp_path):
    """A project's folder, a wheel and a requirements file, where pip is called."""
    for file in ("sky/pyproject.toml", "sky-1.0-py3-none-any.whl"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    lines = "# ours\n\ngptalt-eval-plugin-medqa==0.1.0  # pinned\n gptalt-eval-plugin-elo\n"
    (tmp_path / "wanted.txt").write_text(lines, encoding="utf-8")
    return tmp_path


def test_paths_and_the_lines_of_requirement_files_are_handed_on(pip, sky):
    wheel = "./sky-1.0-py3-none-any.whl"
    assert cli.main(["install", "./sky", wheel, str(sky / "sky"), "-r", "wanted.txt"]) == 0
    assert cli.main(["install", "-r", "wanted.txt"]) == 0
    lines = ["gptalt-eval-plugin-medqa==0.1.0", "gptalt-eval-plugin-elo"]
    assert pip == [
        ["install", "--", "./sky", wheel, str(sky / "sky"), *lines],
        ["install", "--", *lines],
    ]


UNKNOWN = [
    (["gptalt-eval-plugin-medqb"], ["install", "--", "gptalt-eval-plugin-medqb"], "gptalt-eval-plugin-medqb, which is not a"),
    (["night-sky", "medqa"], ["install", "--", "gptalt-eval-plugin-night-sky", "gptalt-eval-plugin-medqa"],
     "gptalt-eval-plugin-night-sky, which is not a plugin of this project"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "command", "listed"), UNKNOWN)
def test_what_is_not_known_is_asked_for(typed, command, listed, pip, no_checkout, capsys):
    assert cli.main(["install", *typed]) == 2
    assert pip == []
    said = capsys.readouterr().err
    assert said.startswith(f"gptalt-eval: pip would look for:\n  {listed}")
    assert said.endswith(
        "\nWhat is installed runs with your rights. If you trust all of it, add: --unknown\n"
    )
    assert "medqa," not in said, "what is known needs no consent"
    assert cli.main(["install", *typed, "--unknown"]) == 0
    assert pip == [command]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example/simple", "-i https://evil.example", "--extra-index-url=https://evil.example",
        "-r other.txt", "-c other.txt", "-e ./evil", "-f ./wheels", "--trusted-host evil.example", "--pre",
        "./evil", "evil.whl", "https://evil.example/x.whl", "git+https://evil.example/x", "evil", "medqa", "numpy==1.0",
        "gptalt-eval-plugin-evil", "gptalt-eval-plugin-medqa @ https://evil.example/x.whl", "gptalt-eval-plugin-medqa[evil]",
        "gptalt-eval-plugin-medqa>=0", "gptalt-eval-plugin-medqa==0.1 --config-settings=x=y", "gptalt-eval-plugin-medqa \\",
        "gptalt-eval-plugin-medqa==${VERSION}", "gptalt-eval-plugin-medqa; python_version>'3'", "GPTALT-EVAL-PLUGIN-MEDQA",
    ],
)  # fmt: skip
def test_each_line_that_is_no_known_plugin_is_listed(line, pip, sky, capsys):
    file = sky / "wanted.txt"
    file.write_text(f"gptalt-eval-plugin-medqa\n{line}  # harmless\n", encoding="utf-8")
    assert cli.main(["install", "-r", "wanted.txt"]) == 2
    assert pip == []
    said = capsys.readouterr().err
    assert f"  {line!r} (line 2 of wanted.txt)\n" in said and "line 1" not in said
    assert said.endswith("add: --unknown\n")
    assert cli.main(["install", "-r", "wanted.txt", "--unknown"]) == 0
    assert pip == [["install", "-r", str(file)]]


def test_pip_does_not_read_a_file_that_another_encoding_turns_into_options(pip, sky):
    hidden = "# -*- coding: utf-7 -*-\ngptalt-eval-plugin-medqa #+AAo---index-url=https://evil.example\n"
    assert "\n--index-url" in hidden.encode().decode("utf-7")
    (sky / "wanted.txt").write_text(hidden, encoding="utf-8")
    assert cli.main(["install", "-r", "wanted.txt"]) == 0
    assert pip == [["install", "--", "gptalt-eval-plugin-medqa"]]


@pytest.mark.parametrize("content", [b"\xff\xfe-\x00", b"gptalt-eval-plugin-medqa\xff"])
def test_a_file_in_another_encoding(content, complain, sky):
    (sky / "wanted.txt").write_bytes(content)
    assert "wanted.txt cannot be read" in complain("install", "-r", "wanted.txt", "--unknown")


@pytest.mark.parametrize(
    "typed",
    [
        "--index-url", "--index-url=https://evil.example", "-rwanted.txt", "-e", "--pre", "-", "--", "",
        "https://evil.example/x.whl", "git+https://evil.example/x", "file:sky", "file:///sky", "//evil.example/x",
        "medqa @ https://evil.example/x.whl", "medqa @ file:sky", "medqa[evil]", "medqa [evil]", "medqa==0.1.0", "medqa>=0",
        "medqa;python_version>'3'", "medqa\n--pre", "medqa --pre", "MedQA", "med_qa", "med.qa", "medqa\x1b[2J", "ｍedqa",
        "sky/inner", "sky-1.0-py3-none-any.whl", "sky.tar.gz", "./sky;x", "./sky[evil]", "./sky --pre", "/sky @ x", "~/sky",
    ],
)  # fmt: skip
@pytest.mark.parametrize("consent", [[], ["--unknown"]])
def test_nothing_else_is_passed_on(typed, consent, complain, sky):
    (sky / "sky" / "inner").mkdir()
    (sky / "sky" / "inner" / "pyproject.toml").touch()
    for name in ("sky;x", "sky[evil]"):
        (sky / name).mkdir()
        (sky / name / "pyproject.toml").touch()
    words = ["install", *consent, "--", typed]
    if typed == "--":  # argparse drops the first
        words = ["install", *consent, "--", "--", "--"]
    assert "\x1b" not in complain(*words)


@pytest.mark.parametrize("option", ["--index-url=https://evil.example", "-e", "--pre", "-f", "--target=x"])
def test_options_of_pip_are_not_ours(option, complain):
    assert complain("install", "medqa", option).startswith("gptalt-eval: There is no option ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "No plugin was given.\nType: gptalt-eval install elo|example|medqa|models|nlpec|scienceqa, or ./FOLDER"),
        (
            ["mdeqa"],
            "There is no known plugin 'mdeqa'.\nDid you mean 'medqa'? "
            "If not, give the full name: gptalt-eval install gptalt-eval-plugin-mdeqa",
        ),
        (["med qa"], "'med qa' is neither the name of a plugin nor a path.\nDid you mean 'medqa'?"),
        (
            ["elo==0.1.0"],
            "'elo==0.1.0' is neither the name of a plugin nor a path.\nA plugin's name has small letters, digits and "
            "hyphens; a path begins with ./ or /. For anything else, call pip itself.",
        ),
        (["sky/moon"], "'sky/moon' is neither the name of a plugin nor a path.\nFor the file or folder, type: ./sky/moon"),
        (["./skyy"], "skyy does not exist.\nDid you mean 'sky'?"),
        (["./nowhere/sky"], "nowhere/sky does not exist."),
        (["./wanted.txt"], "wanted.txt is neither a folder nor a wheel (.whl).\nUnpack it, and give the folder."),
        (["./sky"], "sky is not a Python project: pyproject.toml is missing.\nIt contains: sky/moon"),
        (
            ["./sky/empty"],
            "sky/empty is not a Python project: pyproject.toml is missing.\nGive the folder with pyproject.toml.",
        ),
        (["-r", "wantd.txt"], "There is no file wantd.txt.\nDid you mean 'wanted.txt'?"),
    ],
)  # fmt: skip
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
    assert cli.main(["install", name, "--unknown"]) == 2
    assert capsys.readouterr().err == (
        f"gptalt-eval: pip could not install it; pip's own message is above.\n{hint}\n"
    )


@pytest.mark.parametrize("words", [["install", "./my sky"], ["uninstall", "sky"]])
def test_an_environment_without_pip(words, complain, monkeypatch, tmp_path):
    (tmp_path / "my sky").mkdir()
    (tmp_path / "my sky" / "pyproject.toml").touch()
    monkeypatch.setattr(install, "find_spec", lambda name: None)
    monkeypatch.setattr(install, "entry_points", list_entry_points)
    typed = "install -- './my sky'" if words[0] == "install" else "uninstall --yes -- gptalt-eval-plugin-sky"
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
    assert pip == [["uninstall", "--yes", "--", *distributions]]


@pytest.mark.parametrize(
    ("name", "hint"), [("skky", "Did you mean 'sky'?"), ("qqqq", "Installed: moon, sea, sky")]
)
def test_what_is_not_installed(name, hint, complain, monkeypatch):
    monkeypatch.setattr(install, "entry_points", list_entry_points)
    assert complain("uninstall", "sky", name) == f"gptalt-eval: No plugin '{name}' is installed.\n{hint}\n"


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [("sky", "gptalt-eval-plugin-sky"), ("evil", "evil"), ("sea", None), ("gptalt-eval-plugin-sky", "gptalt-eval-plugin-sky")],
)  # fmt: skip
@pytest.mark.parametrize("order", [1, -1])
def test_another_package_with_a_plugin_of_this_name(typed, chosen, order, pip, monkeypatch, capsys):
    def list_several(group):
        for name, distribution in [
            ("sky", "evil"), ("sky", "gptalt-eval-plugin-sky"), ("sea", "evil"), ("sea", "waves")
        ][::order]:  # fmt: skip
            point = EntryPoint(name, name, group)
            vars(point).update(dist=SimpleNamespace(name=distribution))
            yield point

    monkeypatch.setattr(install, "entry_points", list_several)
    assert cli.main(["uninstall", typed]) == (2 if chosen is None else 0)
    assert pip == ([["uninstall", "--yes", "--", chosen]] if chosen else [])
    if chosen is None:
        text = "Several packages have a plugin 'sea': evil, waves.\nGive the name of one of them.\n"
        assert capsys.readouterr().err == f"gptalt-eval: {text}"


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
    assert installed.stdout.startswith("pip install -- ./mine\n")
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
