"""The voting page without a browser: who gets what, votes that are lost or doubled, hostile answers."""

import json
import os
import re
import sqlite3
import time
from collections import Counter
from itertools import combinations

import pytest
from gptalt_eval_plugin_elo.answers import Answer
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes
from gptalt_eval_plugin_elo.naming import Names
from gptalt_eval_plugin_elo.voting.export import write_lines
from gptalt_eval_plugin_elo.voting.overview import gather_overview
from gptalt_eval_plugin_elo.voting.rendering import FORMULA, RENDERED, SHOWN, render
from gptalt_eval_plugin_elo.voting.store import CHOICES, LEASE, Store
from gptalt_eval_plugin_elo.voting.texts import TEXTS, choose_language
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError


def make_answers(models=("chatglm", "moss", "vicuna"), questions=4):
    return [
        Answer(
            f"Question {number}?",
            model,
            f"{model} says {number}",
            f"q{number}",
            "reasoning",
            "en",
            "An example.",
        )
        for number in range(questions)
        for model in models
    ]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "votes.sqlite")
    yield store
    store.close()


def read_exported(store):
    return [json.loads(line) for line in write_lines(store.path, Names())][
        1:
    ]  # after the line about the page


def judge_all(store, people, choose=lambda shown: "left"):
    """Everybody votes in turn until nothing is left; what each saw."""
    seen = []
    while True:
        before = len(seen)
        for who in people:
            shown = store.show(who)
            if shown:
                seen.append((who.name, shown))
                assert store.vote(who, shown.item, shown.turn, choose(shown))
        if len(seen) == before:
            return seen


# ---------------------------------------------------------------------- who gets what


def test_every_pair_on_every_question_is_judged_once(store):
    assert store.add_answers(make_answers(), 1, 0) == 12
    people = store.add_annotators(["anna", "ben"])
    seen = judge_all(store, people)
    assert len(seen) == 12
    votes = read_exported(store)
    assert Counter((vote["question"], vote["model_a"], vote["model_b"]) for vote in votes) == Counter(
        (f"q{number}/en", *pair)
        for number in range(4)
        for pair in combinations(("chatglm", "moss", "vicuna"), 2)
    )
    assert Counter(vote["annotator"] for vote in votes) == {"anna": 6, "ben": 6}
    found = gather_overview(store)
    assert ([(each.name, each.votes) for each in found.voters], found.done, found.wanted) == (
        [("anna", 6), ("ben", 6)], 12, 12,
    )  # fmt: skip


@pytest.mark.parametrize(("judges", "twice", "wanted"), [(1, 0.25, 15), (2, 0, 24), (1, 1, 24), (2, 0.5, 30)])
def test_a_share_is_judged_by_one_more(store, judges, twice, wanted):
    store.add_answers(make_answers(), judges, twice)
    seen = judge_all(store, store.add_annotators(["anna", "ben", "cleo", "dan"]))
    assert len(seen) == wanted
    by_item = Counter(shown.item for _, shown in seen)
    assert set(by_item.values()) <= {judges, judges + 1}
    assert max(Counter((name, shown.item) for name, shown in seen).values()) == 1


def test_pairs_and_people_stay_balanced_wherever_it_ends(store):
    store.add_answers(make_answers(("a", "b", "c", "d"), 10), 1, 0)
    people = store.add_annotators(["anna", "ben", "cleo"])
    for step in range(30):
        who = people[step % 3]
        shown = store.show(who)
        store.vote(who, shown.item, shown.turn, "tie")
        pairs = Counter((vote["model_a"], vote["model_b"]) for vote in read_exported(store))
        assert max(pairs.values()) - (min(pairs.values()) if len(pairs) == 6 else 0) <= 1
    own = Counter((vote["annotator"], vote["model_a"], vote["model_b"]) for vote in read_exported(store))
    assert max(own.values()) <= 3


def test_sides_are_drawn_by_chance_and_winners_are_the_models(store):
    store.add_answers(make_answers(questions=40), 1, 0)
    people = store.add_annotators(["anna"])
    seen = judge_all(store, people)
    votes = read_exported(store)
    for (_, shown), vote in zip(seen, votes, strict=True):
        assert shown.left.startswith(vote["model_a" if vote["winner"] == "a" else "model_b"])
    share = sum(vote["winner"] == "a" for vote in votes) / len(votes)
    assert 0.3 < share < 0.7


def test_what_is_skipped_goes_to_somebody_else(store):
    store.add_answers(make_answers(questions=2), 1, 0)
    anna, ben = store.add_annotators(["anna", "ben"])
    assert len(judge_all(store, [anna], lambda _: "skip")) == 6
    assert store.find_progress(anna).left == 0
    assert gather_overview(store).done == 0
    assert len(judge_all(store, [ben])) == 6
    assert Counter(vote["winner"] == "skip" for vote in read_exported(store)) == {True: 6, False: 6}


def test_two_people_never_have_the_same_before_them(store):
    store.add_answers(make_answers(questions=1), 1, 0)
    people = store.add_annotators([f"p{number}" for number in range(5)])
    shown = [store.show(who) for who in people]
    assert len({each.item for each in shown if each}) == 3
    assert shown[3:] == [None, None]


def test_who_went_away_holds_nothing_up(store):
    store.add_answers(make_answers(("a", "b"), 1), 1, 0)
    anna, ben = store.add_annotators(["anna", "ben"])
    now = time.time()
    gone = store.show(anna, now)
    assert store.show(ben, now + LEASE - 1) is None
    shown = store.show(ben, now + LEASE + 1)
    assert shown.item == gone.item
    assert store.vote(ben, shown.item, shown.turn, "left")
    assert store.show(anna, now + LEASE + 2) is None


def test_the_same_is_shown_until_it_is_judged(store):
    store.add_answers(make_answers(), 1, 0)
    (anna,) = store.add_annotators(["anna"])
    assert store.show(anna) == store.show(anna)


# ---------------------------------------------------------------------- once, and only once


def test_a_second_vote_does_not_count(store):
    store.add_answers(make_answers(), 1, 0)
    (anna,) = store.add_annotators(["anna"])
    shown = store.show(anna)
    assert store.vote(anna, shown.item, shown.turn, "left")
    assert not store.vote(anna, shown.item, shown.turn, "left")
    assert not store.vote(anna, shown.item, shown.turn, "right")
    assert len(read_exported(store)) == 1


def test_a_vote_on_what_was_never_shown_does_not_count(store):
    store.add_answers(make_answers(), 1, 0)
    anna, ben = store.add_annotators(["anna", "ben"])
    shown = store.show(anna)
    assert not store.vote(ben, shown.item, shown.turn, "left")
    assert not store.vote(anna, shown.item, shown.turn + 1, "left")
    assert not store.vote(anna, 10**17, 0, "left")
    assert read_exported(store) == []


def test_undo_takes_back_the_last_vote_alone(store):
    store.add_answers(make_answers(), 1, 0)
    (anna,) = store.add_annotators(["anna"])
    first = store.show(anna)
    store.vote(anna, first.item, first.turn, "left")
    second = store.show(anna)
    store.vote(anna, second.item, second.turn, "right")
    last = store.find_progress(anna).last
    store.show(anna)  # the next one is before her already
    assert store.undo(anna, last)
    assert not store.undo(anna, last), "a double click takes back one vote"
    again = store.show(anna)
    assert (again.item, again.left) == (second.item, second.left)
    assert not store.vote(anna, second.item, second.turn, "right"), "a late vote of before the undo"
    assert store.vote(anna, again.item, again.turn, "tie")
    assert [vote["winner"] for vote in read_exported(store)][1:] == ["tie"]


def test_nobody_undoes_anothers_vote(store):
    store.add_answers(make_answers(), 1, 0)
    anna, ben = store.add_annotators(["anna", "ben"])
    shown = store.show(anna)
    store.vote(anna, shown.item, shown.turn, "left")
    assert not store.undo(ben, store.find_progress(anna).last)
    assert len(read_exported(store)) == 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["show", "vote", "late", "undo", "reopen"]),
        st.integers(0, 2),
        st.sampled_from(CHOICES),
        st.integers(0, 20),
    ),
    max_size=60,
)


@settings(max_examples=40)
@given(ACTIONS, st.integers(1, 2), st.sampled_from([0, 0.5]))
def test_whatever_people_do_each_vote_counts_once(tmp_path_factory, actions, judges, twice):
    path = tmp_path_factory.mktemp("v") / "votes.sqlite"
    store = Store(path)
    store.add_answers(make_answers(("a", "b"), 4), judges, twice)
    people = store.add_annotators(["anna", "ben", "cleo"])
    seen = {who.id: [] for who in people}
    expected = {who.id: [] for who in people}  # items and choices, in order
    for action, number, choice, back in actions:
        who = people[number]
        mine = expected[who.id]
        if action == "reopen":
            store.close()
            store = Store(path)
        elif action == "undo":
            last = store.find_progress(who).last
            assert (last is not None) == bool(mine)
            if last is not None:
                assert store.undo(who, last)
                mine.pop()
        else:
            shown = store.show(who)
            if shown and shown not in seen[who.id]:
                seen[who.id].append(shown)
            if action == "vote" and shown:
                assert store.vote(who, shown.item, shown.turn, choice)
                mine.append((shown, choice))
            if action == "late" and seen[who.id]:
                old = seen[who.id][back % len(seen[who.id])]
                if old != shown:
                    assert not store.vote(who, old.item, old.turn, choice)
    for who in people:
        votes = [vote for vote in read_exported(store) if vote["annotator"] == who.name]
        assert len(votes) == len(expected[who.id])
        for vote, (shown, choice) in zip(votes, expected[who.id], strict=True):
            side = {"left": shown.left, "right": shown.right}.get(choice)
            winner = {"a": vote["model_a"], "b": vote["model_b"]}.get(vote["winner"])
            assert vote["winner"] == choice if side is None else side.startswith(f"{winner} says")
    decided = Counter(vote["question"] for vote in read_exported(store) if vote["winner"] != "skip")
    assert max(decided.values(), default=0) <= judges + 1
    store.close()


# ---------------------------------------------------------------------- the file


def test_it_goes_on_where_it_was(tmp_path):
    first = Store(tmp_path / "v.sqlite")
    first.add_answers(make_answers(), 1, 0.25)
    (anna,) = first.add_annotators(["anna"])
    shown = first.show(anna)
    first.vote(anna, shown.item, shown.turn, "left")
    # no close: the server was killed
    second = Store(tmp_path / "v.sqlite")
    assert second.add_answers(make_answers(), 1, 0.25) == 12
    assert second.add_annotators(["anna", "ben"])[0] == anna
    assert second.organiser == first.organiser
    assert len(read_exported(second)) == 1
    assert second.show(anna).item != shown.item


def test_models_may_come_later_but_answers_may_not_change(store):
    store.add_answers(make_answers(("a", "b")), 1, 0)
    assert store.add_answers(make_answers(("a", "b", "c")), 1, 0) == 12
    changed = [*make_answers(("a", "b")), Answer("Question 0?", "b", "otherwise", "q0", language="en")]
    with pytest.raises(GptaltError, match=r"a or b to q0/en differ from those in .*\n.*--database FILE"):
        store.add_answers(changed[:1] + changed[2:], 1, 0)


def test_a_model_that_comes_later_is_not_known_by_its_numbers(store):
    """Fifty comparisons of the first two models, then a hundred with a third."""
    store.add_answers(make_answers(("a", "b"), 50), 1, 0)
    store.add_answers(make_answers(("a", "b", "new"), 50), 1, 0)
    with store.transaction() as run:
        rows = run("SELECT id, model_b = 'new' FROM items ORDER BY id").fetchall()
    assert all(0 <= row[0] < 2**48 for row in rows)
    places = [place for place, row in enumerate(rows) if row[1]]
    # chance: 100 places of 150 have a mean of 74.5, with a standard deviation of 2.5
    assert abs(sum(places) / len(places) - 74.5) < 13, "neither the higher nor the lower numbers"


def test_a_model_that_comes_later_is_not_known_by_when_it_is_shown(store):
    """What is left of the earlier comparisons comes between the later ones; the pairs stay balanced."""
    store.add_answers(make_answers(("a", "b"), 60), 1, 0)
    (anna,) = store.add_annotators(["anna"])
    for _ in range(30):
        shown = store.show(anna)
        store.vote(anna, shown.item, shown.turn, "tie")
    store.add_answers(make_answers(("a", "b", "new"), 60), 1, 0)
    for _ in range(75):
        shown = store.show(anna)
        store.vote(anna, shown.item, shown.turn, "tie")
    after = [(vote["model_a"], vote["model_b"]) for vote in read_exported(store)][30:]
    # of 150 that are left, 30 are earlier ones: 15 of the first 75 by chance, with a deviation of 2.5
    assert 2 <= after.count(("a", "b")) <= 28
    assert abs(after.count(("a", "new")) - after.count(("b", "new"))) <= 1
    first = after.index(("a", "b")), len(after) - after[::-1].index(("a", "b"))
    assert first[1] - first[0] > 20, "spread, not in a row"


@pytest.mark.parametrize("answers", [[], make_answers(("a",))])
def test_without_two_models_there_is_nothing_to_compare(store, answers):
    with pytest.raises(GptaltError, match="No question was answered by two models"):
        store.add_answers(answers, 1, 0)


def test_another_file_is_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("mine, and long enough to be no empty database\n" * 100)
    with pytest.raises(GptaltError, match=r"notes.txt cannot be used: .*\n.*--database FILE"):
        Store(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine(a)")
    with pytest.raises(GptaltError, match="is not a file of votes"):
        Store(other)
    assert text.read_text().startswith("mine")


def change_file(store, statement, *values):
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize("fact", ["version", "salt", "page"])
def test_a_file_without_what_each_has_is_damaged(store, fact):
    change_file(store, "DELETE FROM facts WHERE name = ?", fact)
    with pytest.raises(GptaltError, match=f"is damaged: it has no {fact}\\."):
        Store(store.path)


def test_a_file_of_another_version_is_named(store):
    change_file(store, "UPDATE facts SET value = '999' WHERE name = 'version'")
    with pytest.raises(GptaltError, match="written by another version"):
        Store(store.path)


def test_triggers_and_views_in_a_file_are_not_trusted(store):
    """SQLite then refuses functions with effects in them; its default trusts a file's schema."""
    assert store.connection.execute("PRAGMA trusted_schema").fetchone()[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has other file permissions")
def test_links_are_for_the_owners_eyes(store):
    assert store.path.stat().st_mode & 0o077 == 0


def test_the_export_is_what_the_importer_knows(store, tmp_path):
    store.add_answers(make_answers(), 1, 0.5)
    judge_all(store, store.add_annotators(["anna", "本"]))
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(write_lines(store.path, Names())), encoding="utf-8")
    counts = import_files([file], tmp_path / "votes", list_formats())[file]
    assert (counts.format, counts.added, counts.rejected) == ("gptalt", 18, 0)
    assert {vote.annotator for vote in read_votes(tmp_path / "votes")} == {"anna", "本"}


# ---------------------------------------------------------------------- hostile answers

HOSTILE = [
    "<script>alert(1)</script>", "<img src=http://evil.example/x onerror=alert(1)>", "![x](http://evil.example/a.png)",
    "[click](javascript:alert(1))", "<a href='http://evil.example'>x</a>", "<svg/onload=alert(1)>", "<http://evil.example>",
    "<iframe src=//evil.example></iframe>", "<style>@import url(//evil.example)</style>", "[a]: http://evil.example\n[a]",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>", "</div></section></main><form action=//evil.example>",
    r"$\href{javascript:alert(1)}{x}$", r"$\text{<img src=x onerror=alert(1)>}$", r"\[\style{background:url(//evil.example)}{x}\]",
    r"$$\class{x}{\url{http://evil.example}}$$", r"$\includegraphics{http://evil.example/x}$", "```html\n</code></pre><script>x</script>\n```",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "`</code><script>alert(1)</script>`", "<p style='position:fixed'>", "\0\x1b[31m\x07",
]  # fmt: skip
TAG = re.compile(r"<\s*([a-zA-Z!/?][^\s>]*)([^>]*)>")
HARMLESS_ATTRIBUTES = re.compile(
    r'(?:\s+(?:tabindex="0"|class="(?:plain|scrolls)"|start="\d+"|[a-z]+="[\w.#%-]*"))*\s*/?'
)


def assert_harmless(html):
    for name, attributes in TAG.findall(html):
        bare = name.strip("/").lower()
        assert not re.match(
            r"script|img|a$|svg|iframe|style|form|input|link|meta|object|embed|video|audio|!", bare
        ), html
        assert HARMLESS_ATTRIBUTES.fullmatch(attributes), html
        assert not re.search(r"(?i)\bon\w+=|href|src=|style=|url\(", attributes), html


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_an_answer_acts(text):
    assert_harmless(render(text)[0])
    assert_harmless(render(f"- a\n\n> {text}\n\n| a | b |\n|---|---|\n| {text} | $x$ |\n")[0])


@given(
    st.lists(
        st.sampled_from(
            [
                *HOSTILE,
                "$",
                "$$",
                "\\(",
                "\\]",
                "`",
                "```\n",
                "\n\n",
                "|",
                "> ",
                "- ",
                "*",
                "_",
                "x",
                "\\frac{1}{2}",
                "<",
                ">",
                '"',
                "&",
                "](",
            ]
        ),
        max_size=30,
    )
)
def test_no_combination_acts(parts):
    assert_harmless(render("".join(parts))[0])


@given(st.text(max_size=300))
def test_any_text_is_rendered(text):
    html, cut = render(text)
    assert_harmless(html)
    assert cut == 0


def test_a_megabyte_is_cut_and_said():
    html, cut = render("<b>" * 350_000)
    assert cut == 3 * 350_000 - SHOWN
    assert html.count("&lt;b&gt;") == SHOWN // 3
    assert_harmless(html)


SLOW = ["[" * RENDERED, "*a " * (RENDERED // 3), "> " * (RENDERED // 2), "`" * RENDERED, "$" * RENDERED, "\\(" * (RENDERED // 2),
        "- " * (RENDERED // 2), "|" * RENDERED, "**a" * (RENDERED // 3), "_a*" * (RENDERED // 3), "~~a" * (RENDERED // 3),
        "$" + "{" * (FORMULA - 10) + "$", "$" + "\\frac{" * 300 + "$", "$" + "x^" * 900 + "$", "|a|b|\n|-|-|\n" + "|x|y|\n" * 4000,
        "![" * (RENDERED // 2), "$a$ " * (RENDERED // 4), "$\\sqrt" * 280, "&" * RENDERED, "\\[" * (RENDERED // 2)]  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=lambda text: text[:6])
def test_no_answer_hangs_the_server(text):
    """Seconds, where a quadratic one would take minutes: a bound on harm, not a measured speed."""
    began = time.process_time()
    html, _ = render(text[:RENDERED])
    assert time.process_time() - began < 20
    assert_harmless(html)


def test_what_answers_are_made_of_is_shown():
    html, _ = render(
        "# Top\n\n**bold**, `code`\n\n```python\nif a < b:\n    pass\n```\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "Inline $E = mc^2$ and \\(a_1\\).\n\n$$\\frac{1}{2}$$\n\n\\[\\sqrt{x}\\]\n\nIt costs $5 and $6."
    )
    for part in (
        "<h3>Top</h3>",
        "<strong>bold</strong>",
        "<code>code</code>",
        "if a &lt; b:\n    pass",
        "<ol>",
        "<td>2</td>",
        "$5 and $6",
    ):
        assert part in html
    assert html.count("<math") == 4
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in html
    assert "<msqrt>" in html and "<msup>" in html and "<msub>" in html


def test_a_formula_that_is_none_is_shown_as_written():
    html, _ = render(r"$\frac{1}{$ and $" + "x" * (FORMULA + 1) + "$")
    assert_harmless(html)
    assert r"\frac{1}{" in html and "x" * (FORMULA + 1) in html


def test_lines_of_an_answer_stay_lines():
    assert "one<br>" in render("one\ntwo")[0]


# ---------------------------------------------------------------------- languages


def test_both_languages_say_the_same():
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, text in TEXTS["en"].items():
        assert set(re.findall(r"{\w+", text)) == set(re.findall(r"{\w+", TEXTS["zh"][key])), key


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("", "de-DE,en", "en"), ("", "", "en"), ("en", "zh", "en"), ("xx", "fr", "en")],
)  # fmt: skip
def test_the_language_is_the_browsers_until_one_is_chosen(chosen, accepted, language):
    assert choose_language(chosen, accepted) == language
