import pytest

from gptalt_eval.contract.errors import (
    GptaltError,
    InterruptedRun,
    RequestErrors,
    did_you_mean,
    nearest,
    raise_together,
)

KNOWN = ["hellaswag", "piqa", "chatglm", "chatglm2", "Vicuna"]


def test_nearest_finds_swapped_letters():
    assert nearest("hellaswga", KNOWN)[0] == "hellaswag"
    assert nearest("chatgml", KNOWN)[0] == "chatglm"


def test_nearest_prefers_the_same_word_in_another_case():
    assert nearest("vicuna", KNOWN)[0] == "Vicuna"


def test_nothing_near_says_nothing():
    assert did_you_mean("zzzzzz", KNOWN) == ""


def test_message_holds_what_and_hint():
    assert str(GptaltError("It broke.", "Type this.")) == "It broke.\nType this."
    assert str(GptaltError("It broke.")) == "It broke."


def test_several_errors_are_numbered():
    text = str(RequestErrors([GptaltError("One."), GptaltError("Two.", "Fix it.")]))
    assert text.startswith("2 problems found")
    assert "1. One." in text and "2. Two.\nFix it." in text


def test_what_and_hint_are_not_exchanged():
    error = GptaltError("It broke.", "Type this.")
    assert (error.what, error.hint, error.exit_code) == ("It broke.", "Type this.", 2)
    assert GptaltError("It broke.").hint == ""


def test_several_errors_keep_each_its_own():
    errors = [GptaltError("One."), GptaltError("Two.", "Fix it.")]
    found = RequestErrors(errors)
    assert found.errors == tuple(errors)
    assert str(found).partition(":")[2] == "\n\n1. One.\n\n2. Two.\nFix it."


def test_an_interruption_ends_as_shells_expect():
    by_user, by_disk = InterruptedRun("Stopped.", "Go on.", True), InterruptedRun("Full.", "Free it.", False)
    assert (by_user.exit_code, by_user.by_user, str(by_user)) == (130, True, "Stopped.\nGo on.")
    assert (by_disk.exit_code, by_disk.by_user, str(by_disk)) == (2, False, "Full.\nFree it.")


def test_names_that_are_near():
    assert len(nearest("task_1", [f"task_{number}" for number in range(2, 9)])) == 3
    assert nearest("task_1", ["task_2", "task_2", "TASK_1"], 2) == ["TASK_1", "task_2"]
    assert nearest("piqa", ["PIQA", "piqa"]) == ["PIQA", "piqa"]
    assert nearest("hellaswag", ["hellaswog", "piqa", "he"]) == ["hellaswog"]
    assert nearest("abcdefgh", ["abcdefzzzz"]) == [], "two thirds of the letters are not enough"
    assert nearest("abcdefgh", ["abcdefghzz"]) == ["abcdefghzz"]
    assert len(nearest("task_1", [f"task_{number}" for number in range(2, 9)], 5)) == 5


def test_the_suggestion_is_a_question():
    assert did_you_mean("piqua", ["piqa", "race"]) == "Did you mean 'piqa'?"
    assert did_you_mean("task_1", ["task_2", "task_3"]) in (
        "Did you mean 'task_2' or 'task_3'?",
        "Did you mean 'task_3' or 'task_2'?",
    )


def test_problems_found_in_several_places_are_raised_together():
    one, two, three = GptaltError("One."), GptaltError("Two."), GptaltError("Three.")
    with pytest.raises(RequestErrors) as caught:
        raise_together([RequestErrors([one, two]), three, GptaltError("One.")])
    assert [each.what for each in caught.value.errors] == ["One.", "Two.", "Three."]
    with pytest.raises(GptaltError) as alone:
        raise_together([one, GptaltError("One.")])
    assert type(alone.value) is GptaltError and str(alone.value) == "One."
    raise_together([])
