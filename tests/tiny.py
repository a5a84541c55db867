"""Language models of two layers and random weights, and a tokenizer for them."""

from functools import cache

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = [
    "Question: how many apples are left if seven of twelve are eaten?", "Answer: twelve minus seven is five apples.",
    "Question: what is the capital of the country in the north?", "Answer: nobody here knows the capital.",
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
]  # fmt: skip
VOCABULARY = 150
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.3,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2}
OLD = {"vocab_size": VOCABULARY, "n_head": 4, "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.3}

MAKERS = {
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**GROUPED)),
    "llama_scaled_rope": lambda: tf.LlamaForCausalLM(
        tf.LlamaConfig(**GROUPED, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0})
    ),
    "gpt_neox": lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**SIZES)),
    "opt": lambda: tf.OPTForCausalLM(
        tf.OPTConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48,
            max_position_embeddings=64, word_embed_proj_dim=16, init_std=0.3, pad_token_id=2,
            bos_token_id=0, eos_token_id=1,
        )
    ),
    "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**GROUPED)),
    "glm": lambda: tf.GlmForCausalLM(tf.GlmConfig(**GROUPED, head_dim=8)),
    "gpt2": lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**OLD, n_embd=32, n_layer=2, n_positions=64)),
    "codegen": lambda: tf.CodeGenForCausalLM(
        tf.CodeGenConfig(**OLD, n_embd=32, n_layer=2, rotary_dim=4, n_positions=64)
    ),
    "gptj": lambda: tf.GPTJForCausalLM(tf.GPTJConfig(**OLD, n_embd=32, n_layer=2, rotary_dim=4, n_positions=64)),
    "falcon": lambda: tf.FalconForCausalLM(
        tf.FalconConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            initializer_range=0.3, bos_token_id=0, eos_token_id=1,
        )
    ),
    "bloom": lambda: tf.BloomForCausalLM(tf.BloomConfig(**OLD, hidden_size=32, n_layer=2)),
    "mpt": lambda: tf.MptForCausalLM(
        tf.MptConfig(
            vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=64, initializer_range=0.3,
            bos_token_id=0, eos_token_id=1,
        )
    ),
    "mistral_window": lambda: tf.MistralForCausalLM(tf.MistralConfig(**GROUPED, sliding_window=24)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**GROUPED, head_dim=8, sliding_window=24)),
    "rwkv": lambda: tf.RwkvForCausalLM(
        tf.RwkvConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32,
            context_length=64, bos_token_id=0, eos_token_id=1,
        )
    ),
    "mamba": lambda: tf.MambaForCausalLM(
        tf.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8)
    ),
    "mamba2": lambda: tf.Mamba2ForCausalLM(
        tf.Mamba2Config(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=8, head_dim=8,
            n_groups=2, chunk_size=16,
        )
    ),
    "falcon_mamba": lambda: tf.FalconMambaForCausalLM(
        tf.FalconMambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8)
    ),
    "t5": lambda: tf.T5ForConditionalGeneration(
        tf.T5Config(
            vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
            decoder_start_token_id=2, pad_token_id=2, eos_token_id=1,
        )
    ),
}  # fmt: skip


@cache
def make_model(name):
    torch.manual_seed(0)
    return MAKERS[name]().eval()


@cache
def make_tokenizer():
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = [*sorted({char for text in SENTENCES for char in text.replace(" ", "Ġ")}), "Ċ"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    inner.train_from_iterator(SENTENCES, trainer)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def save_model(name, folder):
    """The model and its tokenizer in a folder, as ``pretrained=`` takes it."""
    make_model(name).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
