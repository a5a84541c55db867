"""Keys, tokens and passwords: what is written or printed has ``***`` in their place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import quote

T = TypeVar("T")
HIDDEN = "***"
SHORTEST = 6  # characters of a secret that is looked for in texts: of a shorter one, too much would match
KINDS = (
    r"api[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|access[_-]?key|private[_-]?key|pass(?:word|wd|phrase)"
    r"|authorization|credentials?|cookie|(?:auth|access|api|hf|hub|refresh|session|secret|bearer)[_-]token"
)
#: names of settings whose value is a secret; ``eos_token``, ``max_tokens`` and the like are not
NAMES = re.compile(rf"(?:.*[_-])?(?:{KINDS})|token|auth|bearer", re.IGNORECASE)
VARIABLES = re.compile(rf"(?:.*_)?(?:{KINDS}|token)", re.IGNORECASE)
HEADERS = re.compile(r"(?:.*_)?headers?", re.IGNORECASE)
LOGIN = re.compile(r"(?<=://)[^/\s@'\"<>]+(?=@)")  # user:password@host
NAMED = re.compile(
    rf"""(\b(?:[\w-]*[_-])?(?:{KINDS}|(?<![\w-])token(?==|["']\s*[:=]))["']?\s*[=:]\s*["']?)"""
    r"""(?!\.\.\.(?:[\s,;)]|$))(?:(?:bearer|basic|token)\s+)?[^\s"',;&}\])]+""",  # hints have "..."
    re.IGNORECASE,
)
SHAPED = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[A-Z0-9]{16}"
    r"|xox[abprs]-[\w-]{10,}|glpat-[\w-]{16,})|(?<=Bearer )[\w.~+/=-]{8,}"
)
GIVEN: ContextVar[frozenset[str]] = ContextVar("GIVEN", default=frozenset())


def is_secret(name: str) -> bool:
    """Whether a setting of this name is a key, token or password."""
    return NAMES.fullmatch(name) is not None


def hide_values(value: T, name: str = "") -> T:
    """Settings with ``***`` in place of secrets, at any depth; other values keep their type.

    Args:
        value: the settings, or the value of one.
        name: its name.
    """
    hidden: Any = value
    if isinstance(value, Mapping):
        inner = "authorization" if HEADERS.fullmatch(name) else ""
        hidden = {key: hide_values(each, inner or str(key)) for key, each in value.items()}
    elif isinstance(value, (list, tuple)):
        hidden = type(value)(hide_values(each, name) for each in value)
    elif isinstance(value, str):
        hidden = HIDDEN if value and is_secret(name) else LOGIN.sub(HIDDEN, value)
        hidden = SHAPED.sub(HIDDEN, NAMED.sub(rf"\1{HIDDEN}", hidden)) if "://" in hidden else hidden
    return hidden  # type: ignore[no-any-return]


def fill_values(value: Any, name: str = "") -> Any:
    """Settings that were saved with ``***``, with the secrets from the environment.

    Raises:
        LookupError: one is not there; its argument says which variable to set.
    """
    if isinstance(value, Mapping):
        return {key: fill_values(each, str(key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(fill_values(each, name) for each in value)
    if not isinstance(value, str) or HIDDEN not in value:
        return value
    variables = list_variables(name)
    found = next((os.environ[variable] for variable in variables if os.environ.get(variable)), None)
    if found is None:
        raise LookupError(variables[0])
    return found


def list_variables(name: str) -> list[str]:
    """The environment variables that may give the secret of a setting, the best first."""
    own = f"GPTALT_{re.sub(r'[^A-Z0-9]+', '_', name.upper())}"
    return [own, "HF_TOKEN"] if name == "token" else [own]


def find_secrets(value: Any, name: str = "") -> Iterator[str]:
    """The secrets in settings."""
    if isinstance(value, Mapping):
        inner = "authorization" if HEADERS.fullmatch(name) else ""
        for key, each in value.items():
            yield from find_secrets(each, inner or str(key))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from find_secrets(each, name)
    elif isinstance(value, str):
        yield from (
            [value] if is_secret(name) else [login.rpartition(":")[2] for login in LOGIN.findall(value)]
        )


def remember_secrets(value: Any) -> None:
    """Hide the secrets of these settings in all that is written and printed from now on."""
    GIVEN.set(GIVEN.get() | {secret for secret in find_secrets(value) if is_long(secret)})


def hide_known(text: str) -> str:
    """A text without the secrets of the settings and of the environment; all else stays as it is."""
    from_environment = {value for name, value in os.environ.items() if VARIABLES.fullmatch(name)}
    known = GIVEN.get() | {value for value in from_environment if is_long(value)}
    for secret in sorted(known, key=len, reverse=True):  # one can be a part of another
        for form in list_forms(secret):
            text = text.replace(form, HIDDEN)
    return text


def hide_text(text: str) -> str:
    """A message without secrets: those that are known, and what looks like one."""
    for pattern, instead in ((LOGIN, HIDDEN), (NAMED, rf"\1{HIDDEN}"), (SHAPED, HIDDEN)):
        text = pattern.sub(instead, text)
    return hide_known(text)


def is_long(secret: str) -> bool:
    """Whether a secret can be looked for in texts: a word of a few letters would be found by accident."""
    return len(secret) >= SHORTEST and (not secret.isalpha() or len(secret) >= 3 * SHORTEST)


def list_forms(secret: str) -> Iterable[str]:
    """A secret as it is, and as JSON and addresses write it."""
    return dict.fromkeys(
        (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret))
    )
