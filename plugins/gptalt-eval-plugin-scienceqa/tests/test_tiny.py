"""The small model of the demo sees pictures: those of questions, and those of examples.

It is trained by train_tiny.py, once, into the user's cache. What it answers is read with plain transformers
first, and then by whole runs.
"""

import importlib.util
import json
import shutil
from pathlib import Path
from random import Random

import gptalt_eval_plugin_scienceqa as scienceqa
import pytest
from gptalt_eval_plugin_scienceqa.drawing import draw_at_random
from gptalt_eval_plugin_scienceqa.formats import DEFAULT, PLACE, write_answer, write_question
from gptalt_eval_plugin_scienceqa.releases import LETTERS
from PIL import Image

import gptalt_eval
from gptalt_eval.testing import make_plugin_set

PLUGIN = Path(__file__).parents[1]
SAMPLE = Path(scienceqa.__file__).parent / "sample"
pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("tiny")]


def read_rows(split):
    return [json.loads(line) for line in (SAMPLE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


TRAIN = read_rows("train")
PICTURED = [row for row in read_rows("test") if row["image"]]
OWN = [row for row in PICTURED if "earlier" not in row["skill"]]
BACK = [row for row in PICTURED if "earlier" in row["skill"]]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_tiny", PLUGIN / "train_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(script):
    return script.fetch()


def open_picture(row):
    return Image.open(SAMPLE / row["image"])


def write_prompt(examples, row):
    """As the task writes it, from the question's row on."""
    shown = [f"{PLACE}\n{write_question(each, DEFAULT, 'N/A')}" for each in (*examples, row)]
    answered = [f"{text} {write_answer(each, DEFAULT)}" for text, each in zip(shown, examples, strict=False)]
    return "\n\n".join([*answered, shown[-1]])


class Answerer:
    """Chooses the likeliest letter, by the model's whole forward in plain transformers."""

    def __init__(self, folder):
        import torch
        import transformers

        self.torch = torch
        self.model = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()
        self.processor = transformers.LlavaProcessor.from_pretrained(folder)

    def answer(self, row, picture, examples=TRAIN[:2], pictures=None):
        pictures = [open_picture(each) for each in examples] if pictures is None else pictures
        text = f"{write_prompt(examples, row)} The answer is"
        with self.torch.no_grad():
            inputs = self.processor(text=text, images=[*pictures, picture], return_tensors="pt")
            logits = self.model(**inputs).logits[0, -1]
        letters = self.processor.tokenizer.convert_tokens_to_ids(list(LETTERS[: len(row["choices"])]))
        return int(logits[letters].argmax())

    def generate(self, row):
        pictures = [open_picture(each) for each in (*TRAIN[:2], row)]
        inputs = self.processor(text=write_prompt(TRAIN[:2], row), images=pictures, return_tensors="pt")
        made = self.model.generate(**inputs, max_new_tokens=8, do_sample=False)
        return self.processor.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module")
def answerer(folder):
    return Answerer(folder)


def share(found):
    found = list(found)
    return sum(found) / len(found)


# ---------------------------------------------------------------------- how it is made


def test_lessons_are_read_as_the_processor_reads_them(script):
    processor, random = script.make_processor(), Random(4)
    encoder = script.Encoder(processor)
    for _ in range(40):
        lesson = script.draw_lesson(random)
        texts = [
            f"{PLACE + chr(10) if seen else ''}{write_question(row, DEFAULT, 'N/A')} {write_answer(row, DEFAULT)}"
            for row, seen in lesson
        ]
        pictures = [seen.draw() for _, seen in lesson if seen]
        expected = processor(text="\n\n".join(texts) + "\n\n", images=pictures, return_tensors="pt")
        batch = encoder.make_batch([lesson])
        assert batch["input_ids"].tolist() == expected["input_ids"].tolist()
        assert batch["pixel_values"].sub(expected["pixel_values"]).abs().max() < 1e-6


def test_the_loss_counts_the_letters_of_answers_to_pictures_and_no_picture(script):
    processor, random = script.make_processor(), Random(4)
    encoder = script.Encoder(processor)
    for _ in range(40):
        lesson = script.draw_lesson(random)
        batch = encoder.make_batch([lesson])
        ids, weights = batch["input_ids"][0], batch["weights"][0]
        counted = processor.tokenizer.convert_ids_to_tokens(ids[weights == 1].tolist())
        assert counted == [LETTERS[row["answer"]] for row, seen in lesson if seen]
        assert set(weights[ids == processor.image_token_id].tolist()) == {0}


def test_it_knows_all_words_of_the_drawings_questions(script):
    tokenizer = script.make_tokenizer()
    for row in (*TRAIN, *PICTURED):
        if row["image"]:
            ids = tokenizer.encode(f"{write_question(row, DEFAULT, 'N/A')} {write_answer(row, DEFAULT)}")
            assert tokenizer.unk_token_id not in ids


def test_another_recipe_is_another_model(script, monkeypatch, tmp_path):
    before = script.name_recipe()
    changed = tmp_path / "train_tiny.py"
    changed.write_text(Path(script.__file__).read_text() + "\n")
    monkeypatch.setattr(script, "__file__", str(changed))
    assert script.name_recipe() != before


def test_a_model_that_was_half_trained_is_not_used(script, cache, monkeypatch):
    def fail(folder):
        folder.mkdir()
        yield 1, 1.0
        raise KeyboardInterrupt

    def succeed(folder):
        assert not folder.exists()
        folder.mkdir()
        yield 1, 1.0

    monkeypatch.setattr(script, "train", fail)
    with pytest.raises(KeyboardInterrupt):
        script.fetch()
    monkeypatch.setattr(script, "train", succeed)
    assert script.fetch() == cache / "trained" / f"drawings-{script.name_recipe()}"
    monkeypatch.setattr(script, "train", fail)
    assert script.fetch().is_dir(), "not trained again"


# ---------------------------------------------------------------------- what it sees, in plain transformers


def test_it_answers_questions_about_their_pictures(answerer):
    assert share(answerer.answer(row, open_picture(row)) == row["answer"] for row in OWN) > 0.9


def test_with_shuffled_pictures_it_guesses(answerer):
    """Each question with the picture of each other one: a quarter of those show the right option."""
    found = [
        answerer.answer(row, open_picture(other)) == row["answer"]
        for row in OWN[::2]
        for other in OWN
        if other is not row
    ]
    assert 0.12 < share(found) < 0.35


def test_it_looks_at_the_pictures_of_examples(answerer):
    exchanged = [open_picture(each) for each in (TRAIN[1], TRAIN[0])]
    right = share(answerer.answer(row, open_picture(row)) == row["answer"] for row in BACK)
    wrong = share(
        answerer.answer(row, open_picture(row), pictures=exchanged) == row["answer"] for row in BACK
    )
    assert right > 0.9 and wrong < 0.2


def test_it_has_not_learnt_the_sample_by_heart(answerer, script):
    random, found = Random(2026), []
    for _ in range(60):
        *examples, (row, seen) = script.draw_lesson(random)
        if len(examples) == 2 and all(each for _, each in examples):
            pictures = [each.draw() for _, each in examples]
            asked = [each for each, _ in examples]
            found.append(answerer.answer(row, seen.draw(), asked, pictures) == row["answer"])
    assert len(found) > 30 and share(found) > 0.9
    assert len({draw_at_random(random) for _ in range(99)}) == 99


def test_it_writes_answers(answerer):
    for row in PICTURED[::7]:
        assert answerer.generate(row).strip().startswith(f"The answer is {LETTERS[row['answer']]}.")


# ---------------------------------------------------------------------- and in runs


def evaluate(folder, output, shots="1,2", data_dir="sample"):
    return gptalt_eval.evaluate(
        "hf-multimodal", "scienceqa", model_args={"pretrained": str(folder)}, data_dir=str(data_dir), device="cpu",
        plugins=make_plugin_set(scienceqa), output_path=str(output), log_samples=True, metadata={"shot_qids": shots},
    )  # fmt: skip


def read_scores(record, task):
    """Whether each question is answered, by its number."""
    return {sample["doc"]["id"]: sample["acc"] for sample in record.read_samples(0, task)}


def select(scores, rows):
    return share(scores[row["id"]] for row in rows)


@pytest.mark.parametrize("task", ["scienceqa_ll", "scienceqa_gen"])
def test_a_run_shows_the_pictures_of_questions_and_examples(tmp_path, folder, task):
    right = read_scores(evaluate(folder, tmp_path / "right"), task)
    exchanged = read_scores(evaluate(folder, tmp_path / "exchanged", shots="2,1"), task)
    assert len(right) == len(exchanged) == 60
    assert select(right, OWN) > 0.9 and select(exchanged, OWN) > 0.9
    assert select(right, BACK) > 0.9 and select(exchanged, BACK) < 0.2


def write_release(root, shift):
    """The sample as a release, in which each question about its own picture has that of another one."""
    folder = root / "scienceqa"
    pictures = dict(zip([row["id"] for row in OWN], OWN[shift:] + OWN[:shift], strict=True))
    problems, splits = {}, {}
    for split, rows in (("train", TRAIN), ("val", read_rows("validation")), ("test", read_rows("test"))):
        splits[split] = [row["id"] for row in rows]
        for row in rows:
            problems[row["id"]] = {**row, "image": "image.png" if row["image"] else None, "split": split}
            if row["image"]:
                file = folder / "images" / split / row["id"] / "image.png"
                file.parent.mkdir(parents=True)
                shutil.copy(SAMPLE / pictures.get(row["id"], row)["image"], file)
    (folder / "problems.json").write_text(json.dumps(problems), encoding="utf-8")
    (folder / "pid_splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return root


def test_a_run_with_shuffled_pictures_is_at_chance(tmp_path, folder):
    found = []
    for shift in (0, 5, 11):
        data = write_release(tmp_path / f"data-{shift}", shift)
        found.append(read_scores(evaluate(folder, tmp_path / f"out-{shift}", data_dir=data), "scienceqa_ll"))
    assert select(found[0], OWN) > 0.9
    assert share([select(scores, OWN) for scores in found[1:]]) < 0.45
    assert all(select(scores, BACK) > 0.9 for scores in found)
