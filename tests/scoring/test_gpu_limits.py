"""What only a GPU asks for: how much fits into its memory, and errors after which it cannot be used."""

from types import SimpleNamespace

import pytest
import torch
import transformers as tf

from gptalt_eval.scoring import batch, probe
from gptalt_eval.scoring.batch import find_limits
from gptalt_eval.scoring.engine import is_out_of_memory
from gptalt_eval.scoring.packed import PackedEngine
from gptalt_eval.scoring.probe import find_budget

GIB = 2**30


@pytest.fixture
def gpu(monkeypatch):
    """A GPU with 64 GiB, all free."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (64 * GIB, 64 * GIB))


def make_model(**settings):
    weight = SimpleNamespace(device=torch.device("cuda"))
    config = tf.LlamaConfig(vocab_size=1000, num_hidden_layers=1, **settings)
    return SimpleNamespace(
        config=config, dtype=torch.bfloat16, get_input_embeddings=lambda: SimpleNamespace(weight=weight)
    )


def make_engine(rows, most=10**9):
    """A factory of engines that keep the rows they are asked about, and refuse calls of too many tokens."""

    def make(tokens, logits):
        def score(queries):
            rows.extend(list(query.inputs) for query in queries)
            if tokens > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return iter(())

        return SimpleNamespace(score=score)

    return make


@pytest.mark.parametrize("places", [2, 63, 64, 65, 1024, 2048, 32768])
def test_no_row_is_longer_than_the_models_table_of_positions(gpu, places):
    """On a GPU, looking up a place beyond the table ends the process: OPT and GPT-2 could not be used."""
    rows = []
    assert find_budget(make_model(max_position_embeddings=places), make_engine(rows))[0] == 16384
    assert max(map(len, rows)) == min(places, 16384)
    distinct = {tuple(row[:end]) for row in rows[:3] for end in range(1, len(row) + 1)}
    assert len(distinct) >= min(places, 16384)


def test_a_config_without_a_length_has_that_of_lm_eval(gpu):
    rows = []
    model = make_model()
    model.config = tf.BloomConfig(vocab_size=1000, n_layer=1)
    find_budget(model, make_engine(rows))
    assert max(map(len, rows)) == 2048


def test_the_budget_is_halved_until_it_fits(gpu):
    tokens, rows = find_budget(make_model(), make_engine([], most=5000))
    assert tokens == 4096
    assert 16 <= rows <= tokens


def test_another_error_is_not_taken_for_too_little_memory(gpu):
    def make(tokens, logits):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    with pytest.raises(torch.AcceleratorError):
        find_budget(make_model(), make)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_too_little_memory_is_known(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.fixture
def engine():
    config = tf.LlamaConfig(
        vocab_size=50, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    return PackedEngine(tf.LlamaForCausalLM(config).eval(), "mask", 1000, 64)


def test_nothing_is_tried_again_on_a_gpu_that_cannot_be_used(engine):
    with pytest.raises(torch.AcceleratorError):
        engine.recover(torch.AcceleratorError("CUDA error: device-side assert triggered"), 1000, 10)
    assert (engine.budget, engine.rows) == (1000, 64)


def test_a_smaller_call_is_tried_if_the_memory_does_not_suffice(engine):
    engine.recover(torch.AcceleratorError("CUDA error: out of memory"), 1000, 10)
    assert (engine.budget, engine.rows) == (500, 32)


def test_a_gpu_generates_more_rows_at_once(gpu):
    assert find_limits(torch.device("cpu")) == (batch.ROWS, batch.KEPT)
    assert find_limits(torch.device("cuda")) == (256, 16 * GIB)


def test_a_cpu_has_fixed_budgets():
    model = make_model()
    model.get_input_embeddings().weight.device = torch.device("cpu")
    assert find_budget(model, make_engine([]))[0] == probe.TOKENS
