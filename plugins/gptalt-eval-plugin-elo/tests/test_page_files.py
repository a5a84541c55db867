"""Votes come out of a page's file whatever happened to it: other versions, lost secrets, no room, damage."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.answers import Answer, write_answers
from gptalt_eval_plugin_elo.naming import Names
from gptalt_eval_plugin_elo.voting.export import write_lines
from gptalt_eval_plugin_elo.voting.reading import opened_votes
from gptalt_eval_plugin_elo.voting.store import Store
from gptalt_eval_plugin_elo.voting.versions import (
    EARLIER_ANNOTATORS,
    EARLIER_ITEMS,
    SCHEMA,
    is_swapped,
    list_entries,
)

from gptalt_eval import GptaltError
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set

ANSWERS = [Answer(f"Question {n}?", model, f"{model} says {n}", f"q{n}", "maths", "en") for n in (1, 2, 3) for model in "xy"]  # fmt: skip


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file with three votes: ann's, ben's, ann's; and a user of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = Store(tmp_path / "votes.sqlite")
    store.add_answers(ANSWERS, 1, 0)
    ann, ben = store.add_annotators(["ann", "ben"])
    for who in (ann, ben, ann):
        shown = store.show(who)
        assert store.vote(who, shown.item, shown.turn, "left")
    store.close()
    return store.path


def change(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def export(path, capsys):
    """The exit code, the votes without ids, and what is said of ``votes export``; also the line about the page."""
    try:
        code, said = dispatch([*EXPORT, str(path)], make_plugin_set(gptalt_eval_plugin_elo)), ""
    except GptaltError as error:
        code, said = error.exit_code, str(error)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    page = rows.pop(0) if rows and "page" in rows[0] else None
    ids = [each.pop("id", "") for each in rows]
    assert all(page["page"] in each for each in ids) if page else code or not any(ids)
    return code, rows, said, page


EXPORT = ("votes", "export", "--database")
OTHERS = {
    "a newer version": ["UPDATE facts SET value = '4' WHERE name = 'version'"],
    "a version of other words": ["UPDATE facts SET value = 'next' WHERE name = 'version'"],
    "no version": ["DELETE FROM facts WHERE name = 'version'"],
    "no salt": ["DELETE FROM facts WHERE name = 'salt'"],
    "no page": ["DELETE FROM facts WHERE name = 'page'"],
    "no facts": ["DROP TABLE facts"],
    "a column more": ["ALTER TABLE votes ADD COLUMN seconds REAL", "UPDATE facts SET value = '4' WHERE name = 'version'"],
    "a column less": ["ALTER TABLE items DROP COLUMN expected"],
    "a table more": ["CREATE TABLE comments(id INTEGER PRIMARY KEY, text TEXT)"],
    "no leases": ["DROP TABLE given"],
}  # fmt: skip


@pytest.mark.parametrize("statements", OTHERS.values(), ids=OTHERS)
def test_votes_come_out_of_what_serve_refuses(path, capsys, statements):
    whole = export(path, capsys)
    assert whole[0] == 0 and [each["annotator"] for each in whole[1]] == ["ann", "ben", "ann"]
    change(path, *statements)
    with pytest.raises(GptaltError) as refused:
        Store(path)
    before = path.read_bytes()
    assert export(path, capsys)[:3] == whole[:3]
    assert path.read_bytes() == before, "reading changes nothing"
    expected = (
        "--database FILE"
        if "no facts" in str(statements) or "DROP TABLE facts" in statements
        else "gptalt-eval votes export --database "
    )
    assert expected in str(refused.value)


def test_another_version_is_named(path):
    change(path, *OTHERS["a column more"])
    with pytest.raises(
        GptaltError, match=r"another version of this plugin \(tables 4, here 3\)\.\n.*votes export"
    ):
        Store(path)


LOST = {
    "a comparison": ("DELETE FROM items WHERE id = (SELECT min(item) FROM votes)", 2),
    "an annotator": ("DELETE FROM annotators WHERE name = 'ann'", 1),
    "a winner": ("UPDATE votes SET winner = 'both' WHERE id = 1", 2),
}


@pytest.mark.parametrize(("statement", "kept"), LOST.values(), ids=LOST)
def test_votes_that_cannot_be_read_are_said(path, capsys, statement, kept):
    change(path, statement)
    code, votes, said, page = export(path, capsys)
    assert (code, len(votes), page) == (2, kept, None), "it does not pass for all of the page's votes"
    assert f"{3 - kept} votes name no comparison or annotator" in said


def test_a_file_cut_short_gives_what_is_there_and_says_so(path, capsys):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 4096])
    code, _, said, _ = export(path, capsys)
    assert code == 2 and "votes.sqlite" in said


@pytest.mark.parametrize("statements", [
    ["DROP TABLE votes"],
    ["ALTER TABLE votes RENAME TO old", "CREATE VIEW votes AS SELECT * FROM old"],
    ["ALTER TABLE items RENAME COLUMN question TO asked"],
    ["CREATE TABLE other AS SELECT * FROM items", "DROP TABLE items", "ALTER TABLE other RENAME TO items"],
])  # fmt: skip
def test_what_has_no_tables_of_votes_is_refused(path, capsys, statements):
    """Neither is a view read, which computes, nor a table in which a number may stand twice."""
    change(path, *statements)
    code, votes, said, _ = export(path, capsys)
    assert (code, votes) == (2, [])
    assert "is not a file of votes: it has no " in said


def test_votes_come_out_of_a_folder_that_cannot_be_written(path, capsys, monkeypatch):
    """SQLite cannot make the index of what is pending there; if something is pending, it is not left out."""
    connect = sqlite3.connect

    def refuse(address, **settings):
        if "immutable" not in address:
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return connect(address, **settings)

    monkeypatch.setattr("gptalt_eval_plugin_elo.voting.reading.sqlite3.connect", refuse)
    code, votes, said, _ = export(path, capsys)
    assert (code, len(votes), said) == (0, 3, "")
    path.with_name("votes.sqlite-wal").write_bytes(b"pending")
    code, votes, said, _ = export(path, capsys)
    assert (code, votes) == (2, []) and "readonly" in said


# ---------------------------------------------------------------------- earlier versions


def write_earlier(path, version):
    """A file of an earlier version, in which ben's vote on the third comparison was the last one."""
    tables = list_entries(SCHEMA, EARLIER_ITEMS, *([EARLIER_ANNOTATORS] if version == 1 else []))
    facts = [("version", str(version)), ("salt", "s"), *([("organiser", "known")] if version == 1 else [])]
    people = [("ann", "known too", "en"), ("ben", "known 3", "")]
    with sqlite3.connect(path) as connection:
        for statement in tables.values():
            connection.execute(statement)
        connection.executemany("INSERT INTO facts VALUES (?, ?)", facts)
        for key, who in enumerate(people, 1):
            values = (key, *who) if version == 1 else (key, who[0], who[2])
            connection.execute(f"INSERT INTO annotators VALUES (?{', ?' * (len(values) - 1)})", values)
        for item in range(1, 5):
            values = (item, f"q{item}", "c", "en", "p", "", "x", "y", f"x says {item}", "y says", 1)
            connection.execute(f"INSERT INTO items VALUES (?{', ?' * (len(values) - 1)})", values)
        for vote in [(2, 1, 1, "a", "t2"), (5, 1, 2, "tie", "t5"), (7, 2, 3, "b", "t7")]:
            connection.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?)", vote)
        connection.execute("INSERT INTO given VALUES (2, 3, 9, 1.5)")
    connection.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_earlier_version_keeps_every_vote(tmp_path, version):
    path = tmp_path / "votes.sqlite"
    write_earlier(path, version)
    store = Store(path)
    votes = [json.loads(line) for line in [*write_lines(store.path, Names())][1:]]
    assert [(each["annotator"], each["question"], each["winner"], each["time"]) for each in votes] == [
        ("ann", "q1", "a", "t2"), ("ann", "q2", "tie", "t5"), ("ben", "q3", "b", "t7"),
    ]  # fmt: skip
    assert [(each.name, each.language) for each in store.list_annotators()] == [("ann", "en"), ("ben", "")]
    assert store.organiser != "known" and store.find_annotator("known too") is None
    ben = store.list_annotators()[1]
    assert store.undo(ben, store.find_progress(ben).last)
    shown = store.show(ben)
    assert "x says 3" in (shown.left, shown.right) and shown.item > 4
    assert store.vote(ben, shown.item, shown.turn, "tie")
    page = store.facts["page"]
    store.close()
    again = Store(path)
    assert again.facts["page"] == page and len(list(write_lines(again.path, Names()))) == 1 + 3
    again.close()


@pytest.mark.parametrize("version", [1, 2])
def test_which_answer_was_on_the_left_is_kept(tmp_path, version):
    """It was derived from numbers that change."""
    path = tmp_path / "votes.sqlite"
    write_earlier(path, version)
    before = [is_swapped("s", *about) for about in ((1, 1), (1, 2), (2, 3))]
    store = Store(path)
    with store.transaction() as run:
        assert [bool(row["swapped"]) for row in run("SELECT swapped FROM votes ORDER BY id")] == before
    store.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_killed_change_of_version_leaves_the_earlier_file(tmp_path, monkeypatch, version):
    path = tmp_path / "votes.sqlite"
    write_earlier(path, version)

    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gptalt_eval_plugin_elo.voting.versions.make_facts", stop)
        with pytest.raises(KeyboardInterrupt):
            Store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM facts WHERE name = 'version'").fetchone() == (
            str(version),
        )
        assert connection.execute("SELECT count(*) FROM votes").fetchone() == (3,)
    connection.close()
    store = Store(path)
    assert len(list(write_lines(store.path, Names()))) == 1 + 3
    store.close()


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_version_is_read_without_a_change(tmp_path, capsys, version):
    path = tmp_path / "votes.sqlite"
    write_earlier(path, version)
    before = path.read_bytes()
    code, votes, _, page = export(path, capsys)
    assert (code, len(votes), page) == (0, 3, None)
    assert path.read_bytes() == before


# ---------------------------------------------------------------------- a full disk


@contextlib.contextmanager
def full(path):
    """No file can grow beyond what this one and those beside it have, as if the disk were full."""
    resource = pytest.importorskip("resource", reason="Windows has no limits of this kind")
    size = max(each.stat().st_size for each in path.parent.iterdir())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_vote_on_a_full_disk_is_refused_and_counts_later(path, capsys):
    store = Store(path)
    store.add_answers([*ANSWERS, *(replace(each, question="q4") for each in ANSWERS[:2])], 1, 0)
    ann = store.list_annotators()[0]
    shown = store.show(ann)
    with full(path):
        with contextlib.suppress(GptaltError):
            for number in range(1000):
                store.choose_language(ann, str(number) * 9000)
        with pytest.raises(GptaltError, match=r"cannot be used: .*\nFree some space"):
            store.vote(ann, shown.item, shown.turn, "left")
    assert len(export(path, capsys)[1]) == 3
    assert store.vote(ann, shown.item, shown.turn, "left")
    assert len(export(path, capsys)[1]) == 4
    store.close()


def test_a_full_disk_leaves_an_earlier_version_as_it_was(tmp_path):
    path = tmp_path / "votes.sqlite"
    write_earlier(path, 2)
    with full(path), pytest.raises(GptaltError, match="Free some space"):
        Store(path)
    store = Store(path)
    assert len(list(write_lines(store.path, Names()))) == 1 + 3
    store.close()


def test_answers_stay_as_they_were_on_a_full_disk(tmp_path):
    file = tmp_path / "answers.jsonl"
    write_answers(file, ANSWERS)
    before = file.read_bytes()
    with full(file), pytest.raises(GptaltError, match=r"cannot be written: .*\n.*--output_path"):
        write_answers(file, [replace(each, question="q9") for each in ANSWERS])
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["answers.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_export_to_a_full_disk_is_an_error(path):
    with Path("/dev/full").open("w") as target:
        command = [sys.executable, "-m", "gptalt_eval", *EXPORT, str(path)]
        done = subprocess.run(command, stdout=target, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "The votes cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------- links


def test_new_links_are_told(path, monkeypatch):
    store = Store(path)
    assert not store.renew_links(), "the first ones"
    assert not store.renew_links()
    store.close()
    (key,) = path.parent.rglob("voting.key")
    key.unlink()
    again = Store(path)
    assert again.renew_links(), "the secret is lost"
    again.close()
    same = Store(path)
    assert not same.renew_links()
    same.close()
    moved = path.rename(path.with_name("other.sqlite"))
    there = Store(moved)
    assert there.renew_links(), "the file was moved"
    there.close()


# ---------------------------------------------------------------------- a page that is open


def test_votes_of_a_running_server_are_read(path, capsys):
    """They are beside the file until it closes."""
    store = Store(path)
    (ben,) = [each for each in store.list_annotators() if each.name == "ben"]
    assert store.undo(ben, store.find_progress(ben).last)
    assert [each["annotator"] for each in export(path, capsys)[1]] == ["ann", "ann"]
    store.close()


def test_a_copy_of_the_file_alone_has_every_vote(path, capsys):
    """The server may be running, or was killed: what SQLite keeps beside the file is not copied."""
    store = Store(path)
    ben = next(each for each in store.list_annotators() if each.name == "ben")
    assert store.undo(ben, store.find_progress(ben).last)
    shown = store.show(ben)
    assert store.vote(ben, shown.item, shown.turn, "tie")
    alone = path.with_name("copy.sqlite")
    alone.write_bytes(path.read_bytes())
    assert sorted(each["winner"] == "tie" for each in export(alone, capsys)[1]) == [False, False, True]
    store.close()


def test_the_page_and_its_numbers_identify_a_vote(path):
    with opened_votes(path) as found:
        page, votes = found.page, list(found.votes)
    assert len(page) == 16 and len({(each.item, each.person) for each in votes}) == 3
    assert {(each.language, each.answer_a[:6], each.answer_b[:6]) for each in votes} == {
        ("en", "x says", "y says")
    }
    with opened_votes(path) as again:
        assert again.page == page and list(again.votes) == votes
