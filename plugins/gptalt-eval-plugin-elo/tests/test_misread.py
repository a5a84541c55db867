"""Files that would be read as something else than they say, and ended with a wrong board and exit code 0."""

import json

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.agreement import measure_agreement
from gptalt_eval_plugin_elo.evaluation import Rules, evaluate
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes
from gptalt_eval_plugin_elo.merging import merge_votes
from gptalt_eval_plugin_elo.table import gather_votes

from gptalt_eval import GptaltError

ONE = {"question": "q1", "model_a": "x", "model_b": "y", "winner": "a", "annotator": "n"}
NOON = ONE | {"time": "2026-11-27T12:00:00+00:00"}


def load(folder, name, *records):
    """The counts of a file of JSON lines, or of a text."""
    file = folder / name
    lines = [each if isinstance(each, str) else json.dumps(each) + "\n" for each in records]
    file.write_text("".join(lines), encoding="utf-8")
    [counts] = import_files([file], folder / "v", list_formats()).values()
    return counts


def number(count, **changes):
    return [ONE | {"question": f"q{place}"} | changes for place in range(count)]


# ---------------------------------------------------------------------- left out for the outcome


@pytest.mark.parametrize("others", [
    [{name: value for name, value in ONE.items() if name != "winner"}],
    [ONE | {"winner": float("nan")}], [ONE | {"winner": None}],
])  # fmt: skip
def test_a_tie_that_is_said_by_silence_is_asked_for(tmp_path, others):
    """One record in twenty is few enough to be passed over; but these are the ties."""
    with pytest.raises(GptaltError, match="this word for the winner cannot be understood"):
        load(tmp_path, "a.jsonl", *number(19), *others)
    assert not (tmp_path / "v").exists()


def test_words_in_a_file_that_looks_like_our_own(tmp_path):
    records = [{**each, "id": f"{place:016x}", "source": "web"} for place, each in enumerate(number(20))]
    records[3]["winner"] = "left"
    assert (load(tmp_path, "a.jsonl", *records).added, len(list(read_votes(tmp_path / "v")))) == (20, 20)
    records[4]["winner"] = "nobody"
    with pytest.raises(GptaltError, match=r"nobody \(1 vote\)"):
        load(tmp_path, "a.jsonl", *records)


def test_a_code_that_the_survey_does_not_have_is_asked_for(tmp_path):
    answers, anna = tmp_path / "answers.csv", tmp_path / "anna.json"
    answers.write_text("no,category,question,x,y\n" + "".join(f"{n},c,q{n},1,2\n" for n in range(20)))
    anna.write_text(json.dumps({"que_idx": [[n, 0, 1] for n in range(20)], "que_rec": [1] * 19 + [2]}))
    with pytest.raises(GptaltError, match=r"2 \(1 vote, a code"):
        import_files([answers, anna], tmp_path / "v", list_formats())
    [counts] = import_files([answers, anna], tmp_path / "v", list_formats(), given={"2": "tie"}).values()
    assert counts.added == 20


# ---------------------------------------------------------------------- rows that swallow others


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("quoted", [{20}, {20, 60}, {0, 99}])
def test_a_quote_that_belongs_to_a_text_hides_no_rows(tmp_path, ending, quoted):
    """In a table without quoting, everything from one such text to the next would be one cell."""
    separator = {"csv": ",", "tsv": "\t"}[ending]
    rows = [["question", "model_a", "model_b", "winner"]]
    rows += [['"' * (n in quoted) + f"Why {n}?", "x", "y", "a"] for n in range(100)]
    with pytest.raises(GptaltError, match=rf"line {min(quoted) + 2}: the quotes are not those of a table"):
        load(tmp_path, f"a.{ending}", *(separator.join(row) + "\n" for row in rows))


def test_quotes_as_tables_have_them(tmp_path):
    rows = [
        "question,model_a,model_b,winner\n",
        '"So ""it"" is,\nor not",x,y,a\n',
        '"",x,y,b\n',
        'a "b" c,x,y,tie\n',
    ]
    counts = load(tmp_path, "a.csv", *rows)
    assert (counts.added, counts.rejected) == (2, 1)
    assert [vote.question for vote in read_votes(tmp_path / "v")] == ['So "it" is,\nor not', 'a "b" c']


# ---------------------------------------------------------------------- names that are words


@pytest.mark.parametrize(("first", "second", "word"), [
    ("Model B", "Model A", "model_b"), ("model-b", "z", "model_b"), ("z", "Answer A", "answer_a"),
    ("left vote", "z", "leftvote "), ("z", "Both Bad", "both_good"), ("Assistant-B", "Assistant-A", "assistant b"),
])  # fmt: skip
def test_a_name_in_another_spelling_is_still_a_name(tmp_path, first, second, word):
    record = ONE | {"model_a": first, "model_b": second, "winner": word}
    if word in ("leftvote ", "both_good"):  # which is not how the name is written
        assert load(tmp_path, "a.jsonl", record).added == 1
        return
    with pytest.raises(GptaltError, match="also the name of a model"):
        load(tmp_path, "a.jsonl", record)


def test_a_name_in_another_spelling_wins(tmp_path):
    load(tmp_path, "a.jsonl", ONE | {"model_b": "GPT 4 turbo", "winner": "gpt-4_turbo"})
    assert [vote.winner for vote in read_votes(tmp_path / "v")] == ["b"]


# ---------------------------------------------------------------------- the same votes once more


@pytest.mark.parametrize("record", [NOON, ONE | {"id": "v1"}, NOON | {"id": "v1"}])
def test_a_file_that_was_written_twice_into_itself(tmp_path, record):
    """The same person cannot judge the same at the same moment: the agreement would be 1."""
    records = [record | {"question": f"q{place}", "winner": "ab"[place % 2]} for place in range(12)]
    for place, each in enumerate(records):
        each |= {"time": f"2026-11-27T12:00:{place:02d}+00:00"} if "time" in record else {}
    counts = load(tmp_path, "a.jsonl", *records, *records)
    assert (counts.added, counts.known) == (12, 12)
    with pytest.raises(GptaltError, match="Nothing was judged twice"):
        measure_agreement(gather_votes(read_votes(tmp_path / "v")))
    counts = load(tmp_path, "b.jsonl", *records, *records[:5], *records)
    assert (counts.added, counts.known, counts.changed) == (0, 29, 0)


@pytest.mark.parametrize(
    "change", [{"winner": "b"}, {"time": "2026-11-27T12:00:01+00:00"}, {"annotator": "m"}]
)
def test_what_is_not_a_copy(tmp_path, change):
    assert load(tmp_path, "a.jsonl", NOON, NOON | change).added == 2


@pytest.mark.parametrize(("field", "one", "other"), [
    ("question", "7", 7.0), ("question", 7, "7.0"), ("annotator", "3", "3.0"), ("annotator", 3.0, 3),
    ("time", "2026-11-27T12:00:00+00:00", "2026-11-27 12:00:00"), ("time", "1795780800", 1795780800.0),
    ("time", "2026-11-27T12:00:00Z", "2026-11-27T14:00:00.000+02:00"), ("time", 1795780800, 1795780800000),
    ("time", "2026-11-27T12:00:00", 1795780800),
])  # fmt: skip
def test_what_passed_through_another_tool_is_the_same(tmp_path, field, one, other):
    """A table of pandas has ``7.0`` for 7, and a moment in a form of its own."""
    assert load(tmp_path, "a.jsonl", ONE | {field: one}).added == 1
    counts = load(tmp_path, "b.jsonl", ONE | {field: other})
    assert (counts.added, counts.known) == (0, 1)


@pytest.mark.parametrize(("field", "one", "other"), [
    ("question", "7", "70"), ("question", "1.0.0", "1.0"), ("annotator", "v.0", "v"),
    ("time", "2026-11-27T12:00:00Z", "2026-11-27T12:00:00+01:00"), ("time", "1795780800", "1795780801"),
    ("time", "t1", "t2"), ("time", "inf", "nan"), ("model_a", "3.0", "3"),
])  # fmt: skip
def test_what_is_another_vote(tmp_path, field, one, other):
    load(tmp_path, "a.jsonl", ONE | {field: one})
    assert load(tmp_path, "b.jsonl", ONE | {field: other}).added == 1


# ---------------------------------------------------------------------- read without an import


@pytest.mark.parametrize("field", ["turn", "anony", "Annotator", "LANGUAGE", "Turn", "judge", "tstamp"])
def test_what_only_an_import_understands_is_not_passed_over(tmp_path, field):
    """The two turns of a conversation are two questions, and who saw the names does not count."""
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(ONE | {field: "1", "comment": "x"}))
    with pytest.raises(GptaltError, match="line 1 is not a vote") as error:
        list(read_votes(file))
    assert "votes import" in str(error.value.hint)
    file.write_text(json.dumps(ONE | {"comment": "x"}))
    assert len(list(read_votes(file))) == 1


@pytest.mark.parametrize("field", ["annotator", "category", "language"])
def test_nothing_is_nobody(tmp_path, field):
    load(tmp_path, "a.jsonl", ONE | {field: float("nan")})
    [vote] = read_votes(tmp_path / "v")
    assert getattr(vote, field) == ""


# ---------------------------------------------------------------------- a question in two languages


def test_answers_in_two_languages_are_not_the_same_answers():
    """Opposite votes on them are two comparisons, not a tie, and no disagreement."""
    votes = [
        Vote(f"q{place}", "x", "y", "a" if language == "en" else "b", annotator=who, language=language)
        for place in range(3) for language in ("en", "zh") for who in "mn"
    ]  # fmt: skip
    table = gather_votes(votes)
    assert sorted(merge_votes(table, "survey").outcome.tolist()) == [0, 0, 0, 1, 1, 1]
    assert measure_agreement(table)[0].tie_discounted.value == 1
    assert evaluate(table, Rules(orders=1)).merged == 6


def test_a_language_that_is_not_said_parts_nothing():
    votes = [
        Vote("q", "x", "y", "a", language="en"),
        Vote("q", "x", "y", "a"),
        Vote("p", "x", "y", "a", language="zh"),
    ]
    table = gather_votes(votes)
    assert table.questions == ["q", "p"] and table.question.tolist() == [0, 0, 1]


def test_votes_without_a_question_stay_on_their_own():
    table = gather_votes([Vote("", "x", "y", "a", language=each) for each in ("en", "zh", "en")])
    assert table.questions == [""]
