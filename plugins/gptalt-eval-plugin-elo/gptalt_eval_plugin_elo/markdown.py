"""How an answer is laid out, whatever it says: ratings can be controlled for it."""

from __future__ import annotations

import re

from gptalt_eval_plugin_elo.votes import Style

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
HEADER = re.compile(r" {0,3}#{1,6}(?:\s|$)")
ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s")
BOLD = re.compile(r"\*\*[^*\s][^*]*\*\*|__[^_\s][^_]*__")


def measure_style(text: str) -> Style:
    """A text's length, and its headers, list items and bold passages outside blocks of code."""
    headers = lists = bold = 0
    fence = ""
    for line in text.splitlines():
        found = FENCE.match(line)
        if found and (not fence or is_closing(line, fence)):
            fence = "" if fence else found[1]
        elif not fence:
            headers += bool(HEADER.match(line))
            lists += bool(ITEM.match(line))
            bold += len(BOLD.findall(line))
    return Style(len(text), headers, lists, bold)


def is_closing(line: str, fence: str) -> bool:
    """Whether a line closes a block of code: the same character, at least as often, and nothing else."""
    mark = line.strip()
    return len(mark) >= len(fence) and not mark.strip(fence[0])
