"""What the core says of plugins that are not installed is what they bring."""

import runpy
from pathlib import Path

from gptalt_eval.planning.known import FILE, KNOWN

FOLDER = Path(__file__).parents[1]


def test_it_is_up_to_date():
    script = runpy.run_path(str(FOLDER / "list_known.py"))
    cure = "Type: python plugins/list_known.py"

    assert FILE.read_text(encoding="utf-8") == script["render"](script["list_known"]()), cure


def test_only_plugins_that_exist_are_known():
    assert {f"gptalt-eval-plugin-{name}" for name in KNOWN} == {
        folder.name for folder in FOLDER.iterdir() if (folder / "pyproject.toml").is_file()
    }


def test_some_names():
    assert {"medqa_zh", "gptalt_science_gen"} <= set(KNOWN["medqa"].tasks)
    assert KNOWN["elo"].commands == ("answers", "elo", "judge", "votes")
    assert KNOWN["example"].models == ("shortest-option",)
