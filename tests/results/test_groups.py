"""Groups in results files, whose keys are missing where lm-eval does not fill them in."""

import pytest
from folders import write_run

from gptalt_eval.results.analyse import list_headlines, list_scores
from gptalt_eval.results.groups import find_shots, find_style, list_hidden, list_tasks, walk

#: MMLU in small: lm-eval counts the shots of "stem" only, since "all" has no task of its own among its members
TASKS = {"physics": [1, 0, 1], "law": [1, 1], "history": [0, 0, 0, 1]}
GROUPS = {"all": ["stem", "humanities"], "stem": ["physics"], "humanities": ["law", "history"]}


@pytest.fixture
def results(tmp_path):
    return write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS, "shots": 5}]).results[0]


def test_a_group_of_groups_has_the_shots_of_its_tasks(results):
    assert "all" not in results["n-shot"], "the case that lm-eval leaves open"
    for name in results["results"]:
        assert find_shots(results, name) == 5


def test_members_that_differ_have_no_common_count(tmp_path):
    shots = {"physics": 5, "law": 0, "history": 0}
    [results] = write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS, "shots": shots}]).results
    found = {name: find_shots(results, name) for name in GROUPS}
    assert found == {"all": None, "stem": 5, "humanities": 0}


@pytest.mark.parametrize(
    ("counts", "config", "expected"),
    [
        ({"a": 3}, {}, 3),
        ({}, {"num_fewshot": 2}, 2),
        ({}, {"num_fewshot": None}, 0),
        ({"a": None}, {}, 0),
        ({}, {}, 0),
    ],
)
def test_a_task_whose_count_is_not_where_it_should_be(counts, config, expected):
    assert find_shots({"results": {"a": {}}, "n-shot": counts, "configs": {"a": config}}, "a") == expected
    assert find_shots({"results": {"a": {}}}, "a") == 0


def test_the_tasks_of_a_group(results):
    assert list_tasks(results, "all") == ["physics", "law", "history"]
    assert list_tasks(results, "law") == ["law"]
    again = {**results, "group_subtasks": {**GROUPS, "all": ["stem", "physics", "all", "gone"]}}
    assert list_tasks(again, "all") == ["physics"], "each once, what was not evaluated never, and no loop"


def test_what_is_inside_a_group_with_a_score(results):
    assert list_hidden(results) == {"stem", "humanities", *TASKS}
    bare = {**results, "results": {**results["results"], "all": {"alias": "all"}}}
    assert list_hidden(bare) == {*TASKS}
    assert [name for name, _ in walk({"results": {}})] == [name for name, _ in walk({})] == []


def test_the_direction_of_a_group_is_that_of_its_tasks(tmp_path):
    """lm-eval passes it on to a group from its direct members, as it does with shots."""
    record = write_run(tmp_path, "m", [{"tasks": TASKS, "groups": GROUPS}])
    assert {score.higher_is_better for score in list_scores(record)} == {True}
    record.results[0]["higher_is_better"]["law"]["acc"] = False
    found = {score.task: score.higher_is_better for score in list_scores(record)}
    assert (found["all"], found["humanities"], found["stem"], found["law"]) == (None, None, True, False)


def test_headlines_are_those_outside(tmp_path):
    record = write_run(tmp_path, "m", [{"tasks": {**TASKS, "alone": [1]}, "groups": GROUPS}] * 2)
    shown = [(score.result, score.task) for score in list_headlines(record, list_scores(record))]
    assert shown == [(0, "all"), (0, "alone"), (1, "all"), (1, "alone")]


@pytest.mark.parametrize(
    ("results", "style"),
    [
        ({"config": {"prompt_style": "system"}, "chat_template": "{{ x }}"}, "system"),
        ({"config": {"prompt_style": None}, "chat_template": "{{ x }}"}, "chat template"),
        ({"config": {}, "chat_template": ""}, "standard"),
        ({}, "standard"),
    ],
)
def test_how_prompts_were_written(results, style):
    assert find_style(results) == style
