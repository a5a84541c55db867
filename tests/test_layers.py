"""The house's rules about imports, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gptalt_eval

PACKAGE = Path(gptalt_eval.__file__).parent
HEAVY = {"torch", "transformers", "datasets", "lm_eval"}
# imports point down only: a module may import at its top what stands in an earlier row
LAYERS = [
    {"errors", "stats", "environment", "choices"},
    {"scoring"},
    {"types", "storage", "flags", "hub", "progressbar", "unpacking"},
    {"spec", "record", "datacheck"},
    {"hookspecs", "rowcache"},
    {"plugins"},
    {"known_plugins", "taskindex", "data"},
    {"catalog", "releases", "datasurvey", "dataprepare"},
    {"standard", "localdata", "models", "plan"},
    {"smollm2", "taskfinder", "datacommand"},
    {
        "resolve",
        "analyse",
        "compare",
        "sampleview",
        "lmeval.observed",
        "lmeval.model",
        "lmeval.rows",
        "lmeval.tasks",
    },
    {"lmeval.evaluation", "lmeval"},
    {"figures"},
    {"overview"},
    {"runfiles"},
    {"execute", "report"},
    {"display"},
    {"api"},
    {"experiments"},
    {"validation"},
    {"validate", "scaffold", "show", "listing"},
    {"commands"},
    {"builtin"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" and "templates" not in path.parts
)


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def layer_of(name):
    return RANK.get(name, RANK.get(name.split(".")[0]))


def top_imports(path):
    """Modules imported when the file is imported: not inside functions, not for type checking only."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module in ("gptalt_eval", "gptalt_eval.lmeval"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path):
    own = layer_of(module_name(path))
    assert own is not None, f"{module_name(path)} has no place in the house: add it to LAYERS"
    for name in top_imports(path):
        inner = name.removeprefix("gptalt_eval.")
        if name.startswith("gptalt_eval.") and layer_of(inner) is not None:
            same_room = inner.split(".")[0] == module_name(path).split(".")[0]
            assert layer_of(inner) < own or same_room, f"{module_name(path)} imports {inner}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_lm_eval_is_imported_in_its_rooms_only(path):
    if path.parent.name in ("lmeval", "scoring") or path.name == "testing.py":
        return
    assert not [name for name in all_imports(path) if name.split(".")[0] == "lm_eval"]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_module_keeps_state(path):
    """No module-level name is bound to an empty container, to be filled later."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        value = getattr(node, "value", None)
        empty = isinstance(value, (ast.Dict, ast.List, ast.Set)) and not (
            getattr(value, "elts", None) or getattr(value, "keys", None)
        )
        assert not (isinstance(node, (ast.Assign, ast.AnnAssign)) and empty), f"line {node.lineno}"
        assert not isinstance(node, ast.Global)


LIGHT = [
    ["--help"], ["run", "--help"], ["ls"], ["ls", "models"], ["ls", "datasets"], ["ls", "styles"], ["ls", "plugins"], ["plugins"], ["show", "model", "smollm2"],
    ["compare", "nowhere"], ["resume", "nowhere"],  ["show", "dataset", "mmlu"], ["report", "nowhere"], ["rerun", "nowhere"], ["nonsense"], ["data", "ls"], ["data", "check"], ["data", "check", "--data_dir", "."], ["data", "where", "piqa"], ["data", "prepare", "piqa", "--from", "nowhere", "--data_dir", "."], ["--tasks", "hellaswga", "--model", "smollm2"],
]  # fmt: skip


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_light_commands_import_nothing_heavy(words, tmp_path):
    script = f"import sys\nfrom gptalt_eval.cli import main\ntry:\n    main({words!r})\nexcept SystemExit:\n    pass\nprint('HEAVY', sorted({HEAVY!r} & set(sys.modules)))\n"
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "HEAVY []" in outcome.stdout, outcome.stdout[-300:] + outcome.stderr[-2000:]


def test_public_names_are_exported_and_importable():
    for name in gptalt_eval.__all__:
        assert getattr(gptalt_eval, name) is not None
    with pytest.raises(AttributeError):
        gptalt_eval.nonsense  # noqa: B018
