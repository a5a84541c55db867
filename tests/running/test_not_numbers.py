"""A model that computes NaN is refused: the largest of its log-likelihoods would be any of them."""

import math

import pytest

import gptalt_eval
from gptalt_eval import GptaltError
from gptalt_eval.running.lmeval.observed import is_nan

NAN = float("nan")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((NAN, False), True), ([NAN, False], True), (NAN, True), ((-1.5, True), False), ((-math.inf, False), False),
        ("nan", False), ("", False), ((), False), (0, False), (None, False),
    ],
)  # fmt: skip
def test_what_is_not_a_number(answer, expected):
    assert is_nan(answer) is expected


@pytest.fixture
def evaluate(tmp_path):
    def run(model, tasks="piqa", **settings):
        given = {"data_dir": "sample", "limit": 2, "output_path": str(tmp_path / "run"), **settings}
        return gptalt_eval.evaluate(model, tasks, **given)

    return run


def test_an_answer_of_any_model_that_is_not_a_number_is_refused(
    evaluate, make_plugins, scripted_model, tmp_path
):
    """Other tasks go on, and nothing of it is stored."""
    model = scripted_model(
        likelihood=lambda prompt, continuation: NAN if "Goal" in prompt or "Question" in prompt else 1.0
    )
    cache = str(tmp_path / "cache")
    with pytest.raises(GptaltError, match=r"for \d of \d requests is not a number \(NaN\)"):
        evaluate("scripted", plugins=make_plugins(models=[model]), use_cache=cache)
    assert "NaN" not in "".join(file.read_text() for file in tmp_path.glob("cache*"))
    record = evaluate("scripted", ["piqa", "winogrande"], plugins=make_plugins(models=[model]))
    assert list(record.run.failed) == ["piqa"] and record.run.done == ("winogrande",)


@pytest.mark.torch
@pytest.mark.parametrize("scorer", ["tree", "stock"])
@pytest.mark.parametrize(("dtype", "hint"), [("float32", "may be damaged"), ("float16", "dtype=bfloat16")])
def test_weights_that_overflow_are_refused_for_choices_and_for_texts(
    evaluate, make_plugins, tmp_path, scorer, dtype, hint
):
    import tiny
    from safetensors.torch import load_file, save_file

    folder = tiny.save_model("llama", tmp_path / "weights")
    state = load_file(folder / "model.safetensors")
    name = next(name for name in state if "layers.1.mlp.down_proj" in name)
    state[name][0, 0] = NAN if dtype == "float32" else 1e5  # which float16 does not have
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for tasks in ("piqa", "gsm8k"):
        with pytest.raises(GptaltError) as caught:
            evaluate(
                "hf", tasks, plugins=make_plugins(), device="cpu", scorer=scorer, num_fewshot=0, gen_kwargs={"max_gen_toks": 4},
                model_args={"pretrained": str(folder), "dtype": dtype},
            )  # fmt: skip
        assert f"(weights in {dtype})" in caught.value.what and hint in caught.value.hint
