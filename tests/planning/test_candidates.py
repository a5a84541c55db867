"""Which models meet a user's needs, by their cards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import GIB, Card, Loader, Model
from gptalt_eval.planning.candidates import (
    Needs,
    check_language,
    consider,
    find_candidates,
    is_held,
    read_memory,
)
from gptalt_eval.planning.memory import ROOM


def make_model(name="m", parameters=6_000_000_000, commercial="yes", languages=("zh", "en"), **card):
    return Model(name, "", "some licence", "", languages=languages, card=Card(commercial, parameters, **card))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("16GB", 16e9), ("16 gb", 16e9), ("15.9GiB", 15.9 * GIB), ("24G", 24 * GIB), ("800MB", 8e8)],
)
def test_memory_is_read_in_the_unit_that_is_written(text, expected):
    assert read_memory(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["16", "GB", "16XB", "-3GB", "0GB", "sixteen", "", "16GB of it", "nanGB"])
def test_what_is_not_an_amount_of_memory_is_refused(text):
    with pytest.raises(GptaltError, match="not an amount of memory") as refused:
        read_memory(text)
    assert "16GB" in refused.value.hint


def test_the_finest_precision_that_fits_is_taken():
    """6e9 parameters: 11.2 GiB in 16 bits, 5.6 in 8, 2.8 in 4, and a tenth more."""
    model = make_model()
    found = [consider(model, Needs(memory=size * GIB)).bits for size in (12.4, 12.2, 6.2, 6.1, 3.1, 3.0)]
    assert found == [16, 8, 8, 4, 4, 0]
    assert consider(model, Needs()).bits == 16
    assert consider(model, Needs(memory=6.2 * GIB)).argument == "load_in_8bit=true"
    assert consider(model, Needs()).argument == ""
    assert "2.8 GiB even in 4-bit" in consider(model, Needs(memory=GIB)).lacks[0]


def test_a_model_with_a_loader_is_quantized_only_if_it_can_be_converted():
    def convert(name):
        return name == "new"

    loader = Loader("l", "x", lambda: None, lambda config: None, lambda *_: (), convert)
    new, old = (replace(make_model(name), loader=loader) for name in ("new", "old"))
    small = Needs(memory=3.2 * GIB)
    assert (consider(new, small).bits, consider(new, small).argument) == (
        4,
        "pretrained=FOLDER,load_in_4bit=true",
    )
    assert consider(old, small).lacks == ("too large (11.2 GiB in 16-bit, and it cannot be quantized)",)
    assert (
        consider(old, Needs(memory=13 * GIB)).argument == consider(new, Needs(memory=13 * GIB)).argument == ""
    )


@given(st.integers(10**6, 10**12), st.floats(1e6, 1e13))
def test_a_model_that_is_taken_fits_and_a_finer_one_would_not(parameters, memory):
    found = consider(make_model(parameters=parameters), Needs(memory=memory))
    if found.bits:
        assert parameters * found.bits / 8 * ROOM <= memory * (1 + 1e-9)
    for bits in (16, 8, 4):
        if bits > found.bits:
            assert not is_held(found.model, bits, memory)


def test_every_reason_is_named():
    model = make_model(commercial="no", languages=("en",), modality="image-text")
    lacks = consider(model, Needs("zh", GIB, True)).lacks
    assert [text.split(" (")[0] for text in lacks] == [
        "not zh", "no commercial use", "for questions with pictures", "too large",
    ]  # fmt: skip


def test_a_licence_that_asks_is_not_one_that_allows():
    ask = make_model(commercial="ask")
    assert consider(ask, Needs(commercial=True)).lacks == ("commercial use only if its publisher agrees",)
    assert consider(ask, Needs()).lacks == ()


def test_a_model_without_facts_is_never_recommended():
    bare = replace(make_model(), card=None)
    assert consider(bare, Needs()).lacks == ("too little is known about it",)
    assert consider(bare, Needs()).size is None


def test_all_models_come_back_in_order():
    models = [make_model("b"), make_model("a", languages=("en",))]
    found = find_candidates(models, Needs("zh"))
    assert [(each.model.name, bool(each.lacks)) for each in found] == [("b", False), ("a", True)]


def test_a_language_that_no_model_has_is_refused():
    check_language("", [make_model()])
    check_language("zh", [make_model()])
    with pytest.raises(GptaltError) as refused:
        check_language("fr", [make_model()])
    assert "en, zh" in refused.value.hint
