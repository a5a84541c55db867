"""The type of the weights where the user names none."""

import pytest

from gptalt_eval.machine import arithmetic
from gptalt_eval.machine.arithmetic import compare


@pytest.fixture
def rates(monkeypatch, tmp_path):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("GPTALT_CACHE", str(tmp_path))
    arithmetic.choose_dtype.cache_clear()
    yield lambda *found: monkeypatch.setattr(arithmetic, "measure_rates", lambda _: found)
    arithmetic.choose_dtype.cache_clear()


@pytest.mark.parametrize(
    ("exact", "short", "name"),
    [(300, 150, "float32"), (100, 100, "float32"), (100, 119, "float32"), (100, 121, "bfloat16"), (30, 350, "bfloat16")],
)  # fmt: skip
def test_float32_unless_bfloat16_is_clearly_faster(exact, short, name):
    chosen = compare(exact, short)
    assert chosen.name == name
    assert chosen.reason == f"one layer computes {exact} tokens/s in float32, {short} in bfloat16"


@pytest.mark.torch
def test_the_measurement_decides(rates):
    rates(300.0, 150.0)
    assert arithmetic.choose_dtype().name == "float32"
    rates(1.0, 1000.0)
    arithmetic.choose_dtype.cache_clear()  # as in another process
    assert arithmetic.choose_dtype().name == "float32", "two runs on one machine give the same numbers"


@pytest.mark.torch
@pytest.mark.parametrize("change", ["processor", "threads", "damage"])
def test_it_is_measured_again_on_another_processor(rates, monkeypatch, change, tmp_path):
    import torch

    rates(300.0, 150.0)
    assert arithmetic.choose_dtype().name == "float32"
    if change == "processor":
        monkeypatch.setattr(arithmetic, "read_processor", lambda: "another one")
    elif change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1234)
    else:
        (tmp_path / "dtype.json").write_text('{"')
    rates(1.0, 1000.0)
    arithmetic.choose_dtype.cache_clear()
    assert arithmetic.choose_dtype().name == "bfloat16"


@pytest.mark.torch
def test_several_processes_take_the_same_type(rates, monkeypatch):
    rates(1.0, 1000.0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert arithmetic.choose_dtype().name == "float32"


@pytest.mark.torch
@pytest.mark.parametrize(("knows", "name"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_takes_what_it_knows(rates, monkeypatch, knows, name):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: knows)
    assert arithmetic.choose_dtype().name == name


@pytest.mark.torch
def test_rates_are_tokens_by_seconds(monkeypatch):
    """With a clock that ticks one second a reading, each call takes one second."""
    import torch

    seconds = iter(range(10**6))
    monkeypatch.setattr(arithmetic.time, "perf_counter", lambda: float(next(seconds)))
    found = arithmetic.measure_rates([torch.float32, torch.bfloat16])
    assert found == [512.0, 512.0]
