"""What the light commands may import, and that no module keeps state."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gptalt_eval

PACKAGE = Path(gptalt_eval.__file__).parent
HEAVY = {"torch", "transformers", "datasets", "lm_eval"}
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" and "templates" not in path.parts
)


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


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
    ["compare", "nowhere"], ["resume", "nowhere"],  ["show", "dataset", "mmlu"], ["report", "nowhere"], ["site", "nowhere", "--into", "site"], ["rerun", "nowhere"], ["nonsense"], ["data", "ls"], ["data", "check"], ["data", "check", "--data_dir", "."], ["data", "where", "piqa"], ["data", "prepare", "piqa", "--from", "nowhere", "--data_dir", "."], ["--tasks", "hellaswga", "--model", "smollm2"],
]  # fmt: skip


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_light_commands_import_nothing_heavy(words, tmp_path):
    script = f"import sys\nfrom gptalt_eval.commands.cli import main\ntry:\n    main({words!r})\nexcept SystemExit:\n    pass\nprint('HEAVY', sorted({HEAVY!r} & set(sys.modules)))\n"
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "HEAVY []" in outcome.stdout, outcome.stdout[-300:] + outcome.stderr[-2000:]


def test_public_names_are_exported_and_importable():
    for name in gptalt_eval.__all__:
        assert getattr(gptalt_eval, name) is not None
    with pytest.raises(AttributeError):
        gptalt_eval.nonsense  # noqa: B018
