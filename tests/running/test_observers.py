"""What an observer is told of each item: enough to tell any two of a run apart."""

from __future__ import annotations

import pytest

from gptalt_eval import Sample, evaluate, hookimpl


class Watching:
    """Keeps every sample that it is shown."""

    def __init__(self) -> None:
        self.seen: list[Sample] = []

    @hookimpl
    def sample_scored(self, sample):
        self.seen.append(sample)


@pytest.fixture
def watch(make_plugins, scripted_model, tmp_path):
    """Runs tasks on their samples with a model that always generates the same text; the samples seen."""

    def run(tasks: str, generated: str = "", **settings) -> list[Sample]:
        watching = Watching()
        plugins = make_plugins(watching, models=[scripted_model(generate=lambda prompt: generated)])
        output = str(tmp_path / "out")
        evaluate("scripted", tasks, plugins=plugins, data_dir="sample", output_path=output, **settings)
        assert plugins.problems == []
        return watching.seen

    return run


def identify(sample: Sample) -> tuple:
    return (
        sample.task, sample.doc_id, sample.filter, sample.num_fewshot, sample.prompt_style, sample.model,
    )  # fmt: skip


def test_two_rows_at_two_shot_counts_and_two_filters_are_eight_items(watch):
    seen = watch("gsm8k", "First 3.\n#### 5\nor is it 7", num_fewshot=[0, 2], limit=2)

    assert sorted(identify(sample)[:4] for sample in seen) == [
        ("gsm8k", row, chosen, shots)
        for row in (0, 1)
        for chosen in ("flexible-extract", "strict-match")
        for shots in (0, 2)
    ]
    assert {(sample.prompt_style, sample.model) for sample in seen} == {(None, "scripted")}
    for sample in seen:
        assert sample.response == ("5" if sample.filter == "strict-match" else "7",)
        assert sample.prompt.count("Question:") == sample.num_fewshot + 1
        assert sample.metrics["exact_match"] in (0.0, 1.0)


def test_the_metric_is_that_of_the_filter(watch):
    gold = watch("gsm8k", limit=1)[0].target.split("#### ")[-1]

    strict, flexible = sorted(
        watch("gsm8k", f"#### {gold}\n... or 12345", limit=1), key=lambda s: s.filter, reverse=True
    )

    assert (strict.filter, strict.response, strict.metrics["exact_match"]) == ("strict-match", (gold,), 1.0)
    assert (flexible.filter, flexible.response, flexible.metrics["exact_match"]) == (
        "flexible-extract", ("12345",), 0.0,
    )  # fmt: skip


def test_items_in_two_prompt_styles(watch):
    seen = watch("piqa", prompt_style=["standard", "system"], limit=2)

    assert len({identify(sample) for sample in seen}) == len(seen) == 4
    assert {sample.prompt_style for sample in seen} == {"standard", "system"}
    for sample in seen:
        assert sample.prompt.startswith("<") is (sample.prompt_style == "system")


def test_without_a_flag_the_shots_are_the_tasks_own(watch):
    assert {sample.num_fewshot for sample in watch("gsm8k", limit=1)} == {5}


def test_a_task_without_filters_has_the_filter_none(watch):
    assert {sample.filter for sample in watch("piqa", limit=1)} == {"none"}
