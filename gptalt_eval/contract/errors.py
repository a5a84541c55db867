"""The errors that a user can cause. Everything else is a bug and keeps its traceback.

GptaltError          what happened, the nearest correct name, what to type
├── UnknownNameError a task, model, flag or file that does not exist
├── DataError        benchmark data that is missing, incomplete or altered
├── PluginError      a plugin that is needed but cannot be used
├── InterruptedRun   a run that ended early; what was finished is saved
├── ServerGone       a served model that does not answer any more
└── RequestErrors    several of the above, reported together
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class GptaltError(Exception):
    """Something the user can fix. ``str(error)`` is the complete message, ready to print.

    Args:
        what: one sentence: what happened, with the names and figures of this case.
        hint: what to type or change next; may be empty.
    """

    #: the program's exit code
    exit_code = 2

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        message = f"{what}\n{hint}" if hint else what
        # half characters, which a file's text may have, cannot be printed
        super().__init__(message.encode("utf-8", "backslashreplace").decode("utf-8"))


class UnknownNameError(GptaltError):
    """A name that does not exist."""


class DataError(GptaltError):
    """Benchmark data that cannot be used as it is."""


class PluginError(GptaltError):
    """A plugin that the request needs is disabled."""


class InterruptedRun(GptaltError):
    """A run that ended early, by Ctrl-C or a full disk; what was finished is saved."""

    def __init__(self, what: str, hint: str, by_user: bool) -> None:
        super().__init__(what, hint)
        self.by_user = by_user
        if by_user:
            self.exit_code = 130  # as in shells for Ctrl-C


class ServerGone(GptaltError):
    """A served model that does not answer any more; what it answered is saved."""

    exit_code = 1


class RequestErrors(GptaltError):
    """All problems of one request, so that they can be fixed in one go."""

    def __init__(self, errors: Sequence[GptaltError]) -> None:
        self.errors = tuple(errors)
        text = "\n\n".join(f"{number}. {error}" for number, error in enumerate(errors, 1))
        super().__init__(f"{len(errors)} problems found:\n\n{text}")


def raise_together(errors: Iterable[GptaltError]) -> None:
    """Raise the only error as itself, or several as RequestErrors; each message once."""
    single = [
        each for error in errors for each in (error.errors if isinstance(error, RequestErrors) else [error])
    ]
    distinct = list({str(error): error for error in single}.values())
    if len(distinct) == 1:
        raise distinct[0]
    if distinct:
        raise RequestErrors(distinct)


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most similar to ``name``, best first; a difference only in case is best."""
    names = list(dict.fromkeys(known))
    same = [candidate for candidate in names if candidate.lower() == name.lower()]
    close = get_close_matches(name, names, n=count, cutoff=0.72)
    return list(dict.fromkeys(same + close))[:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x' or 'y'?``, or an empty string if no name is similar."""
    close = nearest(name, known)
    if not close:
        return ""
    return f"Did you mean {' or '.join(repr(candidate) for candidate in close)}?"
