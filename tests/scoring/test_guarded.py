"""What lm-eval's own backend warns of and refuses, ours notes and refuses too: the same requests, in every way."""

import logging

import pytest
import tiny
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from stock import make_rolling

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.display import SILENT
from gptalt_eval.running.lmeval.observed import ObservedLM
from gptalt_eval.scoring.backend import add_tree
from gptalt_eval.scoring.guarded import add_guard

pytestmark = pytest.mark.torch
WAYS = [
    "llama",
    "codegen",
    "bloom",
    "mistral_window",
    "mamba",
]  # pieces, mask, branches, divided, lm-eval's own
LONG = " ".join(tiny.SENTENCES)


@pytest.fixture
def load():
    def load_all(name, **settings):
        """Stock, the tree scorer, and stock as ``--scorer stock`` has it."""
        given = {"tokenizer": tiny.make_tokenizer(), "batch_size": 1, "logits_cache": False, **settings}
        return [
            make(HFLM)(pretrained=tiny.make_model(name), **given)
            for make in (lambda plain: plain, add_tree, add_guard)
        ]

    return load_all


@pytest.fixture
def warnings(caplog):
    def call(action):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "lm_eval.models.huggingface"):
            action()
        return [record.getMessage() for record in caplog.records if "runcat" in record.getMessage()]

    return call


def ask(*pairs, kind="loglikelihood"):
    return [Instance(kind, {}, pair, number, doc_id=number) for number, pair in enumerate(pairs)]


PAIRS = [(LONG[:size], f" answer {size}") for size in range(0, 120, 7)]


@pytest.mark.parametrize("name", WAYS)
def test_requests_that_are_cut_are_those_that_stock_warns_of(name, load, warnings):
    stock, tree, guarded = load(name, max_length=28)
    warned = warnings(lambda: stock.loglikelihood(ask(*PAIRS), disable_tqdm=True))
    lengths = {
        pair: len(stock._encode_pair(*pair)[0] + stock._encode_pair(*pair)[1]) for pair in PAIRS if pair[0]
    }
    assert 3 < len(warned) < len(PAIRS) - 3
    for lm in (tree, guarded):
        lm.loglikelihood(ask(*PAIRS), disable_tqdm=True)
        assert len(lm.lost) == len(warned)
        assert lm.lost == {pair: length - 29 for pair, length in lengths.items() if length > 29}
    tree.lost.clear()
    batches = tree.stream_loglikelihood(ask(*PAIRS))
    assert len(tree.lost) == len(warned), "known before anything is computed"
    assert sum(map(len, batches)) == len(PAIRS)


def test_an_encoder_loses_the_beginning_of_its_prompt(load):
    """lm-eval cuts it without a warning."""
    stock, *ours = load("t5", max_length=28)
    lengths = {pair: len(stock._encode_pair(*pair)[0]) for pair in PAIRS if pair[0]}
    for lm in ours:
        lm.loglikelihood(ask(*PAIRS), disable_tqdm=True)
        assert lm.lost == {pair: length - 28 for pair, length in lengths.items() if length > 28} != {}


@pytest.mark.parametrize("name", ["llama", "mamba"])
@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "temperature": 1.0}], ids=["greedy", "drawn"])
def test_prompts_that_are_cut_before_a_text_is_generated(name, settings, load, warnings):
    stock, *ours = load(name, max_length=28)
    prompts = [LONG[:size] for size in range(5, 100, 9)]
    requests = ask(
        *((prompt, {"max_gen_toks": 8, "until": [], **settings}) for prompt in prompts), kind="generate_until"
    )
    warned = warnings(lambda: stock.generate_until(requests, disable_tqdm=True))
    lengths = {prompt: len(stock.tok_encode(prompt)) for prompt in prompts}
    expected = {prompt: length - 20 for prompt, length in lengths.items() if length > 20}
    assert 0 < len(expected) == len(warned) < len(prompts)
    for lm in ours:
        lm.generate_until(requests, disable_tqdm=True)
        assert lm.lost == expected


def test_a_batch_says_of_each_of_its_prompts_what_was_cut(load):
    """lm-eval warns once for a batch, with the length of its longest prompt."""
    _, _, guarded = load("llama", max_length=28, batch_size=8)
    prompts = [LONG[:size] for size in range(5, 100, 9)]
    guarded.generate_until(
        ask(*((p, {"max_gen_toks": 8, "until": []}) for p in prompts), kind="generate_until"),
        disable_tqdm=True,
    )
    lengths = {prompt: len(guarded.tok_encode(prompt)) for prompt in prompts}
    assert guarded.lost == {prompt: length - 20 for prompt, length in lengths.items() if length > 20}


def test_what_the_tokenizer_cuts_on_request_counts_too(load):
    _, _, guarded = load("llama", truncation=True)
    guarded.tokenizer = tiny.make_tokenizer().__class__(
        tokenizer_object=tiny.make_tokenizer().backend_tokenizer, pad_token="<pad>", model_max_length=9
    )
    guarded.tok_batch_encode([LONG[:60], "the dog"], truncation=True)
    assert guarded.lost == {LONG[:60]: len(guarded.tokenizer(LONG[:60])["input_ids"]) - 9}


@pytest.mark.parametrize("size", [1, 2])
def test_a_prompt_without_tokens_is_refused_in_words(load, size):
    settings = {"until": ["."], "max_gen_toks": 3, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (prompt, settings), 0, ("task", row, 1))
        for row, prompt in enumerate((tiny.SENTENCES[0], ""))
    ]
    _, *ours = load("llama", batch_size=size, max_length=64)
    for lm in ours:
        observed = ObservedLM(lm, SILENT)
        with pytest.raises(GptaltError, match=r"^row 1: its prompt is empty\."):
            observed.generate_until(requests)
        with pytest.raises(GptaltError, match=r"^row 1: its prompt is empty\."):
            observed.generate_until(requests[1:])


def test_windows_of_a_long_text_lose_nothing(load):
    _, *ours = load("llama", max_length=28)
    for lm in ours:
        lm.loglikelihood_rolling([make_rolling(LONG)], disable_tqdm=True)
        assert lm.lost == {}


# ------------------------------------------------------------------ what cannot be scored


def find_merged():
    """A context and a continuation whose text has no more tokens than the context: found in the tokenizer itself."""
    encode = tiny.make_tokenizer().encode
    for text in {word for sentence in tiny.SENTENCES for word in sentence.split()}:
        for cut in range(1, len(text)):
            if len(encode(text)) <= len(encode(text[:cut])):
                return text[:cut], text[cut:]
    raise AssertionError("no such word")


LENGTHY = " ".join(["apples"] * 40)
FAULTY = {
    "an empty option": ("Question: how many apples?", ""),
    "neither prompt nor option": ("", ""),
    "only the token that begins a text": ("", "<s>"),
    "an option that merges into the prompt": find_merged(),
    "an option longer than the context": ("Question:", f" {LENGTHY}"),
    "the same without a prompt": ("", LENGTHY),
    "a prompt of spaces": ("  ", "five"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["llama", "bloom", "mamba"])
@pytest.mark.parametrize("pair", FAULTY.values(), ids=FAULTY)
def test_what_stock_stops_at_is_refused_alone(pair, name, load):
    stock, tree, guarded = load(name, max_length=28)
    sound = ask(*PAIRS[1:4])
    with pytest.raises((AssertionError, IndexError, RuntimeError)):
        stock.loglikelihood(ask(pair), disable_tqdm=True)
    for lm in (tree, guarded):
        with pytest.raises(ValueError, match="score"):
            lm.loglikelihood(ask(pair), disable_tqdm=True)
        assert list(lm.unscorable) == [pair]
    if tree.choice.engine:
        tree.unscorable.clear()
        batches = tree.stream_loglikelihood([*sound[:1], *ask(pair), *sound[1:]])
        assert list(tree.unscorable) == [pair], "known before anything is computed"
        answers = dict(answer for batch in batches for answer in batch)
        assert sorted(answers) == [0, 2, 3]
        expected = [logprob for logprob, _ in stock.loglikelihood(sound, disable_tqdm=True)]
        assert [answers[place][0] for place in (0, 2, 3)] == pytest.approx(expected, abs=1e-4)


def test_known_requests_keep_their_places_beside_one_that_is_refused(load):
    _, tree, _ = load("llama", max_length=28)
    requests = [*ask(PAIRS[1]), *ask(FAULTY["an empty option"]), *ask(*PAIRS[2:5])]
    batches = tree.stream_loglikelihood(requests, known={0, 3})
    assert sorted(place for batch in batches for place, _ in batch) == [2, 4]


def test_thinking_models_are_refused_in_stocks_own_words(load):
    models = load("llama", enable_thinking=True, think_end_token="</think>")
    requests = [Instance("loglikelihood", {}, PAIRS[1], 0, doc_id=0, metadata=("quiz", 0, 1))]
    said = []
    for lm in models:
        with pytest.raises(ValueError, match="enable_thinking=True is not compatible") as caught:
            lm.loglikelihood(requests)
        said.append(str(caught.value))
    with pytest.raises(ValueError, match="enable_thinking=True is not compatible") as caught:
        models[1].stream_loglikelihood(requests)
    assert {*said, str(caught.value)} == {said[0]} and "quiz" in said[0]


def test_a_backend_that_is_not_lm_evals_stays_as_it_is():
    class Other:
        pass

    tree = add_tree(HFLM)
    assert add_guard(Other) is Other and add_guard(tree) is tree


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_quantizing_while_loading_reaches_transformers_as_it_takes_it(monkeypatch, tmp_path, bits):
    """transformers 5 takes ``load_in_4bit=True`` itself for a setting of the model."""
    import transformers

    folder = str(tiny.save_model("llama", tmp_path))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")  # bitsandbytes is not needed here
    given = {}
    load = transformers.AutoModelForCausalLM.from_pretrained

    def note(pretrained, **settings):
        given.update(settings)
        return load(pretrained, **{**settings, "quantization_config": None})

    with pytest.raises(TypeError, match=bits):
        HFLM(folder, device="cpu", **{bits: True})
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", note)
    for make in (add_tree, add_guard):
        given.clear()
        make(HFLM)(folder, device="cpu", **{bits: True}, bnb_4bit_compute_dtype="bfloat16")
        config = given["quantization_config"]
        assert getattr(config, bits) is True and str(config.bnb_4bit_compute_dtype) == "torch.bfloat16"
        assert bits not in given and "bnb_4bit_compute_dtype" not in given
    make(HFLM)(folder, device="cpu")
    assert given["quantization_config"] is None
