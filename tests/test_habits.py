"""Files that a project is expected to have, kept in step with the code; and skips that say why."""

import ast
import re
import sys
import warnings
from functools import cache
from importlib.metadata import packages_distributions
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
    files = [ROOT / "gptalt_eval" / "commands" / name for name in ("flags.py", "options.py")]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    flags = set(re.findall(r"`(--\w+)", page))
    assert flags
    assert {flag for flag in flags if f'"{flag}"' not in source} == set()
    assert "@" not in page, "reports go through the repository, not to an address"


@pytest.mark.parametrize("module", ["gptalt_eval.results.stats", "gptalt_eval_plugin_elo.ratings"])
def test_a_warning_of_our_own_modules_fails_a_test(module):
    with pytest.raises(DeprecationWarning):
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module=module)
    with pytest.warns(DeprecationWarning):
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module="numpy")


# what is declared and not imported by us: who imports it
IMPORTED_BY_OTHERS = {
    "sentencepiece": "transformers, for the tokenizers of Llama's kind",
    "aiohttp": "lm-eval's clients of servers",
    "tenacity": "lm-eval's clients of servers",
    "jsonlines": "lm-eval; its samples are read with it by those who follow its guides",
}
PROJECTS = {ROOT: ROOT / "gptalt_eval"} | {
    file.parent: file.parent / file.parent.name.replace("-", "_")
    for file in sorted((ROOT / "plugins").glob("*/pyproject.toml"))
}


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_what_is_imported_is_declared_and_what_is_declared_is_imported(project):
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    [listed] = re.findall(r"^dependencies = \[(.*?)\]\s*$", text, re.M | re.S)
    declared = {normalise(name) for name in re.findall(r'"([A-Za-z0-9_.-]+)', listed)}
    imported = {find_distribution(name) for name in list_imports(PROJECTS[project])}
    imported -= {"pytest"}  # gptalt_eval/testing.py is for those who test with it
    imported -= list_extras(text)  # each module that needs one says what to install
    assert imported - declared == set(), f"imported, but not in {project.name}/pyproject.toml"
    assert declared - imported - IMPORTED_BY_OTHERS.keys() == set(), "declared, but not imported"


def list_extras(text):
    """The packages of optional features; not those of developers."""
    extras = re.findall(r"^(\w+) = \[(.*?)\]", text.partition("[project.optional-dependencies]")[2], re.M)
    kept = "".join(packages for name, packages in extras if name != "dev")
    return {normalise(name) for name in re.findall(r'"([\w.-]+)', kept)}


def list_imports(package):
    """The names at the top of what a package imports, those of Python and of itself left out."""
    for file in package.rglob("*.py"):
        if "templates" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            tops = {module.partition(".")[0] for module in modules}
            yield from tops - sys.stdlib_module_names - {package.name}


def find_distribution(module):
    return normalise(list_distributions().get(module, [module])[0])


@cache
def list_distributions():
    """Whose each importable name is; asking reads all that is installed."""
    return packages_distributions()


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


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


@pytest.mark.xdist_group("kept")
def test_a_group_of_tests_stays_in_one_process(request):
    """What is expensive to make, such as a trained model, is then made once."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("tests are not distributed by group here")
    assert request.node.nodeid.endswith("@kept")
