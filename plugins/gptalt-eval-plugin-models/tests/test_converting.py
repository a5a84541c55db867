"""``gptalt-eval models convert`` writes folders that transformers loads without this package."""

import argparse
import json
import shutil

import pytest
import torch
from gptalt_eval_plugin_models import converting
from gptalt_eval_plugin_models.chatglm.backend import ChatGLMLM
from gptalt_eval_plugin_models.chatglm.tokenizers import ChatGLM3Tokenizer
from gptalt_eval_plugin_models.converting import run_convert
from gptalt_eval_plugin_models.fast_tokenizers import find_difference
from gptalt_eval_plugin_models.llama.tokenizer import LlamaPieceTokenizer
from gptalt_eval_plugin_models.moss.backend import MossLM, read_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CodeGenForCausalLM,
    GlmForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from gptalt_eval import GptaltError

pytestmark = pytest.mark.torch
IDS = torch.tensor([[1, 20, 33, 47, 5, 28]])


@pytest.fixture
def convert(make_plugins, tmp_path, capsys):
    import gptalt_eval_plugin_models

    plugins = make_plugins(gptalt_eval_plugin_models)

    def run(name, folder, dtype="auto", to=tmp_path / "new", **args):
        given = ",".join(f"{key}={value}" for key, value in {"pretrained": folder, **args}.items())
        arguments = argparse.Namespace(model=name, to=to, model_args=given, dtype=dtype)
        assert run_convert(arguments, plugins) == 0
        return to, capsys.readouterr().out

    return run


@torch.no_grad()
def compare(folder, expected, kind, atol=1e-6):
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert type(model) is kind
    assert torch.allclose(model(IDS).logits, expected(IDS).logits, atol=atol)
    return model


@pytest.mark.parametrize("name", ["chatglm2", "chatglm3"])
def test_later_chatglms_are_loaded_by_transformers(write_parity, convert, expected_ids, name):
    folder = write_parity("chatglm2-mqa2", _name_or_path=f"THUDM/{name}-6b")
    lm = ChatGLMLM(str(folder), device="cpu")
    new, printed = convert("chatglm", folder)
    model = compare(new, lm.model, GlmForCausalLM)
    tokenizer = AutoTokenizer.from_pretrained(new)
    version = {"chatglm2": "v2", "chatglm3": "v3"}[name]
    texts, ids = expected_ids["T"], expected_ids["out"][version]["ids"]
    assert [tokenizer.encode(text, split_special_tokens=True) for text in texts] == ids
    if name == "chatglm2":
        assert [tokenizer.encode(text) for text in texts] == ids
        assert "tokenizer(text)" in printed
    else:
        literal = [text for text, right in zip(texts, ids, strict=True) if tokenizer.encode(text) != right]
        assert literal == ["a[MASK]b [gMASK] <sop> c", "<|user|>\n hi<|assistant|>", "</s> <unk> <pad>"]
        assert model.generation_config.eos_token_id == [2, 1206, 1208]
    assert [tokenizer.decode(each) for each in expected_ids["out"][version]["nos"]] == expected_ids["out"][
        version
    ]["dec"]
    page = (new / "README.md").read_text()  # that of this edition, whatever name was typed
    assert "Licence of the weights" in page and f"Published at: THUDM/{name}-6b" in page
    again = ChatGLMLM(str(new), device="cpu")
    assert again.name == name
    assert torch.equal(again.model(IDS).logits, model(IDS).logits)
    with pytest.raises(GptaltError, match="was converted before"):
        convert("chatglm", new, to=new.parent / "newer")


def test_a_rendered_conversation_keeps_its_ids(write_parity, convert, reference):
    folder = write_parity("chatglm2-mqa2", _name_or_path="THUDM/chatglm3-6b")
    new, _ = convert("chatglm", folder)
    messages = [{"role": "user", "content": "hello world"}]
    tokenizer = AutoTokenizer.from_pretrained(new)
    found = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    slow = ChatGLM3Tokenizer(str(folder / "tokenizer.model"), encode_special_tokens=True)
    assert found == slow.encode("<|user|>\n hello world<|assistant|>")


def test_the_first_chatglm_keeps_its_format(write_parity, convert):
    folder = write_parity("chatglm1-fp32", "ice_text.model", auto_map={"AutoModel": "modeling_chatglm.X"})
    lm = ChatGLMLM(str(folder), device="cpu")
    new, printed = convert("chatglm", folder)
    again = ChatGLMLM(str(new), device="cpu")
    assert torch.equal(again.model(IDS).logits, lm.model(IDS).logits)
    assert again.tokenizer("hello")["input_ids"] == lm.tokenizer("hello")["input_ids"]
    assert "auto_map" not in json.loads((new / "config.json").read_text())
    assert "--model chatglm --model_args pretrained=FOLDER" in printed


def test_moss_is_loaded_by_transformers(write_parity, write_moss_tokenizer, convert):
    folder = write_moss_tokenizer(write_parity("moss", None))
    lm = MossLM(str(folder), device="cpu")
    new, _ = convert("moss", folder)
    compare(new, lm.model, CodeGenForCausalLM)
    tokenizer = AutoTokenizer.from_pretrained(new)
    texts = ["<|Human|>: hello<eoh>\n<|MOSS|>: hi <eom>\n", "问：你好 <eoh>", "", " a  b\n\n"]
    assert [tokenizer.encode(text) for text in texts] == [lm.tokenizer.encode(text) for text in texts]
    assert lm.family.name_model(json.loads((new / "config.json").read_text())) == "moss"
    assert MossLM(str(new), device="cpu").tokenizer.encode(texts[0]) == lm.tokenizer.encode(texts[0])


def test_mosss_role_tokens_take_the_blanks_beside_them(write_moss_tokenizer, tmp_path):
    tokenizer = read_tokenizer(write_moss_tokenizer(tmp_path))
    end = tokenizer.convert_tokens_to_ids("<eoh>")
    hello, hi = tokenizer.encode("hello"), tokenizer.encode("hi")
    assert tokenizer.encode("hello <eoh>\n hi") == [*hello, end, *hi]
    assert tokenizer.eos_token == "<eom>" and tokenizer.bos_token == "<|endoftext|>"


@pytest.fixture
def llama(tmp_path, write_pieces):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "base")
    return write_pieces(tmp_path / "base"), model


def test_a_sum_is_loaded_by_transformers(llama, convert, tmp_path):
    base, model = llama
    shutil.copytree(base, tmp_path / "delta")
    new, _ = convert("llama", base, delta=tmp_path / "delta")
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 2
    compare(new, model, LlamaForCausalLM, 1e-4)
    slow, fast = LlamaPieceTokenizer.from_pretrained(base), AutoTokenizer.from_pretrained(new)
    assert find_difference(fast, slow) is None
    for text in ("<s>USER: hi</s> ASSISTANT: x</s>y", "a</s>"):
        assert fast.encode(text) == slow.encode(text)


def test_a_type_can_be_asked_for(llama, convert, monkeypatch):
    monkeypatch.setattr("gptalt_eval_plugin_models.writing.SHARD", 10_000)
    new, _ = convert("llama", llama[0], dtype="float16")
    model = AutoModelForCausalLM.from_pretrained(new)
    assert {weight.dtype for weight in model.parameters()} == {torch.float16}
    assert len(list(new.glob("model-*.safetensors"))) > 3
    sizes = [file.stat().st_size for file in new.glob("model-*.safetensors")]
    assert max(sizes) < 30_000  # a tensor larger than a shard is alone in one


def test_nothing_is_left_if_it_fails(llama, convert, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gptalt_eval_plugin_models.writing.write_settings", fail)
    with pytest.raises(KeyboardInterrupt):
        convert("llama", llama[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_what_cannot_be_converted_is_told_before(llama, convert, tmp_path, monkeypatch):
    base, _ = llama
    with pytest.raises(GptaltError, match="exists already"):
        convert("llama", base, to=base)
    with pytest.raises(GptaltError, match=r"There is no model folder"):
        convert("llama", tmp_path / "nowhere")
    with pytest.raises(GptaltError, match="does not describe a model that the loader 'moss' knows"):
        convert("moss", base)
    with pytest.raises(GptaltError, match="needs no conversion"):
        convert("smollm2", base)
    monkeypatch.setattr(converting, "RESERVE", 10**18)
    with pytest.raises(GptaltError, match=r"needs .* GB, and its disk has .* GB free"):
        convert("llama", base)


@pytest.mark.parametrize("name", ["chatglm2", "moss"])
def test_a_converted_folder_can_be_quantized_under_its_name(
    write_parity, write_moss_tokenizer, convert, monkeypatch, name
):
    from gptalt_eval.scoring.guarded import add_guard

    folder = (
        write_parity("chatglm2-mqa2")
        if name == "chatglm2"
        else write_moss_tokenizer(write_parity("moss", None))
    )
    new, _ = convert(name, folder)
    kind = add_guard(ChatGLMLM if name == "chatglm2" else MossLM)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")  # bitsandbytes is not needed here
    given = {}

    def note(self, place, *args, **settings):
        given.update(settings)
        raise LookupError

    monkeypatch.setattr("gptalt_eval.scoring.fitting.Watched.from_pretrained", note)
    with pytest.raises(LookupError):
        kind(str(new), device="cpu", load_in_4bit=True, attn_implementation="eager")
    assert given["quantization_config"].load_in_4bit is True
    assert given["attn_implementation"] == "eager"


@pytest.mark.parametrize(
    ("name", "part"), [("vicuna-7b-v0", "delta"), ("alpaca", "delta"), ("baize", "peft")]
)
def test_a_base_alone_is_not_written_as_what_is_made_from_it(convert, llama, name, part):
    folder, _ = llama
    with pytest.raises(GptaltError) as caught:
        convert(name, folder)
    assert f"'{name}' is made from a base and " in caught.value.what
    assert caught.value.hint == f"Add it: --model_args pretrained={folder},{part}=FOLDER"
