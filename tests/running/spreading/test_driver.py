"""What a session with workers says when it stops early: a disk that takes nothing more, and the rest."""

import errno
from pathlib import Path

import pytest

from gptalt_eval.running.spreading.driver import stop_early

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_from_the_start_is_said_in_words():
    said = stop_early({}, FULL, None)
    assert str(said).startswith("The folder of results could not be written: No space left on device.")
    assert "--output_path" in str(said) and "resume" not in str(said)


def test_the_folder_of_an_experiment_is_named():
    assert str(stop_early({}, FULL, Path("out"))).startswith("out could not be written: No space")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EAGAIN, "no process"), OSError("weights"), ValueError("a bug"), KeyboardInterrupt()],
)
def test_other_errors_speak_for_themselves(error):
    assert stop_early({}, error, None) is None
