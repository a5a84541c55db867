"""What each word for a winner means, which are asked for, and that no vote is left out for its outcome."""

import json

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes
from gptalt_eval_plugin_elo.winners import UnknownWinner, Winners, read_winner, read_winners, simplify
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError
from gptalt_eval.commands import cli
from gptalt_eval.testing import make_plugin_set

OWN = {"question": "q1", "model_a": "x", "model_b": "y", "winner": "a"}
MODELS = ("moss", "glm")


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_winners(path, *words, **more):
    return write(path, *(OWN | {"question": f"q{n}", "winner": word} | more for n, word in enumerate(words)))


def load(file, folder, winners=None, **settings):
    counts = import_files([file], folder, list_formats(), given=read_winners(winners), **settings)
    return counts[file], [vote.winner for vote in read_votes(folder)]


def refuse(*arguments, **settings):
    with pytest.raises(GptaltError) as caught:
        load(*arguments, **settings)
    return caught.value


def call(*words):
    return cli.dispatch([str(word) for word in words], make_plugin_set(gptalt_eval_plugin_elo))


# ---------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("words", "winner"),
    [
        (
            "a|A| a |model_a|Model A|model-a|MODEL_A|modelA|model_A_win|model_a_wins|A wins|left|LEFT|first|leftvote"
            "|assistant A|[[A]]|左|moss|MOSS| Moss ",
            "a",
        ),
        ("b|B|model_b|modelB|model_B_win|right|second|rightvote|[[B]]|右|glm|GLM", "b"),
        (
            "tie|Tie|TIE|ties|tied|equal|draw|both|=|平|平局|tievote|tie (bothbad)|Tie (Both Bad)|bothbad|both_bad"
            "|both bad|both-bad|bothbad_vote|both_good",
            "tie",
        ),
        ("skip| SKIP|skipped|跳过", "skip"),
    ],
)
def test_each_word_for_a_winner(words, winner):
    for word in words.split("|"):
        assert read_winner(word, MODELS, {}) == winner, word


@pytest.mark.parametrize(
    "word",
    ["c", "", "ab", "none", "neither", "0", "1", "2", "-1", "3", "1.0", "2.0", "0.0", "1/2", "0.5", "true", "[]",
     "model_1", "response 2", "mos", "A>B", "tie?"],
)  # fmt: skip
def test_words_that_are_asked_for(word):
    with pytest.raises(UnknownWinner):
        read_winner(word, MODELS, {})
    for outcome in ("a", "b", "tie", "skip"):
        assert read_winner(word, MODELS, {simplify(word): outcome}) == outcome


@pytest.mark.parametrize(
    ("word", "models", "winner"),
    [
        ("B", ("B", "x"), None),  # the word says b, the name says a
        ("b", ("B", "x"), None),
        ("B", ("x", "B"), "b"),
        ("A", ("x", "A"), None),
        ("left", ("right", "left"), None),
        ("left", ("left", "right"), "a"),
        ("tie", ("tie", "x"), None),
        ("skip", ("x", "skip"), None),
        ("model_b", ("model_b", "model_a"), None),
        ("equal", ("Equal", "x"), None),
        ("1", ("2", "1"), None),
        ("1", ("1", "2"), None),
        ("17", ("17", "42"), None),
        ("x-17", ("x-17", "x-42"), "a"),
        ("GPT", ("gpt", "GPT"), "b"),
        ("Gpt", ("gpt", "GPT"), None),
        ("b", ("b", "B"), None),
        ("B", ("b", "B"), "b"),
        ("same", ("same", "same"), None),
    ],
)
def test_a_word_that_is_a_models_name(word, models, winner):
    if winner:
        assert read_winner(word, models, {}) == winner
        return
    with pytest.raises(UnknownWinner):
        read_winner(word, models, {})
    assert read_winner(word, models, {simplify(word): "b"}) == "b"


def test_a_name_can_be_meant():
    for models, winner in ((("B", "x"), "a"), (("x", "B"), "b")):
        assert read_winner("B", models, {"b": "model"}) == winner
    with pytest.raises(UnknownWinner, match="names neither"):
        read_winner("B", ("x", "y"), {"b": "model"})


def test_what_the_user_says_goes_before_what_is_known():
    assert read_winner("left", MODELS, {"left": "b"}) == "b"
    assert read_winner("moss", MODELS, {"moss": "tie"}) == "tie"


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (None, {}),
        ("a=left", {"left": "a"}),
        ("a=1,b=2,tie=0", {"1": "a", "2": "b", "0": "tie"}),
        ("a=1.0,a= Left ,tie=both bad,tie==", {"1": "a", "left": "a", "both bad": "tie", "=": "tie"}),
        ('"tie=good, both",skip=@empty', {"good, both": "tie", "": "skip"}),
        ("model=B", {"b": "model"}),
        ("a=1,a=1.0", {"1": "a"}),
    ],
)
def test_what_winners_says(text, given):
    assert read_winners(text) == given


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "'a' is not"), ("c=left", "'c=left' is not"), ("a=", "'a=' is not"), ("a=left,tie=", "'tie=' is not"),
        ("a=x,b=X", "'X' cannot be both a and b"), ("a=1,tie=1.0", "'1.0' cannot be both a and tie"),
    ],
)  # fmt: skip
def test_what_winners_cannot_say(text, said):
    with pytest.raises(GptaltError, match=f"^--winners: {said}"):
        read_winners(text)


# ---------------------------------------------------------------------- an import stops


def test_unknown_words_stop_the_import_before_anything_is_written(tmp_path):
    words = ["winA"] * 12 + ["winB"] * 9 + ["tie"] * 5 + ["a"]
    file = write_winners(tmp_path / "v.jsonl", *words)
    error = refuse(file, tmp_path / "v")
    assert error.what == (
        f"{file}: these 2 words for the winner cannot be understood: winA (12 votes), winB (9 votes). "
        "Understood: tie (5 votes, tie), a (1 vote, a). Nothing was imported."
    )
    assert (
        error.hint
        == "Say what each means: --winners a=...,b=...,tie=...,skip=... (two words for one: a=x,a=y)."
    )
    assert error.exit_code == 2
    assert not (tmp_path / "v").exists()
    counts, winners = load(file, tmp_path / "v", "a=wina,b=WINB")
    assert (counts.added, counts.rejected) == (27, 0)
    assert [winners.count(each) for each in ("a", "b", "tie")] == [13, 9, 5]


def test_what_was_there_stays_as_it_was(tmp_path):
    load(write_winners(tmp_path / "good.jsonl", "a", "b"), tmp_path / "v")
    before = {file.name: file.read_bytes() for file in (tmp_path / "v").iterdir()}
    bad = write(tmp_path / "bad.jsonl", {"x": 1}, *[OWN | {"winner": word} for word in ("a", "lft")])
    refuse(bad, tmp_path / "v")
    assert {file.name: file.read_bytes() for file in (tmp_path / "v").iterdir()} == before


@pytest.mark.parametrize(
    ("words", "said", "given", "expected"),
    [
        (["model_A_win", "model_B_win", "both_bad"], "", None, ["a", "b", "tie"]),
        (["x", "y", "tie"], "", None, ["a", "b", "tie"]),
        (["1.0", "2.0", "0.0"], "1.0 (1 vote, a code", "a=1,b=2,tie=0", ["a", "b", "tie"]),
        ([1, 2, 0], "1 (1 vote, a code", "a=1,b=2,tie=0", ["a", "b", "tie"]),
        ([0, 1, 2], "0 (1 vote, a code", "a=0,b=1,tie=2", ["a", "b", "tie"]),
        ([-1, 0, 1], "-1 (1 vote, a code", "a=-1,tie=0,b=1", ["a", "tie", "b"]),
        ([1, 0.5, 0], "0.5 (1 vote, a code", "a=1,tie=0.5,b=0", ["a", "tie", "b"]),
        (["1", "1/2", "0"], "1/2 (1 vote, a code", "a=1,tie=1/2,b=0", ["a", "tie", "b"]),
        (["a", "b", ""], "@empty (1 vote)", "tie=@empty", ["a", "b", "tie"]),
        (["a", None, "b"], "@empty (1 vote)", "skip=@empty", ["a", "skip", "b"]),
        ([True, False, "tie"], "true (1 vote)", "a=true,b=false", ["a", "b", "tie"]),
        ([["x"], "y", []], '["x"] (1 vote)', 'a=["x"],tie=[]', None),
        (
            ["neither", "a", "good, both"],
            "good, both (1 vote)",
            'skip=neither,"tie=good, both"',
            ["skip", "a", "tie"],
        ),
    ],
)
def test_no_vote_is_left_out_for_its_outcome(tmp_path, words, said, given, expected):
    file = write_winners(tmp_path / "v.jsonl", *words)
    if said:
        assert said in refuse(file, tmp_path / "v").what
    if expected:
        counts, winners = load(file, tmp_path / "v", given)
        assert (winners, counts.rejected) == (expected, 0)


@pytest.mark.parametrize("models", [("B", "x"), ("left", "x"), ("tie", "x"), ("x", "a")])
def test_models_that_are_called_like_words(tmp_path, models):
    name = next(model for model in models if model != "x")
    file = write_winners(tmp_path / "v.jsonl", name, "x", model_a=models[0], model_b=models[1])
    if name == "left":  # the name of the model on the left
        assert load(file, tmp_path / "v")[1] == ["a", "b"]
        return
    error = refuse(file, tmp_path / "v")
    assert f"{name} (1 vote, also the name of a model)" in error.what
    assert error.hint.endswith(f"If it is the model's name: model={name}")
    side = "ab"[models.index(name)]
    assert load(file, tmp_path / "v", f"model={name}")[1] == [side, "ba"["ab".index(side)]]


def test_our_own_export_means_sides_whatever_models_are_called(tmp_path):
    load(write_winners(tmp_path / "v.jsonl", "x", model_a="x", model_b="A"), tmp_path / "v")
    counts, winners = load(tmp_path / "v" / "votes.jsonl", tmp_path / "w")
    assert (counts.added, winners) == (1, ["a"])


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_row_without_its_empty_last_cell(tmp_path, ending):
    """As Excel writes some of them; the ties would be left out."""
    rows = [
        "question,model_a,model_b,winner",
        *(f"q{n},x,y,a" for n in range(30)),
        "q30,x,y",
        "q31,x,y,b",
        "",
    ]
    file = tmp_path / "v.csv"
    file.write_bytes(ending.join(rows).encode())
    assert "@empty (1 vote)" in refuse(file, tmp_path / "v").what
    counts, winners = load(file, tmp_path / "v", "tie=@empty")
    assert (counts.rejected, winners) == (0, ["a"] * 30 + ["tie", "b"])


@pytest.mark.parametrize("last", ["q30,x", "q30,x,y", "q30,x,y,a,b\n", "q30\n", "q30,x\n"])
def test_a_row_that_is_cut_off_or_lacks_more(tmp_path, last):
    file = tmp_path / "v.csv"
    file.write_text("question,model_a,model_b,winner\n" + "q,x,y,a\n" * 30 + last)
    counts, _ = load(file, tmp_path / "v")
    assert (counts.added, counts.rejected) == (30, 1)


def test_all_files_are_looked_at_before_one_is_refused(tmp_path):
    files = [write_winners(tmp_path / f"{name}.jsonl", name, "a") for name in ("lft", "rgt")]
    with pytest.raises(GptaltError) as caught:
        import_files(files, tmp_path / "v", list_formats())
    assert caught.value.what.startswith(f"{files[0]}, {files[1]}: these 2 words")


def test_a_column_of_texts_is_not_listed_in_full(tmp_path):
    error = refuse(write_winners(tmp_path / "v.jsonl", *(f"text {n}" for n in range(1_500))), tmp_path / "v")
    assert "text 19 (1 vote) and at least 980 more." in error.what and len(error.what) < 1_000


def test_a_plugins_unknown_word_is_asked_for_too():
    winners = Winners()
    assert winners.read(Vote("q", "x", "y", "lft"), "f") is None
    assert winners.read(Vote("q", "x", "y", "left"), "f").winner == "a"
    with pytest.raises(GptaltError, match=r"understood: lft \(1 vote\)"):
        winners.check()


def test_a_model_against_itself_is_rejected_whoever_won(tmp_path):
    file = write(
        tmp_path / "v.jsonl", *[OWN | {"model_b": "x", "winner": word} for word in ("x", "lft")], OWN
    )
    [counts] = import_files([file], tmp_path / "v", list_formats()).values()
    assert (counts.added, counts.reasons) == (1, {"a model against itself": 2})


@pytest.mark.parametrize("code", [2, -3, True, "1", None])
def test_a_code_that_the_survey_did_not_have_stops_the_import(tmp_path, code):
    (tmp_path / "t.csv").write_text("no,kind,question,M,N\n0,c,q,one,two\n")
    file = write(tmp_path / "anna.json", {"que_idx": [[0, 0, 1]] * 2, "que_rec": [1, code]})
    with pytest.raises(GptaltError, match="cannot be understood"):
        import_files([tmp_path / "t.csv", file], tmp_path / "v", list_formats())
    assert not (tmp_path / "v").exists()


def test_a_plugins_format_has_outcomes_of_its_own():
    vote = Vote("q", "B", "A", "a")
    assert Winners({"a": "b"}).read(vote, None) is vote


VALUES = st.sampled_from(
    ["a", "b", "tie", "model_b", "x", "Y", "both_bad", "B ", "", "no", 1, 0.0, None, True, ["a"], {}, "1/2"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(VALUES, min_size=1, max_size=6),
    st.sampled_from(["own", "battle", "csv", "choices", "row"]),
    st.data(),
)
def test_all_votes_come_in_or_none(tmp_path_factory, values, form, data):
    """Whatever stands for the winner, in any format: there are as many votes as records, or an error."""
    folder = tmp_path_factory.mktemp("w")
    rows = [OWN | {"question": f"q{n}", "winner": value} for n, value in enumerate(values)]
    file = folder / "v.json"
    if form == "battle":
        rows = [{("question_id" if name == "question" else name): row[name] for name in row} for row in rows]
    elif form == "choices":
        rows = [{"id": n, "data": OWN, "annotations": [{"result": [{"value": {"choices": [value]}}]}]}
                for n, value in enumerate(values)]  # fmt: skip
    elif form == "row":
        rows = [
            {**OWN, "winner": "", "annotator": 1, "annotation_id": n, "lead_time": 2, "pref": value}
            for n, value in enumerate(values)
        ]
        rows = [{name: row[name] for name in row if name != "winner"} for row in rows]
    file.write_text(json.dumps(rows))
    if form == "csv":
        file = folder / "v.csv"
        lines = [[f"q{n}", "x", "y", json.dumps(value).replace('"', "")] for n, value in enumerate(values)]
        file.write_text(
            "question;model_a;model_b;winner\n" + "".join(";".join(line) + "\n" for line in lines)
        )
    words = data.draw(
        st.lists(
            st.sampled_from(["no", "1", "0", "true", "@empty", "null", "1/2", '"[""a""]"', "{}"]),
            unique=True,
        )
    )
    given_words = read_winners(",".join(f"tie={word}" for word in words if word[0] != '"') or None)
    try:
        [counts] = import_files([file], folder / "v", list_formats(), given=given_words).values()
    except GptaltError as error:
        assert "understood" in error.what and not (folder / "v").exists()
    else:
        assert (counts.added, counts.rejected) == (len(values), 0)


# ---------------------------------------------------------------------- exit codes


def test_the_command_lists_the_words_and_takes_their_meaning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_winners(tmp_path / "v.jsonl", "lft", "rgt", "tie")
    with pytest.raises(GptaltError, match=r"lft \(1 vote\), rgt \(1 vote\)"):
        call("votes", "import", "v.jsonl")
    assert call("votes", "import", "v.jsonl", "--winners", "a=lft,b=rgt") == 0
    assert call("votes", "import", "v.jsonl", "--winners", "a=lft,b=rgt") == 0, (
        "all of them known is no failure"
    )


def test_nothing_imported_is_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "v.jsonl", *[OWN | {"model_b": "x"}] * 3)
    with pytest.raises(GptaltError) as caught:
        call("votes", "import", "v.jsonl")
    assert caught.value.exit_code == 2
    assert caught.value.what == (
        "No vote was imported from v.jsonl (format gptalt): 3 records are not votes. "
        "Most frequent reason: a model against itself (3)."
    )
    for command in (("elo",), ("votes", "agreement")):
        with pytest.raises(GptaltError) as caught:
            call(*command)
        assert caught.value.what == (
            "There are no votes in votes: 3 records were imported, none of them a vote. "
            "Most frequent reason: a model against itself (3)."
        )


def test_an_empty_folder_is_called_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "votes").mkdir()
    with pytest.raises(GptaltError, match=r"^There are no votes in votes\.\n"):
        call("elo")


def test_a_folder_whose_votes_file_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "votes").mkdir()
    (tmp_path / "votes" / "votes.jsonl").write_text("")
    with pytest.raises(GptaltError, match=r"^There are no votes"):
        call("elo")
    write_winners(tmp_path / "votes" / "votes.jsonl", "skip")
    with pytest.raises(
        GptaltError, match=r"^No vote says which answer is better\.\nAll of them were skipped"
    ):
        call("elo")


@pytest.mark.parametrize(("bad", "good", "fails"), [(1, 9, False), (1, 8, True), (5, 5, True), (0, 3, False)])
def test_many_records_that_are_no_votes_are_a_failure(tmp_path, monkeypatch, capsys, bad, good, fails):
    monkeypatch.chdir(tmp_path)
    records = [OWN | {"question": f"q{n}", "model_b": "x" if n < bad else "y"} for n in range(bad + good)]
    write(tmp_path / "v.jsonl", *records)
    if fails:
        with pytest.raises(GptaltError, match=f"^{bad} of {bad + good} records of v.jsonl are not votes"):
            call("votes", "import", "v.jsonl")
    else:
        assert call("votes", "import", "v.jsonl") == 0
    assert f"{good} new votes" in capsys.readouterr().out
    assert len(list(read_votes(tmp_path / "votes"))) == good


def test_a_word_that_cannot_be_printed_is_shown(tmp_path):
    """JSON can have half of a character, as the word for a winner too."""
    file = tmp_path / "votes.jsonl"
    vote = {"question": "q", "model_a": "x", "model_b": "y", "winner": "\ud800"}
    file.write_text(json.dumps(vote), encoding="utf-8")
    with pytest.raises(GptaltError) as found:
        cli.dispatch(["votes", "import", str(file)], make_plugin_set(gptalt_eval_plugin_elo))
    assert r"cannot be understood: \ud800 (1 vote)" in str(found.value)
