"""Votes: the formats they come in, files that are mangled, importing twice."""

import json
import random
import string
from contextlib import closing
from pathlib import Path

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.commands import print_counts, read_columns
from gptalt_eval_plugin_elo.counts import Counts
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import REJECTED, VOTES, import_files, read_votes
from gptalt_eval_plugin_elo.records import LONGEST, Unreadable, read_records
from gptalt_eval_plugin_elo.voting.commands import print_links
from gptalt_eval_plugin_elo.voting.store import Store
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval import GptaltError

OWN = {"question": "q1", "model_a": "moss", "model_b": "模型", "winner": "a"}


def write(path, *records):
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8"
    )
    return path


def load(file, folder, *others, **settings):
    counts = import_files([*others, file], folder, list_formats(), **settings)
    return counts[file], list(read_votes(folder))


def read_rejected(folder):
    return [json.loads(line) for line in (folder / REJECTED).read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------------- formats


def test_our_own_lines(tmp_path):
    file = write(
        tmp_path / "a.jsonl", OWN, OWN | {"winner": "tie", "category": "写作", "annotator": "x", "time": "t"}
    )
    counts, votes = load(file, tmp_path / "votes")
    assert (counts.format, counts.added, counts.rejected) == ("gptalt", 2, 0)
    assert votes == [Vote("q1", "moss", "模型", "a"), Vote("q1", "moss", "模型", "tie", "写作", "x", "t")]
    line = json.loads((tmp_path / "votes" / VOTES).read_text(encoding="utf-8").splitlines()[1])
    assert line["source"] == "a.jsonl:2"


def test_fastchats_arena(tmp_path):
    rows = [
        {
            "question_id": 7,
            "model_a": "a",
            "model_b": "b",
            "winner": winner,
            "judge": "j",
            "tstamp": 1.5 + place,
        }
        for place, winner in enumerate(("model_a", "model_b", "tie", "tie (bothbad)"))
    ]
    rows.append({"model_a": "a", "model_b": "b", "winner": "model_b", "conversation_a": [{"content": "Hi"}]})
    for file in (write(tmp_path / "l.jsonl", *rows), tmp_path / "array.json"):
        if not file.exists():
            file.write_text(json.dumps(rows, indent=2))
        counts, votes = load(file, tmp_path / file.stem)
        assert counts.format == "fastchat"
        assert [vote.winner for vote in votes] == ["a", "b", "tie", "tie", "b"]
        assert votes[0] == Vote("7", "a", "b", "a", "", "j", "1.5")
        assert votes[4].question == "Hi"


def test_pandalms_annotators(tmp_path):
    row = {
        "idx": 3,
        "motivation_app": "Gmail",
        "cmp_key": "bloom-7b_opt-7b",
        "instruction": "",
        "input": "",
        "response1": "",
        "response2": "",
        "annotator1": 0,
        "annotator2": 1,
        "annotator3": 2,
    }
    bad = row | {"idx": 4, "annotator2": "yes"}
    file = tmp_path / "p.json"
    file.write_text(json.dumps([row, bad, row | {"cmp_key": "x"}], indent=4))
    with pytest.raises(GptaltError, match="understood: yes"):
        load(file, tmp_path / "v")
    file.write_text(json.dumps([row, row | {"idx": []}, row | {"cmp_key": "x"}], indent=4))
    counts, votes = load(file, tmp_path / "v")
    assert (counts.format, counts.added, counts.rejected) == ("pandalm", 3, 2)
    assert votes == [
        Vote("3", "bloom-7b", "opt-7b", winner, "Gmail", f"annotator{n}")
        for n, winner in enumerate(("tie", "a", "b"), 1)
    ]
    assert [each["line"] for each in read_rejected(tmp_path / "v")] == [14, 26]


def test_label_studios_export(tmp_path):
    def annotate(who, *values, **more):
        return {
            "completed_by": who,
            "created_at": "2026",
            "result": [{"value": value} for value in values],
            **more,
        }

    task = {
        "id": 5,
        "data": {"prompt": "Why?", "model_a": "x", "model_b": "y"},
        "annotations": [
            annotate(1, {"selected": "left"}),
            annotate({"email": "a@b.c"}, {"selected": "right"}),
            annotate(3, {"choices": ["tie"]}),
            annotate(4, was_cancelled=True),
            annotate(5, {"text": ["hm"]}),
            {"completed_by": 6},
        ],
    }
    file = tmp_path / "ls.json"
    file.write_text(json.dumps([task]))
    with pytest.raises(GptaltError, match=r"understood: @empty .1 vote"):
        load(file, tmp_path / "v")
    counts, votes = load(file, tmp_path / "v", given={"": "skip"})
    assert (counts.format, counts.rejected) == ("labelstudio", 1)
    assert [(vote.winner, vote.annotator) for vote in votes] == [
        ("a", "1"),
        ("b", "a@b.c"),
        ("tie", "3"),
        ("skip", "4"),
        ("skip", "5"),
    ]
    assert votes[0].question == "Why?"


ANSWERS = "no,类别,问题,ChatGLM,Vicuna,MOSS\n0,写作,写诗,一,二,三\n1,数学,1+1,2,2,3\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_the_surveys_files(tmp_path, encoding):
    table = tmp_path / "answers.csv"
    table.write_text(ANSWERS, encoding=encoding)
    entries = [[0, 0, 1], [1, 2, 0], [1, 1, 2], [0, 1, 2], [5, 0, 1], [0, 0, 9], [0, 0], "x"]
    file = tmp_path / "anna.json"
    file.write_text(json.dumps({"que_idx": entries, "que_rec": [1, -1, -2, 0, 1, 1, 1, 1]}))
    counts, votes = load(file, tmp_path / "v", table)
    assert (counts.format, counts.added, counts.rejected) == ("survey", 4, 4)
    assert votes == [
        Vote("0", "ChatGLM", "Vicuna", "a", "写作", "anna"),
        Vote("1", "MOSS", "ChatGLM", "b", "数学", "anna"),
        Vote("1", "Vicuna", "MOSS", "tie", "数学", "anna"),
        Vote("0", "Vicuna", "MOSS", "skip", "写作", "anna"),
    ]


def test_the_surveys_votes_need_its_table(tmp_path):
    file = write(tmp_path / "anna.json", {"que_idx": [[0, 0, 1]], "que_rec": [1]})
    with pytest.raises(GptaltError, match=r"CSV of answers before it"):
        load(file, tmp_path / "v")


def test_any_csv(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text(
        'prompt,l,r,choice,who\n"two\nlines",x,y,Left,me\nq,x,y,y,me\nq,x,x,maybe,me\nq,x\n',
        encoding="utf-8",
    )
    columns = read_columns("question=prompt,model_a=l,model_b=r,winner=choice,annotator=who")
    counts, votes = load(file, tmp_path / "v", columns=columns)
    assert (counts.added, counts.rejected) == (2, 2)
    assert [(vote.winner, vote.question) for vote in votes] == [("a", "two\nlines"), ("b", "q")]
    assert [each["line"] for each in read_rejected(tmp_path / "v")] == [5, 6]
    with pytest.raises(GptaltError, match="--columns question=COLUMN,"):
        load(file, tmp_path / "w")
    with pytest.raises(GptaltError, match="'frage=x' is not NAME=VALUE"):
        read_columns("frage=x")


def test_our_own_names_in_a_csv_need_no_columns(tmp_path):
    file = tmp_path / "c.tsv"
    file.write_text("winner\tquestion\tmodel_a\tmodel_b\n平局\tq\tx\ty\n", encoding="gb18030")
    _, votes = load(file, tmp_path / "v")
    assert votes == [Vote("q", "x", "y", "tie")]


def test_files_that_are_none(tmp_path):
    known = list_formats()
    with pytest.raises(GptaltError, match="cannot be read"):
        import_files([tmp_path / "nothing.jsonl"], tmp_path / "v", known)
    text = tmp_path / "a.txt"
    text.write_text("hello")
    with pytest.raises(GptaltError, match=r"unknown format .not gptalt, fastchat"):
        import_files([text], tmp_path / "v", known)
    with pytest.raises(GptaltError, match="There is no format 'x'"):
        import_files([write(tmp_path / "o.jsonl", OWN)], tmp_path / "v", known, "x")
    with pytest.raises(GptaltError, match="votes import FILE"):
        list(read_votes(tmp_path))


# ---------------------------------------------------------------------- twice, and killed


def test_importing_twice_adds_nothing(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN, OWN, OWN | {"winner": "b"}, {"question": "q"})
    first, _ = load(file, tmp_path / "v")
    before = [(tmp_path / "v" / name).read_bytes() for name in (VOTES, REJECTED)]
    again, votes = load(file, tmp_path / "v")
    assert (first.added, first.known) == (3, 0)
    assert (again.added, again.known, again.rejected) == (0, 3, 1)
    assert [(tmp_path / "v" / name).read_bytes() for name in (VOTES, REJECTED)] == before
    write(file, OWN, OWN, OWN | {"winner": "b"}, {"question": "q"}, OWN | {"winner": "tie"})
    more, votes = load(file, tmp_path / "v")
    assert (more.added, more.known, len(votes)) == (1, 3, 4)


def test_an_import_that_was_killed_is_finished_by_the_next(tmp_path):
    file = write(tmp_path / "a.jsonl", *({**OWN, "question": f"q{number}"} for number in range(50)))
    load(file, tmp_path / "v")
    votes = tmp_path / "v" / VOTES
    whole = votes.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        votes.write_bytes(whole[:length])
        load(file, tmp_path / "v")
        assert votes.read_bytes() == whole


# ---------------------------------------------------------------------- mangled


def mangle(generator, good):
    """A line that is not a vote, of one of many kinds."""
    kinds = (
        lambda: good[: generator.randrange(1, len(good) - 1)],
        lambda: json.dumps(OWN | {"question": generator.choice([None, "", [], {}, True])}).encode(),
        lambda: json.dumps({name: OWN[name] for name in OWN if name != "model_a"}).encode(),
        lambda: json.dumps(OWN | {"model_a": generator.choice([None, [], {"a": 1}, "", False])}).encode(),
        lambda: json.dumps(OWN | {"model_b": OWN["model_a"]}).encode(),
        lambda: json.dumps(OWN | {"question": "a\0b"}).encode(),
        lambda: good[:5] + b"\0" + good[5:],
        lambda: json.dumps(OWN, ensure_ascii=False).encode("gb18030"),
        lambda: json.dumps(OWN).encode("utf-16"),
        lambda: b"\xff\xfe" + good,
        lambda: generator.choice([b"[]", b"null", b"3", b'"vote"', b"[" * 5_000, b"9" * 5_000, b"{", b"}"]),
        lambda: json.dumps(OWN | {"annotator": "x" * 10_000}).encode(),
        lambda: json.dumps(OWN | {"model_a": "\ud800"}).encode(),
        lambda: (
            bytes(generator.randrange(1, 256) for _ in range(30)).replace(b"\n", b"").replace(b"\r", b"")
            + b"\x01"
        ),
        lambda: (
            "".join(generator.choices(string.printable.replace("\n", "").replace("\r", ""), k=40)).encode()
            + b"%"
        ),
    )
    return generator.choice(kinds)()


def test_ten_thousand_mangled_lines(tmp_path):
    """Every good line is counted, every bad one kept with its reason."""
    generator = random.Random(7)
    lines, good, bad = [], 0, 0
    for number in range(12_000):
        line = json.dumps(OWN | {"question": f"q{number}"}, ensure_ascii=generator.random() < 0.5).encode()
        if number == 0 or generator.random() < 1 / 6:
            good += 1
        else:
            line = mangle(generator, line)
            bad += 1
        lines.append(line)
    # two lines of 10 MB: one is a vote with much beside it, one is cut off
    big = json.dumps(OWN | {"question": "big", "answer": "x" * 10_000_000}).encode()
    lines += [big, big[:-5], b"x" * (LONGEST + 10), json.dumps(OWN | {"question": "last"}).encode()]
    good, bad = good + 2, bad + 2
    assert bad > 9_900
    file = tmp_path / "m.jsonl"
    file.write_bytes(b"\n".join(lines))
    counts, votes = load(file, tmp_path / "v")
    assert (counts.added, counts.rejected) == (good, bad)
    assert len(votes) == good
    rejected = read_rejected(tmp_path / "v")
    assert len(rejected) == bad
    assert all(each["reason"] and len(each["text"]) <= 2_000 for each in rejected)
    assert {each["line"] for each in rejected} == set(range(1, len(lines) + 1)) - {
        int(json.loads(line)["source"].rpartition(":")[2])
        for line in (tmp_path / "v" / VOTES).open(encoding="utf-8")
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=8),
    st.sampled_from([None, 0, 2, 4]),
)
def test_arrays_are_read_as_json_reads_them(tmp_path_factory, objects, indent):
    file = tmp_path_factory.mktemp("a") / "a.json"
    file.write_text(json.dumps(objects, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert [record for _, record in read_records(file)] == objects


@given(st.binary(max_size=300), st.sampled_from([".json", ".jsonl", ".csv", ".tsv"]))
def test_nothing_in_a_file_is_a_crash(tmp_path_factory, content, suffix):
    file = tmp_path_factory.mktemp("b") / f"b{suffix}"
    for start in (b"", b"[", b'[{"a": 1},', b'{"a": 1}\n', b"\xef\xbb\xbf[", b"\xff\xfe"):
        file.write_bytes(start + content)
        try:
            for record in read_records(file):
                assert isinstance(record, (tuple, Unreadable))
        except GptaltError as error:
            assert "quotes" in error.what


def test_a_broken_object_in_an_array_costs_only_itself(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[\n {"a": 1},\n {"a": nonsense},\n {"a": 3},\n 4,\n {"a": 5},\n {"a": "cut')
    found = list(read_records(file))
    assert [record[1]["a"] for record in found if isinstance(record, tuple)] == [1, 3, 5]
    assert [(bad.line, bad.reason) for bad in found if isinstance(bad, Unreadable)] == [
        (3, "not JSON: Expecting value"),
        (5, "a number instead of an object"),
        (7, "truncated"),
    ]


def test_a_long_first_line_hides_nothing(tmp_path):
    rows = [OWN | {"question": f"q{number}", "answer": "x" * 10_000} for number in range(3)]
    counts, _ = load(write(tmp_path / "long.jsonl", *rows), tmp_path / "v")
    assert (counts.added, counts.rejected) == (3, 0)
    pretty = tmp_path / "pretty.json"
    pretty.write_text("\n".join(json.dumps(row, indent=1) for row in rows))
    assert [record for _, record in read_records(pretty)] == rows


# ---------------------------------------------------------------------- one of a kind


@pytest.mark.parametrize(("count", "said"), [(1, "1 comparison; votes"), (2_000, "2,000 comparisons; votes")])
def test_the_page_counts_comparisons(tmp_path, capsys, count, said):
    with closing(Store(tmp_path / "votes.sqlite")) as store:
        print_links(store, store.add_annotators(["anna"]), count, ["http://here"])
    assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize(
    ("added", "rejected", "said"),
    [
        (1, 1, "gptalt, 1 new vote; 1 record is not a vote\n"),
        (2, 3, "gptalt, 2 new votes; 3 records are not votes\n"),
    ],
)
def test_an_import_counts_votes_and_other_records(capsys, added, rejected, said):
    counts = Counts("gptalt", added, rejected=rejected)
    print_counts({Path("v.jsonl"): counts}, Path("votes.jsonl"), Path("rejected.jsonl"))
    assert f"v.jsonl: {said}" in capsys.readouterr().out
