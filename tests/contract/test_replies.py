"""What replies choose: a table in both languages, read by a person, and properties that hold for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.contract.replies import find_choice, find_text

ENGLISH = {"A": "Ibuprofen", "B": "Aspirin", "C": "Aspirin with clopidogrel", "D": "Warfarin", "E": "Heparin"}
CHINESE = {"A": "2小时", "B": "12小时内", "C": "24小时", "D": "B超检查", "E": "维生素B12"}
REPLIES = [
    # a letter alone, or first
    ("B", ENGLISH, "B"),
    ("B.", ENGLISH, "B"),
    (" (C)", ENGLISH, "C"),
    ("b", ENGLISH, "B"),
    ("d)", ENGLISH, "D"),
    ("D. Warfarin", ENGLISH, "D"),
    ("**E**", ENGLISH, "E"),
    ("A: because it is cheap", ENGLISH, "A"),
    ("Option C", ENGLISH, "C"),
    ("B, as it thins the blood.", ENGLISH, "B"),
    ("Ｃ", CHINESE, "C"),
    ("（Ｄ）", CHINESE, "D"),
    ("【B】", CHINESE, "B"),
    ("B．12小时内", CHINESE, "B"),
    ("A、2小时", CHINESE, "A"),
    ("选项C", CHINESE, "C"),
    ("C项", CHINESE, None),
    # stated
    ("The answer is B.", ENGLISH, "B"),
    ("The correct answer is (D) Warfarin.", ENGLISH, "D"),
    ("Answer: C", ENGLISH, "C"),
    ("answer: e", ENGLISH, "E"),
    ("The best answer is **A**.", ENGLISH, "A"),
    ("I would choose option B because it is safe.", ENGLISH, "B"),
    ("The correct option is D", ENGLISH, "D"),
    ("B is the correct answer.", ENGLISH, "B"),
    ("Both A and B are plausible, but the answer is A.", ENGLISH, "A"),
    ("At first the answer is B. On reflection, the answer is C.", ENGLISH, "C"),
    ("The final answer is $\\boxed{D}$.", ENGLISH, "D"),
    ("Therefore \\boxed{\\text{E}}", ENGLISH, "E"),
    ("<think>The answer is A? No.</think>The answer is B", ENGLISH, "B"),
    ("答案是B", CHINESE, "B"),
    ("答案：Ｂ", CHINESE, "B"),
    ("正确答案为（C）。", CHINESE, "C"),
    ("正確答案應為 D", CHINESE, "D"),
    ("选B", CHINESE, "B"),
    ("故选 C。", CHINESE, "C"),
    ("应选E项", CHINESE, "E"),
    ("我選擇A。", CHINESE, "A"),
    ("本题答案选【D】", CHINESE, "D"),
    ("B选项正确", CHINESE, "B"),
    ("A不正确，B正确。", CHINESE, "B"),
    ("不选A，选C。", CHINESE, "C"),
    ("答案是B，因为12小时内应报告。", CHINESE, "B"),
    # marked, or at the end
    ("Since the patient bleeds, the drug to stop is (D).", ENGLISH, "D"),
    ("Platelets are blocked by it.\nB", ENGLISH, "B"),
    ("患者需要检查，因此应当是「C」", CHINESE, "C"),
    # by the option's text
    ("Aspirin", ENGLISH, "B"),
    ("The answer is aspirin with clopidogrel.", ENGLISH, "C"),
    ("I think it is warfarin.", ENGLISH, "D"),
    ("应在24小时上报", CHINESE, "C"),
    ("答案是12小时内。", CHINESE, "B"),
    ("首选B超检查", CHINESE, "D"),
    ("缺乏的是维生素B12", CHINESE, "E"),
    # no answer
    ("", ENGLISH, None),
    ("I do not know.", ENGLISH, None),
    ("The answer is B or C.", ENGLISH, None),
    ("答案是A和C", CHINESE, None),
    ("Aspirin or warfarin would both do.", ENGLISH, None),
    ("A patient with this disease needs rest.", ENGLISH, None),
    ("the answer is a drug that thins the blood", ENGLISH, None),
    ("(A) and (B) are wrong, (C) may be right", ENGLISH, None),
    ("答案是AB", CHINESE, None),
    ("以上都不对", CHINESE, None),
    ("F", ENGLISH, None),
    ("缺乏维生素B", CHINESE, None),
]


@pytest.mark.parametrize(("reply", "options", "letter"), REPLIES, ids=[reply for reply, _, _ in REPLIES])
def test_replies(reply, options, letter):
    assert find_choice(reply, options) == letter


def test_the_table_is_large_enough():
    assert len(REPLIES) >= 60
    assert sum(options is CHINESE for _, options, _ in REPLIES) >= 25


DECISIONS = {word: word for word in ("yes", "no", "maybe")}


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("yes", "yes"),
        ("No.", "no"),
        ("Maybe, the groups were small.", "maybe"),
        ("Yes, there was no difference in harm.", "yes"),
        ("The answer is no.", "no"),
        ("In this study the answer is: maybe", "maybe"),
        ("The authors conclude that yes would be too strong, no too weak.", None),
        ("Nothing is known.", None),
        ("", None),
    ],
)
def test_words(reply, word):
    assert find_text(reply, DECISIONS) == word


@given(
    letter=st.sampled_from("ABCDE"),
    before=st.text(max_size=40),
    after=st.text(alphabet="。.\n ）)", max_size=5),
)
def test_what_is_stated_last_is_found_after_any_text(letter, before, after):
    assert find_choice(f"{before}\n答案是{letter}{after}", ENGLISH) == letter
    assert find_choice(f"{before}\nThe answer is {letter}{after}", CHINESE) == letter


@given(reply=st.text(alphabet="ABCDEabc()【】选答案是不 .:\n*小时12", max_size=60))
def test_any_reply_gives_one_of_the_letters_or_none(reply):
    assert find_choice(reply, CHINESE) in {None, *CHINESE}
