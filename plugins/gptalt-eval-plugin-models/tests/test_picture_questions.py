"""The composed models answer questions with pictures, in the examples too, through the whole program."""

import json

import gptalt_eval_plugin_scienceqa
import pytest
from gptalt_eval_plugin_models.families import FAMILIES
from PIL import Image

import gptalt_eval
from gptalt_eval import Card, Model
from gptalt_eval.testing import make_plugin_set

pytestmark = pytest.mark.torch
LOADERS = {family.name: family for family in FAMILIES}
FIELDS = {
    "hint": "", "task": "closed choice", "grade": "grade2", "subject": "natural science", "topic": "", "category": "",
    "skill": "", "lecture": "", "solution": "",
}  # fmt: skip


@pytest.fixture
def data_dir(tmp_path):
    """ScienceQA's layout, with two examples and four questions of ours; three of the six have a picture."""
    root = tmp_path / "data" / "scienceqa"
    root.mkdir(parents=True)
    problems, splits, captions = {}, {"train": ["1", "2"], "val": ["7"], "test": ["3", "4", "5", "6"]}, {}
    for split, names in splits.items():
        for name in names:
            shows = name in ("1", "2", "3", "4", "6")
            problems[name] = {
                "question": f"What is in {name}?", "choices": ["a dog", "a cat"], "answer": int(name) % 2,
                "image": "image.png" if shows else None, "split": split, **FIELDS,
            }  # fmt: skip
            if shows:
                captions[name] = f"an animal of {name}"
                file = root / "images" / split / name / "image.png"
                file.parent.mkdir(parents=True)
                Image.new("RGB", (40, 30), (40 * int(name), 255 - 30 * int(name), 60)).save(file)
    (root / "problems.json").write_text(json.dumps(problems))
    (root / "pid_splits.json").write_text(json.dumps(splits))
    (root / "captions.json").write_text(json.dumps({"captions": captions}))
    return root.parent


def ask(name, count, folder, data_dir, output, **settings):
    card = Card("no", 0, modality="image-text", pictures=count)
    model = Model("tiny", "Tiny.", "none", "nowhere", loader=LOADERS[name].make_loader(), card=card)
    record = gptalt_eval.evaluate(
        "tiny", "scienceqa", plugins=make_plugin_set(gptalt_eval_plugin_scienceqa, models=[model]),
        model_args={"pretrained": str(folder[0]), **folder[1]}, data_dir=str(data_dir), device="cpu",
        gen_kwargs={"max_gen_toks": 4}, output_path=str(output), log_samples=True, allow_partial_data=True, **settings,
    )  # fmt: skip
    assert not record.failed
    return {
        task: sorted(record.read_samples(0, task), key=lambda sample: sample["doc_id"])
        for task in ("scienceqa_ll", "scienceqa_gen")
    }


def read_values(samples):
    return [float(each[0][0]) for sample in samples["scienceqa_ll"] for each in sample["resps"]]


@pytest.mark.parametrize(
    ("name", "count"),
    [("minigpt4", "one"), ("minigpt4", "several"), ("mplug-owl", "several"), ("otter", "several")],
)
def test_the_tree_answers_as_the_model_alone(name, count, write_text_folder, data_dir, tmp_path):
    folder = write_text_folder(name)
    tree = ask(name, count, folder, data_dir, tmp_path / "tree")
    alone = ask(name, count, folder, data_dir, tmp_path / "stock", scorer="stock")
    assert read_values(tree) == pytest.approx(read_values(alone), abs=1e-4)
    texts = [[sample["resps"] for sample in each["scienceqa_gen"]] for each in (tree, alone)]
    assert texts[0] == texts[1]
    shown = [sample["arguments"]["gen_args_0"]["arg_2"]["visual"] for sample in tree["scienceqa_ll"]]
    prompts = [sample["arguments"]["gen_args_0"]["arg_0"] for sample in tree["scienceqa_ll"]]
    own = [1, 1, 0, 1]  # pictures of each question
    assert [len(each) for each in shown] == [one + (2 if count == "several" else 0) for one in own]
    assert [prompt.count("<image>") for prompt in prompts] == [len(each) for each in shown]
    assert all(("an animal of 1" in prompt) is (count == "one") for prompt in prompts)


@pytest.mark.parametrize("name", ["minigpt4", "mplug-owl", "otter"])
def test_another_picture_is_another_answer(name, write_text_folder, data_dir, tmp_path):
    folder = write_text_folder(name)
    before = read_values(ask(name, "several", folder, data_dir, tmp_path / "before"))
    Image.new("RGB", (40, 30), (255, 255, 255)).save(
        data_dir / "scienceqa" / "images" / "test" / "4" / "image.png"
    )
    after = read_values(ask(name, "several", folder, data_dir, tmp_path / "after"))
    moved = [abs(one - other) > 1e-3 for one, other in zip(before, after, strict=True)]
    assert moved == [False, False, True, True, False, False, False, False]
