"""Groups as lm-eval really writes them: their shots, intervals and comparisons, after a run."""

import json

import numpy as np
import pytest
from scipy.stats import sem, t

import gptalt_eval
from gptalt_eval.results.analyse import list_headlines, list_scores
from gptalt_eval.results.compare import compare_runs
from gptalt_eval.results.figures.choice import draw_figures
from gptalt_eval.results.overview import make_overview
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import read_logged
from gptalt_eval.results.stats import mcnemar_exact
from gptalt_eval.testing import make_plugin_set, make_scripted_model

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: [certainly, perhaps, never at all]
doc_to_target: label
metric_list: [{{metric: acc, aggregation: mean}}]
"""
GROUP = "group: all\ntask: [{members}]\naggregate_metric_list: [{{metric: acc, weight_by_size: {by_size}}}]\n"
SIZES = {"small": 9, "middle": 25, "large": 60}


@pytest.fixture(scope="module", params=[True, False], ids=["rows", "members"])
def by_rows(request):
    """Whether the group weighs its rows alike, or its members."""
    return request.param


@pytest.fixture(scope="module")
def records(tmp_path_factory, by_rows):
    """Two models on a group of three tasks."""
    root = tmp_path_factory.mktemp("groups")
    for name, size in SIZES.items():
        rows = [{"question": f"{name} {row}", "label": row % 3} for row in range(size)]
        (root / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (root / f"{name}.yaml").write_text(TASK.format(name=name, file=root / f"{name}.jsonl"))
    (root / "all.yaml").write_text(GROUP.format(members=", ".join(SIZES), by_size=str(by_rows).lower()))
    models = [
        make_scripted_model(name="a"),
        make_scripted_model(lambda prompt, answer: len(prompt + answer) % 7, name="b"),
    ]
    return gptalt_eval.evaluate(
        ["a", "b"], "all", plugins=make_plugin_set(models=models), include_path=str(root), output_path=str(root / "out"),
        log_samples=True,
    )  # fmt: skip


def read_values(record):
    return {task: np.array([line["acc"] for line in record.read_samples(0, task)]) for task in SIZES}


def test_the_interval_of_a_group(records, by_rows):
    """Cochran's stratified variance by hand, with the weights that lm-eval was told."""
    for record in records:
        [score] = [each for each in list_scores(record) if each.task == "all"]
        values = read_values(record)
        weights = {task: size / 94 if by_rows else 1 / 3 for task, size in SIZES.items()}
        mean = sum(weights[task] * values[task].mean() for task in SIZES)
        error = sum(weights[task] ** 2 * sem(values[task]) ** 2 for task in SIZES) ** 0.5
        assert score.value == pytest.approx(mean)
        assert score.interval == pytest.approx(t.interval(0.95, 91, mean, error))
        assert (score.items, score.shots) == (94, 0)


def test_a_group_is_compared_as_its_score(records, by_rows):
    [found] = compare_runs(records)
    scores = [record.results[0]["results"]["all"]["acc,none"] for record in records]
    assert (found.difference.first, found.difference.second) == pytest.approx(scores)
    assert (found.task, found.difference.rows, found.left_out) == ("all", 94, 0)
    one, other = (np.concatenate(list(read_values(record).values())) for record in records)
    is_mcnemar = found.difference.p_value == mcnemar_exact(sum(one > other), sum(other > one))
    assert is_mcnemar == by_rows


def test_the_documented_group_over_shots(plugins, tmp_path):
    """gptalt_few_shot: MMLU, a group of groups, at 0 and 1 shot. Each value stands at its own count."""
    record = gptalt_eval.evaluate(
        "scripted", "gptalt_few_shot", plugins=plugins, data_dir="sample", num_fewshot=[0, 1], limit=2,
        output_path=str(tmp_path), log_samples=True,
    )  # fmt: skip
    assert "mmlu" not in record.results[0]["n-shot"], "what made this necessary"
    headlines = list_headlines(record, list_scores(record))
    assert [(score.task, score.shots) for score in headlines] == [
        ("mmlu", 0), ("triviaqa", 0), ("mmlu", 1), ("triviaqa", 1),
    ]  # fmt: skip
    overview = make_overview([record], [read_logged(record)])
    assert [arm.num_fewshot for arm in overview.arms] == [0, 1]
    place = [heading.title for heading in overview.headings].index("mmlu")
    shown = [entries[place].score.value for entries in overview.entries]
    assert shown == [results["results"]["mmlu"]["acc,none"] for results in record.results]
    assert len(set(shown)) == 2, "the model's answers depend on the prompt"
    assert [figure.title for figure in dict(draw_figures(overview, []))["Number of shots"]] == [
        "mmlu by number of shots",
        "triviaqa by number of shots",
    ]
    assert [each.task for each in compare_runs([record])] == ["mmlu", "triviaqa"]
    page = render_report([record], plugins)
    assert all(f"{value:.3f}" in page for value in shown)
