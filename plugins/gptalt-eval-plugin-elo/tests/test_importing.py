"""Importing step by step: which format a file is taken for, lines that are kept once, faults of a vote, messages."""

import json
import re
from collections import Counter

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.conversion import dump_text
from gptalt_eval_plugin_elo.exports import find_fault
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.formats.survey import Answers
from gptalt_eval_plugin_elo.importing import (
    REJECTED,
    VOTES,
    Counts,
    generalise,
    import_files,
    read_votes,
)
from gptalt_eval_plugin_elo.lines import Lines, cut_last_line, hash_line
from gptalt_eval_plugin_elo.recognition import recognise
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval import GptaltError

KNOWN = list_formats()
NOT = "not gptalt, fastchat, onehot, fastchat-log, mt-bench, pandalm, labelstudio"
OWN = {"question": "q1", "model_a": "m", "model_b": "n", "winner": "a"}
ARENA = {"question_id": "q1", "model_a": "m", "model_b": "n", "winner": "model_a"}
TABLE = "no,类别,问题,M,N\n0,写作,写诗,一,二\n"
SURVEY = {"que_idx": [[0, 0, 1]], "que_rec": [1]}
ANSWERS = Answers(["M", "N"], ["写诗"], ["写作"])


def write(file, *records):
    file.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8"
    )
    return file


def refuse(call, *arguments, **settings):
    with pytest.raises(GptaltError) as caught:
        call(*arguments, **settings)
    return caught.value.what, caught.value.hint


# ---------------------------------------------------------------------- which format


def recognise_records(tmp_path, *records, name=None, columns=None, answers=None):
    return recognise(write(tmp_path / "anna.jsonl", *records), KNOWN, name, columns, answers)


def test_the_format_is_that_of_most_of_the_first_records(tmp_path):
    assert recognise_records(tmp_path, OWN).name == "gptalt"
    assert recognise_records(tmp_path, OWN, ARENA, ARENA).name == "fastchat"
    assert recognise_records(tmp_path, {"x": 1}, ARENA, OWN, OWN).name == "gptalt"
    late = [{"x": 1}] * 20
    assert recognise_records(tmp_path, *late[:19], OWN).name == "gptalt"
    what, hint = refuse(recognise_records, tmp_path, *late, OWN)
    assert what == f"{tmp_path / 'anna.jsonl'} has an unknown format ({NOT}). Its columns: x."
    assert hint == "Name its columns: --columns question=COLUMN,model_a=COLUMN,model_b=COLUMN,winner=COLUMN"


def test_what_cannot_be_read_is_not_looked_at(tmp_path):
    file = tmp_path / "anna.jsonl"
    file.write_text("x\n" * 99 + json.dumps(OWN) + "\n")
    assert recognise(file, KNOWN, None, None, None).name == "gptalt"
    file.write_text("x\n" * 100 + json.dumps(OWN) + "\n")
    with pytest.raises(GptaltError):
        recognise(file, KNOWN, None, None, None)


def test_a_format_may_be_named(tmp_path):
    assert recognise_records(tmp_path, OWN, name="fastchat").name == "fastchat"
    assert refuse(recognise_records, tmp_path, OWN, name="fast") == (
        "There is no format 'fast'.",
        f"Available: {NOT.removeprefix('not ')}.",
    )


def test_columns_go_before_what_is_recognised(tmp_path):
    for record in (OWN, SURVEY):
        named = record | {"choice": "a"}
        assert recognise_records(tmp_path, named, columns={"winner": "Choice"}).name == "columns"
    assert refuse(recognise_records, tmp_path, OWN, columns={"winner": "winer"}) == (
        f"{tmp_path / 'anna.jsonl'} has no column 'winer' for winner. "
        "Its columns: question, model_a, model_b, winner.",
        "Did you mean 'winner'?",
    )


def test_the_survey_wants_its_answers(tmp_path):
    known = recognise_records(tmp_path, SURVEY, answers=ANSWERS)
    assert known.name == "survey"
    assert list(known.convert(SURVEY)) == [Vote("0", "M", "N", "a", "写作", "anna")], (
        "the file's name is the annotator's"
    )
    file = tmp_path / "anna.jsonl"
    assert refuse(recognise, file, KNOWN, None, None, None) == (
        f"{file} refers to models by number; the table of their names is missing.",
        "Give the survey's CSV of answers before it: gptalt-eval votes import ANSWERS.csv anna.jsonl",
    )


def test_what_a_table_is_taken_for(tmp_path):
    file = tmp_path / "x.CSV"
    file.write_text(TABLE, encoding="utf-8")
    assert recognise(file, KNOWN, None, None, None) == ANSWERS
    file.write_text("winner,question,model_a,model_b\na,q,x,y\n")
    assert recognise(file, KNOWN, None, None, None).name == "gptalt"
    file.write_text(f"{TABLE}1,short\n", encoding="utf-8")
    assert recognise(file, KNOWN, None, None, None) == ANSWERS, "a row that cannot be read is left out"
    for text in ("a,b,c,d\n1,2,3,4\n", "a,b,c,d,e\n", ""):
        file.write_text(text)
        with pytest.raises(GptaltError, match="has an unknown format"):
            recognise(file, KNOWN, None, None, None)
    lines = tmp_path / "x.jsonl"
    write(lines, {"no": 1, "类别": 1, "问题": 1, "M": 1, "N": 1})
    with pytest.raises(GptaltError, match="has an unknown format"):
        recognise(lines, KNOWN, None, None, None)


def test_a_format_that_fails_on_others_records_does_not_hinder(tmp_path):
    class Broken:
        name = "broken"

        def recognise(self, record):
            raise RuntimeError

    file = write(tmp_path / "a.jsonl", OWN)
    assert recognise(file, [Broken(), *KNOWN], None, None, None).name == "gptalt"


def test_a_format_may_say_yes_in_any_way(tmp_path):
    class Own:
        name = "own"

        def recognise(self, record):
            return "yes" if "x" in record else None

    records = {"x": 1}, OWN, OWN
    assert (
        recognise(write(tmp_path / "a.jsonl", *records), [Own(), *KNOWN], None, None, None).name == "gptalt"
    )
    assert recognise(write(tmp_path / "a.jsonl", {"x": 1}), [Own(), *KNOWN], None, None, None).name == "own"


def test_a_file_that_cannot_be_decoded_may_have_named_columns(tmp_path, monkeypatch):
    def fail(file):
        raise UnicodeError

    monkeypatch.setattr("gptalt_eval_plugin_elo.recognition.read_records", fail)
    assert recognise(tmp_path / "a.csv", KNOWN, None, {"question": "q"}, None).name == "columns"
    with pytest.raises(GptaltError, match="has an unknown format"):
        recognise(tmp_path / "a.csv", KNOWN, None, None, None)


def test_a_table_of_answers_alone_is_no_file_of_votes(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(TABLE, encoding="utf-8")
    what, _ = refuse(import_files, [table, write(tmp_path / "o.jsonl", OWN)], tmp_path / "v", KNOWN)
    assert what.startswith(f"{table} has an unknown format")
    assert not (tmp_path / "v").exists(), "nothing is written before all is understood"
    file = write(tmp_path / "anna.json", SURVEY)
    counts = import_files([table, file], tmp_path / "v", KNOWN)
    assert list(counts) == [file] and counts[file].added == 1
    own = write(tmp_path / "own.jsonl", OWN)
    assert list(import_files([table, file, own], tmp_path / "w", KNOWN)) == [file, own]


def test_what_is_said_of_a_file_that_is_not_there(tmp_path):
    file = tmp_path / "none.jsonl"
    assert refuse(import_files, [file], tmp_path / "v", KNOWN) == (
        f"{file} cannot be read: No such file or directory.",
        "Give the path of an ordinary file.",
    )


# ---------------------------------------------------------------------- what becomes of it


def test_each_file_is_counted_by_itself(tmp_path):
    one = write(
        tmp_path / "one.jsonl",
        OWN,
        OWN | {"category": "x" * 2_001},
        OWN | {"category": ["y"]},
        {"question": 1},
        OWN | {"model_b": "m"},
    )
    other = write(tmp_path / "other.jsonl", OWN, OWN | {"winner": "b"}, OWN | {"winner": "b"})
    steps = []
    counts = import_files([one, other], tmp_path / "v", KNOWN, step=steps.append)
    assert sum(steps) == one.stat().st_size + other.stat().st_size
    assert [(each.format, each.added, each.known, each.rejected) for each in counts.values()] == [
        ("gptalt", 1, 0, 4), ("gptalt", 2, 1, 0),
    ]  # fmt: skip
    assert counts[one].reasons == {
        "'category' is 2001 characters long": 1, "'category' is not text": 1, "'model_a' is missing": 1, "a model against itself": 1,
    }  # fmt: skip
    assert counts[other].reasons == {}
    lines = [json.loads(line) for line in (tmp_path / "v" / VOTES).read_text(encoding="utf-8").splitlines()]
    assert [line["source"] for line in lines] == [
        "one.jsonl:1",
        "other.jsonl:2",
        "other.jsonl:3",
    ]
    assert re.fullmatch("[0-9a-f]{16}", lines[0].pop("id"))
    assert lines[0] == {**OWN, "category": "", "annotator": "", "time": "", "source": "one.jsonl:1"}
    assert lines[1].pop("id") != lines[2].pop("id"), "equal votes of a file are different ones"
    rejected = [json.loads(line) for line in (tmp_path / "v" / REJECTED).read_text().splitlines()]
    assert [each["line"] for each in rejected] == [2, 3, 4, 5]
    assert rejected[0] == {
        "file": "one.jsonl", "line": 2, "reason": "'category' is 2001 characters long",
        "text": json.dumps(OWN | {"category": "x" * 2_001})[:2_000],
    }  # fmt: skip
    assert all(type(number) is int for each in counts.values() for number in (each.added, each.known))
    assert Counts("x") == Counts("x", 0, 0, 0, Counter())
    again = import_files([other, one], tmp_path / "v", KNOWN)
    assert [(each.added, each.known, each.rejected) for each in again.values()] == [(0, 3, 0), (0, 1, 4)]


def test_records_that_cannot_be_read_are_counted_with_their_line(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN)
    file.write_text(f"{file.read_text()}not JSON\n3\n{json.dumps(OWN)}\n", encoding="utf-8")
    [counts] = import_files([file], tmp_path / "v", KNOWN).values()
    assert (counts.added, counts.rejected) == (2, 2)
    assert counts.reasons == {"not JSON": 1, "a number instead of an object": 1}
    rejected = [json.loads(line) for line in (tmp_path / "v" / REJECTED).read_text().splitlines()]
    assert [(each["line"], each["text"]) for each in rejected] == [(2, "not JSON"), (3, "3")]


def test_an_interruption_leaves_the_votes_as_they_were(tmp_path):
    class Own:
        name = "own"

        def recognise(self, record):
            return True

        def convert(self, record):
            if record["winner"] == "b":
                raise KeyboardInterrupt
            yield Vote("题", "m", "n", record["winner"])

    import_files([write(tmp_path / "a.jsonl", OWN)], tmp_path / "v", [Own()])
    text = (tmp_path / "v" / VOTES).read_text(encoding="utf-8")
    assert json.loads(text)["winner"] == "a"
    assert "题" in text, "votes can be read and searched as they are"
    file = write(tmp_path / "a.jsonl", OWN | {"winner": "tie"}, OWN | {"winner": "b"})
    with pytest.raises(KeyboardInterrupt):
        import_files([file], tmp_path / "v", [Own()])
    assert (tmp_path / "v" / VOTES).read_text(encoding="utf-8") == text


def test_values_that_json_does_not_know_are_shown_as_text():
    assert dump_text({"a": {1}}) == '{"a": "{1}"}'


def test_what_is_shown_of_a_record_that_is_none(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN, OWN | {"category": "x" * 5_000, "question": "题"})
    import_files([file], tmp_path / "v", KNOWN)
    [line] = (tmp_path / "v" / REJECTED).read_text(encoding="utf-8").splitlines()
    assert len(json.loads(line)["text"]) == 2_000 and "\\u9898" in json.loads(line)["text"]


def test_a_plugins_mistake_is_one_records_fault(tmp_path):
    class Own:
        name = "own"

        def recognise(self, record):
            return True

        def convert(self, record):
            yield Vote("q", "m", "n", "a")
            yield ValueError("half of it")
            raise KeyError("x")

    counts = import_files([write(tmp_path / "a.jsonl", OWN)], tmp_path / "v", [Own()])
    [found] = counts.values()
    assert (found.added, found.reasons) == (1, {"half of it": 1, "KeyError": 1})


@pytest.mark.parametrize(
    ("reason", "general"),
    [("a: b", "a"), ("a (b)", "a"), ("a; b", "a"), ("a (b): c; d", "a"), ("plain", "plain"), ("", "")],
)
def test_reasons_are_counted_without_their_values(reason, general):
    assert generalise(reason) == general


GOOD = Vote("q", "m", "n", "tie", "c", "x", "t")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        *(({"winner": winner}, "") for winner in ("a", "b", "tie", "skip")),
        ({"winner": "c"}, "unknown winner 'c'"),
        ({"winner": "x" * 99}, "unknown winner '" + "x" * 59),
        ({"model_a": "n"}, "a model against itself: n"),
        ({"model_a": "y" * 99, "model_b": "y" * 99}, "a model against itself: " + "y" * 60),
        ({"question": "q" * 2_001}, ""),
        ({"annotator": "x" * 2_000}, ""),
        ({"annotator": "x" * 2_001}, "'annotator' is 2001 characters long"),
        ({"model_a": "x" * 2_001}, "'model_a' is 2001 characters long"),
        ({"category": "a\0b"}, "'category' contains a NUL byte"),
        ({"question": "a\0b"}, "'question' contains a NUL byte"),
        ({"question": "题"}, ""),
        ({"question": "题\ud800"}, "'question' contains an unpaired surrogate"),
        ({"time": "\udc00"}, "'time' contains an unpaired surrogate"),
    ],
)
def test_what_is_wrong_with_a_vote(changes, fault):
    assert find_fault(GOOD._replace(**changes)) == fault


# ---------------------------------------------------------------------- lines, each once


def test_lines_are_kept_once_whether_new_or_there(tmp_path, monkeypatch):
    monkeypatch.setattr("gptalt_eval_plugin_elo.lines.BATCH", 3)
    path = tmp_path / "far" / "below" / "lines"
    lines = Lines(path)
    for line in (b"b\n", b"a\n", b"b\n"):
        lines.add(line)
    assert (lines.count, path.read_bytes()) == (0, b""), "two are no batch"
    lines.add(b"c\n")
    assert (lines.count, path.read_bytes()) == (3, b"b\na\nc\n")
    assert lines.fresh == {}, "what is written takes no more memory"
    lines.add(b"a\n")
    lines.add(b"d\n")
    lines.close()
    assert (lines.count, path.read_bytes()) == (4, b"b\na\nc\nd\n")
    assert lines.stream.closed
    more = Lines(path)
    for line in (b"d\n", b"e\n", b"b\n", b"f\n"):
        more.add(line)
    more.close()
    assert (more.count, path.read_bytes()) == (2, b"b\na\nc\nd\ne\nf\n")
    assert hash_line(b"a") != hash_line(b"b") and 0 <= hash_line(b"a") < 2**64


def test_an_unfinished_line_of_a_killed_import_is_replaced(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"a\nhalf of")
    lines = Lines(path)
    lines.add(b"half of b\n")
    lines.close()
    assert path.read_bytes() == b"a\nhalf of b\n"


def test_a_new_file_knows_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr("gptalt_eval_plugin_elo.lines.hash_line", lambda line: 0)
    lines = Lines(tmp_path / "lines")
    lines.add(b"a\n")
    lines.close()
    assert (lines.count, (tmp_path / "lines").read_bytes()) == (1, b"a\n")


@given(st.lists(st.sampled_from([b"a\n", b"bb\n", "题\n".encode(), b"\n"])), st.integers(1, 4))
def test_any_lines_in_any_batches(tmp_path_factory, given, batch):
    path = tmp_path_factory.mktemp("x") / "lines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gptalt_eval_plugin_elo.lines.BATCH", batch)
        for part in (given[: len(given) // 2], given):
            lines = Lines(path)
            for line in part:
                lines.add(line)
            lines.close()
    assert path.read_bytes() == b"".join(dict.fromkeys(given))


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"a", b""), (b"\n", b"\n"), (b"a\n\nb", b"a\n\n"),
        (b"a\n" + b"x" * 4_095, b"a\n"), (b"a\n" + b"x" * 4_096, b"a\n"), (b"a\n" + b"x" * 9_000, b"a\n"), (b"x" * 9_000, b""),
        (b"x" * 9_000 + b"\n", b"x" * 9_000 + b"\n"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_line_that_is_not_finished_is_removed(tmp_path, content, kept):
    file = tmp_path / "x"
    file.write_bytes(content)
    cut_last_line(file)
    assert file.read_bytes() == kept


# ---------------------------------------------------------------------- read again


def test_votes_are_read_from_a_file_or_its_folder(tmp_path):
    write(tmp_path / VOTES, OWN, OWN | {"winner": "skip", "category": "c", "source": "x"})
    votes = [Vote("q1", "m", "n", "a"), Vote("q1", "m", "n", "skip", "c")]
    assert list(read_votes(tmp_path)) == list(read_votes(tmp_path / VOTES)) == votes


def test_what_is_said_of_votes_that_are_none(tmp_path):
    assert refuse(lambda: list(read_votes(tmp_path))) == (
        f"There are no votes in {tmp_path}.",
        "Import some: gptalt-eval votes import FILE...",
    )
    file = tmp_path / VOTES
    for wrong, why in (
        (OWN | {"winner": "x"}, "unknown winner 'x'"),
        (OWN | {"question": 3}, "a field is not text"),
        ({"model_a": "m"}, "unknown winner ''"),
    ):
        write(file, OWN, wrong)
        assert refuse(lambda: list(read_votes(tmp_path))) == (
            f"{file}, line 2 is not a vote: {why}.",
            "To import other files: gptalt-eval votes import FILE...",
        )
