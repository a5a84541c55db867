"""Models that nothing here was written for: the probe finds out whether the tree is right for them."""

import numpy as np
import pytest
import torch
import transformers
from picture_models import IMAGE, Case, GridCase, answer, make_alone, make_requests, text, vision

from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import answer_all

pytestmark = pytest.mark.torch
PATCHES = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
COHERE = text("cohere2", sliding_window=512, layer_types=["full_attention"] * 3)
SHRINKING = {"downsample_factor": 2, "alignment_intermediate_size": 48}


class SizedCase(Case):
    """A picture's size is told beside it."""

    def picture(self, seed):
        pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        return self.count({"pixel_values": pixels, "image_sizes": torch.tensor([[16, 16]])})


class RowCase(Case):
    """The pictures of a prompt are one row."""

    joined = 1

    def picture(self, seed):
        pixels = torch.randn(1, 1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        mask = torch.ones(1, 1, 16, 16, dtype=torch.long)
        return self.count({"pixel_values": pixels, "pixel_attention_mask": mask})


def make(name, case=Case, **settings):
    config = getattr(transformers, f"{name}Config")(**settings)
    return case(getattr(transformers, f"{name}ForConditionalGeneration")(config))


def make_glm():
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    tower = {
        "depth": 2, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 4, "intermediate_size": 48,
        "patch_size": 4, "image_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    words = text("glm4v_text", rope_parameters=rope | {"partial_rotary_factor": 1.0}, head_dim=8)
    ids = {
        "image_token_id": IMAGE,
        "video_token_id": 97,
        "image_start_token_id": 95,
        "image_end_token_id": 96,
    }
    return make("Glm4v", GridCase, text_config=words, vision_config=tower, **ids)


def make_idefics2():
    perceiver = {
        "model_type": "idefics2_perceiver", "resampler_n_latents": 3, "resampler_depth": 1,
        "resampler_n_heads": 4, "resampler_head_dim": 8, "num_key_value_heads": 2, "hidden_size": 32,
    }  # fmt: skip
    words, tower = text("mistral", sliding_window=None), vision("idefics2_vision")
    return make(
        "Idefics2", RowCase, text_config=words, vision_config=tower, perceiver_config=perceiver,
        image_token_id=IMAGE,
    )  # fmt: skip


def make_ovis():
    """Its own code puts vectors of its vision tower in the place of some tokens of text, too."""
    tower = PATCHES | {"image_size": 16, "patch_size": 4, "vocab_size": 64}
    return make(
        "Ovis2", text_config=text("qwen2"), image_token_id=IMAGE, hidden_size=32, vocab_size=99,
        vision_config=tower | {"num_visual_indicator_tokens": 5, "hidden_stride": 2},
        visual_indicator_token_ids=[10, 11, 12, 13, 14],
    )  # fmt: skip


KINDS = {
    "ViP-LLaVA": lambda: make(
        "VipLlava", text_config=text(), vision_config=vision("clip_vision_model", projection_dim=24),
        image_token_id=IMAGE, vision_feature_layers=[-1, -2],
    ),
    "InternVL": lambda: make(
        "InternVL", text_config=text("qwen2"), image_token_id=IMAGE, downsample_ratio=0.5,
        vision_config=PATCHES | {"model_type": "internvl_vision", "image_size": [16, 16], "patch_size": [4, 4]},
    ),
    "Mistral 3": lambda: make(
        "Mistral3", SizedCase, text_config=text("mistral", sliding_window=None), image_token_index=IMAGE,
        vision_config=vision("pixtral", head_dim=6), spatial_merge_size=2,
    ),
    "Idefics 2": make_idefics2,
    "Aya Vision": lambda: make(
        "AyaVision", text_config=COHERE, vision_config=vision("siglip_vision_model"), image_token_index=IMAGE,
        **SHRINKING,
    ),
    "Command A Vision": lambda: make(
        "Cohere2Vision", text_config=COHERE, vision_config=vision("siglip_vision_model"), image_token_id=IMAGE,
        **SHRINKING,
    ),
    "GLM-4V": make_glm,
}  # fmt: skip


def make_queries(alone, requests):
    return [
        Query(np.array(alone.pictures.expand([*request.items, *request.targets[:-1]])), request.targets)
        for request in requests
    ]


@pytest.mark.parametrize("name", KINDS)
def test_models_that_read_features_among_tokens_need_no_code_of_their_own(name):
    case = KINDS[name]()
    alone = make_alone(case)
    choice = choose_engine(alone)
    assert choice.reason == "" and choice.engine.way == "pieces"
    requests = make_requests(case)[::3]
    found = answer_all(choice.engine, make_queries(alone, requests))
    assert np.abs(np.subtract(found, [answer(case, request) for request in requests])).max() < 1e-4
    case.model.to(torch.bfloat16)
    assert choose_engine(make_alone(case)).engine.wide


def test_a_model_that_does_something_else_is_left_to_its_own_forward():
    case = make_ovis()
    alone = make_alone(case)
    choice = choose_engine(alone)
    assert choice.engine is None and "answers differ by" in choice.reason
    requests = make_requests(case)[:4]
    found = [alone.answer(query) for query in make_queries(alone, requests)]
    assert np.abs(np.subtract(found, [answer(case, request) for request in requests])).max() < 1e-5
