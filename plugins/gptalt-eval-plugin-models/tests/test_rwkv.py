"""RWKV-4: original and transformers' names, states of batches, and padding."""

import json

import pytest
import torch
from gptalt_eval_plugin_models.converting import convert
from gptalt_eval_plugin_models.rwkv.backend import RwkvLM
from gptalt_eval_plugin_models.rwkv.family import RWKV, describe, list_shapes, read_settings, rename
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, RwkvConfig, RwkvForCausalLM

from gptalt_eval import find_model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.scoring.guarded import add_guard

pytestmark = pytest.mark.torch
SETTINGS = {
    "model_type": "rwkv", "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3,
    "attention_hidden_size": 32, "intermediate_size": 128, "context_length": 64, "bos_token_id": 0,
    "eos_token_id": 0,
}  # fmt: skip
ORIGINAL = {**SETTINGS, "rwkv_original": True, "context_length": 128}
IDS = torch.tensor([[3, 7, 11, 23, 5, 40], [9, 2, 58, 31, 17, 6]])


def make_state(config):
    torch.manual_seed(0)
    return {name: torch.randn(shape) * 0.4 for name, shape in list_shapes(config).items()}


def write_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"<|endoftext|>": 0, **{chr(64 + number): number for number in range(1, 60)}}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.save(str(folder / "20B_tokenizer.json"))


@pytest.fixture
def original(tmp_path):
    """A folder as the original code's author published it."""
    torch.save(make_state(ORIGINAL), tmp_path / "RWKV-4-tiny-ctx128.pth")
    write_tokenizer(tmp_path)
    return tmp_path


@pytest.fixture
def native(tmp_path):
    """transformers' own model with the same weights."""
    model = RwkvForCausalLM(RwkvConfig(**SETTINGS)).eval()
    model.load_state_dict({rename(name): tensor for name, tensor in make_state(SETTINGS).items()})
    return model


def load(folder, **settings):
    return RwkvLM(str(folder), device="cpu", dtype="float32", **settings)


@torch.no_grad()
def test_the_original_weights_are_those_of_transformers_by_other_names(original, native):
    lm = load(original)
    assert read_settings(original) == ORIGINAL
    assert lm.max_length == 128
    assert torch.allclose(lm.model(IDS).logits, native(IDS).logits, atol=1e-5)


@torch.no_grad()
def test_a_folder_of_transformers_is_loaded_too(tmp_path, native):
    native.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(describe(config).weights) == set(native.state_dict())
    assert torch.allclose(load(tmp_path).model(IDS).logits, native(IDS).logits, atol=1e-5)


@torch.no_grad()
def test_one_token_of_several_rows_gets_the_answer_of_each_row(original, native):
    model = load(original).model
    whole = model(IDS).logits
    out, logits = model(IDS[:, :3], use_cache=True), []
    for place in range(3, 6):
        out = model(IDS[:, place : place + 1], state=out.state, use_cache=True)
        logits.append(out.logits)
    assert torch.allclose(torch.cat(logits, 1), whole[:, 3:], atol=1e-4)
    broken = native(IDS[:, 3:4], state=native(IDS[:, :3], use_cache=True).state)
    assert broken.logits.shape != whole[:, 3:4].shape, "transformers is repaired: remove our own class"


@torch.no_grad()
def test_padding_on_the_left_changes_nothing(original):
    model = load(original).model
    padded = torch.cat([torch.zeros(1, 2, dtype=torch.long), IDS[:1, :4]], 1)
    ids = torch.cat([padded, IDS[1:]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    out = model(ids, attention_mask=mask, use_cache=True)
    assert torch.allclose(out.logits[0, 2:], model(IDS[:1, :4]).logits[0], atol=1e-5)
    assert torch.allclose(out.logits[1], model(IDS[1:]).logits[0], atol=1e-5)
    alone = [model.generate(row, do_sample=False, max_new_tokens=6) for row in (IDS[:1, :4], IDS[1:])]
    both = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=6)
    assert both[:, 6:].tolist() == [alone[0][0, 4:].tolist(), alone[1][0, 6:].tolist()]
    slow = IDS[1:]
    for _ in range(6):
        slow = torch.cat([slow, model(slow).logits[:, -1:].argmax(-1)], 1)
    assert both[1:].tolist() == slow.tolist()


def test_decays_stay_precise_in_fp16(original):
    model = RwkvLM(str(original), device="cpu", dtype="float16").model
    kinds = {name.rpartition(".")[2]: weight.dtype for name, weight in model.named_parameters()}
    assert kinds["time_decay"] == kinds["time_first"] == torch.float32
    assert kinds["time_mix_key"] == torch.float16


def test_what_is_not_one_original_model_is_refused(original, tmp_path):
    torch.save({"emb.weight": torch.zeros(4, 4)}, original / "other.pth")
    [fault] = RWKV.find_faults(original, {})
    assert "several models: RWKV-4-tiny-ctx128.pth, other.pth" in str(fault)
    (original / "RWKV-4-tiny-ctx128.pth").unlink()
    [fault] = RWKV.find_faults(original, {})
    assert "other.pth does not contain an RWKV-4 model" in str(fault)


def test_its_tokenizer_is_read(original):
    assert isinstance(load(original).tokenizer, PreTrainedTokenizerFast)


def test_weights_of_transformers_without_one_are_refused(tmp_path, native):
    state = native.state_dict()
    del state["rwkv.blocks.1.attention.time_decay"]
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    write_tokenizer(tmp_path)
    [fault] = RWKV.find_faults(tmp_path, {})
    assert "rwkv.blocks.1.attention.time_decay" in str(fault)


TEXTS = ["@A", "ABCDEFG", "QRS", "XYZ@A"]


def generate(lm):
    asked = [
        Instance("generate_until", {}, (" ".join(text), {"max_gen_toks": 5}), number, doc_id=number)
        for number, text in enumerate(TEXTS)
    ]
    return lm.generate_until(asked)


@pytest.mark.parametrize("name", ["folder", "hf", "converted", "converted hf"])
def test_a_folder_of_transformers_gets_the_repair_by_whatever_name(tmp_path, make_plugins, native, name):
    """Also with lm-eval's own scorer, in batches: transformers' code answers there by other rows."""
    import gptalt_eval_plugin_models

    folder = tmp_path / "rwkv"
    native.save_pretrained(folder)
    write_tokenizer(folder)
    plugins = make_plugins(gptalt_eval_plugin_models)
    if "converted" in name:
        model = find_model("rwkv-raven", plugins, folder)
        convert(RWKV, folder, {}, tmp_path / "new", "auto", model.name, model)
        folder = tmp_path / "new"
    named = {"folder": (str(folder), {}), "converted": (str(folder), {})}
    model, args = named.get(name, ("hf", {"pretrained": str(folder)}))
    plan = resolve(
        make_spec({"model": model, "model_args": args, "tasks": "piqa", "data_dir": "sample"}), plugins
    )
    item = plan.model.item
    assert item.loader.name == "rwkv"
    template = Catalog(plugins).models["rwkv-raven"].item.template
    assert item.template == (template if name == "converted" else None)
    kind = add_guard(item.loader.make_class())
    answers = [generate(kind(str(folder), device="cpu", batch_size=size)) for size in (1, 4)]
    assert answers[0] == answers[1]
    read = kind(str(folder), device="cpu").tokenizer
    stock = [generate(HFLM(str(folder), device="cpu", batch_size=size, tokenizer=read)) for size in (1, 4)]
    assert stock[0] == answers[0] != stock[1], "transformers is repaired: remove our own class"
