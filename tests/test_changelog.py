"""Change notes: each has a kind that towncrier knows and is short, and together they render."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gptalt_eval.machine.version import __version__

ROOT = Path(__file__).parents[1]
KINDS = ["Added", "Changed", "Fixed", "Removed"]
NOTES = sorted((ROOT / "changelog.d").glob("*.*.md"))


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.stem)
def test_a_note_is_short_and_of_a_known_kind(note):
    assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", note.name)
    text = note.read_text(encoding="utf-8").strip()
    assert text.endswith((".", "`")), "whole sentences"
    assert len(text) < 500, "one or two sentences; the rest belongs into docs/"
    assert text not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "released, and so to be deleted"


def test_the_next_release_shows_every_note():
    outcome = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft"], capture_output=True, text=True, cwd=ROOT
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.startswith(f"## {__version__}, ")
    assert outcome.stdout.count("\n- ") == len(NOTES)
    kinds = {note.suffixes[-2] for note in NOTES}
    headings = re.findall(r"^### (\w+)$", outcome.stdout, re.M)
    assert headings == [kind for kind in KINDS if f".{kind.lower()}" in kinds]
