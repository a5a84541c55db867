"""How items of every kind are shown, those of damaged or foreign files too."""

import json

import pytest

import gptalt_eval
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.report import render_report
from gptalt_eval.results.samples import find_likeliest, view_item
from gptalt_eval.testing import make_plugin_set, make_scripted_model

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{text}"
doc_to_target: "{target}"
{rest}
metric_list: [{{metric: {metric}}}{more}]
"""
ROLLING = {
    "kind": "loglikelihood_rolling", "text": "", "target": "{{text}}", "metric": "word_perplexity",
    "more": ", {metric: byte_perplexity}, {metric: bits_per_byte}", "rest": "",
}  # fmt: skip
LAST_WORD = {
    "kind": "loglikelihood", "text": "{{text.rsplit(' ', 1)[0]}}", "target": "{{' ' + text.rsplit(' ', 1)[1]}}",
    "metric": "perplexity", "more": ", {metric: acc}", "rest": "",
}  # fmt: skip
MUTUAL = {
    "kind": "multiple_choice", "text": "{{text}}", "target": "{{number % 3}}", "metric": "acc",
    "more": ", {metric: acc_mutual_info}", "rest": "doc_to_choice: [one, two, three]",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tasks of all kinds that are not plain multiple choice, beside piqa, at two shot counts' worth of arms."""
    root = tmp_path_factory.mktemp("kinds")
    rows = [
        {"text": f"the {number} old words of a text {number * 7}", "number": number} for number in range(6)
    ]
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, kind in (("rolling", ROLLING), ("last_word", LAST_WORD), ("mutual", MUTUAL)):
        (root / f"{name}.yaml").write_text(TASK.format(name=name, rows=root / "rows.jsonl", **kind))
    for name in ("a", "b"):
        gptalt_eval.evaluate(
            name, "rolling,last_word,mutual,piqa,gsm8k", data_dir="sample", include_path=str(root), log_samples=True,
            plugins=make_plugin_set(models=[make_scripted_model(name=name)]), output_path=str(root / "out"),
        )  # fmt: skip
    return root / "out"


@pytest.fixture
def record(folder):
    return load_record(folder / "a")


@pytest.fixture
def shown(record):
    return {task: view_item(next(record.read_samples(0, task))) for task in record.results[0]["configs"]}


def test_a_whole_text_is_shown_with_its_log_likelihood(record, shown):
    item = shown["rolling"]
    [line, *_] = record.read_samples(0, "rolling")
    assert item.prompt == "the 0 old words of a text 0"
    assert (item.options, item.chosen, item.gold, item.is_right) == ((), -1, "", None)
    assert item.answer == f"log-likelihood {line['filtered_resps'][0]}"
    assert float(line["filtered_resps"][0]) == pytest.approx(line["word_perplexity"][0])


def test_one_continuation_is_one_option(shown):
    item = shown["last_word"]
    assert (item.prompt, item.options, item.chosen) == ("the 0 old words of a text", (" 0",), 0)


def test_options_that_are_asked_twice_are_shown_once(record, shown):
    """acc_mutual_info asks for the options without the question too; those are likelier now and then."""
    assert shown["mutual"].options == (" one", " two", " three")
    for line in record.read_samples(0, "mutual"):
        likelihoods = [float(answer[0]) for answer in line["filtered_resps"]]
        assert len(likelihoods) == 6
        assert view_item(line).chosen == likelihoods.index(max(likelihoods[:3]))
    winogrande = {f"gen_args_{i}": {"arg_0": text, "arg_1": " x"} for i, text in enumerate(("a", "b"))}
    assert view_item({"doc_id": 0, "arguments": winogrande}).options == ("a", "b")


def test_the_report_shows_every_kind(folder, record):
    """One run, and two with their overview: no kind of task takes the others with it."""
    for records in ([record], [record, load_record(folder / "b")]):
        page = render_report(records, make_plugin_set())
        assert "log-likelihood -" in page and "word_perplexity" in page
        assert page.count("<summary>rolling</summary>") == len(records)
        assert "the 0 old words of a text 0" in page


@pytest.mark.parametrize(
    ("arguments", "options"),
    [([["p", " a"], ["p", " b"]], (" a", " b")), ([["p", {"until": ["x"]}]], ()), ([], ()), ({}, ())],
)
def test_items_of_older_versions_are_lists(arguments, options):
    item = view_item({"doc_id": 3, "arguments": arguments, "filtered_resps": [["-1"], ["-2"]], "target": 0})
    assert item.options == options
    assert item.chosen == (0 if options else -1)


@pytest.mark.parametrize(
    "answers", [[], [["-1", "False"]], ["A", "B", "C"], [[], [], []], [["x"]] * 9, None, 3]
)
def test_options_without_their_answers_are_shown_without_log_likelihoods(answers):
    line = {"doc_id": 3, "arguments": [["p", " a"], ["p", " b"]], "target": 0}
    item = view_item(line | ({"filtered_resps": answers} if isinstance(answers, list) else {}))
    assert len(item.likelihoods) == len(item.options) == 2
    assert set(item.likelihoods) <= {"", "-1.00"}


@pytest.mark.parametrize(
    ("answers", "likeliest"),
    [
        ([["-2", "False"], ["-1", "True"]], 1),
        ([["nan", "False"], ["-9", "False"]], 1),
        ([["nan", "False"]], -1),
        ([["-inf", "False"], ["-inf", "False"]], 0),
        (["A", "B"], -1),
        ([[], []], -1),
        ([None], -1),
        ([], -1),
    ],
)
def test_the_likeliest_option(answers, likeliest):
    assert find_likeliest(answers) == likeliest


@pytest.mark.parametrize("cut", [10, -40])
def test_half_a_file_is_said_in_the_report_and_the_rest_is_shown(folder, tmp_path, cut):
    copied = tmp_path / "run"
    copied.mkdir()
    for file in (folder / "a").iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    [file] = copied.glob("samples_piqa_*")
    file.write_bytes(file.read_bytes()[:cut])
    page = render_report([load_record(copied)], make_plugin_set())
    assert f"piqa: {file} is damaged (line " in page
    assert "<summary>piqa</summary>" not in page and "<summary>gsm8k, 5-shot</summary>" in page
