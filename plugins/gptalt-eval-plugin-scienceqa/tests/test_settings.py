"""What metadata and flags can say, and what is said of other values."""

import pytest
from gptalt_eval_plugin_scienceqa.formats import FORMATS
from gptalt_eval_plugin_scienceqa.settings import Settings, read_settings

from gptalt_eval.contract.errors import GptaltError


def test_the_defaults():
    found = read_settings({"version": 1.0})
    assert found == Settings() and found.prompt_format == "QCM-A" and found.bad_rows == "refuse"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_chosen(name):
    assert read_settings({"prompt_format": name}).prompt_format == name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("use_caption", True, True), ("use_caption", "true", True), ("use_caption", "False", False),
        ("use_caption", None, False), ("shots", "per_question", "per_question"), ("bad_rows", "leave_out", "leave_out"),
        ("pictures", "one", "one"), ("subset", "img", "img"), ("shot_qids", "1,2", ("1", "2")),
        ("shot_qids", "2 1", ("2", "1")), ("shot_qids", [5, "6"], ("5", "6")), ("shot_qids", 3, ("3",)),
        ("shot_qids", "", ()), ("shot_qids", None, ()),
    ],
)  # fmt: skip
def test_values(name, value, expected):
    assert getattr(read_settings({name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("prompt_format", "qcm-ale", "Did you mean QCM-ALE"),
        ("prompt_format", "QCMA", "Did you mean QCM-A"),
        ("prompt_format", 3, "Possible: QCM-A"),
        ("shots", "per-question", "Did you mean per_question"),
        ("bad_rows", "leave out", "Did you mean leave_out"),
        ("bad_rows", "ignore", "Possible: refuse, leave_out"),
        ("pictures", "many", "Possible: one, several"),
        ("subset", "image", "Did you mean img"),
        ("use_caption", "yes", "It is true or false"),
        ("use_caption", 2, "It is true or false"),
        ("shot_qids", "4,5,4", "shot_qids has question 4 twice"),
    ],
)
def test_other_values_are_refused_with_the_nearest_right_one(name, value, said):
    with pytest.raises(GptaltError, match=said) as caught:
        read_settings({name: value})
    assert name in str(caught.value)
