"""Image-text models on the prefix tree answer as they do in one full forward, and encode each picture once."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from picture_models import CASES, Door, answer, make_gemma, make_requests

from gptalt_eval.scoring.packed import PackedEngine
from gptalt_eval.scoring.pictures import Picture, Pictures, make_picture
from gptalt_eval.scoring.residual import find_layers
from gptalt_eval.scoring.tree import Query, build_tree
from gptalt_eval.scoring.trial import answer_all

pytestmark = pytest.mark.torch
FP32 = 1e-4
BUDGET = 70  # tokens of a chunk: many end within a picture


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]()


def ask(case, requests, way="pieces", budget=BUDGET, wide=False, both_ways=False):
    pictures = Pictures(case.model)
    queries = [
        Query(np.array(pictures.expand([*request.items, *request.targets[:-1]])), request.targets)
        for request in requests
    ]
    settings = {"pictures": pictures, "wide": wide, "both_ways": both_ways}
    return PackedEngine(pictures.causal, way, budget, 64, **settings), queries


def list_shown(requests):
    return [item for request in requests for item in request.items if isinstance(item, Picture)]


@pytest.mark.parametrize("way", ["pieces", "mask"])
def test_answers_are_those_of_the_full_forward(case, way, monkeypatch):
    requests = make_requests(case)
    expected = [answer(case, request) for request in requests]
    engine, queries = ask(case, requests, way)
    door = Door(case, monkeypatch)
    found = answer_all(engine, queries)
    door.handle.remove()
    assert np.abs(np.subtract(found, expected)).max() < FP32
    assert np.std(expected) > 1
    distinct = {tuple(query.inputs[:end]) for query in queries for end in range(1, len(query.inputs) + 1)}
    assert door.tokens == engine.computed == len(distinct)
    assert door.pictures == engine.pictures.encoded == len({item.key for item in list_shown(requests)})
    assert not engine.pictures.features, "features are dropped after their last chunk"


@pytest.mark.parametrize("budget", [1000, BUDGET, 5, 1])
def test_features_that_see_each_other_stay_in_one_chunk(budget, monkeypatch):
    case = make_gemma()
    requests = make_requests(case)
    expected = [answer(case, request) for request in requests]
    engine, queries = ask(case, requests, "mask", budget, both_ways=True)
    door = Door(case, monkeypatch)
    found = answer_all(engine, queries)
    door.handle.remove()
    assert np.abs(np.subtract(found, expected)).max() < FP32
    distinct = {tuple(query.inputs[:end]) for query in queries for end in range(1, len(query.inputs) + 1)}
    assert door.tokens == engine.computed == len(distinct)
    assert door.pictures == len({item.key for item in list_shown(requests)})
    causal, queries = ask(case, requests, "mask", budget)
    assert np.abs(np.subtract(answer_all(causal, queries), expected)).max() > 1e-2


def spoil_order(engine):
    """The features of the first two shots exchanged."""
    numbered = engine.pictures.numbered
    numbered[0], numbered[1] = numbered[1], numbered[0]


def spoil_positions(engine):
    """Tokens counted, where a picture has height and width."""
    engine.pictures.has_grid = False


def spoil_layers(engine):
    """Features at the first layer only."""
    encode = engine.pictures.encode_alike
    engine.pictures.encode_alike = lambda group: (encode(group), engine.pictures.deep.clear())


def spoil_row(engine):
    """Each picture's features in the wrong order."""
    find = engine.pictures.find

    def find_last(ids):
        number, place = find(ids)
        sizes = np.diff(engine.pictures.first)[np.maximum(number, 0)]
        return number, np.where(number >= 0, sizes - 1 - place, 0)

    engine.pictures.find = find_last


SPOILED = {
    "exchanged": ("LLaVA", spoil_order),
    "others seen": ("Idefics", spoil_order), "backwards": ("Idefics3", spoil_row),
    "counted": ("Qwen2-VL", spoil_positions), "counted in windows": ("Qwen2.5-VL", spoil_positions),
    "not deep": ("Qwen3-VL", spoil_layers),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILED)
def test_what_is_spoiled_on_purpose_is_far_off(fault):
    name, spoil = SPOILED[fault]
    case = CASES[name]()
    requests = make_requests(case)[:8]
    engine, queries = ask(case, requests)
    spoil(engine)
    expected = [answer(case, request) for request in requests]
    assert np.abs(np.subtract(answer_all(engine, queries), expected)).max() > 1e-2


def test_a_text_for_which_a_picture_is_encoded_makes_it_another(monkeypatch):
    case = CASES["InstructBLIP"]()
    asked = [case.picture(0, instruction) for instruction in (1, 2, 1)]
    requests = [SimpleNamespace(items=[1, 5, picture, 6, 7], targets=[8]) for picture in asked]
    engine, queries = ask(case, requests)
    found = answer_all(engine, queries)
    assert engine.pictures.encoded == 2
    assert found[0] == found[2] and abs(found[0] - found[1]) > 1e-2
    assert np.abs(np.subtract(found, [answer(case, each) for each in requests])).max() < FP32


@pytest.mark.parametrize("where", ["picture", "text"])
def test_out_of_memory_recovers(where, monkeypatch):
    case = CASES["Qwen3-VL"]()
    requests = make_requests(case)
    engine, queries = ask(case, requests, budget=300)
    inner, refused = case.model.base_model, []
    encode, forward = inner.get_image_features, case.model.forward

    def refuse_pictures(pixels, grid, **named):
        if len(grid) > 1:
            refused.append(0)
            raise torch.OutOfMemoryError("too many pictures")
        return encode(pixels, grid, **named)

    def refuse_tokens(*given, **named):
        if named["input_ids"].shape[1] > 100:
            refused.append(0)
            raise torch.OutOfMemoryError("too many tokens")
        return forward(*given, **named)

    if where == "picture":
        monkeypatch.setattr(inner, "get_image_features", refuse_pictures)
    else:
        monkeypatch.setattr(case.model, "forward", refuse_tokens)
    found = answer_all(engine, queries)
    monkeypatch.undo()
    assert refused and (engine.budget == 300) is (where == "picture")
    assert np.abs(np.subtract(found, [answer(case, each) for each in requests])).max() < FP32
    assert engine.pictures.encoded == len({picture.key for picture in list_shown(requests)})
    assert not engine.pictures.features


def test_a_picture_for_which_there_is_no_memory_ends_the_run(monkeypatch):
    case = CASES["LLaVA"]()
    engine, queries = ask(case, make_requests(case))

    def refuse(*_, **__):
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setattr(case.model.base_model, "get_image_features", refuse)
    with pytest.raises(torch.OutOfMemoryError, match="too large"):
        answer_all(engine, queries)


@pytest.mark.parametrize("name", ["LLaVA-NeXT", "Qwen2-VL"])
def test_a_resumed_run_computes_in_the_same_batches(name, monkeypatch):
    """So that it rounds in the same way: the pictures of answered questions are encoded again if need be."""
    case = CASES[name]()
    requests = make_requests(case)
    batches = []
    whole, queries = ask(case, requests)
    inner = case.model.base_model
    encode = inner.get_image_features

    def note(*given, **named):
        batches.append(given[0] if given else named["pixel_values"])
        return encode(*given, **named)

    monkeypatch.setattr(inner, "get_image_features", note)
    expected = answer_all(whole, queries)
    first, count = list(batches), len(queries)
    for known in (range(8), range(0, count, 2), range(count - 2)):
        batches.clear()
        engine, queries = ask(case, requests)
        found = [each for batch in engine.score(queries, known=set(known)) for each in batch]
        assert {each.query for each in found} == set(range(count)) - set(known)
        assert all(each.logprob == expected[each.query] for each in found)
        assert all(any(torch.equal(pixels, other) for other in first) for pixels in batches)


@pytest.mark.parametrize("name", ["LLaVA", "Qwen3-VL"])
def test_half_precision_with_a_wide_residual_stream_is_closer(name):
    case = CASES[name]()
    requests = [request for seed in range(4) for request in make_requests(case, seed)]
    case.model.to(torch.bfloat16).float()  # the weights are rounded, and what is computed is not
    expected = [answer(case, request) for request in requests]
    case.model.to(torch.bfloat16)
    off = {}
    for wide in (False, True):
        engine, queries = ask(case, requests, wide=wide)
        off[wide] = np.sqrt(np.mean(np.subtract(answer_all(engine, queries), expected) ** 2))
    assert off[True] < 0.9 * off[False] < 0.05  # the features themselves are rounded in both


def test_layers_are_those_of_the_decoder_though_a_tower_has_as_many():
    case = CASES["LLaVA"]()
    assert find_layers(case.model) is case.model.get_decoder().layers


def test_features_that_a_processor_does_not_expect_are_refused():
    case = CASES["LLaVA"]()
    inputs = case.picture(0).load()
    requests = [SimpleNamespace(items=[1, make_picture(inputs, [-1] * 9), 5], targets=[6])]
    engine, queries = ask(case, requests)
    with pytest.raises(ValueError, match=r"9. places, and the model makes .16. features"):
        answer_all(engine, queries)


def test_pictures_that_cannot_be_placed_are_refused():
    case = CASES["Qwen2-VL"]()
    inputs = case.picture(0).load()
    with pytest.raises(ValueError, match="without a grid"):
        Pictures(case.model).expand([make_picture(inputs, [-1] * 4)])
    with pytest.raises(ValueError, match="not one run of 2 x 2"):
        make_picture(inputs, [-1, -1, 5, -1, -1], (2, 2))
    with pytest.raises(ValueError, match="without a place"):
        make_picture(inputs, [5])


def test_inputs_are_not_kept_if_they_can_be_made_again():
    case = CASES["LLaVA"]()
    loads = []

    def load():
        loads.append(0)
        return case.picture(0).load()

    picture = make_picture(case.picture(0).load(), case.picture(0).layout, load=load)
    assert picture == case.picture(0)
    engine, queries = ask(case, [SimpleNamespace(items=[1, picture, 5], targets=[6])] * 3)
    found = answer_all(engine, queries)
    assert len(loads) == 1 and found[0] == pytest.approx(
        answer(case, SimpleNamespace(items=[1, picture, 5], targets=[6]))
    )


@cache
def make_qwen_once():
    return CASES["Qwen2-VL"]()


@given(st.lists(st.lists(st.integers(-4, 9), min_size=1, max_size=9), min_size=1, max_size=5))
def test_positions_are_those_of_the_model_on_each_path(prompts):
    """Negative numbers are pictures of several grids; numbers are tokens."""
    case = make_qwen_once()
    shown = [[case.picture(-each - 1) if each < 0 else each + 5 for each in prompt] for prompt in prompts]
    pictures = Pictures(case.model)
    queries = [Query(pictures.expand([1, *items]), [5]) for items in shown]
    tree = build_tree(queries)
    positions = pictures.place(tree)
    for number, items in enumerate(shown):
        end = int(tree.positions[tree.owners == number][0])
        path = np.flatnonzero((np.arange(len(tree)) <= end) & (end < tree.subtree_end))
        ids = pictures.expand([1, *items])
        assert tree.tokens[path].tolist() == ids
        flat = [
            token for item in [1, *items] for token in (item.layout if isinstance(item, Picture) else [item])
        ]
        inputs = case.make_inputs(flat, [item for item in items if isinstance(item, Picture)])
        if "image_grid_thw" not in inputs:
            assert (positions[:, path] == np.arange(len(path))).all()
            continue
        named = {name: inputs[name] for name in ("image_grid_thw", "mm_token_type_ids")}
        expected, _ = case.model.model.get_rope_index(inputs["input_ids"], **named)
        assert positions[:, path].tolist() == expected[:, 0].tolist()


@pytest.mark.parametrize("name", ["LLaVA", "Qwen3-VL", "Idefics"])
def test_flex_attention_sees_pictures_too(name):
    """As on a GPU, but not compiled."""
    case = CASES[name]()
    requests = make_requests(case)[::3]
    engine, queries = ask(case, requests, "flex")
    expected = [answer(case, request) for request in requests]
    assert np.abs(np.subtract(answer_all(engine, queries), expected)).max() < FP32
