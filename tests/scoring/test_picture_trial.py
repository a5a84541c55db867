"""Whether a model can be scored with pictures is tried out against its own full forward."""

import numpy as np
import pytest
import torch
from picture_models import CASES, answer, make_alone, make_gemma, make_mllama, make_requests

from gptalt_eval.scoring.exact import make_exact
from gptalt_eval.scoring.pictures import Pictures
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.tree import Query

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_models_that_read_features_among_tokens_are_scored_with_the_tree(name, dtype):
    case = CASES[name]()
    case.model.to(dtype)
    choice = choose_engine(make_alone(case))
    assert choice.reason == ""
    assert choice.engine.way == "pieces" and choice.engine.wide is (dtype == torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_pictures_that_are_seen_both_ways_are_found_out(dtype):
    case = make_gemma()
    case.model.to(dtype)
    choice = choose_engine(make_alone(case))
    assert choice.engine.way == "mask" and choice.engine.both_ways
    assert "pieces" in choice.reason and "answers differ" in choice.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fault", ["counted", "not deep", "exchanged", "refused"])
def test_models_that_the_tree_gets_wrong_are_left_to_their_own_forward(fault, dtype):
    case = CASES["Qwen3-VL"]()
    case.model.to(dtype)
    pictures = Pictures(case.model)
    encode = pictures.encode_alike

    def encode_wrongly(group):
        encode(group)
        pictures.deep.clear()
        if fault == "exchanged":
            found = [pictures.features[number] for number in group]
            pictures.features.update(zip(group, found[::-1], strict=True))
        if fault == "refused":
            raise AttributeError("no such tower")

    if fault == "counted":
        pictures.has_grid = False
    else:
        pictures.encode_alike = encode_wrongly
    choice = choose_engine(make_alone(case, pictures))
    assert choice.engine is None
    expected = "no such tower" if fault == "refused" else "answers differ by"
    assert expected in choice.reason and (
        "pictures" in choice.reason or "float32" in choice.reason or fault == "refused"
    )


@pytest.mark.parametrize("name", ["LLaVA", "Idefics3", "Qwen2-VL", "InstructBLIP"])
def test_a_model_alone_answers_by_its_full_forward(name):
    case = CASES[name]()
    alone = make_alone(case)
    for request in make_requests(case):
        ids = np.array(alone.pictures.expand([*request.items, *request.targets[:-1]]))
        found, likely = alone.answer_greedy(Query(ids, request.targets))
        assert found == pytest.approx(answer(case, request), abs=1e-5)
        best = case.read([*request.items, *request.targets[:-1]])[-len(request.targets) :].argmax(-1)
        assert likely is (best.tolist() == request.targets)


def test_what_a_model_keeps_of_a_picture_does_not_reach_the_next_text():
    """Qwen2-VL adds to positions what the pictures of its last call took less."""
    case = CASES["Qwen2-VL"]()
    alone = make_alone(case)
    text = Query(np.arange(5, 20), [20])
    before = alone.answer(text)
    alone.answer(Query(np.array(alone.pictures.expand([1, 5, case.picture(3), 6])), [7]))
    assert alone.answer(text) == before
    assert case.model.model.rope_deltas is None


@pytest.mark.parametrize("name", CASES)
def test_a_model_alone_generates_what_it_finds_most_likely(name):
    case = CASES[name]()
    alone = make_alone(case)
    items = [1, 5, 6, case.picture(2), 7, 8, case.picture(4), 9]
    settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    found = alone.generate(np.array(alone.pictures.expand(items)), **settings)
    said = []
    for _ in range(5):
        said.append(int(case.read([*items, *said])[-1].argmax()))
    assert found == said


@pytest.mark.parametrize("name", ["LLaVA", "Qwen3-VL"])
def test_layers_of_the_copy_in_float32_have_the_config_of_the_copy(name):
    """Else its attention could not be replaced, and what is tried out there would say nothing."""
    case = CASES[name]()
    case.model.to(torch.bfloat16)
    made = make_exact(make_alone(case))
    decoder = made.whole.get_decoder()
    assert made.whole.dtype == torch.float32 and len(decoder.layers) == 2
    assert all(layer.self_attn.config is decoder.config for layer in decoder.layers)
    assert decoder.config is not case.model.get_decoder().config


def test_a_model_whose_pictures_cannot_be_handed_over_is_not_tried():
    choice = choose_engine(make_alone(make_mllama()))
    assert choice.engine is None and "not among its tokens" in choice.reason
