"""Counts and converted rows are kept by content, and what is broken is made again."""

import json
import shutil
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval.data import cache as rowcache
from gptalt_eval.data import locate as data
from gptalt_eval.data.readers import from_rows
from gptalt_eval.data.standard import list_datasets
from gptalt_eval.running.lmeval import tables as rows_module

DATASETS = {dataset.name: dataset for dataset in list_datasets()}


@pytest.fixture
def folder(tmp_path, cache, monkeypatch):
    """A data folder with a small GSM8K, small files being kept as well."""
    monkeypatch.setattr(rowcache, "WORTH_KEEPING", 0)
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path, 5)
    return tmp_path


def write(folder, count):
    lines = [json.dumps({"question": f"q{i}", "answer": f"#### {i}"}) for i in range(count)]
    (folder / "gsm8k" / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def locate(folder):
    return data.locate(DATASETS["gsm8k"], "main", ("test",), folder)


def forbid_reading(monkeypatch):
    def refuse(*_):
        raise AssertionError("the file was read again")

    monkeypatch.setattr(data, "iterate_split", refuse)


def test_a_file_is_counted_and_converted_once(folder, monkeypatch):
    first = rows_module.load_rows(locate(folder), "test")
    forbid_reading(monkeypatch)
    again = locate(folder)
    assert again.splits["test"].rows == 5
    kept = rows_module.load_rows(again, "test")
    assert kept.to_list() == first.to_list() and kept.features == first.features
    assert kept.cache_files == [], "in memory: nothing of lm-eval's is written into the cache"


def test_another_content_is_another_entry(folder):
    before = locate(folder).splits["test"]
    write(folder, 6)
    after = locate(folder).splits["test"]
    assert (before.rows, after.rows) == (5, 6) and before.key != after.key


def test_labels_are_part_of_the_content(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(rowcache, "WORTH_KEEPING", 0)
    (tmp_path / "piqa").mkdir()
    (tmp_path / "piqa" / "valid.jsonl").write_text('{"goal": "g", "sol1": "a", "sol2": "b"}\n')
    found = []
    for label in "01":
        (tmp_path / "piqa" / "valid-labels.lst").write_text(label)
        located = data.locate(DATASETS["piqa"], None, ("validation",), tmp_path)
        found.append(
            (located.splits["validation"].sha256, rows_module.load_rows(located, "validation")[0]["label"])
        )
    assert [label for _, label in found] == [0, 1] and found[0][0] != found[1][0]


def test_small_files_are_not_kept(folder, cache, monkeypatch):
    monkeypatch.setattr(rowcache, "WORTH_KEEPING", 1 << 20)
    located = locate(folder)
    assert located.splits["test"].key == ""
    assert len(rows_module.load_rows(located, "test")) == 5
    assert not (cache / "rows").exists()


def cut(file):
    file.write_bytes(file.read_bytes()[:-50])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [cut, flip, lambda file: file.unlink(), lambda file: file.write_bytes(b"")]
)
@pytest.mark.parametrize("name", ["*.arrow", "state.json", rowcache.DIGESTS])
def test_a_broken_entry_is_removed_and_made_again(folder, cache, damage, name):
    located = locate(folder)
    first = rows_module.load_rows(located, "test").to_list()
    entry = cache / "rows" / located.splits["test"].key
    damage(next(entry.glob(name)))
    assert rows_module.load_rows(located, "test").to_list() == first
    assert rowcache.find_folder(located.splits["test"].key) == entry, "it was made again"
    assert not list((cache / "rows").glob(".making-*"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": "5"}', '{"rows": -1}', "{}"])
def test_a_broken_count_is_counted_again(folder, cache, text):
    key = locate(folder).splits["test"].key
    note = cache / "rows" / f"{key}.json"
    note.write_text(text)
    assert rowcache.find_count(key) is None and not note.exists()
    assert locate(folder).splits["test"].rows == 5


def test_a_whole_entry_of_another_length_is_not_used(folder, cache):
    located = locate(folder)
    rows_module.load_rows(located, "test")
    entry = cache / "rows" / located.splits["test"].key
    write(folder, 6)
    other = locate(folder)
    rows_module.load_rows(other, "test")
    shutil.rmtree(entry)
    shutil.copytree(cache / "rows" / other.splits["test"].key, entry)
    write(folder, 5)
    assert len(rows_module.load_rows(located, "test")) == 5


def test_a_cache_that_cannot_be_written_is_no_fault(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPTALT_CACHE", str(tmp_path / "file" / "x"))
    assert len(rows_module.load_rows(locate(folder), "test")) == 5


def test_a_reader_that_changes_changes_the_key(tmp_path, monkeypatch):
    module = types.ModuleType("a_reader")
    module.__file__ = str(tmp_path / "a_reader.py")
    monkeypatch.setitem(sys.modules, "a_reader", module)

    def convert(index, row):
        return row

    convert.__module__ = "a_reader"
    reader = from_rows(convert)
    keys = set()
    for source in ("1", "2"):
        (tmp_path / "a_reader.py").write_text(source)
        keys.add(rowcache.hash_sources(reader))
    assert len(keys) == 2


def test_a_big_file_shows_how_it_goes_on(folder, monkeypatch):
    from gptalt_eval.data import progress as progressbar

    shown = []

    def show(rows, text, total):
        shown.append((text, total))
        return rows

    monkeypatch.setattr(progressbar, "BIG", 1)
    monkeypatch.setattr(data, "show_progress", show)
    rows_module.load_rows(locate(folder), "test")
    assert shown == [("Reading GSM8K test", 1319), ("Converting test", 5)]


def test_the_bar_gives_the_same_rows(capsys):
    from gptalt_eval.data.progress import show_progress

    assert list(show_progress(range(5), "x", None)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().out == "", "nothing but stderr, and nothing in a log"


ROWS = st.lists(
    st.fixed_dictionaries({"a": st.text(max_size=3), "b": st.lists(st.text(max_size=2), max_size=2), "c": st.none() | st.integers(-9, 9)}),
    max_size=12,
)  # fmt: skip


@given(ROWS, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_batches_give_what_the_whole_gives(rows, size):
    import datasets

    before = rows_module.BATCH
    rows_module.BATCH = size
    try:
        assert rows_module.convert_rows(rows).to_list() == datasets.Dataset.from_list(rows).to_list()
    finally:
        rows_module.BATCH = before


REAL = [("hellaswag", None, "validation"), ("drop", None, "validation"), ("triviaqa", "rc.nocontext", "validation"), ("arc_easy", "ARC-Easy", "test")]  # fmt: skip


@pytest.mark.parametrize(("name", "config", "split"), REAL)
def test_real_rows_are_the_same_from_the_cache(shared_data, cache, name, config, split):
    import datasets

    located = data.locate(DATASETS[name], config, (split,), shared_data)
    whole = datasets.Dataset.from_list(list(data.read_located(located, split)))
    for _ in range(2):
        rows = rows_module.load_rows(located, split)
        assert rows.features == whole.features
        assert rows.data.table.equals(whole.data.table)


def test_what_others_could_have_changed_is_not_read(folder, cache):
    count, rows = rowcache.make_cache("rows") / "x.json", rowcache.rows_dir() / "y"
    rowcache.keep_count("x", 3)
    with rowcache.keep_folder("y") as target:
        (target / "a.arrow").write_bytes(b"x")
    assert rowcache.find_count("x") == 3 and rowcache.find_folder("y")
    for path in (cache, count.parent):
        path.chmod(0o755)
    count.chmod(0o666)
    rows.chmod(0o777)
    assert rowcache.find_count("x") is None and rowcache.find_folder("y") is None
    assert count.exists() and rows.exists(), "nothing is removed"
