"""Every causal architecture that transformers can build tiny: ours against each request alone, in float32.

    python benchmarks/architectures.py [--only llama,phi3]

The weights are random. The requests share beginnings; their lengths lie before, on and behind every window
and threshold of the model, and packed together they are longer than its tables. The right answer is that of
stock lm-eval at batch size 1 with a model that was never asked before. Nothing is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import logging
import multiprocessing
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from scoring import format_table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from gptalt_eval.scoring.backend import add_tree

WORDS = 150
POSITIONS = 192  # of tables; a packed row is longer
LARGEST = 20_000_000  # parameters of a tiny model
SECONDS = 240  # for one architecture
SIZES = (10, 50, 50, 64, 65, 90, 30, 110, 12, 41, 39, 24, 63, 66, 33, 32, 31, 127, 150, 129, 180)
# whatever a config calls it: sizes that make a model tiny, and thresholds that the requests cross
TINY: dict[str, Any] = {
    "vocab_size": WORDS, "pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.3,
    "hidden_size": 64, "d_model": 64, "n_embd": 64, "embedding_size": 64, "dim": 64,
    "word_embed_proj_dim": 64,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "decoder_layers": 2,
    "encoder_layers": 2, "num_decoder_layers": 2, "num_encoder_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "num_decoder_attention_heads": 4, "num_encoder_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "d_kv": 16, "global_head_dim": 16, "kv_channels": 16,
    "num_global_key_value_heads": 2, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": WORDS,
    "num_kv_shared_layers": 0, "laurel_rank": 4, "altup_num_inputs": 2,
    "intermediate_size": 48, "ffn_dim": 48, "n_inner": 48, "dff": 48, "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48, "d_ff": 48, "ffn_hidden_size": 48, "intermediate_size_mlp": 48,
    "moe_intermediate_size": 16, "expert_ffn_hidden_size": 16, "shared_expert_intermediate_size": 16,
    "num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4, "moe_num_experts": 4,
    "n_shared_experts": 1, "zero_expert_num": 0, "num_experts_per_tok": 2, "moe_topk": 2, "moe_k": 2,
    "num_experts_per_token": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 8, "q_lora_rank": 8, "o_lora_rank": 8, "o_groups": 2, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4, "v_head_dim": 8, "index_head_dim": 8, "index_n_heads": 2, "rotary_dim": 4,
    "attention_hidden_size": 64, "attention_head_dim": 16, "state_size": 8, "mamba_d_state": 8,
    "mamba_d_head": 16, "mamba_n_heads": 8, "mamba_num_heads": 8, "mamba_head_dim": 16, "mamba_dt_rank": 4,
    "mamba_d_ssm": 128, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "lru_width": 64, "conv_L_cache": 3,
    "max_position_embeddings": POSITIONS, "n_positions": POSITIONS, "n_ctx": POSITIONS,
    "max_seq_len": POSITIONS, "context_length": POSITIONS, "max_target_positions": POSITIONS,
    "sliding_window": 32, "window_size": 32, "sliding_window_size": 32, "attention_window": 32,
    "attention_chunk_size": 32, "attention_window_size": 32, "index_topk": 40, "index_topk_blocks": 2,
    "index_block_size": 16, "keep_window_size": 40, "floor_scale": 48, "chunk_size": 16,
    "mamba_chunk_size": 16, "block_size": 16, "original_max_position_embeddings": 64,
    "is_decoder": True, "use_cache": True,
}  # fmt: skip
LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
MANY_KEYS = {"num_key_value_heads": 4}
ANGLES = {"rope_type": "default", "rope_theta": 1e4}
OWN: dict[str, dict[str, Any]] = {  # what else some of them need
    "bailing_hybrid": LINEAR,
    "bamba": {"attn_layer_indices": [1]},
    "cohere": {"logit_scale": 1.0},
    "cohere2": {"logit_scale": 1.0},
    "cohere2_moe": {"logit_scale": 1.0},
    "cohere_compass_text": {"rope_parameters": {"full_attention": ANGLES, "sliding_attention": ANGLES}},
    "dots1": MANY_KEYS,
    "dots3_note_text": MANY_KEYS,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": LINEAR,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "lfm3": {
        "layer_types": ["conv", "full_attention", "sliding_attention", "conv"],
        "num_hidden_layers": 4,
    },
    "longcat_flash": {"head_dim": 4},
    "mamba2": {"num_heads": 8},
    "qwen3_5_moe_text": LINEAR,
    "qwen3_5_text": LINEAR,
    "qwen3_next": LINEAR,
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"],
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 32,
        "indexer_compress_ratio": 4,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {"axial_pos_embds": False, "attn_layers": ["local", "lsh"], "hash_seed": 0},
    "xlm": {"causal": True},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layer_types": ["mamba", "hybrid", "mamba", "hybrid"],
        "num_hidden_layers": 4,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
    },
    "zamba2": {
        "layer_types": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "hybrid_layer_ids": [1, 3],
        "num_hidden_layers": 4,
        "attention_hidden_size": 128,
    },
    "zaya": {"num_experts_per_tok": 1},
}
LONG = {
    "rope_type": "longrope", "original_max_position_embeddings": 64, "short_mscale": 1.0, "long_mscale": 1.2,
}  # fmt: skip
ROPES: dict[str, dict[str, Any]] = {
    "": {},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "longrope": LONG,
}
COLUMNS = {
    "architecture": "architecture", "rope": "RoPE", "way": "way", "limit": "tree up to",
    "difference": "largest difference, nats", "double": "in float64", "texts": "different texts",
}  # fmt: skip


def make_config(name: str, rope: str) -> Any:
    """A tiny config; with RoPE of a kind if it has any.

    Raises:
        NoRope: the architecture has no RoPE whose kind can be chosen.
    """
    kind = CONFIG_MAPPING[name]
    try:
        known = kind().to_dict()
    except Exception:  # a default that its own checks refuse
        known = dict.fromkeys(kind.__dataclass_fields__)
    settings = {key: value for key, value in TINY.items() if key in known or key in kind.attribute_map}
    if "qk_rope_head_dim" in known:
        settings.pop("head_dim", None)
        settings["num_key_value_heads"] = 4
    settings |= OWN.get(name, {})
    if not rope:
        return kind(**settings)
    plain = kind(**settings)
    angles = getattr(plain, "rope_parameters", None)
    if not isinstance(angles, dict) or "rope_type" not in angles:
        raise NoRope
    settings["rope_parameters"] = angles | ROPES[rope]
    if rope == "dynamic":
        settings["max_position_embeddings"] = 64
    else:
        count = count_angles(plain)
        settings["rope_parameters"] |= {"short_factor": [1.0] * count, "long_factor": [3.0] * count}
    return kind(**settings)


class NoRope(Exception):
    """An architecture without RoPE, or with several kinds."""


def count_angles(config: Any) -> int:
    size = getattr(config, "qk_rope_head_dim", None) or getattr(config, "head_dim", None)
    size = size or config.hidden_size // config.num_attention_heads
    return int(size * config.rope_parameters.get("partial_rotary_factor", 1.0)) // 2


def make_model(name: str, rope: str) -> Any:
    """A model with random weights that are large enough for every token to matter."""
    torch.manual_seed(0)
    config = make_config(name, rope)
    with torch.device("meta"):
        size = sum(each.numel() for each in build(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters with these settings")
    model = build(config).float().eval()
    with torch.no_grad():
        for module in model.modules():
            is_product = isinstance(module, (torch.nn.Linear, torch.nn.Embedding, Conv1D))
            for weight in module.parameters(recurse=False):
                if weight.ndim == 3 or (is_product and weight.ndim == 2) or not weight.isfinite().all():
                    weight.normal_(0, 0.3)
    return model


def build(config: Any) -> Any:
    return transformers.AutoModelForCausalLM.from_config(config)


def make_tokenizer() -> Any:
    words = {"<s>": 0, "</s>": 1, "<pad>": 2} | {f"w{number}": number for number in range(3, WORDS)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def make_rows(room: int) -> list[list[int]]:
    """Rows that fit into a context; of each beginning, some are short and some are long."""
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(3):
        begin = generator.integers(3, WORDS, 20).tolist()
        for size in SIZES:
            shared = begin[: size // 2]
            rows.append(shared + generator.integers(3, WORDS, min(size, room) - len(shared)).tolist())
    return rows


def make_lm(backend: Any, model: Any, size: int, room: int, precision: str | None = None) -> Any:
    settings = {"tokenizer": make_tokenizer(), "max_length": room, "logits_cache": False, "batch_size": size}
    return backend(pretrained=model, backend="causal", softmax_dtype=precision, **settings)


def compare(name: str, rope: str) -> dict[str, Any]:
    """One row of the table."""
    model = make_model(name, rope)
    room = POSITIONS - 4  # some models keep the first places of their table
    rows = make_rows(room)
    ours, stock = (make_lm(kind, copy.deepcopy(model), 4, room) for kind in (add_tree(HFLM), HFLM))
    difference, spread = measure(rows, ours, stock, model)
    assert spread > 0.1, f"answers that vary by {spread:.2g} nats prove nothing"
    row = {
        "architecture": name, "rope": rope, "way": ours.choice.engine.way if ours.choice.engine else "stock",
        "limit": (ours.shared.limit or "") if ours.shared else "", "difference": difference,
        "texts": compare_texts(rows, ours, stock, model),
        "why": ours.choice.reason[:100].replace("\n", " ").replace("|", "/"),
    }  # fmt: skip
    if difference > 1e-3:  # rounding that the model amplifies, or a fault?
        model = model.double()
        exact = [make_lm(kind, copy.deepcopy(model), 4, room, "float64") for kind in (add_tree(HFLM), HFLM)]
        row["double"] = measure(rows, *exact, model)[0]
    return row


def measure(rows: list[list[int]], ours: Any, stock: Any, model: Any) -> tuple[float, float]:
    """The largest difference of an answer, and the right answers' standard deviation."""
    asked = [((f"{row[:-4]}", f"{number}"), row[:-4], [*row[-4:], 5]) for number, row in enumerate(rows)]
    expected = []
    stock.batch_size_per_gpu = 1
    for request in asked:
        stock._model = copy.deepcopy(model)
        expected += stock._loglikelihood_tokens([request], disable_tqdm=True)
    found = ours._loglikelihood_tokens(asked, disable_tqdm=True)
    differences = [abs(one[0] - other[0]) for one, other in zip(found, expected, strict=True)]
    return float(np.max(differences)), float(np.std([logprob for logprob, _ in expected]))


def compare_texts(rows: list[list[int]], ours: Any, stock: Any, model: Any) -> int | None:
    """How many texts differ; None: stock cannot generate with this model."""
    prompts = [" ".join(f"w{token}" for token in row) for row in rows[:9]]
    settings = {"do_sample": False, "max_gen_toks": 8, "until": ["</s>"]}
    asked = [
        Instance("generate_until", {}, (prompt, settings), number, doc_id=number)
        for number, prompt in enumerate(prompts)
    ]
    right: list[str] = []
    try:
        for request in asked:
            stock._model = copy.deepcopy(model)
            right += stock.generate_until([request], disable_tqdm=True)
    except Exception:  # the model's own code can raise anything
        return None
    found = ours.generate_until(asked, disable_tqdm=True)
    return sum(one != other for one, other in zip(found, right, strict=True))


def try_out(name: str, rope: str) -> dict[str, Any]:
    """``compare``, quietly; or why the model cannot be built or asked."""
    torch.set_num_threads(1)
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        try:
            make_model(name, rope)
        except Exception as error:
            return {"architecture": name, "rope": rope, "not built": f"{type(error).__name__}: {error}"[:160]}
        try:
            return compare(name, rope)
        except Exception as error:
            return {"architecture": name, "rope": rope, "failed": f"{type(error).__name__}: {error}"[:300]}


def run(names: list[str]) -> Iterator[dict[str, Any]]:
    """Each architecture in a process of its own, since foreign code can end it."""
    context = multiprocessing.get_context("fork")
    for name in names:
        for rope in ROPES:
            with context.Pool(1) as pool:
                try:
                    row = pool.apply_async(try_out, (name, rope)).get(SECONDS)
                except multiprocessing.TimeoutError:
                    row = {"architecture": name, "rope": rope, "failed": f"no answer in {SECONDS} s"}
            if not (rope and "not built" in row):
                yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="architectures, separated by commas; default: all")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = arguments.only.split(",") if arguments.only else sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    rows = []
    for row in run(names):
        rows.append(row)
        print(json.dumps(row), flush=True)
    print(summarize(rows))


def merge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each architecture, with the largest difference of its variants."""
    merged = []
    for name in dict.fromkeys(row["architecture"] for row in rows):
        own = [row for row in rows if row["architecture"] == name]
        listed = {
            key: ", ".join(dict.fromkeys(str(row[key]) for row in own if row[key] != ""))
            for key in ("rope", "way", "limit")
        }
        largest = {
            key: max(row[key] for row in own if row.get(key) is not None)
            for key in ("difference", "double", "texts")
            if any(row.get(key) is not None for row in own)
        }
        merged.append({"architecture": name, **listed, **largest})
    return merged


def summarize(rows: list[dict[str, Any]]) -> str:
    measured = [row for row in rows if "difference" in row]
    failed = [row for row in rows if "failed" in row]
    unbuilt = [row for row in rows if "not built" in row]
    worst = max((row["difference"] for row in measured), default=0.0)
    beyond = sum(row.get("double", row["difference"]) > 1e-3 for row in measured)
    texts = sum(bool(row["texts"]) for row in measured)
    names = {row["architecture"] for row in measured}
    lines = [
        f"{len(names)} architectures in {len(measured)} variants: largest difference {worst:.1e} nats, "
        f"{beyond} above 0.001 in float32 and float64, {texts} with different texts; {len(failed)} failed; "
        f"{len(unbuilt)} not built",
        "", format_table(merge(measured), COLUMNS), "",
        *(f"failed: {row['architecture']} {row['rope']}: {row['failed']}" for row in failed),
        *(f"not built: {row['architecture']}: {row['not built']}" for row in unbuilt),
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
