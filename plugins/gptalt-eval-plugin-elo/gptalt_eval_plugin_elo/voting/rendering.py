"""Models' answers as HTML. They are untrusted input: nothing in them runs, loads, links or hangs.

Markdown is rendered without HTML, links and images; ammonia (nh3) sanitizes the result, and the page's
content security policy only allows its own scripts.
"""

from __future__ import annotations

from functools import cache, lru_cache
from html import escape
from typing import Any

RENDERED = 30_000  # characters; longer text is shown as plain text
SHOWN = 100_000  # characters; longer text is truncated
FORMULA = 2_000  # characters; longer formulas are shown as source
MATHML = {
    "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt",
    "mroot", "mover", "munder", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd",
    "mstyle", "mpadded", "mphantom", "menclose", "mfenced",
}  # fmt: skip
TAGS = MATHML | {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h3", "h4", "h5",
    "h6", "table", "thead", "tbody", "tr", "th", "td", "div",
}  # fmt: skip
ATTRIBUTES = {
    "pre": {"tabindex"}, "div": {"tabindex", "class"}, "ol": {"start"}, "math": {"display"},
    "mo": {"stretchy", "fence", "form", "separator"}, "mi": {"mathvariant"}, "mover": {"accent"},
    "mstyle": {"displaystyle", "scriptlevel"}, "mfrac": {"linethickness"}, "mtable": {"columnalign"},
    "mspace": {"width"}, "menclose": {"notation"},
}  # fmt: skip


@lru_cache(maxsize=128)
def render(text: str) -> tuple[str, int]:
    """A text as safe HTML, and how many of its characters are left out."""
    if len(text) > RENDERED:
        return f'<pre class="plain" tabindex="0">{escape(text[:SHOWN])}</pre>', max(0, len(text) - SHOWN)
    import nh3

    html = make_markdown().render(text)
    return nh3.clean(html, tags=TAGS, attributes=ATTRIBUTES, link_rel=None), 0


@cache
def make_markdown() -> Any:
    """CommonMark with tables, strikethrough and formulas between ``$``, ``$$``, ``\\(`` and ``\\[``."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.texmath import texmath_plugin

    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True})
    markdown.enable(["table", "strikethrough"])
    markdown.disable(["html_block", "html_inline", "link", "image", "autolink", "reference"])
    markdown.use(texmath_plugin, delimiters="brackets")
    markdown.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    renderer: Any = markdown.renderer  # the HTML renderer: the general protocol has no rules
    rules = renderer.rules
    for name in ("math_inline", "math_single"):
        rules[name] = lambda tokens, index, *_: render_formula(tokens[index].content, "inline")
    for name in ("math_block", "math_block_eqno", "math_block_label", "math_inline_double"):
        rules[name] = lambda tokens, index, *_: render_formula(tokens[index].content, "block")
    # an answer's headings are below the page's own; scrolling parts can be reached by keyboard
    for name in ("heading_open", "heading_close"):
        rules[name] = render_heading
    rules["fence"] = rules["code_block"] = lambda tokens, index, *_: (
        f'<pre tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'
    )
    rules["table_open"] = lambda *_: '<div class="scrolls" tabindex="0"><table>\n'
    rules["table_close"] = lambda *_: "</table></div>\n"
    return markdown


def render_heading(tokens: Any, index: int, *_: Any) -> str:
    level = min(6, int(tokens[index].tag[1:]) + 2)
    return f"<h{level}>" if tokens[index].nesting == 1 else f"</h{level}>\n"


def render_formula(formula: str, display: str) -> str:
    """A formula as MathML, or its source if it is not valid."""
    from latex2mathml.converter import convert

    if len(formula) <= FORMULA:
        try:
            return str(convert(formula.strip(), display=display))
        except Exception:  # a model's formula can make the library raise anything
            pass
    tag = "pre" if display == "block" else "code"
    return f"<{tag}>{escape(formula)}</{tag}>"
