"""What the READMEs show is true: their Python runs, their commands exist, both languages say the same."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gptalt_eval import Owner
from gptalt_eval.commands.cli import gather_commands, make_parser
from gptalt_eval.contract.faults import find_faults
from gptalt_eval.contract.spec import read_argv
from gptalt_eval.testing import make_plugin_set

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.zh-CN.md"]


def blocks(name, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


def commands(name):
    lines = [line for block in blocks(name, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def list_demos_commands():
    """What ``make demo`` suggests: a command, and after two blanks what it is for."""
    suggested = re.findall(r'@echo "  (.*)"$', (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    return [line.split("  ")[0] for line in suggested]


@pytest.mark.parametrize("given", [commands(READMES[0]), list_demos_commands()], ids=["README", "make demo"])
def test_commands_are_understood(given):
    parser = make_parser(gather_commands(make_plugin_set()), make_plugin_set())
    assert len(given) > 5
    for command in given:
        words = shlex.split(command)
        if words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
        elif words[0] == "gptalt-eval":
            words = words[1:] if not words[1].startswith("-") else ["run", *words[1:]]
            namespace = parser.parse_args(words)
            if namespace.chosen.name != "run":
                continue
            assert find_faults(read_argv(namespace)) == []


def test_make_runs_and_names_what_there_is():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    said = " ".join(re.findall(r'@echo "(.*)"$', makefile, re.M))
    named = re.findall(r"\bmake (\w[\w-]*)", said)
    assert "elo" in named and all(f"\n{name}:" in makefile for name in named)
    [ask] = re.findall(r"^ASK := \$\(BIN\)/gptalt-eval (.*)$", makefile, re.M)
    run = re.findall(r"^\t@\$\(BIN\)/gptalt-eval ((?:votes|elo) .*)$", makefile, re.M)
    plugins = make_plugin_set()
    plugins.register(pytest.importorskip("gptalt_eval_plugin_elo"), Owner("elo"))
    parser = make_parser(gather_commands(plugins), plugins)
    parsed = [parser.parse_args(shlex.split(command)) for command in (ask, *run)]
    answers, serve, elo = parsed
    assert answers.output_path == serve.answers == elo.votes, "the ratings are of these votes"
    assert len(serve.annotators.split(",")) == serve.judges == 1 and serve.twice == 0, "nobody else judges"


def test_both_languages_show_the_same():
    assert commands(READMES[0]) == commands(READMES[1])
    assert blocks(READMES[0], "python") == blocks(READMES[1], "python")
    headings = [re.findall(r"^(#+) ", (ROOT / name).read_text(encoding="utf-8"), re.M) for name in READMES]
    assert headings[0] == headings[1]


def test_links_lead_somewhere():
    for name in [*READMES, "CONTRIBUTING.md", "SECURITY.md", "docs/plugins.md", "docs/security.md"]:
        folder = (ROOT / name).parent
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (folder / target).exists(), f"{name}: {target}"


def name_anchors(text):
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_are_headings():
    found = 0
    for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")]:
        for target, anchor in re.findall(
            r"\]\(((?!https?:)[^)#]*)#([^)]+)\)", file.read_text(encoding="utf-8")
        ):
            there = file.parent / target if target else file
            assert anchor in name_anchors(there.read_text(encoding="utf-8")), f"{file}: #{anchor}"
            found += 1
    assert found > 10


@pytest.mark.torch
def test_the_python_runs(tmp_path, smollm2):
    [code] = blocks("README.md", "python")
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert re.match(r"(0|1)\.\d+ runs/.*/smollm2", outcome.stdout)


def test_no_path_of_a_machine_is_in_the_project():
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split()
    home = str(ROOT.parent)
    for file in files:
        path = ROOT / file
        if path.is_file() and path.suffix not in (".png",) and len(home) > 3:
            assert f"{home}/" not in path.read_text(encoding="utf-8", errors="ignore"), file
