"""The same model through stock lm-eval and through us: the same scores, prompts, hashes and samples."""

import json

import pytest
from rich.console import Console
from stock import run_stock

from gptalt_eval.contract.run import RunScoring
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set, make_scripted_lm, make_scripted_model

TASKS = [
    "boolq", "hellaswag", "winogrande", "piqa", "arc_easy", "arc_challenge", "openbookqa", "race", "race_middle",
    "gsm8k", "triviaqa", "sciq", "mmlu_high_school_biology",
]  # fmt: skip
# apart, for the sake of tests/next.toml
ALL_TASKS = pytest.mark.parametrize("tasks", [TASKS, ["drop"]], ids=["all but drop", "drop"])
COMPARED = (
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
)


@pytest.fixture(autouse=True)
def keep_it_quick(monkeypatch, tmp_path):
    """lm-eval asks compilers and drivers for their versions at the end of each run; half a minute that proves nothing here."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda storage: None)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))


def run_ours(plugins, tmp_path, **settings):
    spec = make_spec({"output_path": str(tmp_path / "ours"), "log_samples": True, **settings})
    return run(spec, plugins, Console(quiet=True)).records[0], resolve(spec, plugins)


def as_saved(samples):
    """In the form of our own files, which is 0.4's whatever the release."""
    from gptalt_eval.running.lmeval import seams
    from gptalt_eval.running.lmeval.logged import dump_sample

    return [json.loads(dump_sample(seams.flatten_sample(sample))) for sample in samples]


def assert_equal(record, stock):
    ours = record.results[0]
    for task in stock["samples"]:
        left, right = list(record.read_samples(0, task)), as_saved(stock["samples"][task])
        assert [{key: line[key] for key in COMPARED} for line in left] == [
            {key: line[key] for key in COMPARED} for line in right
        ]
        theirs = {key: value for key, value in stock["results"][task].items() if key != "alias"}
        assert {key: ours["results"][task][key] for key in theirs} == theirs
        assert ours["n-shot"][task] == stock["n-shot"][task]
        assert ours["versions"][task] == stock["versions"][task]
        assert ours["higher_is_better"][task] == stock["higher_is_better"][task]
        assert ours["n-samples"][task] == stock["n-samples"][task]


@ALL_TASKS
@pytest.mark.parametrize("shots", [None, 2])
@pytest.mark.parametrize("chat", [False, True])
def test_the_scripted_model_on_every_sample(plugins, tmp_path, shots, chat, tasks):
    settings = {} if shots is None else {"num_fewshot": shots}
    record, plan = run_ours(
        plugins,
        tmp_path,
        model="scripted",
        tasks=tasks,
        data_dir="sample",
        apply_chat_template=chat,
        limit=5,
        **settings,
    )
    stock = run_stock(
        plan, make_scripted_lm(), tmp_path, 5, apply_chat_template=chat, fewshot_as_multiturn=chat, **settings
    )
    assert_equal(record, stock)


@ALL_TASKS
def test_the_scripted_model_on_real_rows(shared_data, plugins, tmp_path, tasks):
    record, plan = run_ours(
        plugins, tmp_path, model="scripted", tasks=tasks, data_dir=str(shared_data), limit=50
    )
    assert_equal(record, run_stock(plan, make_scripted_lm(), tmp_path, 50))


REAL = [
    "piqa",
    "arc_easy",
    "boolq",
    "openbookqa",
    "winogrande",
    "sciq",
    "race",
    "gsm8k",
    "mmlu_high_school_biology",
]


@pytest.mark.torch
def test_the_real_model_on_real_rows(shared_data, smollm2, tmp_path):
    """The tasks of the README on the release files; few rows, so that it fits a test (the model is the same on both sides).

    By lm-eval's own scorer everything is equal to the last bit; by the tree, up to float32's rounding.
    """
    from lm_eval.models.huggingface import HFLM

    settings = {"gen_kwargs": {"max_gen_toks": 8}, "tasks": REAL, "data_dir": str(shared_data), "limit": 2}
    exact = {"model": "smollm2", "model_args": {"dtype": "float32"}}
    plugins = make_plugin_set(models=[make_scripted_model()])
    record, plan = run_ours(plugins, tmp_path, scorer="stock", **exact, **settings)
    lm = HFLM(**smollm2 | {"dtype": "float32"}, device="cpu", batch_size=1)
    stock = run_stock(plan, lm, tmp_path, 2, gen_kwargs=settings["gen_kwargs"])
    assert_equal(record, stock)
    assert record.run.model.parameters == 134_515_008
    assert record.run.scoring is None

    tree, _ = run_ours(plugins, tmp_path / "tree", **exact, **settings)
    work = tree.run.scoring
    assert work == RunScoring("pieces", tokens=work.tokens, asked=work.asked, seconds=work.seconds)
    assert 0 < work.tokens < work.asked and work.seconds > 0
    for task in stock["samples"]:
        left, right = list(tree.read_samples(0, task)), as_saved(stock["samples"][task])
        for ours, theirs in zip(left, right, strict=True):
            same = {key for key in COMPARED if key not in ("resps", "filtered_resps")}
            assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
            assert_close(ours["resps"], theirs["resps"])
            assert_close(ours["filtered_resps"], theirs["filtered_resps"])
        scores = {key: value for key, value in stock["results"][task].items() if key != "alias"}
        assert {key: tree.results[0]["results"][task][key] for key in scores} == scores


def assert_close(ours, theirs):
    """Nested answers, their log-likelihoods within what float32 rounds."""
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-3)
    else:
        assert (is_number(theirs) and float(ours) == pytest.approx(float(theirs), abs=1e-3)) or ours == theirs


def is_number(value):
    """lm-eval saves log-likelihoods as text."""
    return isinstance(value, str) and value.removeprefix("-").replace(".", "").replace("e-", "").isdigit()


def test_what_lm_evals_command_line_adds_is_added(plugins, tmp_path):
    record, plan = run_ours(plugins, tmp_path, model="scripted", tasks=["piqa"], data_dir="sample", limit=2)
    stock = run_stock(plan, make_scripted_lm(), tmp_path, 2)
    assert set(stock) - {"samples"} <= set(record.results[0])
    assert set(stock["config"]) <= set(record.results[0]["config"])
    assert {"lm_eval_version", "transformers_version"} <= set(record.results[0])


def test_the_hash_of_a_task_is_lm_evals(plugins, tmp_path):
    from lm_eval.loggers import EvaluationTracker

    record, plan = run_ours(plugins, tmp_path, model="scripted", tasks=["piqa"], data_dir="sample", limit=3)
    stock = run_stock(plan, make_scripted_lm(), tmp_path, 3)
    tracker = EvaluationTracker(output_path=str(tmp_path / "stock"))
    tracker.general_config_tracker.log_experiment_args("hf", {"pretrained": "x"}, None, None, False)
    samples = stock.pop("samples")
    tracker.save_results_aggregated(results=stock, samples=samples)
    [saved] = (tmp_path / "stock").rglob("results_*.json")
    assert json.loads(saved.read_text())["task_hashes"] == record.results[0]["task_hashes"]
    tracker.save_results_samples("piqa", samples["piqa"])
    [theirs] = (tmp_path / "stock").rglob("samples_piqa_*.jsonl")
    [ours] = record.folder.glob("samples_piqa_*.jsonl")
    assert theirs.read_text(encoding="utf-8") == ours.read_text(encoding="utf-8")
