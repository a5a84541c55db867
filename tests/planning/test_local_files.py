"""Rows of the user's own files are counted before anything runs."""

import bz2
import gzip
import json
import lzma

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.local_files import count_rows, list_files, read_table
from gptalt_eval.planning.resolve import resolve

ROWS = [{"question": f"{number} + 1 =", "answer": str(number + 1)} for number in range(11)]


def write_rows(folder):
    import datasets

    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    (folder / "rows.json").write_text(json.dumps({"data": ROWS}))
    (folder / "list.json").write_text(json.dumps(ROWS))
    table = datasets.Dataset.from_list(ROWS)
    table.to_csv(folder / "rows.csv")
    table.to_parquet(folder / "rows.parquet")


@pytest.mark.parametrize(
    ("builder", "files", "others"),
    [
        ("json", "rows.jsonl", {}), ("json", "list.json", {}), ("json", "rows.json", {"field": "data"}), ("csv", "rows.csv", {}),
        ("parquet", "rows.parquet", {}), ("json", ["rows.jsonl", "list.json"], {}), ("json", "*.jsonl", {}),
    ],
)  # fmt: skip
def test_rows_are_counted_as_the_library_counts_them(tmp_path, builder, files, others):
    import datasets

    write_rows(tmp_path)
    named = [str(tmp_path / name) for name in (files if isinstance(files, list) else [files])]
    settings = {"data_files": {"test": named}, **others}
    theirs = datasets.load_dataset(builder, split="test", cache_dir=str(tmp_path / "cache"), **settings)
    config = {"dataset_path": builder, "dataset_kwargs": settings}
    assert count_rows(config, "test") == len(theirs) == 11 * len(named)
    assert count_rows(config, "train") is None


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_kwargs": None}, {"dataset_kwargs": {"data_files": {"test": "https://x/rows.jsonl"}}}, {"process_docs": print},
        {"dataset_kwargs": {"data_files": {"test": "nowhere.jsonl"}}}, {"dataset_path": "text"}, {"dataset_kwargs": "x"},
        {"dataset_kwargs": {"data_files": {"test": ["rows.jsonl", "nowhere.jsonl"]}}},
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_not_claimed(tmp_path, monkeypatch, change):
    write_rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}}}
    assert count_rows(config, "test") == 11
    assert count_rows(config | change, "test") is None


def test_damaged_files_are_left_to_their_reader(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    (tmp_path / "x.jsonl").write_text('{"a": ')
    for builder, name in (("parquet", "x.parquet"), ("json", "x.jsonl")):
        files = {"data_files": str(tmp_path / name)}
        assert count_rows({"dataset_path": builder, "dataset_kwargs": files}, "train") is None


@pytest.fixture
def refuse(plugins, tmp_path):
    write_rows(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ntest_split: test\nfewshot_split: train\ndoc_to_text: question\n"
        "doc_to_target: '{{answer}}'\ndataset_kwargs:\n  data_files:\n"
        f"    test: {tmp_path / 'rows.jsonl'}\n    train: {tmp_path / 'list.json'}\n"
    )

    def call(**settings):
        spec = {"model": "scripted", "tasks": "mine", "include_path": str(tmp_path), **settings}
        with pytest.raises(GptaltError) as caught:
            resolve(make_spec(spec), plugins)
        return str(caught.value)

    return call


def test_more_examples_than_the_file_has(refuse):
    assert refuse(num_fewshot=40) == (
        "mine: 40 examples requested, but 'train' has only 11.\nUse --num_fewshot 11 or less."
    )


def test_rows_beyond_the_file(refuse):
    assert refuse(samples={"mine": [3, 11]}) == "--samples: mine has no row 11.\nIts 11 rows are 0 to 10."


def test_all_wrong_samples_are_said_at_once(refuse):
    text = refuse(samples={"mine": [11], "mien": [0], "piqa": [1]})
    assert text.startswith("3 problems found")
    assert "Did you mean 'mine'" in text and "the task 'piqa' is not run" in text


def test_written_out_examples_are_counted(plugins, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {validation: x.jsonl}}\n"
        "validation_split: validation\ndoc_to_text: q\ndoc_to_target: a\n"
        "fewshot_config: {samples: [{q: a, a: b}, {q: c, a: d}]}\n"
    )
    spec = {"model": "scripted", "tasks": "mine", "include_path": str(tmp_path)}
    assert resolve(make_spec(spec | {"num_fewshot": 1}), plugins)
    with pytest.raises(GptaltError, match="its YAML writes out only 2, of which lm-eval can show 1"):
        resolve(make_spec(spec | {"num_fewshot": 2}), plugins)


def test_the_files_that_a_task_reads(tmp_path, monkeypatch):
    for name in ("a.jsonl", "b.jsonl", "inner/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")

    def find(path="json", **settings):
        return [file.name for file in list_files({"dataset_path": path, "dataset_kwargs": settings or None})]

    assert find(data_files={"test": str(tmp_path / "*.jsonl"), "train": str(tmp_path / "gone.jsonl")}) == [
        "a.jsonl", "b.jsonl",
    ]  # fmt: skip
    assert find(data_files=["b.jsonl"], data_dir=str(tmp_path)) == ["b.jsonl"]
    assert (
        find("imagefolder", data_dir=str(tmp_path)) == find(str(tmp_path)) == ["a.jsonl", "b.jsonl", "c.txt"]
    )
    assert find(str(tmp_path / "a.jsonl")) == ["a.jsonl"]
    assert find() == find("somebody/something") == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").rename(tmp_path / "json")
    assert find() == [], "a builder's name is not that of a folder"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(("builder", "content"), [("json", b'{"a": 1}\n'), ("csv", b"a\n1\n")])
def test_rows_of_a_compressed_file_are_counted_when_they_are_read(tmp_path, pack, builder, content):
    """The library unpacks it then, whatever its name; before, templates are not tried on it."""
    file = tmp_path / f"rows.{builder}"
    file.write_bytes(pack(content))
    config = {"dataset_path": builder, "dataset_kwargs": {"data_files": {"test": str(file)}}}
    assert count_rows(config, "test") is None
    assert [*read_table(file, builder, None)] == []
    file.write_bytes(content)
    assert count_rows(config, "test") == 1 and [*read_table(file, builder, None)] == [{"a": 1}]


@pytest.mark.parametrize("builder", ["json", "csv"])
def test_rows_in_another_encoding_are_a_message(tmp_path, builder):
    file = tmp_path / "rows"
    file.write_bytes('a\n"ü"\n'.encode("latin-1"))
    with pytest.raises(GptaltError, match=str(file)):
        list(read_table(file, builder, None))
