"""Short and altered release files: found before anything loads, allowed on request, marked everywhere."""

import io
import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.contract.types import Part, Split
from gptalt_eval.data import locate as data
from gptalt_eval.data import standard
from gptalt_eval.data.check import hash_files, is_summed, judge, read_checksums
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.results.table import print_scores
from gptalt_eval.running.api import run

HELLASWAG = "hellaswag/hellaswag_val.jsonl"


def plan(plugins, folder, tasks, **settings):
    return resolve(
        make_spec({"model": "scripted", "tasks": tasks, "data_dir": str(folder), **settings}),
        plugins,
    )


def refuse(plugins, folder, tasks, **settings):
    with pytest.raises(GptaltError) as caught:
        plan(plugins, folder, tasks, **settings)
    return str(caught.value)


def copy(shared, folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / path, folder / path)


# ------------------------------------------------------------------ on the real files


def test_a_short_file(shared_data, plugins, tmp_path):
    lines = (shared_data / HELLASWAG).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "hellaswag").mkdir()
    (tmp_path / HELLASWAG).write_text("".join(lines[:9000]), encoding="utf-8")
    text = refuse(plugins, tmp_path, "hellaswag")
    assert text.splitlines() == [
        f"HellaSwag validation: 9,000 rows, 10,042 expected ({HELLASWAG}).",
        "Download the file again (github.com/rowanz/hellaswag), or use it as it is with --allow-partial-data.",
    ]


def test_an_altered_byte(shared_data, plugins, tmp_path):
    content = (shared_data / HELLASWAG).read_bytes()
    (tmp_path / "hellaswag").mkdir()
    (tmp_path / HELLASWAG).write_bytes(content.replace(b"roof", b"rooF", 1))
    first = refuse(plugins, tmp_path, "hellaswag").splitlines()[0]
    found = hash_files((tmp_path / HELLASWAG,)).together[:12]
    right = read_checksums(standard.CHECKSUMS)[HELLASWAG][:12]
    assert first == (
        f"HellaSwag validation: {HELLASWAG} is altered (10,042 rows, SHA-256 {found}..., {right}... expected)."
    )


def test_altered_labels(shared_data, plugins, tmp_path):
    copy(shared_data, tmp_path, "piqa/valid.jsonl", "piqa/valid-labels.lst")
    labels = tmp_path / "piqa" / "valid-labels.lst"
    labels.write_text(labels.read_text().replace("0", "1", 1))
    assert "PIQA validation: piqa/valid-labels.lst is altered (1,838 rows" in refuse(
        plugins, tmp_path, "piqa"
    )


def test_a_swapped_split_of_the_same_length_is_named(shared_data, plugins, tmp_path):
    copy(shared_data, tmp_path, "openbookqa/Main/dev.jsonl", "openbookqa/Main/train.jsonl")
    shutil.copyfile(tmp_path / "openbookqa/Main/dev.jsonl", tmp_path / "openbookqa/Main/test.jsonl")
    text = refuse(plugins, tmp_path, "openbookqa")
    assert "OpenBookQA test: openbookqa/Main/test.jsonl is altered (500 rows" in text
    assert "openbookqa/Main/test.jsonl has the content of the published openbookqa/Main/dev.jsonl." in text


def test_a_swapped_split_of_another_length_is_named(shared_data, plugins, tmp_path):
    copy(shared_data, tmp_path, "arc/ARC-Easy-Dev.jsonl")
    shutil.copyfile(tmp_path / "arc/ARC-Easy-Dev.jsonl", tmp_path / "arc/ARC-Easy-Test.jsonl")
    text = refuse(plugins, tmp_path, "arc_easy")
    assert "ARC-Easy test: 570 rows, 2,376 expected (arc/ARC-Easy-Test.jsonl)." in text
    assert "arc/ARC-Easy-Test.jsonl has the content of the published arc/ARC-Easy-Dev.jsonl." in text


@pytest.mark.parametrize("flag", [False, True])
def test_an_emptied_subject_is_named(shared_data, plugins, tmp_path, flag):
    shutil.copytree(shared_data / "mmlu", tmp_path / "mmlu", copy_function=shutil.copyfile)
    (tmp_path / "mmlu" / "test" / "anatomy_test.csv").write_text("")
    text = refuse(plugins, tmp_path, "mmlu", allow_partial_data=flag)
    assert "(mmlu/test/anatomy_test.csv)" in text and "is empty" in text and "problems found" not in text


def test_an_altered_subject_is_named(shared_data, plugins, tmp_path):
    copy(shared_data, tmp_path, "mmlu/test/anatomy_test.csv", "mmlu/dev/anatomy_dev.csv")
    file = tmp_path / "mmlu" / "test" / "anatomy_test.csv"
    file.write_text(file.read_text()[: file.read_text().rindex("\n", 0, -1) + 1])
    assert "MMLU test: mmlu/test/anatomy_test.csv is altered (134 rows" in refuse(
        plugins, tmp_path, "mmlu_anatomy"
    )


def test_parts_by_design_are_no_fault_but_a_note(shared_data, plugins):
    found = plan(plugins, shared_data, "triviaqa,race,winogrande,piqa", limit=2)
    assert found.notes == (
        "TriviaQA validation: the Wikipedia half, 7,993 of 17,944 rows (triviaqa/rc.wikipedia.nocontext.validation.jsonl).",
        "RACE high school (rows are passages) test: only some of the files, 120 of 1,045 rows (race/RACE/test/high/*.txt).",
    )
    partial = {task.name: bool(task.partial) for task in found.cells[0].tasks}
    assert partial == {"triviaqa": True, "race": True, "winogrande": False, "piqa": False}


def test_a_small_training_set_counts_where_examples_come_from_it(shared_data, plugins):
    assert "the extra small training set" in plan(plugins, shared_data, "winogrande", num_fewshot=1).notes[0]


def test_a_broken_race_passage_is_named(shared_data, plugins, tmp_path):
    copy(
        shared_data,
        tmp_path,
        *(f"race/RACE/test/high/{file.name}" for file in (shared_data / "race/RACE/test/high").iterdir()),
    )
    broken = sorted((tmp_path / "race/RACE/test/high").iterdir())[7]
    broken.write_text(broken.read_text()[:-30])
    text = refuse(plugins, tmp_path, "race", allow_partial_data=True)
    assert f"{broken.name}: truncated or damaged" in text


# ------------------------------------------------------------------ on small files


@pytest.fixture
def gsm8k(tmp_path, monkeypatch):
    """A data folder whose GSM8K is complete with 3 rows."""
    (tmp_path / "gsm8k").mkdir()
    file = tmp_path / "gsm8k" / "test.jsonl"
    file.write_text(
        "".join(json.dumps({"question": f"q{i}", "answer": f"#### {i}"}) + "\n" for i in range(3))
    )
    checksums = tmp_path / "known.sha256"
    checksums.write_text(f"# a comment\n{hash_files((file,)).together}  gsm8k/test.jsonl\n")
    [whole] = [dataset for dataset in standard.list_datasets() if dataset.name == "gsm8k"]
    small = replace(
        whole,
        splits=(Split("test", ("gsm8k/test.jsonl",), 3), Split("train", ("gsm8k/train.jsonl",), 9)),
        checksums=checksums,
    )
    monkeypatch.setattr(standard, "list_datasets", lambda: [small])
    return tmp_path


def test_complete_files_say_nothing(gsm8k, plugins):
    found = plan(plugins, gsm8k, "gsm8k", num_fewshot=0)
    assert found.notes == () and found.cells[0].tasks[0].partial == ""


def test_what_is_allowed_is_marked_everywhere(gsm8k, plugins):
    file = gsm8k / "gsm8k" / "test.jsonl"
    file.write_text(file.read_text().replace("q1", "q7"))
    spec = {"model": "scripted", "tasks": "gsm8k", "num_fewshot": 0, "data_dir": str(gsm8k)}
    spec |= {"allow_partial_data": True, "output_path": str(gsm8k / "out")}
    record = run(make_spec(spec), plugins, Console(quiet=True)).records[0]
    reason = "GSM8K test: gsm8k/test.jsonl is altered (3 rows, SHA-256 "
    described = record.run.data["gsm8k"]
    assert described.partial and described.reason.startswith(reason)
    assert record.notes[0].startswith(reason)
    assert record.results[0]["gptalt_partial_data"]["gsm8k"].startswith(reason)
    assert record.run.settings["allow_partial_data"] is True
    assert "gsm8k/test.jsonl is altered" in (record.folder / "report.html").read_text(encoding="utf-8")
    screen = io.StringIO()
    print_scores(Console(file=screen, width=200), [record])
    assert "Note: GSM8K" in " ".join(screen.getvalue().split())


def test_what_is_whole_is_not_marked(gsm8k, plugins):
    spec = {
        "model": "scripted",
        "tasks": "gsm8k",
        "num_fewshot": 0,
        "data_dir": str(gsm8k),
        "allow_partial_data": True,
    }
    record = run(
        make_spec({**spec, "output_path": str(gsm8k / "out")}), plugins, Console(quiet=True)
    ).records[0]
    assert not record.run.data["gsm8k"].partial and "gptalt_partial_data" not in record.results[0]


def test_a_split_that_is_not_used_is_not_asked_about(gsm8k, plugins):
    (gsm8k / "gsm8k" / "train.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n')
    assert plan(plugins, gsm8k, "gsm8k", num_fewshot=0).notes == ()
    assert "GSM8K train: 1 rows, 9 expected" in refuse(plugins, gsm8k, "gsm8k", num_fewshot=1)


# ------------------------------------------------------------------ the verdict itself


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "known").write_text("aaaa  x/whole\nbbbb  x/other\n")
    [whole] = [dataset for dataset in standard.list_datasets() if dataset.name == "gsm8k"]
    return replace(whole, checksums=tmp_path / "known")


SPLIT = Split("test", ("x/whole", "x/half", "x/*.txt"), 10, {"x/half": Part("half of it", 5)})


@pytest.mark.parametrize(
    ("pattern", "rows", "digest", "expected"),
    [
        ("x/whole", 10, "aaaa", ("complete", "known", 10)),
        ("x/whole", 9, "zzzz", ("short", "altered", 10)),
        ("x/whole", 11, "zzzz", ("altered", "altered", 10)),
        ("x/whole", 10, "bbbb", ("altered", "altered", 10)),
        ("x/half", 5, "zzzz", ("partial", "unknown", 5)),
        ("x/half", 4, "zzzz", ("short", "unknown", 5)),
        ("x/*.txt", 4, "zzzz", ("partial", "unknown", 10)),
        ("x/*.txt", 10, "zzzz", ("complete", "unknown", 10)),
        ("x/*.txt", 11, "zzzz", ("altered", "unknown", 10)),
    ],
)
def test_verdicts(dataset, pattern, rows, digest, expected):
    verdict = judge(dataset, SPLIT, pattern, pattern, rows, {pattern: digest})
    assert (verdict.state, verdict.known, verdict.expected) == expected
    assert bool(verdict.reason) == (verdict.state != "complete")
    assert bool(verdict.likely) == (digest == "bbbb")


@pytest.mark.parametrize(
    ("pattern", "rows", "digest", "reason", "likely", "part"),
    [
        ("x/whole", 10, "aaaa", "", "", ""),
        ("x/whole", 9, "aaaa", "GSM8K test: 9 rows, 10 expected (HERE).", "", ""),
        ("x/whole", 10, "bbbb", "GSM8K test: x/whole is altered (10 rows, SHA-256 bbbb..., aaaa... expected).", "x/whole has the content of the published x/other.", ""),
        ("x/half", 5, "zzzz", "GSM8K test: half of it, 5 of 10 rows (HERE).", "", "half of it"),
        ("x/*.txt", 4, "zzzz", "GSM8K test: only some of the files, 4 of 10 rows (HERE).", "", "only some of the files"),
    ],
)  # fmt: skip
def test_what_verdicts_say(dataset, pattern, rows, digest, reason, likely, part):
    verdict = judge(dataset, SPLIT, pattern, "HERE", rows, {pattern: digest})
    assert (verdict.reason, verdict.likely, verdict.part) == (reason, likely, part)


def test_thousands_are_grouped_and_hashes_cut(dataset):
    split = replace(SPLIT, rows=12_345)
    assert "1,234 rows, 12,345 expected" in judge(dataset, split, "x/whole", "p", 1_234, {}).reason
    dataset.checksums.write_text(f"{'a' * 64}  x/whole\n")
    reason = judge(dataset, split, "x/whole", "p", 12_345, {"x/whole": "b" * 64}).reason
    assert f"(12,345 rows, SHA-256 {'b' * 12}..., {'a' * 12}... expected)" in reason
    assert (
        "only some of the files, 1,000 of 12,345 rows"
        in judge(dataset, split, "x/*.txt", "p", 1_000, {}).reason
    )


def test_a_part_of_a_split_whose_rows_nobody_states(dataset):
    """Whole in itself, as far as anybody can say."""
    split = Split("test", ("x/whole", "x/half"), None, {"x/half": Part("half of it", 5)})
    verdict = judge(dataset, split, "x/half", "p", 5, {"x/half": "zzzz"})
    assert (verdict.state, verdict.reason, verdict.part) == ("complete", "", "")
    assert judge(dataset, split, "x/half", "p", 4, {"x/half": "zzzz"}).state == "short"
    assert judge(dataset, split, "x/whole", "p", 4, {"x/whole": "aaaa"}).state == "complete", (
        "its hash is known"
    )


@pytest.mark.parametrize(
    ("configs", "files", "expected"),
    [
        ((), ("{config}/a",), True),
        (("x", "y"), ("{config}/a",), True),
        (("x",), ("{config}/a",), False),
        ((), ("a", "{config}/a"), True),
        ((), ("a", "b"), False),
        (("x", "y"), ("a",), False),
    ],
)
def test_a_count_over_configurations_says_nothing_of_one(dataset, configs, files, expected):
    split = Split("test", files, 10)
    own = replace(dataset, configs=configs)
    assert is_summed(own, split) is expected
    verdict = judge(own, split, files[0], "p", 3, {files[0]: "zz"})
    assert (verdict.state, verdict.expected) == (("unchecked", None) if expected else ("short", 10))


def test_several_files_are_judged_together(dataset):
    known = {"x/whole": "aaaa", "x/other": "bbbb"}
    assert judge(dataset, SPLIT, "x/whole", "p", 10, known).known == "known"
    assert judge(dataset, SPLIT, "x/whole", "p", 10, known | {"x/new": "cc"}).known == "unknown"
    found = judge(dataset, SPLIT, "x/whole", "p", 10, {"x/new": "cc", "x/whole": "zz", "x/other": "yy"})
    assert found.known == "altered" and "x/whole is altered" in found.reason and found.likely == ""


def test_hashes_of_files_each_and_together(tmp_path):
    import hashlib

    files = tmp_path / "a", tmp_path / "b"
    contents = b"1" * (1 << 20) + b"2", b"3"
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    found = hash_files(files)
    assert found.together == hashlib.sha256(b"".join(contents)).hexdigest()
    assert found.each == {
        file: hashlib.sha256(content).hexdigest() for file, content in zip(files, contents, strict=True)
    }


def test_a_list_of_checksums_as_sha256sum_writes_it(tmp_path):
    (tmp_path / "known").write_text("# a comment\n\naa  x/with space\nbb *binary\n \n")
    assert read_checksums(tmp_path / "known") == {"x/with space": "aa", "binary": "bb"}
    assert read_checksums(None) == {}


def test_nothing_known_is_nothing_claimed(dataset):
    bare = replace(dataset, checksums=None)
    assert judge(bare, Split("test", ("y",)), "y", "y", 3, {"y": "zz"}).state == "unchecked"


def test_checksums_are_listed_for_what_is_complete(shared_data):
    listed = read_checksums(standard.CHECKSUMS)
    assert len([path for path in listed if path.startswith("mmlu/")]) == 171
    assert not [path for path in listed if path.startswith("race/")]
    files = tuple(shared_data / path for path in listed)
    assert {
        file.relative_to(shared_data).as_posix(): digest for file, digest in hash_files(files).each.items()
    } == listed


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "gsm8k" / "test.jsonl").mkdir(parents=True)
    [dataset] = [dataset for dataset in standard.list_datasets() if dataset.name == "gsm8k"]
    with pytest.raises(DataError, match=r"test\.jsonl cannot be read"):
        data.locate(dataset, "main", ("test",), tmp_path)
