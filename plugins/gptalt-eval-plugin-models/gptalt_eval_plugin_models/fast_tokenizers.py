"""Tokenizers in transformers' format (tokenizer.json), from sentencepiece models of LLaMA's kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

BLANK = "\u2581"
#: texts on which a written tokenizer must agree with the one that it was made from
PROBES = (
    "Hello world", "你好，世界！\n问：1+1=?\n\n答：", "  leading  and\ttabs\n\n\nend ", "philosophy sop eop",
    "[Round 1]\n\n问：hi\n\n答：", "def f(x):\n        return x  # 80", "", " ", "a\u3000b", "a_b-c.d/e\\f",
    "emoji \U0001f600 \ufb01 é e\u0301", "Ünïcödé ДА ελ 한국 ا", "1234567890 3.14 1,000", "\n", "x" * 200,
    "<0x0A> <unused> </s> <unk>",
)  # fmt: skip


def make_backend(pieces: Any, controls: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer of a sentencepiece model of kind BPE with bytes for what is unknown.

    Args:
        pieces: the sentencepiece processor.
        controls: tokens with the ids after its own; they are never made from text.
    """
    size = pieces.vocab_size()
    vocabulary, scores = {}, {}
    for number in range(size):
        piece = pieces.id_to_piece(number)
        vocabulary[piece] = number
        if not (pieces.is_control(number) or pieces.is_unknown(number) or pieces.is_byte(number)):
            scores[piece] = pieces.get_score(number)
    special = vocabulary.keys() - scores.keys()
    merges = generate_merges(vocabulary, scores, special)
    vocabulary |= {name: size + place for place, name in enumerate(controls)}
    unknown = pieces.id_to_piece(pieces.unk_id())
    model = models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    steps = [normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)]  # also before a text with a blank
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def put_before(tokenizer: Tokenizer, names: Sequence[str]) -> None:
    """Make a text begin with tokens."""
    numbered = [(name, tokenizer.token_to_id(name)) for name in names]
    first = " ".join(names)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", pair=f"{first} $A $B", special_tokens=numbered
    )


def make_chatglm(slow: Any) -> PreTrainedTokenizerFast:
    """ChatGLM2-6B's or ChatGLM3-6B's; ``sop`` and ``eop`` are called ``<sop>`` and ``<eop>``, as in GLM-4.

    ChatGLM2-6B's takes nothing in a text for a special token. ChatGLM3-6B's must find roles in rendered
    conversations, so it finds them everywhere, except with ``split_special_tokens=True``.
    """
    names = [f"<{name}>" if name in ("sop", "eop") else name for name in slow.controls]
    backend = make_backend(slow.pieces, names)
    put_before(backend, ["[gMASK]", "<sop>"])
    has_roles = len(names) > 5
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<unk>",
        eos_token="</s>",
        bos_token="[gMASK]",
        extra_special_tokens=[
            AddedToken(name, special=True, normalized=False) for name in names if name != "[gMASK]"
        ],
        padding_side="left",
        split_special_tokens=not has_roles,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_llama(slow: Any) -> PreTrainedTokenizerFast:
    """LLaMA's, with the ids of 2023."""
    backend = make_backend(slow.pieces)
    put_before(backend, [slow.bos_token] if slow.add_bos_token else [])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=slow.unk_token,
        bos_token=slow.bos_token,
        eos_token=slow.eos_token,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    added = sorted(slow.added_tokens_decoder.items())
    fast.add_tokens([token for number, token in added if number >= slow.vocab_size], special_tokens=True)
    return fast


def find_difference(fast: Any, slow: Any, texts: Sequence[str] = PROBES) -> str | None:
    """The first text that two tokenizers encode differently; None: none."""
    for text in texts:
        for special in (True, False):
            settings = {"add_special_tokens": special, "split_special_tokens": True}
            if fast.encode(text, **settings) != slow.encode(text, **settings):
                return text
    return None


def choose_tokenizer(fast: Any, slow: Any) -> tuple[Any, str]:
    """The standard tokenizer, if it gives the ids of the one it was made from; and what to say of it."""
    different = find_difference(fast, slow)
    if different is None:
        return fast, ""
    return slow, (
        f"Its tokenizer cannot be written as tokenizer.json: that would encode {different!r} differently.\n"
        "gptalt_eval_plugin_models has the class that loads it.\n"
    )
