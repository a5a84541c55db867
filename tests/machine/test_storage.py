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
