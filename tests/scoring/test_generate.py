"""Our generation against lm-eval's own, on tiny models of random weights and on the real one."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from gptalt_eval.scoring import batch as rows
from gptalt_eval.scoring.generate import Unsupported, explain_unsupported, generate_until

pytestmark = pytest.mark.torch

SHOTS = "\n".join(tiny.SENTENCES) + "\nQuestion: "
ENDINGS = [
    "why?",
    "how many dogs?",
    "what does the fox eat in the north",
    "is it five?",
    "who mind",
    "a",
    "twelve apples are left at all",
]
SIZES = tiny.SIZES | {"max_position_embeddings": 512, "initializer_range": 0.4}
WIDE = SIZES | {"num_key_value_heads": 2}
GREEDY = {"do_sample": False, "max_gen_toks": 12}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.make_tokenizer()


MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WIDE)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**WIDE)),
}


def make_lm(tokenizer, make=MODELS["llama"], **settings):
    torch.manual_seed(5)
    model = make().eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return HFLM(pretrained=model, tokenizer=tokenizer, **{"max_length": 256, **settings})


def ask_stock(lm, requests, batch_size=1):
    lm.batch_size_per_gpu = batch_size
    copies = [
        Instance("generate_until", {}, (context, dict(kwargs)), index, doc_id=index)
        for index, (context, kwargs) in enumerate(requests)
    ]
    return lm.generate_until(copies, disable_tqdm=True)


def ask_ours(lm, requests):
    answers = {}
    generate_until(lm, requests, lambda index, text: answers.__setitem__(index, text))
    return [answers.pop(index) for index in range(len(requests))]


def make_requests(prompts, **kwargs):
    return [(prompt, GREEDY | kwargs) for prompt in prompts]


SHARED = [SHOTS + ending for ending in ENDINGS]
CASES = {
    "a shared beginning": make_requests(SHARED),
    "no shared beginning": make_requests(["The fox", "Answer: five", "dog, and so on: " * 3]),
    "a prompt that begins another": make_requests([SHARED[2], SHOTS + "what", SHOTS]),
    "one request": make_requests(SHARED[:1]),
    "identical requests": make_requests([SHARED[0], SHARED[1], SHARED[0], SHARED[0]]),
    "no stop string": make_requests(SHARED[:3], until=[]),
    "a stop string": make_requests(SHARED, until="o"),
    "an empty stop string": make_requests(SHARED[:2], until=["", "\n"]),
    "several settings": [(prompt, GREEDY | {"max_gen_toks": 3 + index % 3, "until": ["e", "th"][index % 2 :]}) for index, prompt in enumerate(SHARED)],
    "other names of the same": [(prompt, {"max_new_tokens": 5, "temperature": 0, "top_p": 0.9, "num_beams": 1}) for prompt in SHARED[:3]],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_the_texts_are_those_of_lm_eval(name, case, tokenizer):
    lm = make_lm(tokenizer, MODELS[name])
    assert ask_ours(lm, CASES[case]) == ask_stock(lm, CASES[case])


@pytest.mark.parametrize("name", MODELS)
def test_these_models_can_tell_right_from_wrong(name, tokenizer):
    """The comparison above would prove little on models that always say the same."""
    lm = make_lm(tokenizer, MODELS[name])
    free, stopped = ask_stock(lm, CASES["a shared beginning"]), ask_stock(lm, CASES["a stop string"])
    assert len(set(free)) >= 5
    assert sum(len(short) < len(long) for short, long in zip(stopped, free, strict=True)) >= 2
    assert ask_stock(lm, make_requests(ENDINGS)) != free  # what is shared matters


def test_lm_evals_batches_give_the_same(tokenizer):
    lm = make_lm(tokenizer)
    assert ask_stock(lm, CASES["a stop string"], batch_size=4) == ask_ours(lm, CASES["a stop string"])


@pytest.mark.parametrize(("limit", "tokens"), [(1, 1024), (2, 5), (3, 40), (64, 1024)])
def test_the_texts_do_not_depend_on_how_many_rows_run_at_once(limit, tokens, tokenizer, monkeypatch):
    lm = make_lm(tokenizer)
    expected = ask_stock(lm, CASES["a stop string"])
    monkeypatch.setattr(rows, "ROWS", limit)
    monkeypatch.setattr(rows, "TOKENS", tokens)
    assert ask_ours(lm, CASES["a stop string"]) == expected


def test_memory_limits_the_rows(tokenizer, monkeypatch):
    lm = make_lm(tokenizer)
    expected = ask_stock(lm, CASES["a shared beginning"])
    monkeypatch.setattr(rows, "KEPT", 30_000)
    calls = watch(monkeypatch)
    assert ask_ours(lm, CASES["a shared beginning"]) == expected
    assert max(rows for rows, _ in calls) < len(ENDINGS)


def watch(monkeypatch):
    """(rows, tokens of each) of every call of the model."""
    calls = []
    plain = rows.Batch.run

    def run(batch, tokens, places):
        calls.append((len(tokens), len(tokens[0])))
        return plain(batch, tokens, places)

    monkeypatch.setattr(rows.Batch, "run", run)
    return calls


def test_the_beginning_is_computed_once_and_finished_rows_leave(tokenizer, monkeypatch):
    lm = make_lm(tokenizer)
    calls = watch(monkeypatch)
    order = []
    generate_until(lm, CASES["a stop string"], lambda index, text: order.append((index, len(calls))))
    prompts, steps = [call for call in calls if call[1] > 1], [rows for rows, length in calls if length == 1]
    longest = max(len(tokenizer.encode(ending)) for ending in ENDINGS)
    assert sum(rows * length for rows, length in prompts) <= len(ENDINGS) * (longest + 1)
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == len(ENDINGS) > steps[-1]
    assert [calls for _, calls in order] == sorted(calls for _, calls in order)
    assert len({calls for _, calls in order}) > 2  # answers come as they are finished, not at the end


def test_identical_requests_are_generated_once(tokenizer, monkeypatch):
    lm = make_lm(tokenizer)
    calls = watch(monkeypatch)
    assert len(set(ask_ours(lm, make_requests([SHARED[0]] * 5)))) == 1
    assert {rows for rows, _ in calls} == {1}


@pytest.mark.parametrize("offset", range(1, 5))
def test_a_stop_string_may_span_tokens(offset, tokenizer, monkeypatch):
    lm = make_lm(tokenizer)
    free = ask_stock(lm, CASES["a shared beginning"])
    words = [tokenizer.decode([token]) for token in tokenizer.encode(free[0], add_special_tokens=False)]
    stop = words[offset][-1:] + words[offset + 1] + words[offset + 2][:1]
    assert stop in free[0]
    requests = make_requests(SHARED, until=[stop, "never said"])
    texts = ask_ours(lm, requests)
    assert texts == ask_stock(lm, requests)
    assert texts[0] == free[0].split(stop)[0] != free[0]
    calls = watch(monkeypatch)
    ask_ours(lm, requests[:1])
    assert sum(length == 1 for _, length in calls) < GREEDY["max_gen_toks"]  # it ended the row


def test_the_end_of_sequence_may_come_at_once(tokenizer):
    lm = make_lm(tokenizer)
    [first] = lm.tok_encode(ask_stock(lm, make_requests(SHARED[:1], max_gen_toks=1))[0])
    lm.model.generation_config.eos_token_id = [first, tokenizer.eos_token_id]
    texts = ask_ours(lm, CASES["a shared beginning"])
    assert texts == ask_stock(lm, CASES["a shared beginning"])
    assert texts[0] == tokenizer.decode([first])


def test_a_request_may_name_other_ends(tokenizer):
    """The ids that end a turn of a chat model, of which its configuration need not know."""
    lm = make_lm(tokenizer)
    free = lm.tok_encode(ask_stock(lm, make_requests(SHARED[:1]))[0])
    for ends in (free[2], [free[2], tokenizer.eos_token_id], [tokenizer.eos_token_id]):
        requests = make_requests(SHARED, eos_token_id=ends)
        texts = ask_ours(lm, requests)
        assert texts == ask_stock(lm, requests)
        first = free.index(free[2]) + 1 if ends != [tokenizer.eos_token_id] else len(free)
        assert texts[0] == tokenizer.decode(free[:first])


def test_the_end_of_sequence_is_no_part_of_the_text(tokenizer):
    """Weights that make the end the likeliest token sooner or later."""
    lm = make_lm(tokenizer)
    with torch.no_grad():
        lm.model.lm_head.weight[tokenizer.eos_token_id] *= 2.5
    texts = ask_ours(lm, make_requests(SHARED, max_gen_toks=40))
    assert texts == ask_stock(lm, make_requests(SHARED, max_gen_toks=40))
    assert any(len(tokenizer.encode(text)) < 35 for text in texts)


def test_long_prompts_lose_their_beginning(tokenizer, caplog):
    lm = make_lm(tokenizer, max_length=40)
    requests = make_requests(SHARED, max_gen_toks=10)
    assert all(len(lm.tok_encode(prompt)) > 30 for prompt in SHARED)
    texts = ask_ours(lm, requests)
    assert texts == ask_stock(lm, requests)
    assert texts != ask_stock(make_lm(tokenizer), requests)


@pytest.mark.parametrize("add_bos_token", [None, True, False])
def test_a_prompt_may_bring_its_own_beginning_of_sequence(add_bos_token, tokenizer):
    lm = make_lm(tokenizer, add_bos_token=add_bos_token)
    requests = make_requests(["<s>" + SHARED[0], SHARED[0], "<s>" + SHARED[1]])
    assert ask_ours(lm, requests) == ask_stock(lm, requests)


@pytest.mark.parametrize("kind", [int, str])
def test_thinking_is_cut_off(kind, tokenizer):
    requests = make_requests(SHARED, max_gen_toks=30)
    free = ask_stock(make_lm(tokenizer), requests)
    said = [tokenizer.encode(text, add_special_tokens=False) for text in free]
    token = next(token for tokens in said for token in tokens if tokens.count(token) > 1)
    lm = make_lm(tokenizer, think_end_token=token if kind is int else tokenizer.decode([token]))
    texts = ask_ours(lm, requests)
    assert texts == ask_stock(lm, requests)
    assert texts != free


def test_a_lora_is_used(tokenizer):
    from peft import LoraConfig, get_peft_model

    def make():
        return get_peft_model(
            MODELS["llama"](), LoraConfig(r=4, init_lora_weights=False, target_modules=["q_proj", "v_proj"])
        )

    lm, plain = make_lm(tokenizer, make), make_lm(tokenizer)
    texts = ask_ours(lm, make_requests(SHARED))
    assert texts == ask_stock(lm, make_requests(SHARED))
    assert texts != ask_stock(plain, make_requests(SHARED))


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"do_sample": True, "temperature": 0.7}, "do_sample=True"),
        ({"do_sample": None, "temperature": 0.7}, "do_sample=True"),
        ({"num_beams": 2}, "num_beams=2"),
        ({"repetition_penalty": 1.2}, "repetition_penalty=1.2"),
        ({"max_length": 40}, "max_length=40"),
        ({"max_gen_toks": 256}, "256 tokens to generate"),
        ({"max_gen_toks": 0}, "0 tokens to generate"),
    ],
)
def test_settings_that_are_lm_evals_business(kwargs, reason, tokenizer):
    lm = make_lm(tokenizer)
    assert explain_unsupported(lm, GREEDY) is None
    assert reason in explain_unsupported(lm, GREEDY | kwargs)
    with pytest.raises(Unsupported, match=reason):
        generate_until(lm, [*make_requests(SHARED), (SHARED[0], GREEDY | kwargs)], pytest.fail)


def set_penalty(lm):
    lm.model.generation_config.repetition_penalty = 1.1


def generate_otherwise(lm):
    lm.__class__ = type("Other", (HFLM,), {"_model_generate": lambda *args, **settings: None})


def think_first(lm):
    lm.model.active_peft_config = SimpleNamespace(is_prompt_learning=True)


def mix_precision(lm):
    lm.mixed_precision_dtype = torch.bfloat16


def move_away(lm):
    lm.model.lm_head.to("meta")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_penalty, "repetition_penalty=1.1 is set"),
        (generate_otherwise, "overrides how it generates"),
        (think_first, "tokens before the prompt"),
        (mix_precision, "mixed precision"),
        (move_away, "several devices"),
    ],
)
def test_backends_that_are_lm_evals_business(change, reason, tokenizer):
    lm = make_lm(tokenizer)
    change(lm)
    assert reason in explain_unsupported(lm, GREEDY)


def make_t5():
    return T5ForConditionalGeneration(
        T5Config(vocab_size=tiny.VOCABULARY, d_model=32, d_ff=32, num_layers=1, num_heads=2, d_kv=16)
    )


def make_mamba():
    return MambaForCausalLM(MambaConfig(vocab_size=tiny.VOCABULARY, hidden_size=32, num_hidden_layers=2))


def test_models_that_are_lm_evals_business(tokenizer):
    assert "encoder-decoder" in explain_unsupported(make_lm(tokenizer, make_t5), GREEDY)
    assert "attention cannot be replaced" in explain_unsupported(make_lm(tokenizer, make_mamba), GREEDY)


def make_mistral(window):
    return MistralForCausalLM(MistralConfig(**WIDE, sliding_window=window))


def make_convolution():
    return Lfm2ForCausalLM(Lfm2Config(**WIDE, layer_types=["conv", "full_attention"]))


@pytest.mark.parametrize(
    ("make", "reason"),
    [(lambda: make_mistral(16), "attention window"), (make_convolution, "something other than keys")],
)
def test_models_that_do_not_keep_all_keys_are_lm_evals_business(make, reason, tokenizer):
    with pytest.raises(Unsupported, match=reason):
        generate_until(make_lm(tokenizer, make), make_requests(SHARED), pytest.fail)


def test_a_window_that_is_never_full_does_no_harm(tokenizer):
    lm = make_lm(tokenizer, lambda: make_mistral(200))
    assert ask_ours(lm, make_requests(SHARED)) == ask_stock(lm, make_requests(SHARED))


def test_a_prompt_without_tokens_is_lm_evals_business(tokenizer):
    with pytest.raises(Unsupported, match="a prompt has no tokens"):
        generate_until(make_lm(tokenizer), make_requests(["", "The"]), pytest.fail)


def test_an_attention_that_is_not_the_models_is_found_out(tokenizer, monkeypatch):
    plain = rows.attend

    def attend(query, key, value, scale, **settings):
        return plain(query, key, value, scale * 1.1, **settings)

    monkeypatch.setattr(rows, "attend", attend)
    with pytest.raises(Unsupported, match="logits differ by"):
        generate_until(make_lm(tokenizer), make_requests(SHARED), pytest.fail)


def test_a_failure_in_the_middle_keeps_what_is_answered(tokenizer, monkeypatch):
    lm = make_lm(tokenizer)
    expected = ask_stock(lm, CASES["a stop string"])
    calls = watch(monkeypatch)
    counted = rows.Batch.run

    def run(batch, tokens, places):
        if len(calls) == 8:
            raise RuntimeError("out of luck")
        return counted(batch, tokens, places)

    monkeypatch.setattr(rows.Batch, "run", run)
    answers = {}
    with pytest.raises(Unsupported, match=r"generation failed .RuntimeError: out of luck"):
        generate_until(lm, CASES["a stop string"], lambda index, text: answers.__setitem__(index, text))
    assert 0 < len(answers) < len(expected)
    assert all(expected[index] == text for index, text in answers.items())
    assert ask_stock(lm, CASES["a stop string"]) == expected  # the model is as it was


def test_the_callers_own_errors_are_its_own(tokenizer):
    def fail(index, text):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        generate_until(make_lm(tokenizer), make_requests(SHARED), fail)


def test_the_real_model_in_float32(smollm2):
    lm = HFLM(**smollm2 | {"dtype": "float32"}, device="cpu", batch_size=1)
    shot = "Question: Tom has 3 apples and buys 4. How many has he?\nAnswer: 3 + 4 = 7. #### 7\n\nQuestion: "
    prompts = [
        shot + question + "\nAnswer:"
        for question in (
            "What is 5 + 6?",
            "Who wrote Hamlet?",
            "Ann had 9 pens and lost 2. How many are left?",
        )
    ]
    requests = [
        (prompt, {"until": ["Question:", "\n\n"], "max_gen_toks": 24, "do_sample": False})
        for prompt in prompts
    ]
    texts = ask_ours(lm, requests)
    assert texts == ask_stock(lm, requests)
    assert len(set(texts)) == 3
