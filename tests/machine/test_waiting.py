"""What a terminal shows until there is something to show."""

import io
from types import SimpleNamespace

import pytest

from gptalt_eval.machine.waiting import ERASE, waiting


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("gptalt_eval.machine.waiting.sys", SimpleNamespace(stderr=screen))
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_a_line_appears_at_once_and_disappears(screen):
    with waiting("Finding the model"):
        assert screen.getvalue() == "Finding the model ...\r"
    assert screen.getvalue().endswith(ERASE)


def test_it_disappears_after_an_error_too(screen):
    with pytest.raises(OSError, match="x"), waiting("Finding the model"):
        raise OSError("x")
    assert screen.getvalue().endswith(ERASE)


def test_it_never_needs_a_second_line(screen):
    with waiting("a" * 100):
        assert len(screen.getvalue().rstrip("\r")) < 40


def test_a_terminal_that_erases_nothing_and_a_pipe_get_nothing(screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with waiting("Finding the model"):
        pass
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(screen, "isatty", lambda: False, raising=False)
    with waiting("Finding the model"):
        pass
    assert screen.getvalue() == ""
