"""Image-text models on the prefix tree answer as they do in one full forward, and encode each picture once."""

import numpy as np
import pytest
from picture_models import CASES, answer, make_requests

from gptalt_eval.scoring import pictures as module
from gptalt_eval.scoring.packed import PackedEngine
from gptalt_eval.scoring.pictures import Picture, Pictures
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import answer_all

pytestmark = pytest.mark.torch
FP32 = 1e-4
BUDGET = 70  # tokens of a chunk: many end within a picture


class Door:
    """Counts what goes into a model: tokens into its embeddings, pictures into its encoder."""

    def __init__(self, case, patch):
        self.tokens = self.pictures = 0
        embedding = module.find_causal(case.model).get_input_embeddings()
        self.handle = embedding.register_forward_pre_hook(self.count)
        self.encode = case.model.get_image_features
        patch.setattr(case.model, "get_image_features", self.look, raising=False)

    def count(self, _, given):
        self.tokens += given[0].numel()

    def look(self, **inputs):
        made = self.encode(**inputs)
        self.pictures += len(made.pooler_output)
        return made


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]()


def ask(case, requests, way="pieces", budget=BUDGET, wide=False):
    pictures = Pictures(case.model)
    queries = [
        Query(np.array(pictures.expand([*request.items, *request.targets[:-1]])), request.targets)
        for request in requests
    ]
    return PackedEngine(pictures.causal, way, budget, 64, pictures=pictures, wide=wide), queries


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
