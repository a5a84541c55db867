"""Votes, answers and databases of strangers with anything in them: a message, and no write elsewhere."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import time

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.answers import Answer, ask, read_questions, write_answers
from gptalt_eval_plugin_elo.naming import Names
from gptalt_eval_plugin_elo.voting.export import write_lines
from gptalt_eval_plugin_elo.voting.overview import gather_overview
from gptalt_eval_plugin_elo.voting.store import Store
from gptalt_eval_plugin_elo.voting.versions import SCHEMA
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError
from gptalt_eval.commands import cli
from gptalt_eval.testing import make_plugin_set

SECONDS = 1  # of processor time
VOTES = [
    {"question": "q1", "model_a": "x", "model_b": "y", "winner": "a", "annotator": "ann"},
    {"question": "q1", "model_a": "x", "model_b": "y", "winner": "tie", "annotator": "ben"},
    {"question": "q2", "model_a": "y", "model_b": "z", "winner": "b", "category": "maths"},
]
ANSWERS = [Answer(f"Question {n}?", model, f"{model} says {n}", f"q{n}", "maths", "en") for n in (1, 2) for model in "xy"]  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**299, 2**63, float("nan"), "", "../x", "\ud800", "\0", "[/red]", "\u001b[2J", "a" * 5000, [], {}, [[]], {"": {}}]),
)  # fmt: skip
RAW = st.sampled_from([b"", b"[", b"[" * 200_000, b"{}", b"[]", b"null", b"NaN", b"1" * 5000, b'{"a":' * 500, b"\xff\xfe", b"\x00" * 99, b'"', b"a,b\n1"])  # fmt: skip
FUZZ = settings(
    max_examples=int(os.environ.get("GPTALT_FUZZ", "25")),
    derandomize="GPTALT_FUZZ" not in os.environ,  # by default the same everywhere; with it, others each time
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def call(*words):
    """The program's exit code; 2 with a message instead of an error."""
    try:
        return cli.dispatch([str(word) for word in words], make_plugin_set(gptalt_eval_plugin_elo))
    except GptaltError as error:
        assert str(error).strip()
        str(error).encode("utf-8")
        return error.exit_code


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """The user's working folder, with a file beside it that must stay as it is."""
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def run_timed(scene, *words):
    began = time.process_time()
    call(*words)
    assert time.process_time() - began < SECONDS
    assert (scene / "outside").read_text() == "untouched"
    assert {file.name for file in scene.iterdir()} <= {"outside", "work", "theirs"}


@st.composite
def damage(draw, rows):
    """JSON Lines with odd values in some places, or something else altogether."""
    if draw(st.integers(0, 5)) == 0:
        return draw(RAW)
    changed = [dict(row) for row in rows]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(changed))
        row[draw(st.sampled_from([*row, "extra"]))] = draw(ODD)
    text = "\n".join(map(json.dumps, changed))
    return text.encode()[: draw(st.sampled_from([None, None, 60]))]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """What the commands import counts for no example."""
    import gptalt_eval_plugin_elo.commands
    import gptalt_eval_plugin_elo.evaluation
    import gptalt_eval_plugin_elo.page  # noqa: F401


@pytest.mark.parametrize("name", ["votes.jsonl", "votes.json", "votes.csv"])
@FUZZ
@given(data=st.data())
def test_votes_of_strangers(scene, capsys, name, data):
    shutil.rmtree(scene / "work")
    (scene / "work").mkdir()
    os.chdir(scene / "work")
    (scene / "work" / name).write_bytes(data.draw(damage(VOTES)))
    run_timed(scene, "votes", "import", name)
    run_timed(scene, "votes", "agreement", name)
    capsys.readouterr()


@FUZZ
@given(data=st.data())
def test_ratings_of_votes_of_strangers(scene, capsys, data):
    (scene / "work" / "votes.jsonl").write_bytes(data.draw(damage(VOTES)))
    began = time.process_time()
    call("elo", "votes.jsonl", "--orders=5", "--output=out")
    assert time.process_time() - began < 3 * SECONDS  # most of it for the figures of ratings that are found
    assert (scene / "outside").read_text() == "untouched"
    capsys.readouterr()


@FUZZ
@given(data=st.data())
def test_answers_of_strangers(scene, data):
    (scene / "work" / "answers.jsonl").write_bytes(data.draw(damage([vars(answer) for answer in ANSWERS])))
    run_timed(scene, "votes", "serve", "--answers=.")  # refuses them, or says that there are no annotators


def make_votes(path):
    store = Store(path)
    store.add_answers(ANSWERS, 1, 0)
    (ann,) = store.add_annotators(["ann"])
    shown = store.show(ann)
    store.vote(ann, shown.item, shown.turn, "left")
    store.connection.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
    store.close()
    return path


@FUZZ
@given(data=st.data())
def test_bytes_of_a_stranger_s_database(scene, capsys, data):
    (scene / "work" / "votes.sqlite").unlink(missing_ok=True)
    path = make_votes(scene / "work" / "votes.sqlite")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 99), st.integers(0, len(content) - 9)))
        content[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path.write_bytes(bytes(content[: data.draw(st.sampled_from([None, None, 4096, 100]))]))
    use_database(scene)
    capsys.readouterr()


@pytest.mark.parametrize("before", [b"CREATE TABLE", b"TABLE", b"NOT NULL"])
def test_a_database_whose_definitions_are_no_text(scene, capsys, before):
    """SQLite quotes them in what it complains about."""
    path = make_votes(scene / "work" / "votes.sqlite")
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, before[:-2] + b"\xa0\xa0", 1))
    with pytest.raises(GptaltError, match=r"votes\.sqlite cannot be used"):
        Store(path)


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=5),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
CELLS = [(table.split("(")[0].split()[-1], column.split()[0].rstrip(")"))
         for table in SCHEMA.split(";") if "CREATE TABLE" in table
         for column in table.split("(", 1)[1].split(",") if column.split() and column.split()[0].islower()]  # fmt: skip


@FUZZ
@given(data=st.data())
def test_values_of_a_stranger_s_database(scene, capsys, data):
    (scene / "work" / "votes.sqlite").unlink(missing_ok=True)
    path = make_votes(scene / "work" / "votes.sqlite")
    table, column = data.draw(st.sampled_from(CELLS))
    connection = sqlite3.connect(path)
    with contextlib.suppress(sqlite3.Error):  # NOT NULL
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (data.draw(VALUES),))
    connection.commit()
    connection.close()
    use_database(scene)
    capsys.readouterr()


def use_database(scene):
    write_answers(scene / "work" / "answers.jsonl", ANSWERS)
    run_timed(scene, "votes", "export", "--answers=.")
    began = time.process_time()
    try:
        store = Store(scene / "work" / "votes.sqlite")
        store.add_answers(ANSWERS, 1, 0)
        for who in store.add_annotators(["ben"]):
            store.show(who)
            store.find_progress(who)
        gather_overview(store)
        assert all(
            json.loads(line)["winner"] in ("a", "b", "tie", "skip")
            for line in [*write_lines(store.path, Names())][1:]
        )
        store.close()
    except GptaltError as error:
        assert str(error).strip()
    assert time.process_time() - began < SECONDS


def change_votes(path, statement):
    """A file of votes that somebody has changed with SQL."""
    make_votes(path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    return path


@pytest.mark.parametrize("statement", [
    "CREATE TRIGGER t AFTER INSERT ON votes BEGIN UPDATE votes SET winner = 'a'; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TABLE t(a)",
    "ALTER TABLE votes ADD COLUMN extra TEXT DEFAULT 'x'",
    "DROP INDEX votes_of_item",
    "ALTER TABLE votes RENAME TO old",
])  # fmt: skip
def test_a_database_may_have_nothing_else_in_it(tmp_path, statement):
    path = change_votes(tmp_path / "votes.sqlite", statement)
    with pytest.raises(GptaltError, match="has other tables than a file of votes"):
        Store(path)


@pytest.mark.parametrize("statement", [
    "UPDATE votes SET winner = 'model x'",
    "UPDATE votes SET item = 99",
    "UPDATE votes SET annotator = 99",
])  # fmt: skip
def test_a_vote_on_nothing_is_not_left_out_in_silence(tmp_path, statement):
    path = change_votes(tmp_path / "votes.sqlite", statement)
    with pytest.raises(GptaltError, match="is damaged: a vote belongs to no comparison"):
        Store(path)


# ---------------------------------------------------------------------- links


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Makes the state folder of a user the present one."""

    def become(name):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / f"state of {name}"))

    become("sender")
    return become


def list_tokens(path):
    store = Store(path)
    tokens = [store.organiser, *(each.token for each in store.list_annotators())]
    store.close()
    return tokens


def test_no_link_of_a_stranger_s_file_is_known_to_the_stranger(tmp_path, state):
    path = make_votes(tmp_path / "votes.sqlite")
    known = list_tokens(path)
    assert len(set(known)) == 2 and list_tokens(path) == known, "the links stay as they are"
    state("receiver")
    assert not {*known} & {*list_tokens(path)}
    state("sender")
    assert list_tokens(path) == known


def test_nor_is_one_that_was_once_received(tmp_path, state):
    """Who has had a link to one file cannot send another file in which it is valid."""
    path = make_votes(tmp_path / "votes.sqlite")
    known = list_tokens(path)
    (tmp_path / "theirs").mkdir()
    shutil.copy(path, tmp_path / "theirs" / "votes.sqlite")
    assert not {*known} & {*list_tokens(tmp_path / "theirs" / "votes.sqlite")}


def test_the_file_has_no_link_in_it(tmp_path, state):
    path = make_votes(tmp_path / "votes.sqlite")
    for token in list_tokens(path):
        assert token.encode() not in path.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other file permissions")
@pytest.mark.parametrize("mode", [0o644, 0o606])
def test_a_secret_that_others_can_read_is_none(tmp_path, state, mode):
    path = make_votes(tmp_path / "votes.sqlite")
    list_tokens(path)
    (key,) = tmp_path.rglob("voting.key")
    assert key.stat().st_mode & 0o077 == 0
    key.chmod(mode)
    assert list_tokens(path) != list_tokens(path)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_made_anew(tmp_path, state, content):
    path = make_votes(tmp_path / "votes.sqlite")
    known = list_tokens(path)
    (key,) = tmp_path.rglob("voting.key")
    key.write_bytes(content)
    assert list_tokens(path) == list_tokens(path) != known
    assert [file.name for file in key.parent.iterdir()] == ["voting.key"]


# ---------------------------------------------------------------------- folders


def test_a_reason_that_cannot_be_encoded_is_written_all_the_same(scene):
    row = {**VOTES[0], "model_a": "\ud800", "model_b": "\ud800"}
    (scene / "work" / "votes.jsonl").write_text(f"{json.dumps(VOTES[1])}\n{json.dumps(row)}\n")
    assert call("votes", "import", "votes.jsonl") == 2, "half of them is no vote"
    assert "a model against itself" in (scene / "work" / "votes" / "rejected.jsonl").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", ["tasks", "runs"])
def test_a_linked_folder_is_not_written_through(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / name).symlink_to(tmp_path / "elsewhere")
    questions = read_questions(gptalt_eval_plugin_elo.answers.QUESTIONS, ["en"])[:1]
    with pytest.raises(GptaltError, match="is a link"):
        ask("dummy", questions, tmp_path / "theirs", "dummy", {}, make_plugin_set())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_answers_behind_a_link_in_a_folder_are_not_read(tmp_path):
    write_answers(tmp_path / "mine.jsonl", ANSWERS)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "answers.jsonl").symlink_to(tmp_path / "mine.jsonl")
    assert call("votes", "serve", "--answers", tmp_path / "theirs", "--annotators=ann", "--port=-1") == 2
    with pytest.raises(GptaltError, match="is a link"):
        gptalt_eval_plugin_elo.answers.read_answers(tmp_path / "theirs")


# ---------------------------------------------------------------------- pipes


class Waited(BaseException):
    """The program waited for a pipe; nothing catches this."""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among files here")
@pytest.mark.parametrize("words", [
    ("votes", "import", "PIPE.jsonl"), ("votes", "import", "PIPE.csv"), ("votes", "import", "PIPE.json"),
    ("votes", "import", "mine.jsonl", "--into=PIPE"), ("votes", "agreement", "PIPE.jsonl"),
    ("votes", "agreement", "PIPE"), ("elo", "PIPE.jsonl"), ("elo", "mine.jsonl", "--output=PIPE"),
    ("votes", "export", "--database=PIPE.sqlite"), ("votes", "export", "--answers=PIPE"),
    ("votes", "serve", "--answers=PIPE.jsonl", "--annotators=ann"),
    ("votes", "serve", "--answers=mine", "--database=PIPE.sqlite", "--annotators=ann"),
    ("answers", "--models=dummy", "--questions=PIPE.jsonl"),
    ("answers", "--models=dummy", "--output_path=PIPE"),
])  # fmt: skip
def test_a_pipe_is_not_waited_for(scene, words):
    def stop(*_):
        raise Waited

    (scene / "work" / "mine.jsonl").write_text("\n".join(map(json.dumps, VOTES)) + "\n")
    write_answers(scene / "work" / "mine" / "answers.jsonl", ANSWERS)
    (name,) = re.findall(r"PIPE[\w.]*", " ".join(words))
    os.mkfifo(scene / "work" / name)
    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        assert call(*words) == 2
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    assert (scene / "work" / name).is_fifo()


def test_an_index_that_leaves_votes_out_is_noticed(tmp_path):
    """Comparisons are chosen by how many votes they have, which an index counts."""
    path = make_votes(tmp_path / "votes.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        (text,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'votes_of_item'").fetchone()
        connection.execute(
            "UPDATE sqlite_master SET sql = sql || ' WHERE item < 0' WHERE name = 'votes_of_item'"
        )
    connection.close()
    with sqlite3.connect(path) as connection:
        connection.execute("REINDEX votes_of_item")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'votes_of_item'", (text,))
    connection.close()
    with pytest.raises(GptaltError, match=r"is damaged: .*votes_of_item"):
        Store(path)


LONG = {
    "empty lines": '[{"a":x' + "\n" * 100_000 + "y",
    "blanks": '[{"a":x,' + " " * 500_000 + "y",
    "commas": '[{"a":x' + "," * 200_000 + "y",
    "mixed": '[{"a":x' + "\n \t,\r" * 50_000 + "y",
    "brackets": "[" + "{" * 100_000,
    "a text without end": '[{"a": "' + "b" * 2_000_000,
    "quotes": "[" + '"' * 100_000,
    "backslashes": '["' + "\\" * 500_001,
    "digits": "[" + "1" * 500_000,
    "one line": "[" * 1_000_000 + "\n",
}


@pytest.mark.parametrize("name", [*LONG])
@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_no_file_takes_longer_than_it_is_large(scene, capsys, name, ending):
    (scene / "work" / f"votes.{ending}").write_text(LONG[name])
    run_timed(scene, "votes", "import", f"votes.{ending}", "--format=gptalt")
    capsys.readouterr()


def test_records_after_a_damaged_one_are_found(scene):
    rows = ",\n\n  ".join(map(json.dumps, VOTES))
    (scene / "work" / "votes.json").write_text(f'[{{"a":x}},\n \n\t{rows}]')
    assert call("votes", "import", "votes.json") == 2, "one of four is no vote"
    assert (scene / "work" / "votes" / "votes.jsonl").read_text().count("\n") == len(VOTES)
