"""Self-contained pages: they load nothing, and browsers run only the page's own script, known by its hash."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

LONGEST = 20_000  # characters of one text in a page


def render_page(package: str, name: str, parts: Sequence[str] = (), **values: Any) -> str:
    """A page of a package's folder ``pages``: ``NAME.html.j2`` with its ``NAME.css`` and ``NAME.js``.

    All values are escaped. The template gets ``style``, ``script`` and ``policy``, a Content Security Policy
    by which browsers run and apply only these two. So it must not contain ``style=`` or ``onclick=``.

    Args:
        package: the package.
        name: the template's name, without its endings.
        parts: names of other style sheets and scripts of the page, which follow its own in this order.
        values: for the template.
    """
    style, script = (
        "".join(read_file(package, f"{each}.{kind}") for each in (name, *parts)) for kind in ("css", "js")
    )
    policy = make_policy(style, script)
    return str(load_template(package, name).render(style=style, script=script, policy=policy, **values))


def read_file(package: str, name: str) -> str:
    """A file of the folder ``pages``; empty: there is none."""
    file = files(package) / "pages" / name
    return file.read_text(encoding="utf-8") if file.is_file() else ""


@cache
def load_template(package: str, name: str) -> Any:
    """A page's template; compiling one takes longer than filling it in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=cut_text,
    )  # fmt: skip
    return environment.get_template(f"{name}.html.j2")


def cut_text(value: Any) -> Any:
    """Of a long text, the beginning, and how much is missing: a browser cannot show answers of 30 MB."""
    if type(value) is not str or len(value) <= LONGEST:  # what is marked as safe has another type
        return value
    return f"{value[:LONGEST]} ... ({len(value) - LONGEST:,} more characters are not shown)"


def make_policy(style: str, script: str) -> str:
    """A Content Security Policy that allows this style, this script, and pictures in the page itself."""
    parts = ["default-src 'none'", f"style-src '{hash_source(style)}'", "img-src data:"]
    if script:
        parts.append(f"script-src '{hash_source(script)}'")
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def hash_source(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
