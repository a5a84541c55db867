"""A vote is what was judged, by whom and when: files that are cut, copied, reordered or corrected."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.identity import IdentityColumns, hash_vote, pair_votes, rank_equal
from gptalt_eval_plugin_elo.importing import LOCK, VOTES, import_files, read_votes
from gptalt_eval_plugin_elo.ledger import Ledger
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError

ONE = {"question": "q1", "model_a": "x", "model_b": "y", "winner": "a", "annotator": "n"}
TWO = ONE | {"question": "q2"}
BARE = {"question": "q1", "model_a": "x", "model_b": "y", "winner": "a"}


def write(path, *records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return path


def load(folder, *files):
    """(new, known, changed, taken back) for the last file."""
    counts = [*import_files(files, folder, list_formats(), "gptalt").values()][-1]
    return counts.added, counts.known, counts.changed, counts.taken_back


def read_lines(folder):
    return [json.loads(line) for line in (folder / VOTES).read_text(encoding="utf-8").splitlines()]


def describe(vote):
    """A vote whichever side its models are on."""
    won = {"a": vote.model_a, "b": vote.model_b}.get(vote.winner, vote.winner)
    return vote.question, *sorted((vote.model_a, vote.model_b)), won, vote.annotator, vote.time


def list_votes(folder):
    return Counter(map(describe, read_votes(folder)))


def swap(record):
    turned = {"a": "b", "b": "a"}.get(record["winner"], record["winner"])
    return record | {"model_a": record["model_b"], "model_b": record["model_a"], "winner": turned}


# ---------------------------------------------------------------------- the same votes in another file


def test_a_first_line_that_is_removed_adds_nothing(tmp_path):
    """The example of the issue: two votes were given, and there are two."""
    file, folder = tmp_path / "e.jsonl", tmp_path / "v"
    assert load(folder, write(file, ONE, TWO)) == (2, 0, 0, 0)
    assert load(folder, write(file, TWO)) == (0, 1, 0, 0)
    assert [vote.question for vote in read_votes(folder)] == ["q1", "q2"]


@pytest.mark.parametrize(
    "first", [ONE, BARE, ONE | {"time": "t1"}, BARE | {"time": "t1"}, ONE | {"id": "v1"}]
)
@pytest.mark.parametrize("change", [swap, lambda record: record, lambda record: record | {"comment": "late"}])
def test_a_copy_under_another_name_adds_nothing(tmp_path, first, change):
    rows = [first, first | {"question": "q2", "winner": "tie"}]
    if "id" in first:
        rows[1]["id"] = "v2"
    assert load(tmp_path / "v", write(tmp_path / "a.jsonl", *rows)) == (2, 0, 0, 0)
    before = (tmp_path / "v" / VOTES).read_bytes()
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", *map(change, rows[::-1]))) == (0, 2, 0, 0)
    assert (tmp_path / "v" / VOTES).read_bytes() == before


def test_a_file_that_is_given_twice_is_read_once(tmp_path):
    file = write(tmp_path / "a.jsonl", ONE)
    assert load(tmp_path / "v", file, file) == (1, 0, 0, 0)


def test_another_form_of_the_file_adds_nothing(tmp_path):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE, TWO))
    (tmp_path / "a.json").write_text(json.dumps([TWO, ONE], indent=2))
    (tmp_path / "a.csv").write_text("annotator,question,model_a,model_b,winner\nn,q2,x,y,a\nn,q1,x,y,Left\n")
    assert load(tmp_path / "v", tmp_path / "a.json") == (0, 2, 0, 0)
    assert load(tmp_path / "v", tmp_path / "a.csv") == (0, 2, 0, 0)


@pytest.mark.parametrize("known", [ONE, ONE | {"time": "t1"}, BARE | {"time": "t1"}, ONE | {"id": "v1"}])
def test_another_verdict_replaces_the_earlier_one(tmp_path, known):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", known, TWO))
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", swap(known | {"winner": "b"}), TWO)) == (
        0,
        1,
        1,
        0,
    )
    assert sorted((vote.question, vote.model_a, vote.winner) for vote in read_votes(tmp_path / "v")) == [
        ("q1", "y", "a"), ("q2", "x", "a"),
    ]  # fmt: skip


def test_who_judges_the_same_twice_is_counted_twice(tmp_path):
    rows = [ONE, ONE | {"winner": "tie"}, ONE]
    file = write(tmp_path / "a.jsonl", *rows)
    assert load(tmp_path / "v", file) == (3, 0, 0, 0)
    assert len({line["id"] for line in read_lines(tmp_path / "v")}) == 3
    for part in (rows[1:], rows[2:], rows[::-1], rows[:1], [rows[1]]):
        assert load(tmp_path / "v", write(file, *part)) == (0, len(part), 0, 0)
        assert [vote.winner for vote in read_votes(tmp_path / "v")] == ["a", "tie", "a"]
    assert load(tmp_path / "v", write(file, *rows, ONE)) == (1, 3, 0, 0)
    assert load(tmp_path / "v", write(file, ONE | {"winner": "skip"}, *rows)) == (0, 3, 1, 0)


@pytest.mark.parametrize("change", [
    {"question": "q2"}, {"model_b": "z"}, {"annotator": "m"}, {"time": "t2"}, {"language": "zh"}, {"id": "v2"},
])  # fmt: skip
def test_what_makes_another_vote(tmp_path, change):
    known = ONE | {"time": "t1", "language": "en", "id": "v1"}
    if "id" not in change:
        known.pop("id")
    assert load(tmp_path / "v", write(tmp_path / "a.jsonl", known)) == (1, 0, 0, 0)
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", known | change)) == (1, 0, 0, 0)


def test_votes_without_annotator_and_time_are_known_by_what_they_say(tmp_path):
    """Two verdicts are two votes: nobody knows whether it was the same person."""
    assert load(tmp_path / "v", write(tmp_path / "a.jsonl", BARE, BARE)) == (2, 0, 0, 0)
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", BARE | {"winner": "b"}, BARE)) == (1, 1, 0, 0)
    assert load(tmp_path / "v", write(tmp_path / "c.jsonl", BARE | {"category": "maths"})) == (1, 0, 0, 0)


def test_a_day_says_not_who_judged(tmp_path):
    """Two visitors' opposite votes on one day are not one that was changed."""
    load(tmp_path / "v", write(tmp_path / "a.jsonl", BARE | {"time": "2026-11-27"}))
    other = BARE | {"time": "2026-11-27", "winner": "b"}
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", other)) == (1, 0, 0, 0)
    assert load(tmp_path / "v", write(tmp_path / "c.jsonl", other)) == (0, 1, 0, 0)


def test_ids_of_two_sources_do_not_replace_each_others_votes(tmp_path):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE | {"id": "v1"}))
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", TWO | {"id": "v1", "winner": "b"})) == (
        1,
        0,
        0,
        0,
    )
    other = ONE | {"id": "v1", "annotator": "m", "winner": "b"}
    assert load(tmp_path / "v", write(tmp_path / "c.jsonl", other)) == (1, 0, 0, 0)


@pytest.mark.parametrize("number", [int, str, float, lambda row: f"{row}.0"])
def test_numbers_of_rows_are_not_ids(tmp_path, number):
    """They are places in a file under another name."""
    rows = [ONE, TWO, ONE | {"question": "q3"}]
    load(
        tmp_path / "v", write(tmp_path / "a.jsonl", *({"id": number(n)} | row for n, row in enumerate(rows)))
    )
    file = write(tmp_path / "b.jsonl", *({"id": number(n)} | row for n, row in enumerate(rows[1:])))
    assert load(tmp_path / "v", file) == (0, 2, 0, 0)


@pytest.mark.parametrize("numbers", [(17, 18), ("17", "18")])
def test_numbers_are_ids_if_the_user_says_so(tmp_path, numbers):
    columns = {"id": "Vote"}
    rows = [BARE | {"vote": number} for number in numbers]
    for changes, expected in (({}, (2, 0, 0)), ({"winner": "b"}, (0, 0, 2))):
        file = write(tmp_path / "a.jsonl", *(row | changes for row in rows[::-1]))
        [counts] = import_files([file], tmp_path / "v", list_formats(), columns=columns).values()
        assert (counts.added, counts.known, counts.changed) == expected
    assert [vote.id for vote in read_votes(tmp_path / "v")] == ["vote 18", "vote 17"]


@pytest.mark.parametrize("more", [{"id": "v1"}, {"language": "en"}, {"id": "v1", "language": "en"}])
@pytest.mark.parametrize("known", [ONE, BARE, ONE | {"time": "t1"}])
def test_a_vote_that_says_more_is_still_the_same(tmp_path, known, more):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", known))
    assert load(tmp_path / "v", write(tmp_path / "b.jsonl", known | more)) == (0, 1, 0, 0)
    assert [(vote.id, vote.language) for vote in read_votes(tmp_path / "v")] == [
        (more.get("id", ""), more.get("language", ""))
    ]
    before = (tmp_path / "v" / VOTES).read_bytes()
    assert load(tmp_path / "v", tmp_path / "a.jsonl") == (0, 1, 0, 0), "the other way round, nothing is lost"
    assert (tmp_path / "v" / VOTES).read_bytes() == before


def test_pandalms_votes_are_there_once(tmp_path, shared_data):
    """999 pairs of answers, each judged by three people."""
    file = shared_data / "votes" / "pandalm-testset-v1.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    counts = import_files([file], tmp_path / "v", list_formats())[file]
    assert (counts.added, counts.known, counts.rejected) == (3 * len(rows), 0, 0) == (2_997, 0, 0)
    random.Random(0).shuffle(rows)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(rows[100:], indent=1), encoding="utf-8")
    for again, known in ((file, 2_997), (other, 2_697), (tmp_path / "v", 2_997)):
        [counts] = import_files([again], tmp_path / "v", list_formats()).values()
        assert (counts.added, counts.known, counts.changed, counts.rejected) == (0, known, 0, 0)
    assert sum(1 for _ in read_votes(tmp_path / "v")) == 2_997


# ---------------------------------------------------------------------- the file itself


def test_a_file_of_an_earlier_version_is_continued(tmp_path):
    """Its lines have no ids; they get some when the file is written again."""
    rows = [ONE, TWO, ONE, BARE]
    known = [Vote(**row).describe() | {"source": f"e.jsonl:{n}"} for n, row in enumerate(rows, 1)]
    (tmp_path / "v").mkdir()
    write(tmp_path / "v" / VOTES, *known)
    before = (tmp_path / "v" / VOTES).read_bytes()
    assert load(tmp_path / "v", write(tmp_path / "e.jsonl", *rows[1:])) == (0, 3, 0, 0)
    assert (tmp_path / "v" / VOTES).read_bytes() == before
    assert load(tmp_path / "v", write(tmp_path / "e.jsonl", *rows, TWO)) == (1, 4, 0, 0)
    lines = read_lines(tmp_path / "v")
    assert len({line.pop("id") for line in lines}) == 5
    assert lines[:4] == known
    assert load(tmp_path / "v", tmp_path / "e.jsonl") == (0, 5, 0, 0)


ARENA = {"question_id": 7, "model_a": "a", "model_b": "b", "winner": "model_a", "judge": "j", "tstamp": 1.5, "turn": 1,
         "anony": True, "language": "English"}  # fmt: skip
PANDA = {"idx": 3, "motivation_app": "", "cmp_key": "x_y", "instruction": "i", "input": "", "response1": "1", "response2": "2",
         "annotator1": 1, "annotator2": 1}  # fmt: skip
TASK = {"id": 5, "data": {"prompt": "Why?", "model_a": "x", "model_b": "y"}, "annotations": [
    {"id": 9, "completed_by": 1, "created_at": "2026-01-01T00:00:00Z",
     "result": [{"from_name": "better", "type": "pairwise", "value": {"selected": "left"}}]},
]}  # fmt: skip


@pytest.mark.parametrize(("record", "known"), [
    (ARENA, {"question": "7", "model_a": "a", "model_b": "b", "annotator": "j", "time": "1.5"}),
    (TASK, {"question": "Why?", "model_a": "x", "model_b": "y", "annotator": "1", "time": "2026-01-01T00:00:00Z"}),
    (PANDA, {"question": "3", "model_a": "x", "model_b": "y", "annotator": "annotator1"}),
])  # fmt: skip
def test_what_an_earlier_version_imported_from_other_tools_is_known(tmp_path, record, known):
    """Their formats are read with more fields now."""
    (tmp_path / "v").mkdir()
    write(tmp_path / "v" / VOTES, {"category": "", "time": "", **known, "winner": "a", "source": "a.json:1"})
    (tmp_path / "a.json").write_text(json.dumps([record]))
    [counts] = import_files([tmp_path / "a.json"], tmp_path / "v", list_formats()).values()
    assert (counts.added, counts.known, counts.changed) == ("annotator2" in record, 1, 0)


def test_the_votes_of_another_folder_are_the_same_votes(tmp_path):
    file = write(tmp_path / "a.jsonl", ONE, ONE, TWO | {"id": "v1"}, BARE, BARE, ONE | {"language": "en"})
    load(tmp_path / "v", file)
    ids = {line["id"] for line in read_lines(tmp_path / "v")}
    assert load(tmp_path / "w", tmp_path / "v" / VOTES) == (6, 0, 0, 0)
    assert load(tmp_path / "w", file) == (0, 6, 0, 0)
    assert load(tmp_path / "v", tmp_path / "w") == (0, 6, 0, 0), "a folder names the votes in it"
    assert {line["id"] for line in read_lines(tmp_path / "w")} == ids
    assert [vote.id for vote in read_votes(tmp_path / "w")] == ["", "", "v1", "", "", ""]


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b"\r\n \n"])
@pytest.mark.parametrize("own", ["v1", 5, None])
def test_a_file_that_somebody_made_gets_ids_of_ours(tmp_path, begin, own):
    row = ONE if own is None else ONE | {"id": own}
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / VOTES).write_bytes(
        begin + json.dumps(row).encode() + b"\r\n" + json.dumps(row).encode()
    )
    assert load(tmp_path / "v", write(tmp_path / "a.jsonl", row)) == (0, 1, 0, 0)
    for n in range(3):
        assert load(tmp_path / "v", write(tmp_path / "a.jsonl", row, ONE | {"question": f"new {n}"})) == (
            1,
            1,
            0,
            0,
        )
    text = (tmp_path / "v" / VOTES).read_text(encoding="utf-8")
    assert all(line.count('"id"') == 1 for line in text.splitlines())
    assert [vote.id for vote in read_votes(tmp_path / "v")][:2] == ["v1" if own == "v1" else ""] * 2
    assert [line["source"] for line in read_lines(tmp_path / "v")][:2] == [VOTES] * 2
    assert len({line["id"] for line in read_lines(tmp_path / "v")}) == 5


def test_files_of_votes_that_were_put_together(tmp_path):
    """Their ids say which votes are in both."""
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE, ONE, BARE))
    load(tmp_path / "w", tmp_path / "a.jsonl", write(tmp_path / "b.jsonl", TWO))
    both = tmp_path / "both.jsonl"
    both.write_text((tmp_path / "v" / VOTES).read_text() + (tmp_path / "w" / VOTES).read_text())
    with pytest.raises(GptaltError, match="line 4 is not a vote: the same vote as in an earlier line"):
        list(read_votes(both))
    [counts] = import_files([both], tmp_path / "x", list_formats()).values()
    assert (counts.added, counts.rejected) == (4, 3)
    assert list_votes(tmp_path / "x") == list_votes(tmp_path / "w")
    (tmp_path / "v" / VOTES).write_bytes(both.read_bytes())
    assert load(tmp_path / "v", tmp_path / "b.jsonl") == (0, 1, 0, 0)
    assert list_votes(tmp_path / "v") == list_votes(tmp_path / "w"), "the next import repairs it"


def test_ids_stay_different_when_earlier_votes_have_gone(tmp_path):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE, ONE | {"winner": "b"}))
    lines = (tmp_path / "v" / VOTES).read_text().splitlines(keepends=True)
    (tmp_path / "v" / VOTES).write_text(lines[1])
    assert load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE, ONE | {"winner": "b"})) == (1, 1, 0, 0)
    assert len({line["id"] for line in read_lines(tmp_path / "v")}) == 2


@pytest.mark.parametrize(
    "wrong", ["nonsense", "[1]", '"page"', "3", '{"question": "q"}', json.dumps(ONE | {"winner": "x"})]
)
def test_a_damaged_file_is_not_written_over(tmp_path, wrong):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))
    file = tmp_path / "v" / VOTES
    file.write_text(f"{file.read_text()}{wrong}\n{json.dumps(TWO)}\n")
    before = file.read_bytes()
    with pytest.raises(GptaltError, match=r"votes\.jsonl, line 2 is not a vote: .*\n.*--into"):
        load(tmp_path / "v", write(tmp_path / "a.jsonl", TWO))
    assert file.read_bytes() == before
    with pytest.raises(GptaltError, match="line 2 is not a vote"):
        list(read_votes(tmp_path / "v"))


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("gptalt_eval_plugin_elo.ledger.LONGEST", 1 << 10)
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))
    with (tmp_path / "v" / VOTES).open("a") as stream:
        stream.write("x" * 5_000)
    with pytest.raises(GptaltError, match="line 2 is not a vote: it is longer than"):
        load(tmp_path / "v", write(tmp_path / "a.jsonl", TWO))


def test_nobody_gets_more_rights_to_the_file(tmp_path):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))
    file = tmp_path / "v" / VOTES
    file.chmod(0o600)
    load(tmp_path / "v", write(tmp_path / "a.jsonl", TWO))
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_next_to_the_votes_is_not_followed(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "mine").write_text("mine")
    for name in (LOCK, f"{VOTES}.new"):
        (tmp_path / "v" / name).unlink(missing_ok=True)
        (tmp_path / "v" / name).symlink_to(tmp_path / "mine")
        with pytest.raises(GptaltError, match="is a link"):
            load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))
    assert (tmp_path / "mine").read_text() == "mine"


# ---------------------------------------------------------------------- killed, full, at the same time

IMPORT = [sys.executable, "-m", "gptalt_eval", "votes", "import"]


def make_rows(count, annotator="n"):
    return [ONE | {"question": f"q{number}", "annotator": annotator} for number in range(count)]


def test_an_import_that_is_killed_leaves_the_file_or_has_replaced_it(tmp_path):
    first, more = make_rows(100), make_rows(4_000)
    load(tmp_path / "v", write(tmp_path / "a.jsonl", *first))
    before = (tmp_path / "v" / VOTES).read_bytes()
    file = write(tmp_path / "b.jsonl", *more)
    for wait in (0.3, 0.6, 0.9):
        process = subprocess.Popen(
            [*IMPORT, str(file), "--into", str(tmp_path / "v")], stdout=subprocess.DEVNULL
        )
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "v" / VOTES).read_bytes() == before or len(read_lines(tmp_path / "v")) == 4_000
    (tmp_path / "v" / f"{VOTES}.new").write_bytes(b'{"id": "half')
    load(tmp_path / "v", file)
    assert Counter(vote.question for vote in read_votes(tmp_path / "v")) == Counter(
        row["question"] for row in more
    )
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [LOCK, "rejected.jsonl", VOTES]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
def test_a_full_disk_is_said_and_leaves_the_file(tmp_path):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))
    before = (tmp_path / "v" / VOTES).read_bytes()
    file = write(tmp_path / "b.jsonl", *make_rows(2_000))
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); runpy.run_module('gptalt_eval', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", limited, *IMPORT[3:], str(file), "--into", str(tmp_path / "v")],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written: File too large" in done.stderr and "--into FOLDER" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "v" / VOTES).read_bytes() == before
    assert not (tmp_path / "v" / f"{VOTES}.new").exists()


def test_two_imports_at_once_lose_nothing(tmp_path):
    names = [f"p{number}" for number in range(4)]
    files = [write(tmp_path / f"{name}.jsonl", *make_rows(300, name)) for name in names]
    threads = [threading.Thread(target=load, args=(tmp_path / "v", file)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(vote.annotator for vote in read_votes(tmp_path / "v")) == dict.fromkeys(names, 300)


def test_an_import_that_takes_long_is_named(tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr("gptalt_eval_plugin_elo.importing.PATIENCE", 0.1)
    (tmp_path / "v").mkdir()
    with FileLock(tmp_path / "v" / LOCK), pytest.raises(GptaltError, match="Another import is writing into"):
        load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))


# ---------------------------------------------------------------------- any files, in any order

ROWS = st.lists(
    st.fixed_dictionaries({
        "question": st.sampled_from(["q1", "q2"]), "model_a": st.just("x"), "model_b": st.sampled_from("yz"),
        "winner": st.sampled_from(["a", "b", "tie", "skip"]), "annotator": st.sampled_from(["", "n", "m"]),
        "time": st.sampled_from(["", "2026-11-27", "2026-11-27T20:00:00+00:00"]),
    }),
    max_size=12,
)  # fmt: skip


ROWS_FIELDS = ("question", "model_b", "winner", "annotator", "time")


@settings(max_examples=60)
@given(
    ROWS,
    st.lists(
        st.tuples(st.sampled_from(["cut", "reorder", "copy", "swap", "mix"]), st.integers(0, 99)), max_size=6
    ),
)
def test_no_part_of_a_file_doubles_its_votes(tmp_path_factory, rows, changes):
    folder = tmp_path_factory.mktemp("i")
    load(folder / "v", write(folder / "a.jsonl", *rows))
    expected = list_votes(folder / "v")
    timed = [row for row in rows if row["annotator"] and "T" in row["time"]]
    who, what = (
        {tuple(row[name] for name in names) for row in timed} for names in (["annotator"], ROWS_FIELDS)
    )
    copies = len(timed) - len(what) if len(who) == len(what) else 0
    assert expected.total() == len(rows) - copies, "who judged when can be there once"
    for change, seed in changes:
        part = list(rows)
        if change in ("cut", "mix"):
            part = part[seed % (len(rows) + 1) :]
        if change in ("reorder", "mix"):
            random.Random(seed).shuffle(part)
        if change in ("swap", "mix"):
            part = [*map(swap, part)]
        added, known, changed, gone = load(folder / "v", write(folder / f"{change}{seed}.jsonl", *part))
        assert (added, known, changed, gone) == (0, len(part), 0, 0)
        assert list_votes(folder / "v") == expected


@given(st.lists(st.integers(0, 3)))
def test_equal_keys_are_numbered_in_their_order(keys):
    import numpy as np

    seen = Counter()
    expected = [seen.update([key]) or seen[key] - 1 for key in keys]
    assert rank_equal(np.array(keys, np.uint64)).tolist() == expected


def identify(*votes):
    columns = IdentityColumns()
    for vote in votes:
        columns.add(vote, -1)
    return columns.finish()


def test_equal_verdicts_are_paired_first():
    a, b, tie = (Vote("q", "x", "y", winner, annotator="n") for winner in ("a", "b", "tie"))
    new, old = pair_votes(identify(tie, b), identify(a, b))
    assert sorted(zip(new.tolist(), old.tolist(), strict=True)) == [(0, 0), (1, 1)]
    new, old = pair_votes(identify(b, tie), identify(tie, tie, b))
    assert sorted(zip(new.tolist(), old.tolist(), strict=True)) == [(0, 2), (1, 0)]
    for some, others in (((), (a,)), ((a,), ()), ((), ())):
        assert [len(side) for side in pair_votes(identify(*some), identify(*others))] == [0, 0]


def test_fields_do_not_run_into_each_other():
    votes = [Vote("q", "x", "y", "a", annotator="n", time="t"), Vote("q", "x", "y", "a", annotator="nt"),
             Vote("q", "x", "y", "a", annotator="n", language="t"), Vote("q", "x", "y", "a", "n", "", "t")]  # fmt: skip
    assert len({hash_vote(vote)[1] for vote in votes}) == len(votes)
    assert hash_vote(votes[0])[0] == 0 and hash_vote(votes[0]._replace(id="v1"))[0] != 0


def test_nothing_is_written_where_nothing_changes(tmp_path):
    load(tmp_path / "v", write(tmp_path / "a.jsonl", ONE))
    file = tmp_path / "v" / VOTES
    before = file.stat().st_ino, file.stat().st_mtime_ns
    load(tmp_path / "v", tmp_path / "a.jsonl")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    ledger = Ledger(file)
    ledger.close()
    assert ledger.spool.closed and not ledger.is_changed
