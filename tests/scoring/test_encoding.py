"""Texts that are encoded line by line against texts that are encoded whole."""

from itertools import pairwise

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as steps
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gptalt_eval.scoring.backend import add_tree
from gptalt_eval.scoring.encoding import LineEncoder, divides_lines, find_special, split_lines

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
TEXTS = [
    *tiny.SENTENCES,
    "A. one\nB. two\nAnswer: B\n\nthe next\n  1. 中文。\n答案：B",
    "x\n\n\ny \nz\r\n1\n2\n\t3",
]


def split(pattern):
    return steps.Split(Regex(pattern), "isolated")


def make(pre_tokenizer, *, model=None, normalizer=None, added=(), bos=False, texts=TEXTS):
    made = Tokenizer(model or models.BPE())
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.ByteLevel()
    if model is None:
        alphabet = steps.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet
        )
        made.train_from_iterator(texts, trainer)
    made.add_tokens(list(added))
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


DIVIDING = {
    "GPT-2": lambda: make(steps.ByteLevel(add_prefix_space=False)),
    "Llama 3 and Qwen": lambda: make(
        steps.Sequence([split(WORDS), steps.ByteLevel(add_prefix_space=False, use_regex=False)]), bos=True
    ),
    "Falcon": lambda: make(
        steps.Sequence([steps.Punctuation(), steps.ByteLevel(add_prefix_space=False), steps.Digits()])
    ),
    "GPT-NeoX": lambda: make(
        steps.ByteLevel(add_prefix_space=False), normalizer=normalizers.NFC(), added=["  ", "<|a|>"]
    ),
}  # fmt: skip
WHOLE = {
    "a blank before each text": lambda: make(steps.ByteLevel(add_prefix_space=True)),
    "BLOOM joins a line's end and the next word": lambda: make(
        steps.Sequence([split(r"\s?[^(\s|[.,!?…。，、।۔،])]+"), steps.ByteLevel(add_prefix_space=False, use_regex=False)])
    ),
    "nothing divides words": lambda: make(steps.ByteLevel(add_prefix_space=False, use_regex=False)),
    "pieces of sentences": lambda: make(steps.Metaspace(), model=models.Unigram([("<s>", 0.0), ("a", -1.0)], 0)),
    "no pre-tokenizer": lambda: make(None),
    "letters that are replaced": lambda: make(
        steps.ByteLevel(add_prefix_space=False), normalizer=normalizers.NFKC()
    ),
    "drawn at random": lambda: make(
        steps.ByteLevel(add_prefix_space=False), model=models.BPE({"a": 0}, [], dropout=0.1)
    ),
    "a token with a line's end in it": lambda: make(steps.ByteLevel(add_prefix_space=False), added=["x\ny"]),
    "a token that takes the line's end before it": lambda: make(
        steps.ByteLevel(add_prefix_space=False), added=[AddedToken("answer", lstrip=True)]
    ),
}  # fmt: skip
MADE = {name: maker() for name, maker in DIVIDING.items()}
LETTERS = st.text(st.sampled_from("aB1 \n\n\n\r\t.:'_中é\u0301한<|a|>"), max_size=40)


@pytest.mark.parametrize("name", WHOLE)
def test_a_tokenizer_that_could_join_lines_encodes_whole_texts(name):
    tokenizer = WHOLE[name]()
    encoder = LineEncoder(tokenizer)
    assert not encoder.divides
    assert encoder.encode(TEXTS) == tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize("name", DIVIDING)
@given(text=LETTERS)
def test_a_text_has_the_same_tokens_in_parts(name, text):
    encoder = LineEncoder(MADE[name])
    assert encoder.divides
    for settings in ({}, {"add_special_tokens": False}, {"add_special_tokens": True}):
        # the first text of a call is also encoded whole
        assert encoder.encode(["", text], **settings)[1] == MADE[name](text, **settings)["input_ids"]


@given(LETTERS)
def test_parts_are_the_text_and_begin_with_a_letter_or_digit(text):
    parts = split_lines(text)
    assert "".join(parts) == text
    for before, after in pairwise(parts):
        assert before.endswith("\n") and not before[-2].isspace() and after[0].isalnum()


def test_few_shot_examples_are_encoded_once(monkeypatch):
    tokenizer, encoded = DIVIDING["GPT-2"](), []
    encoder = LineEncoder(tokenizer)
    plain = LineEncoder.encode_whole

    def count(self, texts, **settings):
        encoded.extend(texts)
        return plain(self, texts, **settings)

    monkeypatch.setattr(LineEncoder, "encode_whole", count)
    examples = "".join(f"Question: how many are {number}?\nAnswer: {number}\n" for number in range(50))
    texts = [f"{examples}Question: what is {number}?\nAnswer:" for number in range(90)]
    assert encoder.encode(texts) == tokenizer(texts)["input_ids"]
    assert sum(map(len, encoded)) < sum(map(len, texts)) / 10


def test_a_tokenizer_that_is_caught_joining_lines_encodes_whole_texts_from_then_on():
    tokenizer = WHOLE["nothing divides words"]()
    encoder = LineEncoder(tokenizer)
    encoder.divides = True
    text = TEXTS[-2]
    assert [token for part in split_lines(text) for token in tokenizer(part)["input_ids"]] != tokenizer(text)[
        "input_ids"
    ]
    assert encoder.encode([text, text]) == tokenizer([text, text])["input_ids"]
    assert not encoder.divides


JOINING = {
    "keywords with the end of the line before them": (
        r"\n(?:def|class|return)|\p{L}+|\p{N}|\s+|[^\s\p{L}\p{N}]+", "x = 1\ndef f\nclass A",
    ),
    "a script with the end of the line before it": (
        r"\n?[\u0E00-\u0E7F]+|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|\s+|[^\s\p{L}\p{N}]+", "one\nไทย",
    ),
    "numbered items": (r"\n?\p{N}+[.)]|\p{L}+|\p{N}|\s+|[^\s\p{L}\p{N}]+", "one\n1. two\n2) three"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINING)
def test_what_is_joined_in_some_lines_only_is_seen_in_the_texts(name):
    pattern, text = JOINING[name]
    pieces = steps.Sequence([split(pattern), steps.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer = make(pieces, texts=[*TEXTS, *[text] * 9])
    encoder = LineEncoder(tokenizer)
    assert encoder.divides  # what is tried beforehand has no such line
    parts = split_lines(text)
    assert [t for part in parts for t in tokenizer(part)["input_ids"]] != tokenizer(text)["input_ids"]
    texts = [*TEXTS, text]
    assert encoder.encode(texts) == tokenizer(texts)["input_ids"]
    assert not encoder.divides


def strip(text):
    return text.strip() if isinstance(text, str) else [each.strip() for each in text]


class Calls(PreTrainedTokenizerFast):
    def __call__(self, text, **settings):
        return super().__call__(strip(text), **settings)


class Encodes(PreTrainedTokenizerFast):
    def encode(self, text, **settings):
        return super().encode(strip(text), **settings)


class EncodesPlus(PreTrainedTokenizerFast):
    def _encode_plus(self, text, **settings):
        return super()._encode_plus(strip(text), **settings)

    def _batch_encode_plus(self, texts, *args, **settings):
        return super()._batch_encode_plus(strip(texts), *args, **settings)


@pytest.mark.parametrize("kind", [Calls, Encodes, EncodesPlus])
def test_a_tokenizer_that_does_more_in_python_is_called_as_lm_eval_does(kind):
    inner = MADE["GPT-2"].backend_tokenizer
    tokenizer = kind(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    assert not divides_lines(tokenizer)
    model = LlamaForCausalLM(LlamaConfig(**tiny.GROUPED | {"vocab_size": len(tokenizer)}))
    settings = {"pretrained": model, "tokenizer": tokenizer, "device": "cpu", "batch_size": 1}
    requests = [
        Instance("loglikelihood", {}, (context, "B"), place, doc_id=place)
        for place, context in enumerate(["one", "  A. one\nB. two\nAnswer:", "\nx\ny\n"])
    ]
    stock = [scored[0] for scored in HFLM(**settings).loglikelihood(requests, disable_tqdm=True)]
    ours = add_tree(HFLM)(**settings)
    assert [scored[0] for scored in ours.loglikelihood(requests)] == pytest.approx(stock, abs=1e-4)
    streamed = dict(pair for batch in ours.stream_loglikelihood(requests) for pair in batch)
    assert [streamed[place][0] for place in range(3)] == pytest.approx(stock, abs=1e-4)


def test_special_tokens_stand_where_the_tokenizer_puts_them():
    tokenizer = MADE["Llama 3 and Qwen"]
    assert find_special(tokenizer, {}) == ([0], [1])
    assert find_special(tokenizer, {"add_special_tokens": False}) == ([], [])


def test_no_texts_and_empty_texts():
    encoder = LineEncoder(MADE["Llama 3 and Qwen"])
    assert encoder.encode([]) == []
    assert encoder.encode(["", ""]) == [[0, 1], [0, 1]]


def test_a_tokenizer_in_python_encodes_whole_texts():
    class Slow:
        def __call__(self, texts, **_):
            return {"input_ids": [[len(text)] for text in texts]}

    assert not divides_lines(Slow())
    assert LineEncoder(Slow()).encode(["a\nb", "c"]) == [[3], [1]]
