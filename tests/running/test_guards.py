"""Requests that are too long or cannot be scored: the right task is blamed, and what was cut is said everywhere."""

import io
import json
import logging
import sys

import pytest
from rich.console import Console
from stock import run_stock

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.run import RunCut
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.results.table import print_scores
from gptalt_eval.running.api import run
from gptalt_eval.testing import make_plugin_set

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tiny

    return tiny.save_model("llama", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def evaluate(folder, tmp_path):
    """Runs the tiny model; returns the record and what was shown."""

    def evaluate(tasks, resume=False, args=None, **settings):
        screen = io.StringIO()
        given = {
            "model": "hf",
            "tasks": tasks,
            "data_dir": "sample",
            "limit": 4,
            "device": "cpu",
            "log_samples": True,
        }
        given |= {
            "model_args": {"pretrained": str(folder), **(args or {})},
            "output_path": str(tmp_path / "out"),
            **settings,
        }
        records = run(make_spec(given), make_plugin_set(), Console(file=screen, width=200), resume).records
        return records[0], " ".join(screen.getvalue().split())

    return evaluate


SOUND = {
    "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": ["yes", "no"],
    "doc_to_target": "{{gold}}", "metric_list": [{"metric": "acc"}],
}  # fmt: skip


def write_task(folder, name="faulty", **fields):
    """Four rows; in the third, the second option is empty."""
    rows = [
        {"question": f"Is {n} so?", "gold": 0, "options": ["yes", "" if n == 2 else "no"]} for n in range(4)
    ]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {"data_files": {"test": str(folder / f"{name}.jsonl")}}
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": files,
        "test_split": "test",
        **SOUND,
        **fields,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(task))
    return str(folder / f"{name}.yaml")


EMPTY = {"doc_to_choice": "{{options}}", "target_delimiter": ""}
TOO_LONG = {"doc_to_choice": ["yes", "no " * 100]}
SAID = {
    "faulty": r"row 2, option 2 \(''\): nothing is left to score after its prompt",
    "lengthy": r"row 0, option 2 \(' no no no no\.\.\. no no no no '\): what is to be scored has 101 tokens, and the model's context only 64",
}


@pytest.mark.parametrize("scorer", ["tree", "stock"])
@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize(("name", "fields"), [("faulty", EMPTY), ("lengthy", TOO_LONG)])
def test_the_task_with_the_fault_is_blamed_and_no_other(evaluate, tmp_path, scorer, is_first, name, fields):
    import re

    faulty = write_task(tmp_path, name, **fields)
    tasks = [faulty, "arc_easy"] if is_first else ["arc_easy", faulty]
    record, shown = evaluate(tasks, scorer=scorer)
    assert record.run.done == ("arc_easy",)
    [(blamed, reason)] = record.run.failed.items()
    assert blamed == name and re.search(SAID[name], reason), reason
    assert re.search(f"{name} .*{SAID[name]}", shown)
    alone, _ = evaluate("arc_easy", scorer=scorer, output_path=str(tmp_path / "alone"))
    assert record.results[0]["results"]["arc_easy"] == alone.results[0]["results"]["arc_easy"]


def test_alone_it_says_the_same(evaluate, tmp_path):
    file = write_task(tmp_path, **EMPTY)
    record, _ = evaluate(file)
    assert record.run.status == "incomplete" and "row 2, option 2" in record.run.failed["faulty"]
    with pytest.raises(GptaltError, match="row 2, option 2"):
        evaluate(file, scorer="stock", output_path=str(tmp_path / "stock"))


@pytest.mark.parametrize("scorer", ["tree", "stock"])
def test_answers_that_leave_no_room_for_a_prompt_are_refused_before_anything_is_computed(
    evaluate, tmp_path, scorer
):
    record, shown = evaluate("gsm8k,arc_easy", scorer=scorer)  # the model's context has 64 tokens
    assert record.run.done == ("arc_easy",)
    assert "may have 256 tokens, and the model's context has 64" in record.run.failed["gsm8k"]
    assert shown.index("gsm8k is not evaluated") < shown.index("arc_easy")
    fitting, _ = evaluate(
        "gsm8k", scorer=scorer, gen_kwargs={"max_gen_toks": 63}, output_path=str(tmp_path / "short")
    )
    assert fitting.is_complete
    longest, _ = evaluate(
        "gsm8k", scorer=scorer, gen_kwargs={"max_new_tokens": 64}, output_path=str(tmp_path / "long")
    )
    assert longest.run.status == "incomplete" and not longest.results


# ------------------------------------------------------------------ what was cut


def count_warnings(caplog, plan, lm, tmp_path, **settings):
    """How often stock warns, by task: each alone."""
    from dataclasses import replace

    counts = {}
    for task in plan.cells[0].tasks:
        one = replace(plan, cells=(replace(plan.cells[0], tasks=(task,)),))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "lm_eval.models.huggingface"):
            run_stock(one, lm, tmp_path, 4, **settings)
        counts[task.name] = sum("runcat" in record.getMessage() for record in caplog.records)
    return counts


@pytest.mark.parametrize("scorer", ["tree", "stock"])
def test_requests_that_lost_their_beginning_are_counted_as_stock_warns(
    evaluate, folder, tmp_path, monkeypatch, caplog, scorer
):
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda storage: None)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    tasks, generation = ["arc_easy", "sciq", "boolq", "gsm8k"], {"max_gen_toks": 8}
    args = {"max_length": 48}
    record, _ = evaluate(tasks, scorer=scorer, args=args, gen_kwargs=generation)
    lm = HFLM(pretrained=str(folder), device="cpu", batch_size=1, logits_cache=False, **args)
    plan = resolve(make_spec(record.run.settings), make_plugin_set())
    warned = count_warnings(caplog, plan, lm, tmp_path, gen_kwargs=generation)
    assert {task: cut.lost for task, cut in record.run.cut.items()} == {k: n for k, n in warned.items() if n}
    assert len(record.run.cut) >= 2 and record.run.cut["gsm8k"].requests == 4
    for task, cut in record.run.cut.items():
        sentence = (
            f"{task}: {cut.lost} of {cut.requests} requests did not fit into the model's context of 48 tokens "
            "and lost the beginning of their prompt."
        )
        assert cut.context == 48 and sentence in record.notes
        assert sentence in (record.folder / "report.html").read_text().replace("&#39;", "'")
        lines = list(record.read_samples(0, task))
        marked = [line.get("gptalt_cut", 0) for line in lines if line["filter"] == lines[0]["filter"]]
        assert sum(marked) == cut.lost and len(marked) == 4
    table = io.StringIO()
    print_scores(Console(file=table, width=200), [record])
    assert "lost the beginning" in table.getvalue()


def test_nothing_is_said_where_all_fits(evaluate):
    record, shown = evaluate("arc_easy,gsm8k", args={"max_length": 2000}, gen_kwargs={"max_gen_toks": 8})
    assert record.run.cut == {} and "lost the beginning" not in shown + "".join(record.notes)


@pytest.mark.parametrize("scorer", ["tree", "stock"])
def test_what_was_cut_is_known_of_answers_that_were_stored(evaluate, tmp_path, scorer):
    given = {"scorer": scorer, "use_cache": str(tmp_path / "kept"), "gen_kwargs": {"max_gen_toks": 8}}
    first, _ = evaluate("arc_easy,gsm8k", **given)
    assert {"gsm8k"} <= first.run.cut.keys()
    again, _ = evaluate("arc_easy,gsm8k", output_path=str(tmp_path / "again"), **given)
    assert again.run.cut == first.run.cut
    assert any("lost the beginning" in note for note in again.notes), "it stands with the results"


def test_what_was_cut_is_kept_when_a_run_goes_on(evaluate, tmp_path):
    given = {"args": {"max_length": 48}}
    first, _ = evaluate("arc_easy,sciq", **given)
    assert set(first.run.cut) == {"arc_easy", "sciq"}
    file = first.folder / "run.json"
    saved = json.loads(file.read_text())
    saved |= {"status": "interrupted", "done": ["arc_easy"], "missing": ["sciq"]}
    del saved["cut"]["sciq"]
    file.write_text(json.dumps(saved))
    record, _ = evaluate("arc_easy,sciq", resume=True, **given)
    assert record.run.cut == first.run.cut == load_record(first.folder).run.cut


def test_the_sentence():
    assert RunCut(1200, 4000, 2048).explain("race (5-shot)") == (
        "race (5-shot): 1,200 of 4,000 requests did not fit into the model's context of 2,048 tokens and lost the "
        "beginning of their prompt."
    )


# ------------------------------------------------------------------ models that think before they answer


@pytest.mark.parametrize(
    ("args", "tasks", "said"),
    [
        ({"enable_thinking": True}, "gsm8k", "enable_thinking=True needs think_end_token"),
        ({"enable_thinking": True, "think_end_token": "</think>"}, "gsm8k,piqa,arc_easy", "these tasks compare options: piqa, arc_easy."),
        ({"enable_thinking": True, "think_end_token": 5}, "mmlu", "mmlu_anatomy, .*, ..."),
    ],
)  # fmt: skip
def test_thinking_is_refused_before_the_weights_load(evaluate, args, tasks, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "gptalt_eval.running.cells", None)
    with pytest.raises(GptaltError, match=said):
        evaluate(tasks, args=args)


def test_thinking_is_for_generated_answers(evaluate):
    given = {"enable_thinking": True, "think_end_token": "</think>"}
    record, _ = evaluate("gsm8k", args=given, gen_kwargs={"max_gen_toks": 8})
    assert record.is_complete
    assert evaluate("piqa", args={"enable_thinking": False}, output_path=str(record.folder / "no"))[
        0
    ].is_complete


@pytest.mark.parametrize("args", [{"hidden_dropout": 0.1}, {"alibi": False}, {"moe_top_k": 2}])
def test_a_setting_of_other_models_is_named(evaluate, args):
    with pytest.raises(GptaltError) as caught:
        evaluate("piqa", args=args)
    assert caught.value.what == f"--model_args {next(iter(args))}=...: LlamaForCausalLM has no such setting."


def test_a_setting_of_the_model_is_passed_on_though_its_file_does_not_name_it(evaluate, folder):
    name = "output_attentions"
    assert name not in json.loads((folder / "config.json").read_text())
    record, _ = evaluate("piqa", args={name: False, "attention_dropout": 0.5})
    assert record.is_complete
