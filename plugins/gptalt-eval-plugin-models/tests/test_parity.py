"""Tiny checkpoints under their original names answer as the models' own code did."""

import pytest
import torch
from gptalt_eval_plugin_models.families import FAMILIES
from safetensors.torch import load_file

pytestmark = pytest.mark.torch
LOADERS = {family.name: family for family in FAMILIES}
FP32 = 1e-5


def load(family, folder, **settings):
    make = LOADERS[family].make_class()
    return make(str(folder), device="cpu", batch_size=2, **settings).model


@torch.no_grad()
def answer_in_steps(model, ids, known, **settings):
    """Logits of all but the first tokens, one after the other, on a cache."""
    cache, logits = model(ids[:, :known], use_cache=True, **settings).past_key_values, []
    for place in range(known, ids.shape[1]):
        out = model(ids[:, place : place + 1], past_key_values=cache, use_cache=True)
        logits.append(out.logits)
        cache = out.past_key_values
    return torch.cat(logits, 1)


def differ(found, expected, mask=None):
    gap = (found.float() - expected).abs()
    return float(gap[mask.bool()].max() if mask is not None else gap.max())


def read_expected(reference, name):
    return load_file(reference / "parity" / name / "expected.safetensors")


@pytest.mark.parametrize("kind", ["fp32", "fp16"])
@torch.no_grad()
def test_chatglm(write_parity, reference, kind):
    dtype = {"fp32": "float32", "fp16": "float16"}[kind]
    model = load("chatglm", write_parity(f"chatglm1-{kind}", "ice_text.model"), dtype=dtype)
    expected = read_expected(reference, f"chatglm1-{kind}")
    precise = read_expected(reference, "chatglm1-fp32")
    noise = differ(expected["full"], precise["full"])  # of the original code, between fp16 and fp32
    allowed = FP32 if kind == "fp32" else noise
    ids, padded = expected["a"], expected["ids"]
    assert differ(model(ids).logits, expected["full"]) < allowed
    pads = 5
    mask = (torch.arange(20) >= pads)[None].long()
    found = model(padded, attention_mask=mask).logits
    assert differ(found[:, pads:], expected["padded"][:, pads:]) < allowed
    assert differ(answer_first_in_steps(model, ids, 13), expected["steps"]) < allowed


def answer_first_in_steps(model, ids, known):
    """Logits from the last token of the prefix on, each from the cache of those before it."""
    positions, _ = model.transformer.arrange(ids)
    out = model(ids[:, :known], use_cache=True)
    logits = [out.logits[:, -1:]]
    for place in range(known, ids.shape[1]):
        at = slice(place, place + 1)
        cache = out.past_key_values
        out = model(ids[:, at], position_ids=positions[..., at], past_key_values=cache, use_cache=True)
        logits.append(out.logits)
    return torch.cat(logits, 1)


@pytest.mark.parametrize("groups", [1, 2])
@torch.no_grad()
def test_chatglm2(write_parity, reference, groups):
    model = load("chatglm", write_parity(f"chatglm2-mqa{groups}"), dtype="float32")
    expected = read_expected(reference, f"chatglm2-mqa{groups}")
    ids, mask = expected["ids"], expected["am"]
    assert differ(model(ids).logits, expected["full"]) < FP32
    padded = model(ids, attention_mask=mask, position_ids=expected["pos"]).logits
    assert differ(padded, expected["padded"], mask) < FP32
    assert differ(answer_in_steps(model, ids[:1], 10), expected["step"]) < FP32


@torch.no_grad()
def test_moss(write_parity, write_moss_tokenizer, reference):
    folder = write_moss_tokenizer(write_parity("moss", None))
    model = load("moss", folder, dtype="float32")
    expected = read_expected(reference, "moss")
    ids, mask = expected["ids"], expected["am"]
    assert differ(model(ids).logits, expected["full"]) < FP32
    padded = model(ids, attention_mask=mask, position_ids=expected["pos"]).logits
    assert differ(padded, expected["padded"], mask) < FP32
    assert differ(answer_in_steps(model, ids, 10), expected["full"][:, 10:]) < FP32


@torch.no_grad()
def test_mpt_needs_no_loader(reference, tmp_path):
    """transformers has MPT, with the published names; the settings are those of the tiny checkpoint."""
    from transformers import MptConfig, MptForCausalLM

    config = MptConfig(d_model=64, n_heads=4, n_layers=3, vocab_size=160, max_seq_len=64, expansion_ratio=4)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((reference / "parity/mpt/model.safetensors").read_bytes())
    model = MptForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = read_expected(reference, "mpt")
    ids, mask = expected["ids"], expected["am"].long()
    assert differ(model(ids).logits, expected["full"]) < FP32
    assert differ(model(ids, attention_mask=mask).logits, expected["pad"], mask) < FP32
    assert differ(answer_in_steps(model, ids, 10), expected["full"][:, 10:]) < FP32


@torch.no_grad()
def test_minigpt4(write_pictured, load_lm, reference):
    """Its pictures; its text is a LLaMA's."""
    folder, args = write_pictured("minigpt4")
    expected, model = read_expected(reference, "minigpt4"), load_lm("minigpt4", folder, **args).model
    found = model.get_image_features(expected["px"]).pooler_output
    assert found.shape == expected["out"].shape and differ(found, expected["out"]) < FP32


@torch.no_grad()
def test_mplug_owl(write_pictured, load_lm, reference):
    lm = load_lm("mplug-owl", write_pictured("mplug-owl")[0])
    expected = read_expected(reference, "mplug_owl")
    assert differ(lm.model.get_image_features(expected["px"]).pooler_output, expected["feats"]) < FP32
    ids = expected["ids"].masked_fill(expected["ids"] < 0, lm.places[0])
    assert differ(lm.model(ids, pixel_values=expected["px"]).logits, expected["logits"]) < FP32


@torch.no_grad()
def test_otter(write_pictured, load_lm, reference):
    """Whole and without the last tokens; cached, its own code forgets the pictures, and ours does not."""
    model = load_lm("otter", write_pictured("otter")[0]).model
    expected = read_expected(reference, "otter")
    ids, pixels = expected["ids"], expected["px"].flatten(0, 2)
    assert differ(model.get_image_features(pixels).pooler_output, expected["vx"][0]) < FP32
    assert differ(model(ids, pixel_values=pixels).logits, expected["full"]) < FP32
    before = model(expected["ids0"], pixel_values=pixels[:1]).logits  # texts before the picture see none
    assert differ(before, expected["pre"]) < FP32
    mask = torch.tensor([[0] * 3 + [1] * ids.shape[1]])
    padded = torch.nn.functional.pad(ids, (3, 0), value=90)
    assert (
        differ(model(padded, attention_mask=mask, pixel_values=pixels).logits[:, 3:], expected["full"]) < FP32
    )
    cached = answer_in_steps(model, ids, 10, pixel_values=pixels)
    assert differ(cached, expected["full"][:, 10:]) < FP32
    assert differ(cached, expected["cached"]) > 100 * FP32
