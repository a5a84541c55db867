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


# ---------------------------------------------------------------- every word of the patterns, in both languages

IS = (
    "is", "was", "would be", "should be", "must be", "be", ":", "=", "应该是", "應該是", "应该选", "應該選", "应是", "應是",
    "应为", "應為", "应选", "應選", "是", "为", "為", "选", "選",
)  # fmt: skip
RIGHT = ("correct", "right", "best", "most likely", "most appropriate")
RIGHT_CHINESE = ("正确", "正確", "对的", "對的")
VERBS = ("choose", "pick", "select", "go with")
VERBS_CHINESE = ("选择", "選擇", "选", "選")

# each reply chooses B, and says so in this way only
STATED = [
    *(f"To my mind the answer {word} B then" for word in IS if word.isascii()),
    *(f"本题答案{word}B吧" for word in IS if not word.isascii()),
    *(f"To my mind the {kind} is B then" for kind in ("option", "choice", "letter", "one")),
    *(f"所以{kind}是B呢" for kind in ("选项", "選項", "正确的", "正確的")),
    *(f"So I {verb} B here" for verb in VERBS),
    *(f"所以{verb}B,如上" for verb in VERBS_CHINESE),
    *(f"So I {verb}: B here" for verb in VERBS),
    *(f"The answer {to} is B then" for to in ("here", "to this question", "to the question")),
    *(f"So I choose the {right} option B here" for right in RIGHT),
    *(f"So I choose {right} B here" for right in RIGHT),
    *(f"所以选择{right}选项B,如上" for right in RIGHT_CHINESE),
    *(f"所以选择{kind}B,如上" for kind in ("选项", "選項")),
    *(f"So I choose {kind} B here" for kind in ("option", "choice", "letter")),
    *(f"Of these B is the {right} one" for right in RIGHT),
    *(f"Of these B is {right} here" for right in RIGHT),
    *(f"其中B{right}呢" for right in RIGHT_CHINESE),
    *(f"其中B{what}正确呢" for what in ("项", "項", "选项", "選項", "是", "为", "為", "项是", "選項為")),
    "To my mind the option: B then",
    "所以选项:B呢",
    "So of the knot choose B here",
    "So whenever choose B here",
    "The answer B then",
    "The answer: B then",
    "THE ANSWER IS B THEN",
    "The answer is:B then",
    "The answer is \"B\" then",
    "The answer is “B” then",
    "The answer is 'B' then",
    "The answer is `B` then",
    "The answer is __B__ then",
    "The answer is $B$ then",
    "The answer is **(B)** then",
    "The answer is <B> then",
    "The answer is {B} then",
    "The answer is [B] then",
    "答案是〔B〕呢",
    "答案是『B』呢",
    "答案是「B」呢",
    "The answer is\nB then",
    "The answer is b) then",
    "The answer is b",
    "Not A, but the answer is B then",
    "所以选B项,如上",
    "所以选B項,如上",
    "所以选B因为好",
    "所以选B是对",
]  # fmt: skip
BEGUN = [
    *(f"{kind} B, as I said" for kind in ("Option", "Choice", "Letter", "option", "选项", "選項")),
    *(f"B{mark} as I said" for mark in (".", ":", ")", ",", ";", "、", "*", "]", "】", "」", " .", "\n")),
    *(f"b{mark} as I said" for mark in (")", "]", ".", ":", ",", "。", "】", "」")),
    "B。因为见效快",
    "b) I think so",
    "(B) I think so",
    "**B** I think so",
    "**Option B**",
    "(Option (B))",
    " \n B \n",
    "B)",
    "B。",
    "> B, I think".removeprefix("> "),
]
MARKED = [
    *(
        f"I like {opening}B{closing} more"
        for opening, closing in ("()", "[]", "（）", "【】", "〔〕", "「」", "『』")
    ),
    "I like ( B ) more",
    "I like **B** more",
    "I like ** B ** more",
    "I like **B.** more",
    "I like **B: that one** more",
    "I like **B) that one** more",
    "I like **B . that one** more",
]
BOXED = [
    f"So A) or C) it is not: {boxed} here"
    for boxed in (r"\boxed{B}", r"\boxed {B}", r"\boxed{ (B) }", r"\boxed{\text{B}}", r"\boxed{\textbf{B}}", r"\boxed{\text {(B)}}")
]  # fmt: skip
CLOSED = [
    "It thins the blood.\nB",
    "It thins the blood.\n(B)",
    "It thins the blood.\n **B** ",
    "It thins the blood.\nb",
    'It thins the blood.\n"B "',
    "它止血。\n「B」。",
]


@pytest.mark.parametrize("reply", [*STATED, *BEGUN, *MARKED, *BOXED, *CLOSED])
def test_each_way_to_choose_b(reply):
    assert find_choice(reply, CHINESE) == "B"
    assert find_choice(f"{reply}", ENGLISH) == "B"


@pytest.mark.parametrize(
    "reply",
    [
        # B is not chosen, and nothing else is
        *(f"I would {no} {verb} B here" for no in ("not", "never") for verb in VERBS),
        *(f"I don't {verb} B here" for verb in VERBS),
        *(f"I decided not to {verb} B here" for verb in VERBS),
        *(f"这题{no}{verb}B,如上" for no in "不非别別勿" for verb in ("选", "選")),
        # two at once
        *(f"The answer is A{joined}C then" for joined in (" and ", " or ", ", ", "/", " & ", " + ", " AND ", " and option ")),
        *(f"本题答案是A{joined}C呢" for joined in "、，和与與或及"),
        *(f"**A**{joined}**C** it is" for joined in (" and ", " or ")),
        *(f"A{joined}C" for joined in (" and ", " or ", "、", "和", "/")),
        "The answer is B/C.",
        "The answer is (A) or (C) then",
        "(A) or (C)",
        "**A**, **B** or **C** it is",
        *(f"I cannot {verb} B here" for verb in VERBS),
        # a word that states an answer, within another
        *(f"To my mind {word} is B then" for word in ("none", "adoption", "rechoice", "newsletter")),
        *(f"To my mind I {word} B then" for word in ("rechoose", "handpick", "deselect", "forgo with")),
        "To my mind a reanswer B then",
        # a letter that is a word, or stands in one
        "The answer is a drug",
        "A patient would die",
        "I like a and b too",
        "e coli grows here",
        "Because it bleeds:\nA patient would die",
        "The answer is AB then",
        "The answer is B12 then",
        "所以选B超吧",
        "所以选择C反应蛋白,如上",
        "Of these b is correct here",
        "I like (b) more",
        # marks that stand somewhere else
        "The dose is \\boxed{12}, and I like B more",
        "I like (very much) B) more",
        "I **like it** so B) more",
        "I like **B more",
        "I like (B more) here",
        "The answer is a drug, I think",
        "A patient needs rest, I say",
        # a letter that is no option
        "The answer is X then",
        "I like (B more",
        "I like B) more",
        "It thins the blood. B",
        "It thins the blood.\nand B",
        "I like B",
        "A" * 40 + " " + "x" * 40 + " B) more",
    ],
)  # fmt: skip
def test_no_option_is_chosen(reply):
    options = {letter: f"option {letter} in full" for letter in "ABCDE"}
    assert find_choice(reply, options) is None


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        # what is stated goes before what stands in a box, that before what comes first, and so on
        ("Answer: B, not \\boxed{C}", "B"),
        ("A) is it. No: \\boxed{C}", "C"),
        ("C. It is not (D)", "C"),
        ("I like (D) more.\nC", "D"),
        # the last of what is stated counts
        ("The answer is B. I mean: the answer is D then", "D"),
        ("答案是B。不,答案是D呢", "D"),
        ("The answer is warfarin. No, the answer is B then", "B"),
        ("The answer is B. No, the answer is warfarin then", "D"),
        ("Vitamin A and (C) it is", "C"),
        ("A or B? I like (C) more", "C"),
        ("A, B? I like (C) more", "C"),
        ("The answer is A and X then", "A"),
        # two that stand alike cancel each other
        ("I like (B) and also (C) more", None),
        ("\\boxed{B} or maybe \\boxed{C}", None),
        ("I like (B), really (B) more", "B"),
        # what follows far away is not joined
        ("The answer is B, which stands far from all that is said or C", "B"),
        ("<think>The answer is A.</think>No: the answer is B then", "B"),
        ("<think>a</think>The answer is A.</think>I like (C) more", "C"),
    ],
)
def test_which_letter_counts(reply, letter):
    assert find_choice(reply, ENGLISH) == letter


def test_options_of_one_letter_are_not_taken_for_letters():
    assert find_choice("The answer is A then", {"A": "b", "B": "a"}) == "A"


def test_a_letter_counts_as_first_within_sixty_characters():
    assert find_choice("'" * 60 + "B) it is", {"A": "", "B": ""}) == "B"
    assert find_choice("'" * 61 + "B) it is", {"A": "", "B": ""}) is None


@pytest.mark.parametrize(
    ("reply", "options", "letter"),
    [
        ("I would give aspirin with clopidogrel today", ENGLISH, "C"),
        ("We do not choose warfarin; aspirin it is", ENGLISH, "B"),
        ("We do not choose warfarin; we choose aspirin", ENGLISH, "B"),
        ("I choose aspirin with clopidogrel, not aspirin", ENGLISH, "C"),
        ("I choose heparin. No, I choose warfarin today", ENGLISH, "D"),
        ("Heparin. Or was it warfarin?", ENGLISH, "E"),
        ("heparin，对的。华法林(warfarin)不行", ENGLISH, "E"),
        ("Aspirin with clopidogrel: yes. Heparin: no", ENGLISH, "C"),
        ("Give heparinoids and warfarin", ENGLISH, "D"),
        ("Give preheparin", ENGLISH, None),
        ("Give HEPARIN today", ENGLISH, "E"),
        ("I choose HEPARIN today", ENGLISH, "E"),
        ("应在12小时内上报", CHINESE, "B"),
        ("应在2小时上报", CHINESE, "A"),
        ("应在112小时内上报", CHINESE, None),
        ("缺乏的是维生素B12吗", CHINESE, "E"),
        ("缺乏的是维生素B123", CHINESE, None),
        ("选B超检查,如上", CHINESE, "D"),
        ("24小时。而不是2小时", CHINESE, "C"),
        ("24小时,而不是2小时", CHINESE, "C"),
        ("24小时、2小时都行", CHINESE, "C"),
        ("24小时 2小时都行", CHINESE, None),
        # of options that begin alike, the longest that fits
        (
            "I choose aspirin with clopidogrel, not aspirin",
            {"A": "aspirin with clopidogrel", "B": "aspirin"},
            "A",
        ),
        ("Aspirin, clopidogrel", {"A": "aspirin, clopidogrel", "B": "aspirin"}, "A"),
        ("Aspirin, clopidogrel", {"A": "aspirin", "B": "aspirin, clopidogrel"}, "B"),
        ("考虑急性肺炎可能", {"A": "肺炎", "B": "急性肺炎"}, "B"),
        ("有头痛发热", {"A": "头痛发", "B": "发热"}, None),
        ("缺乏维生素B族2种", {"A": "维生素B族", "B": "x"}, "A"),
        ("缺乏维生素B1,对吗", {"A": "维生素B", "B": "x"}, None),
        ("I think aspirin it is", {"A": " Aspirin. ", "B": "warfarin。"}, "A"),
        ("所以选肺炎,不是流感", {"A": "肺炎", "B": "流感"}, "A"),
        # an option without a text, or with one letter, is not found by it
        ("I do not know", {"A": "", "B": "o"}, None),
        ("I choose o today", {"A": "x", "B": "o"}, "B"),
        ("one two", {"A": "one", "B": "two", "C": ""}, None),
        ("It is two", {"A": "one", "B": "two", "C": ""}, "B"),
    ],
)
def test_options_by_their_text(reply, options, letter):
    assert find_text(reply, options) == letter


@pytest.mark.parametrize("reply", ["One might say yes, another no.", "Nothing, noone", "Yesterday", "yes no"])
def test_a_word_within_or_beside_others_decides_nothing(reply):
    assert find_text(reply, DECISIONS) is None


# ---------------------------------------------------------------- a denial is no choice

DRUGS = {"A": "ibuprofen", "B": "aspirin", "C": "clopidogrel", "D": "warfarin"}
HOURS = {"A": "2小时", "B": "12小时内", "C": "24小时", "D": "维生素B12"}
HOURS_TRADITIONAL = {"A": "2小時", "B": "12小時內", "C": "24小時", "D": "維生素B12"}
# each denial beside a reply that reads alike and chooses
DENIALS = [
    (DRUGS, "The answer is not aspirin", "The answer is aspirin", "B"),
    (DRUGS, "The answer isn't aspirin.", "The answer is aspirin.", "B"),
    (DRUGS, "It is not warfarin.", "It is warfarin.", "D"),
    (DRUGS, "It is not (B) here", "It is (B) here", "B"),
    (DRUGS, "It is not **B** here", "It is **B** here", "B"),
    (DRUGS, "I think it is definitely not (C)", "I think it is definitely (C)", "C"),
    (DRUGS, "This cannot be the option (B) here", "This can be the option (B) here", "B"),
    (DRUGS, "The answer is definitely not B", "The answer is B", "B"),
    (DRUGS, "Aspirin is not the answer.", "Aspirin is the answer.", "B"),
    (DRUGS, "Aspirin is wrong.", "Aspirin is right.", "B"),
    (DRUGS, "Aspirin: wrong", "Aspirin: right", "B"),
    (DRUGS, "B) is wrong", "B) is right", "B"),
    (DRUGS, "(B) is incorrect", "(B) is correct", "B"),
    (DRUGS, "B is not the correct answer.", "B is the correct answer.", "B"),
    (DRUGS, "Option B is incorrect.", "Option B is correct.", "B"),
    (DRUGS, "We can rule out aspirin", "We can give aspirin", "B"),
    (DRUGS, "Anything other than warfarin", "Nothing but warfarin", "D"),
    (DRUGS, "Neither aspirin nor warfarin", "Either way aspirin", "B"),
    (DRUGS, "Warfarin would not be appropriate here", "Warfarin would be appropriate here", "D"),
    (DRUGS, "Do not choose B here", "Do choose B here", "B"),
    (DRUGS, "I would never pick (B) here", "I would pick (B) here", "B"),
    (HOURS, "不选24小时", "选24小时", "C"),
    (HOURS, "答案不是B", "答案是B", "B"),
    (HOURS, "本题不是24小时。", "本题是24小时。", "C"),
    (HOURS, "不应该选B", "应该选B", "B"),
    (HOURS, "不能选择C。", "能选择C。", "C"),
    (HOURS, "我认为并非(C)吧", "我认为是(C)吧", "C"),
    (HOURS, "24小时不对", "24小时对", "C"),
    (HOURS, "24小时是错误的", "24小时是正确的", "C"),
    (HOURS, "C项不正确", "C项正确", "C"),
    (HOURS, "首先排除24小时", "首先考虑24小时", "C"),
    (HOURS, "【B】错误", "【B】正确", "B"),
    (HOURS, "B不是正确答案", "B是正确答案", "B"),
    (HOURS_TRADITIONAL, "不選24小時", "選24小時", "C"),
    (HOURS_TRADITIONAL, "答案不應該是B", "答案應該是B", "B"),
    (HOURS_TRADITIONAL, "並非24小時", "正是24小時", "C"),
    (HOURS_TRADITIONAL, "24小時不對", "24小時對", "C"),
    (HOURS_TRADITIONAL, "B選項不正確", "B選項正確", "B"),
    (HOURS_TRADITIONAL, "【B】錯誤", "【B】正確", "B"),
    (HOURS_TRADITIONAL, "首先排除24小時", "首先考慮24小時", "C"),
]


@pytest.mark.parametrize(("options", "denial", "choice", "letter"), DENIALS, ids=[row[1] for row in DENIALS])
def test_a_denial_is_no_choice(options, denial, choice, letter):
    assert find_choice(denial, options) is None
    assert find_choice(choice, options) == letter


@pytest.mark.parametrize(
    ("reply", "options", "letter"),
    [
        ("It is not warfarin but aspirin", DRUGS, "B"),
        ("Aspirin rather than warfarin", DRUGS, "B"),
        ("Unlike warfarin, aspirin may be given", DRUGS, "B"),
        ("(A) is wrong, (C) is what I take", DRUGS, "C"),
        ("The answer is B, not A.", DRUGS, "B"),
        ("Not only aspirin", DRUGS, "B"),
        ("It is not clear, but I take (B) here", DRUGS, "B"),
        ("Warfarin does not cross over", DRUGS, "D"),
        ("不选A，选C。", HOURS, "C"),
        ("不是24小时，而是12小时内", HOURS, "B"),
        ("应为12小时内而不是24小时", HOURS, "B"),
        ("不得不选B", HOURS, "B"),
        ("不仅24小时", HOURS, "C"),
        ("不良反应见于24小时", HOURS, "C"),
        ("不選A，選C。", HOURS_TRADITIONAL, "C"),
        ("應為12小時內而非24小時", HOURS_TRADITIONAL, "B"),
        # the word that means "option" begins with the one that means "choose"
        ("答案选项B", HOURS, "B"),
        ("答案選項B", HOURS_TRADITIONAL, "B"),
        ("本题答案选项为B", HOURS, "B"),
        ("所以选项B", HOURS, None),
    ],
)
def test_what_is_left_after_a_denial_counts(reply, options, letter):
    assert find_choice(reply, options) == letter


@given(
    option=st.sampled_from("ABCD"), not_=st.sampled_from(("不是", "不选", "并非", "不能选", "不選", "並非"))
)
def test_no_denied_letter_is_ever_chosen(option, not_):
    assert find_choice(f"这道题{not_}{option}", HOURS) is None
    assert find_choice(f"这道题{not_}{HOURS[option]}", HOURS) is None


# each word by which an option is ruled out, before it or after it; aspirin is the only option named
MAY = ("", "能", "应该", "應該", "应", "應", "该", "該", "可以", "可", "要", "会", "會", "建议", "建議")
RULED_OUT = [
    *(f"Give {word} aspirin today" for word in ("not", "never", "neither this nor", "neither")),
    *(f"One {word} take aspirin today" for word in ("cannot", "can't", "should not", "would never")),
    *(
        f"It may not {word} aspirin today"
        for word in (
            "be", "been", "quite", "really", "simply", "actually", "necessarily", "likely", "for", "choose", "pick", "select",
            "go with", "take", "give", "say", "recommend", "really be", "be quite",
        )
    ),
    *(
        f"We {word} aspirin today"
        for word in (
            "rule out", "ruled out", "exclude", "excluded", "eliminate", "eliminated", "take all except", "take all except for",
            "do this rather than", "do this instead of", "do all other than", "are unlike",
        )
    ),
    *(f"He {word} aspirin today" for word in ("rules out", "excludes", "eliminates")),
    *(f"This is {word} aspirin today" for word in ("ruling out", "excluding", "eliminating")),
    *(f"It is not {word} aspirin today" for word in ("the", "a", "an", "answer", "the right", "correct", "best", "the option", "choice")),
    *(f"今天{no}{may}aspirin吧" for no in ("不", "非", "并非", "並非", "别", "別", "勿") for may in MAY),
    *(f"今天不{word}aspirin吧" for word in ("是", "为", "為", "选择", "選擇", "选", "選", "属于", "屬於", "考虑", "考慮")),
    *(f"今天{word}aspirin吧" for word in ("排除", "除了", "除外", "否定")),
    *(
        f"Aspirin {is_} not right today"
        for is_ in ("is", "are", "was", "were", "would be", "could", "should", "must", "can", "may", "does", "may be")
    ),
    *(f"Aspirin {word} be right today" for word in ("cannot", "can't", "can’t", "wouldn't", "wouldn’t")),
    "It isn’t aspirin",
    *(
        f"Aspirin is not {word}"
        for word in (
            "right", "correct", "the answer", "the best", "a choice", "an option", "it", "the one", "appropriate", "true", "likely",
            "suitable", "possible", "chosen", "very likely", "quite right", ", I say", "; I say", "! I say",
        )
    ),
    *(
        f"Aspirin {is_} wrong today"
        for is_ in (":", "is", "are", "was", "were", "seem", "seems", "look", "looks", "can be", "may be", "must be", "should be", "would be",
                    "is clearly", "is also", "is probably")
    ),
    *(
        f"Aspirin is {word} today"
        for word in ("wrong", "incorrect", "false", "untrue", "unlikely", "inappropriate", "ruled out", "excluded", "eliminated")
    ),
    *(f"Aspirin {may} be right today" for may in ("may", "might", "could", "may also")),
    *(f"用aspirin{how}不对吧" for how in ("", "是", "则", "則", "显然", "顯然", "明显", "明顯", "也", "都", "均", "项", "項", "选项", "選項", "选项也都")),
    *(f"用aspirin{word}吧" for word in (
        "不是", "不对", "不對", "不正确", "不正確", "不选", "不選", "不行", "不符", "不成立", "不适", "不適", "不妥", "不合理", "不能选", "不应该选",
        "并非", "並非", "错误", "錯誤", "错", "錯", "有误", "有誤", "排除", "被排除", "除外",
    )),
]  # fmt: skip


@pytest.mark.parametrize("reply", RULED_OUT)
def test_each_way_to_rule_an_option_out(reply):
    assert find_text(reply, DRUGS) is None
    assert find_choice(reply, DRUGS) is None


@pytest.mark.parametrize(
    "reply",
    [
        "Give not only aspirin today", "Give aspirin today, not that", "Note: aspirin today", "Nothing but aspirin today", "The knot: aspirin",
        "Aspirin is not only right", "Aspirin is not what they expect", "Aspirin is not the wrong one", "Aspirin is right", "Aspirin is falsely blamed",
        "Aspirin may be given", "今天不仅aspirin吧", "今天不僅aspirin吧", "今天不只aspirin吧", "今天不但aspirin吧", "今天不良aspirin吧", "今天不同aspirin吧",
        "今天除非aspirin吧", "今天不得不aspirin吧", "用aspirin不良吧", "用aspirin也对吧", "The rules outline aspirin today", "He is exceptional: aspirin today",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_denial(reply):
    assert find_text(reply, DRUGS) == "B"


@pytest.mark.parametrize(
    ("reply", "options", "letter"),
    [
        ("It isn't warfarin or clopidogrel", DRUGS, None),
        ("It isn't warfarin or clopidogrel; it is aspirin", DRUGS, "B"),
        ("It is not A or B, so (C) it is", DRUGS, "C"),
        ("Is A correct? No.", DRUGS, None),
        ("A is correct.", DRUGS, "A"),
        ("The answer is A? No, it is (B) here.", DRUGS, "B"),
        ("I disagree that the answer is A here", DRUGS, None),
        ("It is false that the answer is A here", DRUGS, None),
        ("I think the answer is A here", DRUGS, "A"),
        ("If the answer is A then the dose is wrong", DRUGS, None),
        ("FALSE\n答案是A", DRUGS, "A"),
        ("Some do not\nI pick B here", DRUGS, "B"),
        ("My colleague says\nthe answer is C here", DRUGS, "C"),
        ("Everyone says the answer is A, but the answer is B", DRUGS, "B"),
        ("没选A，如上", HOURS, None),
        ("未选A，如上", HOURS, None),
        ("没有选A，如上", HOURS, None),
        ("没有理由选A，如上", HOURS, None),
        ("沒有選A，如上", HOURS_TRADITIONAL, None),
        ("不是A或B，选C", HOURS, "C"),
        ("不是2小时或24小时", HOURS, None),
        ("如果答案是A，如上", HOURS, None),
    ],
)
def test_what_is_doubted_or_asked_is_not_chosen(reply, options, letter):
    assert find_choice(reply, options) == letter


STONES = {"A": "granite rock", "B": "sand stone", "C": "chalk"}


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("granite rock, sand stone", None),
        ("sand stone; chalk", None),
        ("granite rock、chalk", None),
        ("granite rock / sand stone", None),
        ("granite rock or sand stone?", None),
        ("Would it be chalk or the granite rock after all?", None),
        ("granite rock, which is hard", "A"),
        ("granite rock. Is it hard?", "A"),
        ("Hard? It is the granite rock.", "A"),
        ("sand stone\nOr what else?", "B"),
    ],
)
def test_a_list_or_a_question_chooses_none_of_its_options(reply, choice):
    assert find_choice(reply, STONES) == choice
