"""Readers row by row: each release's columns, and what is said of a row or file that is not of the release."""

import gzip
import json
from dataclasses import replace

import pytest

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.located import LocatedData, LocatedSplit
from gptalt_eval.contract.types import Split
from gptalt_eval.data import locate
from gptalt_eval.data.datasets_yaml import find_integer_columns, rename_columns
from gptalt_eval.data.readers import (
    REPLACE,
    from_rows,
    is_array,
    read_json,
    read_jsonl,
    read_rows,
    with_labels,
)
from gptalt_eval.data.standard import list_datasets
from gptalt_eval.machine import bounds

DATASETS = {dataset.name: dataset for dataset in list_datasets()}


def refuse(call):
    with pytest.raises(DataError) as caught:
        call()
    return caught.value.what, caught.value.hint


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b'{"a": 1}\n\n{"a": ', 3, "Expecting value"),
        (b'{"a": 1}\n{"a": \xff}\n', 1, "'utf-8' codec can't decode"),
        (b"{", 1, "Expecting property name enclosed in double quotes"),
        (b'{"a": 1}\n' + b"[" * 200_000, 2, "maximum recursion depth exceeded"),
        (b'{"a": ' + b"9" * 5000 + b"}", 1, "Exceeds the limit"),
    ],
)
def test_a_line_that_is_damaged(tmp_path, content, line, reason):
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    what, hint = refuse(lambda: list(read_jsonl(file)))
    assert what.startswith(f"{file}, line {line}: truncated or damaged ({reason}") and what.endswith(").")
    assert hint == REPLACE and "gptalt-eval show dataset NAME" in hint


def test_a_line_that_is_no_object(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n \n[1]\n')
    assert refuse(lambda: list(read_jsonl(file))) == (f"{file}, line 3: a JSON object was expected.", REPLACE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": 2}'),
        ("a.jsonl.gz", gzip.compress(mtime=0, data=b'{"a": 1}\n{"a": 2}')),
        ("a.json", b'[{"a": 1}, {"a": 2}]'),
        ("a.json", b'\xef\xbb\xbf \t\r\n[{"a": 1}, {"a": 2}]'.removeprefix(b"\xef\xbb\xbf")),
        ("a.json", b'{"a": 1}\n{"a": 2}'),
        ("a.txt", b'{"a": 1}\n{"a": 2}'),
    ],
)
def test_rows_of_each_kind_of_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert list(read_rows(tmp_path / name)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"[", True), (b"\xef\xbb\xbf\r\n [", True), (b"{", False), (b"", False), (b" " * 64 + b"[", False)],
)
def test_arrays_are_told_by_their_first_sign(tmp_path, content, expected):
    (tmp_path / "a").write_bytes(content)
    assert is_array(tmp_path / "a") is expected


def test_json_that_is_damaged(tmp_path):
    for name, reason in (
        ("gone.json", "[Errno 2]"),
        ("cut.json", "Expecting value"),
        ("deep.json", "maximum recursion"),
    ):
        (tmp_path / "cut.json").write_text("[")
        (tmp_path / "deep.json").write_text("[" * 200_000)
        what, hint = refuse(lambda name=name: read_json(tmp_path / name))
        assert what.startswith(f"{tmp_path / name}: truncated or damaged ({reason}") and what.endswith(").")
        assert hint == REPLACE


def write(file, *rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_rows_are_numbered_over_all_files(tmp_path):
    files = write(tmp_path / "a.jsonl", {"x": 1}, {"x": 2}), write(tmp_path / "b.jsonl", {"x": 3}, {})
    read = from_rows(lambda index, row: {"n": index, "x": row["x"]})
    rows = read(files, None)
    assert [next(rows) for _ in range(3)] == [{"n": n, "x": n + 1} for n in range(3)]
    assert refuse(lambda: next(rows)) == (
        f"{files[1]}, row 4: not in the release's format (KeyError('x')).", REPLACE,
    )  # fmt: skip


def test_labels_stand_in_a_file_beside(tmp_path):
    file = write(tmp_path / "a.jsonl", {"x": 1}, {"x": 2})
    labels = tmp_path / "a-labels.lst"
    read = with_labels(lambda row, label: {**row, "label": label})
    assert refuse(lambda: list(read((file,), None))) == (
        f"{labels} is missing: it contains the labels of a.jsonl.",
        REPLACE,
    )
    labels.write_text("u\nv\n")
    assert list(read((file, file), None)) == [{"x": 1, "label": "u"}, {"x": 2, "label": "v"}] * 2
    for text, count in (("u\n", "1"), ("u\n" * 1_000, "1,000")):
        labels.write_text(text)
        assert refuse(lambda: list(read((file,), None))) == (
            f"a.jsonl has 2 rows, but a-labels.lst has {count} labels.",
            REPLACE,
        )


# ---------------------------------------------------------------------- releases

ARC = {
    "id": "i", "question": {"stem": "s", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}, "answerKey": "B"
}  # fmt: skip
CHOICES = {"text": ["x", "y"], "label": ["A", "B"]}
ENDINGS = ("ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split", "split_type")


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("boolq", {"question": "q", "passage": "p", "answer": False}, {"question": "q", "passage": "p", "idx": 0, "label": 0}),
        ("boolq", {"question": "q", "passage": "p", "title": "T", "answer": True}, {"question": "q", "passage": "T -- p", "idx": 0, "label": 1}),
        ("hellaswag", {**{key: key for key in ENDINGS}, "label": 3, "x": 1}, {**{key: key for key in ENDINGS}, "label": "3"}),
        ("hellaswag", {key: key for key in ENDINGS}, {**{key: key for key in ENDINGS}, "label": ""}),
        ("arc_easy", ARC, {"id": "i", "question": "s", "choices": CHOICES, "answerKey": "B"}),
        ("openbookqa", ARC, {"id": "i", "question_stem": "s", "choices": CHOICES, "answerKey": "B"}),
        ("triviaqa", {"question": 1, "question_id": 2, "question_source": 3, "answer": {"v": 4}, "x": 5}, {"question": 1, "question_id": 2, "question_source": 3, "answer": {"v": 4}}),
        ("gsm8k", {"question": "q", "answer": "a", "x": 1}, {"question": "q", "answer": "a"}),
        ("sciq", {key: key for key in ("question", "distractor3", "distractor1", "distractor2", "correct_answer", "support", "x")},
         {key: key for key in ("question", "distractor3", "distractor1", "distractor2", "correct_answer", "support")}),
    ],
)  # fmt: skip
def test_each_release_gives_the_hubs_columns(tmp_path, name, row, expected):
    [found] = DATASETS[name].read((write(tmp_path / "a.jsonl", row),), None)
    assert found == expected and list(found) == list(expected)


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("winogrande", {"sentence": "s", "option1": "o", "option2": "p", "answer": "9"}, {"sentence": "s", "option1": "o", "option2": "p", "answer": "1"}),
        ("piqa", {"goal": "g", "sol1": "s", "sol2": "t", "x": 1}, {"goal": "g", "sol1": "s", "sol2": "t", "label": 1}),
    ],
)  # fmt: skip
def test_releases_with_labels_beside(tmp_path, name, row, expected):
    (tmp_path / "a-labels.lst").write_text("1\n")
    [found] = DATASETS[name].read((write(tmp_path / "a.jsonl", row),), None)
    assert found == expected


def test_race_passages(tmp_path):
    file = tmp_path / "1.txt"
    passage = {"article": "a", "questions": ["q", "r"], "answers": ["A", "D"], "options": [["w"], ["x"]]}
    file.write_text(json.dumps(passage))
    problems = [
        {"question": "q", "answer": "A", "options": ["w"]},
        {"question": "r", "answer": "D", "options": ["x"]},
    ]
    assert (
        list(DATASETS["race_high"].read((file, file), "high"))
        == [{"article": "a", "problems": str(problems)}] * 2
    )


def test_mmlu_tables(tmp_path):
    file = tmp_path / "a.csv"
    for text, row in (
        ("q,1,2,3,4,A\nq,1,2,3,4\n", 2),
        ("q,1,2,3,4,E\n", 1),
        ("q,1,2,3,4,A,B\n", 1),
        ("q,1,2,3,4,AB\n", 1),
    ):
        file.write_text(text)
        what, hint = refuse(lambda: list(DATASETS["mmlu"].read((file,), "x")))
        assert (
            what == f"{file}, row {row}: six columns were expected, the last a letter from A to D."
            and hint == REPLACE
        )
    file.write_text("".join(f"q,1,2,3,4,{letter}\n" for letter in "ABCD"))
    assert [row["answer"] for row in DATASETS["mmlu"].read((file,), "x")] == [0, 1, 2, 3]


DATE = {"day": "", "month": "", "year": ""}
PAIR = {"query_id": "i", "question": "q", "answer": {"spans": ["A"]}}


def test_drop_in_both_forms(tmp_path):
    nested = tmp_path / "a.json"
    validated = [
        {"number": 3, "date": {"year": 1999}, "worker_id": "w", "hit_id": "h"},
        {"spans": None, "date": None},
    ]
    nested.write_text(
        json.dumps({"s": {"passage": "p", "qa_pairs": [PAIR | {"validated_answers": validated}, PAIR]}})
    )
    first, second = DATASETS["drop"].read((nested,), None)
    empty = {"number": "", "date": DATE, "spans": ["A"], "worker_id": "", "hit_id": ""}
    assert first == {
        "section_id": "s", "query_id": "i", "passage": "p", "question": "q", "answer": empty,
        "validated_answers": {
            "number": ["3", ""], "date": [DATE | {"year": "1999"}, DATE], "spans": [[], []], "worker_id": ["w", ""], "hit_id": ["h", ""],
        },
    }  # fmt: skip
    nothing = {key: [] for key in ("number", "date", "spans", "worker_id", "hit_id")}
    assert second == first | {"validated_answers": nothing}
    flat = write(tmp_path / "b.jsonl", {"context": "Passage: p\nQuestion: q\nAnswer:", "ref_text": "A"})
    [row] = DATASETS["drop"].read((flat,), None)
    assert row == second | {"section_id": "", "query_id": "0"}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"s": {}},
        {"s": {"qa_pairs": [PAIR]}},
        {"s": {"qa_pairs": 3}},
        {"s": {"passage": "", "qa_pairs": [{}]}},
    ],
)
def test_drop_that_is_not_drop(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content))
    what, hint = refuse(lambda: list(DATASETS["drop"].read((file,), None)))
    assert what.startswith(f"{file}: not in the format of DROP's release (") and hint == REPLACE


# ---------------------------------------------------------------------- columns of one's own


def test_columns_are_renamed(tmp_path):
    file = write(tmp_path / "a.jsonl", {"answer": 1, "text": "t"}, {"text": "u"})
    rows = rename_columns({"label": "answer"})((file,), None)
    assert next(rows) == {"text": "t", "label": 1}
    assert refuse(lambda: next(rows)) == (
        f"{file}, row 2: there is no column 'answer'.",
        "The columns are: text.",
    )
    write(file, {"answr": 1})
    assert (
        refuse(lambda: next(rename_columns({"label": "answer"})((file,), None)))[1] == "Did you mean 'answr'?"
    )


def test_columns_of_whole_numbers(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("a,b,c,d\n1,x,-3,007\n2,1,0,1\n")
    assert find_integer_columns(file) == {"a", "c"}
    file.write_text("a,b\n")
    assert find_integer_columns(file) == set()


# ---------------------------------------------------------------------- where files lie


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")


def test_the_first_pattern_that_finds_files(tmp_path):
    split = Split("test", ("best.jsonl", "{config}/*.txt", "worst.jsonl"))
    assert locate.match_files(tmp_path, split, "x") == ("", ())
    touch(tmp_path, "worst.jsonl")
    assert locate.match_files(tmp_path, split, "x") == ("worst.jsonl", (tmp_path / "worst.jsonl",))
    touch(tmp_path, "x/10.txt", "x/9.txt", "x/a.txt", "y/1.txt")
    files = tuple(tmp_path / "x" / f"{name}.txt" for name in ("a", "9", "10"))
    assert locate.match_files(tmp_path, split, "x") == ("{config}/*.txt", files)
    assert locate.find_files(tmp_path, split, "x") == files
    assert locate.find_files(tmp_path, split, None) == (tmp_path / "worst.jsonl",)


def test_files_beside(tmp_path):
    touch(tmp_path, "a[1].jsonl", "a[1]-labels.lst", "a[1]-more.lst", "a1-labels.lst", "b.lst")
    split = Split("test", (), beside=("{stem}-*.lst", "b.lst", "gone.lst"))
    assert locate.find_beside(tmp_path / "a[1].jsonl", split) == (
        tmp_path / "a[1]-labels.lst", tmp_path / "a[1]-more.lst", tmp_path / "b.lst",
    )  # fmt: skip


def test_the_sample_of_a_subject_and_its_shots(tmp_path):
    subjects = [{"subject": "x", "n": 1}, {"subject": "y", "n": 2}, {"subject": "sample", "n": 3}, {"n": 4}]
    write(tmp_path / "test.jsonl", *subjects)
    dataset = replace(DATASETS["mmlu"], sample=tmp_path)
    files = locate.find_sample(dataset, "test")
    assert files == (tmp_path / "test.jsonl",)
    assert (
        locate.find_sample(dataset, "dev") == locate.find_sample(replace(dataset, sample=None), "test") == ()
    )
    assert [row["n"] for row in locate.read_split(dataset, "x", files, True)] == [1, 3]
    assert [row["n"] for row in locate.read_split(dataset, None, files, True)] == [1, 2, 3, 4]
    fixed = replace(dataset, configs=("x",))
    assert [row["n"] for row in locate.read_split(fixed, "x", files, True)] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="only the rows of a registered dataset"):
        locate.read_split(None, "x", files, True)


def test_all_that_is_said_of_a_located_split(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    file = write(tmp_path / "gsm8k" / "test.jsonl", {"question": "q", "answer": "a"})
    dataset = DATASETS["gsm8k"]
    found = locate.locate(dataset, "main", ("test", "train", "none"), tmp_path)
    assert (found.hub, found.config, found.origin, found.dataset) == (
        "openai/gsm8k",
        "main",
        "folder",
        dataset,
    )
    [split] = found.splits.values()
    assert (split.name, split.files, split.rows, split.official, split.key) == ("test", (file,), 1, 1319, "")
    assert split.verdict.reason == "GSM8K test: 1 rows, 1,319 expected (gsm8k/test.jsonl)."
    sample = locate.locate(dataset, "main", ("test", "none"), "sample")
    [split] = sample.splits.values()
    assert (sample.origin, split.rows, split.official, split.verdict, split.key) == (
        "sample",
        20,
        None,
        None,
        "",
    )
    assert split.files == (dataset.sample / "test.jsonl",) and len(split.sha256) == 64
    assert list(locate.read_located(sample, "test")) == list(read_jsonl(dataset.sample / "test.jsonl"))


def test_a_sum_over_subjects_is_not_the_official_count_of_one(tmp_path):
    (tmp_path / "mmlu" / "test").mkdir(parents=True)
    (tmp_path / "mmlu" / "test" / "x_test.csv").write_text("q,1,2,3,4,A\n")
    [split] = locate.locate(DATASETS["mmlu"], "x", ("test",), tmp_path).splits.values()
    assert (split.rows, split.official, split.verdict.state) == (1, None, "unchecked")


def test_big_files_show_a_bar(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        locate, "show_progress", lambda rows, text, total: shown.append((text, total)) or rows
    )
    monkeypatch.setattr(locate, "is_big", lambda files: True)
    write(tmp_path / "test.jsonl", {"question": "q", "answer": "a"})
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "test.jsonl").rename(tmp_path / "gsm8k" / "test.jsonl")
    found = locate.locate(DATASETS["gsm8k"], "main", ("test",), tmp_path)
    assert len(list(locate.read_located(found, "test"))) == 1
    assert shown == [("Reading GSM8K test", 1319), ("Converting test", 1)]


def test_located_data_without_a_dataset_is_not_read():
    split = LocatedSplit("test", (), 0, None, "")
    data = LocatedData("a/b", None, "hub", None, {"test": split})
    assert not data.is_sample
    with pytest.raises(ValueError, match="registered dataset"):
        list(locate.read_located(data, "test"))


@pytest.mark.parametrize(
    ("flag", "variable", "source"), [("/nowhere", None, "--data_dir"), (None, "/nowhere", "GPTALT_DATA")]
)
def test_a_data_folder_that_is_not_there(monkeypatch, flag, variable, source):
    if variable:
        monkeypatch.setenv("GPTALT_DATA", variable)
    what, hint = refuse(lambda: locate.choose_data_dir(flag))
    assert what == f"{source}: there is no folder /nowhere."
    assert "--data_dir sample" in hint


def test_home_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate.choose_data_dir("~") == tmp_path
    assert locate.choose_data_dir("") is None


# ---------------------------------------------------------------------- gzipped rows


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path, monkeypatch):
    """1 MB of zeros has 1 KB when it is packed; a file of 10 GB would fill the memory."""
    monkeypatch.setattr(bounds, "FREE", 1 << 16)
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"a": 1}\n' * 200_000))
    rows = read_rows(file)
    assert next(rows) == {"a": 1}, "read as it is unpacked"
    what, hint = refuse(lambda: list(rows))
    assert "it unpacks to more than 100 times its size" in what and str(file) in what and hint == REPLACE
    file.write_bytes(gzip.compress(b" " * (1 << 22)))
    assert "it unpacks to more than" in refuse(lambda: list(read_rows(file)))[0], "one line without an end"


@pytest.mark.parametrize("place", range(10, 900, 60))
def test_a_gzipped_file_that_is_damaged_is_a_message(tmp_path, place):
    packed = bytearray(gzip.compress("".join(f'{{"a": {n * n}}}\n' for n in range(999)).encode()))
    packed[place : place + 8] = b"\xff" * 8
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    assert "truncated or damaged" in refuse(lambda: list(read_rows(tmp_path / "a.jsonl.gz")))[0]


def test_a_gzipped_file_is_closed(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(bounds, "open_file", lambda *given: opened.append(path.open("rb")) or opened[-1])
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 3))
    assert list(read_rows(path)) == [{"a": 1}] * 3
    path.write_bytes(gzip.compress(b'{"a": 1}\n[]'))
    refuse(lambda: list(read_rows(path)))
    assert len(opened) == 2 and all(stream.closed for stream in opened)
