"""Files that a project is expected to have, kept in step with the code; and skips that say why."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from gptalt_eval.machine.version import __version__

ROOT = Path(__file__).parents[1]
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").glob("*/tests/**/*.py")])


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_licence():
    citation = read_yaml("CITATION.cff")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("\n[project.")[0]
    project = dict(re.findall(r'^(name|license) = "(.*)"', text, re.M))
    assert citation["version"] == __version__
    assert citation["license"] == project["license"]
    assert citation["title"] == project["name"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The gptalt-eval contributors"}]
    assert {"message", "type"} <= citation.keys()


def test_pre_commit_runs_what_ci_runs_and_fetches_nothing():
    hooks = [hook for repo in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [repo["repo"] for repo in read_yaml(".pre-commit-config.yaml")["repos"]] == ["local"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for hook in hooks:
        program, target = hook["entry"].split()
        assert program == "make" and target in targets
        assert f"make {target}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_security_speaks_of_flags_that_exist():
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    source = (ROOT / "gptalt_eval" / "commands" / "flags.py").read_text(encoding="utf-8")
    flags = set(re.findall(r"`(--\w+)`", page))
    assert flags
    assert {flag for flag in flags if f'"{flag}"' not in source} == set()
    assert "@" not in page, "reports go through the repository, not to an address"


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_skip_says_why(file):
    for call in list_skips(ast.parse(file.read_text(encoding="utf-8"))):
        texts = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "reason")]
        reasons = [node for node in texts if isinstance(node, (ast.Constant, ast.JoinedStr))]
        assert any(len(ast.unparse(reason)) > 15 for reason in reasons), f"line {call.lineno}"


def list_skips(tree):
    """Calls of pytest.skip, mark.skip, mark.skipif and xfail; importorskip gives a reason of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if node.func.attr in ("skip", "skipif", "xfail") and owner.startswith("pytest"):
                yield node
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.skip":
            assert any(isinstance(call, ast.Call) and call.func is node for call in ast.walk(tree))


def test_a_skip_without_a_reason_is_found():
    assert [call.lineno for call in list_skips(ast.parse("import pytest\npytest.skip()"))] == [2]
    with pytest.raises(AssertionError):
        list(list_skips(ast.parse("@pytest.mark.skip\ndef test(): ...")))
