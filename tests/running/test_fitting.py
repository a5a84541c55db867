"""A checkpoint that is not that of its config.json is refused: transformers would fill it with random numbers."""

import json

import pytest
import tiny

import gptalt_eval
from gptalt_eval import GptaltError
from gptalt_eval.scoring.fitting import find_alike

pytestmark = pytest.mark.torch


@pytest.fixture
def evaluate(tmp_path, plugins):
    def run(folder, **args):
        return gptalt_eval.evaluate(
            "hf", "piqa", plugins=plugins, data_dir="sample", limit=1, device="cpu", scorer="stock",
            output_path=str(tmp_path / "run"), model_args={"pretrained": str(folder), **args},
        )  # fmt: skip

    return run


def count_layers(folder, more):
    """Write another number of layers into a config.json."""
    file = folder / "config.json"
    settings = json.loads(file.read_text())
    key = next(key for key in ("num_hidden_layers", "n_layer", "n_layers") if key in settings)
    settings[key] += more
    file.write_text(json.dumps({name: value for name, value in settings.items() if name != "layer_types"}))
    return folder


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "bloom", "codegen", "opt", "mamba"])
@pytest.mark.parametrize(("more", "what"), [(1, "lack"), (-1, "have more than this model has:"), (0, "")])
def test_weights_of_another_number_of_layers_are_refused(tmp_path, evaluate, kind, more, what):
    folder = count_layers(tiny.save_model(kind, tmp_path / "model"), more)
    if not what:
        assert evaluate(folder).run.status == "complete"
        return
    with pytest.raises(GptaltError, match=f"The weights in {folder} {what} .*in all"):
        evaluate(folder)


@pytest.mark.parametrize(
    ("more", "error"), [(1, GptaltError), (-1, KeyError)]
)  # of the latter, lm-eval's own
def test_a_difference_with_other_layers_is_refused(tmp_path, evaluate, more, error):
    from transformers import AutoModelForCausalLM

    base = tiny.save_model("llama", tmp_path / "base")
    layers = AutoModelForCausalLM.from_pretrained(base).config.num_hidden_layers
    other = AutoModelForCausalLM.from_pretrained(base, num_hidden_layers=layers + more)
    other.save_pretrained(tmp_path / "delta")
    with pytest.raises(error):
        evaluate(base, delta=str(tmp_path / "delta"))
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(tmp_path / "delta")
    assert evaluate(base, delta=str(tmp_path / "delta")).run.status == "complete"


def test_parts_that_a_model_does_not_use_are_no_fault():
    names = ["model.layers.0.mlp.weight", "model.norm.weight"]
    unused = ["visual.blocks.0.weight", "v_head.weight", "model.layers.1.mlp.weight", "model.norm.bias"]
    assert find_alike(unused, names) == ["model.layers.1.mlp.weight"]


@pytest.mark.parametrize("more", [0, 50])
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path, evaluate, more):
    folder = tiny.save_model("llama", tmp_path / "model")
    file = folder / "tokenizer.json"
    written = json.loads(file.read_text())
    vocabulary = written["model"]["vocab"]
    size = max(vocabulary.values()) + 1
    vocabulary |= {f"more{number}": size + number for number in range(more and tiny.VOCABULARY)}
    file.write_text(json.dumps(written))
    if not more:
        assert evaluate(folder).run.status == "complete"
        return
    with pytest.raises(
        GptaltError, match=rf"tokens, and the model knows {tiny.VOCABULARY}: they do not belong"
    ):
        evaluate(folder)
