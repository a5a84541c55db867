"""The files of the release as rows: which, how many, in which order, and what is wrong with them."""

import json
from collections import Counter

import gptalt_eval_plugin_scienceqa as scienceqa
import pytest
from gptalt_eval_plugin_scienceqa.releases import TEST, TEXTS, WITH_PICTURE, read_release

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.testing import make_plugin_set, make_scripted_model

COLUMNS = {"id", "image", "question", "choices", "answer", "caption", *TEXTS}


def read(folder, split="test"):
    return list(read_release(folder / "scienceqa" / "problems.json", split))


def plan(folder, **settings):
    plugins = make_plugin_set(scienceqa, models=[make_scripted_model()])
    return resolve(
        make_spec({"model": "scripted", "tasks": "scienceqa_ll", "data_dir": str(folder), **settings}),
        plugins,
    )


def test_the_shared_part_of_the_release(shared_data):
    rows = {split: read(shared_data, split) for split in ("train", "val", "test")}
    assert {split: len(each) for split, each in rows.items()} == {"train": 50, "val": 50, "test": 800}
    assert Counter(row["image"] is not None for row in rows["test"]) == {True: 400, False: 400}
    raw = json.loads((shared_data / "scienceqa/problems.json").read_text())
    listed = json.loads((shared_data / "scienceqa/pid_splits.json").read_text())
    captions = json.loads((shared_data / "scienceqa/captions.json").read_text())["captions"]
    for split, each in rows.items():
        assert [row["id"] for row in each] == listed[split]
        for row in each:
            problem = raw[row["id"]]
            assert row.keys() == COLUMNS
            assert all(row[name] == problem.get(name, "") for name in COLUMNS - {"id", "image", "caption"})
            assert row["caption"] == captions.get(row["id"], "")
            assert row["image"] == (f"images/{split}/{row['id']}/image.png" if problem["image"] else None)


def test_the_pictures_of_the_shared_part_are_there(shared_data):
    folder = shared_data / "scienceqa"
    assert all((folder / row["image"]).is_file() for row in read(shared_data) if row["image"])


def test_a_part_of_the_release_is_said_to_be_one(shared_data):
    [task] = plan(shared_data).cells[0].tasks
    assert (task.data.splits["test"].rows, task.data.splits["test"].official) == (800, 4241)
    assert "only some of the rows, 800 of 4,241 rows" in task.partial


@pytest.fixture
def whole(make_release):
    """A release of the official shape."""

    def show(problems, splits):
        for place, name in enumerate(splits["test"]):
            problems[name]["image"] = "image.png" if place < WITH_PICTURE else None

    return make_release({"train": 12726, "val": 4241, "test": TEST}, show, pictures=False)


def test_a_whole_release_is_complete(whole):
    [task] = plan(whole, num_fewshot=2).cells[0].tasks
    assert {name: split.rows for name, split in task.data.splits.items()} == {"test": 4241, "train": 12726}
    assert {split.verdict.state for split in task.data.splits.values()} == {"complete"}
    assert not task.partial
    assert len(read(whole, "val")) == 4241
    assert sum(row["image"] is not None for row in read(whole)) == 2017


@pytest.mark.parametrize("more", [-1, 1])
def test_a_whole_test_set_with_another_number_of_pictures_is_refused(whole, more):
    file = whole / "scienceqa/problems.json"
    problems = json.loads(file.read_text())
    test = [problem for problem in problems.values() if problem["split"] == "test"]
    test[WITH_PICTURE if more > 0 else 0]["image"] = "image.png" if more > 0 else None
    file.write_text(json.dumps(problems))
    with pytest.raises(GptaltError, match=rf"{2017 + more:,} of the 4,241 test questions .* 2,017 expected"):
        plan(whole)


def test_more_rows_than_the_official_ones_are_refused(whole):
    file = whole / "scienceqa/pid_splits.json"
    splits = json.loads(file.read_text())
    splits["test"].append(splits["train"][0])
    file.write_text(json.dumps(splits))
    with pytest.raises(GptaltError, match="4,242 rows, 4,241 expected"):
        plan(whole)


def test_without_the_list_each_question_says_its_split(make_release):
    folder = make_release()
    before = {split: read(folder, split) for split in ("train", "val", "test")}
    (folder / "scienceqa/pid_splits.json").unlink()
    assert {split: read(folder, split) for split in before} == before
    assert list(map(len, before.values())) == [8, 2, 12]


def test_without_captions_there_are_none(make_release):
    folder = make_release()
    assert any(row["caption"] for row in read(folder))
    (folder / "scienceqa/captions.json").unlink()
    assert {row["caption"] for row in read(folder)} == {""}


def remove(problems, splits):
    del problems[splits["test"][3]]


def empty(problems, splits):
    problems[splits["test"][3]] = []


def repeat(problems, splits):
    splits["test"].append(splits["test"][0])


def unlist(problems, splits):
    splits["test"] = {}


def climb(problems, splits):
    problems["12"]["image"] = "../../secret.png"


def climb_by_name(problems, splits):
    problems["../12"] = problems.pop("12") | {"image": "image.png"}
    splits["test"][splits["test"].index("12")] = "../12"


def climb_on_windows(problems, splits):
    problems["12"]["image"] = "..\\secret.png"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove, "question 14 of the test set is missing"),
        (empty, "question 14 of the test set is not a JSON object"),
        (repeat, "question 11 is twice in 'test'"),
        (unlist, "'test' is not a list"),
        (climb, r"The picture of question '12' is outside its folder: '\.\./\.\./secret\.png'"),
        (climb_by_name, r"The picture of question '\.\./12' is outside its folder"),
        (climb_on_windows, "The picture of question '12' is outside its folder"),
    ],
)
def test_a_damaged_release_is_refused(make_release, change, said):
    with pytest.raises(GptaltError, match=said) as caught:
        plan(make_release(change=change))
    assert "Download the release again" in str(caught.value)


@pytest.mark.parametrize("name", ["problems.json", "pid_splits.json", "captions.json"])
@pytest.mark.parametrize("content", ["{", "[]", '"text"', ""])
def test_a_damaged_file_is_named(make_release, name, content):
    folder = make_release()
    (folder / "scienceqa" / name).write_text(content)
    with pytest.raises(GptaltError, match=name.replace(".", r"\.")):
        plan(folder)


def test_captions_that_are_a_list_are_refused(make_release):
    folder = make_release()
    (folder / "scienceqa/captions.json").write_text('{"captions": []}')
    with pytest.raises(GptaltError, match="'captions' is not a JSON object"):
        plan(folder)


def test_values_of_other_types_become_faults_not_errors(make_release):
    def change(problems, splits):
        problems["11"] |= {"choices": None, "answer": "A", "hint": None, "lecture": 3}
        problems["12"] |= {"choices": [1, 2], "answer": True}

    rows = {row["id"]: row for row in read(make_release(change=change))}
    assert (rows["11"]["choices"], rows["11"]["answer"], rows["11"]["hint"], rows["11"]["lecture"]) == (
        [], -1, "", "3"
    )  # fmt: skip
    assert (rows["12"]["choices"], rows["12"]["answer"]) == (["1", "2"], -1)


def test_the_licence_is_said():
    [dataset] = scienceqa.register_datasets()
    assert (dataset.licence, dataset.hub) == ("CC BY-NC-SA 4.0", "derek-thomas/ScienceQA")
    assert [split.rows for split in dataset.splits] == [12726, 4241, 4241]
