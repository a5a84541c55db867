"""Label Studio: which tag is the verdict, and when the program asks instead of guessing."""

import csv
import json

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes

from gptalt_eval import GptaltError

DATA = {"prompt": "Why?", "model_a": "m", "model_b": "n", "category": "c", "language": "en"}
VOTE = Vote("Why?", "m", "n", "a", "c", "1", "2026", "en", "annotation 9")


def pair(side, name="pref"):
    return {"from_name": name, "to_name": "x,y", "type": "pairwise", "value": {"selected": side}}


def choose(*words, name="quality"):
    return {"from_name": name, "to_name": "x", "type": "choices", "value": {"choices": list(words)}}


def annotate(*results, **more):
    return {"id": 9, "completed_by": 1, "created_at": "2026", "result": list(results)} | more


def load(tmp_path, *annotations, **settings):
    file = tmp_path / "ls.json"
    file.write_text(json.dumps([{"id": 5, "data": DATA, "annotations": list(annotations)}]))
    [counts] = import_files([file], tmp_path / "v", list_formats(), **settings).values()
    assert (counts.format, counts.rejected) == ("labelstudio", 0)
    return list(read_votes(tmp_path / "v"))


def refuse(tmp_path, *annotations, **settings):
    with pytest.raises(GptaltError) as caught:
        load(tmp_path, *annotations, **settings)
    assert not (tmp_path / "v").exists()
    return caught.value


@pytest.mark.parametrize(
    ("results", "winner"),
    [
        ([pair("left")], "a"),
        ([pair("right"), choose("fluent", "short")], "b"),
        ([choose("bad"), pair("left")], "a"),
        ([pair("left"), choose("A")], "a"),
        ([choose("tie", name="pref2")], "tie"),
        ([choose("m")], "a"),
        ([pair("left"), pair("left", "again")], "a"),
        ([pair("left"), {"from_name": "why", "type": "textarea", "value": {"text": ["tie"]}}], "a"),
        ([pair("right"), {"from_name": "stars", "type": "rating", "value": {"rating": 1}}], "b"),
    ],
)
def test_the_verdict_of_an_annotation(tmp_path, results, winner):
    assert load(tmp_path, annotate(*results)) == [VOTE._replace(winner=winner)]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([pair("left"), choose("both bad")], "'quality' says 'both bad', 'pref' says 'left'"),
        ([choose("tie", name="length"), pair("left")], "'length' says 'tie', 'pref' says 'left'"),
        ([pair("left"), choose("B", name="fluency")], "'fluency' says 'B', 'pref' says 'left'"),
        ([pair("left"), pair("right", "style")], "'pref' says 'left', 'style' says 'right'"),
        ([pair("left"), pair("right")], "'pref' says 'left', 'pref' says 'right'"),
        (
            [choose("tie", name="pref"), choose("left", name="fluency")],
            "'pref' says 'tie', 'fluency' says 'left'",
        ),
        (
            [choose("A bit better", name="pref"), choose("left")],
            "'pref' says 'A bit better', 'quality' says 'left'",
        ),
    ],
)
def test_two_tags_that_could_be_the_verdict_are_asked_for(tmp_path, results, said):
    error = refuse(tmp_path, annotate(pair("left")), annotate(*results, id=10))
    assert error.what == (
        f"{tmp_path / 'ls.json'}: the verdict of 1 record is unclear: {said}. Nothing was imported."
    )
    assert error.hint == "Say which one it is: --columns winner=NAME"


@pytest.mark.parametrize("turned", [False, True])
def test_a_tag_about_something_else_is_not_the_verdict_where_it_stands_alone(tmp_path, turned):
    annotations = annotate(pair("left"), choose("good")), annotate(choose("both bad"), id=10)
    error = refuse(tmp_path, *(annotations[::-1] if turned else annotations))
    assert "unclear: 'quality' stands beside another tag, and elsewhere it would be the verdict" in error.what
    votes = load(tmp_path, *annotations, columns={"winner": "pref"}, given={"": "skip"})
    assert [vote.winner for vote in votes] == ["a", "skip"]


def test_a_tag_that_stands_in_for_the_pairwise_one_is_the_verdict(tmp_path):
    votes = load(tmp_path, annotate(pair("left")), annotate(choose("tie"), id=10))
    assert [vote.winner for vote in votes] == ["a", "tie"]


def test_the_user_names_the_tag(tmp_path):
    results = pair("left"), choose("both bad"), choose("B", name="fluency")
    for tag, winner in (("pref", "a"), ("quality", "tie"), ("fluency", "b")):
        [vote] = load(tmp_path, annotate(*results), columns={"winner": tag})
        assert vote == VOTE._replace(winner=winner), "a new verdict with the same id replaces the old one"
    with pytest.raises(GptaltError, match=r"understood: @empty \(1 vote\)"):
        load(tmp_path, annotate(*results), columns={"winner": "pre"})


@pytest.mark.parametrize(
    ("results", "word"),
    [
        ([], "@empty"), ([choose()], "@empty"), ([choose("maybe")], "maybe"), ([choose("tie", "left")], "tie, left"),
        ([pair("middle")], "middle"), ([{"value": {"text": ["hm"]}}], "@empty"),
    ],
)  # fmt: skip
def test_an_annotation_that_says_nothing_known_is_asked_for(tmp_path, results, word):
    error = refuse(tmp_path, annotate(pair("left")), annotate(*results))
    assert f"understood: {word} (1 vote)" in error.what
    votes = load(tmp_path, annotate(*results), given={word.replace("@empty", ""): "skip"})
    assert [vote.winner for vote in votes] == ["skip"]


def test_a_cancelled_annotation_is_skipped(tmp_path):
    assert load(tmp_path, annotate(was_cancelled=True)) == [VOTE._replace(winner="skip")]


ROW = {
    "id": 5,
    **DATA,
    "annotator": 1,
    "annotation_id": 9,
    "created_at": "2026",
    "updated_at": "x",
    "lead_time": 3.5,
}


@pytest.mark.parametrize(
    ("tags", "winner"),
    [
        ({"pref": "left"}, "a"),
        ({"pref": {"selected": "right"}}, "b"),
        ({"pref": [{"selected": "right"}], "fluency": "good"}, "b"),
        ({"quality": {"choices": ["tie"]}}, "tie"),
        ({"answer": "left and right are the same", "pref": "n"}, "b"),
    ],
)
@pytest.mark.parametrize("ending", ["json", "csv"])
def test_json_min_and_csv(tmp_path, tags, winner, ending):
    file = tmp_path / f"ls.{ending}"
    if ending == "json":
        file.write_text(json.dumps([ROW | tags]))
    else:
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*ROW, *tags])
            writer.writeheader()
            flat = {
                name: value if isinstance(value, str) else json.dumps(value) for name, value in tags.items()
            }
            writer.writerow(ROW | flat)
    [counts] = import_files([file], tmp_path / "v", list_formats()).values()
    assert counts.format == "labelstudio"
    assert list(read_votes(tmp_path / "v")) == [VOTE._replace(winner=winner)]


def test_a_row_with_two_verdicts_or_none(tmp_path):
    file = tmp_path / "ls.json"
    file.write_text(json.dumps([ROW | {"pref": "left", "fluency": "right"}]))
    with pytest.raises(GptaltError, match="'pref' says 'left', 'fluency' says 'right'"):
        import_files([file], tmp_path / "v", list_formats())
    import_files([file], tmp_path / "v", list_formats(), columns={"winner": "fluency"})
    assert [vote.winner for vote in read_votes(tmp_path / "v")] == ["b"]
    file.write_text(json.dumps([ROW | {"pref": "left"}, ROW | {"annotation_id": 10, "pref": "hm"}]))
    with pytest.raises(GptaltError, match=r"@empty \(1 vote\)"):
        import_files([file], tmp_path / "v", list_formats())
    with pytest.raises(GptaltError, match=r"hm \(1 vote\)"):
        import_files([file], tmp_path / "v", list_formats(), columns={"winner": "pref"})
