"""One small change of a task after the other, and each finding word by word: its place, level and hint.

What is found stands in ``golden/findings.txt``, as somebody read and accepted it. To accept a change on purpose:
``GPTALT_UPDATE_GOLDEN=1 pytest``, then read the difference.
"""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from quiz import TASK

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.validation.validator import Validator

GOLDEN = Path(__file__).parents[1] / "golden" / "findings.txt"
MODULE = "def f(doc): ...\n\ndef g(items, bonus): ...\n\ndef h(x, y=1): ...\n\nclass C: ...\n"
GEN = TASK.replace("multiple_choice", "generate_until").replace("doc_to_choice: options\n", "")
ASK = TASK.replace('"{{question}}"', '"{{question}}\\nAnswer:"')
JSON = TASK.replace("our_own/quiz", "json") + "dataset_kwargs: "
METRIC = "metric_list:\n  - metric: "
FILTER = "filter_list:\n  - name: x\n    filter:\n      - function: "
Q = {"question": "Which?", "options": ["a", "b"], "answer": 0}


class Case(NamedTuple):
    """A YAML, the rows of its fixture, and further files beside it."""

    text: str
    rows: tuple | list = ()
    files: dict | None = None


CASES = {
    "hf": Case(TASK + METRIC + "rouge_x\n    hf_evaluate: true\n    aggregation: mean\n"),
    "hf text": Case(TASK + METRIC + "rouge_x\n    hf_evaluate: 'true'\n    aggregation: mean\n"),
    "proc": Case(TASK + "process_results: !function code.f\n" + METRIC + "mine\n"),
    "proc agg": Case(TASK + "process_results: !function code.f\n" + METRIC + "mine\n    aggregation: mean\n"),
    "hf no agg": Case(TASK + METRIC + "rouge_x\n    hf_evaluate: true\n"),
    "unknown no agg": Case(TASK + METRIC + "rouge_x\n"),
    "known no default": Case(TASK + METRIC + "brier_score\n"),
    "acc fine": Case(TASK + METRIC + "acc\n"),
    "function metric": Case(TASK + METRIC + "!function code.f\n"),
    "near": Case(TASK + METRIC + "acc_nrom\n"),
    "agg near": Case(TASK + METRIC + "acc\n    aggregation: maen\n"),
    "agg none near": Case(TASK + METRIC + "acc\n    aggregation: zzzz\n"),
    "metric text": Case(TASK + "metric_list: [acc]\n"),
    "metric unnamed field": Case(TASK + "metric_list:\n  - aggregation: mean\n    ignore_case: true\n"),
    "arg mc": Case(TASK + METRIC + "acc\n    ignore_case: true\n"),
    "arg mc field near": Case(TASK + METRIC + "acc\n    agregation: mean\n"),
    "arg gen ok": Case(GEN + METRIC + "exact_match\n    ignore_case: true\n"),
    "arg gen bad": Case(GEN + METRIC + "exact_match\n    zzzz: true\n"),
    "arg gen near": Case(GEN + METRIC + "exact_match\n    ignore_cases: true\n"),
    "arg gen field near": Case(GEN + METRIC + "exact_match\n    agregation: mean\n"),
    "arg gen other": Case(GEN + METRIC + "bleu\n    zzzz: 1\n"),
    "arg gen other near field": Case(GEN + METRIC + "bleu\n    agregation: mean\n"),
    "arg gen acc": Case(GEN + METRIC + "acc\n    zzzz: 1\n"),
    "arg gen hf": Case(GEN + METRIC + "exact_match\n    hf_evaluate: true\n    zzzz: 1\n"),
    "arg gen proc": Case(GEN + "process_results: !function code.f\n" + METRIC + "exact_match\n    zzzz: 1\n"),
    "arg gen func": Case(GEN + METRIC + "!function code.f\n    aggregation: mean\n    zzzz: 1\n"),
    "arg gen func takes": Case(GEN + METRIC + "!function code.g\n    aggregation: mean\n    bonus: 1\n"),
    "filter text step": Case(GEN + "filter_list:\n  - name: x\n    filter: [take_first]\n"),
    "filter step nofn": Case(GEN + "filter_list:\n  - name: x\n    filter:\n      - k: 3\n"),
    "filter text": Case(GEN + "filter_list: [take_first]\n"),
    "filter parts text": Case(GEN + "filter_list:\n  - name: x\n    filter: take_first\n"),
    "filter noname": Case(GEN + "filter_list:\n  - filter:\n      - function: take_first\n"),
    "filter nofilter": Case(GEN + "filter_list:\n  - name: x\n"),
    "filter field": Case(
        GEN + "filter_list:\n  - name: x\n    nmae: y\n    filter:\n      - function: take_first\n"
    ),
    "filter unknown": Case(GEN + FILTER + "zzzz\n"),
    "filter arg": Case(GEN + FILTER + "take_first_k\n        k: 2\n        zzzz: 3\n"),
    "filter arg none": Case(GEN + FILTER + "take_first\n        zzzz: 3\n"),
    "filter need": Case(GEN + FILTER + "take_first_k\n"),
    "filter pattern": Case(GEN + FILTER + "regex\n        regex_pattern: '('\n"),
    "filter function": Case(GEN + FILTER + "!function code.h\n        zzzz: 3\n"),
    "gen unused": Case(TASK + "generation_kwargs: {until: [x]}\n"),
    "gen no until": Case(GEN + "generation_kwargs: {temperature: 0}\n"),
    "gen far": Case(GEN + "generation_kwargs: {until: [x], zzzz: 0}\n"),
    "kinds": Case(
        TASK + "description: 3\nrepeats: 0\nnum_fewshot: true\nfewshot_delimiter: [x]\nmetric_list: acc\n"
    ),
    "kinds ok": Case(TASK + "description: !function code.f\nrepeats: 1\nnum_fewshot: 0\n"),
    "sampler": Case(TASK + "fewshot_config: {sampler: zzzz}\n"),
    "output": Case(TASK.replace("multiple_choice", "zzzz")),
    "field far": Case(TASK + "zzzz: 1\n"),
    "few field": Case(TASK + "fewshot_config: {zzzz: 1}\n"),
    "no class task": Case("class: !function code.C\n"),
    "class": Case("class: !function code.C\ntask: x\nwhatever: 1\n"),
    "use_prompt": Case("task: x\ndataset_path: a/b\ntest_split: t\nuse_prompt: p\n"),
    "custom": Case(
        "task: x\ncustom_dataset: !function code.f\ntest_split: t\ndoc_to_text: a\ndoc_to_target: b\n"
    ),
    "valsplit": Case(TASK.replace("test_split: test", "validation_split: val")),
    "fewsame": Case(TASK + "fewshot_split: test\nnum_fewshot: 2\n"),
    "fewsame note": Case(TASK + "fewshot_split: test\n"),
    "fewsame zero": Case(TASK + "fewshot_split: test\nnum_fewshot: 0\n"),
    "fewsame config": Case(TASK + "fewshot_config: {split: test}\nnum_fewshot: 2\n"),
    "fewsame samples": Case(
        TASK
        + "fewshot_config: {split: test, samples: [{question: a, options: [a, b], answer: 0}]}\nnum_fewshot: 2\n"
    ),
    "few nosplit": Case(TASK + "training_split: train\nnum_fewshot: 2\n"),
    "few nosplit val": Case(TASK.replace("test_split: test", "validation_split: val") + "num_fewshot: 1\n"),
    "few zero": Case(TASK + "num_fewshot: 0\n"),
    "few ok": Case(TASK + "fewshot_split: dev\nnum_fewshot: 2\n"),
    "dataset split": Case(TASK.replace("our_own/quiz", "baber/piqa")),
    "dataset split2": Case(
        TASK.replace("our_own/quiz", "baber/piqa").replace("test_split: test", "test_split: zzzz")
    ),
    "bool num_fewshot": Case(TASK + "num_fewshot: -1\n"),
    "join half": Case(ASK + 'target_delimiter: ""\n', [Q, {**Q, "options": ["对", "错"]}]),
    "join most": Case(ASK + 'target_delimiter: ""\n', [Q, Q, {**Q, "options": ["对", "错"]}]),
    "join delim dash": Case(ASK.replace("Answer:", "Answer:") + 'target_delimiter: "-"\n', [Q]),
    "double half": Case(ASK, [Q, {**Q, "options": [" a", " b"]}]),
    "double most": Case(ASK, [Q, {**Q, "options": [" a", " b"]}, {**Q, "options": [" a", " b"]}]),
    "double left": Case(ASK.replace("Answer:", "Answer: "), [Q]),
    "double left nodelim": Case(
        ASK.replace("Answer:", "Answer: ") + 'target_delimiter: ""\n',
        [{**Q, "options": [" a", "b"]}, {**Q, "options": [" a", " b"]}],
    ),
    "double target": Case(
        GEN.replace("answer", "' {{answer}}'") + "num_fewshot: 1\nfewshot_split: dev\n", [Q]
    ),
    "joined gen noshow": Case(GEN + "target_delimiter: ''\n", [{**Q, "answer": "x"}]),
    "joined gen show": Case(
        GEN + "target_delimiter: ''\nnum_fewshot: 1\nfewshot_split: dev\n", [{**Q, "answer": "x"}]
    ),
    "joined gen list": Case(
        GEN + "target_delimiter: ''\nnum_fewshot: 1\nfewshot_split: dev\n", [{**Q, "answer": ["x", "y"]}]
    ),
    "prefix": Case(ASK + "gen_prefix: 'I say'\ntarget_delimiter: ''\n", [Q]),
    "rolling": Case(ASK.replace("multiple_choice", "loglikelihood_rolling") + 'target_delimiter: ""\n', [Q]),
    "loglik": Case(
        ASK.replace("multiple_choice", "loglikelihood").replace("doc_to_choice: options\n", "")
        + 'target_delimiter: ""\n',
        [{**Q, "answer": "x"}],
    ),
    "target letter gen": Case(GEN + "doc_to_choice: options\n", [{**Q, "answer": "a"}]),
    "target letter A": Case(TASK, [{**Q, "options": ["x", "y"], "answer": " b "}]),
    "target letter C": Case(TASK, [{**Q, "options": ["x", "y"], "answer": "C"}]),
    "target near": Case(TASK, [{**Q, "options": ["oxygen", "carbon"], "answer": "oxigen"}]),
    "target list": Case(TASK, [{**Q, "answer": [0, 5]}]),
    "target float": Case(TASK, [{**Q, "answer": 0.5}]),
    "target two kinds": Case(TASK, [{**Q, "answer": 7}, {**Q, "answer": 9}, {**Q, "answer": "zzzzzz"}]),
    "target proc": Case(
        TASK + "process_results: !function code.f\n", [{**Q, "answer": "zz"}, {**Q, "answer": 7}]
    ),
    "target last": Case(TASK, [{**Q, "answer": 1}]),
    "target out": Case(TASK, [{**Q, "answer": 2}]),
    "index text": Case(
        TASK.replace('"{{question}}"', '"{{answer}}"').replace(
            "doc_to_target: answer", "doc_to_target: question"
        ),
        [{**Q, "answer": 3}],
    ),
    "choices none": Case(TASK, [{**Q, "options": None}]),
    "choices bool": Case(TASK, [{**Q, "options": [True, "b"]}]),
    "choices ints": Case(TASK, [{**Q, "options": [1, 2]}, {**Q, "options": [1, 3]}]),
    "choices few some": Case(TASK, [Q, {**Q, "options": ["a"]}]),
    "choices empty some": Case(TASK, [Q, {**Q, "options": ["a", ""]}]),
    "choices equal all": Case(TASK, [{**Q, "options": ["a", "a"]}]),
    "choices equal gen": Case(GEN + "doc_to_choice: options\n", [{**Q, "options": ["a", "a"], "answer": 0}]),
    "empty prompt": Case(TASK, [Q, {**Q, "question": " "}]),
    "empty prompt all": Case(TASK, [{**Q, "question": ""}]),
    "empty template": Case(TASK.replace('"{{question}}"', '""'), [Q]),
    "static choices": Case(TASK.replace("options", "[yes, no]")),
    "static choices text": Case(TASK.replace("options", "['x', 'x']")),
    "static choices dict": Case(TASK.replace("options", "{a: x, b: ''}")),
    "static target": Case(
        TASK.replace("options", "['x', 'y']").replace("doc_to_target: answer", "doc_to_target: 2")
    ),
    "static double": Case(TASK.replace('"{{question}}"', '"{{question}} "')),
    "static double prefix": Case(TASK + 'gen_prefix: "So: "\n'),
    "nested col": Case(
        TASK.replace('"{{question}}"', '"{{question.txt}}"'), [{**Q, "question": {"text": "x"}}]
    ),
    "far col": Case(TASK.replace('"{{question}}"', '"{{zzz}} {{yyy}}"'), [Q]),
    "bare near": Case(TASK.replace("doc_to_target: answer", "doc_to_target: anser"), [Q]),
    "bare far": Case(TASK.replace("doc_to_target: answer", "doc_to_target: a"), [Q]),
    "some rows lack": Case(TASK, [Q, {"options": ["a", "b"], "answer": 0}]),
    "later row fails": Case(
        TASK.replace('"{{question}}"', '"{{question / 2}}"'), [{**Q, "question": 2}, {**Q, "question": "x"}]
    ),
    "fewshot sample lacks": Case(
        TASK
        + "fewshot_config:\n  samples: [{question: a, options: [a, b], answer: 0}, {options: [a, b], answer: 1}]\n",
        [Q],
    ),
    "fewshot sample template": Case(TASK + "fewshot_config:\n  doc_to_text: '{{qestion}}'\n", [Q]),
    "fewshot template syntax": Case(TASK + "fewshot_config:\n  doc_to_text: '{{question'\n"),
    "description syntax": Case(TASK + "description: '{% if %}'\n"),
    "overlap": Case(
        TASK + "fewshot_split: dev\n",
        [{**Q, "split": "test"}, {**Q, "split": "dev"}, {**Q, "question": "x", "split": "dev"}],
    ),
    "overlap config": Case(
        TASK + "fewshot_config: {split: dev}\n",
        [{**Q, "split": "test", "id": 1}, {**Q, "split": "dev", "id": 2}],
    ),
    "function missing near": Case(TASK.replace('"{{question}}"', "!function code.ff")),
    "module near": Case(TASK.replace('"{{question}}"', "!function cod.f")),
    "module far": Case(TASK.replace('"{{question}}"', "!function zzzzzz.f")),
    "function nested": Case(TASK + METRIC + "!function code.zzz\n"),
    "json no files": Case(TASK.replace("our_own/quiz", "json")),
    "json name": Case(TASK.replace("our_own/quiz", "json") + "dataset_name: x\n"),
    "json data_dir": Case(JSON + "{data_dir: x}\n"),
    "json split": Case(JSON + "{data_files: {tset: x.json}}\n"),
    "json text": Case(JSON + "{data_files: x.jsonl}\n"),
    "json far folder": Case(JSON + "{data_files: {test: no/such.json}}\n"),
    "json near": Case(JSON + "{data_files: {test: rows.jsn}}\n", files={"rows.json": "[]"}),
    "json ok": Case(JSON + "{data_files: {test: rows.json}}\n", files={"rows.json": json.dumps([{"q": 1}])}),
    "json field": Case(
        JSON + "{data_files: {test: rows.json}, field: data}\n",
        files={"rows.json": json.dumps({"data": [{"q": 1}]})},
    ),
    "json field bad": Case(
        JSON + "{data_files: {test: rows.json}, field: dta}\n",
        files={"rows.json": json.dumps({"data": [{"q": 1}]})},
    ),
    "json glob": Case(
        JSON + "{data_files: {test: ['r*.jsonl', 'http://x/y']}}\n",
        files={"rows.jsonl": json.dumps({"qestion": 1}) + "\n"},
    ),
    "csv": Case(
        TASK.replace("our_own/quiz", "csv") + "dataset_kwargs: {data_files: {test: rows.csv}}\n",
        files={"rows.csv": "question,options,answer\nx,y,0\n"},
    ),
    "group none": Case("group: g\n"),
    "group text": Case("group: g\ntask: piqa\n"),
    "group unknown": Case("group: g\ntask: [piqua, zzzzzzz]\n"),
    "group field": Case("group: g\ntask: [piqa]\nzzzz: 1\n"),
    "group agg": Case(
        "group: g\ntask: [piqa]\naggregate_metric_list:\n  - metric: acc\n    aggregation: median\n    zzz: 1\n"
    ),
    "group member odd": Case(
        "group: g\ntask: [3, {task_alias: x}, {task: piqa, include: y}, {task: mine, dataset_path: x}, {group: h, task: [sciq, nosuch]}]\n"
    ),
    "group self": Case("group: g\ntask: [g, piqa]\n"),
    "dup": Case(TASK + "test_split: x\n"),
    "not mapping": Case("- a\n"),
    "empty": Case(""),
    "include": Case("include: gone.yaml\ntask: x\n"),
    "include list": Case("include: [a.yaml, 3]\ntask: x\n", files={"a.yaml": TASK}),
}


def list_findings(folder, validator, case):
    (folder / "code.py").write_text(MODULE)
    for name, content in (case.files or {}).items():
        (folder / name).write_text(content)
    if case.rows:
        (folder / "task.fixture.jsonl").write_text("".join(json.dumps(row) + "\n" for row in case.rows))
    (folder / "task.yaml").write_text(case.text, encoding="utf-8")
    for each in validator.check(folder / "task.yaml").findings:
        if each.rule != "data-elsewhere":
            text = f"  {each.place.line}:{each.place.column} {each.level} {each.message} [{each.rule}]"
            text = text.replace(str(folder), "FOLDER")
            # what lm-eval knows changes from release to release, and so do the words of jinja2
            yield re.sub(r"(Known|not a valid Jinja template): .*( \[[a-z-]+\])$", r"\1: ...\2", text)


def test_each_finding(tmp_path, monkeypatch):
    validator = Validator(Catalog(load_plugins(builtin)))
    lines = []
    for name, case in CASES.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        monkeypatch.chdir(folder)
        lines += [name, *list_findings(folder, validator, case)]
    found = "\n".join(lines) + "\n"
    if os.environ.get("GPTALT_UPDATE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("left", "delimiter", "right", "expected"),
    [
        ("a", " ", "b", False), ("a ", " ", "b", True), ("a", " ", " b", True), ("a ", "", " b", True), ("a ", "", "b", False),
        ("a", "", " b", False), ("", " ", "b", False), ("", " ", " b", True), ("", "", " b", False), ("a ", "-", " b", False),
        ("a", "- ", " b", True), ("a ", " -", "b", True), ("题 ", " ", "答", True), ("题", " ", "答", False),
    ],
)  # fmt: skip
def test_spaces_are_doubled_at_either_seam(left, delimiter, right, expected):
    from gptalt_eval.validation.items import is_doubled

    assert is_doubled(left, delimiter, right) is expected


@pytest.mark.parametrize(
    ("left", "delimiter", "right", "expected"),
    [
        ("Answer:", "", "B", True), ("Answer:", " ", "B", False), ("", "", "B", False), ("Answer:", "", "", False),
        ("Answer: ", "", "B", False), ("Answer:", "", " B", False), ("Answer:", "", "-", False), ("Answer:", "", "5", True),
        ("(", "", "B", False), ("“", "", "B", False), ("#", "", "B", False), ("a-", "", "B", False), (")", "", "B", True),
        ("答", "", "B", False), ("B", "", "答", False), ("か", "", "B", False), ("ไ", "", "B", False), ("답", "", "B", True),
    ],
)  # fmt: skip
def test_words_run_together_in_scripts_with_spaces(left, delimiter, right, expected):
    from gptalt_eval.validation.items import runs_together

    assert runs_together(left, delimiter, right) is expected
