"""Each request has the pictures of its examples and of its row, in the order of their places."""

import copy
import io
import json
import pickle
import shutil

import datasets
import pytest
from lm_eval.tasks import TaskManager
from PIL import Image

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.pictures import Picture, make_picture
from gptalt_eval.running.lmeval import seams
from gptalt_eval.running.lmeval.evaluation import hash_pictures, name_row
from gptalt_eval.running.lmeval.observed import name_request
from gptalt_eval.running.lmeval.pictures import Shown, name_pictures, open_pictures, show_pictures

TASK = """
task: {name}
dataset_path: drawn
output_type: {kind}
test_split: test
fewshot_split: train
num_fewshot: {shots}
fewshot_config: {{sampler: {sampler}}}
doc_to_text: "{text}"
doc_to_image: pictures
doc_to_target: "{target}"
{more}
"""
CHOICE = "doc_to_choice: [red, blue]\nmetric_list: [{metric: acc}]"
MUTUAL = "doc_to_choice: [red, blue]\nmetric_list: [{metric: acc}, {metric: acc_mutual_info}]"
TEXT = "{% if pictures %}<image>{% endif %} {{question}}"
COUNTS = {"train": (1, 0, 2, 1), "test": (1, 0, 2)}  # pictures of each row


@pytest.fixture
def drawn(tmp_path):
    """Rows whose pictures are files, each of its own colour."""
    rows = {}
    for split, counts in COUNTS.items():
        made = []
        for number, count in enumerate(counts):
            files = [tmp_path / f"{split}-{number}-{place}.png" for place in range(count)]
            for place, file in enumerate(files):
                Image.new("RGB", (8, 8), (20 * number, 90 * place, len(split) * 20)).save(file)
            made.append(
                {"question": f"{split} {number}?", "gold": number % 2, "pictures": [str(f) for f in files]}
            )
        rows[split] = datasets.Dataset.from_list(made)
    return datasets.DatasetDict(rows)


@pytest.fixture
def make_task(tmp_path, drawn):
    def make(
        name="drawn", kind="multiple_choice", shots=2, more=CHOICE, sampler="default", target="gold",
        text="{% for each in pictures %}<image>{% endfor %} {{question}}",
    ):  # fmt: skip
        yaml = TASK.format(
            name=name, kind=kind, shots=shots, more=more, sampler=sampler, text=text, target=target
        )
        (tmp_path / f"{name}.yaml").write_text(yaml)
        manager = TaskManager(include_defaults=False, include_path=[str(tmp_path)])
        with seams.replace_load_dataset(lambda original, path, **settings: drawn):
            tasks, _ = seams.load_named(manager, [name])
        [task] = tasks.values()
        task.set_fewshot_seed(seed=7)
        show_pictures(task)
        return task

    return make


def expect_pictures(drawn, prompt):
    """The pictures of a prompt, found by its questions."""
    found = []
    for rows in drawn.values():
        for row in rows:
            place = prompt.find(row["question"])
            if place >= 0:
                found.append((place, [make_picture(path) for path in row["pictures"]]))
    return [picture for _, pictures in sorted(found) for picture in pictures]


@pytest.mark.parametrize("sampler", ["default", "first_n"])
@pytest.mark.parametrize("shots", [0, 1, 2, 4])
def test_a_prompt_shows_the_pictures_of_its_examples_first(make_task, drawn, shots, sampler):
    requests = seams.build_requests(make_task(shots=shots, sampler=sampler))
    assert len(requests) == 2 * len(COUNTS["test"])
    for request in requests:
        context, _, shown = request.args
        assert shown["visual"] == expect_pictures(drawn, context)
        assert context.count("<image>") == len(shown["visual"])
    assert {len(request.args[2]["visual"]) for request in requests} != {0}


def test_a_text_to_generate_has_them_too(make_task, drawn):
    task = make_task(kind="generate_until", target="n {{gold}}", more='generation_kwargs: {until: ["\\n"]}')
    for request in seams.build_requests(task):
        assert request.args[2]["visual"] == expect_pictures(drawn, request.args[0])
        assert request.args[1]["until"] == ["\n"]


def test_an_answer_without_its_question_has_no_picture(make_task):
    alone = [r for r in seams.build_requests(make_task(more=MUTUAL)) if not r.args[0]]
    assert alone and all(request.args[2]["visual"] == [] for request in alone)


@pytest.mark.parametrize(
    ("text", "places", "pictures"),
    [("<image> {{question}}", 1, 0), ("{{question}}", 0, 1), ("<image><image><image> {{question}}", 3, 1)],
)
def test_a_place_without_its_picture_is_refused(make_task, text, places, pictures):
    with pytest.raises(GptaltError) as caught:
        seams.build_requests(make_task(text=text, shots=0))
    assert (
        f"has {places} places for pictures (<image>), and its rows have" in str(caught.value) or places == 1
    )
    assert "Write <image> in doc_to_text" in str(caught.value)


def test_whole_examples_go_if_a_prompt_is_too_long(make_task, drawn):
    """The first go, as where text is cut; the pictures that are left are those of the examples that are."""
    task = make_task(shots=3)
    whole = {(request.args[1], request.doc_id): request.args for request in seams.build_requests(task)}
    task = make_task(shots=3)
    noted = []
    task.gallery.fits = lambda arguments: arguments[0].count("?") <= 2
    task.gallery.dropped = lambda kept, before: noted.append((kept, before))
    for request in seams.build_requests(task):
        context, continuation, shown = request.args
        before = whole[(continuation, request.doc_id)]
        assert context.count("?") == 2 and before[0].count("?") == 4
        assert before[0].endswith(context)
        assert shown["visual"] == expect_pictures(drawn, context)
        assert (request.args, before) in noted


def test_a_prompt_that_is_too_long_by_itself_is_left_whole(make_task):
    task = make_task(shots=2)
    task.gallery.fits = lambda arguments: False
    assert all(request.args[0].count("?") == 1 for request in seams.build_requests(task))


def test_a_missing_file_is_named(make_task, drawn, tmp_path):
    (tmp_path / "test-2-1.png").unlink()
    with pytest.raises(GptaltError, match=r"test-2-1\.png"):
        seams.build_requests(make_task(shots=0))


def test_equal_files_make_equal_requests(drawn, tmp_path):
    path = drawn["test"][0]["pictures"][0]
    copied = tmp_path / "copied.png"
    shutil.copyfile(path, copied)
    one, other = Shown([make_picture(path)]), Shown([make_picture(copied)])
    different = Shown([make_picture(drawn["test"][2]["pictures"][0])])
    assert one == other and hash(one) == hash(other) and one != different
    assert len({("a", "b", one), ("a", "b", other), ("a", "b", different)}) == 2
    assert json.loads(json.dumps(one)) == {"visual": [str(make_picture(path))]}
    for same in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert same == one and type(same) is Shown and isinstance(same["visual"][0], Picture)


def test_stored_answers_know_the_pictures(drawn):
    paths = [row["pictures"][0] for row in drawn["test"] if row["pictures"]]
    keys = {
        seams.hash_request("loglikelihood", ("<image>?", " red", Shown([make_picture(path)])))
        for path in paths
    }
    assert len(keys) == len(paths)


def test_the_hash_of_a_prompt_knows_them_too(drawn):
    samples = [
        {"prompt_hash": "p", "arguments": [("<image>?", " red", Shown([make_picture(row["pictures"][0])]))]}
        for row in drawn["test"] if row["pictures"]
    ]  # fmt: skip
    assert len({hash_pictures(sample)["prompt_hash"] for sample in samples}) == len(samples)
    plain = {"prompt_hash": "p", "arguments": [("?", " red")]}
    assert hash_pictures(plain) is plain


def read_png(colour):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


RED = read_png("red")
AS_OBJECT, AS_BYTES = str(make_picture(Image.new("RGB", (8, 8), "red"))), str(make_picture(RED))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Image.new("RGB", (8, 8), "red"), AS_OBJECT), (RED, AS_BYTES), ({"bytes": RED, "path": "x.png"}, AS_BYTES),
        ([{"bytes": RED, "path": None}, "a"], [AS_BYTES, "a"]), ({"inner": [RED]}, {"inner": [AS_BYTES]}),
    ],
)  # fmt: skip
def test_a_saved_row_has_its_pictures_by_name(value, expected):
    row = {"id": "7", "image": value, "choices": ["a", "b"], "none": None}
    sample = name_row({"doc": row, "doc_hash": "of an address in memory", "doc_id": 0})
    assert sample["doc"] == row | {"image": expected} and sample["doc_id"] == 0
    json.dumps(sample["doc"])  # as it is
    again = name_row({"doc": copy.deepcopy(row), "doc_hash": "of another one"})
    other = name_row({"doc": row | {"id": "8"}, "doc_hash": ""})
    assert sample["doc_hash"] == again["doc_hash"] != other["doc_hash"]


@pytest.mark.parametrize(
    "row", [{"id": "7", "image": None}, {"image": "images/7.png"}, {}, {"a": [1, {"b": [2.5]}]}, {"x": {"bytes": 3}},
            {"image": {"bytes": None, "path": None}}],
)  # fmt: skip
def test_a_row_without_pictures_stays_as_it_is(row):
    sample = {"doc": row, "doc_hash": "x"}
    assert name_row(sample) is sample and name_pictures(row) is row


def test_lm_evals_own_classes_get_opened_pictures(drawn):
    path = drawn["test"][0]["pictures"][0]
    arguments = ("<image>?", {"until": []}, Shown([make_picture(path)]))
    *same, opened = open_pictures(arguments)
    assert same == list(arguments[:2]) and opened["visual"][0].size == (8, 8)
    assert open_pictures(("a", "b")) == ("a", "b")
    assert name_request("generate_until", arguments) == ("<image>?", arguments[2])
    assert name_request("generate_until", ("a", {})) == "a"
    assert name_request("loglikelihood", ("a", "b", arguments[2])) == ("a", "b", arguments[2])
