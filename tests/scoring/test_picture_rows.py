"""Texts that are generated together, after prompts with common pictures, are those of each prompt alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from picture_models import CASES, Door, TileCase, make_alone, make_gemma, make_requests
from transformers import GenerationConfig

from gptalt_eval.scoring.attention import Unsupported
from gptalt_eval.scoring.batch import Batch, Row
from gptalt_eval.scoring.generate import explain_unsupported
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.row_views import PictureRowView, make_row_view

pytestmark = pytest.mark.torch
TOKENS = 8


def make_prompts(case, alone):
    """Five prompts of several lengths, with common shots."""
    requests = make_requests(case)[:24:4]
    return [alone.pictures.expand(request.items) for request in requests]


def generate(alone, prompts, view=None):
    rows = sorted((Row([number], prompt) for number, prompt in enumerate(prompts)), key=len, reverse=True)
    batch = Batch(alone.model, rows, TOKENS, alone.tolerance, view or make_row_view(alone))
    said = {}
    while batch.active or batch.waiting:
        batch.step()
        done = [place for place, row in enumerate(batch.active) if len(row.generated) == TOKENS]
        said.update((row.indices[0], row.generated) for row in batch.dismiss(done))
    return batch, [said[number] for number in range(len(prompts))]


def generate_alone(alone, prompt):
    settings = {"max_new_tokens": TOKENS, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return alone.generate(np.array(prompt), **settings)


@pytest.mark.parametrize("name", CASES)
def test_texts_are_those_of_each_prompt_alone(name, monkeypatch):
    case = CASES[name]()
    alone = make_alone(case)
    prompts = make_prompts(case, alone)
    expected = [generate_alone(alone, prompt) for prompt in prompts]
    monkeypatch.setattr("gptalt_eval.scoring.batch.ROWS", 2)  # so that some rows wait for a place
    door = Door(case, monkeypatch)
    batch, found = generate(alone, prompts)
    door.handle.remove()
    assert found == expected
    assert len({tuple(text) for text in found}) > 1
    assert alone.pictures.list_shown(prompts[0][: batch.cache.common]), "a picture is common to all"
    # each once; those of the longest prompt once more, in the full forward that its answer is compared with
    again = len(alone.pictures.list_shown(max(prompts, key=len)))
    if isinstance(case, TileCase):
        again = 1  # a row of pictures
    assert alone.pictures.encoded == len(alone.pictures.numbered)
    assert door.pictures == alone.pictures.encoded + again
    assert not alone.pictures.features


def test_a_prompt_is_read_only_once():
    case = CASES["LLaVA"]()
    alone = make_alone(case)
    prompts = make_prompts(case, alone)
    fed = []
    handle = case.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, ids: fed.append(ids[0].numel())
    )
    batch, _ = generate(alone, prompts)
    handle.remove()
    longest, common = max(map(len, prompts)), batch.cache.common
    # the longest prompt twice (with the full forward), and all rows behind the common part, padded
    assert sum(fed) == 2 * longest + len(prompts) * (longest - common + TOKENS)


class Counted(PictureRowView):
    """Positions that are counted, where a picture has height and width."""

    def place(self, prompts, places):
        return places

    def tell(self, prompt):
        return {}


class Exchanged(PictureRowView):
    """Features of other pictures."""

    def prepare(self, *given):
        super().prepare(*given)
        features = self.pictures.features
        features.update({number: each.flip(0) for number, each in features.items()})


@pytest.mark.parametrize("view", [Counted, Exchanged])
def test_a_comparison_with_the_full_forward_finds_what_is_wrong(view):
    case = CASES["Qwen2-VL"]()
    alone = make_alone(case)
    with pytest.raises(Unsupported, match="its logits differ by"):
        generate(alone, make_prompts(case, alone), view(alone))


def test_without_that_comparison_wrong_positions_would_not_be_found():
    """So the test above tests the comparison, and not something else."""

    class Trusting(Counted):
        def expect(self, prompt, logits):
            return logits

    case = CASES["Qwen2-VL"]()
    alone = make_alone(case)
    prompts = make_prompts(case, alone)
    _, found = generate(alone, prompts, Trusting(alone))
    assert found != [generate_alone(alone, prompt) for prompt in prompts]


REASONS = {
    "Gemma 3": "with pictures, answers differ",
    "LLaVA": None,
}


@pytest.mark.parametrize("name", REASONS)
def test_models_whose_rows_cannot_be_shared_generate_alone(name):
    case = make_gemma() if name == "Gemma 3" else CASES[name]()
    alone = make_alone(case)
    lm = SimpleNamespace(
        model=case.model, backend="causal", alone=alone, choice=choose_engine(alone), max_length=99,
        max_gen_toks=8, mixed_precision_dtype=None, _model_generate=None,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gptalt_eval.scoring.stock.generates_like_stock", lambda backend: True)
        case.model.generation_config = GenerationConfig()
        reason = explain_unsupported(lm, {"until": ["."]})
    assert reason is None if REASONS[name] is None else REASONS[name] in reason
