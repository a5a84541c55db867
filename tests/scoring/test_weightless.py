"""What is known of a model without its weights."""

import json

import pytest
import tiny

pytestmark = [pytest.mark.torch]


def load(folder, weightless):
    from lm_eval.models.huggingface import HFLM

    from gptalt_eval.scoring.backend import add_tree
    from gptalt_eval.scoring.guarded import add_guard
    from gptalt_eval.scoring.weightless import drop_weights

    backend = add_guard(add_tree(HFLM))
    return (drop_weights(backend) if weightless else backend)(
        pretrained=str(folder), device="cpu", batch_size=1
    )


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "bloom", "t5", "mamba"])
def test_parameters_are_counted_as_with_weights(family, tmp_path):
    folder = tiny.save_model(family, tmp_path / family)
    counted = load(folder, weightless=True).count_parameters()
    assert counted == sum(each.numel() for each in load(folder, weightless=False).model.parameters())
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    assert load(folder, weightless=True).count_parameters() == counted > 1000


def test_a_models_own_code_is_not_run_to_count(tmp_path, monkeypatch):
    folder = tiny.save_model("llama", tmp_path / "llama")
    lm = load(folder, weightless=True)
    (folder / "own.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    own = type("OwnConfig", (type(lm.config),), {"model_type": "own"})
    lm._config = own(**{**config, "auto_map": {lm.AUTO_MODEL_CLASS.__name__: "own.Own"}})
    lm._config._name_or_path = str(folder)
    assert lm.count_parameters() == 0
    assert not (tmp_path / "ran").exists()
