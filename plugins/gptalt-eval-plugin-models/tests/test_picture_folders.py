"""Folders of models that see pictures: what is wrong with them is found by headers."""

import json
import math
import shutil

import pytest
import torch
from gptalt_eval_plugin_models.families import FAMILIES
from gptalt_eval_plugin_models.layout import Weight
from gptalt_eval_plugin_models.minigpt4.family import PUBLISHED
from gptalt_eval_plugin_models.streaming import compute_buffers, divide
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from gptalt_eval import GptaltError

pytestmark = pytest.mark.torch
NAMES = ("minigpt4", "mplug-owl", "otter")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def folder(write_text_folder, name):
    return write_text_folder(name)


LOADERS = {family.name: family for family in FAMILIES}


def make_lm(name, folder):
    return LOADERS[name].make_class()(str(folder[0]), **folder[1], device="cpu", dtype="float32")


def find(name, folder, **args):
    return [str(fault) for fault in LOADERS[name].find_faults(folder[0], {**folder[1], **args})]


def rewrite(folder, function):
    state = load_file(folder[0] / "model.safetensors")
    function(state)
    save_file(state, folder[0] / "model.safetensors")


LOST = {
    "minigpt4": "visual_encoder.blocks.1.attn.q_bias", "otter": "perceiver.norm.weight",
    "mplug-owl": "vision_model.encoder.layers.1.self_attn.query_key_value.weight",
}  # fmt: skip


def test_missing_unknown_and_misshapen_weights_are_named(name, folder):
    assert find(name, folder) == []
    kept = load_file(folder[0] / "model.safetensors")
    for damage, told in (
        (lambda state: state.pop(LOST[name]), f"1 of {{}} weights are missing: {LOST[name]}"),
        (lambda state: state.update({LOST[name]: torch.zeros(7)}), f"{LOST[name]} has the shape [7]"),
        (lambda state: state.update({"x.y": torch.zeros(7)}), "that this model does not have: x.y"),
    ):
        rewrite(folder, damage)
        [fault] = find(name, folder)
        assert told.split("{}")[-1] in fault and str(folder[0]) in fault
        with pytest.raises(GptaltError):
            make_lm(name, folder)
        save_file(kept, folder[0] / "model.safetensors")


def test_minigpt4_says_what_it_needs(write_text_folder, write_base, tmp_path):
    folder = write_text_folder("minigpt4")
    [fault] = find("minigpt4", folder, base=None)
    assert "Vicuna v0" in fault and "base=FOLDER" in fault
    [fault] = find("minigpt4", folder, base=str(tmp_path / "none"))
    assert "There is no model folder" in fault
    base = write_base(tmp_path / "large", hidden=48)
    [fault] = find("minigpt4", folder, base=str(base))
    assert "llama_proj.weight has the shape [40, 24]; by config.json it is [48, 24] (1 others" in fault
    (base / "tokenizer.model").unlink()
    assert "no tokenizer" in find("minigpt4", folder, base=str(base))[0]


@torch.no_grad()
def test_minigpt4_is_read_from_its_publishers_files(write_text_folder, tmp_path):
    """EVA-CLIP without a prefix, BLIP-2 and a checkpoint of training; the last has the last word."""
    folder, args = write_text_folder("minigpt4")
    state = load_file(folder / "model.safetensors")
    (folder / "config.json").rename(tmp_path / "config.json")
    shutil.copy(tmp_path / "config.json", folder)
    (folder / "model.safetensors").unlink()
    tower = {key.removeprefix("visual_encoder."): each for key, each in state.items() if "visual_enc" in key}
    torch.save(
        tower | {"head.weight": torch.zeros(3), "blocks.39.attn.q_bias": torch.zeros(2)},
        folder / "eva_vit_g.pth",
    )
    former = {key: each for key, each in state.items() if "visual_enc" not in key}
    former["llama_proj.bias"] = torch.full_like(former["llama_proj.bias"], 7.0)
    torch.save(
        {"model": former | {"t5_proj.weight": torch.zeros(1)}}, folder / "blip2_pretrained_flant5xxl.pth"
    )
    own = {key: state[key] for key in ("llama_proj.weight", "llama_proj.bias")}
    training = {
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}},
        "config": {"a": [1, None]},
    }
    torch.save({"model": own, "epoch": 4, **training}, folder / "prerained_minigpt4_7b.pth")
    lm = make_lm("minigpt4", (folder, args))
    for key in ("bias", "weight"):
        found = getattr(lm.model.language_projection, key)
        assert torch.equal(found, state[f"llama_proj.{key}"])
    shutil.copy(folder / "prerained_minigpt4_7b.pth", folder / "pretrained_stage1.pth")
    [fault] = find("minigpt4", (folder, args))
    assert "Both " in fault and "pretrained_stage1.pth contain the weight llama_proj" in fault
    value = lm.model.vision_model.encoder.layers[2].self_attn.qkv.bias
    blocks = [state[f"visual_encoder.blocks.2.attn.{letter}_bias"] for letter in "qv"]
    assert torch.equal(value, torch.cat([blocks[0], torch.zeros(32), blocks[1]]))


def test_other_editions_are_refused(write_text_folder):
    folder, args = write_text_folder("otter")
    config = json.loads((folder / "config.json").read_text())
    for settings, told in (
        ({"max_num_frames": 128}, "videos"),
        ({"lora_config": {"r": 16}}, "not merged"),
        ({"text_config": {**config["text_config"], "architectures": ["MPTForCausalLM"]}}, "MPTForCausalLM"),
    ):
        (folder / "config.json").write_text(json.dumps(config | settings))
        assert told in find("otter", (folder, args))[0]


def make_text_settings(rows=32_000, **settings):
    sizes = {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32}
    return {"vocab_size": rows, "num_attention_heads": 32, **sizes, **settings}


VICUNA_13B = {"hidden_size": 5120, "intermediate_size": 13_824, "num_hidden_layers": 40}


JOINED = 39 * 1408  # zeros that transformers keeps as the bias of keys


@pytest.mark.parametrize(
    ("name", "settings", "counted"),
    [
        ("minigpt4", {**PUBLISHED, "text_config": make_text_settings()}, 7_832_679_936 - JOINED),
        ("minigpt4", {**PUBLISHED, "text_config": make_text_settings(**VICUNA_13B)}, 14_110_916_096 - JOINED),
        ("mplug-owl", {"text_config": make_text_settings()}, 7_146_692_608),
        ("otter", {"text_config": make_text_settings(32_004), "cross_attn_every_n_layers": 4}, 8_220_463_120),
    ],
)
def test_the_published_sizes_add_up_to_the_counted_parameters(name, settings, counted):
    weights = LOADERS[name].describe(settings).weights.values()
    assert sum(math.prod(weight.shape) for weight in weights) == counted


def test_a_base_that_is_a_difference_is_refused(write_text_folder, write_base, tmp_path):
    folder = write_text_folder("minigpt4")
    base = write_base(tmp_path / "vicuna-7b-delta-v0", vocabulary=400)
    [fault] = find("minigpt4", folder, base=str(base))
    assert "is a difference to LLaMA" in fault and "models convert vicuna-7b-v0" in fault
    config = json.loads((base / "config.json").read_text())
    plain = tmp_path / "vicuna"
    base.rename(plain)
    assert find("minigpt4", folder, base=str(plain)) == []
    (plain / "config.json").write_text(json.dumps(config | {"_name_or_path": "lmsys/vicuna-7b-delta-v0"}))
    assert "is a difference to LLaMA" in find("minigpt4", folder, base=str(plain))[0]


def test_a_tokenizer_of_another_kind_is_refused(name, folder, tmp_path):
    """It would be read by code that does not know it, in the middle of loading."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text("{}")
    [fault] = find(name, folder, tokenizer=str(other))
    assert f"{other}: it has no tokenizer (looked for tokenizer.model)" in fault


@pytest.mark.parametrize("kind", [torch.float16, torch.long, torch.bool])
def test_a_buffer_that_no_code_computes_is_said(kind):
    """It would be whatever was in the memory."""
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2))
    compute_buffers(model, "cpu")
    model.model.layers[0].register_buffer("places", torch.empty(3, dtype=kind, device="meta"))
    with pytest.raises(GptaltError, match=r"model.layers.0.places .* was not computed"):
        compute_buffers(model, "cpu")


def test_rows_of_heads_are_taken_apart():
    """Two heads, of each a row of the query, the key and the value."""
    rows = torch.arange(6.0)[:, None]
    weight = Weight((6, 1), (("q", 2), ("k", 2), ("v", 2)), groups=2)
    assert [part.flatten().tolist() for part in divide(rows, weight)] == [[0, 3], [1, 4], [2, 5]]
    [flat] = divide(rows[None, None], Weight((1, 1, 6, 1), (("x", 6),), skipped=2))
    assert torch.equal(flat, rows)
