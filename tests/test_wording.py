"""Phrases that read like puzzles, and what to write instead. Prose is checked, and the words in the code.

If a phrase below is right where you want it, reword the sentence anyway: it stood for something that readers stumbled over.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PHRASES = {
    r"no answer (is asked for )?twice|asked for twice": "never recomputes an answer",
    r"\bmend(s|ed|ing)?\b": "fix; '2 problems found:'",
    r"\b(go|goes|going|gone|went) on (with|where|after)\b": "continue, resume; 'a resumed run'",
    r"\b(rest|run|others|experiment|lm-eval|it) (go|goes|went) on\b": "continues",
    r"\bnot tell (it|them) from\b|\btold apart\b|\btells? [^.,]{1,30} apart\b": (
        "not significantly different from the best; distinguishes"
    ),
    r"\bnot to be told\b|\bcan be told\b": "unknown; can be determined",
    r"\bwhole or not (there|at all)\b": "written atomically",
    r"\b[Nn](othing|one) of that name\b": "not found; no dataset matches",
    r"\bso many rows\b|\bthis many rows\b": "minimum detectable difference (MDE)",
    r"\bfour times in five\b": "with 80 % power",
    r"\b(drawn|taken|chosen) by chance\b": "random, at random",
    r"\bour own writing\b": "written for this project",
    r"\b(the|this|that) very \w+": "exactly the same, this",
    r"(?<!there )(?<!There )(?<!it )\b(is|are|was) no (?!longer\b|more\b|way\b|\d)": "is not a",
    r"\bno such thing to do\b": "unknown action",
    r"\b(records?|those) that are none\b|\bwhat is none\b|\b[Ww]hat is no vote\b": "records that are not votes",
    r"\bcomes? (down )?to the same\b": "produces the same",
    r"\bin (the same )?company\b": "in the same batch",
    r"\b(own|best|its|call's|has its) price\b|\bprices\b": "cost",
    r"\bhas before (them|it)\b|\bhave before (them|it)\b": "has open",
    r"\bnobody (in|can listen)\b": "the link is not valid; the port is in use",
    r"\bat hand\b": "available; current",
    r"\bfound out\b": "detected",
    r"\b(lie|lies|lay) (in|on|at|below|beside|there|where)\b|\b(it|they|files|rows|data) (lie|lies)\b": "is in, is stored in",
    r"\banew\b": "again, from scratch",
    r"\bstands? (here )?(a second time|twice)\b": "appears twice",
    r"\bsooner\b": "faster, earlier",
    r"\b(task|plugin|template|start) that (works|runs)\b": "a working task",
    r"\bset aside\b": "disabled",
    r"\blaid over\b": "overrides",
    r"\b[Ww]hoever\b": "anyone who, those who",
    r"\bholds? no\b": "contains no",
    r"快很?多?\s?[\d.]*\s?倍": "速度是原版的 48 倍",
    r"提示方式": "提示词风格",
    r"左右对比": "并排盲评",
    r"这么多题": "当前题量可检出的最小差异",
}
PROSE = [
    "*.md", "docs/**/*.md", "plugins/*/README.md", "benchmarks/*.md", "changelog.d/*.md",
    "gptalt_eval/data/samples/README.md", "gptalt_eval/commands/templates/plugin/README.md.tmpl",
]  # fmt: skip
SOURCE = [
    f"{folder}/**/*.{kind}"
    for folder in ("docs", "gptalt_eval", "plugins/*/gptalt_eval_plugin_*")
    for kind in ("py", "j2", "tmpl", "js")
]


def list_files(patterns: list[str]) -> list[Path]:
    return sorted({file for pattern in patterns for file in ROOT.glob(pattern)})


def read_prose(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each paragraph. What programs print is left out: its words are checked in the source."""
    blank = re.sub(
        r"```(?:console|text)\n.*?```", lambda found: "\n" * found[0].count("\n"), text, flags=re.S
    )
    place = 0
    for paragraph in re.split(r"(\n\s*\n)", blank):
        if paragraph.strip():
            yield blank.count("\n", 0, place) + 1, " ".join(paragraph.split())
        place += len(paragraph)


def read_source(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each string, docstring and comment of a Python file."""
    tree = ast.parse(text)
    inside_f_strings = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, " ".join("".join(map(str, parts)).split())
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside_f_strings
        ):
            yield node.lineno, " ".join(node.value.split())
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def read_words(file: Path) -> Iterator[tuple[int, str]]:
    text = file.read_text(encoding="utf-8")
    return read_source(text) if file.suffix == ".py" else read_prose(text)


def list_puzzles(file: Path) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{line}: '{found[0]}': write '{better}'"
        for line, text in read_words(file)
        for phrase, better in PHRASES.items()
        for found in re.finditer(phrase, text)
    ]


@pytest.mark.parametrize("file", list_files(PROSE + SOURCE), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_words_are_plain(file):
    assert list_puzzles(file) == []


def test_what_programs_print_is_left_out_of_prose():
    text = "One\nline.\n\n```console\n$ ls\n2 things to mend:\n```\n\nTwo.\n"
    assert list(read_prose(text)) == [(1, "One line."), (9, "Two.")]


def test_strings_docstrings_and_comments_are_read_across_lines():
    source = '"""Files that are\nmended."""\nname = f"{1} that {2}"  # why\n'
    assert list(read_source(source)) == [
        (1, "Files that are mended."), (3, "{} that {}"), (3, "# why"),
    ]  # fmt: skip


def test_puzzles_are_found_and_what_reads_alike_is_not(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("The job goes\non with it; the file is no task.\n\n速度快 48 倍。\n", encoding="utf-8")
    assert [puzzle.split(":")[1] for puzzle in list_puzzles(page)] == ["1", "1", "4"]
    page.write_text(
        "There is no task. It is no longer there. He recommends a price list.\n", encoding="utf-8"
    )
    assert list_puzzles(page) == []
