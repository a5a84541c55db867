"""Models that see pictures are scored with the core's tree, and asked alone where it cannot share them."""

import contextlib

import numpy as np
import pytest
import torch
from PIL import Image

from gptalt_eval.scoring.batch import Batch, Row
from gptalt_eval.scoring.engine import unwrap
from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.processors import PLACE, PictureReader
from gptalt_eval.scoring.row_views import make_row_view
from gptalt_eval.scoring.tree import Query

pytestmark = pytest.mark.torch
FP32 = 1e-4
TEXTS = [
    f"Question: {PLACE} what is it? Answer: a dog. Question: {PLACE} what is it? Answer:",
    f"Question: {PLACE} what is it? Answer: a dog. Question: {PLACE} who is it? Answer:",
    f"{PLACE}{PLACE}what?",
    "Question: who? Answer:",
]
SHOWN = [(0, 1), (0, 2), (1, 1), ()]


@pytest.fixture(params=["minigpt4", "mplug-owl", "otter"])
def lm(request, write_text_folder, load_lm):
    folder, args = write_text_folder(request.param)
    made = load_lm(request.param, folder, **args)
    made.name = request.param
    return made


def make_image(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def make_items(reader, text, shown):
    images = iter([reader.read(make_image(number)) for number in shown])
    return [next(images) if each is None else each for each in reader.encode(text)]


def make_alone(lm):
    reader, pictures = PictureReader(lm), Pictures(lm.model)
    return reader, AlonePictures(lm.model, contextlib.nullcontext, torch.float32, pictures, reader)


def test_a_prompt_is_that_of_the_model(lm):
    reader = PictureReader(lm)
    for text, shown in zip(TEXTS, SHOWN, strict=True):
        found = reader.forward_inputs(make_items(reader, text, shown))
        assert found["input_ids"][0].tolist() == lm.encode_pictures(text.split(PLACE))
        images = [make_image(number) for number in shown]
        if images:
            expected = lm.make_processor()(images, return_tensors="pt")["pixel_values"]
            assert torch.equal(found["pixel_values"], expected)


@torch.no_grad()
def test_answers_are_those_of_the_full_forward(lm):
    reader, alone = make_alone(lm)
    choice = choose_engine(alone)
    queries, expected = [], []
    for text, shown in zip(TEXTS, SHOWN, strict=True):
        items = make_items(reader, text, shown)
        for targets in ([11], [12, 13]):
            inputs = reader.forward_inputs([*items, *targets[:-1]])
            logits = lm.model(**inputs, use_cache=False).logits[0, -len(targets) :].double().log_softmax(-1)
            expected.append(float(logits[range(len(targets)), targets].sum()))
            queries.append(Query(np.array(alone.pictures.expand([*items, *targets[:-1]])), targets))
    found = [alone.answer(query) for query in queries]
    assert np.abs(np.subtract(found, expected)).max() < FP32
    assert choice.reason == "" and choice.engine.way == "pieces"
    encoded = alone.pictures.encoded
    answers = {answer.query: answer.logprob for batch in choice.engine.score(queries) for answer in batch}
    assert np.abs(np.subtract([answers[number] for number in range(len(queries))], expected)).max() < FP32
    assert alone.pictures.encoded - encoded == 3


def test_generated_texts_are_those_of_the_model(lm):
    reader, alone = make_alone(lm)
    prompts, expected = [], []
    for text, shown in zip(TEXTS, SHOWN, strict=True):
        items = make_items(reader, text, shown)
        settings = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        found = alone.generate(np.array(alone.pictures.expand(items)), **settings)
        said = []
        with torch.no_grad():
            for _ in range(6):
                inputs = reader.forward_inputs([*items, *said])
                logits = lm.model(**inputs, use_cache=False).logits[0, -1]
                if lm.name == "otter":
                    logits[lm.places] = -torch.inf
                said.append(int(logits.argmax()))
        assert found == said
        prompts.append(alone.pictures.expand(items))
        expected.append(said)
    rows = sorted((Row([number], prompt) for number, prompt in enumerate(prompts)), key=len, reverse=True)
    batch, texts = Batch(unwrap(alone.model), rows, 6, alone.tolerance, make_row_view(alone)), {}
    while batch.active or batch.waiting:
        batch.step()
        done = [place for place, row in enumerate(batch.active) if len(row.generated) == 6]
        texts |= {row.indices[0]: row.generated for row in batch.dismiss(done)}
    assert [texts[number] for number in range(len(prompts))] == expected
