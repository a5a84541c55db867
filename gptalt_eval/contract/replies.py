"""Finds the option that a free-text reply to a multiple-choice question chooses, in English or Chinese.

A reply may state its answer ("The answer is (B)", "答案是B", "故选 B"), begin with it ("B. aspirin"), mark it
("**B**", "【B】"), end with it, or contain the option's text. If it is ambiguous or chooses nothing, there is
no answer: nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

OPENING = r"[(\[{<【〔「『*_`\"'“‘$\s]*"
CLOSING = r"[)\]}>】〕」』*_`\"'”’$]*"
IS = (
    r"(?:is|was|would\s+be|should\s+be|must\s+be|be|应该是|應該是|应该选|應該選|应是|應是|应为|應為|应选|應選"
    r"|是|为|為|选(?!项)|選(?!項)|:|=)"
)
RIGHT = r"(?:the\s+)?(?:correct|right|best|most\s+(?:likely|appropriate)|正确|正確|对的|對的)"
KIND = r"(?:\boption|\bchoice|\bletter|选项|選項)"
# text before a stated answer
STATES = re.compile(
    rf"(?:(?:\banswer|答案)(?:\s+(?:here|to\s+(?:this|the)\s+question))?\s*{IS}?\s*:?"
    rf"|(?:{KIND}|\bone|正确的|正確的)\s*{IS}"
    rf"|(?P<verb>\bchoose|\bpick|\bselect|\bgo\s+with|选择|選擇|选(?!项)|選(?!項))\s*:?)"
    rf"\s*(?:{RIGHT}\s*)?(?:{KIND}\s*{IS}?\s*)?:?{OPENING}",
    re.IGNORECASE,
)
STATED_AFTER = re.compile(
    rf"{CLOSING}\s*(?:项|項|选项|選項)?\s*(?:is|是|为|為)?\s*{RIGHT}(?!\s*\?)", re.IGNORECASE
)
NOT = r"(?:\bnot(?!\s+only\b)|n't|\bcannot|\bnever|\bneither|\bnor)"
NOT_CHINESE = r"(?:(?<!不得)不(?![仅僅只但良同])|(?<!除)非|并非|並非|别|別|勿|没有?|沒有?|未)"
MAY = r"(?:能|应该|應該|应|應|该|該|可以|可|要|会|會|建议|建議)"
# text before a statement that negates it or leaves it open: "do not pick", "不应选", "I doubt that the"
OPEN = (
    r"\b(?:disagree|false|untrue|wrong|doubt|den(?:y|ies|ied)|unless|if|whether|suppose"
    r"|assum(?:e|es|ing)|says)"
)
# on the same line: what stands on its own line above is not part of the statement
DENIED = re.compile(
    rf"(?:{NOT} *(?:to +)?|{NOT_CHINESE} *(?:{MAY}|理由|必要)? *|如果|假如|若"
    rf"|{OPEN} +(?:that +)?(?:the +)?(?:{RIGHT} +)?)\Z",
    re.IGNORECASE,
)
# text before an option that is ruled out: "it is not the (", "而不是"
DENIED_BEFORE = re.compile(
    rf"(?:{NOT}(?:\s+(?:be|been|quite|really|simply|actually|necessarily|likely|for"
    r"|choose|pick|select|go\s+with|take|give|say|recommend))*"
    r"|\b(?:rul(?:e|es|ed|ing)\s+out|exclud(?:e|es|ed|ing)|eliminat(?:e|es|ed|ing)|except(?:\s+for)?"
    r"|rather\s+than|instead\s+of|other\s+than|unlike)"
    rf"|{NOT_CHINESE}\s*{MAY}?\s*(?:是|为|為|选择|選擇|选|選|属于|屬於|考虑|考慮)?|排除|除了|除外|否定)"
    # "not A or B" rules out both
    r"(?:\s*[^.,;:!?、。，；\n]{1,40}?(?:\s(?:or|nor)\s|或者?|和|与|與))?"
    rf"\s*(?:(?:the|an?|answer|right|correct|best|{KIND})\s+|{KIND})*{OPENING}\Z",
    re.IGNORECASE,
)
# text after it: "is not right", "is wrong", "不对"; or that leaves it open: "may be right"
DENIED_AFTER = re.compile(
    rf"{CLOSING}\s*(?:(?:[项項]|选项|選項)\s*)?(?:\?|"
    r"(?:(?:is|are|was|were|would|could|should|must|can|may|does)(?:\s+be)?(?:\s+not\b(?!\s+only\b)|n't)"
    r"|cannot|can't)(?:\s+be)?"
    r"\s*(?:(?:the|an?|very|quite)\s+)?"
    r"(?:right|correct|answer|best|choice|option|it\b|one\b|appropriate|true|likely|suitable|possible|chosen|[.,;!]|\Z)"
    r"|:?\s*(?:(?:is|are|was|were|seems?|looks?|(?:can|may|must|should|would)\s+be)\s+)?(?:clearly\s+|also\s+|probably\s+)?"
    r"(?:wrong|incorrect|false|untrue|unlikely|inappropriate|ruled\s+out|excluded|eliminated)\b"
    rf"|(?:may|might|could)\s+(?:also\s+)?be\s+{RIGHT}"
    rf"|:?\s*(?:是|则|則|显然|顯然|明显|明顯|也|都|均)*\s*(?:不{MAY}?(?:是|对|對|正确|正確|选|選|行|符|成立|适|適|妥|合理)"
    r"|并非|並非|错误|錯誤|错|錯|有误|有誤|被?排除|除外))",
    re.IGNORECASE,
)
JOINED = re.compile(
    rf"{CLOSING}\s*(?:、|,|/|&|\+|和|与|與|或|及|\band\b|\bor\b)\s*{OPENING}(?:{KIND}\s*)?\Z", re.IGNORECASE
)
BOXED = re.compile(r"\\boxed\s*\{\s*(?:\\text\w*\s*\{)?\s*\(?\Z")
BRACKETED = re.compile(r"[(\[【〔「『]\s*\Z"), re.compile(r"\s*[)\]】〕」』]")
STRESSED = re.compile(r"\*\*\s*\Z"), re.compile(r"\s*[.:)]?\s*\*\*|\s*[.:)]")
BEGINS = re.compile(rf"\A{OPENING}(?:{KIND}\s*)?{OPENING}\Z", re.IGNORECASE)
ENDS = re.compile(rf"\s*{CLOSING}[.。]?\s*\Z")
LAST_LINE = re.compile(rf"\n{OPENING}\Z")
ASKED = re.compile(r"[^.!;:。\n]*\?")  # the rest of a sentence that asks: "granite or sandstone?"
NEAR = 60  # how many characters before a letter are examined


def find_choice(reply: str, options: Mapping[str, str]) -> str | None:
    """The option that a reply chooses.

    Args:
        reply: the model's reply.
        options: letter -> the option's text.

    Returns:
        its letter; None if the reply chooses no option, or more than one.
    """
    text = normalise(reply)
    stated = [*find_stated_texts(text, options)]
    kinds: dict[str, list[str]] = {"boxed": [], "leading": [], "marked": [], "closing": []}
    begun: list[str] = []  # "(A) or (C)" begins with both
    for match in re.finditer(rf"(?<![A-Za-z0-9])[{''.join(options)}](?![A-Za-z0-9])", text, re.IGNORECASE):
        kind, joined = judge_letter(text, match), is_joined(text, match, options)
        letter = match[0].upper()
        if kind == "stated":
            stated.append((match.start(), "" if joined else letter))
        elif kind == "leading" and joined:
            begun.append(letter)
        else:
            kinds.get(kind, []).extend([*begun, letter])
            begun = []
    if stated:
        return max(stated)[1] or None
    for letters in kinds.values():
        if len(set(letters)) == 1:
            return letters[0]
    return find_text(reply, options)


def judge_letter(text: str, match: re.Match[str]) -> str:
    """How a letter appears in a reply: ``stated``, ``boxed``, ``leading``, ``marked``, ``closing``, or ""."""
    before, after = text[max(0, match.start() - NEAR) : match.start()], text[match.end() :]
    is_capital = match[0].isupper()
    ends = ENDS.match(after) is not None
    if BOXED.search(before):
        return "boxed"
    if not is_capital and not ends and not re.match(r"\s*[)\].:,。】」]", after):
        return ""  # "a type of", "e coli"
    if is_denied(text, *match.span()):
        return ""
    for states in STATES.finditer(before):
        follows = states.end() == len(before)
        cut_short = states["verb"] and re.match(rf"{CLOSING}[\u4e00-\u9fff](?<![项項因是])", after)
        if follows and not cut_short and not DENIED.search(before[: states.start()]):
            return "stated"
    if STATED_AFTER.match(after) and is_capital:
        return "stated"
    if (
        match.start() <= NEAR
        and BEGINS.match(before)
        and (ends or re.match(rf"{CLOSING}\s*[.:),;、。\n*\]】」]", after))
    ):
        return "leading"
    for opening, closing in (BRACKETED, STRESSED):
        if is_capital and opening.search(before) and closing.match(after):
            return "marked"
    return "closing" if ends and LAST_LINE.search(before) else ""


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether an option, by letter or by text, is ruled out: "not B", "B is wrong", "B不对"."""
    before = text[max(0, start - NEAR) : start]
    return DENIED_BEFORE.search(before) is not None or DENIED_AFTER.match(text, end) is not None


def is_joined(text: str, match: re.Match[str], options: Mapping[str, str]) -> bool:
    """Whether another letter follows as an alternative: "B or C"."""
    return any(
        JOINED.fullmatch(text[match.end() : other.start()])
        for other in re.finditer(rf"[{''.join(options)}](?![A-Za-z0-9])", text[: match.end() + 20])
        if other.start() > match.start()
    )


def find_stated_texts(text: str, options: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Where a reply states an option by its text: (place, letter). "B超" after "选" is not a letter."""
    texts = {letter: normalise(option) for letter, option in options.items()}
    for states in STATES.finditer(text):
        if DENIED.search(text[: states.start()]):
            continue
        rest = text[states.end() :].casefold()
        fitting = [
            letter
            for letter in texts
            if len(texts[letter]) > 1 and begins_with(rest, texts[letter].casefold())
        ]
        chosen = max(fitting, key=lambda letter: len(texts[letter]), default=None)
        if chosen and not is_denied(text, states.end(), states.end() + len(texts[chosen])):
            yield states.end(), chosen


def begins_with(text: str, option: str) -> bool:
    return text.startswith(option) and not breaks_word(text, 0, len(option))


def find_text(reply: str, options: Mapping[str, str]) -> str | None:
    """The option whose text a reply states, begins with, or contains as the only one.

    Args, Returns:
        see ``find_choice``.
    """
    text = normalise(reply)
    stated = [*find_stated_texts(text, options)]
    if stated:
        return max(stated)[1]
    text = text.casefold()
    texts = {letter: normalise(option).casefold() for letter, option in options.items() if normalise(option)}
    first = [
        letter
        for letter, option in texts.items()
        if re.match(re.escape(option) + r"\s*(?:\Z|[.,:;。、\n])", text)
        and not is_denied(text, 0, len(option))
        and not lists_another(text[len(option) :], texts)
    ]
    if first:
        return max(first, key=lambda letter: len(texts[letter]))
    spans = {
        letter: [
            found.span()
            for found in re.finditer(re.escape(option), text)
            if not breaks_word(text, *found.span())
        ]
        for letter, option in texts.items()
    }
    every = [span for found in spans.values() for span in found]
    # "4小时" in "24小时" belongs to the longer option
    chosen = [
        letter
        for letter, found in spans.items()
        if any(
            not is_inside(span, every) and not is_denied(text, *span) and not ASKED.match(text, span[1])
            for span in found
        )
    ]
    return chosen[0] if len(chosen) == 1 else None


def lists_another(rest: str, texts: Mapping[str, str]) -> bool:
    """Whether all that follows an option's text is that of others: "granite, sandstone"."""
    others = "|".join(map(re.escape, texts.values()))
    return re.fullmatch(rf"(?:\s*[,、/;]\s*(?:{others}))+", rest) is not None


def breaks_word(text: str, start: int, end: int) -> bool:
    """Whether a span begins or ends within a Latin word or a number: "2小时" in "12小时"."""
    edges = (text[start - 1 : start] if start else "", text[start]), (text[end - 1], text[end : end + 1])
    return any(is_plain(one) and is_plain(other) for one, other in edges)


def is_plain(character: str) -> bool:
    return character.isascii() and character.isalnum()


def is_inside(span: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    return any(other != span and other[0] <= span[0] and span[1] <= other[1] for other in others)


def normalise(text: str) -> str:
    """A reply without its reasoning: half-width characters, plain apostrophes, single spaces."""
    text = unicodedata.normalize("NFKC", text.rpartition("</think>")[2]).replace("’", "'")
    return re.sub(r"[^\S\n]+", " ", text).strip(" \n.。")
