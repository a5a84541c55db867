"""``gptalt-eval data``: check, put in place; and what ``ls`` and ``show`` say of a data folder."""

import gzip
import io
import json
import shutil
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.data.download import Item, open_download
from gptalt_eval.data.prepare import choose_items, count_fitting
from gptalt_eval.data.standard import list_datasets
from gptalt_eval.testing import make_plugin_set

DATASETS = {dataset.name: dataset for dataset in list_datasets()}
GSM8K = b"".join(
    json.dumps({"question": f"q{i}", "answer": f"#### {i}"}).encode() + b"\n" for i in range(1319)
)
PASSAGE = json.dumps(
    {"article": "a", "questions": ["q"], "answers": ["A"], "options": [list("wxyz")]}
).encode()


@pytest.fixture
def call(capsys):
    """Runs ``gptalt-eval data ...`` (or ls, show) in this process: (exit code, what it printed)."""

    def call(*words):
        outer = [] if words[0] in ("ls", "show") else ["data"]
        code = cli.dispatch([*outer, *map(str, words)], make_plugin_set())
        return code, capsys.readouterr().out

    return call


def refuse(call, *words):
    with pytest.raises(GptaltError) as caught:
        call(*words)
    return str(caught.value)


def write(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


# ------------------------------------------------------------------ check

PARTIAL = {
    ("winogrande", "train"): (160, 160, "known", "the extra small training set"),
    ("race_high", "validation"): (120, 1021, "unknown", "only some of the files"),
    ("race_high", "test"): (120, 1045, "unknown", "only some of the files"),
    ("race_middle", "validation"): (120, 368, "unknown", "only some of the files"),
    ("race_middle", "test"): (120, 362, "unknown", "only some of the files"),
    ("triviaqa", "validation"): (7993, 7993, "known", "the Wikipedia half"),
    ("sciq", "train"): (1000, 1000, "known", "the validation set in place of the training set"),
}
WHOLE = {
    ("boolq", "validation"): 3270, ("hellaswag", "validation"): 10042, ("winogrande", "validation"): 1267,
    ("piqa", "validation"): 1838, ("arc_easy", "train"): 2251, ("arc_easy", "validation"): 570, ("arc_easy", "test"): 2376,
    ("arc_challenge", "train"): 1119, ("arc_challenge", "validation"): 299, ("arc_challenge", "test"): 1172,
    ("openbookqa", "train"): 4957, ("openbookqa", "validation"): 500, ("openbookqa", "test"): 500,
    ("drop", "validation"): 9536, ("gsm8k", "train"): 7473, ("gsm8k", "test"): 1319, ("mmlu", "dev"): 285,
    ("mmlu", "validation"): 1531, ("mmlu", "test"): 14042, ("sciq", "validation"): 1000, ("sciq", "test"): 1000,
}  # fmt: skip


def test_the_real_folder_is_as_its_readme_says(shared_data, call):
    code, printed = call("check", "--data_dir", shared_data, "--json")
    assert code == 0
    found = {(row["dataset"], row["split"]): row for row in json.loads(printed)}
    here = {key: row for key, row in found.items() if row["state"] != "missing"}
    assert here.keys() == PARTIAL.keys() | WHOLE.keys()
    for key, rows in WHOLE.items():
        row = here[key]
        assert (row["rows"], row["expected"], row["sha256"], row["state"]) == (
            rows,
            rows,
            "known",
            "complete",
        ), key
    for key, expected in PARTIAL.items():
        row = here[key]
        assert (row["rows"], row["expected"], row["sha256"], row["part"]) == expected and row[
            "state"
        ] == "partial"


def test_the_table(shared_data, call):
    _, printed = call("check", "triviaqa", "mmlu", "--data_dir", shared_data)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "DATASET SPLIT FILES ROWS EXPECTED SHA-256 STATE"
    assert "mmlu test mmlu/test/*_test.csv (57 files) 14,042 14,042 known complete" in lines
    path = "triviaqa/rc.wikipedia.nocontext.validation.jsonl"
    assert f"triviaqa validation {path} 7,993 7,993 of 17,944 known partial: the Wikipedia half" in lines
    assert "triviaqa train triviaqa/rc.nocontext.train.jsonl 138,384 missing" in lines


def test_everything_wrong_is_reported_and_the_rest_goes_on(shared_data, tmp_path, call):
    for name in ("mmlu", "hellaswag", "gsm8k", "arc"):
        shutil.copytree(shared_data / name, tmp_path / name, copy_function=shutil.copyfile)
    (tmp_path / "mmlu/test/anatomy_test.csv").write_text("")
    (tmp_path / "mmlu/val/virology_val.csv").unlink()
    lines = (tmp_path / "hellaswag/hellaswag_val.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "hellaswag/hellaswag_val.jsonl").write_text("".join(lines[:9000]))
    (tmp_path / "gsm8k/test.jsonl").write_text((tmp_path / "gsm8k/test.jsonl").read_text()[:-9])
    file = tmp_path / "arc/ARC-Easy-Test.jsonl"
    file.write_text(file.read_text().replace("Which", "Witch", 1))
    code, printed = call("check", "--data_dir", tmp_path)
    assert code == 2
    states = {tuple(line.split()[:2]): line.split()[-1] for line in printed.splitlines() if line.strip()}
    assert states["mmlu", "dev"] == "complete" and states["mmlu", "test"] == "altered"
    assert states["mmlu", "validation"] == states["hellaswag", "validation"] == "short"
    assert states["gsm8k", "test"] == "damaged" and states["arc_easy", "test"] == "altered"
    assert "Error: MMLU test: mmlu/test/anatomy_test.csv is altered (0 rows" in printed
    assert "Error: MMLU validation: 1 file is missing: virology." in printed
    assert "test.jsonl, line 1319: truncated or damaged" in printed


def test_a_broken_race_passage_is_reported(tmp_path, call):
    write(
        tmp_path,
        {f"race/RACE/test/high/{n}.txt": PASSAGE for n in range(5)} | {"race/RACE/test/high/3.txt": b"{"},
    )
    code, printed = call("check", "race_high", "--data_dir", tmp_path)
    assert code == 2 and "damaged" in printed and "3.txt: truncated or damaged" in printed


def test_a_dataset_of_the_folders_own_file(tmp_path, call):
    write(tmp_path, {
        "datasets.yaml": b"capitals: {hub: me/capitals, splits: {test: c.csv}}\n", "c.csv": b"question,answer\nwhere,1\n",
    })  # fmt: skip
    code, printed = call("check", "capitals", "--data_dir", tmp_path)
    assert (
        code == 0 and " ".join(printed.splitlines()[1].split()) == "capitals test c.csv 1 unknown unchecked"
    )
    assert str(tmp_path / "datasets.yaml") in call("ls", "datasets", "capitals", "--data_dir", tmp_path)[1]


# ------------------------------------------------------------------ ls, show, and what is wrong with a request


def test_ls_says_what_is_in_the_folder(tmp_path, call, monkeypatch):
    write(tmp_path, {"gsm8k/test.jsonl": GSM8K})
    assert "GSM8K" in call("ls", "datasets", "gsm")[1] and "BoolQ" not in call("ls", "datasets", "gsm")[1]
    assert "here" not in json.loads(call("ls", "datasets", "--json")[1])[0]
    rows = json.loads(call("ls", "datasets", "--json", "--data_dir", tmp_path)[1])
    assert {row["name"]: row["here"] for row in rows if row["here"] != "nothing"} == {"gsm8k": "test"}
    monkeypatch.setenv("GPTALT_DATA", str(tmp_path))
    [row] = json.loads(call("ls", "datasets", "gsm8k", "--json")[1])
    assert row["here"] == "test"
    [row] = json.loads(call("ls", "datasets", "boolq", "--json", "--data_dir", "sample")[1])
    assert row["here"] == "train, validation"


def test_show_says_where_each_file_belongs(tmp_path, call):
    assert "below --data_dir: gsm8k/train.jsonl" in call("show", "dataset", "gsm8k")[1]
    write(tmp_path, {"gsm8k/test.jsonl": GSM8K, "mmlu/dev/a_dev.csv": b"", "mmlu/dev/b_dev.csv": b""})
    printed = call("show", "dataset", "gsm8k", "--data_dir", tmp_path)[1]
    assert f"{tmp_path}/gsm8k/test.jsonl: found\n" in printed
    assert f"{tmp_path}/gsm8k/train.jsonl: not found\n" in printed
    assert "github.com/openai/grade-school-math" in printed
    assert "3,270 rows; some in the sample" in call("show", "dataset", "boolq", "--data_dir", "sample")[1]
    assert "mmlu/dev/*_dev.csv: found (2 files)" in call("show", "dataset", "mmlu", "--data_dir", tmp_path)[1]


def test_show_says_which_column_rows_share(call):
    shared = "passage; rows with the same one are not taken for independent"
    assert shared in " ".join(call("show", "dataset", "drop")[1].split())
    assert "Shared" not in call("show", "dataset", "gsm8k")[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ls",), "Type: gptalt-eval ls datasets"),
        (("where", "piqa"), "Type: gptalt-eval show dataset NAME"),
    ],
)
def test_what_was_a_command_of_data_says_what_to_type(words, expected):
    with pytest.raises(GptaltError, match=expected):
        cli.dispatch(["data", *words], make_plugin_set())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("chekc",), "Did you mean 'check'"),
        (("check",), "Give --data_dir FOLDER, or set GPTALT_DATA"),
        (("check", "--data_dir", "sample"), "needs a data folder"),
        (("check", "--data_dir", "/nowhere"), "there is no folder /nowhere"),
        (("check", "piqua", "--data_dir", "."), "Did you mean 'piqa'"),
        (("check", "race", "--data_dir", "."), "Available: race_high, race_middle"),
        (("check", "--from", "x", "--data_dir", "."), "There is no option --from"),
        (("prepare", "--data_dir", "."), "arguments are required: NAME, --from"),
        (("prepare", "piqa", "--data_dir", "."), "arguments are required: --from"),
        (("prepare", "piqa", "--from", "x"), "Give --data_dir FOLDER, or set GPTALT_DATA"),
        (("prepare", "piqa", "--from", "/nowhere", "--data_dir", "."), "--from: /nowhere does not exist"),
    ],
)
def test_what_is_wrong_with_a_request(call, words, expected):
    assert expected in refuse(call, *words)


# ------------------------------------------------------------------ prepare


def pack_zip(target, files):
    with zipfile.ZipFile(target, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return target


def pack_tar(target, files):
    with tarfile.open(target, "w:gz" if target.name.endswith("gz") else "w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def pack(tmp_path, kind, files):
    if kind == "folder":
        return write(tmp_path / "download", files)
    return (pack_zip if kind == "zip" else pack_tar)(tmp_path / f"download.{kind}", files)


KINDS = ["folder", "zip", "tar", "tar.gz", "tgz"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_is_put_in_its_place(tmp_path, call, kind):
    source = pack(
        tmp_path, kind, {"grade-school-math/data/test.jsonl": GSM8K, "grade-school-math/README.md": b"x"}
    )
    code, printed = call("prepare", "gsm8k", "--from", source, "--data_dir", tmp_path / "new" / "data")
    assert (tmp_path / "new" / "data" / "gsm8k" / "test.jsonl").read_bytes() == GSM8K
    assert code == 2 and "gsm8k/test.jsonl is altered (1,319 rows" in printed, "it is checked like any other"
    assert "Still missing: gsm8k train (gsm8k/train.jsonl)" in printed
    assert [path.name for path in (tmp_path / "new" / "data").iterdir()] == ["gsm8k"]


@pytest.mark.parametrize("kind", KINDS)
def test_race_is_told_apart_by_its_folders(tmp_path, call, kind):
    files = {
        f"RACE/{split}/{level}/{n}.txt": PASSAGE
        for split in ("dev", "test")
        for level in ("high", "middle")
        for n in (1, 2)
    }
    code, printed = call(
        "prepare",
        "race_high",
        "race_middle",
        "--from",
        pack(tmp_path, kind, files),
        "--data_dir",
        tmp_path / "data",
    )
    assert code == 0 and "partial: only some of the files" in printed
    assert sorted(
        str(f.relative_to(tmp_path / "data" / "race")) for f in (tmp_path / "data").rglob("*.txt")
    ) == sorted(files)


def test_a_folder_inside_the_release(tmp_path, call):
    folder = write(tmp_path / "x" / "RACE" / "test", {"high/1.txt": PASSAGE})
    call("prepare", "race_high", "--from", folder, "--data_dir", tmp_path / "data")
    assert (tmp_path / "data" / "race/RACE/test/high/1.txt").is_file()


def test_mmlu_by_its_folders(tmp_path, call):
    row = b'"q",1,2,3,4,A\n'
    files = {
        "data/test/anatomy_test.csv": row,
        "data/dev/anatomy_dev.csv": row,
        "data/auxiliary_train/x_test.csv": row,
    }
    call("prepare", "mmlu", "--from", pack(tmp_path, "tar", files), "--data_dir", tmp_path / "data")
    found = sorted(str(f.relative_to(tmp_path / "data")) for f in (tmp_path / "data").rglob("*.csv"))
    assert found == ["mmlu/dev/anatomy_dev.csv", "mmlu/test/anatomy_test.csv"]


def test_the_nearest_folder_wins(tmp_path, call):
    files = {"Data/Main/test.jsonl": b'{"a": 1}\n', "Data/Additional/test.jsonl": b'{"b": 1}\n'}
    source = pack(tmp_path, "zip", files)
    call("prepare", "openbookqa", "--from", source, "--data_dir", tmp_path / "data")
    assert (tmp_path / "data/openbookqa/Main/test.jsonl").read_bytes() == b'{"a": 1}\n'


def test_two_files_for_one_place_are_an_error(tmp_path, call):
    source = pack(tmp_path, "zip", {"a/test.jsonl": b"1", "b/test.jsonl": b"2"})
    text = refuse(call, "prepare", "gsm8k", "--from", source, "--data_dir", tmp_path / "data")
    assert (
        "Two different files match gsm8k/test.jsonl" in text
        and "a/test.jsonl" in text
        and "b/test.jsonl" in text
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_single_file(tmp_path, call, packed):
    source = tmp_path / ("test.jsonl.gz" if packed else "test.jsonl")
    source.write_bytes(gzip.compress(GSM8K) if packed else GSM8K)
    call("prepare", "gsm8k", "--from", source, "--data_dir", tmp_path / "data")
    assert (tmp_path / "data/gsm8k/test.jsonl").read_bytes() == GSM8K


def test_a_release_that_is_gzipped_stays_so(tmp_path, call):
    (tmp_path / "drop_v0_dev.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    call("prepare", "drop", "--from", tmp_path / "drop_v0_dev.jsonl.gz", "--data_dir", tmp_path / "data")
    assert gzip.decompress((tmp_path / "data/drop/drop_v0_dev.jsonl.gz").read_bytes()) == b"{}\n"


def test_labels_come_along(tmp_path, call):
    files = {
        "piqa/valid.jsonl": b'{"goal": "g", "sol1": "a", "sol2": "b"}\n',
        "piqa/valid-labels.lst": b"0\n",
    }
    call("prepare", "piqa", "--from", pack(tmp_path, "zip", files), "--data_dir", tmp_path / "data")
    assert (tmp_path / "data/piqa/valid-labels.lst").read_bytes() == b"0\n"


def test_a_different_file_is_never_overwritten(tmp_path, call):
    data = write(tmp_path / "data", {"gsm8k/test.jsonl": b"mine"})
    source = pack(tmp_path, "zip", {"train.jsonl": GSM8K, "test.jsonl": GSM8K})
    text = refuse(call, "prepare", "gsm8k", "--from", source, "--data_dir", data)
    assert "test.jsonl already exists and differs" in text and f"rm {data / 'gsm8k' / 'test.jsonl'}" in text
    assert (data / "gsm8k/test.jsonl").read_bytes() == b"mine" and not (data / "gsm8k/train.jsonl").exists()
    assert [path.name for path in data.iterdir()] == ["gsm8k"], "nothing is left behind"


def test_the_same_file_again_is_fine(tmp_path, call):
    source = pack(tmp_path, "zip", {"test.jsonl": GSM8K})
    call("prepare", "gsm8k", "--from", source, "--data_dir", tmp_path / "data")
    assert (
        "nothing new. Already there: 1"
        in call("prepare", "gsm8k", "--from", source, "--data_dir", tmp_path / "data")[1]
    )


def test_nothing_that_fits(tmp_path, call):
    source = pack(tmp_path, "zip", {"x.txt": b""})
    text = refuse(call, "prepare", "piqa", "--from", source, "--data_dir", tmp_path / "data")
    assert "contains no file of PIQA" in text and "piqa/valid-labels.lst" in text


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["../test.jsonl", "/tmp/test.jsonl", "a/../../test.jsonl", "..\\test.jsonl", "C:\\test.jsonl"]
)
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path, call, kind, name):
    source = pack(tmp_path, kind, {"test.jsonl": GSM8K, name: b"x"})
    text = refuse(call, "prepare", "gsm8k", "--from", source, "--data_dir", tmp_path / "data")
    assert "would be written outside the folder. Nothing was unpacked" in text
    assert not list((tmp_path / "data").iterdir())


def test_links_in_an_archive_are_not_followed(tmp_path, call):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("test.jsonl")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert "contains no file" in refuse(
        call, "prepare", "gsm8k", "--from", tmp_path / "x.tar", "--data_dir", tmp_path / "data"
    )


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "test.jsonl.gz"])
def test_a_damaged_download_is_named(tmp_path, call, name):
    (tmp_path / name).write_bytes(gzip.compress(b"x" * 9999)[:-20] if name.endswith("gz") else b"PK no")
    text = refuse(call, "prepare", "gsm8k", "--from", tmp_path / name, "--data_dir", tmp_path / "data")
    assert name in text and ("damaged" in text or "Not a gzipped file" in text)


@given(
    st.lists(
        st.sampled_from(["a", "..", "test.jsonl", "C:", "", "gsm8k", "x\\..", "/"]), min_size=1, max_size=5
    )
)
@settings(deadline=None)
def test_no_name_in_an_archive_leads_outside(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("x")
    try:
        with open_download(pack_zip(folder / "x.zip", {"/".join(names) or "x": b""})) as items:
            for path in choose_items(DATASETS["gsm8k"], items):
                assert (folder / path).resolve().is_relative_to(folder) and ".." not in path.split("/")
    except GptaltError as error:
        assert "would be written outside the folder" in str(error)


PARTS = st.lists(st.sampled_from(["a", "b", "test.jsonl", "1.txt"]), min_size=1, max_size=4).map(tuple)


@given(PARTS, PARTS)
def test_what_fits_is_counted_from_the_end(parts, pattern):
    count = count_fitting(parts, pattern)
    assert parts[len(parts) - count :] == pattern[len(pattern) - count :]
    longer = min(len(parts), len(pattern)) > count
    assert not longer or parts[-count - 1] != pattern[-count - 1]


def test_items_are_named_with_their_archive():
    item = Item("x.zip: test.jsonl", ("test.jsonl",), lambda: io.BytesIO(b""))
    assert list(choose_items(DATASETS["gsm8k"], [item])) == ["gsm8k/test.jsonl"]
