"""A run of a real image-text model, tiny and with random weights: what is in its folder, and in its report."""

import json

import pytest
from page_items import read_index, read_items, read_pictures
from PIL import Image

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.contract.pictures import make_picture, make_thumbnail
from gptalt_eval.contract.record import load_record
from gptalt_eval.testing import make_plugin_set

pytestmark = pytest.mark.torch

COLOURS = ("red", "blue", "green")
TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{train: {root}/train.jsonl, test: {root}/test.jsonl}}}}
output_type: multiple_choice
test_split: test
fewshot_split: train
num_fewshot: 2
fewshot_config: {{sampler: first_n}}
doc_to_text: "{{% for each in pictures %}}<image>{{% endfor %}}Question: which colour has {{{{number}}}}?\\nAnswer:"
doc_to_image: pictures
doc_to_target: gold
doc_to_choice: [red, blue, green]
metric_list: [{{metric: acc}}]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A model, and rows of which every fourth one has no picture."""
    from picture_folders import save_model

    root = tmp_path_factory.mktemp("colours")
    save_model("llava", root / "model")
    for split, count in (("train", 3), ("test", 8)):
        rows = []
        for number in range(1, count + 1):
            file = root / f"{split}-{number}.png"
            Image.new("RGB", (60 + number, 40), COLOURS[number % 3]).save(file)
            pictures = [str(file)] if number % 4 else []
            rows.append({"number": number, "gold": number % 3, "pictures": pictures})
        (root / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "colours.yaml").write_text(TASK.format(root=root))
    return root


def evaluate(root, out, max_images=None, **settings):
    more = {} if max_images is None else {"max_images": max_images}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        return gptalt_eval.evaluate(
            "hf-multimodal", "colours", model_args={"pretrained": str(root / "model"), **more}, include_path=str(root),
            output_path=str(root / out), device="cpu", plugins=make_plugin_set(), **settings,
        )  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["text", "chat"])
def record(request, root):
    return evaluate(root, f"out-{request.param}", log_samples=True, apply_chat_template=request.param)


def list_expected(root):
    shots = [root / f"train-{number}.png" for number in (1, 2)]
    own = [root / f"test-{number}.png" for number in range(1, 9) if number % 4]
    return [make_picture(file) for file in shots], [make_picture(file) for file in own]


def test_the_folder_has_each_picture_small(record, root):
    shots, own = list_expected(root)
    saved = {f"sha256:{file.stem}": file.read_bytes() for file in (record.folder / "pictures").iterdir()}
    assert saved == {str(picture): make_thumbnail(picture) for picture in (*shots, *own)}


def test_each_sample_names_the_pictures_of_its_prompt(record, root):
    shots, own = list_expected(root)
    left = iter(own)
    for line in record.read_samples(0, "colours"):
        expected = [*shots, *([next(left)] if line["doc"]["pictures"] else [])]
        for request in line["arguments"].values():
            assert request["arg_2"] == {"visual": [str(picture) for picture in expected]}
            assert request["arg_0"].count("<image>") == len(expected)
    assert next(left, None) is None


def test_the_report_shows_them(record, root):
    shots, own = list_expected(root)
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    pictures = read_pictures(page)
    assert len(pictures) == len({*shots, *own})
    items = {item["number"]: item for item in read_items(page)["colours"]}
    rows = {line["doc_id"]: line["doc"]["pictures"] for line in record.read_samples(0, "colours")}
    assert items.keys() == rows.keys() and len(items) == 8
    for number, files in rows.items():
        expected = [make_thumbnail(picture) for picture in (*shots, *map(make_picture, files))]
        assert [pictures[place] for place in items[number]["pictures"]] == expected
        assert items[number]["right"] >= 0 and len(items[number]["likelihoods"]) == 3


def test_the_folder_is_enough_for_a_report_elsewhere(record, root, tmp_path, capsys):
    """It names no file of the computer that it is from."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in record.folder.rglob("*"):
        if file.is_file() and file.name != "report.html":
            target = moved / file.relative_to(record.folder)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    assert cli.dispatch(["report", str(moved)], make_plugin_set()) == 0
    page = (moved / "report.html").read_text(encoding="utf-8")
    here = (record.folder / "report.html").read_text(encoding="utf-8")
    assert read_pictures(page) == read_pictures(here) != {}
    assert all(isinstance(each, list) for each in read_index(page)["pictures"])


def test_without_samples_there_are_no_pictures(root):
    record = evaluate(root, "bare", log_samples=False, limit=2)
    assert load_record(record.folder).results
    assert not (record.folder / "pictures").exists()


def test_with_a_limit_whole_examples_are_left_out_and_counted(root):
    record = evaluate(root, "limited", max_images=1, limit=4, log_samples=True)
    [said] = [note for note in record.notes if "lost the beginning" in note]
    assert "tokens, or had more pictures than 1, and lost the beginning of their prompt" in said
    lines = list(record.read_samples(0, "colours"))
    assert len(lines) == 4
    for line in lines:
        assert len(line["arguments"]["gen_args_0"]["arg_2"]["visual"]) == 1


def test_a_model_that_was_made_for_one_picture_is_said_to_have_seen_several(root, monkeypatch):
    monkeypatch.setattr("gptalt_eval.running.recognised.count_pictures", lambda model, spec: "one")
    record = evaluate(root, "one", limit=4)
    assert not any("lost the beginning" in note for note in record.notes)
    said = "colours: 4 prompts have several pictures, and 'hf-multimodal' was made for one."
    assert [note for note in record.notes if "several pictures" in note] == [said]


@pytest.mark.parametrize("settings", [{"max_images": 1, "num_fewshot": 0}, {"max_images": 9}])
def test_nothing_is_said_of_what_a_model_was_made_for(root, settings):
    record = evaluate(root, f"quiet-{settings['max_images']}", limit=4, **settings)
    assert not any("several pictures" in note for note in record.notes)


def test_another_picture_under_the_same_words_is_another_prompt(root, record):
    before = [line["prompt_hash"] for line in record.read_samples(0, "colours")]
    file = root / "train-1.png"
    kept = file.read_bytes()
    try:
        Image.new("RGB", (61, 40), "white").save(file)
        other = evaluate(
            root, "other", log_samples=True, apply_chat_template=bool(record.results[0]["chat_template"])
        )
    finally:
        file.write_bytes(kept)
    after = [line["prompt_hash"] for line in other.read_samples(0, "colours")]
    assert len(after) == len(before) and not set(after) & set(before)
