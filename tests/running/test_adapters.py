"""An adapter that belongs to another base is refused: peft would leave out what has no place."""

import pytest

import gptalt_eval
from gptalt_eval import GptaltError

pytestmark = pytest.mark.torch


@pytest.fixture
def evaluate(tmp_path, plugins):
    """Runs a tiny model with an adapter for a base of a number of layers."""
    peft = pytest.importorskip("peft")
    import tiny
    from transformers import AutoModelForCausalLM

    folder = tiny.save_model("llama", tmp_path / "base")

    def run(layers, **chosen):
        model = AutoModelForCausalLM.from_pretrained(folder, num_hidden_layers=layers)
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, **chosen)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
        return gptalt_eval.evaluate(
            "hf", "piqa", plugins=plugins, data_dir="sample", limit=1, device="cpu", output_path=str(tmp_path / "run"),
            model_args={"pretrained": str(folder), "peft": str(tmp_path / "adapter")},
        )  # fmt: skip

    run.layers = AutoModelForCausalLM.from_pretrained(folder).config.num_hidden_layers
    return run


def test_an_adapter_of_a_deeper_or_shallower_base_is_refused(evaluate):
    with pytest.raises(GptaltError, match=r"does not fit this model: it has what .*\(2 weights in all\)"):
        evaluate(evaluate.layers + 1)
    with pytest.raises(GptaltError, match=r"does not fit this model: it lacks .*\(2 weights in all\)"):
        evaluate(evaluate.layers - 1)


def test_an_adapter_that_fits_is_used(evaluate):
    assert evaluate(evaluate.layers).run.status == "complete"
    assert evaluate(evaluate.layers, layers_to_transform=[0]).run.status == "complete"
