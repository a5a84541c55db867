"""The scores of a run on the terminal: at 80 columns no word is broken and no figure cut."""

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run, RunCut, RunModel
from gptalt_eval.machine.wrapping import measure
from gptalt_eval.results.rows import read_logged
from gptalt_eval.results.table import break_name, join_notes, make_grid, print_scores

UP, DOWN = True, False
NUMBER = re.compile(r"\d[\d,.]*")


def make_record(folder, tasks, style="", model="scripted", run=None, groups=None):
    """A run whose tasks are given by name: {metric: value}, rows scored, rows there are, shots."""
    results = {
        "results": {name: {"alias": name, **scores} for name, (scores, *_) in tasks.items()},
        "n-samples": {name: {"effective": n, "original": of} for name, (_, n, of, _) in tasks.items() if of},
        "n-shot": {name: shots for name, (*_, shots) in tasks.items()},
        "higher_is_better": {
            name: {"acc": UP, "acc_norm": UP, "exact_match": UP, "word_perplexity": DOWN} for name in tasks
        },
        "configs": {name: {} for name in tasks},
        "config": {"prompt_style": style} if style else {},
    }
    if groups:
        results["group_subtasks"] = groups
    run = run or Run(model=RunModel(model))
    return Record(folder, run, (results,), (folder / "results_t.json",))


def show(records, width=80, is_terminal=True):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=width, color_system=None)
    print_scores(console, records)
    return screen.getvalue()


def read_rows(text):
    """The cells of a drawn table, line by line."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]


GSM8K = {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 0.25}
TASKS = {
    "arc_easy": ({"acc,none": 0.5, "acc_norm,none": 0.45}, 20, 2376, 0),
    "gsm8k": (GSM8K, 4, 4, 5),
    "wikitext": ({"word_perplexity,none": 31.25}, 62, 62, 0),
}


def test_metrics_have_their_direction_and_items_say_how_many_there_are(tmp_path):
    rows = read_rows(show([make_record(tmp_path, TASKS)], 120))
    assert [(row[2], row[3]) for row in rows] == [
        ("acc ↑", "0.500"), ("acc_norm ↑", "0.450"), ("exact_match (strict-match) ↑", "0.000"),
        ("exact_match (flexible-extract) ↑", "0.250"), ("word_perplexity ↓", "31.250"),
    ]  # fmt: skip
    assert [row[-1] for row in rows] == ["20 of 2,376", "", "4", "", "62"]


def test_the_items_of_a_group_are_those_of_all_members(tmp_path):
    tasks = {
        "mmlu": ({"acc,none": 0.5}, 0, 0, 0),
        "mmlu_a": ({"acc,none": 0.5}, 2, 100, 0),
        "mmlu_b": ({"acc,none": 0.5}, 2, 265, 0),
    }
    record = make_record(tmp_path, tasks, groups={"mmlu": ["mmlu_a", "mmlu_b"]})
    record.results[0]["results"]["mmlu"]["sample_len"] = 4
    assert [(row[0], row[-1]) for row in read_rows(show([record]))] == [("mmlu", "4 of 365")]


def test_an_interval_that_is_the_value_is_not_shown(tmp_path):
    tasks = {"wikitext": ({"word_perplexity,none": 31.25, "word_perplexity_stderr,none": 1e-6}, 62, 62, 0)}
    assert "31.250 -" not in show([make_record(tmp_path, tasks)])


def test_at_80_columns_what_tasks_have_in_common_goes_to_the_title(tmp_path):
    tasks = {f"medqa_zh_hans_{n}": ({"acc,none": 0.5, "acc_norm,none": 0.45}, 200, 3426, 5) for n in "45"}
    tasks |= {"gsm8k": (GSM8K, 4, 1319, 5)}
    wide = show([make_record(tmp_path, tasks, "system")], 120)
    narrow = show([make_record(tmp_path, tasks, "system")], 80)
    assert wide.splitlines()[0].strip() == "scripted" and "Shots" in wide and "Prompt" in wide
    assert narrow.splitlines()[0].strip() == "scripted, system, 5-shot"
    assert "Shots" not in narrow and "Prompt" not in narrow
    assert set(NUMBER.findall(wide)) <= set(NUMBER.findall(narrow))


def test_at_80_columns_style_and_shots_stand_below_the_name_beside_further_metrics(tmp_path):
    name = "medqa_zh_hans_4_with_a_long_name"
    tasks = {name: ({"acc,none": 0.5, "acc_norm,none": 0.45}, 200, 3426, 5), "piqa": (GSM8K, 4, 1838, 0)}
    text = show([make_record(tmp_path, tasks, "system_prompt")], 60)
    assert text.startswith("scripted, system_prompt\n"), "what all tasks have in common"
    rows = read_rows(text)
    cells = [row[0] for row in rows]
    assert "(0-shot)" in cells and "(5-shot)" in cells
    named = [row[1] for row in rows[: cells.index("piqa")] if row[1]]
    assert named == ["acc ↑", "acc_norm ↑"], "beside the lines of the name"
    assert len(rows[: cells.index("piqa")]) < 8


def test_a_filter_is_left_out_where_it_tells_nothing_apart(tmp_path):
    tasks = {
        "gsm8k_with_a_long_name": (GSM8K, 4, 1319, 5),
        "triviaqa": ({"exact_match,remove_whitespace": 0.5}, 3, 20, 0),
    }
    metrics = [row[-4] for row in read_rows(show([make_record(tmp_path, tasks)], 80)) if row[-4]]
    assert metrics == [
        "exact_match ↑",
        "(strict-match)",
        "exact_match ↑",
        "(flexible-extract)",
        "exact_match ↑",
    ]


def test_a_pipe_gets_the_whole_table(tmp_path):
    name = "mmlu_high_school_government_and_politics" * 2
    text = show([make_record(tmp_path, {name: (GSM8K, 4, 1319, 5)})], 80, is_terminal=False)
    assert name in text and "exact_match (flexible-extract) ↑" in text


NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M")), min_size=1, max_size=70),
    st.sampled_from(["mmlu_high_school_government_and_politics", "执业药师资格考试" * 4, "a" * 90]),
)
COUNTS = st.integers(1, 14042)
SHARES = st.floats(0, 1)


@given(
    st.dictionaries(
        NAMES, st.tuples(st.fixed_dictionaries({"acc,none": SHARES}), COUNTS, COUNTS, st.integers(0, 25))
    ),
    st.sampled_from(["", "system", "a_plugins_style"]),
    st.sampled_from([60, 80, 120]),
)
@example({"a" * 90: (GSM8K, 14042, 14042, 5), "b": (GSM8K, 20, 138384, 0)}, "system", 60)
def test_no_line_is_too_long_and_no_figure_is_cut(tmp_path_factory, tasks, style, width):
    record = make_record(tmp_path_factory.getbasetemp(), tasks, style)
    narrow = show([record], width)
    lines = narrow.splitlines()
    assert all(measure(line) <= width for line in lines)
    if not tasks:
        return
    headings = [cell.strip() for cell in next(line for line in lines if "┃" in line).split("┃")[1:-1]]
    column = headings.index("Score")
    shown = [row[column] for row in read_rows(narrow) if row[column]]
    assert shown == [f"{value:.3f}" for scores, *_ in tasks.values() for value in scores.values()]
    figures = {figure for row in read_rows(narrow) for figure in NUMBER.findall(row[-1])}
    wanted = {f"{count:,}" for _, *counts, _ in tasks.values() for count in counts[:1]}
    assert wanted <= figures


@given(NAMES, st.integers(12, 60))
def test_a_broken_name_is_whole_and_has_room(name, room):
    lines = break_name(name, room).split("\n")
    assert all(measure(line) <= room for line in lines)
    assert "".join(lines) == name


def test_a_name_is_broken_after_an_underscore():
    assert break_name("  mmlu_high_school_government", 18) == "  mmlu_high_\n  school_\n  government"
    assert break_name("\U0001f3fb", 12) == "\U0001f3fb", "it has no width of its own"
    assert break_name("mmlu_high_school_government", 18) == "mmlu_high_school_\ngovernment"


def test_a_note_of_all_models_is_shown_once_and_others_with_their_models(tmp_path):
    notes = ("These are results on a sample.",)
    records = [
        make_record(tmp_path, TASKS, run=Run(model=RunModel(name), notes=notes + more))
        for name, more in (("a", ()), ("b", ("Odd.",)))
    ]
    text = show(records, 120)
    assert text.count("results on a sample") == 1
    assert "Note: Odd. (b)" in text
    assert text.index("Note:") > text.rindex("└")


def test_one_note_for_many_tasks(tmp_path):
    cut = {f"mmlu_{name}": RunCut(3, 9, 2048) for name in "abcde"} | {"boolq (5-shot)": RunCut(1, 2, 2048)}
    notes = tuple(f"{name}: its examples are spare." for name in ("a", "b (5-shot)", "c", "d"))
    record = make_record(tmp_path, TASKS, run=Run(model=RunModel("m"), notes=notes, cut=cut))
    lines = [line for line in show([record], 1000).splitlines() if line.startswith("Note:")]
    assert lines == [
        "Note: a, b (5-shot), c and 1 more: its examples are spare.",
        "Note: mmlu_a: 3 of 9 requests did not fit into the model's context of 2,048 tokens and lost the beginning of "
        "their prompt. Likewise 5 other tasks: mmlu_b, mmlu_c, mmlu_d and 2 more.",
    ]


def test_notes_that_differ_in_words_stay(tmp_path):
    notes = ["a: one.", "a: two.", "Three: of it.", "Four"]
    assert list(join_notes(notes)) == notes


@pytest.mark.parametrize("width", [60, 80, 120])
def test_notes_are_wrapped_between_words(tmp_path, width):
    run = Run(model=RunModel("m"), notes=(" ".join(["extraordinarily"] * 20),))
    lines = [
        line
        for line in show([make_record(tmp_path, TASKS, run=run)], width).splitlines()
        if "extraord" in line
    ]
    assert all(set(line.split()) <= {"Note:", "extraordinarily"} and len(line) <= width for line in lines)


def test_a_terminal_without_arrows_gets_none(tmp_path):
    record = make_record(tmp_path, TASKS)
    assert "↑" not in str(make_grid(record, read_logged(record), ascii_only=True).rows)
