"""What is shown while workers answer: what is to be done, a line a minute in a log, and names in notes."""

import pytest
from rich.console import Console

from gptalt_eval.running.spreading.progress import Progress
from gptalt_eval.spread.progress import Snapshot, WorkerState
from gptalt_eval.spread.work import Unit

UNITS = [Unit("a", "0", "loglikelihood", 90, 4), Unit("b", "0", "generate_until", 10, 6)]


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (8, "10 requests in 2 units, 2 workers"),
        (1, "10 requests in 2 units, 1 worker"),
        (0, "10 requests in 2 units"),
    ],
)
def test_it_says_what_is_to_be_done_and_by_how_many(places, said):
    console = Console(record=True, width=200)
    Progress(console, {"0": "m"}).begin(UNITS, places)
    assert console.export_text().strip() == said


def test_names_stand_in_notes_and_reasons_are_left_as_they_are():
    console = Console(record=True, width=200)
    progress = Progress(console, {"0": "first [b]", "1": r"sec\1ond", "10": "tenth"})
    for note in (
        "A unit of model 1 was given up: the model 0 was too large",
        "Model 10 was given up: model 1 has no weights",
        "Worker 3 (CPU 0) was ended: loading model 0 took more than 60 seconds",
        "Worker 3 (CPU 0) was lost: model 0.5 says no",
    ):
        progress.note(note)
    assert [line.removeprefix("Note:").strip() for line in console.export_text().splitlines()] == [
        r"A unit of sec\1ond was given up: the model 0 was too large",
        "tenth was given up: model 1 has no weights",
        "Worker 3 (CPU 0) was ended: loading first [b] took more than 60 seconds",
        "Worker 3 (CPU 0) was lost: model 0.5 says no",
    ]


def test_a_log_gets_a_line_a_minute_and_one_at_the_end():
    now = [0.0]
    console = Console(record=True, width=200, force_terminal=False)
    progress = Progress(console, {"0": "first", "1": "second"}, clock=lambda: now[0])
    workers = [
        WorkerState(number, "n", f"GPU {number}", state, model, 1.0, 5.0)
        for number, (state, model) in enumerate([("answering", "0"), ("answering", "0"), ("loading", "1")])
    ]
    for now[0], units in ((30.0, 3), (61.0, 6), (90.0, 8), (125.0, 9)):
        progress.show(Snapshot(units * 10.0, 100.0, units, 10, 1234.5, 65.0, workers))
    progress.end()
    progress.end()  # it was said
    first, second, last = console.export_text().splitlines()
    did = "2 answering first, 1 loading second"
    assert first.strip() == f"6 of 10 units, 1,234 tokens/s, 1:05 left; {did}"
    assert second.strip() == f"9 of 10 units, 1,234 tokens/s, 1:05 left; {did}"
    assert last.strip() == "9 of 10 units answered in 2:05"
