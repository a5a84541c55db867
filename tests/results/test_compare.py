"""Arms of an experiment compared: against counts by hand, and refused where there is nothing to compare."""

import json

import pytest

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.compare import compare_runs
from gptalt_eval.results.stats import mcnemar_exact
from gptalt_eval.testing import make_plugin_set, make_scripted_model


def write_run(folder, model, arms, doc_hash="d{}", prompt="{style}{shots}-{row}", metric="acc"):
    """A run folder as ours are; ``arms``: (style, shots) -> the rows' scores."""
    folder.mkdir(parents=True)
    names = []
    for (style, shots), values in arms.items():
        stamp = f"2026-01-01T00-00-{len(names):02}"
        names.append(f"results_{stamp}.json")
        results = {
            "results": {"toy": {"alias": "toy", f"{metric},none": sum(values) / len(values)}},
            "n-shot": {"toy": shots}, "config": {"prompt_style": style}, "n-samples": {"toy": {"effective": len(values)}},
        }  # fmt: skip
        (folder / names[-1]).write_text(json.dumps(results))
        rows = [
            {
                "doc_id": row, "doc_hash": doc_hash.format(row), "prompt_hash": prompt.format(style=style, shots=shots, row=row),
                "filter": "none", "metrics": [metric], metric: value,
            }
            for row, value in enumerate(values)
        ]  # fmt: skip
        (folder / f"samples_toy_{stamp}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = {"status": "complete", "model": {"name": model}, "results": names, "started": "x"}
    (folder / "run.json").write_text(json.dumps(run))
    return load_record(folder)


ZERO, THREE = [1, 0, 0, 0, 1, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0, 1, 0]


def test_shots_by_hand(tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO, ("standard", 3): THREE})
    [found] = compare_runs([record])
    assert (found.task, found.metric, found.factor) == ("toy", "acc", "num_fewshot")
    assert (found.first.num_fewshot, found.second.num_fewshot) == (0, 3)
    difference = found.difference
    assert (difference.rows, difference.first, difference.second) == (10, 0.3, 0.7)
    assert (difference.only_first, difference.only_second) == (1, 5)
    assert difference.p_value == found.adjusted == pytest.approx(mcnemar_exact(1, 5))


def test_only_one_factor_at_a_time_and_holm_over_all(tmp_path):
    arms = {("standard", 0): ZERO, ("standard", 3): THREE, ("system", 0): ZERO[::-1], ("system", 3): THREE}
    records = [write_run(tmp_path / name, name, arms) for name in ("a", "b")]
    found = compare_runs(records)
    assert len(found) == 2 * 4 + 4  # two shots and two styles in each model; four arms between the models
    tested = [each for each in found if each.difference]
    assert all(each.adjusted >= each.difference.p_value for each in tested)
    assert {each.factor for each in found} == {"model", "prompt_style", "num_fewshot"}
    assert {each.factor for each in compare_runs(records, "model")} == {"model"}
    assert len(compare_runs(records, "prompt_style")) == 4


def test_the_same_prompts_are_no_comparison(tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO, ("system", 0): ZERO}, prompt="{row}")
    [found] = compare_runs([record])
    assert found.difference is None
    assert found.refused == "both gave the model the same prompts"


def test_models_may_share_prompts(tmp_path):
    records = [
        write_run(tmp_path / name, name, {("standard", 0): rows})
        for name, rows in (("a", ZERO), ("b", THREE))
    ]
    [found] = compare_runs(records)
    assert found.difference.value == pytest.approx(0.4)


def test_only_rows_that_are_the_same_are_compared(tmp_path):
    one = write_run(tmp_path / "a", "a", {("standard", 0): ZERO})
    other = write_run(tmp_path / "b", "b", {("standard", 0): THREE[:6]})
    [found] = compare_runs([one, other])
    assert found.difference.rows == 6
    changed = write_run(tmp_path / "c", "c", {("standard", 0): THREE}, doc_hash="other{}")
    [found] = compare_runs([one, changed])
    assert (found.difference, found.refused) == (None, "they have no row in common")


def test_two_runs_of_models_of_one_name_are_told_apart(tmp_path):
    records = [
        write_run(tmp_path / name, "hf", {("standard", 0): rows})
        for name, rows in (("x", ZERO), ("y", THREE))
    ]
    [found] = compare_runs(records)
    assert (found.first.model, found.second.model) == ("x", "y")


def test_scores_that_are_no_shares_have_no_test(tmp_path):
    arms = {("standard", 0): [0.5, 0.25, 1], ("standard", 1): [1, 0.75, 1]}
    [found] = compare_runs([write_run(tmp_path / "a", "a", arms, metric="f1")])
    assert found.adjusted is found.difference.p_value is None
    assert found.difference.value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"factor": "model"}, "No two arms differ in model and in nothing else.\nEvaluate a second one:"),
        ({"metric": "ac"}, "toy has no metric 'ac'.\nDid you mean 'acc'?"),
    ],
)
def test_what_is_wrong_with_a_comparison(settings, expected, tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO, ("standard", 3): THREE})
    with pytest.raises(GptaltError) as caught:
        compare_runs([record], **settings)
    assert str(caught.value).startswith(expected)


def test_a_run_without_samples(tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO})
    for file in record.folder.glob("samples_*"):
        file.unlink()
    with pytest.raises(GptaltError, match="hold no samples"):
        compare_runs([record])


def test_the_command(tmp_path, capsys):
    arms = {("standard", 0): ZERO * 30, ("standard", 3): THREE * 30}
    write_run(tmp_path / "a", "a", arms, doc_hash="d{}")
    assert cli.main(["compare", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    _, heading, line, *_ = printed.splitlines()
    assert heading == "toy (a, standard), 300 rows"
    assert line.split()[:5] == ["0-shot,", "3-shot", "0.300", "0.700", "+0.400"]
    assert line.split()[8:10] == ["<0.001", "<0.001"]
    assert max(map(len, printed.splitlines())) <= 80
    assert cli.main(["compare", str(tmp_path), "--by", "num_fewshot", "--json"]) == 0
    [read] = json.loads(capsys.readouterr().out)
    assert read["difference"]["only_second"] == 150


def test_a_real_run_is_compared(tmp_path):
    """The scripted model at 0 and 2 shots: what is compared is what the samples say."""
    record = gptalt_eval.evaluate(
        "scripted", "arc_easy", plugins=make_plugin_set(models=[make_scripted_model()]), data_dir="sample",
        num_fewshot=[0, 2], output_path=str(tmp_path), log_samples=True,
    )  # fmt: skip
    [found] = compare_runs([record])
    by_shots = [
        {row["doc_id"]: row["acc"] for row in record.read_samples(index, "arc_easy")} for index in (0, 1)
    ]
    assert found.difference.rows == 20
    assert found.difference.only_first == sum(by_shots[0][row] > by_shots[1][row] for row in by_shots[0])
    assert found.difference.first == pytest.approx(record.results[0]["results"]["arc_easy"]["acc,none"])
