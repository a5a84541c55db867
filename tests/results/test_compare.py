"""Arms of an experiment compared: against counts by hand, and refused where there is nothing to compare."""

import json

import pytest

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.commands.compare import format_p, format_table
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import OF_SAMPLE
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.arms import Arm, name_models
from gptalt_eval.results.compare import Comparison, compare_runs
from gptalt_eval.results.stats import Difference, compare_pairs, mcnemar_exact
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
    assert found.refused == "both produce the same prompts"


def test_models_may_share_prompts(tmp_path):
    records = [
        write_run(tmp_path / name, name, {("standard", 0): rows})
        for name, rows in (("a", ZERO), ("b", THREE))
    ]
    [found] = compare_runs(records)
    assert found.difference.value == pytest.approx(0.4)


def change_results(record, **changes):
    for file in record.files:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return load_record(record.folder)


def test_other_versions_of_a_task_are_no_comparison_of_models(tmp_path):
    records = [
        change_results(write_run(tmp_path / name, name, {("standard", 0): rows}), versions={"toy": version})
        for name, rows, version in (("a", ZERO, 1.0), ("b", THREE, "2.0"), ("c", THREE, 1.0))
    ]
    found = {(each.first.model, each.second.model): each for each in compare_runs(records)}
    assert found["a", "b"].difference is None
    assert found["a", "b"].refused == "it has other versions: toy 1.0 and 2.0"
    assert found["a", "c"].difference.rows == 10
    assert found["a", "c"].adjusted == found["a", "c"].difference.p_value, "the refused ones are not tests"


def test_a_model_without_versions_is_compared(tmp_path):
    [one, other] = [
        write_run(tmp_path / name, name, {("standard", 0): rows})
        for name, rows in (("a", ZERO), ("b", THREE))
    ]
    assert compare_runs([change_results(one, versions={"toy": 1.0}), other])[0].difference


@pytest.mark.parametrize(("template", "said"), [(None, ", other prompts in 9"), ("{{ messages }}", "")])
def test_other_prompts_of_two_models_are_said_but_those_of_chat_templates(tmp_path, capsys, template, said):
    for name, prompt in (("a", "{row}"), ("b", "0{row}")):
        record = write_run(tmp_path / name, name, {("standard", 0): ZERO}, prompt=prompt)
        lines = record.folder / "samples_toy_2026-01-01T00-00-00.jsonl"
        lines.write_text(lines.read_text().replace('"prompt_hash": "00"', '"prompt_hash": "0"'))
        change_results(record, chat_template=template)
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert f"toy (standard, 0-shot), 10 rows{said}\n" in capsys.readouterr().out


def test_only_rows_that_are_the_same_are_compared(tmp_path):
    one = write_run(tmp_path / "a", "a", {("standard", 0): ZERO})
    other = write_run(tmp_path / "b", "b", {("standard", 0): THREE[:6]})
    [found] = compare_runs([one, other])
    assert found.difference.rows == 6
    changed = write_run(tmp_path / "c", "c", {("standard", 0): THREE}, doc_hash="other{}")
    [found] = compare_runs([one, changed])
    assert (found.difference, found.refused) == (None, "they have no rows in common")


def test_two_runs_of_models_of_one_name_are_told_apart(tmp_path):
    records = [
        write_run(tmp_path / name, "hf", {("standard", 0): rows})
        for name, rows in (("x", ZERO), ("y", THREE))
    ]
    [found] = compare_runs(records)
    assert (found.first.model, found.second.model) == ("x", "y")


def test_scores_that_are_no_shares_are_permuted(tmp_path):
    arms = {("standard", 0): [0.5, 0.25, 1, 0, 0], ("standard", 1): [1, 0.75, 1, 0.5, 0.25]}
    [found] = compare_runs([write_run(tmp_path / "a", "a", arms, metric="f1")])
    assert found.difference.value == pytest.approx(0.35)
    assert found.difference.only_first is None
    # of the 16 ways to swap the four rows that differ, all one way and all the other reach the sum
    assert found.adjusted == found.difference.p_value == pytest.approx(2 / 16, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "expected", "hint"),
    [
        ({}, "No two arms differ in exactly one factor.", "Evaluate another arm: --num_fewshot 0,3"),
        ({"factor": "model"}, "No two arms differ only in model.", "Evaluate another arm: --num_fewshot 0,3"),
    ],
)  # fmt: skip
def test_nothing_to_compare(settings, expected, hint, tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO})
    with pytest.raises(GptaltError) as caught:
        compare_runs([record], **settings)
    assert caught.value.what == expected and caught.value.hint.startswith(hint)


def test_a_run_without_samples(tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO})
    for file in record.folder.glob("samples_*"):
        file.unlink()
    with pytest.raises(GptaltError) as caught:
        compare_runs([record])
    assert caught.value.what == "These runs have no logged samples to compare."
    assert "--log_samples" in caught.value.hint


def test_the_seed_reaches_the_bootstrap_and_has_a_default(tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO, ("standard", 3): THREE})
    values = [index / 10 for index in range(10)]
    other = write_run(tmp_path / "b", "b", {("standard", 0): ZERO, ("standard", 3): values})
    for seed in (0, 3):
        [found] = compare_runs([other], seed=seed)
        assert found.difference == compare_pairs(ZERO, values, seed)
        assert found.difference.interval != compare_pairs(ZERO, values, seed + 1).interval
    assert compare_runs([record]) == compare_runs([record], seed=0)
    assert compare_runs([other]) == compare_runs([other], seed=0)


def test_some_prompts_that_are_the_same_do_not_hinder(tmp_path):
    record = write_run(tmp_path / "a", "a", {("standard", 0): ZERO, ("system", 0): THREE})
    for file in record.folder.glob("samples_*"):
        first, *rest = file.read_text().splitlines()
        file.write_text("\n".join([json.dumps(json.loads(first) | {"prompt_hash": "same"}), *rest]))
    [found] = compare_runs([record])
    assert (found.refused, found.difference.rows) == ("", 10)


def test_one_that_is_refused_is_not_counted_among_the_tests(tmp_path):
    """Two styles with the same prompts and two models: Holm's correction is over the one test that was made."""
    records = [
        write_run(tmp_path / "a", "a", {("standard", 0): ZERO, ("system", 0): ZERO}, prompt="{row}"),
        write_run(tmp_path / "b", "b", {("standard", 0): THREE}, prompt="{row}"),
    ]
    refused, tested = compare_runs(records)
    assert (refused.factor, refused.difference, refused.adjusted) == ("prompt_style", None, None)
    assert tested.adjusted == tested.difference.p_value == pytest.approx(mcnemar_exact(1, 5))


def test_arms_are_named_by_what_differs():
    arm = Arm("gpt2", "system", 3)
    names = {factor: arm.name(factor) for factor in ("model", "prompt_style", "num_fewshot")}
    assert names == {"model": "gpt2", "prompt_style": "system", "num_fewshot": "3-shot"}


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
    explained = printed.partition("\n\n")[2].splitlines()
    assert [line.split(":")[0] for line in explained] == [
        "Scores", "Diff.", "p", "MDE", "*",
    ]  # fmt: skip
    assert cli.main(["compare", str(tmp_path), "--by", "num_fewshot", "--json"]) == 0
    [read] = json.loads(capsys.readouterr().out)
    assert read["difference"]["only_second"] == 150


def test_what_is_significant_and_what_is_a_sample(tmp_path, capsys):
    arms = {("standard", 0): ZERO * 30, ("standard", 3): THREE * 30, ("standard", 5): THREE * 30}
    folder = write_run(tmp_path / "a", "a", arms).folder
    assert cli.main(["compare", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "correction, 2 of 3 differences." in printed and "sample" not in printed
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"notes": [OF_SAMPLE]}))
    assert cli.main(["compare", str(tmp_path)]) == 0
    assert printed + f"Note: {OF_SAMPLE}\n" == capsys.readouterr().out


def make_comparison(factor, first, second, difference=None, **changes):
    return Comparison("toy", "acc", factor, first, second, difference, **{"cluster": "cluster", **changes})


def test_the_table_to_the_letter():
    base = Arm("a", "standard", 0)
    tested = Difference(1234, None, 0.5, 0.25, (-0.3125, -0.0625), 400, 92, 0.0004, 0.04321)
    untested = Difference(7, 1, 0.5, 0.625, (0.0, 0.25), None, None, 0.5, None)
    grouped = Difference(9536, 582, 0.5, 0.625, (0.0, 0.25), None, None, 0.5, 0.1)
    comparisons = [
        make_comparison("num_fewshot", base, Arm("a", "standard", 3), tested, adjusted=0.0123),
        make_comparison(
            "num_fewshot", Arm("a", "standard", 3), Arm("a", "standard", 25), tested, adjusted=1.0
        ),
        make_comparison(
            "prompt_style", base, Arm("a", "abcdefg", 0), untested
        ),  # a pair of names of 17 characters
        make_comparison("prompt_style", base, Arm("a", "abcdefgh", 0), untested),
        make_comparison("prompt_style", base, Arm("a", "abcdefghi", 0), untested),
        make_comparison("model", base, Arm("b", "standard", 0), refused="they have no rows in common"),
        make_comparison("model", base, Arm("b", "standard", 0), grouped, left_out=1021, cluster="passage"),
        make_comparison("model", Arm("a", "standard", None), Arm("b", "standard", None), tested, left_out=1),
    ]
    assert list(format_table(comparisons)) == [
        "                          Scores  Diff.    95 % interval      p   Holm     MDE",
        "toy (a, standard), 1,234 rows",
        "  0-shot, 3-shot     0.500 0.250 -0.250 -0.312 to -0.062 <0.001  0.012   0.043 *",
        "  3-shot, 25-shot    0.500 0.250 -0.250 -0.312 to -0.062 <0.001  1.000   0.043",
        "toy (a, 0-shot), 7 rows in 1 cluster",
        "  standard, abcdefg  0.500 0.625 +0.125 +0.000 to +0.250  0.500",
        "  standard, abcdefgh 0.500 0.625 +0.125 +0.000 to +0.250  0.500",
        "  standard, abcdefghi",
        "                     0.500 0.625 +0.125 +0.000 to +0.250  0.500",
        "toy (standard, 0-shot)",
        "  a, b: not compared, they have no rows in common",
        "toy (standard, 0-shot), 9,536 rows in 582 passages, 1,021 not compared",
        "  a, b               0.500 0.625 +0.125 +0.000 to +0.250  0.500          0.100",
        "toy (standard, default shots), 1,234 rows, 1 not compared",
        "  a, b               0.500 0.250 -0.250 -0.312 to -0.062 <0.001          0.043",
    ]
    assert list(format_table([])) == list(format_table(comparisons))[:1]
    assert "  standard, abcdefghi 0.500 0.625 +0.125 +0.000 to +0.250  0.500" in format_table(comparisons, 81)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_names_of_arms_stand_beside_their_figures_where_there_is_room(width):
    same = Difference(1234, None, 0.5, 0.5, (0.0, 0.0), 0, 0, 1.0, None)
    arms = (Arm("shortest-option", "standard", 0), Arm("me/my-model-of-many-words", "standard", 0))
    heading, _, *lines = format_table([make_comparison("model", *arms, same)], width)
    assert max(map(len, (heading, *lines))) <= max(width, 80)
    assert len(lines) == (1 if width >= 104 else 2)
    assert lines[-1].split()[-4:] == ["0.500", "0.500", "+0.000", "1.000"], "the interval says no more"
    assert heading.index("Holm") > lines[-1].index("1.000")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.4, "0.400"), (1.0, "1.000")],
)
def test_p_values_are_written_with_three_digits(value, text):
    assert format_p(value) == text


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


def test_runs_of_one_model_in_folders_of_one_name_are_told_apart(tmp_path):
    first = write_run(tmp_path / "a" / "m", "m", {("standard", 0): ZERO}, prompt="{row}")
    second = write_run(tmp_path / "b" / "m", "m", {("standard", 0): THREE}, prompt="{row}")
    third = write_run(tmp_path / "c" / "n", "n", {("standard", 0): ZERO}, prompt="{row}")
    assert name_models([first, second, third]) == ["a/m", "b/m", "n"]
    found = compare_runs([first, second, third])
    assert [(each.first.model, each.second.model) for each in found] == [
        ("a/m", "b/m"),
        ("a/m", "n"),
        ("b/m", "n"),
    ]
    assert [each.difference.second for each in found] == [0.7, 0.3, 0.3]
