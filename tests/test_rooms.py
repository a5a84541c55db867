"""The rooms of the house, and which may name which: every import counts, lazy ones and those for types too."""

import ast
from pathlib import Path

import pytest

import gptalt_eval

PACKAGE = Path(gptalt_eval.__file__).parent
PLUGINS = PACKAGE.parent / "plugins"
ROOMS = {  # room: the rooms it may import from
    "machine": set(),
    "contract": {"machine"},
    "scoring": set(),
    "spread": {"machine", "contract", "scoring"},
    "data": {"machine", "contract"},
    "results": {"machine", "contract"},
    "planning": {"machine", "contract", "data"},
    "validation": {"machine", "contract", "data", "planning"},
    "running": {"machine", "contract", "data", "planning", "validation", "scoring", "results", "spread"},
    "commands": {"machine", "contract", "data", "planning", "results", "running", "validation"},
    # the doors: what is imported from outside under these very names
    "__init__": {"machine", "contract", "data", "results", "running"},
    "__main__": {"commands"},
    "testing": {"contract", "planning", "running", "commands"},
}
SPEAK_LM_EVAL = ("scoring", "running/lmeval", "testing.py")
FILES = sorted(file for file in PACKAGE.rglob("*.py") if "templates" not in file.parts)


def find_room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def list_imports(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_from_the_rooms_below_it_only(file):
    room = find_room(file)
    for name in list_imports(file):
        top, _, rest = name.partition(".")
        if top == "gptalt_eval":
            assert rest.split(".")[0] in ROOMS[room] | {room}, f"{file.name} imports {name}"
        elif top == "lm_eval":
            assert str(file.relative_to(PACKAGE)).startswith(SPEAK_LM_EVAL), f"{file.name} imports {name}"


def test_no_files_import_each_other_in_a_circle():
    def find(name):
        parts = name.split(".")[1:]
        for end in range(len(parts), 0, -1):
            for file in (
                PACKAGE.joinpath(*parts[:end]).with_suffix(".py"),
                PACKAGE.joinpath(*parts[:end], "__init__.py"),
            ):
                if file.is_file():
                    return file
        return None

    below = {
        file: {
            found for name in list_imports(file) if name.startswith("gptalt_eval.") and (found := find(name))
        }
        - {file}
        for file in FILES
    }
    while free := [file for file, names in below.items() if not names & below.keys()]:
        for file in free:
            del below[file]
    assert not below, sorted(str(file.relative_to(PACKAGE)) for file in below)


def test_there_are_ten_rooms_and_three_doors():
    assert {find_room(file) for file in FILES} == ROOMS.keys()
    assert sum((PACKAGE / room).is_dir() for room in ROOMS) == 10


SOURCES = [*FILES, *sorted(file for file in PLUGINS.glob("*/gptalt_eval_plugin_*/**/*.py"))]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: "/".join(file.parts[-2:]))
def test_files_and_functions_are_short(file):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name
