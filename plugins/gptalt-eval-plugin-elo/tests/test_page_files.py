"""Votes come out of a page's file whatever happened to it: other versions, lost secrets, no room, damage."""

import json
import os
import sqlite3
import stat

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.answers import Answer
from gptalt_eval_plugin_elo.voting.reading import opened_votes
from gptalt_eval_plugin_elo.voting.store import Store

from gptalt_eval import GptaltError
from gptalt_eval.commands.cli import dispatch
from gptalt_eval.testing import make_plugin_set

ANSWERS = [Answer(f"Question {n}?", model, f"{model} says {n}", f"q{n}", "maths", "en") for n in (1, 2, 3) for model in "xy"]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """A file with three votes: ann's, ben's, ann's."""
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


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that cannot be written")
def test_votes_come_out_of_a_folder_that_cannot_be_written(path, capsys):
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert len(export(path, capsys)[1]) == 3
    finally:
        path.parent.chmod(0o700)


def test_votes_of_a_running_server_are_read(path, capsys):
    """They are beside the file until it closes."""
    store = Store(path)
    (ben,) = [each for each in store.list_annotators() if each.name == "ben"]
    assert store.undo(ben, store.find_progress(ben).last)
    assert [each["annotator"] for each in export(path, capsys)[1]] == ["ann", "ann"]
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
