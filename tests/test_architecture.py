"""docs/architecture.md: its drawing is that of the code as it is now, and the files it names exist."""

import ast
import itertools
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "draw_architecture.py"
PAGES = [ROOT / "docs" / "architecture.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]


def test_the_drawing_is_of_this_code():
    script = runpy.run_path(str(SCRIPT))
    drawn = script["DRAWING"].read_text(encoding="utf-8")
    assert drawn == script["draw"](), "the imports have changed: python docs/draw_architecture.py"


def test_arrows_point_down_and_what_follows_from_others_is_left_out():
    script = runpy.run_path(str(SCRIPT))
    graph = {"top": {"middle", "bottom"}, "middle": {"bottom"}, "bottom": set()}
    arrows = script["reduce_graph"](graph)
    assert arrows == {"top": {"middle"}, "middle": {"bottom"}, "bottom": set()}
    assert script["place_rooms"](arrows) == {"top": 0, "middle": 1, "bottom": 2}
    places = sorted(script["spread"]({"one": 0, "two": 10, "three": 5000}).values())
    assert all(right - left > script["BOX"] for left, right in itertools.pairwise(places))
    assert places[0] > script["BOX"] / 2 and places[-1] + script["BOX"] / 2 < script["WIDTH"]


def list_named_paths(page):
    """The paths in backquotes that begin with a folder of this project."""
    tops = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for path in re.findall(r"`([\w./-]+)`", page.read_text(encoding="utf-8")):
        if "/" in path and path.split("/")[0] in tops:
            yield path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_that_is_named_exists(page):
    named = list(list_named_paths(page))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)\)", page.read_text(encoding="utf-8"))
    assert targets or page.parent.name == "decisions"
    assert [target for target in targets if not (page.parent / target).exists()] == []


def read_table(heading):
    """The rows of the table below a heading, as lists of cells."""
    text = PAGES[0].read_text(encoding="utf-8").split(f"\n## {heading}")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_table_of_rooms_is_what_the_rooms_test_enforces():
    from test_rooms import PACKAGE, ROOMS

    rooms = {name for name in ROOMS if (PACKAGE / name).is_dir()}
    shown = {
        name.strip("`").removeprefix("gptalt_eval/"): set(below.split(", ")) - {"nothing"}
        for name, _, below in read_table("The ten rooms")
    }
    assert shown == {name: ROOMS[name] for name in rooms}


def test_the_five_questions_name_functions_of_their_files():
    answers = read_table("Where do I add")
    assert [question.split()[1].strip("?") for question, *_ in answers] == [
        "dataset", "flag", "metric", "model", "check",
    ]  # fmt: skip
    for question, files, function, tests in answers:
        sources = [ROOT / path for path in re.findall(r"`([\w./-]+\.py)`", files)]
        defined = {
            node.name
            for source in sources
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        }
        assert function.strip("`") in defined, question
        assert re.search(r"`tests/\S+`", tests), question
