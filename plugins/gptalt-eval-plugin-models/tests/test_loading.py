"""Folders of published files: what is wrong with them is found by headers, and loading needs one copy in memory."""

import json
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
from gptalt_eval_plugin_models.backend import choose_dtype
from gptalt_eval_plugin_models.chatglm.backend import ChatGLMLM
from gptalt_eval_plugin_models.chatglm.family import CHATGLM
from gptalt_eval_plugin_models.chatglm.layouts import convert_first, convert_later, identify
from gptalt_eval_plugin_models.checkpoint import read_checkpoint, read_headers
from gptalt_eval_plugin_models.moss.family import MOSS
from gptalt_eval_plugin_models.streaming import Checkpoint
from safetensors.torch import load_file, save_file

from gptalt_eval import GptaltError

pytestmark = pytest.mark.torch
FINAL = "transformer.encoder.final_layernorm.weight"
QUERIES = "transformer.encoder.layers.1.self_attention.query_key_value.weight"


@pytest.fixture
def folder(write_parity):
    return write_parity("chatglm2-mqa2")


def change(folder, function):
    """Rewrites the weights, with what a function makes of them."""
    state = load_file(folder / "model.safetensors")
    function(state)
    save_file(state, folder / "model.safetensors")


def split(folder, kind="safetensors"):
    """Divides the weights into two files and an index, as published."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = "model" if kind == "safetensors" else "pytorch_model"
    names, index = sorted(state), {}
    for number, part in enumerate((names[:9], names[9:]), 1):
        file = folder / f"{stem}-0000{number}-of-00002.{kind}"
        tensors = {name: state[name] for name in part}
        save_file(tensors, file) if kind == "safetensors" else torch.save(tensors, file)
        index |= dict.fromkeys(part, file.name)
    name = f"{stem}.{kind}.index.json"
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return state


def find(folder, family=CHATGLM, **args):
    return [str(fault) for fault in family.find_faults(folder, args)]


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_all_formats_are_read_alike(folder, kind):
    state = split(folder, kind)
    assert find(folder) == []
    headers = read_checkpoint(sorted(folder.glob(f"*.{kind}")))
    found = dict(Checkpoint(headers))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_views_and_types_of_torch_files_are_read(tmp_path):
    whole = torch.arange(24, dtype=torch.float16).view(4, 6)
    state = {"part": whole[1:3], "turned": whole.T, "bf16": whole.bfloat16(), "no": torch.zeros(0, 3)}
    state |= {"parameter": torch.nn.Parameter(whole.float()), "mask": whole > 5, "ids": whole.long()}
    torch.save(state, tmp_path / "weights.bin")
    found = dict(Checkpoint(read_headers(tmp_path / "weights.bin")))
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor.detach()) and found[name].dtype == tensor.dtype


def test_a_pickle_with_code_is_refused_and_not_run(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("it runs",))

    (folder / "model.safetensors").unlink()
    torch.save({"a": Trap()}, folder / "pytorch_model.bin")
    [fault] = find(folder)
    assert "contains more than weights: it calls __builtin__.print" in fault
    with pytest.raises(GptaltError, match="contains more than weights"):
        ChatGLMLM(str(folder), device="cpu")


def test_a_missing_shard_is_named(folder):
    split(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    [fault] = find(folder)
    assert "1 of 2 weight files are missing: model-00002-of-00002.safetensors" in fault


def test_a_file_of_another_model_is_named(folder):
    split(folder)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    assert any("Both " in fault and "contain the weight" in fault for fault in find(folder))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda state: state.pop(FINAL), f"1 of 24 weights are missing: {FINAL}"),
        (lambda state: state.update({"x.lora": torch.zeros(2)}), "weights that this model does not have: x.lora"),
        (lambda state: state.update({FINAL: torch.zeros(65)}), f"{FINAL} has the shape [65]; by config.json it is [64]"),
        (lambda state: state.update({QUERIES: torch.zeros(96, 64)}), f"{QUERIES} has the shape [96, 64]"),
    ],
)  # fmt: skip
def test_wrong_weights_are_named(folder, damage, told):
    change(folder, damage)
    [fault] = find(folder)
    assert told in fault and str(folder) in fault
    with pytest.raises(GptaltError):
        ChatGLMLM(str(folder), device="cpu")


def test_several_faults_are_told_together(folder):
    change(folder, lambda state: (state.pop(FINAL), state.update({"y": torch.zeros(1)})))
    (folder / "tokenizer.model").unlink()
    with pytest.raises(GptaltError) as caught:
        ChatGLMLM(str(folder), device="cpu")
    assert all(word in str(caught.value) for word in ("3 problems", FINAL, " y.", "no tokenizer"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_files_are_named(folder, name):
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / name
    save_file(state, file) if name.endswith("safetensors") else torch.save(state, file)
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"version https://git-lfs.github.com/spec/v1\n"):
        file.write_bytes(damaged)
        [fault] = find(folder)
        assert str(file) in fault


def test_damaged_settings_are_named(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["kv_channels"]
    (folder / "config.json").write_text(json.dumps(config))
    assert "lacks the setting 'kv_channels'" in find(folder)[0]
    for value in (None, "28", [1], {}):
        (folder / "config.json").write_text(json.dumps(config | {"kv_channels": 16, "num_layers": value}))
        assert "a setting of a wrong type" in find(folder)[0]
    (folder / "config.json").write_text("{")
    assert "damaged or not JSON" in find(folder)[0]
    (folder / "config.json").unlink()
    assert "config.json is missing" in find(folder)[0]
    assert "config.json is missing" in find(folder, MOSS)[0]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"quantization_bit": 4}, "quantized to 4 bits"), ({"pre_seq_len": 128}, "128 trained tokens"),
     ({"rmsnorm": False}, "rmsnorm=False"), ({"model_type": "llama"}, "does not describe a model")],
)  # fmt: skip
def test_editions_that_cannot_be_loaded_are_refused(write_parity, settings, told):
    assert told in find(write_parity("chatglm2-mqa1", **settings))[0]


@pytest.mark.parametrize(
    "setting", ["parallelize", "load_in_4bit", "autogptq", "device_map", "quantization_config"]
)
def test_what_only_transformers_loads_says_how(folder, setting):
    [fault] = find(folder, pretrained=str(folder), **{setting: True})
    assert "gptalt-eval models convert chatglm --to FOLDER" in fault
    assert f"Then: --model chatglm --model_args pretrained=FOLDER,{setting}=True" in fault
    assert find(folder, **{setting: False}) == []


def test_chatglm_6b_cannot_be_quantized(write_parity):
    folder = write_parity("chatglm1-fp32", "ice_text.model")
    [fault] = find(folder, pretrained=str(folder), load_in_4bit=True)
    assert "convert" not in fault and "Omit it; to need less memory" in fault


def test_a_setting_that_nobody_reads_is_refused(folder):
    with pytest.raises(GptaltError, match="the loader 'chatglm' has no such setting"):
        ChatGLMLM(str(folder), device="cpu", use_flash=True)


def test_types_are_as_asked_or_as_published(folder):
    assert choose_dtype("float16", {}, {}) == choose_dtype(torch.float16, {}, {}) == torch.float16
    assert choose_dtype("auto", {"torch_dtype": "bfloat16"}, {}) == torch.bfloat16
    headers = read_headers(folder / "model.safetensors")
    assert choose_dtype("auto", {"torch_dtype": None}, headers) == torch.float32
    lm = ChatGLMLM(str(folder), device="cpu", dtype="float16")
    assert {weight.dtype for weight in lm.model.parameters()} == {torch.float16}


def test_which_chatglm_it_is():
    later = {"model_type": "chatglm", "padded_vocab_size": 65024}
    assert identify({"model_type": "chatglm", "inner_hidden_size": 1}) == "chatglm"
    assert identify({**later, "_name_or_path": "THUDM/chatglm2-6b"}) == identify(later) == "chatglm2"
    assert identify({**later, "_name_or_path": "THUDM/chatglm3-6b-base"}) == "chatglm3"
    assert identify({**later, "_name_or_path": "THUDM/codegeex2-6b"}) == "chatglm2"
    assert identify({"model_type": "llama", "padded_vocab_size": 1}) is None


def test_longer_contexts_are_those_of_each_model(folder):
    config = json.loads((folder / "config.json").read_text()) | {"rope_ratio": 50}
    third = convert_later({**config, "_name_or_path": "THUDM/chatglm3-6b-32k"})["rope_parameters"]
    assert (third["rope_type"], third["rope_theta"]) == ("default", 500_000.0)
    second = convert_later({**config, "_name_or_path": "THUDM/chatglm2-6b-32k"})["rope_parameters"]
    assert (second["rope_type"], second["factor"], second["rope_theta"]) == ("linear", 50.0, 10_000.0)


def test_chatglm2_computes_angles_in_fp16_and_chatglm3_does_not(write_parity):
    """Their own code does; an angle of a late position in fp16 is another one."""
    angles = {}
    for name in ("chatglm2", "chatglm3"):
        folder = write_parity("chatglm2-mqa2", _name_or_path=f"THUDM/{name}-6b")
        model = ChatGLMLM(str(folder), device="cpu", dtype="float16").model
        places = torch.tensor([[3, 701, 2047]])
        angles[name], _ = model.model.rotary_emb(torch.zeros(1, dtype=torch.float16), places)
    size = 8
    precise = 10_000.0 ** (-torch.arange(0, size, 2) / size)
    half = 1.0 / 10_000.0 ** (torch.arange(0, size, 2, dtype=torch.float16) / size)
    turns = {"chatglm3": places[..., None] * precise, "chatglm2": (places[..., None].half() * half).float()}
    for name, turn in turns.items():
        assert torch.allclose(angles[name][..., : size // 2], turn.cos().half(), atol=1e-3)
    assert (angles["chatglm2"] - angles["chatglm3"]).abs().max() > 10 * 1e-3  # not by rounding alone


def test_an_answer_of_chatglm3_ends_where_another_turn_begins(write_parity):
    found = {}
    for name in ("chatglm2", "chatglm3"):
        lm = ChatGLMLM(str(write_parity("chatglm2-mqa2", _name_or_path=f"THUDM/{name}-6b")), device="cpu")
        found[name] = lm.model.generation_config.eos_token_id
    assert found == {"chatglm2": 2, "chatglm3": [2, 1206, 1208]}


def test_first_revisions_have_ids_of_their_own():
    sizes = {"hidden_size": 8, "num_layers": 1, "num_attention_heads": 1, "inner_hidden_size": 8}
    first = convert_first({"vocab_size": 150_528, "bos_token_id": 150_004, "eos_token_id": 150_005, **sizes})
    assert (first["gmask_token_id"], first["mask_token_id"], first["pad_token_id"]) == (
        150_001,
        150_000,
        20_003,
    )
    last = convert_first({"vocab_size": 130_528, "bos_token_id": 130_004, "gmask_token_id": 130_001, **sizes})
    assert (last["gmask_token_id"], last["mask_token_id"]) == (130_001, 130_000)


LARGE = {
    "model_type": "chatglm", "num_layers": 8, "hidden_size": 768, "ffn_hidden_size": 3072, "kv_channels": 64,
    "num_attention_heads": 12, "multi_query_attention": True, "multi_query_group_num": 2, "seq_length": 64,
    "padded_vocab_size": 24_000, "layernorm_epsilon": 1e-5, "add_qkv_bias": True, "torch_dtype": "float32",
}  # fmt: skip
MEASURE = """
    import resource, sys, torch
    from gptalt_eval_plugin_models.chatglm.backend import ChatGLMLM
    import torch._dynamo  # what loading imports, before it is measured
    from gptalt_eval_plugin_models.chatglm import layouts
    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    ChatGLMLM(sys.argv[2], device="cpu", dtype="float32")
    before = peak()
    model = ChatGLMLM(sys.argv[1], device="cpu", dtype=sys.argv[3]).model
    print(peak() - before, sum(weight.nbytes for weight in model.parameters()))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory, reference):
    """A checkpoint of 400 MB in two files."""
    made = tmp_path_factory.mktemp("large")
    (made / "config.json").write_text(json.dumps(LARGE))
    shutil.copy(reference / "tokenizers" / "tokenizer.model", made)
    weights = CHATGLM.describe(LARGE).weights
    names, index = list(weights), {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        file = made / f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: torch.full(weights[name].shape, 0.01) for name in part}, file)
        index |= dict.fromkeys(part, file.name)
    (made / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
@pytest.mark.parametrize(("dtype", "allowed"), [("float32", 1.35), ("float16", 2.0)])
def test_loading_needs_one_copy_and_the_largest_tensor(large, folder, dtype, allowed):
    """Read in fp32 and kept in fp16, the largest tensor is a third of the whole here; both copies would be 3."""
    command = [sys.executable, "-c", textwrap.dedent(MEASURE), str(large), str(folder), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, size = map(int, done.stdout.split()[-2:])
    print(f"{dtype}: {grown / size:.2f} copies of {size / 1e6:.0f} MB")
    assert size > 150e6
    assert grown / size < allowed
