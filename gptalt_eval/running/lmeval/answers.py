"""The answers of one model, in a file that grows line by line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.handed import open_plain
from gptalt_eval.running.lmeval import seams


class Answers:
    """The answers of one model, each saved as soon as it is known: a kill loses at most the last one.

    Args:
        path: the file, one JSON array ``[key, answer]`` per line; a third element says how many tokens of the
            prompt were cut, if any. Damaged lines are skipped.

    Raises:
        GptaltError: it is a link.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.known: dict[str, Any] = {}
        self.lost: dict[str, int] = {}
        self.file = open_plain(path, "a+")
        self.file.reconfigure(errors="replace", line_buffering=True)  # type: ignore[attr-defined]
        self.file.seek(0)
        line = ""
        for line in self.file:
            try:
                key, answer, *lost = json.loads(line)
                if lost:
                    self.lost[key] = int(lost[0])
                self.known[key] = tuple(answer) if isinstance(answer, list) else answer
            except (ValueError, TypeError, OverflowError, RecursionError):
                continue
        if line and not line.endswith("\n"):
            self.file.write("\n")

    def recall(self, request_type: str, arguments: Any) -> Any:
        """The answer to a request, or None; other people's files may have anything in its place."""
        key = make_key(request_type, arguments) or ""
        answer = self.known.get(key)
        if answer is not None and not is_answer(request_type, answer):
            del self.known[key]
            return None
        return answer

    def recall_lost(self, request_type: str, arguments: Any) -> int:
        """How many tokens of a request's prompt were cut when it was answered."""
        return self.lost.get(make_key(request_type, arguments) or "", 0) if self.lost else 0

    def keep(self, request_type: str, arguments: Any, answer: Any, lost: int = 0) -> None:
        key = make_key(request_type, arguments)
        if key is not None and key not in self.known:
            self.known[key] = answer
            line = [key, answer, lost] if lost else [key, answer]
            # some models return numpy numbers
            self.file.write(json.dumps(line, default=lambda number: number.item()) + "\n")

    def close(self) -> None:
        self.file.close()

    def delete(self) -> None:
        """Delete the file, whose content is saved elsewhere by now."""
        self.close()
        self.path.unlink(missing_ok=True)


def make_key(request_type: str, arguments: Any) -> str | None:
    """The key of a request; None: the answer is drawn at random, so it is not reused, or it has an image."""
    if request_type == "generate_until" and is_drawn(arguments[1]):
        return None
    try:
        return seams.hash_request(request_type, arguments)
    except TypeError:
        return None


def is_answer(request_type: str, answer: object) -> bool:
    """Whether a value can be an answer: a log-likelihood with a verdict, a log-likelihood, or a text."""
    if request_type == "generate_until":
        return isinstance(answer, str)
    parts = answer if isinstance(answer, tuple) else (answer,)
    is_whole = len(parts) == 2 if request_type == "loglikelihood" else bool(parts)
    return is_whole and all(isinstance(part, (int, float)) for part in parts)


def is_drawn(settings: Mapping[str, Any]) -> bool:
    """Whether some backend draws answers at random with these generation settings.

    lm-eval's own backend takes a temperature for sampling unless ``do_sample`` is False; those that ask a
    service pass the temperature on even then. ``top_p`` and the like only shape what is drawn.
    """
    try:
        return bool(settings.get("do_sample")) or float(settings.get("temperature") or 0) > 0
    except (TypeError, ValueError):
        return True
