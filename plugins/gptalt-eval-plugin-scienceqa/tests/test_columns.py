"""Which columns of the leaderboard a question counts in."""

import json
from collections import Counter

import pytest
from gptalt_eval_plugin_scienceqa.columns import TITLES, find_columns
from gptalt_eval_plugin_scienceqa.releases import read_release

#: by column, which questions of problems.json it has, as the release's evaluation says
RULES = {
    "NAT": lambda p: p.get("subject") == "natural science",
    "SOC": lambda p: p.get("subject") == "social science",
    "LAN": lambda p: p.get("subject") == "language science",
    "TXT": lambda p: p.get("hint", "") != "",
    "IMG": lambda p: p["image"] is not None,
    "NO": lambda p: p.get("hint", "") == "" and p["image"] is None,
    "G1-6": lambda p: p.get("grade") in [f"grade{n}" for n in range(1, 7)],
    "G7-12": lambda p: p.get("grade") in [f"grade{n}" for n in range(7, 13)],
}


def test_real_rows(shared_data):
    problems = json.loads((shared_data / "scienceqa/problems.json").read_text())
    listed = json.loads((shared_data / "scienceqa/pid_splits.json").read_text())["test"]
    counts = Counter()
    for row in read_release(shared_data / "scienceqa/problems.json", "test"):
        expected = {name for name, holds in RULES.items() if holds(problems[row["id"]])}
        assert set(find_columns(row)) == expected
        counts.update(expected)
    assert set(counts) == set(TITLES) == set(RULES), "every column has rows"
    stated = [name for name in listed if problems[name].get("subject")]
    assert counts["NAT"] + counts["SOC"] + counts["LAN"] == counts["G1-6"] + counts["G7-12"] == len(stated)
    assert (len(listed), len(stated)) == (800, 361), "the others say neither a subject nor a grade"


@pytest.mark.parametrize("row", [{"subject": "", "grade": ""}, {"subject": "art", "grade": "kindergarten"}])
def test_a_question_that_does_not_say_counts_in_fewer(row):
    assert find_columns({**row, "hint": "", "image": None}) == ("NO",)
    assert find_columns({**row, "hint": "x", "image": "y"}) == ("TXT", "IMG")
