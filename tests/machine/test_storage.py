import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptalt_eval.machine import storage


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTALT_CACHE", str(tmp_path / "here"))
    assert storage.cache_dir() == tmp_path / "here"
    monkeypatch.delenv("GPTALT_CACHE")
    assert "gptalt-eval" in str(storage.cache_dir())


def test_written_whole_with_its_folder(tmp_path):
    target = tmp_path / "a" / "b.json"
    storage.write_atomically(target, "中文\n")
    assert target.read_text(encoding="utf-8") == "中文\n"
    assert list(target.parent.iterdir()) == [target]


def test_bytes_are_written_as_they_are(tmp_path):
    content = b"RIFF\r\n\n\xff\0" + storage.hash_text("x").encode()
    storage.write_atomically(tmp_path / "x.webp", content)
    assert (tmp_path / "x.webp").read_bytes() == content


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    target = tmp_path / "b.json"
    storage.write_atomically(target, "old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        storage.write_atomically(target, "new and longer")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_interrupted_write_leaves_no_litter(tmp_path, monkeypatch):
    def interrupt(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.write_atomically(tmp_path / "c.json", "x")
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_is_removed(tmp_path):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom gptalt_eval.machine import storage\n"
        "storage.os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "storage.write_atomically(Path(sys.argv[1], 'run.json'), 'half of it')\n"
    )
    target = tmp_path / "run.json"
    storage.write_atomically(target, "whole")
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".hidden").write_text("the user's own")
    storage.remove_leftovers(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".hidden", "run.json"]
    assert target.read_text() == "whole"
    storage.remove_leftovers(tmp_path / "nowhere")


def test_a_write_removes_what_was_left_of_the_same_file_a_day_ago(tmp_path):
    def leave(name, days):
        (tmp_path / name).write_text("half")
        then = time.time() - days * 24 * 3600
        os.utime(tmp_path / name, (then, then))

    for name, days in ((".a[1].json.x1.tmp", 2), (".a[1].json.x2.tmp", 0), (".b.json.x3.tmp", 2)):
        leave(name, days)
    storage.write_atomically(tmp_path / "a[1].json", "whole")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".a[1].json.x2.tmp",
        ".b.json.x3.tmp",
        "a[1].json",
    ]


# ---------------------------------------------------------------------- modes and owners


@pytest.fixture
def umask():
    """Sets the umask; the old one is put back."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def read_mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_a_file_has_the_mode_that_the_umask_leaves(mask, mode, tmp_path, umask):
    umask(mask)
    storage.write_atomically(tmp_path / "run.json", "x")
    assert read_mode(tmp_path / "run.json") == mode


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o640, 0o640), (0o666, 0o644)])
def test_a_file_that_is_replaced_is_never_opened_wider(before, after, tmp_path, umask):
    (tmp_path / "run.json").write_text("old")
    (tmp_path / "run.json").chmod(before)
    storage.write_atomically(tmp_path / "run.json", "new")
    assert read_mode(tmp_path / "run.json") == after


def test_folders_of_the_cache_are_the_users_alone(cache, umask):
    umask(0o000)
    assert storage.make_cache("requests", "x") == cache / "requests" / "x"
    assert {read_mode(path) for path in (cache, cache / "requests", cache / "requests" / "x")} == {0o700}
    cache.chmod(0o755)
    storage.make_cache("rows")
    assert read_mode(cache) == 0o755, "what the user has set stays"


def test_what_others_could_have_changed_in_the_cache_is_found(cache):
    file = storage.make_cache("rows") / "x.json"
    assert storage.find_shared(file) is None, "there is nothing yet"
    file.write_text("{}")
    file.chmod(0o666)
    assert storage.find_shared(file) is None, "nobody else can enter the folder"
    for folder in (cache, cache / "rows"):
        folder.chmod(0o755)
    assert storage.find_shared(file) == file
    file.chmod(0o644)
    assert storage.find_shared(file) is None
    (cache / "rows").chmod(0o777)
    assert storage.find_shared(file) == cache / "rows"
    cache.chmod(0o777)
    assert storage.find_shared(file) == cache


def test_what_belongs_to_another_user_is_found(cache, monkeypatch):
    file = storage.make_cache() / "x.json"
    file.write_text("{}")
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    expected = None if file.stat().st_uid == 0 else cache  # root can change all files anyway
    assert storage.find_shared(file) == expected
    if file.stat().st_uid == 0:
        os.chown(file, 4712, -1)
        assert storage.find_shared(file) == file


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="there is no null device here")  # noqa: PTH110
@pytest.mark.parametrize("name", ["/dev/null", "link"])
def test_a_device_is_not_replaced_by_a_file(tmp_path, name):
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(OSError, match="it is a device, not a file"):
        storage.write_atomically(tmp_path / name, "x")
    assert Path("/dev/null").is_char_device() and (tmp_path / "link").is_symlink()
