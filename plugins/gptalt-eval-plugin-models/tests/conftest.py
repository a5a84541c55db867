"""Tiny folders in the formats of 2023, from the reference of this project."""

import json
import shutil
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared" / "reference"


@pytest.fixture(scope="session")
def reference():
    """The folder with what the models' own code answered."""
    if not SHARED.is_dir():
        pytest.skip("the reference tensors are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def expected_ids(reference):
    return json.loads((reference / "tokenizers" / "expected.json").read_text())


@pytest.fixture(scope="session")
def write_parity(reference, tmp_path_factory):
    """Copies a parity folder, with a tokenizer, to a folder of its own."""

    def write(name, tokenizer="tokenizer.model", **settings):
        folder = tmp_path_factory.mktemp(name)
        for file in ("config.json", "model.safetensors"):
            if (reference / "parity" / name / file).is_file():
                shutil.copy(reference / "parity" / name / file, folder)
        if tokenizer:
            shutil.copy(reference / "tokenizers" / tokenizer, folder)
        if settings:
            file = folder / "config.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | settings))
        return folder

    return write


SENTENCES = [
    "Question: how many apples are left if seven of twelve are eaten?", "Answer: twelve minus seven is five apples.",
    "A chat between a curious user and an assistant.", "USER: hello ASSISTANT: hi there", "问：你好吗？ 答：很好。",
]  # fmt: skip


@pytest.fixture(scope="session")
def write_pieces(tmp_path_factory):
    """Trains a sentencepiece model of LLaMA's kind and writes it into a folder."""
    from sentencepiece import SentencePieceTrainer

    made = tmp_path_factory.mktemp("pieces")
    text = made / "text.txt"
    text.write_text("\n".join(SENTENCES * 3), encoding="utf-8")
    SentencePieceTrainer.train(
        input=str(text), model_prefix=str(made / "tokenizer"), vocab_size=400, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip

    def write(folder):
        shutil.copy(made / "tokenizer.model", folder)
        return folder

    return write


@pytest.fixture(scope="session")
def write_moss_tokenizer():
    """Writes vocab.json, merges.txt and added_tokens.json, as MOSS has them, into a folder."""

    def write(folder):
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
        inner.train_from_iterator(SENTENCES, trainer)
        inner.model.save(str(folder))
        size = inner.get_vocab_size()
        added = {
            name: size + place for place, name in enumerate(("<|endoftext|>", "<eoh>", "<eom>", "<eot>"))
        }
        (folder / "added_tokens.json").write_text(json.dumps(added))
        return folder

    return write


#: models that see pictures, and what the reference calls them
PICTURED = {"minigpt4": "minigpt4", "mplug-owl": "mplug_owl", "otter": "otter"}
CLIP = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
TEXT = {
    "model_type": "llama", "vocab_size": 99, "hidden_size": 48, "intermediate_size": 64,
    "num_hidden_layers": 4, "num_attention_heads": 4, "rms_norm_eps": 1e-6,
}  # fmt: skip
SETTINGS = {
    "minigpt4": {
        "vision_config": {
            "hidden_size": 32, "intermediate_size": 139, "num_hidden_layers": 3, "num_attention_heads": 4,
            "image_size": 28, "patch_size": 14,
        },
        "qformer_config": {
            "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
            "cross_attention_frequency": 2, "vocab_size": 30,
        },
        "num_query_tokens": 5, "model_type": "minigpt4",
    },
    "otter": {
        "model_type": "otter", "vision_config": CLIP, "text_config": TEXT, "media_token_id": 90,
        "cross_attn_every_n_layers": 2,
        "perceiver": {"latents": 5, "layers": 2, "heads": 2, "head_size": 16},
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def write_base(write_pieces):
    """Writes a LLaMA with random weights, which is MiniGPT-4's Vicuna."""

    def write(folder, vocabulary=99, hidden=40):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=vocabulary, hidden_size=hidden, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, initializer_range=0.3, max_position_embeddings=2048,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
        return write_pieces(folder)

    return write


@pytest.fixture(scope="session")
def write_pictured(write_parity, write_pieces, write_base, tmp_path_factory):
    """Writes a folder of a model that sees pictures, as published; returns it and the arguments for it."""

    def write(name):
        folder = write_pieces(write_parity(PICTURED[name], None))
        if name in SETTINGS:
            (folder / "config.json").write_text(json.dumps(SETTINGS[name]))
        if name != "minigpt4":
            return folder, {}
        return folder, {"base": str(write_base(tmp_path_factory.mktemp("base")))}

    return write


@pytest.fixture(scope="session")
def load_lm():
    """Loads a folder with the loader of a name."""
    from gptalt_eval_plugin_models.families import FAMILIES

    loaders = {family.name: family for family in FAMILIES}

    def load(name, folder, **settings):
        settings = {"dtype": "float32", "batch_size": 2, "device": "cpu", **settings}
        return loaders[name].make_class()(str(folder), **settings)

    return load


@pytest.fixture
def write_text_folder(tmp_path_factory, write_pieces, write_base):
    """Like ``write_pictured``, with random weights and a vocabulary that is large enough for texts."""

    def write(name):
        import torch
        from gptalt_eval_plugin_models.families import FAMILIES
        from safetensors.torch import save_file
        from sentencepiece import SentencePieceProcessor

        [family] = [family for family in FAMILIES if family.name == name]
        folder = write_pieces(tmp_path_factory.mktemp(name))
        pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).vocab_size()
        text = {**TEXT, "vocab_size": pieces, "max_position_embeddings": 2048}
        config = SETTINGS.get(name) or {
            "model_type": "mplug-owl", "vision_config": CLIP, "text_config": text, "num_query_tokens": 6,
            "visual_abstractor_config": {
                "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
            },
        }  # fmt: skip
        args = {}
        if name == "otter":
            text["vocab_size"] += 4
            config = {**config, "text_config": text, "media_token_id": pieces + 1}
        if name == "minigpt4":
            args = {"base": str(write_base(tmp_path_factory.mktemp("base"), vocabulary=pieces))}
        (folder / "config.json").write_text(json.dumps(config))
        torch.manual_seed(1)
        state = {}
        for key, weight in family.describe(family.read_whole(folder, args)).weights.items():
            is_norm = key.endswith(".weight") and len(weight.shape) == 1
            if weight.required:
                state[key] = torch.ones(weight.shape) if is_norm else torch.randn(weight.shape) * 0.2
        save_file(state, folder / "model.safetensors")
        return folder, args

    return write


FIRST = {
    "model_type": "chatglm", "vocab_size": 1400, "hidden_size": 32, "num_layers": 2, "num_attention_heads": 4,
    "inner_hidden_size": 64, "layernorm_epsilon": 1e-5, "max_sequence_length": 512, "bos_token_id": 89,
    "eos_token_id": 90, "pad_token_id": 84, "mask_token_id": 85, "gmask_token_id": 86,
    "position_encoding_2d": True, "torch_dtype": "float32",
}  # fmt: skip
LATER = {
    "model_type": "chatglm", "padded_vocab_size": 1216, "hidden_size": 32, "num_layers": 2,
    "num_attention_heads": 4, "kv_channels": 8, "multi_query_attention": True, "multi_query_group_num": 2,
    "ffn_hidden_size": 48, "layernorm_epsilon": 1e-5, "seq_length": 512, "add_qkv_bias": True,
    "rmsnorm": True, "post_layer_norm": True, "add_bias_linear": False, "torch_dtype": "float32",
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
NAMES = {"chatglm": FIRST, "chatglm2": LATER, "chatglm3": {**LATER, "_name_or_path": "THUDM/chatglm3-6b"}}


@pytest.fixture(scope="session")
def folders(reference, tmp_path_factory):
    """A folder of each ChatGLM, as published: original names, config.json, tokenizer."""
    import torch
    from gptalt_eval_plugin_models.chatglm.family import CHATGLM
    from safetensors.torch import save_file

    made = {}
    for name, config in NAMES.items():
        folder = made[name] = tmp_path_factory.mktemp(name)
        (folder / "config.json").write_text(json.dumps(config))
        torch.manual_seed(0)
        state = {}
        for key, weight in CHATGLM.describe(config).weights.items():
            is_norm = "layernorm.weight" in key
            state[key] = torch.ones(weight.shape) if is_norm else torch.randn(weight.shape) * 0.15
        save_file(state, folder / "model.safetensors")
        tokenizer = "ice_text.model" if name == "chatglm" else "tokenizer.model"
        shutil.copy(reference / "tokenizers" / tokenizer, folder)
    return made
