"""Battles of FastChat and LMArena in each of their releases, the server's log, and what models judged."""

import json
from pathlib import Path

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.agreement import measure_agreement
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes
from gptalt_eval_plugin_elo.merging import merge_votes
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.votes import Style

from gptalt_eval import GptaltError

REVIEWS = Path(__file__).parents[4] / "shared" / "data" / "votes" / "fastchat-eval_table" / "review"
CLEAN = {"model_a": "m", "model_b": "n", "winner": "model_a", "judge": "arena_user_7", "turn": 1, "anony": True,
         "language": "English", "tstamp": 1682351591.1}  # fmt: skip
COUNTS = {
    "sum_assistant_a_tokens": 120, "sum_assistant_b_tokens": 80,
    "header_count_a": {"h1": 1, "h2": 2}, "header_count_b": {"h1": 0}, "list_count_a": {"ordered": 3, "unordered": 4},
    "list_count_b": {"ordered": 0, "unordered": 1}, "bold_count_a": {"**": 5, "__": 0}, "bold_count_b": {"**": 0},
}  # fmt: skip
STYLES = {"style_a": Style(120, 3, 7, 5), "style_b": Style(80, 0, 1, 0)}


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def load(tmp_path, *records, **settings):
    file = write(tmp_path / "f.jsonl", *records)
    [counts] = import_files([file], tmp_path / "v", list_formats(), **settings).values()
    assert counts.rejected == 0
    return counts.format, list(read_votes(tmp_path / "v"))


def without(record, *names):
    return {name: value for name, value in record.items() if name not in names}


# ---------------------------------------------------------------------- battles


def test_clean_battles_have_neither_question_nor_conversation(tmp_path):
    known, votes = load(tmp_path, CLEAN, CLEAN | {"tstamp": 1682351600.5, "winner": "tie (bothbad)"})
    assert known == "fastchat"
    assert votes == [
        Vote("", "m", "n", "a", "", "arena_user_7", "1682351591.1", "English"),
        Vote("", "m", "n", "tie", "", "arena_user_7", "1682351600.5", "English"),
    ]  # fmt: skip


def converse(prompt, *answers):
    return [
        {"role": "user", "content": prompt},
        *({"role": "assistant", "content": each} for each in answers),
    ]


def test_the_same_prompt_with_other_answers_is_another_question(tmp_path):
    """A hundred battles that begin with "hi" were one comparison, and a 90:10 was a 1:1."""
    battles = [
        {"model_a": "x", "model_b": "y", "winner": "model_a" if number < 90 else "model_b", "judge": f"u{number}",
         "tstamp": number, "conversation_a": converse("hi", f"hello {number}"), "conversation_b": converse("hi", "oh")}
        for number in range(100)
    ]  # fmt: skip
    _, votes = load(tmp_path, *battles)
    merged = merge_votes(gather_votes(votes), "survey")
    assert len(merged) == 100 and (merged.outcome == 0).sum() == 90
    assert all(vote.question.startswith("hi [") for vote in votes)


def test_the_same_answers_are_the_same_question_whoever_judges_and_on_whichever_side(tmp_path):
    one = {"model_a": "x", "model_b": "y", "winner": "model_a", "judge": "u1", "tstamp": 1,
           "conversation_a": converse("hi", "hello"), "conversation_b": converse("hi", "oh")}  # fmt: skip
    other = {"model_a": "y", "model_b": "x", "winner": "model_b", "judge": "u2", "tstamp": 2,
             "conversation_a": one["conversation_b"], "conversation_b": one["conversation_a"]}  # fmt: skip
    _, votes = load(tmp_path, one, other)
    assert votes[0].question == votes[1].question
    assert measure_agreement(gather_votes(votes))[0].tie_discounted.value == 1


def test_answers_that_are_not_there_leave_the_prompt(tmp_path):
    bare = {"model_a": "x", "model_b": "y", "winner": "model_a", "judge": "u1", "tstamp": 1,
            "conversation_a": converse("hi"), "conversation_b": converse("hi")}  # fmt: skip
    assert load(tmp_path, bare)[1][0].question == "hi"


def test_battles_without_a_time_are_known_by_their_content(tmp_path):
    bare = without(CLEAN, "tstamp", "judge", "turn")
    _, votes = load(tmp_path, bare, bare | {"winner": "model_b"}, bare | {"model_b": "o"})
    assert len({vote.id for vote in votes}) == 3 and {vote.question for vote in votes} == {""}
    again = import_files([tmp_path / "f.jsonl"], tmp_path / "v", list_formats())
    assert [(each.added, each.known) for each in again.values()] == [(0, 3)]


@pytest.mark.parametrize(
    ("value", "blind"),
    [
        (True, True),
        (False, False),
        ("False", False),
        ("true", True),
        (0, False),
        (1.0, True),
        (None, True),
        ("", True),
    ],
)
def test_battles_with_names_shown_are_not_blind(tmp_path, value, blind):
    _, [vote] = load(tmp_path, CLEAN | {"anony": value})
    assert vote.blind is blind


def test_turns_are_questions_of_their_own(tmp_path):
    """MT-bench's people judged the first and the second turn of each question."""
    rows = [{"question_id": 81, "model_a": "m", "model_b": "n", "winner": winner, "judge": "author_0", "turn": turn}
            for turn, winner in ((1, "model_a"), (2, "model_b"))]  # fmt: skip
    _, votes = load(tmp_path, *rows, rows[0] | {"judge": "gpt4_pair"})
    assert [(vote.question, vote.winner, vote.kind) for vote in votes] == [
        ("81/turn 1", "a", "person"), ("81/turn 2", "b", "person"), ("81/turn 1", "a", "judge"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [False, True])
def test_the_100k_release(tmp_path, text):
    record = {
        "question_id": "58210e", "model_a": "m", "model_b": "n", "winner": "tie (bothbad)", "judge_hash": "ab12", "turn": 2,
        "anony": True, "language": "English", "tstamp": 1718.5, "is_code": False, "is_refusal": False,
        "conversation_a": [{"role": "user", "content": "Hi"}], "dedup_tag": {"high_freq": False, "sampled": True},
        "category_tag": {"math_v0.1": {"math": False}}, "conv_metadata": json.dumps(COUNTS) if text else COUNTS,
    }  # fmt: skip
    known, votes = load(tmp_path, record)
    assert known == "fastchat"
    assert votes == [Vote("58210e/turn 2", "m", "n", "tie", "", "ab12", "1718.5", "English", **STYLES)]


def test_the_140k_release(tmp_path):
    talk = [{"role": "user", "content": [{"type": "text", "text": "Hi", "image": None}]}]
    record = {
        "id": "uuid", "model_a": "m", "model_b": "n", "winner": "both_bad", "evaluation_session_id": "s",
        "evaluation_order": 1, "conversation_a": talk, "conversation_b": talk, "full_conversation": [],
        "conv_metadata": COUNTS, "category_tag": {}, "language": "en", "is_code": False, "timestamp": "2025-06-01T00:00:00",
    }  # fmt: skip
    _, votes = load(tmp_path, record, without(record, "id") | {"winner": "model_b"})
    assert votes == [
        Vote("uuid", "m", "n", "tie", "", "", "2025-06-01T00:00:00", "en", **STYLES),
        Vote("Hi", "m", "n", "b", "", "", "2025-06-01T00:00:00", "en", **STYLES),
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"sum_assistant_a_tokens": None},
        {"bold_count_b": {"**": "x"}},
        {"header_count_a": -1},
        {"list_count_a": True},
    ],
)
def test_a_style_of_which_a_part_is_missing_is_none(tmp_path, spoilt):
    _, [vote] = load(tmp_path, CLEAN | COUNTS | spoilt)
    assert vote.style_a is None or vote.style_b is None
    _, votes = load(tmp_path, CLEAN | COUNTS | {"question_id": "other", "bold_count_b": "0"})
    assert votes[-1].style_b == STYLES["style_b"]


ONEHOT = {
    "id": 30192,
    "model_a": "m",
    "model_b": "n",
    "prompt": '["Hi"]',
    "response_a": "x",
    "response_b": "y",
}


def mark(a, b, tie, **more):
    return ONEHOT | {"winner_model_a": a, "winner_model_b": b, "winner_tie": tie} | more


def test_the_55k_release(tmp_path):
    rows = [mark(1, 0, 0), mark(0, 1, 0, id=2), mark("0", "0", "1", id=3), mark(1.0, 0.0, 0.0, id=4)]
    known, votes = load(tmp_path, *rows, mark(False, True, False, id=5))
    assert known == "onehot"
    assert votes == [
        Vote("30192", "m", "n", "a"), Vote("2", "m", "n", "b"), Vote("3", "m", "n", "tie"),
        Vote("4", "m", "n", "a"), Vote("5", "m", "n", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (mark(0, 0, 0), "@empty"),
        (mark(1, 1, 0), "model_a+model_b"),
        (mark(0, 0, 0, winner_neither=1), "neither"),
    ],
)
def test_a_row_that_marks_none_or_two_is_asked_for(tmp_path, row, word):
    with pytest.raises(GptaltError) as caught:
        load(tmp_path, mark(1, 0, 0), row)
    assert f"{word} (1 vote)" in caught.value.what
    _, votes = load(tmp_path, mark(1, 0, 0), row | {"id": 2}, given={word.replace("@empty", ""): "skip"})
    assert [vote.winner for vote in votes] == ["a", "skip"]


def test_one_hot_of_another_column(tmp_path):
    _, [vote] = load(tmp_path, mark(0, 0, 0, winner_tie_bothbad=1))
    assert vote.winner == "tie"


# ---------------------------------------------------------------------- the server's log


def log(kind, models=("", ""), names=("m", "n"), **more):
    states = [
        {
            "conv_id": f"c{place}",
            "model_name": name,
            "offset": 0,
            "messages": [["User", "Hi"], ["Assistant", "Ho"]],
        }
        for place, name in enumerate(names)
    ]
    return {"tstamp": 1.5, "type": kind, "models": list(models), "states": states, "ip": "1.2.3.4"} | more


def test_the_servers_log(tmp_path):
    kinds = ("leftvote", "chat", "rightvote", "tievote", "flag", "bothbad_vote", "upvote")
    known, votes = load(tmp_path, *(log(kind, tstamp=1.5 + n) for n, kind in enumerate(kinds)))
    assert known == "fastchat-log"
    assert [vote.winner for vote in votes] == ["a", "b", "tie", "tie"]
    assert votes[0][:8] == ("c0/turn 1", "m", "n", "a", "", votes[0].annotator, "1.5", "")
    assert votes[0].annotator.startswith("user-") and "1.2.3.4" not in votes[0].annotator
    assert len({vote.annotator for vote in votes}) == 1 and all(vote.blind for vote in votes)


def test_models_of_the_log_that_were_shown(tmp_path):
    row = log("leftvote", ("m", "n"))
    assert [vote.blind for vote in load(tmp_path, row)[1]] == [False]
    bare = log("rightvote", ("o", "p"), ("", ""))
    vote = load(tmp_path, bare)[1][-1]
    assert (vote.model_a, vote.model_b, vote.blind) == ("o", "p", False)


def test_later_turns_of_a_conversation_are_other_questions(tmp_path):
    later = log("rightvote")
    for state in later["states"]:
        state["messages"] = state["messages"] * 2
    assert [vote.question for vote in load(tmp_path, log("leftvote"), later)[1]] == ["c0/turn 1", "c0/turn 2"]


def test_a_vote_of_the_log_that_nobody_knows_stops_the_import(tmp_path):
    with pytest.raises(GptaltError, match=r"bothgreat_vote .1 vote"):
        load(tmp_path, log("leftvote"), log("bothgreat_vote"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (log("leftvote", ("x", "n")), "'models' and 'states' name different models"),
        (log("leftvote", names=("", "")), "neither 'models' nor 'states' name the models"),
        (log("leftvote") | {"states": []}, "'models' and 'states' are not two each"),
        (log("leftvote") | {"states": [1, 2]}, "'models' are not texts, or 'states' are not objects"),
        (
            log("leftvote") | {"states": [{"model_name": "m"}, {"model_name": "n"}]},
            "'states' without 'messages'",
        ),
    ],
)
def test_records_of_the_log_that_are_not_votes(tmp_path, row, reason):
    file = write(tmp_path / "f.jsonl", log("tievote"), row)
    [counts] = import_files([file], tmp_path / "v", list_formats()).values()
    assert (counts.added, list(counts.reasons)) == (1, [reason])


# ---------------------------------------------------------------------- models that judged


def test_mt_benchs_judgments_are_two_votes(tmp_path):
    row = {
        "question_id": 81,
        "model_1": "m",
        "model_2": "n",
        "judge": ["gpt-4", "pair-v2"],
        "turn": 1,
        "tstamp": 1.5,
    }
    games = [("model_1", "model_1"), ("model_2", "model_1"), ("tie", "error")]
    known, votes = load(
        tmp_path,
        *[
            row | {"g1_winner": one, "g2_winner": two, "question_id": 81 + n}
            for n, (one, two) in enumerate(games)
        ],
    )
    assert known == "mt-bench"
    assert [(vote.model_a, vote.model_b, vote.winner) for vote in votes] == [
        ("m", "n", "a"), ("n", "m", "b"), ("m", "n", "b"), ("n", "m", "b"), ("m", "n", "tie"), ("n", "m", "skip"),
    ]  # fmt: skip
    assert {(vote.annotator, vote.kind) for vote in votes} == {("gpt-4 pair-v2", "judge")}
    assert [vote.question for vote in votes] == [f"{n}/turn 1" for n in (81, 81, 82, 82, 83, 83)]


def test_fastchats_reviews_name_no_models(tmp_path):
    record = {
        "review_id": "r",
        "question_id": 1,
        "answer1_id": "a",
        "answer2_id": "b",
        "text": "9 8",
        "score": [9.0, 8.0],
    }
    with pytest.raises(GptaltError) as caught:
        load(tmp_path, record)
    assert "has FastChat's reviews by a model: scores of answers that it knows by id" in caught.value.what
    assert "kind=judge" in caught.value.hint


@pytest.mark.skipif(not REVIEWS.exists(), reason="needs the reviews that FastChat published, in ../shared")
def test_each_file_of_reviews_is_refused(tmp_path):
    files = sorted(REVIEWS.rglob("*.jsonl"))
    assert len(files) > 10
    for file in files:
        with pytest.raises(GptaltError, match="has FastChat's reviews by a model"):
            import_files([file], tmp_path / "v", list_formats())
    assert not (tmp_path / "v").exists()


def test_battles_that_say_the_same_are_not_one(tmp_path):
    """Files that say no more than who won: x beat y 90:10, which had become 1:1."""
    rows = [{"model_a": "x", "model_b": "y", "winner": f"model_{'a' if n < 90 else 'b'}"} for n in range(100)]
    _, votes = load(tmp_path, *rows)
    assert len(merge_votes(gather_votes(votes), "survey")) == 100
    [each] = import_files([tmp_path / "v"], tmp_path / "w", list_formats()).values()
    assert (each.added, each.rejected) == (100, 0)
    table = tmp_path / "f.csv"
    table.write_text(
        "model_b,model_a,winner,empty\n"
        + "".join("{model_b},{model_a},{winner},\n".format(**row) for row in rows)
    )
    [each] = import_files([table], tmp_path / "v", list_formats()).values()
    assert (each.added, each.known) == (0, 100)
    with pytest.raises(GptaltError, match="Nothing was judged twice"):
        measure_agreement(gather_votes(votes))


def test_votes_of_our_own_without_a_question_are_not_one():
    votes = [Vote("", "x", "y", "a")] * 9 + [Vote("", "y", "x", "a")] + [Vote("q", "x", "y", "tie")] * 2
    assert len(merge_votes(gather_votes(votes), "majority")) == 11
