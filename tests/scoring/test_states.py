"""Models that carry a state, or whose context sees itself both ways, against the same models asked alone."""

import contextlib
import copy
import weakref

import numpy as np
import prefix_lm
import pytest
import tiny
import torch
import transformers as tf
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from gptalt_eval.scoring.backend import add_tree
from gptalt_eval.scoring.branches import BranchEngine
from gptalt_eval.scoring.carried import Carried, join
from gptalt_eval.scoring.contexts import ContextEngine, ContextQueries
from gptalt_eval.scoring.memory import Memory
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.restarts import Restarts
from gptalt_eval.scoring.states import HABITS, StateEngine
from gptalt_eval.scoring.tree import Queries, Query, build_tree
from gptalt_eval.scoring.trial import Alone

pytestmark = pytest.mark.torch
RECURRENT = {"rwkv": HABITS[1], "mamba": HABITS[2], "mamba2": HABITS[0], "falcon_mamba": HABITS[2]}


def make_alone(model):
    return Alone(model, contextlib.nullcontext, torch.float32)


def make_queries(seed, count=24):
    """Texts that begin alike, at several depths."""
    generator = np.random.default_rng(seed)
    rows = [[7]]
    for _ in range(count):
        row = rows[generator.integers(len(rows))]
        own = generator.integers(5, tiny.VOCABULARY, generator.integers(1, 9)).tolist()
        rows.append(row[: generator.integers(1, len(row) + 1)] + own)
    return [Query(row, row[-int(generator.integers(1, len(row) + 1)) :]) for row in rows]


def make_questions(seed, count=6):
    """Contexts of several lengths with options that share beginnings, as a prefix-LM takes them."""
    generator = np.random.default_rng(seed)
    begin = generator.integers(5, tiny.VOCABULARY, 12).tolist()
    queries = []
    for number in range(count):
        own = generator.integers(5, tiny.VOCABULARY, 1 + number // 2 * 5).tolist()
        context = [*begin, *own, prefix_lm.GMASK, prefix_lm.SOP]
        for option in range(5):
            end = [9, 8, *generator.integers(5, tiny.VOCABULARY, 1 + option).tolist()]
            queries.append(Query([*context, *end[:-1]], end))
    return queries


def answer(engine, queries, known=()):
    return {each.query: each.logprob for batch in engine.score(queries, known=known) for each in batch}


def assert_right(found, alone, queries):
    assert found == pytest.approx({n: alone.answer(queries[n]) for n in found}, abs=5e-5)


@contextlib.contextmanager
def counting(model):
    passed = []

    def count(_, given, named):
        passed.append(named["input_ids"].numel())

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    yield passed
    handle.remove()


@pytest.mark.parametrize("name", RECURRENT)
def test_the_probe_finds_out_how_each_model_continues(name):
    engine = choose_engine(make_alone(tiny.make_model(name))).engine
    assert isinstance(engine, StateEngine)
    assert engine.habit == RECURRENT[name]


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("budget", [1, 3, 16, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_carried_states_give_the_answers_of_each_row_alone(name, budget, seed):
    model, queries = tiny.make_model(name), make_queries(seed)
    engine = StateEngine(model, budget, budget, habit=RECURRENT[name])
    engine.call = 0
    found = answer(engine, queries)
    assert found.keys() == set(range(len(queries)))
    assert_right(found, make_alone(model), queries)


@pytest.mark.parametrize("name", ["rwkv", "mamba2"])
def test_every_distinct_token_is_computed_once(name):
    model, queries = tiny.make_model(name), make_queries(1)
    engine = StateEngine(model, 1024, 1024, habit=RECURRENT[name])
    engine.call, told = 0, []
    found = [each for batch in engine.score(queries, told.append) for each in batch]
    assert len(found) == len(queries)
    assert told[-1].computed == told[-1].total == engine.computed == len(build_tree(queries))
    assert told[-1].asked == sum(len(query.inputs) for query in queries)


def test_the_models_own_door_sees_little_more_than_the_distinct_tokens():
    """A long beginning, questions of several lengths, short options: what is added is padding of the options."""
    generator = np.random.default_rng(0)
    begin = generator.integers(5, 150, 60).tolist()
    queries = []
    for _ in range(6):
        question = begin + generator.integers(5, 150, generator.integers(20, 40)).tolist()
        for size in (2, 4, 5, 7):
            option = generator.integers(5, 150, size).tolist()
            queries.append(Query(question + option[:-1], option))
    model = tiny.make_model("rwkv")
    engine = StateEngine(model, 1024, 1024, habit=HABITS[1])
    with counting(model) as passed:
        found = answer(engine, queries)
    assert_right(found, make_alone(model), queries)
    assert len(build_tree(queries)) == engine.computed <= sum(passed) < 1.25 * engine.computed
    assert sum(passed) < sum(len(query.inputs) for query in queries) / 5


def test_a_model_of_whole_chunks_steps_through_options_only():
    """Found here: questions of different lengths were one batch, and stepped to each one's end."""
    torch.manual_seed(0)
    config = copy.deepcopy(tiny.make_model("mamba2").config)
    config.chunk_size = 64
    model = tf.Mamba2ForCausalLM(config).eval()
    generator, queries = np.random.default_rng(0), []
    for size in (20, 21, 24, 24, 29):
        question = generator.integers(5, 150, size).tolist()
        for first in (7, 8):
            queries.append(Query([*question, first, 9], [first, 9, 6]))
    engine = StateEngine(model, 1024, 1024)
    assert engine.few == 8
    with counting(model) as passed:
        found = answer(engine, queries)
    assert_right(found, make_alone(model), queries)
    assert sum(passed) == engine.computed == len(build_tree(queries))
    assert sum(size for size in passed if size < 20) == 2 * len(queries), "the two tokens of each option"


@pytest.mark.parametrize("name", ["bloom", "mpt"])
def test_alibi_models_compute_each_distinct_token_once(name):
    """By repeating the keys and values of their prefix; beyond these there is only padding."""
    model, queries = tiny.make_model(name), make_queries(2)
    engine = choose_engine(make_alone(model)).engine
    assert isinstance(engine, BranchEngine)
    engine.call = engine.computed = 0
    with counting(model) as passed:
        found = answer(engine, queries)
    assert_right(found, make_alone(model), queries)
    assert engine.computed == len(build_tree(queries)) <= sum(passed)


@pytest.mark.parametrize("name", ["rwkv", "mamba"])
def test_what_is_known_is_not_computed_again(name):
    model, queries = tiny.make_model(name), make_queries(3)
    alone = make_alone(model)
    engine = StateEngine(model, 32, 32, habit=RECURRENT[name])
    assert answer(engine, queries, known=range(len(queries))) == {}
    assert engine.computed == 0
    found = answer(engine, queries, known=set(range(0, len(queries), 2)))
    assert sorted(found) == list(range(1, len(queries), 2))
    assert_right(found, alone, queries)


def test_memory_that_runs_out_halves_the_calls(monkeypatch):
    model, queries = tiny.make_model("rwkv"), make_queries(4)
    forward, sizes = model.forward, []

    def fail_above_nine(*given, **named):
        if named["input_ids"].numel() > 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(named["input_ids"].numel())
        return forward(*given, **named)

    engine = StateEngine(model, 1024, 1024, habit=HABITS[1])
    engine.call = 0
    monkeypatch.setattr(model, "forward", fail_above_nine)
    found = answer(engine, queries)
    monkeypatch.undo()
    assert engine.budget < 1024
    assert max(sizes) <= 9
    assert_right(found, make_alone(model), queries)


def test_a_state_is_not_kept_longer_than_what_follows_it():
    """Of 40 questions below one beginning, never more states than the calls' rows exist."""
    generator = np.random.default_rng(0)
    queries = []
    for _ in range(40):
        question = [7] * 20 + generator.integers(5, 150, 6).tolist()
        queries += [Query([*question, option, option], [3, 4]) for option in (8, 9)]
    model = tiny.make_model("mamba2")
    engine = StateEngine(model, 24, 24)
    alive, most = set(), 0
    make = Carried.select

    def select(self, rows):
        nonlocal most
        made = make(self, rows)
        alive.add(id(made))
        weakref.finalize(made, alive.discard, id(made))
        most = max(most, len(alive))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Carried, "select", select)
        assert_right(answer(engine, queries), make_alone(model), queries)
    assert 0 < most < 16


def test_a_model_that_divides_its_weights_does_so_once():
    """Found here: forgetting that it had, RWKV with more layers than ``rescale_every`` did it in every call."""
    torch.manual_seed(0)
    config = tf.RwkvConfig(vocab_size=150, hidden_size=32, num_hidden_layers=4, rescale_every=2)
    model = tf.RwkvForCausalLM(config).eval()
    memory, ids = Memory(model), torch.arange(5, 15)[None]
    with torch.no_grad(), memory.kept_fresh():
        first, second, third = (model(ids).logits for _ in range(3))
    assert torch.equal(first, second)
    assert torch.equal(second, third)
    assert model.rwkv.layers_are_rescaled


def test_what_a_model_returns_is_divided_and_joined_by_row():
    inner = tf.DynamicCache()
    inner.update(torch.arange(6.0).view(3, 1, 1, 2), torch.ones(3, 1, 1, 2), 0)
    state = Carried({"past": inner, "more": [torch.arange(6).view(3, 2), 5, torch.zeros(3)]}, 3)
    one, two = state.select([2]), state.select([0, 2])
    assert one.values["more"][0].tolist() == [[4, 5]]
    assert one.values["more"][1] == 5 and len(one.values["more"][2]) == 3  # of all rows
    both = join([one, two])
    assert both.rows == 3
    assert both.values["past"].layers[0].keys.flatten().tolist() == [4, 5, 0, 1, 4, 5]
    both.values["more"][0][0] = 0
    assert state.values["more"][0].tolist() == [[0, 1], [2, 3], [4, 5]]  # copies
    inner.update(torch.zeros(3, 1, 1, 2), torch.zeros(3, 1, 1, 2), 0)
    assert join([Carried({"past": inner}, 3), Carried({"past": one.values["past"]}, 1)]) is None
    assert join([one, Carried({**one.values, "more": [torch.zeros(1, 2), 6]}, 1)]) is None


@pytest.mark.parametrize("step", [1, 4])
def test_a_plan_reads_every_target_once(step):
    for seed in range(20):
        queries = Queries(make_queries(seed))
        plan = Restarts(queries, 3, step)
        waiting, runs = [plan.list_first()], []
        while waiting:
            for run in waiting.pop():
                runs.append(run)
                waiting.append(plan.list_next(run.node, 0))
        found = sorted(entry[2] for run in runs for entry in run.scored)
        expected = sorted(n for n, count in enumerate(queries.count_targets()) for _ in range(count))
        assert found == expected
        assert plan.count() == sum(map(len, runs))
        for run in runs:
            assert all(depth < run.node.end for depth, _, _ in run.scored)
            assert all(depth >= run.begin for depth, _, _ in run.scored)


def test_short_tails_are_stepped_through_and_long_ones_begun_from_scratch():
    """Of a model that takes one token at a time after a state."""
    long = [Query([1] * 20 + [number] * 30, [0]) for number in (5, 6)]
    assert Restarts(Queries(long), 0, 4).count() == 100
    short = [Query([1] * 60 + [number] * 3, [0]) for number in (5, 6)]
    assert Restarts(Queries(short), 0, 4).count() == 66
    assert Restarts(Queries(long), 0, 1).count() == 80


@pytest.mark.parametrize("budget", [1, 16, 1024])
def test_options_share_their_context_as_a_whole(budget):
    model, queries = prefix_lm.make_model(), make_questions(budget)
    alone = make_alone(model)
    choice = choose_engine(alone)
    assert isinstance(choice.engine, ContextEngine), choice.reason
    assert "branches: " in choice.reason and "states: " in choice.reason
    engine = choice.engine
    engine.budget = engine.rows = budget
    engine.call = engine.computed = 0
    assert_right(answer(engine, queries), alone, queries)
    contexts = {tuple(query.inputs[: query.inputs.index(prefix_lm.SOP) + 1]) for query in queries}
    after = {
        tuple(query.inputs[:end])
        for query in queries
        for end in range(query.inputs.index(prefix_lm.SOP) + 2, len(query.inputs) + 1)
    }
    assert engine.computed == sum(map(len, contexts)) + len(after)
    assert engine.computed < sum(len(query.inputs) for query in queries) / 3
    rest = answer(engine, queries, known=range(3, 20))
    assert rest.keys() == {0, 1, 2, *range(20, len(queries))}
    assert_right(rest, alone, queries)


def test_contexts_that_begin_alike_have_nothing_in_common():
    queries = ContextQueries(
        [Query([5, 6, 3, 9], [1]), Query([5, 6, 7, 3, 9], [1]), Query([5, 6, 3, 8], [1])], 3
    )
    assert [len(node.tokens) for node in queries.root.children.values()] == [3, 4]
    assert queries[2].inputs.tolist() == [5, 6, 3, 8]
    without = ContextQueries([Query([5, 6, 9], [1]), Query([5, 6, 8], [1])], 3)  # cut from the left
    assert [len(node.tokens) for node in without.root.children.values()] == [3, 3]


def ask(*pairs):
    return [Instance("loglikelihood", {}, pair, number, doc_id=number) for number, pair in enumerate(pairs)]


def test_a_prefix_lm_through_the_backend_equals_stock_one_at_a_time():
    asked = ask(
        *(
            (f"how many {what} are left?", f" {n}")
            for what in ("dogs", "apples")
            for n in ("five", "seven dogs")
        )
    )
    given = {"pretrained": prefix_lm.make_model(), "tokenizer": tiny.make_tokenizer(), "max_length": 60}
    ours, stock = (
        add_tree(prefix_lm.Encoding)(**given, batch_size=4),
        prefix_lm.Encoding(**given, batch_size=1),
    )
    assert ours.choice.engine.way == "contexts"
    theirs = stock.loglikelihood(asked, disable_tqdm=True)
    assert np.allclose([a for a, _ in ours.loglikelihood(asked)], [a for a, _ in theirs], atol=1e-4)


@pytest.mark.parametrize("name", ["rwkv", "mamba", "bloom", "mpt"])
def test_texts_are_those_of_each_prompt_alone(name):
    """By lm-eval's own loop if ours does not take the model, which is said; one at a time if a batch disturbs."""
    settings = {"do_sample": False, "max_gen_toks": 6, "until": ["</s>"]}
    prompts = ("the dog", "Question: how many apples are left if seven of twelve are eaten?", "nobody")
    asked = [
        Instance("generate_until", {}, (prompt, settings), number, doc_id=number)
        for number, prompt in enumerate(prompts)
    ]
    given = {"pretrained": tiny.make_model(name), "tokenizer": tiny.make_tokenizer(), "max_length": 60}
    ours, stock = add_tree(HFLM)(**given, batch_size=3), HFLM(**given, batch_size=1)
    said = []
    ours.explain = said.append
    assert ours.generate_until(asked) == stock.generate_until(asked, disable_tqdm=True)
    assert len(said) == 1 and said[0].startswith("lm-eval's own loop generates the texts: ")


def test_a_model_without_anything_to_go_on_from_is_left_to_stock_with_the_reason():
    config = tf.RecurrentGemmaConfig(
        vocab_size=150, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
        intermediate_size=48, lru_width=32, head_dim=8, block_types=["recurrent", "attention"],
    )  # fmt: skip
    torch.manual_seed(0)
    choice = choose_engine(make_alone(tf.RecurrentGemmaForCausalLM(config).eval()))
    assert choice.engine is None
    assert "states: ValueError: it returns nothing from which it could go on" in choice.reason


def test_a_model_that_the_probe_cannot_ask_is_left_to_stock_with_the_reason():
    model = prefix_lm.make_model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_lm.PrefixForCausalLM, "context_end_id", None)
        choice = choose_engine(make_alone(model))
    assert choice.engine is None
    assert choice.reason == "the probe failed (ValueError: a row without <sop>)"
