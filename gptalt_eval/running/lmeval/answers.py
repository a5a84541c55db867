"""The answers of one model, in a file that grows line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import open_growing
from gptalt_eval.machine.bounds import read_lines
from gptalt_eval.machine.storage import name_file
from gptalt_eval.running.lmeval import seams

ROUNDING = 1e-3  # by which a log-likelihood of a certain answer may be above 0


class Answers:
    """The answers of one model, each saved as soon as it is known: a kill loses at most the last one.

    Args:
        path: the file, one JSON array ``[key, answer]`` per line; a third element says how many tokens of the
            prompt were cut, if any. Damaged lines are skipped, and so are several answers to one request that
            differ: we write one.

    Raises:
        GptaltError: it is a link, or has a line that is longer than any answer.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.known: dict[str, Any] = {}
        self.lost: dict[str, int] = {}
        self.file = open_growing(path)
        self.file.reconfigure(errors="replace", line_buffering=True)  # type: ignore[attr-defined]
        self.file.seek(0)
        try:
            last = self._read(read_lines(self.file))
        except ValueError as error:
            self.file.close()
            hint = "Delete it: its answers are computed again."
            raise GptaltError(f"{path} is damaged: {error}.", hint) from None
        if last and not last.endswith("\n"):
            with name_file(path):
                self.file.write("\n")

    def _read(self, lines: Iterator[str]) -> str:
        """Read the file; returns its last line."""
        line, contradicted = "", set[str]()
        for line in lines:
            try:
                key, answer, lost = read_line(line)
            except (ValueError, TypeError, OverflowError, RecursionError):
                continue
            if self.known.setdefault(key, answer) != answer or self.lost.setdefault(key, lost) != lost:
                contradicted.add(key)
        for key in contradicted:
            del self.known[key]
            self.lost.pop(key, None)
        return line

    def recall(self, request_type: str, arguments: Any) -> Any:
        """The answer to a request, or None; other people's files may have anything in its place."""
        key = make_key(request_type, arguments)
        if key is None:
            return None
        return self.known[key] if self.check(request_type, key) else None

    def check(self, request_type: str, key: str) -> bool:
        """Whether there is an answer to a request, by its key; what no answer can be is forgotten."""
        if key in self.known and not is_answer(request_type, self.known[key]):
            del self.known[key]
        return key in self.known

    def recall_lost(self, request_type: str, arguments: Any) -> int:
        """How many tokens of a request's prompt were cut when it was answered."""
        key = make_key(request_type, arguments)
        return 0 if key is None else self.lost.get(key, 0)

    def keep(self, request_type: str, arguments: Any, answer: Any, lost: int = 0) -> None:
        key = make_key(request_type, arguments)
        if key is not None:
            self.add(key, answer, lost)

    def add(self, key: str, answer: Any, lost: int = 0) -> None:
        """Write the answer to a request, by its key, unless there is one."""
        if key not in self.known:
            self.known[key], self.lost[key] = answer, lost
            line = [key, answer, lost] if lost else [key, answer]
            # some models return numpy numbers
            with name_file(self.path):
                self.file.write(json.dumps(line, default=lambda number: number.item()) + "\n")

    def close(self) -> None:
        with name_file(self.path):
            self.file.close()

    def delete(self) -> None:
        """Delete the file, whose content is saved elsewhere by now."""
        self.close()
        self.path.unlink(missing_ok=True)


def read_line(line: str) -> tuple[str, Any, int]:
    """The key of a request, its answer, and how many tokens of its prompt were cut.

    Raises:
        ValueError, TypeError, OverflowError, RecursionError: the line is damaged.
    """
    content = json.loads(line)
    if not isinstance(content, list):
        raise ValueError(line)
    key, answer, *rest = content
    lost = rest[0] if rest else 0
    if not isinstance(key, str) or len(rest) > 1 or type(lost) is not int or lost < 0:
        raise ValueError(line)
    return key, tuple(answer) if isinstance(answer, list) else answer, lost


def make_key(request_type: str, arguments: Any) -> str | None:
    """The key of a request; None: the answer is drawn at random, so it is not reused, or it has an image."""
    if request_type == "generate_until" and is_drawn(arguments[1]):
        return None
    try:
        return seams.hash_request(request_type, arguments)
    except TypeError:
        return None


def is_answer(request_type: str, answer: object) -> bool:
    """Whether a value can be an answer: a log-likelihood with a verdict, a log-likelihood, or a text.

    No log-likelihood is above 0, but for rounding, or not a number; one that is said to be is computed again.
    """
    if request_type == "generate_until":
        return isinstance(answer, str)
    parts = answer if isinstance(answer, tuple) else (answer,)
    if len(parts) not in ((2,) if request_type == "loglikelihood" else (1, 2)):
        return False
    value, verdicts = parts[0], parts[1:]
    is_value = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_value and value <= ROUNDING and all(each in (0, 1) for each in verdicts)


def is_drawn(settings: Mapping[str, Any]) -> bool:
    """Whether some backend draws answers at random with these generation settings.

    lm-eval's own backend takes a temperature for sampling unless ``do_sample`` is False; those that ask a
    service pass the temperature on even then. ``top_p`` and the like only shape what is drawn.
    """
    try:
        return bool(settings.get("do_sample")) or float(settings.get("temperature") or 0) > 0
    except (TypeError, ValueError):
        return True
