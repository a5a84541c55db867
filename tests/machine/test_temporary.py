"""What a killed process leaves among the temporary files is removed by the next; what is in use never is."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gptalt_eval.machine import temporary
from gptalt_eval.machine.temporary import HELD, temporary_folder

HOLD = """
import sys, time
from pathlib import Path
from gptalt_eval.machine.temporary import temporary_folder
with temporary_folder(Path(sys.argv[1]), "ours-") as made:
    (made / "prompts").mkdir()
    (made / "prompts" / "secret").write_text("x")
    print(made.name, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that uses a folder; gives it and the folder's name."""
    started = []

    def start_one():
        words = [sys.executable, "-c", HOLD, str(tmp_path)]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return started[-1], started[-1].stdout.readline().strip()

    yield start_one
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def list_names(folder):
    return {each.name for each in folder.iterdir()}


def open_another(folder):
    """What the next process finds after it has made its own folder, which is left out."""
    with temporary_folder(folder, "ours-") as made:
        return list_names(folder) - {made.name}


def test_what_a_killed_process_left_is_removed_at_once_and_what_a_living_one_has_stays(start, tmp_path):
    killed, left = start()
    _, used = start()
    assert open_another(tmp_path) == {left, used}
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert list_names(tmp_path / left) == {HELD, "prompts"}
    assert open_another(tmp_path) == {used}
    assert (tmp_path / used / "prompts" / "secret").read_text() == "x"


def test_the_folder_is_of_the_user_alone_and_gone_at_the_end(tmp_path):
    with temporary_folder(tmp_path, "ours-") as made:
        assert made.parent == tmp_path and made.name.startswith("ours-")
        assert made.stat().st_mode & 0o777 == 0o700
        assert open_another(tmp_path) == {made.name}  # of the same process too
    with pytest.raises(KeyError), temporary_folder(tmp_path, "ours-") as made:
        (made / "x").write_text("x")
        raise KeyError
    assert list_names(tmp_path) == set()


def test_other_computers_other_users_and_links_are_left_alone(tmp_path, monkeypatch):
    def leave(name, computer):
        (tmp_path / name).mkdir()
        (tmp_path / name / HELD).write_bytes(computer)

    leave("ours-here", temporary.name_computer())
    leave("ours-elsewhere", b"another computer")  # its locks may not be known here
    leave("ours-begun", b"")  # its process is about to lock it
    leave("theirs-here", temporary.name_computer())
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / HELD).write_bytes(temporary.name_computer())
    (tmp_path / "ours-link").symlink_to(tmp_path / "linked")
    (tmp_path / "ours-file").touch()
    (tmp_path / "ours-pipe").mkdir()
    os.mkfifo(tmp_path / "ours-pipe" / HELD)
    rest = {"ours-elsewhere", "ours-begun", "theirs-here", "linked", "ours-link", "ours-file", "ours-pipe"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 12345)
        temporary.remove_left(tmp_path, "ours-")
        assert list_names(tmp_path) == {"ours-here", *rest}
    assert open_another(tmp_path) == rest


def test_where_the_file_system_has_no_locks_nothing_is_removed(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with temporary_folder(tmp_path, "ours-") as made:
        assert open_another(tmp_path) == {made.name}
        monkeypatch.undo()
        assert open_another(tmp_path) == {made.name}  # as from a computer that has them
    assert list_names(tmp_path) == set()


def test_folders_without_a_lock_are_removed_after_a_day(tmp_path):
    for name, days in (("ours-old", 2), ("ours-new", 0), ("theirs-old", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_text("x")
        then = time.time() - days * 24 * 3600
        os.utime(tmp_path / name, (then, then))
    assert open_another(tmp_path) == {"ours-new", "theirs-old"}


def test_many_at_once_do_not_take_each_others_folders(tmp_path):
    lost = []

    def use():
        for _ in range(30):
            with temporary_folder(tmp_path, "ours-") as made:
                (made / "x").write_text("x")
                time.sleep(0.001)
                if list_names(made) != {HELD, "x"}:
                    lost.append(made)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost and list_names(tmp_path) == set()
