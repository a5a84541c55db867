"""The benchmarks run, on shapes small enough for a test."""

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in (
        "workloads",
        "scoring",
        "exactness",
        "gpu",
        "architectures",
        "survey",
        "pictures",
        "cluster",
    ):
        sys.modules.pop(name, None)


def test_real_and_random_workloads_share_alike(shared_data):
    """Random words have about as much in common as the real requests: within a factor of two."""
    import workloads

    def share(questions):
        contexts = {context for question in questions for context, _ in question}
        requests = sum(map(len, questions))
        return requests / len(questions), requests / len(contexts), sum(map(len, contexts)) / len(contexts)

    for name, make in workloads.WORKLOADS.items():
        real, random = make(shared_data), workloads.make_synthetic(name)
        assert 0.5 < len(random) / len(real) < 2, name
        for one, other in zip(share(real), share(random), strict=True):
            assert 0.5 < one / other < 2, name
    assert len(workloads.make_synthetic("GSM8K 5-shot, 64")) == 64


@pytest.mark.torch
def test_the_scoring_benchmark_counts_and_compares(smollm2, monkeypatch):
    import exactness
    import scoring
    import workloads
    from lm_eval.models.huggingface import HFLM

    from gptalt_eval.scoring.backend import add_tree

    monkeypatch.setattr(scoring, "TURNS", 1)
    ours = add_tree(HFLM)(**smollm2 | {"dtype": "float32"}, device="cpu")
    stock = HFLM(pretrained=ours.model, tokenizer=ours.tokenizer)
    questions = workloads.make_synthetic("WinoGrande, 300")[:4]
    requests = [request for question in questions for request in question]
    row = scoring.compare("test", requests, ours, stock, ours, 1)
    assert row["computed"] == row["unique"] < row["stock_tokens"]
    assert row["stock_error"] < 1e-3
    assert "| test |" in scoring.format_table([row], scoring.COLUMNS)
    checked = exactness.compare("test", questions, ours, stock)
    assert (checked["requests"], checked["questions"], checked["other"]) == (8, 4, 0)
    assert 0 < checked["difference"] < 1e-3
    assert "| test | 8 |" in scoring.format_table([checked], exactness.COLUMNS)
    prompts = [(f"{word} went to the", {"until": ["."], "max_gen_toks": 3}) for word in ("Ann", "Ben", "He")]
    assert exactness.compare_texts("test", prompts, ours, stock) == {
        "workload": "test",
        "requests": 3,
        "texts": 0,
    }


@pytest.mark.torch
@pytest.mark.parametrize(("script", "more"), [("scoring", ["--repeats", "1"]), ("exactness", [])])
def test_the_commands_print_a_table(script, more, smollm2, monkeypatch, tmp_path, capsys):
    import importlib

    import scoring
    import workloads

    monkeypatch.setattr(scoring, "TURNS", 1)

    some = {
        "WinoGrande, 300": workloads.make_synthetic("WinoGrande, 300")[:2],
        "GSM8K 5-shot, 64": [("Ann went", {"until": ["."], "max_gen_toks": 2})],
    }
    monkeypatch.setattr(workloads, "make_synthetic", some.__getitem__)
    arguments = ["--workloads", "winogrande,gsm8k,", "--data", str(tmp_path / "none"), *more]
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    importlib.import_module(script).main()
    first, *_, table = capsys.readouterr().out.strip().split("\n", 3)
    assert json.loads(first)["requests"] == "random words of the same shapes"
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {name}" for name in some]


@pytest.mark.torch  # for what the module imports
def test_options_are_counted_by_question_not_by_context():
    import exactness

    questions = [[("Ann went", " home"), ("Ben went", " home")], [("It is", " A"), ("It is", " B")]]
    scores = [(-2.0, False), (-1.0, False), (-1.0, True), (-3.0, False)]
    assert exactness.choose_options(questions, scores) == [1, 0]


@pytest.mark.torch
def test_the_gpu_benchmark_runs_on_a_small_shape(smollm2, monkeypatch, capsys):
    import gpu

    make_requests = gpu.make_requests

    def make_few(groups, questions, head, tail, **more):
        return make_requests(min(groups, 2), 2, min(head, 60), 20, **more)

    monkeypatch.setattr(gpu, "make_requests", make_few)
    words = ["gpu.py", "speed", "generate", "--small", "--tokenizer", smollm2["pretrained"]]
    monkeypatch.setattr("sys.argv", words)
    gpu.main()
    monkeypatch.setattr("sys.argv", ["gpu.py", "--model", "opt", "--tokenizer", smollm2["pretrained"]])
    gpu.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["part"] for line in lines] == ["machine", *["speed"] * 2, *["generate"] * 2, *["exact"] * 2]
    for line in lines[1:3]:
        assert line["way"] == "pieces" and line["ratio"] > 0 and line["computed"] > 50
    full, half = lines[-2:]
    assert full["way"] == half["way"] == "pieces" and full["largest"] < 2e-5 < half["largest"] < 1


@pytest.mark.torch
def test_the_benchmark_of_the_survey_counts_what_can_be_shared(monkeypatch, tmp_path, capsys):
    import scoring
    import survey

    monkeypatch.setattr(scoring, "TURNS", 1)
    small = [
        "--layers",
        "2",
        "--width",
        "64",
        "--count",
        "2",
        "--repeats",
        "1",
        "--data",
        str(tmp_path / "none"),
    ]
    monkeypatch.setattr(sys, "argv", ["survey", *small])
    survey.main()
    rows = [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"workload"')
    ]
    assert [row["way"] for row in rows] == ["states", "states", "contexts", "contexts"]
    for row in rows:
        assert row["requests"] == 10 and row["unique"] <= row["computed"] < 1.25 * row["unique"]
        assert row["computed"] < row["stock_tokens"] / 2
        assert row["error"] < 1e-4 and row["stock_error"] < 1e-4
    zero, few = rows[:2]
    assert few["limit"] > zero["limit"], "examples are shared"


def test_real_and_random_cases_of_medqa_share_alike(shared_data):
    import workloads

    for name, make in workloads.MEDQA.items():
        real, random = make(shared_data), workloads.make_synthetic(name)
        words = [sum(len(context.split()) for context, _ in question) for question in (*real, *random)]
        assert len(real) == len(random) == 100
        assert 0.5 < sum(words[:100]) / sum(words[100:]) < 2, name
        assert {len(question) for question in real} == {len(question) for question in random} == {5}


@pytest.mark.torch
def test_the_benchmark_of_architectures_compares_and_summarizes(monkeypatch):
    import architectures

    from gptalt_eval.scoring.backend import TreeLM

    row = architectures.try_out("phi3", "longrope")
    assert (row["way"], row["texts"]) == ("pieces", 0)
    assert 0 < row["difference"] < 1e-3
    assert "not built" in architectures.try_out("gemma3", "")  # its text part is an architecture of its own
    monkeypatch.setattr(TreeLM, "divide_sizes", lambda lm, sizes, lengths: (list(range(len(sizes))), []))
    wrong = architectures.try_out("phi3", "longrope")
    assert wrong["difference"] > 0.1 and wrong["double"] > 0.1
    summary = architectures.summarize(
        [row, wrong, {"architecture": "x", "rope": "", "failed": "ValueError: y"}]
    )
    assert "1 architectures in 2 variants" in summary and "1 above 0.001" in summary and "1 failed" in summary
    assert "| phi3 | longrope | pieces |" in summary
    assert "failed: x : ValueError: y" in summary


@pytest.mark.torch
@pytest.mark.parametrize(("texts", "shared"), [(False, 1), (True, 1), (False, 2)])
def test_the_benchmark_of_pictures_computes_and_encodes_what_is_distinct(texts, shared, monkeypatch):
    import pictures
    import scoring

    monkeypatch.setattr(pictures, "ALONE", 2)
    row = pictures.compare(4, questions=4, texts=texts, shared=shared, repeats=1)
    assert row["computed"] == row["distinct"] < row["asked"] / 3
    assert row["encoded"] == row["different"] == pictures.SHOTS + 4 // shared
    assert row["pictures"] == 4 * pictures.OPTIONS * (pictures.SHOTS + 1)
    assert 0 < row["error"] < 1e-3
    assert "| 4 |" in scoring.format_table([row], pictures.COLUMNS)


def test_a_simulated_cluster_comes_near_the_ideal(capsys, monkeypatch):
    import cluster

    row = cluster.simulate(64, 0, sizes=(6.7, 13.0), cells=80)
    assert row["units"] == 2 * 80 * 6
    assert 1 < row["seconds"] / (row["ideal"] + cluster.START + cluster.LOAD) < 1.1
    assert row["ideal"] * 64 > sum(
        row["units"] / 2 * cluster.UNIT_TOKENS * size / cluster.RATE for size in (6.7, 13)
    )
    worse = cluster.simulate(64, 0, sizes=(6.7, 13.0), cells=80, without=["copies", "whole-models"])
    assert worse["loads"] > 2 * row["loads"] and worse["seconds"] > row["seconds"]
    monkeypatch.setattr(
        "sys.argv", ["cluster.py", "simulate", "--gpus", "512", "--seeds", "1", "--size", "1"]
    )
    cluster.main()
    assert "\n| 512 | 15,360 | " in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_what_units_cost_and_kills_are_measured(capsys):
    import cluster

    assert "ms of work" in cluster.measure_overhead(20)
    assert "% of the ideal" in cluster.measure_sleep(0.05)
    assert cluster.measure_kills(2).startswith("2 kills") and cluster.measure_kills(2).endswith("equal: True")
