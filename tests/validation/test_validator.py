"""`gptalt-eval validate`: one broken file for each kind of fault, and good files that stay clean."""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quiz import TASK
from read_lm_eval import PACKAGE, read_names

from gptalt_eval.commands.validate import run_validate
from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.errors import GptaltError, UnknownNameError
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.validation.findings import RULES
from gptalt_eval.validation.formats import format_text, make_sarif
from gptalt_eval.validation.sources import Sources
from gptalt_eval.validation.validator import Validator, validate_files
from gptalt_eval.validation.vocabulary import load_vocabulary

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "broken_tasks"
BROKEN = sorted(FOLDER.glob("*.yaml"))
GOOD = sorted((FOLDER / "good").glob("*.yaml"))


@pytest.fixture(scope="module")
def catalog():
    return Catalog(load_plugins(builtin))


@pytest.fixture(scope="module")
def shared_validator(catalog):
    return Validator(catalog)


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)  # data files are named from there


def read_expected(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    return sorted(
        (rule, int(line)) for rule, line in re.findall(r"([a-z-]+) (\d+)", first.split("expect:")[1])
    )


def list_found(report):
    return sorted((f.rule, f.place.line) for f in report.findings if f.rule != "data-elsewhere")


def check_text(text, folder, catalog, name="task.yaml"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return Validator(catalog).check(file)


# ------------------------------------------------------------------------------------------ files


def test_there_are_many_broken_tasks():
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_broken_task_is_found_out(file, shared_validator):
    report = shared_validator.check(file)
    assert list_found(report) == read_expected(file), format_text([report])


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_good_task_is_clean(file, shared_validator):
    assert [found for found in list_found(shared_validator.check(file)) if found[0] != "runs-code"] == []


def test_every_rule_is_shown_by_a_broken_task():
    shown = {rule for file in BROKEN for rule, _ in read_expected(file)}
    assert set(RULES) - shown == {"data-elsewhere"}  # a note, which most of the files give


def test_our_own_tasks_have_no_errors(catalog):
    reports = validate_files(["task_yamls"], catalog)
    assert reports and not any(report.count("error") for report in reports)


@pytest.mark.parametrize(
    "name", ["piqa", "boolq", "arc_easy", "race", "mmlu_anatomy", "gsm8k", "triviaqa", "mmlu"]
)
def test_lm_evals_own_tasks_have_no_errors_on_the_sample(name, catalog):
    assert [
        report.count("error")
        for report in validate_files([name], Catalog(load_plugins(builtin), data_dir="sample"))
    ] == [0]


# --------------------------------------------------------------------------------------- messages


def test_every_finding_word_by_word(catalog, shared_validator):
    """Level, place and message of all that the broken tasks show, as somebody read and accepted it.

    To accept a change on purpose: ``GPTALT_UPDATE_GOLDEN=1 pytest``, then read the difference.
    """
    lines = format_text([shared_validator.check(file) for file in BROKEN]).splitlines()[:-2]
    found = "\n".join(hide_versions(line) for line in lines).replace(str(ROOT), "ROOT") + "\n"
    golden = ROOT / "tests" / "golden" / "broken_tasks.txt"
    if os.environ.get("GPTALT_UPDATE_GOLDEN"):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def hide_versions(line):
    """Without what other packages say, and without lm-eval's names of which there are more every month."""
    line = re.sub(r"(not a valid Jinja template|Not valid YAML): .*( \[[a-z-]+\])$", r"\1: ...\2", line)
    return re.sub(r"( or 'hellaswag_\w+')+", "", line)


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ("field_misspelt", "'description'"),
        ("output_type", "'multiple_choice'"),
        ("metric_misspelt", "'acc_norm'"),
        ("filter_misspelt", "'take_first'"),
        ("sampler_misspelt", "'first_n'"),
        ("column_undefined", "'question'"),
        ("column_nested", "'text'"),
        ("member_misspelt", "'hellaswag'"),
        ("function_missing", "'make_text'"),
        ("generation_misspelt", "'temperature'"),
        ("include_missing", "'quiz_base.yaml'"),
        ("split_unknown", "'test'"),
        ("choices_boolean", "quote them"),
        ("group_in_circle", "circle_start > circle_back > circle_start"),
        ("target_letter", "'AB'.index"),
    ],
)
def test_message_names_the_right_thing(stem, words, shared_validator):
    report = shared_validator.check(FOLDER / f"{stem}.yaml")
    assert words in " ".join(finding.message for finding in report.findings)


def test_column_points_at_the_name(shared_validator):
    report = shared_validator.check(FOLDER / "column_undefined_line.yaml")
    [finding] = report.findings
    line = (FOLDER / "column_undefined_line.yaml").read_text().splitlines()[finding.place.line - 1]
    assert line[finding.place.column - 1 :].startswith("hints")


def test_fault_in_an_include_is_placed_there(tmp_path, catalog):
    (tmp_path / "base_yaml").write_text(TASK.replace("task: quiz\n", "") + "descripton: x\n")
    report = check_text("include: base_yaml\ntask: quiz\n", tmp_path, catalog)
    [finding] = [finding for finding in report.findings if finding.rule == "unknown-field"]
    assert (finding.place.file.name, finding.place.line, finding.place.column) == ("base_yaml", 7, 1)


def test_own_field_wins_over_an_included_one(tmp_path, catalog):
    (tmp_path / "base_yaml").write_text(TASK.replace("multiple_choice", "multiple_choise"))
    report = check_text("include: base_yaml\noutput_type: multiple_choice\n", tmp_path, catalog)
    assert list_found(report) == []


def test_file_included_twice_on_different_ways_is_refused_as_by_lm_eval(tmp_path, catalog):
    (tmp_path / "a_yaml").write_text("include: base_yaml\n")
    (tmp_path / "base_yaml").write_text(TASK)
    report = check_text("include: [a_yaml, base_yaml]\n", tmp_path, catalog)
    assert [finding.rule for finding in report.findings if finding.level == "error"] == ["include-cycle"]


def test_half_a_task_that_others_include_is_fine(tmp_path, catalog):
    (tmp_path / "whole.yaml").write_text("include: half.yaml\ntask: quiz\n")
    assert check_text("output_type: multiple_choice\n", tmp_path, catalog, "half.yaml").findings == ()


def test_real_rows_are_used_where_the_data_is_there(tmp_path, catalog):
    rows = [{"goal": "Open a jar", "sol1": "twist the lid", "sol2": "sing to it"}]
    (tmp_path / "piqa").mkdir()
    (tmp_path / "piqa/valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "piqa/valid-labels.lst").write_text("0\n")
    text = TASK.replace("our_own/quiz", "baber/piqa").replace(
        "test_split: test", "validation_split: validation"
    )
    file = tmp_path / "own.yaml"
    file.write_text(text.replace("{{question}}", "{{gaol}}"))
    dataset = catalog.datasets["piqa"].item
    file.write_text(file.read_text().replace("baber/piqa", dataset.hub))
    report = Validator(Catalog(load_plugins(builtin), data_dir=tmp_path)).check(file)
    assert "'goal'" in next(f.message for f in report.findings if f.rule == "undefined-column")


@pytest.mark.parametrize(
    ("left", "right", "is_joined"),
    [("Answer:", "B", True), ("答案:", "B", True), ("答案：", "B", False), ("答案", "对", False), ("(", "B", False),
     ("Answer:\n", "B", False), ("คำตอบ", "ใช่", False)],
)  # fmt: skip
def test_scripts_without_spaces_may_join(left, right, is_joined):
    from gptalt_eval.validation.items import runs_together

    assert runs_together(left, "", right) is is_joined


# ---------------------------------------------------------------------------------------- safety


def test_modules_are_read_and_not_run(tmp_path, catalog):
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n\ndef text(doc): ...\n")
    report = check_text(TASK.replace('"{{question}}"', "!function code.text"), tmp_path, catalog)
    assert list_found(report) == [("runs-code", 5)] and not (tmp_path / "ran").exists()


def test_template_cannot_reach_into_the_process(tmp_path, catalog):
    text = TASK.replace("{{question}}", "{{ ''.__class__.__mro__[1].__subclasses__() }}")
    (tmp_path / "task.fixture.jsonl").write_text('{"options": ["a", "b"], "answer": 0}\n')
    found = list_found(check_text(text, tmp_path, catalog))
    assert found and {rule for rule, _ in found} <= {"undefined-column", "template-error"}


@pytest.mark.parametrize(
    "sum_", ["9 ** (9 ** 9)", "'a' * 10 ** 12", "10 ** 3 ** 3 * [1]", "range(10 ** 12) | list"]
)
def test_template_cannot_keep_us_busy(sum_, tmp_path, catalog):
    (tmp_path / "task.fixture.jsonl").write_text('{"options": ["a", "b"], "answer": 0}\n')
    found = list_found(check_text(TASK.replace("question", sum_), tmp_path, catalog))
    assert found == [("template-error", 5)]


def test_fixture_stands_for_rows_after_process_docs(tmp_path, catalog):
    (tmp_path / "code.py").write_text("def process(rows): ...\n")
    text = TASK.replace("{{question}}", "{{asked}}") + "process_docs: !function code.process\n"
    row = {"asked": "Which?", "options": ["a", "b"], "answer": 0}
    (tmp_path / "task.fixture.jsonl").write_text(json.dumps(row) + "\n")
    assert list_found(check_text(text, tmp_path, catalog)) == [("runs-code", 8)]


@pytest.mark.parametrize("depth", [300, 20_000])
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_a_finding(depth, opening, tmp_path, catalog):
    assert list_found(check_text("a:\n " + opening * depth, tmp_path, catalog))[0][0] == "syntax-error"


def test_alias_that_holds_itself_is_a_finding_or_nothing(tmp_path, catalog):
    check_text(TASK + "metadata: &a [*a, {b: *a}]\n", tmp_path, catalog)
    check_text(TASK + "metric_list: &a [*a]\n", tmp_path, catalog)


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from gptalt_eval.contract.discovery import load_plugins; from gptalt_eval.planning.catalog import Catalog\n"
        "from gptalt_eval.planning import builtin; from gptalt_eval.validation.validator import validate_files\n"
        "validate_files(['tests/broken_tasks', 'race'], Catalog(load_plugins(builtin), data_dir='sample'))\n"
        "print([m for m in ('lm_eval', 'torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


WORDS = st.sampled_from(
    [*TASK.split("\n"), "include: task.yaml", "group: g", "task:", "- piqa", "metric_list:", "  - metric: acc",
     "filter_list:", "  - name: x", "    filter:", "      - function: regex", "<<: *a", "&a", "*a", "!function a.b",
     "fewshot_config:", "  samples: [{a: 1}]", "doc_to_choice: [yes, 1, null]", "doc_to_target: -1", "? a", "{{", "%}",
     "dataset_path: json", "dataset_kwargs: {data_files: {test: [1, x]}}", "2001-99-99", "0b", "\0", "class: x"]
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(st.text(), st.lists(WORDS, max_size=14).map("\n".join)), row=st.text(max_size=40))
def test_no_text_raises(text, row, tmp_path_factory, shared_validator):
    folder = tmp_path_factory.mktemp("random")
    file = folder / "task.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    (folder / "task.fixture.jsonl").write_text(row, encoding="utf-8", errors="surrogatepass")
    for finding in shared_validator.check(file).findings:
        assert finding.rule in RULES and finding.place.line >= 1 and finding.place.column >= 1


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60))
def test_no_bytes_raise(content, tmp_path_factory, shared_validator):
    file = tmp_path_factory.mktemp("random") / "task.yaml"
    file.write_bytes(content)
    shared_validator.check(file)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=st.sampled_from(sorted(set(TASK.replace(":", " ").split()))), value=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_no_value_of_a_field_raises(field, value, tmp_path_factory, shared_validator):
    names = ("metric_list", "filter_list", "fewshot_config", "generation_kwargs", "dataset_kwargs", "include")
    folder = tmp_path_factory.mktemp("values")
    (folder / "task.fixture.jsonl").write_text('{"question": "?", "options": ["a", "b"], "answer": 0}\n')
    for name in (*names, field):
        file = folder / "task.yaml"
        file.write_text(f"{TASK}{name}: {json.dumps(value)}\n", encoding="utf-8")
        shared_validator.check(file)


# ------------------------------------------------------------------------------- source as text


def test_vocabulary_is_lm_evals_own():
    code = (
        "import json, dataclasses; from lm_eval.api import registry, samplers, metrics, task; import lm_eval.filters\n"
        "from lm_eval.config.task import TaskConfig, FewshotConfig; from lm_eval.config.group import *\n"
        "f = lambda c: [x.name for x in dataclasses.fields(c)]\n"
        "print(json.dumps([f(TaskConfig), f(FewshotConfig), f(GroupConfig), f(AggMetricConfig), "
        "sorted(registry.METRIC_REGISTRY.keys()), sorted(registry.AGGREGATION_REGISTRY.keys()), "
        "sorted(registry.FILTER_REGISTRY.keys()), sorted(samplers.SAMPLER_REGISTRY), task.ALL_OUTPUT_TYPES]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    ours = load_vocabulary()
    assert [name for name in ours.task_fields if name in theirs[0]] == theirs[0]
    assert [list(ours.fewshot_fields), list(ours.group_fields), list(ours.aggregate_fields)] == theirs[1:4]
    assert [sorted(ours.metrics), sorted(ours.aggregations), sorted(ours.filters)] == [
        theirs[4], theirs[5], theirs[6]
    ]  # fmt: skip
    assert [sorted(ours.samplers), list(ours.output_types)] == theirs[7:]


@pytest.mark.parametrize("name", ["planning/lm_eval_models.json", "validation/vocabulary.json"])
def test_names_are_those_of_the_installed_lm_eval(name):
    """lm-eval was changed in constraints.txt? Then read its names anew, and look at what is different."""
    file = PACKAGE / name
    assert file.read_text(encoding="utf-8") == read_names()[file], "Type: python tests/read_lm_eval.py"


def test_signature_follows_handed_on_keywords():
    vocabulary = load_vocabulary()
    assert "ignore_case" in vocabulary.metrics["exact_match"].names
    assert vocabulary.filters["take_first_k"].required == ("k",)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("try:\n    import numpy as np\nexcept ImportError:\n    np = None", {"np"}),
        ("if True:\n    def f(): ...\nelse:\n    g = h = 1", {"f", "g", "h"}),
        ("a, (b, *c) = 1, (2, 3)\nfor d in a: e = d", {"a", "b", "c", "d", "e"}),
        ("from os import path as p\nimport os.path", {"p", "os"}),
    ],
)
def test_names_of_a_module(source, names, tmp_path):
    ast.parse(source)
    (tmp_path / "m.py").write_text(source)
    assert names <= Sources().find("m", tmp_path).names


@pytest.mark.parametrize(
    "source", ["from os import *", "globals()['f'] = 1", "def __getattr__(name): ...", "def ("]
)
def test_module_that_may_define_anything(source, tmp_path):
    (tmp_path / "m.py").write_text(source)
    assert Sources().find("m", tmp_path).is_open


# ------------------------------------------------------------------------------------- outputs


def call(targets, **flags):
    options = {"json": False, "sarif": False, "data_dir": None} | flags
    return run_validate(argparse.Namespace(targets=targets, **options), load_plugins(builtin))


def test_exit_code_is_2_with_errors_and_0_with_warnings(capsys):
    assert call([str(FOLDER / "shots_negative.yaml")]) == 2
    assert call([str(FOLDER / "until_missing.yaml")]) == 0
    assert call([str(FOLDER / "good/local.yaml")]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^tests/broken_tasks/shots_negative\.yaml:9:14: error: .+ \[bad-value\]$", out, re.MULTILINE
    )
    assert "good/local.yaml: no problems found" in out
    assert out.splitlines()[-1] == "1 file: 0 errors, 0 warnings, 0 notes"


def test_json(capsys):
    call([str(FOLDER / "several.yaml")], json=True)
    [report] = json.loads(capsys.readouterr().out)
    first = next(finding for finding in report["findings"] if finding["rule"] == "unknown-field")
    assert set(first) == {"rule", "level", "message", "file", "line", "column"} and first["line"] == 9


def test_sarif_has_the_shape_that_code_hosts_read(catalog):
    log = make_sarif(validate_files([str(FOLDER)], catalog))
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert log["version"] == "2.1.0" and len(rules) == len(set(rules)) > 30
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note") and result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        uri = place["artifactLocation"]["uri"]
        assert not uri.startswith("/") and os.sep in uri
        assert place["region"]["startLine"] >= 1 and place["region"]["startColumn"] >= 1


def test_json_and_sarif_exclude_each_other():
    with pytest.raises(GptaltError, match="--json and --sarif"):
        call(["piqa"], json=True, sarif=True)


@pytest.mark.parametrize("target", ["no_such_task_here", "tests/broken_tasks/severl.yaml"])
def test_target_that_does_not_exist(target, catalog):
    with pytest.raises(UnknownNameError):
        validate_files([target], catalog)


def test_folder_without_tasks(tmp_path, catalog):
    with pytest.raises(GptaltError, match=r"no \.yaml file"):
        validate_files([str(tmp_path)], catalog)


def test_many_untried_templates_are_summed_up(tmp_path, catalog):
    for number in range(8):
        (tmp_path / f"t{number}.yaml").write_text(TASK.replace("quiz\n", f"quiz{number}\n", 1))
    text = format_text(validate_files([str(tmp_path)], catalog))
    assert (
        "8 files: there are no rows, so only the syntax of templates was checked" in text
        and len(text.splitlines()) == 2
    )
