"""What the user has allowed, kept where no folder that others hand over can bring it along.

A consent is for exact content: it names what was allowed, and the SHA-256 of what was shown then. When the
content changes, it is asked for again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from platformdirs import user_state_path

from gptalt_eval.machine.storage import is_others, write_atomically


def consents_file() -> Path:
    """Where consents are kept: in the user's state folder (``$XDG_STATE_HOME`` on Linux)."""
    return user_state_path("gptalt-eval", appauthor=False) / "consents.json"


def read_secret(name: str) -> bytes:
    """A secret of the user's, made when it is first needed: 32 bytes that are in no file of others.

    Where it cannot be kept (a read-only home, a folder that others can write to), it is new each time.

    Args:
        name: what it is for; a word.
    """
    file = consents_file().with_name(f"{name}.key")
    made = secrets.token_bytes(32)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists() or file.stat().st_size != len(made):
            new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
                stream.write(made)
            new.replace(file)  # a whole one or none
        kept = file.read_bytes()
        if len(kept) == len(made) and not (is_others(file, 0o077) or is_others(file.parent)):
            return kept
    return made


def is_allowed(subject: str, digest: str) -> bool:
    """Whether the user has allowed exactly this content.

    Args:
        subject: what it is, with its absolute path or address: ``task code /home/ann/tasks/mine.yaml``.
        digest: SHA-256 of everything that the consent is for.
    """
    return read_consents().get(subject) == digest


def allow(subject: str, digest: str) -> None:
    """Remember a consent, in place of an earlier one for other content.

    Where it cannot be saved (a read-only home), it holds for this command only.
    """
    consents = read_consents()
    if consents.get(subject) == digest:
        return
    with contextlib.suppress(OSError):
        file = consents_file()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(file, json.dumps({**consents, subject: digest}, indent=1, ensure_ascii=False))
        file.chmod(0o600)


def read_consents() -> dict[str, str]:
    """Subject -> digest; none from a file that another user owns or could have written."""
    file = consents_file()
    try:
        if is_others(file) or is_others(file.parent):
            return {}
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}
