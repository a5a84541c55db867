"""How items of every kind are shown, those of damaged or foreign files too."""

import json
from math import inf, nan

import pytest
from page_items import read_items

import gptalt_eval
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.items.samples import find_highest, read_item
from gptalt_eval.results.report import render_report
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model

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
    return {task: read_item(next(record.read_samples(0, task))) for task in record.results[0]["configs"]}


def test_a_whole_text_is_shown_with_its_log_likelihood(record, shown):
    item = shown["rolling"]
    [line, *_] = record.read_samples(0, "rolling")
    assert item.prompt == "the 0 old words of a text 0"
    assert (item.options, item.chosen, item.gold, item.replies) == ((), -1, "", ())
    assert item.likelihoods == (float(line["filtered_resps"][0]),)
    assert item.likelihoods[0] == pytest.approx(line["word_perplexity"][0])
    assert item.metrics == {}, "a pair of numbers is not a score"


def test_one_continuation_is_one_option(shown):
    item = shown["last_word"]
    assert (item.prompt, item.options, item.chosen) == ("the 0 old words of a text", (" 0",), 0)


def test_options_that_are_asked_twice_are_shown_once(record, shown):
    """acc_mutual_info asks for the options without the question too; those are likelier now and then."""
    assert shown["mutual"].options == (" one", " two", " three")
    for line in record.read_samples(0, "mutual"):
        likelihoods = [float(answer[0]) for answer in line["filtered_resps"]]
        assert len(likelihoods) == 6
        assert read_item(line).chosen == likelihoods.index(max(likelihoods[:3]))
    winogrande = {f"gen_args_{i}": {"arg_0": text, "arg_1": " x"} for i, text in enumerate(("a", "b"))}
    assert read_item({"doc_id": 0, "arguments": winogrande}).options == ("a x", "b x")


def test_the_report_shows_every_kind(folder, record):
    """One run, and two with their overview: no kind of task takes the others with it."""
    for records in ([record], [record, load_record(folder / "b")]):
        items = read_items(render_report(records, make_plugin_set()))
        assert items.keys() == {"rolling", "last_word", "mutual", "piqa", "gsm8k"}
        assert all({item["arm"] for item in each} == set(range(len(records))) for each in items.values())
        assert "the 0 old words of a text 0" in [item["prompt"] for item in items["rolling"]]
        assert all(item["likelihoods"][0] < 0 for item in items["rolling"])


def test_options_in_the_prompt_are_shown_from_where_they_differ():
    """As in WinoGrande: the continuation is the same, and lm-eval logs it as the target."""
    before = "Example.\n\nThe trophy is too large for the case, because"
    asked = {
        f"gen_args_{place}": {"arg_0": f"{before} the {word}", "arg_1": " is big."}
        for place, word in enumerate(("trophy", "truck"))
    }
    line = {"doc_id": 0, "arguments": asked, "target": "is big.", "metrics": ["acc"]}
    answers = [["-3", "False"], ["-5", "False"]]
    for acc, right in ((1.0, 0), (0.0, 1)):
        item = read_item(line | {"acc": acc, "filtered_resps": answers})
        assert item.prompt == f"{before} the "
        assert item.options == ("trophy is big.", "truck is big.")
        assert (item.chosen, item.normed, item.right) == (0, -1, right)


NORMED = {
    "kind": "multiple_choice", "text": "{{text}}", "target": "{{number % 3}}", "metric": "acc",
    "more": ", {metric: acc_norm}, {metric: acc_bytes}", "rest": "doc_to_choice: {options}\n{more_rest}",
}  # fmt: skip


@pytest.mark.parametrize(
    "rest",
    ["doc_to_choice: [a, 'two words', three]", "target_delimiter: ''\ndoc_to_choice: ['  a', ' 两个词', xyz]",
     "target_delimiter: '\\n\\n'\ndoc_to_choice: [a, b c d e f g h, ' i']"],
)  # fmt: skip
def test_what_acc_and_acc_norm_choose_is_what_lm_eval_scored(tmp_path, rest):
    """lm-eval computed the scores; the choices are correct exactly where it says so."""
    rows = [{"text": f"text {number}", "number": number} for number in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kind = NORMED | {"rest": rest}
    (tmp_path / "normed.yaml").write_text(TASK.format(name="normed", rows=tmp_path / "rows.jsonl", **kind))
    model = make_scripted_model(
        lambda prompt, answer: hash_likelihood(prompt, answer) * len(answer) ** 0.5, name="m"
    )
    gptalt_eval.evaluate(
        "m", "normed", include_path=str(tmp_path), log_samples=True, plugins=make_plugin_set(models=[model]),
        output_path=str(tmp_path / "out"),
    )  # fmt: skip
    record = load_record(tmp_path / "out" / "m")
    lines = list(record.read_samples(0, "normed"))
    items = [item for item in read_items(render_report([record], make_plugin_set()))["normed"]]
    assert [(item["chosen"] == item["right"]) for item in items] == [bool(line["acc"]) for line in lines]
    assert [(item["normed"] == item["right"]) for item in items] == [bool(line["acc_norm"]) for line in lines]
    assert sum(item["chosen"] != item["normed"] for item in items) > 5, "they are different questions"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [([["p", " a"], ["p", " b"]], (" a", " b")), ([["p", {"until": ["x"]}]], ()), ([], ()), ({}, ())],
)
def test_items_of_older_versions_are_lists(arguments, options):
    item = read_item({"doc_id": 3, "arguments": arguments, "filtered_resps": [["-1"], ["-2"]], "target": 0})
    assert item.options == options
    assert item.chosen == (0 if options else -1)


@pytest.mark.parametrize(
    "answers", [[], [["-1", "False"]], ["A", "B", "C"], [[], [], []], [["x"]] * 9, None, 3]
)
def test_options_without_their_answers_are_shown_without_log_likelihoods(answers):
    line = {"doc_id": 3, "arguments": [["p", " a"], ["p", " b"]], "target": 0}
    item = read_item(line | ({"filtered_resps": answers} if isinstance(answers, list) else {}))
    assert len(item.likelihoods) == len(item.options) == 2
    assert set(item.likelihoods) <= {None, -1.0}
    assert item.chosen == item.normed == -1, "what is unknown may be the highest"


@pytest.mark.parametrize(
    ("values", "highest"),
    [
        ([-2.0, -1.0], 1), ([-1.0, -1.0], 0), ([-inf, -inf], 0), ([-inf, -9.0], 1),
        ([nan, -9.0], -1), ([None, -9.0], -1), ([inf, -9.0], -1), ([], -1),
    ],
)  # fmt: skip
def test_the_highest_of_some_values(values, highest):
    assert find_highest(values) == highest


@pytest.mark.parametrize("cut", [10, -40])
def test_half_a_file_is_said_in_the_report_and_the_rest_is_shown(folder, tmp_path, cut):
    copied = tmp_path / "run"
    copied.mkdir()
    for file in (folder / "a").iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    [file] = copied.glob("samples_piqa_*")
    whole = len(file.read_bytes().splitlines())
    file.write_bytes(file.read_bytes()[:cut])
    page = render_report([load_record(copied)], make_plugin_set())
    assert f"piqa: {file} is damaged (line " in page
    items = read_items(page)
    assert len(items.get("piqa", ())) == (0 if cut > 0 else whole - 1) and items["gsm8k"]
