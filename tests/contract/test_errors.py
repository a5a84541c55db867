from gptalt_eval.contract.errors import GptaltError, RequestErrors, did_you_mean, nearest

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
    text = str(RequestErrors([GptaltError("One."), GptaltError("Two.", "Mend it.")]))
    assert text.startswith("2 things to mend")
    assert "1. One." in text and "2. Two.\nMend it." in text
