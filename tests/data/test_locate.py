import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.contract.errors import DataError
from gptalt_eval.data import locate as data
from gptalt_eval.data.standard import list_datasets

DATASETS = {dataset.name: dataset for dataset in list_datasets()}


def write_jsonl(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


PIQA = [{"goal": f"g{i}", "sol1": "a", "sol2": "b"} for i in range(5)]


@pytest.fixture
def piqa(tmp_path):
    write_jsonl(tmp_path / "piqa" / "valid.jsonl", PIQA)
    (tmp_path / "piqa" / "valid-labels.lst").write_text("0\n1\n0\n1\n1\n")
    return tmp_path


def locate(folder, name="piqa", config=None, splits=("validation", "train")):
    return data.locate(DATASETS[name], config, splits, folder)


def test_located_counted_and_hashed(piqa):
    found = locate(piqa)
    assert set(found.splits) == {"validation"}, "a split that is not there is left out"
    split = found.splits["validation"]
    assert (split.rows, split.official) == (5, 1838)
    assert len(split.sha256) == 64
    assert list(data.read_located(found, "validation"))[3] == {
        "goal": "g3",
        "sol1": "a",
        "sol2": "b",
        "label": 1,
    }
    assert not found.is_sample


def test_the_hash_is_that_of_the_bytes(piqa):
    before = locate(piqa).splits["validation"].sha256
    file = piqa / "piqa" / "valid.jsonl"
    file.write_text(file.read_text().replace("g4", "g5"))
    assert locate(piqa).splits["validation"].sha256 != before


def test_a_cut_off_file_is_named_with_its_line(piqa):
    file = piqa / "piqa" / "valid.jsonl"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match=r"valid\.jsonl, line 5: truncated or damaged"):
        locate(piqa)


def test_labels_that_do_not_fit_are_refused(piqa):
    (piqa / "piqa" / "valid-labels.lst").write_text("0\n1\n")
    with pytest.raises(DataError, match=r"5 rows, but valid-labels.lst has 2 labels"):
        locate(piqa)
    (piqa / "piqa" / "valid-labels.lst").unlink()
    with pytest.raises(DataError, match="is missing"):
        locate(piqa)


def test_a_cut_off_gzip_is_named(tmp_path):
    packed = gzip.compress(b'{"context": "Passage: p\\nQuestion: q\\nAnswer:", "ref_text": "1"}\n' * 2000)
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "drop_v0_dev.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="truncated or damaged"):
        locate(tmp_path, "drop")


@given(st.binary(max_size=300))
def test_no_bytes_give_anything_but_rows_or_a_data_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("data") / "x.jsonl"
    file.write_bytes(content)
    try:
        assert all(isinstance(row, dict) for row in data.read_jsonl(file))
    except DataError as error:
        assert "x.jsonl" in str(error)


def test_numbered_files_are_in_the_order_of_their_numbers(tmp_path):
    from gptalt_eval.contract.types import Split

    for name in ("10", "9", "100"):
        (tmp_path / f"{name}.txt").write_text("")
    files = data.find_files(tmp_path, Split("test", ("*.txt",)), None)
    assert [file.stem for file in files] == ["9", "10", "100"]


def test_choosing_the_folder(tmp_path, monkeypatch):
    assert data.choose_data_dir(None) is None
    assert data.choose_data_dir("sample") == "sample"
    assert data.choose_data_dir(str(tmp_path)) == tmp_path
    monkeypatch.setenv("GPTALT_DATA", str(tmp_path))
    assert data.choose_data_dir(None) == tmp_path
    assert data.choose_data_dir("sample") == "sample"
    monkeypatch.setenv("GPTALT_DATA", "/nowhere")
    with pytest.raises(DataError, match="GPTALT_DATA: there is no folder /nowhere"):
        data.choose_data_dir(None)
    with pytest.raises(DataError, match="--data_dir"):
        data.choose_data_dir("/nowhere")


def test_published_files_are_read_if_one_beside_them_is_missing(tmp_path, cache):
    """Their checksum says how many rows they have, but not that their labels are there."""
    import hashlib
    from pathlib import Path

    from gptalt_eval.contract.types import Dataset, Split

    def read(paths, config):
        for path in paths:
            if not path.with_suffix(".lst").is_file():
                raise DataError(f"{path.with_suffix('.lst')} is missing.")
            yield {"text": path.read_text()}

    (tmp_path / "rows.txt").write_text("a")
    sums = tmp_path / "sums"
    sums.write_text(
        "".join(f"{hashlib.sha256(b'a').hexdigest()}  {name}\n" for name in ("rows.txt", "rows.lst"))
    )
    split = Split("test", ("rows.txt",), 7, beside=("{stem}.lst",))
    dataset = Dataset("d", "D", "our/d", (split,), read, "", "", checksums=Path(sums))
    with pytest.raises(DataError, match=r"rows\.lst is missing"):
        data.locate(dataset, None, ("test",), tmp_path)
    (tmp_path / "rows.lst").write_text("a")
    assert data.locate(dataset, None, ("test",), tmp_path).splits["test"].rows == 7, "by their checksums"
