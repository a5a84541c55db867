"""Why the hub does not give a model, in words that help."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, nearest
from gptalt_eval.machine.hub import explain_unreachable, list_cached_models, read_endpoint
from gptalt_eval.machine.secrets import hide_text
from gptalt_eval.planning.hub.sources import Source

TRIES = 5  # that come to nothing, before it is given up
LONGEST = 300  # seconds that are waited before the next one
FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EROFS, errno.EPERM)
AGAIN = "Run the same command again: what was downloaded is kept."


class Unanswered(GptaltError):
    """The hub does not answer, or not now; nothing is known about what was asked for."""


def list_errors() -> tuple[type[Exception], ...]:
    """What the client raises: errors of its own, of the disk, and of the library with which it asks."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__mro__[1], OSError, ValueError


def explain_refusal(error: Exception, source: Source) -> GptaltError:
    """What to tell the user about an error of the hub's client.

    Args:
        error: what it raised.
        source: what it was asked for.
    """
    from huggingface_hub import errors

    what = f"The {source.noun} '{source.id}'"
    if isinstance(error, errors.GatedRepoError):
        return GptaltError(
            f"{what} is gated: the hub gives it only to those who have accepted its licence.",
            f"Log in at {source.page} and accept it. Then type: export HF_TOKEN=... (of that account)",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        text = f"{what} has no revision '{source.revision}'."
        return UnknownNameError(text, f"Its branches and tags: {source.page}/tree/main")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        owner = "" if "/" in source.id else "Give OWNER/NAME, as on its page. "
        near = nearest(source.id, list_cached_models(), 1)
        meant = f"Did you mean '{near[0]}', which is here? " if near else ""
        return UnknownNameError(
            f"{what} is not on the hub ({read_endpoint().hostname}), or it is private.",
            f"{meant}{owner}Check its name, or type, if it is yours: export HF_TOKEN=...",
        )
    status = read_status(error)
    if status == 401:
        return GptaltError(
            f"The hub does not accept the token that it was given for '{source.id}' (401).",
            "Type: export HF_TOKEN=..., with a valid token, or unset it.",
        )
    if status == 403:
        text = f"{what} may not be read with this account (403)."
        return GptaltError(text, f"See {source.page}, and give a token that may read it: export HF_TOKEN=...")
    if is_rate_limit(error):
        return Unanswered(
            f"The hub was asked too often (429), and has not given '{source.id}' after repeated waiting.",
            f"Try again later. With export HF_TOKEN=... it may be asked more often. {AGAIN}",
        )
    return explain_failure(error, source, status)


def explain_failure(error: Exception, source: Source, status: int | None) -> GptaltError:
    """The same for errors of the network, of the hub itself, and of the disk."""
    if getattr(error, "errno", None) in FULL:
        text = f"The disk is full: '{source.id}' could not be downloaded to the end."
        return GptaltError(text, f"Free some space, or type: export HF_HOME=FOLDER, on another disk. {AGAIN}")
    if getattr(error, "errno", None) in DENIED:
        text = f"'{source.id}' cannot be stored: {error.strerror} ({error.filename})."  # type: ignore[attr-defined]
        return GptaltError(text, "Type: export HF_HOME=FOLDER, with a folder that you can write to.")
    if status is not None:
        return Unanswered(
            f"The hub answers with an error ({status}) when asked for '{source.id}'.",
            f"Try again later, or set HF_ENDPOINT to a mirror. {AGAIN}",
        )
    if is_timeout(error):
        return Unanswered(
            f"The hub ({read_endpoint().hostname}) does not answer in time when asked for '{source.id}'.",
            f"Try again later, or set HF_ENDPOINT to a mirror. {AGAIN}",
        )
    if "Proxy" in type(error).__name__:
        why, cure = explain_unreachable()
        return Unanswered(
            f"'{source.id}' cannot be downloaded: {why}.", f"{cure[0].upper()}{cure[1:]}. {AGAIN}"
        )
    lines = str(error).strip().splitlines()
    reason = hide_text(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    return Unanswered(
        f"'{source.id}' cannot be downloaded ({reason}).",
        f"Check the network, or set HF_ENDPOINT to a mirror. {AGAIN}",
    )


def read_status(error: Exception) -> int | None:
    """The HTTP status with which the hub refused; None: it was no answer of the hub."""
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def is_rate_limit(error: Exception) -> bool:
    return read_status(error) == 429


def choose_wait(error: Exception, tries: int) -> float | None:
    """How many seconds to wait before the hub is asked again; None: that would not help, or not any more.

    Args:
        error: what came of the last attempt.
        tries: how many came to nothing, one after the other.
    """
    status = read_status(error)
    is_final = status is not None and status not in (408, 429) and status < 500
    if (
        is_final
        or isinstance(error, ValueError)
        or tries >= TRIES
        or getattr(error, "errno", None) in (*FULL, *DENIED)
    ):
        return None
    return min(read_wait(error) or 2.0 ** (tries - 1), LONGEST)


def describe_break(error: Exception) -> str:
    """What came of an attempt, in words."""
    status = read_status(error)
    if status == 429:
        return "the hub was asked too often"
    if status is not None:
        return f"the hub answers with an error ({status})"
    return "the hub does not answer in time" if is_timeout(error) else "the connection broke off"


def is_timeout(error: Exception) -> bool:
    return "Timeout" in type(error).__name__ or isinstance(error, TimeoutError)


def read_wait(error: Exception) -> float:
    """How many seconds the hub asks to wait; 0: it does not say."""
    response: Any = getattr(error, "response", None)
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        return max(0.0, float(response.headers.get("Retry-After")))
    return 0.0
