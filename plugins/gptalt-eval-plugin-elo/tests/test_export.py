"""The page's export: a newer one replaces the older, a part of one is refused, and nothing is left of what was undone."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path

import gptalt_eval_plugin_elo
import pytest
from gptalt_eval_plugin_elo.answers import Answer
from gptalt_eval_plugin_elo.exports import PageExport, find_page, parse_vote, read_export, read_more
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import VOTES, import_files, read_votes
from gptalt_eval_plugin_elo.markdown import measure_style
from gptalt_eval_plugin_elo.naming import Names
from gptalt_eval_plugin_elo.votes import Style, Vote
from gptalt_eval_plugin_elo.voting.export import read_page, write_lines
from gptalt_eval_plugin_elo.voting.store import CHOICES, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError
from gptalt_eval.commands import cli
from gptalt_eval.testing import make_plugin_set

FOREIGN = {"question": "q1", "model_a": "x", "model_b": "y", "winner": "b", "annotator": "anna"}


class Page:
    """A voting page with people who vote, and a folder into which its exports are imported."""

    def __init__(self, folder, people=("anna", "ben"), questions=4, models="xyz"):
        self.home, self.folder = folder, folder / "v"
        self.path = folder / "answers" / "votes.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.path)
        self.store.add_answers([
            Answer(f"Question {number}?", model, f"**{model}** says {number}", f"q{number}", "maths", "en")
            for number in range(questions) for model in models
        ], 2, 0)  # fmt: skip
        self.people = {who.name: who for who in self.store.add_annotators(people)}

    def vote(self, choice, who="anna"):
        shown = self.store.show(self.people[who])
        if shown:
            assert self.store.vote(self.people[who], shown.item, shown.turn, choice)

    def undo(self, who="anna"):
        last = self.store.find_progress(self.people[who]).last
        return last is not None and self.store.undo(self.people[who], last)

    def export(self, name="votes.jsonl"):
        file = self.home / name
        file.write_text("".join(write_lines(self.store.path, Names())), encoding="utf-8")
        return file

    def load(self, file):
        """(new, known, changed, taken back)."""
        [counts] = import_files([file], self.folder, list_formats()).values()
        return counts.added, counts.known, counts.changed, counts.taken_back

    def list_votes(self):
        return list(read_votes(self.folder))


@pytest.fixture
def page(tmp_path):
    page = Page(tmp_path)
    yield page
    page.store.close()


def read_lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------------- what is in it


def test_an_export_says_whose_votes_these_are_and_how_many(page):
    page.vote("left")
    page.vote("tie", "ben")
    first, *votes = read_lines(page.export())
    assert {name: first[name] for name in ("revision", "votes")} == {"revision": 2, "votes": 2}
    assert datetime.fromisoformat(first["exported"]).utcoffset().total_seconds() == 0
    assert [find_page(vote["id"]) for vote in votes] == [first["page"]] * 2
    assert [(vote["annotator"], vote["language"]) for vote in votes] == [("anna", "en"), ("ben", "en")]
    assert votes[0]["style_a"] == {"length": 12, "headers": 0, "lists": 0, "bold": 1}
    assert page.store.facts["salt"] not in json.dumps([first, *votes])


def test_ids_outlive_an_undo_and_revisions_count_it(page):
    page.vote("left")
    first, before = read_lines(page.export())
    page.undo()
    assert read_lines(page.export()) == [{**read_lines(page.export())[0], "revision": 2, "votes": 0}]
    page.vote("tie")
    last, after = read_lines(page.export())
    assert (before["id"], before["question"]) == (after["id"], after["question"])
    assert (first["revision"], last["revision"], last["page"]) == (1, 3, first["page"])


def test_a_page_is_known_by_its_file_and_not_by_where_it_is(page, tmp_path):
    page.vote("left")
    one, other = Page(tmp_path / "other"), tmp_path / "moved.sqlite"
    page.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.write_bytes(page.path.read_bytes())
    assert read_page(other)[0].page == read_page(page.path)[0].page != read_page(one.path)[0].page
    assert read_page(other)[1] == read_page(page.path)[1]
    one.store.close()


def test_what_the_importer_reads_is_what_was_exported(page):
    for choice in CHOICES:
        page.vote(choice, "ben")
    assert page.load(page.export()) == (4, 0, 0, 0)
    assert page.list_votes() == read_page(page.path)[1]


# ---------------------------------------------------------------------- newer and older ones


def test_what_was_taken_back_and_judged_again_is_in_its_new_form(page):
    """The second case of the issue: it stayed in the old form too, and was shown as judged twice."""
    page.vote("left")
    page.vote("left")
    page.load(page.export())
    page.undo()
    page.vote("tie")
    assert page.load(page.export()) == (0, 1, 1, 0)
    assert page.list_votes() == read_page(page.path)[1]
    page.undo()
    assert page.load(page.export()) == (0, 1, 0, 1)
    assert len(page.list_votes()) == 1


def test_an_export_without_votes_replaces_too(page):
    page.vote("left")
    page.load(page.export())
    page.undo()
    assert page.load(page.export()) == (0, 0, 0, 1)
    assert page.list_votes() == []


def test_an_older_export_changes_nothing_and_says_so(page, capsys):
    page.vote("left")
    old = page.export("old.jsonl")
    page.undo()
    page.vote("tie")
    page.vote("left")
    page.load(page.export("new.jsonl"))
    before = (page.folder / VOTES).read_bytes()
    words = ["votes", "import", str(old), "--into", str(page.folder)]
    assert cli.dispatch(words, make_plugin_set(gptalt_eval_plugin_elo)) == 0
    assert "is older" in capsys.readouterr().out
    assert (page.folder / VOTES).read_bytes() == before
    assert page.load(page.home / "new.jsonl") == (0, 2, 0, 0)
    assert (page.folder / VOTES).read_bytes() == before


def test_a_clock_that_is_wrong_does_not_make_an_export_older(page, monkeypatch):
    page.vote("left")
    page.load(page.export())
    page.vote("left")
    first, *votes = read_lines(page.export())
    file = page.home / "early.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in [first | {"exported": "1970-01-01"}, *votes]))
    assert page.load(file) == (1, 1, 0, 0)


def test_other_votes_stay_whatever_the_page_says(page):
    (page.home / "foreign.jsonl").write_text(json.dumps(FOREIGN) + "\n")
    page.load(page.home / "foreign.jsonl")
    for _ in range(3):
        page.vote("left")
    page.load(page.export())
    while page.undo():
        pass
    assert page.load(page.export()) == (0, 0, 0, 3)
    assert page.list_votes() == [Vote(**FOREIGN)]


def test_what_is_said_of_votes_that_changed(page, capsys):
    for _ in range(4):
        page.vote("left")
    page.load(page.export())
    for _ in range(4):
        page.undo()
    for _ in range(3):
        page.vote("tie")
    words = ["votes", "import", str(page.export()), "--into", str(page.folder)]
    assert cli.dispatch(words, make_plugin_set(gptalt_eval_plugin_elo)) == 0
    assert "0 new votes, 3 votes changed, 1 taken back\n" in capsys.readouterr().out


def test_an_export_whose_lines_are_in_another_order_is_the_same(page):
    for choice in CHOICES:
        page.vote(choice)
    page.load(page.export())
    file = page.home / "sorted.jsonl"
    file.write_text("".join(sorted(page.export().read_text(encoding="utf-8").splitlines(keepends=True))))
    assert page.load(file) == (0, 4, 0, 0)


def test_votes_that_somebody_removed_from_the_folder_come_back(page):
    for choice in CHOICES:
        page.vote(choice)
    page.load(page.export())
    file = page.folder / VOTES
    file.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:3]))
    with pytest.raises(GptaltError, match="not a complete export"):
        page.list_votes()
    assert page.load(page.export()) == (2, 2, 0, 0)
    assert page.list_votes() == read_page(page.path)[1]


def test_an_export_that_somebody_has_changed_replaces_the_page_as_a_whole(page):
    for choice in CHOICES:
        page.vote(choice)
    page.load(page.export())
    first, *votes = read_lines(page.home / "votes.jsonl")
    votes[0]["winner"] = "tie" if votes[0]["winner"] != "tie" else "a"
    votes[1]["id"] = votes[1]["id"].replace("/1", "/9")
    votes[1]["annotator"] = "cleo"
    file = page.home / "changed.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in [first, *votes]))
    assert page.load(file) == (1, 2, 1, 1)
    assert page.list_votes() == list(read_votes(file)), "as many as the page says"
    assert page.load(file) == (0, 4, 0, 0)


def test_a_page_knows_better_than_a_table_that_was_made_from_it(page):
    page.vote("left")
    page.load(page.export())
    [vote] = read_page(page.path)[1]
    other = {name: value for name, value in vote.describe().items() if name in Vote._fields[:7]}
    file = page.home / "table.jsonl"
    file.write_text(json.dumps(other | {"winner": "tie"}) + "\n")
    assert page.load(file) == (0, 1, 0, 0)
    assert page.list_votes() == [vote]


# ---------------------------------------------------------------------- parts of one


@pytest.mark.parametrize("part", [slice(0, -1), slice(0, 1), slice(0, 2)])
@pytest.mark.parametrize("known", [True, False])
def test_an_export_that_is_cut_off_is_refused(page, part, known):
    for _ in range(3):
        page.vote("left")
    if known:
        page.load(page.export())
    page.vote("left")
    lines = page.export().read_text(encoding="utf-8").splitlines(keepends=True)
    file = page.home / "cut.jsonl"
    file.write_text("".join(lines[part]))
    with pytest.raises(
        GptaltError, match=r"not a complete export of page-\w+: 4 votes were exported, \d are there"
    ):
        page.load(file)
    with pytest.raises(GptaltError, match="not a complete export"):
        list(read_votes(file))
    assert (page.folder / VOTES).exists() == known
    assert not known or len(page.list_votes()) == 3


def test_an_export_that_ends_inside_a_line_is_refused(page):
    page.vote("left")
    text = page.export().read_text(encoding="utf-8")
    (page.home / "cut.jsonl").write_text(text[:-20])
    with pytest.raises(GptaltError, match="1 votes were exported, 0 are there"):
        page.load(page.home / "cut.jsonl")


def test_an_export_without_its_first_line_cannot_be_compared(page):
    for _ in range(3):
        page.vote("left")
    lines = page.export().read_text(encoding="utf-8").splitlines(keepends=True)
    file = page.home / "cut.jsonl"
    file.write_text("".join(lines[1:3]))
    assert page.load(file) == (2, 0, 0, 0), "a selection, as nothing else of this page is known"
    assert page.load(page.export()) == (1, 2, 0, 0)
    page.undo()
    page.load(page.export())
    with pytest.raises(GptaltError, match="but not the first line of its export"):
        page.load(file)
    assert page.list_votes() == read_page(page.path)[1]


def test_two_pages_in_one_file(page, tmp_path):
    other = Page(tmp_path / "other")
    page.vote("left")
    other.vote("left")
    other.vote("left")
    file = tmp_path / "both.jsonl"
    file.write_text(page.export().read_text() + other.export().read_text())
    assert page.load(file) == (3, 0, 0, 0)
    other.undo()
    assert page.load(other.export()) == (0, 1, 0, 1)
    assert len(page.list_votes()) == 2
    file.write_text(page.export().read_text() * 2)
    with pytest.raises(GptaltError, match="1 votes were exported, 2 are there"):
        page.load(file)
    other.store.close()


# ---------------------------------------------------------------------- of an earlier version


def export_as_before(page, name):
    """Without a line about the page, ids, languages and styles."""
    lines = [{key: vote[key] for key in (*Vote._fields[:7],)} for vote in read_lines(page.export())[1:]]
    file = page.home / name
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_an_export_of_an_earlier_version_is_not_counted_twice(page):
    for choice in CHOICES:
        page.vote(choice)
    old = export_as_before(page, "old.jsonl")
    assert page.load(old) == (4, 0, 0, 0)
    assert page.load(page.export()) == (0, 4, 0, 0)
    assert page.list_votes() == read_page(page.path)[1]
    assert page.load(old) == (0, 4, 0, 0)
    assert page.list_votes() == read_page(page.path)[1]
    page.undo()
    assert page.load(page.export()) == (0, 3, 0, 1)


def test_the_former_command_is_named():
    for words in (["vote"], ["vote", "serve"], ["vote", "export"]):
        with pytest.raises(GptaltError, match=r"There is no command 'vote'\.\nDid you mean 'votes'"):
            cli.dispatch(words, make_plugin_set(gptalt_eval_plugin_elo))


# ---------------------------------------------------------------------- straight from the page's file


def test_votes_are_read_from_the_page_itself(page, capsys, monkeypatch):
    plugins = make_plugin_set(gptalt_eval_plugin_elo)
    for choice in ("left", "right", "tie", "left"):
        page.vote(choice, "anna")
        page.vote(choice, "ben")
    expected = read_page(page.path)[1]
    lines = page.export().read_text(encoding="utf-8").splitlines()[1:]
    for words in ([str(page.path)], [str(page.path.parent)], ["--answers", str(page.path.parent)]):
        assert cli.dispatch(["votes", "export", *words], plugins) == 0
        assert capsys.readouterr().out.splitlines()[1:] == lines
    for path in (page.path, page.path.parent, page.export()):
        assert list(read_votes(path)) == expected
        assert page.load(path)[:2] in ((8, 0), (0, 8))
        for words in (["elo", str(path), "--orders=5", "--json", "--output", str(page.home / "out")],
                      ["votes", "agreement", str(path), "--json"]):  # fmt: skip
            assert cli.dispatch(words, plugins) == 0
        assert capsys.readouterr().out
    assert page.list_votes() == expected
    page.undo()
    assert page.load(page.path) == (0, 7, 0, 1)


def test_a_folder_with_votes_and_a_page_is_asked_about(page):
    page.vote("left")
    page.export("answers/votes.jsonl")
    with pytest.raises(
        GptaltError, match=r"has both votes\.jsonl and votes\.sqlite\.\nName the one that you mean"
    ):
        list(read_votes(page.path.parent))


def test_another_database_is_refused(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "mine.sqlite") as connection:
        connection.execute("CREATE TABLE mine(a)")
    connection.close()
    for call in (
        lambda file: list(read_votes(file)),
        lambda file: import_files([file], tmp_path / "v", list_formats()),
    ):
        with pytest.raises(GptaltError, match="is not a file of votes"):
            call(tmp_path / "mine.sqlite")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_export_onto_a_full_disk_fails(page):
    import subprocess
    import sys

    page.vote("left")
    command = [sys.executable, "-m", "gptalt_eval", "votes", "export", "--answers", str(page.path.parent)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "cannot be written: No space left on device" in done.stderr and "Traceback" not in done.stderr


# ---------------------------------------------------------------------- anything in any order

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["vote", "vote", "undo", "export", "import", "page"]), st.integers(0, 9),
              st.sampled_from(["anna", "ben"]), st.sampled_from(CHOICES)),
    max_size=40,
)  # fmt: skip


@settings(max_examples=40)
@given(ACTIONS)
def test_the_newest_export_and_nothing_else_is_there(tmp_path_factory, actions):
    page = Page(tmp_path_factory.mktemp("p"))
    exports = []  # (votes, revision), in their order
    newest = -1
    (page.home / "foreign.jsonl").write_text(json.dumps(FOREIGN) + "\n")
    page.load(page.home / "foreign.jsonl")
    for action, number, who, choice in actions:
        if action == "vote":
            page.vote(choice, who)
        elif action == "undo":
            page.undo(who)
        elif action == "export":
            page.export(f"{len(exports)}.jsonl")
            exports.append(read_page(page.path)[1])
        elif action == "import" and exports:
            chosen = number % len(exports)
            page.load(page.home / f"{chosen}.jsonl")
            newest = max(newest, chosen)
        elif action == "page":
            page.load(page.path)
            exports.append(read_page(page.path)[1])
            page.export(f"{len(exports) - 1}.jsonl")
            newest = len(exports) - 1
        expected = exports[newest] if newest >= 0 else []
        assert Counter(page.list_votes()) == Counter([*expected, Vote(**FOREIGN)])
        assert [vote for vote in page.list_votes() if vote.id] == expected
    page.store.close()


# ---------------------------------------------------------------------- the lines


@pytest.mark.parametrize("record", [
    {}, {"page": "x", "revision": 1, "votes": 0}, {"page": "page-" + "0" * 16}, {"page": "page-" + "0" * 17, "revision": 1, "votes": 0},
    {"page": "page-" + "0" * 16, "revision": "1", "votes": 0}, {"page": "page-" + "0" * 16, "revision": 1, "votes": 2},
    {"page": "page-" + "0" * 16, "revision": 1, "votes": True}, {"page": "page-" + "0" * 16, "revision": 1, "votes": -1},
    {"page": "page-" + "0" * 16, "revision": 1, "votes": 0, "question": "q"}, {"page": ["page"], "revision": 1, "votes": 0},
    {"page": "page-" + "0" * 16, "revision": 2**63, "votes": 0},
])  # fmt: skip
def test_what_is_not_the_first_line_of_an_export(record):
    assert read_export(record) is None


def test_the_first_line_of_an_export():
    export = PageExport("page-0123456789abcdef", 3, 1, "2026-11-27T20:00:00+00:00")
    assert read_export(export._asdict()) == export
    assert read_export({"page": export.page, "revision": 0, "votes": 0}) == PageExport(export.page, 0, 0)


FULL = Vote(
    "q", "x", "y", "a", "c", "n", "t", "en", "v1", "judge", False, Style(1, 2, 3, 4), Style(5, 6, 7, 8)
)


def test_every_field_of_a_vote_survives(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(FULL.describe()) + "\n")
    assert list(read_votes(file)) == [FULL]
    import_files([file], tmp_path / "v", list_formats())
    import_files([tmp_path / "v"], tmp_path / "w", list_formats())
    assert list(read_votes(tmp_path / "v")) == list(read_votes(tmp_path / "w")) == [FULL]


@pytest.mark.parametrize(("change", "fault"), [
    ({"kind": "robot"}, "'kind' is 'robot'; expected person or judge"), ({"kind": 1}, "'kind' is not text: 1"),
    ({"language": ["en"]}, "'language' is not text"), ({"blind": "perhaps"}, "'blind' is 'perhaps'; expected true or false"),
    ({"style_a": {"length": 1}}, "'style_a' is not length"), ({"style_b": 3}, "'style_b' is not length"),
    ({"style_b": FULL.style_a._asdict() | {"bold": -1}}, "'style_b' is not length"),
    ({"style_b": FULL.style_a._asdict() | {"bold": True}}, "'style_b' is not length"),
    ({"id": "x" * 2_001}, "'id' is 2001 characters long"), ({"language": "e\0"}, "'language' contains a NUL"),
])  # fmt: skip
def test_a_field_that_a_vote_cannot_have(change, fault):
    with pytest.raises(ValueError, match=fault):
        parse_vote(FULL.describe() | change)


def test_fields_that_say_nothing_are_those_of_every_vote():
    assert read_more({"language": "", "id": None, "kind": "", "blind": None, "style_a": None}) == {}
    assert read_more({"blind": False, "id": " v1 ", "kind": "judge "}) == {
        "blind": False,
        "id": "v1",
        "kind": "judge",
    }
    assert read_more({"blind": "True"}) == {"blind": True}


@pytest.mark.parametrize(("text", "style"), [
    ("", (0, 0, 0, 0)), ("plain", (5, 0, 0, 0)), ("题目", (2, 0, 0, 0)),
    ("# one\n\n### three\n####### seven\n#none", (36, 2, 0, 0)),
    ("- a\n* b\n+ c\n1. d\n  2) e\n-f\n3.14 is", (34, 0, 5, 0)),
    ("**a** and __b c__, not ** x ** or 2**3", (38, 0, 0, 2)), ("**a** **b**", (11, 0, 0, 2)),
    ("```\n# no\n- no\n**no**\n```\n# yes", (30, 1, 0, 0)), ("~~~\n```\n# no\n~~~\n- yes", (22, 0, 1, 0)),
    ("```\n# no, as this block does not end", (36, 0, 0, 0)), ("````\n```\n# no\n````\n# yes", (24, 1, 0, 0)),
    ("- **a**\n- **b**", (15, 0, 2, 2)), ("***", (3, 0, 0, 0)), ("---", (3, 0, 0, 0)),
])  # fmt: skip
def test_the_style_of_a_text(text, style):
    assert measure_style(text) == Style(*style)


@pytest.mark.parametrize(
    "text",
    [
        "*" * 1_000_000,
        "**a" * 300_000,
        "`" * 1_000_000,
        "```\n" * 250_000,
        "#" * 1_000_000,
        "_" * 999_999,
        " " * 999_999 + "x",
        "1" * 999_999,
    ],
)
def test_no_text_takes_long_to_measure(text):
    from time import process_time

    began = process_time()
    assert measure_style(text).length == len(text)
    assert process_time() - began < 2


# ---------------------------------------------------------------------- two copies of a page


def fork(page, folder):
    """A copy of the page, on which people go on voting."""
    (folder / "answers").mkdir(parents=True)
    with (
        closing(sqlite3.connect(page.path)) as here,
        closing(sqlite3.connect(folder / "answers" / "votes.sqlite")) as there,
    ):
        here.backup(there)
    copy = Page(folder)
    copy.folder = page.folder
    return copy


def date(file, second):
    """The export as if it were of another second."""
    first, rest = file.read_text(encoding="utf-8").split("\n", 1)
    about = json.loads(first) | {"exported": f"2026-01-01T00:00:{second:02d}+00:00"}
    file.write_text(json.dumps(about) + "\n" + rest, encoding="utf-8")
    return file


@pytest.mark.parametrize(("here", "there"), [(1, 1), (1, 5), (5, 1), (3, 3)])
def test_votes_on_two_copies_of_a_page_do_not_replace_each_other(tmp_path, here, there):
    page = Page(tmp_path / "one")
    page.vote("left")
    copy = fork(page, tmp_path / "two")
    for each, number, who in ((page, here, "anna"), (copy, there, "ben")):
        for _ in range(number):
            each.vote("tie", who)
    page.load(date(page.export(), 0))
    before = list(read_votes(page.folder))
    for file in (copy.export(), copy.path):
        with pytest.raises(GptaltError, match=r"from a copy of page-.*, and people voted on both"):
            page.load(file)
    assert list(read_votes(page.folder)) == before


def test_a_copy_on_which_nobody_else_voted_goes_on(tmp_path):
    page = Page(tmp_path / "one")
    page.vote("left")
    page.load(page.export())
    copy = fork(page, tmp_path / "two")
    copy.vote("right")
    copy.undo()
    copy.undo()
    copy.vote("tie")
    copy.vote("tie")
    assert copy.load(copy.export()) == (1, 0, 1, 0)
    assert page.load(page.export()) == (0, 0, 0, 0), "it is older"


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([*CHOICES, "undo"]), st.sampled_from(["anna", "ben"])), max_size=30),
    st.data(),
)
def test_no_export_of_one_page_is_taken_for_a_copy(tmp_path_factory, acts, data):
    page = Page(tmp_path_factory.mktemp("p"), questions=2)
    files = [date(page.export("0.jsonl"), 0)]
    for number, (act, who) in enumerate(acts, 1):
        page.undo(who) if act == "undo" else page.vote(act, who)
        files.append(date(page.export(f"{number}.jsonl"), number))
    for file in data.draw(st.lists(st.sampled_from(files), max_size=6)):
        page.load(file)
