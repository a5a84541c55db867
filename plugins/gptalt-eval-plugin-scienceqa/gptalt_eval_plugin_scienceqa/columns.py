"""The columns of the dataset's leaderboard: subject, context, grade.

Source: the evaluation of the release, github.com/lupantech/ScienceQA (evaluate_acc.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: by column, in the leaderboard's order
TITLES = {
    "NAT": "natural science", "SOC": "social science", "LAN": "language science",
    "TXT": "with text in the context", "IMG": "with a picture", "NO": "without either",
    "G1-6": "grades 1 to 6", "G7-12": "grades 7 to 12",
}  # fmt: skip
SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
LAST_OF_LOWER = 6


def find_columns(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a question counts in; questions of partial releases may lack a subject or a grade."""
    found = [SUBJECTS[row["subject"]]] if row["subject"] in SUBJECTS else []
    has_text, has_picture = bool(row["hint"]), row["image"] is not None
    found += ["TXT"] if has_text else []
    found += ["IMG"] if has_picture else []
    found += [] if has_text or has_picture else ["NO"]
    grade = str(row["grade"]).removeprefix("grade")
    if grade.isdecimal():
        found.append("G1-6" if int(grade) <= LAST_OF_LOWER else "G7-12")
    return tuple(found)
