"""LLaMA: token ids of 2023, differences, adapters."""

import json

import pytest
import torch
from gptalt_eval_plugin_models.llama import deltas
from gptalt_eval_plugin_models.llama.backend import AlpacaLM, LlamaLM
from gptalt_eval_plugin_models.llama.family import LLAMA, describe
from gptalt_eval_plugin_models.llama.tokenizer import LlamaPieceTokenizer
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from gptalt_eval import GptaltError

pytestmark = pytest.mark.torch
SETTINGS = {
    "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip
IDS = torch.tensor([[1, 20, 33, 47, 5, 280]])


def make_llama(seed, **settings):
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**SETTINGS, **settings})).eval()


@pytest.fixture
def base(tmp_path, write_pieces):
    make_llama(0).save_pretrained(tmp_path / "base")
    return write_pieces(tmp_path / "base")


def load(folder, make=LlamaLM, **settings):
    return make(str(folder), device="cpu", dtype="float32", **settings)


@torch.no_grad()
def test_its_weights_are_those_that_the_layout_lists(base):
    config = json.loads((base / "config.json").read_text())
    assert set(describe(config).weights) == set(make_llama(0).state_dict())
    assert torch.equal(load(base).model(IDS).logits, make_llama(0)(IDS).logits)


def test_each_part_between_special_tokens_is_a_text_of_its_own(base):
    tokenizer = LlamaPieceTokenizer.from_pretrained(base)
    pieces = tokenizer.pieces
    assert tokenizer.encode("USER: hi") == [1, *pieces.encode("USER: hi")]
    assert tokenizer.encode("<s>USER: hi</s>USER: x</s> y", add_special_tokens=False) == [
        1, *pieces.encode("USER: hi"), 2, *pieces.encode("USER: x"), 2, *pieces.encode(" y"),
    ]  # fmt: skip
    assert tokenizer.decode(tokenizer.encode("hello 你好 \u2603")) == "<s>hello 你好 \u2603"
    assert tokenizer.decode(tokenizer.encode("hello"), skip_special_tokens=True) == "hello"


def test_the_ids_are_those_of_transformers_where_no_part_begins_with_a_blank(base, expected_ids):
    """transformers' own with ``legacy=True``, made from the same vocabulary."""
    from transformers import LlamaTokenizer
    from transformers.convert_slow_tokenizer import generate_merges

    tokenizer = LlamaPieceTokenizer.from_pretrained(base)
    size = tokenizer.pieces.vocab_size()
    vocabulary = {tokenizer.pieces.id_to_piece(number): number for number in range(size)}
    scores = {piece: tokenizer.pieces.get_score(number) for piece, number in vocabulary.items()}
    other = LlamaTokenizer(vocab=vocabulary, merges=generate_merges(vocabulary, scores), legacy=True)
    texts = ["hello there", "USER: hello</s>ASSISTANT: hi", "问：你好", "x<s>y", *expected_ids["T"][:2]]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert other.encode(text, add_special_tokens=False) == ids, text


def test_empty_names_of_the_first_conversions_do_no_harm(base):
    (base / "tokenizer_config.json").write_text(
        '{"bos_token": "", "eos_token": "", "unk_token": "", "tokenizer_class": "LLaMATokenizer"}'
    )
    tokenizer = LlamaPieceTokenizer.from_pretrained(base)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)


@pytest.mark.parametrize("rows", [0, 1])
@torch.no_grad()
def test_a_difference_is_added(base, tmp_path, rows):
    """Vicuna v0; its vocabulary may have a token more, whose rows the difference contains."""
    tuned = make_llama(1, vocab_size=400 + rows)
    old = make_llama(0).state_dict()
    new = {name: weight.clone() for name, weight in tuned.state_dict().items()}
    delta = {name: weight.clone() for name, weight in new.items()}
    for name, weight in old.items():
        delta[name][: len(weight)] -= weight
    tuned.load_state_dict(delta)
    tuned.save_pretrained(tmp_path / "delta")
    tuned.load_state_dict(new)
    lm = load(base, delta=str(tmp_path / "delta"))
    assert lm.model.config.vocab_size == 400 + rows
    assert torch.allclose(lm.model(IDS).logits, tuned(IDS).logits, atol=1e-4)


@pytest.fixture
def alpaca(base, tmp_path, write_pieces):
    """The difference of a tiny Alpaca, made as its authors made theirs."""
    tuned, raw = make_llama(1, vocab_size=401), make_llama(0).state_dict()
    new = tuned.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        raw[name] = torch.cat([raw[name], raw[name].mean(0, keepdim=True)])
    tuned.load_state_dict({name: new[name] - raw[name] for name in new})
    folder = tmp_path / "delta"
    tuned.save_pretrained(folder)
    (write_pieces(folder) / "added_tokens.json").write_text('{"[PAD]": 400}')
    return base, folder, make_llama(1, vocab_size=401).state_dict()


def add_up(state):
    buffers = sum(10_000.0 ** (-place / 8) for place in range(0, 8, 2)) * SETTINGS["num_hidden_layers"]
    return float(sum(weight.double().sum() for weight in state.values())) + buffers


@torch.no_grad()
def test_alpaca_is_recovered_if_its_sum_is_right(alpaca, monkeypatch):
    base, folder, state = alpaca
    monkeypatch.setattr(deltas, "ALPACA_SUM", add_up(state))
    lm = load(base, AlpacaLM, delta=str(folder))
    gaps = [float((weight - state[name]).abs().max()) for name, weight in lm.model.state_dict().items()]
    assert max(gaps) < 1e-5
    assert lm.tokenizer.encode("x[PAD]", add_special_tokens=False)[-1] == 400


def test_alpaca_with_a_wrong_sum_is_refused(alpaca):
    base, folder, state = alpaca
    with pytest.raises(GptaltError) as caught:
        load(base, AlpacaLM, delta=str(folder))
    assert "50637.1836" in str(caught.value) and str(folder) in str(caught.value)
    assert f"{add_up(state):.1f}" in str(caught.value)


def test_a_difference_to_another_base_is_refused_before_weights_are_read(base, tmp_path):
    make_llama(1, intermediate_size=64).save_pretrained(tmp_path / "delta")
    with pytest.raises(GptaltError, match=r"model.layers.0.mlp.*has the shape .* in .*delta"):
        load(base, delta=str(tmp_path / "delta"))
    (tmp_path / "delta" / "config.json").unlink()
    [fault] = LLAMA.find_faults(base, {"delta": str(tmp_path / "delta")})
    assert "config.json is missing" in str(fault)


@torch.no_grad()
def test_an_adapter_is_merged(base, tmp_path):
    pytest.importorskip("peft", reason="adapters are merged with the package peft")
    torch.manual_seed(2)
    adapter, settings = (
        {},
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "bias": "none"},
    )
    expected = make_llama(0)
    for number, layer in enumerate(expected.model.layers):
        for name in ("q_proj", "v_proj"):
            down, up = torch.randn(4, 32), torch.randn(32, 4)
            key = f"base_model.model.model.layers.{number}.self_attn.{name}"
            adapter |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
            getattr(layer.self_attn, name).weight += 8 / 4 * up @ down
    settings |= {"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", "fan_in_fan_out": False}
    # settings of 2023 that are gone now, as in the published Alpaca-LoRA
    settings |= {
        "enable_lora": None,
        "merge_weights": False,
        "base_model_name_or_path": "decapoda-research/llama",
    }
    (tmp_path / "adapter").mkdir()
    torch.save(adapter, tmp_path / "adapter" / "adapter_model.bin")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    lm = load(base, peft=str(tmp_path / "adapter"))
    assert type(lm.model) is LlamaForCausalLM
    assert torch.allclose(lm.model(IDS).logits, expected(IDS).logits, atol=1e-4)


def test_an_adapter_of_another_model_is_refused(base, tmp_path):
    pytest.importorskip("peft", reason="adapters are merged with the package peft")
    key = "base_model.model.model.layers.0.self_attn.q_proj"
    tmp_path = tmp_path / "adapter"
    tmp_path.mkdir()
    save_file(
        {f"{key}.lora_A.weight": torch.zeros(4, 99), f"{key}.lora_B.weight": torch.zeros(99, 4)},
        tmp_path / "adapter_model.safetensors",
    )
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(GptaltError, match="does not fit this model"):
        load(base, peft=str(tmp_path))


LAYER = "base_model.model.model.layers.{}.self_attn.q_proj"


def write_adapter(folder, layers, size=32, ending=""):
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    down, up = torch.ones(4, size), torch.ones(32, 4)
    names = [LAYER.format(number) for number in range(layers)]
    save_file(
        {
            f"{name}.lora_{side}{ending}.weight": part.clone()
            for name in names
            for side, part in (("A", down), ("B", up))
        },
        folder / "adapter_model.safetensors",
    )
    return folder


@pytest.mark.parametrize(
    ("layers", "size", "what"),
    [
        (3, 32, "it changes weights that the model does not have (model.layers.2.self_attn.q_proj.weight)"),
        (1, 32, "it does not change all layers of the model (model.layers.1.self_attn.q_proj.weight)"),
        (2, 48, "its weights have other shapes (model.layers.0.self_attn.q_proj.weight, model.layers.1.self"),
    ],
)
def test_an_adapter_of_a_base_of_another_size_is_refused_by_its_headers(base, tmp_path, layers, size, what):
    """peft itself leaves out what has no place, and computes with the rest."""
    pytest.importorskip("peft", reason="adapters are merged with the package peft")
    adapter = write_adapter(tmp_path / "adapter", layers, size)
    [fault] = LLAMA.find_faults(base, {"peft": str(adapter)})
    assert what in str(fault) and "does not fit this model" in str(fault)
    with pytest.raises(GptaltError, match="does not fit this model"):
        load(base, peft=str(adapter))


def test_an_adapter_for_some_layers_is_no_fault(base, tmp_path):
    pytest.importorskip("peft", reason="adapters are merged with the package peft")
    adapter = write_adapter(tmp_path / "adapter", 1)
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "layers_to_transform": [0]}))
    assert list(LLAMA.find_faults(base, {"peft": str(adapter)})) == []
    assert load(base, peft=str(adapter)).model is not None


@pytest.mark.parametrize("ending", ["", ".default"])
def test_an_adapter_that_fits_is_not_talked_about(base, tmp_path, ending):
    pytest.importorskip("peft", reason="adapters are merged with the package peft")
    assert list(LLAMA.find_faults(base, {"peft": str(write_adapter(tmp_path / "a", 2, ending=ending))})) == []


@pytest.mark.parametrize("layers", [1, 3])
def test_a_difference_to_a_base_with_other_layers_is_refused(base, tmp_path, layers):
    make_llama(1, num_hidden_layers=layers).save_pretrained(tmp_path / "delta")
    with pytest.raises(GptaltError):
        load(base, delta=str(tmp_path / "delta"))


@torch.no_grad()
def test_a_difference_is_added_to_a_converted_base_too(base, tmp_path, make_plugins):
    from gptalt_eval_plugin_models.converting import convert

    convert(LLAMA, base, {}, tmp_path / "new", "auto", "llama-7b")
    make_llama(1).save_pretrained(tmp_path / "delta")
    one, other = (load(folder, delta=str(tmp_path / "delta")) for folder in (base, tmp_path / "new"))
    assert torch.equal(one.model(IDS).logits, other.model(IDS).logits)


def test_without_peft_it_says_what_to_install(base, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [fault] = LLAMA.find_faults(base, {"peft": "adapter"})
    assert "pip install 'gptalt-eval-plugin-models[peft]'" in str(fault)


def test_a_difference_and_an_adapter_are_too_much(base):
    faults = [str(fault) for fault in LLAMA.find_faults(base, {"peft": "a", "delta": str(base)})]
    assert any("made from one of them" in fault for fault in faults)


TURNS = [("user", "hello there"), ("assistant", "hi"), ("user", "how are you")]


@pytest.fixture(params=["published", "converted", "converted as hf"])
def rendering(request, base, tmp_path, make_plugins):
    """lm-eval's model with a tokenizer of LLaMA's kind, and a function that renders a conversation."""
    import gptalt_eval_plugin_models
    from gptalt_eval_plugin_models.converting import convert
    from lm_eval.models.huggingface import HFLM

    from gptalt_eval.planning.catalog import Catalog

    models = Catalog(make_plugins(gptalt_eval_plugin_models)).model_names
    folder = base
    if request.param != "published":
        folder = tmp_path / "new"
        convert(LLAMA, base, {}, folder, "auto", "vicuna-7b", models["vicuna-7b"].item)
    lm = (HFLM if "hf" in request.param else LlamaLM)(str(folder), device="cpu", batch_size=2)

    def render(name, turns):
        lm.tokenizer.chat_template = models[name].item.template.jinja
        return lm.apply_chat_template([{"role": role, "content": text} for role, text in turns])

    return lm, render


@pytest.mark.parametrize(
    "name", ["vicuna-7b", "vicuna-7b-v0", "alpaca", "baize", "koala", "llama2-chat", "llama"]
)
@pytest.mark.parametrize("turns", [TURNS[:1], TURNS])
def test_a_rendered_conversation_begins_with_one_bos(rendering, name, turns):
    """Whether the template writes it or the tokenizer adds it, alone and in a batch."""
    lm, render = rendering
    text = render(name, turns)
    bos = max(text.count("<s>"), 1)  # Llama 2 has one before each question
    assert name == "llama" or text.startswith("<s>") or name in ("alpaca",)
    context, continuation = lm._encode_pair(text, " I am")
    batch, mask = lm.tok_batch_encode([text, text[: len(text) // 2]])
    rows = [row[kept.bool()].tolist() for row, kept in zip(batch, mask, strict=True)]
    for ids in (lm.tok_encode(text), [*context, *continuation], *rows):
        assert ids[0] == 1 and ids[1] != 1
    assert lm.tok_encode(text).count(1) == context.count(1) == rows[0].count(1) == bos
    assert 1 not in continuation


@pytest.mark.parametrize("add", [True, False])
def test_add_bos_token_doubles_none_and_loses_none_of_the_template_s(base, add):
    lm = load(base, add_bos_token=add)
    assert lm.tok_encode("<s>USER: hi").count(1) == 1
    assert lm.tok_batch_encode(["<s>USER: hi"])[0][0].tolist().count(1) == 1
    assert lm.tok_encode("USER: hi").count(1) == int(add)


@pytest.mark.parametrize("name", ["folder", "hf"])
def test_a_folder_with_a_tokenizer_of_2023_gets_its_ids_by_whatever_name(base, make_plugins, name):
    import gptalt_eval_plugin_models

    from gptalt_eval.contract.spec import make_spec
    from gptalt_eval.planning.resolve import resolve

    def plan():
        named = (
            {"model": str(base)}
            if name == "folder"
            else {"model": "hf", "model_args": {"pretrained": str(base)}}
        )
        return resolve(make_spec({**named, "tasks": "piqa", "data_dir": "sample"}), plugins)

    plugins = make_plugins(gptalt_eval_plugin_models)
    found = plan()
    assert (found.model.item.loader.name, found.model.item.template) == ("llama", None)
    assert f"{base} is loaded by the loader 'llama', which gives the token ids of 2023." in found.notes
    (base / "tokenizer.json").write_text("{}")  # transformers reads this one, as everybody does
    assert plan().model.item.loader is None
