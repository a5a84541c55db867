"""What changes beyond some length: each request's score is that of the model alone, short and long ones mixed."""

import contextlib

import numpy as np
import pytest
import tiny
import torch
import transformers as tf
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from stock import make_rolling

from gptalt_eval.scoring.backend import add_tree
from gptalt_eval.scoring.lengths import Lengths, find_limit, list_steps, list_thresholds
from gptalt_eval.scoring.memory import Memory, continues
from gptalt_eval.scoring.packed import PackedEngine
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import SHORT, Alone, answer_all

pytestmark = pytest.mark.torch
WIDE = tiny.GROUPED | {"max_position_embeddings": 512}
EXPERTS = {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64,
    "short_factor": [1] * 4, "long_factor": [4, 3, 2, 5],
}  # fmt: skip


def scale(kind, **settings):
    return {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0} | settings


def make_neo(window, positions=512):
    config = tf.GPTNeoConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=48,
        max_position_embeddings=positions, window_size=window, attention_types=[[["global", "local"], 1]],
        initializer_range=0.3, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return tf.GPTNeoForCausalLM(config)


def make_sparse():
    config = tf.DeepseekV32Config(
        **WIDE | {"num_key_value_heads": 4}, index_topk=40, index_head_dim=8, index_n_heads=2, kv_lora_rank=8,
        q_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, n_routed_experts=2, n_group=1,
        topk_group=1, num_experts_per_tok=1, moe_intermediate_size=16, first_k_dense_replace=1,
    )  # fmt: skip
    return tf.DeepseekV32ForCausalLM(config)


def make_llama4():
    sizes = {"head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2}
    return tf.Llama4ForCausalLM(tf.Llama4TextConfig(**WIDE, **sizes, attention_chunk_size=32, floor_scale=48))


class Kept(tf.LlamaForCausalLM):
    """A model of another make: beyond a length of its own, it takes twice the angles."""

    def forward(self, input_ids=None, position_ids=None, **settings):
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1])[None]
        if int(position_ids.max()) >= self.config.whatever_it_is_called:
            position_ids = position_ids * 2
        return super().forward(input_ids=input_ids, position_ids=position_ids, **settings)


# how the model is made, the way it is scored, and the length beyond which it is lm-eval's
MODELS = {
    "phi3_longrope": (lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**WIDE, original_max_position_embeddings=64, rope_parameters=LONG)), "pieces", 64),
    "llama_dynamic": (lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**tiny.GROUPED, rope_parameters=scale("dynamic"))), "pieces", 64),
    "qwen3_dynamic": (lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**tiny.GROUPED, head_dim=8, rope_parameters=scale("dynamic"))), "pieces", 64),
    "llama_yarn": (lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**WIDE, rope_parameters=scale("yarn", original_max_position_embeddings=64))), "pieces", None),
    "llama_3_rope": (lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**WIDE, rope_parameters=scale("llama3", original_max_position_embeddings=64, low_freq_factor=1.0, high_freq_factor=4.0))), "pieces", None),
    "a_number_of_any_name": (lambda: Kept(tf.LlamaConfig(**WIDE, whatever_it_is_called=70)), "pieces", 70),
    "gpt_neo_window": (lambda: make_neo(40), "branches", None),
    "gpt_neo_256": (lambda: make_neo(256), "branches", None),
    "gpt_neo_positions": (lambda: make_neo(256, positions=128), "branches", None),
    "qwen2_window_in_upper_layers": (lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**WIDE, use_sliding_window=True, sliding_window=32, max_window_layers=1)), "pieces", 32),
    "gemma3_window": (lambda: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**WIDE, head_dim=8, sliding_window=32)), "pieces", 32),
    "gpt_oss_window": (lambda: tf.GptOssForCausalLM(tf.GptOssConfig(**WIDE, head_dim=8, sliding_window=32, num_local_experts=4)), "mask", 32),
    "llama4_chunks": (make_llama4, "pieces", 32),
    "doge_top_k": (lambda: tf.DogeForCausalLM(tf.DogeConfig(**WIDE, keep_window_size=40)), "pieces", 40),
    "deepseek_top_k": (make_sparse, "states", 40),
    "gpt2_positions": (lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**tiny.OLD, n_embd=32, n_layer=2, n_positions=128)), "pieces", None),
    "ctrl_positions": (lambda: tf.CTRLLMHeadModel(tf.CTRLConfig(vocab_size=tiny.VOCABULARY, n_embd=32, n_layer=2, n_head=4, dff=48, n_positions=128, initializer_range=0.3)), "pieces", None),
}  # fmt: skip


def make(name):
    torch.manual_seed(0)
    return MODELS[name][0]().eval()


def load(model, **settings):
    given = {"tokenizer": tiny.make_tokenizer(), "batch_size": 4, "max_length": 128} | settings
    lm = add_tree(HFLM)(pretrained=model, **given)
    lm.said = []
    lm.explain = lm.said.append
    return lm


def make_requests(
    sizes=(10, 50, 50, 64, 65, 90, 30, 110, 12, 41, 39, 24, 63, 66, 33, 32, 31, 127, 50, 70, 71),
):
    """Requests of so many tokens that begin alike; the last four and one more are scored."""
    generator = np.random.default_rng(0)
    begin = generator.integers(3, tiny.VOCABULARY, 20).tolist()
    rows = [begin[: size // 2] for size in sizes]
    rows = [
        row + generator.integers(3, tiny.VOCABULARY, size - len(row)).tolist()
        for row, size in zip(rows, sizes, strict=True)
    ]
    return [((f"{row[:-4]}", f"{number}"), row[:-4], [*row[-4:], 5]) for number, row in enumerate(rows)]


def answer_alone(name, request):
    """By a model that was never asked anything else, without lm-eval."""
    _, context, continuation = request
    with torch.no_grad():
        logits = make(name)(torch.tensor([context + continuation[:-1]])).logits[0].double()
    logprobs = logits.log_softmax(-1)[len(context) - 1 :]
    return float(sum(logprobs[place, token] for place, token in enumerate(continuation)))


@pytest.mark.parametrize("name", MODELS)
def test_each_request_is_scored_as_if_it_were_alone(name):
    lm = load(make(name))
    requests = make_requests()
    wanted = [answer_alone(name, request) for request in requests]
    for order in (1, -1, 1):  # and whatever was asked before
        found = lm._loglikelihood_tokens(requests[::order])
        assert [logprob for logprob, _ in found][::order] == pytest.approx(wanted, abs=1e-3)
    _, way, limit = MODELS[name]
    assert (lm.choice.engine and lm.choice.engine.way) == way, lm.choice.reason
    if way:
        assert lm.shared.limit == limit
        assert len(lm.said) == (3 if limit else 0)


@pytest.mark.parametrize("name", ["phi3_longrope", "llama_dynamic", "gpt_neo_window", "doge_top_k"])
@pytest.mark.parametrize("budget", [7, 40])
def test_nor_does_it_matter_how_many_tokens_are_packed(name, budget):
    lm = load(make(name))
    lm.choice.engine.budget = budget
    requests = make_requests()
    found = lm._loglikelihood_tokens(requests)
    wanted = [answer_alone(name, request) for request in requests]
    assert [logprob for logprob, _ in found] == pytest.approx(wanted, abs=1e-3)


def test_the_three_short_requests_of_the_report():
    """Alone, they give what stock gives; beside a long one, they gave something else."""
    short, mixed = make_requests((10, 10, 10)), make_requests((10, 10, 10, 90))
    assert mixed[:3] == short
    wanted = [answer_alone("phi3_longrope", request) for request in mixed]
    for requests in (short, mixed):
        found = [logprob for logprob, _ in load(make("phi3_longrope"))._loglikelihood_tokens(requests)]
        assert found == pytest.approx(wanted[: len(requests)], abs=1e-4)


def test_twelve_prompts_of_fifty_tokens_and_a_window_of_256():
    """Together they are longer than the window of the packed row, though each is short."""
    requests = make_requests([50] * 12)
    wanted = [answer_alone("gpt_neo_256", request) for request in requests]
    found = load(make("gpt_neo_256"), max_length=512)._loglikelihood_tokens(requests)
    assert [logprob for logprob, _ in found] == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("name", ["phi3_longrope", "llama_dynamic", "deepseek_top_k"])
def test_texts_are_rolled_in_windows_beyond_the_threshold(name):
    """Alone by stock at batch size 1, each text by a model of its own."""
    texts = [" ".join(tiny.SENTENCES * 3), tiny.SENTENCES[0], " ".join(tiny.SENTENCES)]
    asked = [make_rolling(text) for text in texts]
    found = load(make(name), max_length=100).loglikelihood_rolling(asked, disable_tqdm=True)
    for request, ours in zip(asked, found, strict=True):
        given = {"tokenizer": tiny.make_tokenizer(), "batch_size": 1, "max_length": 100}
        stock = HFLM(pretrained=make(name), logits_cache=False, **given)
        if name == "llama_dynamic":  # stock itself scores a window with the angles of a longer one before
            stock._model_call = reset_before(stock, name)
        assert ours == pytest.approx(stock.loglikelihood_rolling([request], disable_tqdm=True)[0], abs=1e-3)


def reset_before(stock, name):
    return lambda inputs, **_: make(name)(inputs).logits


ENDINGS = [
    "why?",
    "how many dogs?",
    "what does the fox eat in the north and in the south",
    "is it five?",
    "a",
]
PROMPTS = [tiny.SENTENCES[0] + " " + ending for ending in ENDINGS]
PROMPTS += [" ".join(tiny.SENTENCES[:2]) + " " + ending for ending in ENDINGS[:3]]
PROMPTS += [" ".join(tiny.SENTENCES[:4]) + " " + ending for ending in ENDINGS[:3]]


@pytest.mark.parametrize(
    "name",
    ["phi3_longrope", "llama_dynamic", "qwen3_dynamic", "gpt_neo_window", "gemma3_window", "doge_top_k", "llama4_chunks"],
)  # fmt: skip
def test_texts_are_generated_as_if_each_prompt_were_alone(name):
    settings = {"do_sample": False, "max_gen_toks": 12, "until": ["\n\n"]}
    asked = [
        Instance("generate_until", {}, (prompt, settings), number, doc_id=number)
        for number, prompt in enumerate(PROMPTS)
    ]
    sizes = [len(tiny.make_tokenizer().encode(prompt)) for prompt in PROMPTS]
    assert min(sizes) + 12 < 64 < max(sizes) < 116
    lm = load(make(name))
    found = [lm.generate_until(asked[::order], disable_tqdm=True)[::order] for order in (1, -1)]
    given = {"tokenizer": tiny.make_tokenizer(), "batch_size": 1, "max_length": 128}
    wanted = [
        HFLM(pretrained=make(name), **given).generate_until([request], disable_tqdm=True)[0]
        for request in asked
    ]
    assert found == [wanted, wanted]
    assert len(set(wanted)) > 2


ROUTERS = {
    "mixtral": lambda: tf.MixtralForCausalLM(tf.MixtralConfig(**WIDE, **EXPERTS, output_router_logits=True)),
    "qwen3_moe": lambda: tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(**WIDE, **EXPERTS, head_dim=8, output_router_logits=True)),
    "olmoe": lambda: tf.OlmoeForCausalLM(tf.OlmoeConfig(**WIDE, **EXPERTS, output_router_logits=True)),
    "qwen2_moe": lambda: tf.Qwen2MoeForCausalLM(tf.Qwen2MoeConfig(**WIDE, **EXPERTS, shared_expert_intermediate_size=16, output_router_logits=True)),
    "llama_hidden_states": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**WIDE, output_hidden_states=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUTERS)
def test_what_a_model_returns_besides_does_not_cost_it_the_best_way(name):
    torch.manual_seed(0)
    model = ROUTERS[name]().eval()
    lm = load(model)
    assert lm.choice.engine.way == "pieces", lm.choice.reason
    requests = make_requests()
    found = [logprob for logprob, _ in lm._loglikelihood_tokens(requests)]
    stock = HFLM(pretrained=model, tokenizer=tiny.make_tokenizer(), batch_size=1, logits_cache=False)
    wanted = [logprob for logprob, _ in stock._loglikelihood_tokens(requests, disable_tqdm=True)]
    assert found == pytest.approx(wanted, abs=1e-3)


def count_tokens(model):
    counted = []
    model.register_forward_pre_hook(
        lambda _, given, named: counted.append((named.get("input_ids", *given[:1])).numel()), with_kwargs=True
    )
    return counted


def test_trying_out_costs_little():
    """The first trial some 300 tokens; a later one only where a number of the config is crossed."""
    model = tiny.MAKERS["llama"]().eval()
    counted = count_tokens(model)
    lm = load(model, max_length=60)
    assert sum(counted) < 360
    counted.clear()
    requests = make_requests((50, 30, 40, 59))
    lm._loglikelihood_tokens(requests)
    assert sum(counted) <= 50 + 30 + 40 + 59  # the config knows no number up to 59 that could be a length
    engine = lm.choice.engine
    assert engine.computed == sum(counted)


def test_a_length_is_tried_once():
    model = make("llama_yarn")
    lm = load(model)
    lm._loglikelihood_tokens(make_requests())
    counted = count_tokens(model)
    lm._loglikelihood_tokens(make_requests())
    assert sum(counted) <= sum(len(context) + 4 for _, context, _ in make_requests())


@pytest.mark.parametrize(
    ("right_up_to", "thresholds", "limit"),
    [
        (64, [10, 40, 100], 64),
        (63, [10, 40, 100], 40),
        (99, [100], 99),
        (100, [100], 100),
        (30, [90], 24),
        (90, [], 64),
        (128, [], 128),
    ],
)
def test_the_limit_is_the_longest_that_is_known_to_be_right(right_up_to, thresholds, limit):
    tried = []

    def is_right(length):
        tried.append(length)
        return length <= right_up_to

    steps = list_steps(thresholds, 200)
    assert all(24 < step < 200 for step in steps)
    assert find_limit(is_right, steps) == limit
    assert len(tried) <= 4


class Config:
    sliding_window = None

    def to_dict(self):
        nested = {"rope": {"original": 90, "factors": [1, 40, 2.5]}, "layers": [{"span": 30}]}
        sizes = {
            "hidden_size": 48,
            "head_dim": 32,
            "num_hidden_layers": 28,
            "pad_token_id": 50,
            "d_model": 64,
        }
        return {"window": 64, "context": 4096, "flag": True, "rate": 33.0, "short": 24} | nested | sizes


class Bare(Config):
    def to_dict(self):
        return {"context": 4096}


class Windowed(Config):
    def to_dict(self):
        return {"context": 4096, "window": 30}


def test_any_number_that_could_be_a_length_is_a_threshold():
    assert list_thresholds(Config(), 100) == [24, 30, 40, 64, 90]
    assert list_thresholds(Config(), 64) == [24, 30, 40, 64]
    assert list_thresholds(Config(), 23) == []


def test_lengths_are_tried_as_far_as_they_are_asked_and_no_further():
    tried = []
    lengths = Lengths(Config(), lambda length: tried.append(length) or "")
    assert lengths.reach(20, 5, 1000) is None and tried == []
    assert lengths.reach(45, 5, 1000) is None and tried == [80]
    assert lengths.reach(70, 5, 1000) is None and tried == [80]
    assert lengths.reach(95, 5, 120) is None and tried == [80, 120]
    assert lengths.reach(119, 5, 1000) is None and tried == [80, 120]


def test_many_requests_pay_for_a_trial_without_a_threshold():
    """A threshold that stands in the model's code and in no config is found then."""
    tried = []
    lengths = Lengths(Bare(), lambda length: tried.append(length) or "wrong")
    assert lengths.reach(50, 999, 4096) is None and tried == []
    assert lengths.reach(50, 1000, 4096) == 24
    assert tried[0] == 50 and lengths.reason == "wrong"


def test_a_known_window_is_no_threshold():
    tried = []
    lengths = Lengths(Windowed(), lambda length: tried.append(length) or "", limit=30)
    assert lengths.reach(100, 5, 1000) == 30
    assert tried == []
    assert "attention window" in lengths.reason


@pytest.mark.parametrize("name", [name for name, (_, _, limit) in MODELS.items() if limit])
def test_without_its_limit_each_of_these_models_is_scored_wrong(name):
    """The comparisons above prove something."""
    lm = load(make(name))
    lm.shared = Lengths(lm.config, lambda length: "")
    requests = make_requests()
    wanted = [answer_alone(name, request) for request in requests]
    found = [logprob for logprob, _ in lm._loglikelihood_tokens(requests)]
    assert np.abs(np.array(found) - wanted).max() > 0.1


@pytest.mark.parametrize("name", ["gpt_neo_window", "gpt_neo_256"])
def test_a_packed_row_would_be_wrong_where_places_are_counted(name):
    requests = make_requests([50] * 12)
    wanted = [answer_alone(name, request) for request in requests]
    queries = [Query(context + continuation[:-1], continuation) for _, context, continuation in requests]
    found = answer_all(PackedEngine(make(name), "mask", 2048, 64), queries)
    assert np.abs(np.array(found) - wanted).max() > 0.1


def test_a_call_that_is_too_large_for_the_models_tables_is_divided():
    requests = make_requests([50] * 12)
    wanted = [answer_alone("gpt_neo_positions", request) for request in requests]
    queries = [Query(context + continuation[:-1], continuation) for _, context, continuation in requests]
    engine = PackedEngine(make("gpt_neo_positions"), "mask", 2048, 64)
    assert answer_all(engine, queries) == pytest.approx(wanted, abs=1e-3)
    assert engine.budget < 128


def test_an_error_that_smaller_calls_do_not_mend_is_shown(monkeypatch):
    model = make("llama_yarn")

    def fail(*given, **named):
        raise ValueError("not today")

    engine = PackedEngine(model, "pieces", 2048, 64)
    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(ValueError, match="not today"):
        answer_all(engine, [Query(list(range(3, 140)), [5])])


class Crowded(tf.LlamaForCausalLM):
    """A model that takes other angles in calls of many tokens, which no short trial shows."""

    def forward(self, input_ids=None, position_ids=None, **settings):
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1])[None]
        if input_ids.shape[1] > 200:
            position_ids = position_ids * 2
        return super().forward(input_ids=input_ids, position_ids=position_ids, **settings)


def test_the_first_full_call_is_checked():
    torch.manual_seed(0)
    model = Crowded(tf.LlamaConfig(**WIDE, some_number=200)).eval()
    lm = load(model)
    requests = make_requests()
    found = [logprob for logprob, _ in lm._loglikelihood_tokens(requests)]
    stock = HFLM(pretrained=model, tokenizer=tiny.make_tokenizer(), batch_size=1, logits_cache=False)
    wanted = [logprob for logprob, _ in stock._loglikelihood_tokens(requests, disable_tqdm=True)]
    assert found == pytest.approx(wanted, abs=1e-3)
    assert lm.choice.engine.budget <= 200
    assert lm.choice.engine.way == "pieces"


@pytest.mark.parametrize(("settings", "cost"), [({}, 0), ({"some_number": 200}, 10)])
def test_a_check_costs_a_short_row_where_the_config_makes_it_suspect(settings, cost):
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**WIDE, **settings)).eval()
    lm = load(model)
    counted = count_tokens(model)
    lm._loglikelihood_tokens(make_requests([50] * 10 + [10] * 3))
    assert sum(counted) - lm.choice.engine.computed == cost
    assert lm.choice.engine.largest > 200


def test_many_requests_pay_for_a_check():
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**WIDE)).eval()
    lm = load(model)
    counted = count_tokens(model)
    lm._loglikelihood_tokens(make_requests([50] * 60 + [10] * 3))
    assert 0 < sum(counted) - lm.choice.engine.computed <= lm.choice.engine.computed / 100


class Padded(tf.LlamaForCausalLM):
    """A model that sees how long its row is, padding included."""

    def forward(self, input_ids=None, position_ids=None, **settings):
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1])[None] * input_ids.shape[1]
        return super().forward(input_ids=input_ids, position_ids=position_ids, **settings)


def test_what_lm_evals_batches_would_change_is_asked_alone():
    torch.manual_seed(0)
    model = Padded(tf.LlamaConfig(**WIDE)).eval()
    lm = load(model)
    assert lm.choice.engine is None
    requests = make_requests()
    stock = HFLM(pretrained=model, tokenizer=tiny.make_tokenizer(), batch_size=1, logits_cache=False)
    wanted = stock._loglikelihood_tokens(requests, disable_tqdm=True)
    found = lm._loglikelihood_tokens(requests)
    assert [one for one, _ in found] == pytest.approx([one for one, _ in wanted], abs=1e-3)
    together = HFLM(pretrained=model, tokenizer=tiny.make_tokenizer(), batch_size=4, logits_cache=False)
    others = together._loglikelihood_tokens(requests, disable_tqdm=True)
    assert max(abs(one - other) for (one, _), (other, _) in zip(others, wanted, strict=True)) > 0.1


def make_bart():
    config = tf.BartConfig(
        vocab_size=tiny.VOCABULARY, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=48,
        max_position_embeddings=192, init_std=0.3, pad_token_id=2, bos_token_id=0, eos_token_id=1,
        is_decoder=True, is_encoder_decoder=False,
    )  # fmt: skip
    return tf.BartForCausalLM(config)


def test_texts_that_lm_evals_batches_would_change_are_generated_alone():
    """BART counts the padding before a prompt as positions."""
    settings = {"do_sample": False, "max_gen_toks": 8, "until": ["\n\n"]}
    asked = [
        Instance("generate_until", {}, (prompt, settings), number, doc_id=number)
        for number, prompt in enumerate(PROMPTS)
    ]
    torch.manual_seed(0)
    model = make_bart().eval()
    found = load(model, backend="causal").generate_until(asked, disable_tqdm=True)
    texts = {}
    for size in (1, 4):
        given = {"tokenizer": tiny.make_tokenizer(), "batch_size": size, "max_length": 128}
        stock = HFLM(pretrained=model, backend="causal", **given)
        texts[size] = stock.generate_until(asked, disable_tqdm=True)
    assert found == texts[1] != texts[4]


def test_a_text_ends_where_it_ends_alone():
    """Without an end token in the model's settings, lm-eval's batches go on after it, and keep what follows."""
    torch.manual_seed(0)
    model = make_bart().eval()
    with torch.no_grad():
        model.lm_head.weight[tiny.make_tokenizer().eos_token_id] *= 2.5
    model.generation_config.eos_token_id = None
    settings = {"do_sample": False, "max_gen_toks": 20, "until": ["\n\n"]}
    asked = [
        Instance("generate_until", {}, (prompt, settings), number, doc_id=number)
        for number, prompt in enumerate(PROMPTS[:5])
    ]
    given = {"tokenizer": tiny.make_tokenizer(), "max_length": 128, "backend": "causal"}
    stock = HFLM(pretrained=model, batch_size=1, **given)
    wanted = [stock.generate_until([request], disable_tqdm=True)[0] for request in asked]
    assert load(model, backend="causal").generate_until(asked, disable_tqdm=True) == wanted
    assert min(len(tiny.make_tokenizer().encode(text)) for text in wanted) < 20


def test_a_model_is_made_as_it_was():
    """Buffers, plain attributes and modules that a call replaces."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model.longest, model.kind = 3, "plain"
    model.register_buffer("angles", torch.ones(2))
    memory, first, angles = Memory(model), model[0], model.angles
    with memory.kept_fresh():
        model.longest, model.kind, model.angles = 9, "other", torch.zeros(2)
        model[0] = torch.nn.Identity()
    assert (model.longest, model.kind) == (3, "plain")
    assert model.angles is angles and model[0] is first


@pytest.mark.parametrize(
    ("size", "filled", "expected"),
    [(5, None, False), (1, None, True), (5, 0, False), (1, 7, True), (5, 7, True)],
)
def test_a_call_continues_another_if_something_is_kept_for_it(size, filled, expected):
    past = None
    if filled is not None:
        past = tf.DynamicCache()
        past.update(*(torch.zeros(1, 1, filled, 2),) * 2, 0)
    assert continues(torch.zeros(1, size), past) is expected


def test_of_a_long_row_few_logits_are_computed():
    model = make("llama_yarn")
    alone = Alone(model, contextlib.nullcontext, torch.float32)
    row = np.random.default_rng(0).integers(3, tiny.VOCABULARY, SHORT + 40)
    with torch.no_grad():
        logprobs = model(torch.from_numpy(row)[None]).logits[0].log_softmax(-1)
    computed = []
    model.get_output_embeddings().register_forward_hook(lambda *given: computed.append(given[2].shape[1]))
    answer = alone.answer(Query(row, [7, 8, 9]))
    assert answer == pytest.approx(float(logprobs[-3, 7] + logprobs[-2, 8] + logprobs[-1, 9]), abs=1e-4)
    padded = alone.read([row, row[:-10]], 2)
    assert torch.allclose(padded[0], logprobs[-2:], atol=1e-4)
    assert torch.allclose(padded[1], logprobs[-12:-10], atol=1e-4)
    alone.read([row[:SHORT]], 2)
    assert computed == [3, 12, SHORT], "and all of a short one"
