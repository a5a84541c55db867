"""What results files and samples of other people may contain: every part that is read has its type."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.contract.shapes import DEEPEST_GROUPS, RESULTS, SAMPLE, check_results, check_sample

MEAN = {"value": 0.5, "stderr": None, "freedom": 3.0, "clusters": 4, "effective": 3.5}
WHOLE = {
    "results": {"quiz": {"acc,none": 0.5, "sample_len": 4}},
    "group_subtasks": {"all": ["some"], "some": ["quiz"], "quiz": []},
    "configs": {"quiz": {"num_fewshot": 2, "metric_list": [{"metric": "acc"}]}},
    "higher_is_better": {"quiz": {"acc": True, "f1": None}},
    "n-shot": {"quiz": 2, "other": None},
    "n-samples": {"quiz": {"original": 10, "effective": 4}},
    "versions": {"quiz": 1},
    "config": {"prompt_style": "system"},
    "task_hashes": {"quiz": "0f"},
    "chat_template_sha": None,
    "system_instruction": "Be brief.",
    "gptalt_clusters": {"quiz": {"column": "passage", "means": {"acc,none": MEAN | {"stderr": 0.1}}}},
    "of a later version": object(),
}
LINE = {
    "doc_id": 0, "filter": "none", "metrics": ["acc"], "doc_hash": "a", "prompt_hash": "b", "resps": [[1]],
    "filtered_resps": [1], "arguments": {"gen_args_0": {"arg_0": "?"}},
}  # fmt: skip


def change(content, path, value):
    """The content with another value at a path."""
    first, *rest = path
    return {**content, first: change(content[first], rest, value) if rest else value}


def test_each_part_may_be_there_or_not():
    check_results(WHOLE)
    assert RESULTS.keys() <= WHOLE.keys() and SAMPLE.keys() == LINE.keys()
    for part in WHOLE:
        check_results({name: value for name, value in WHOLE.items() if name != part})
    check_results({})


@pytest.mark.parametrize("part", RESULTS)
def test_a_part_of_another_type_is_named(part):
    with pytest.raises(ValueError, match=rf"^{part}"):
        check_results({**WHOLE, part: 0.5})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("results", "quiz", "sample_len"), "4", "results.quiz.sample_len is '4'"),
        (("results", "quiz", "sample_len"), -1, "results.quiz.sample_len is -1, expected a count"),
        (("results", "quiz", "sample_len"), math.nan, "results.quiz.sample_len is nan, expected a count"),
        (("configs", "quiz", "num_fewshot"), "2", "configs.quiz.num_fewshot is '2'"),
        (("configs", "quiz", "num_fewshot"), math.inf, "configs.quiz.num_fewshot is inf, expected a count"),
        (("configs", "quiz", "metric_list"), "acc", "configs.quiz.metric_list is 'acc'"),
        (("config", "prompt_style"), 1, "config.prompt_style is 1"),
        (("n-shot", "quiz"), -2, "n-shot.quiz is -2, expected a count"),
        (("n-samples", "quiz", "effective"), 2**53, f"n-samples.quiz.effective is {2**53}, expected a count"),
        (("higher_is_better", "quiz", "acc"), 1, "higher_is_better.quiz.acc is 1"),
        (("group_subtasks", "all"), ["all"], "group_subtasks: 'all' is in itself, or nested too deep"),
        (("group_subtasks", "quiz"), ["all"], "group_subtasks: 'all' is in itself, or nested too deep"),
        (("gptalt_clusters", "quiz", "column"), 1, "gptalt_clusters.quiz.column is 1"),
        (("gptalt_clusters", "quiz", "means"), [], "gptalt_clusters.quiz.means is"),
        (("gptalt_clusters", "quiz", "means", "acc,none", "clusters"), 0, "means.acc,none is .*at least one row"),
        (("gptalt_clusters", "quiz", "means", "acc,none", "effective"), 0.9, "means.acc,none is .*at least one row"),
        (("gptalt_clusters", "quiz", "means", "acc,none", "value"), math.nan, "means.acc,none is .*at least one"),
        (("gptalt_clusters", "quiz", "means", "acc,none", "freedom"), -1.0, "means.acc,none.freedom is -1.0"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_its_place(path, value, said):
    with pytest.raises(ValueError, match=said):
        check_results(change(WHOLE, path, value))


@pytest.mark.parametrize("count", [0, 1, 2.0, 2**53 - 1, None])
def test_counts(count):
    check_results(change(WHOLE, ("results", "quiz", "sample_len"), count))


@pytest.mark.parametrize("name", MEAN)
def test_a_mean_lacks_nothing(name):
    path = ("gptalt_clusters", "quiz", "means", "acc,none")
    mean = {key: value for key, value in (MEAN | {"stderr": 0.1}).items() if key != name}
    with pytest.raises(ValueError, match=rf"^gptalt_clusters.quiz.means.acc,none.{name} is missing$"):
        check_results(change(WHOLE, path, mean))


def test_an_unknown_standard_error_is_none_of_ours_to_refuse():
    check_results(change(WHOLE, ("gptalt_clusters", "quiz", "means", "acc,none", "stderr"), math.nan))
    few = MEAN | {"stderr": 0.1, "clusters": 1, "effective": 1, "freedom": 0}
    check_results(change(WHOLE, ("gptalt_clusters", "quiz", "means", "acc,none"), few))


def make_chain(depth):
    return {str(place): [str(place + 1), "a task"] for place in range(depth)}


def test_groups_may_be_nested_as_deep_as_any_real_ones():
    check_results({"group_subtasks": make_chain(DEEPEST_GROUPS)})
    with pytest.raises(ValueError, match=r"^group_subtasks: '0' is in itself, or nested too deep$"):
        check_results({"group_subtasks": make_chain(DEEPEST_GROUPS + 1)})


def has_circle(groups):
    """By walking down from every group."""

    def walk(name, above):
        return name in above or any(walk(child, above | {name}) for child in groups.get(name, []))

    return any(walk(name, frozenset()) for name in groups)


NAMES = st.sampled_from("abcde")


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=3)))
def test_circles_are_found_and_nothing_else(groups):
    try:
        check_results({"group_subtasks": groups})
    except ValueError:
        assert has_circle(groups)
    else:
        assert not has_circle(groups)


def test_a_sample():
    check_sample(LINE)
    check_sample({"doc_id": 3, "of a later version": 1})
    check_sample({**LINE, "arguments": [["?", " yes"]]})
    with pytest.raises(ValueError, match=r"^doc_id is missing$"):
        check_sample({"filter": "none"})


@pytest.mark.parametrize("part", SAMPLE)
def test_a_part_of_a_sample_of_another_type_is_named(part):
    with pytest.raises(ValueError, match=rf"^{part} is 0.5, expected "):
        check_sample({**LINE, part: 0.5})
