import json
import struct

import pytest
from model_folders import write_model

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import title_model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.gguf_header import check_gguf
from gptalt_eval.planning.weights import (
    check_chat_template,
    check_weights,
    has_chat_template,
    merge_model_args,
)
from gptalt_eval.running.runfiles import name_run_folder

HF = Model("hf", "", "", "")


def spec(**settings):
    return make_spec({"model": "hf", "tasks": "piqa", **settings})


def refuse(**settings):
    with pytest.raises(GptaltError) as caught:
        check_weights(HF, spec(**settings))
    return str(caught.value)


def test_hf_without_weights_says_what_to_add():
    assert "pretrained=" in refuse()


@pytest.mark.parametrize("name", ["device", "batch_size", "max_batch_size"])
def test_a_flag_among_the_model_s_arguments_is_refused(tmp_path, name):
    folder = write_model(tmp_path / "model")
    assert refuse(model_args={"pretrained": str(folder), name: 4}) == (
        f"--model_args {name}=4: this is a setting of its own.\nType: --{name} 4"
    )


def test_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "chatglm-6b").mkdir()
    assert f"Did you mean '{tmp_path / 'chatglm-6b'}'" in refuse(
        model_args={"pretrained": str(tmp_path / "chatglm-b6")}
    )


def test_a_folder_without_a_model(tmp_path):
    assert "config.json is missing" in refuse(model_args={"pretrained": str(tmp_path)})


def test_a_hub_id_that_cannot_be_had(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", "/nowhere")
    text = refuse(model_args={"pretrained": "org/name"})
    assert "'org/name' is not on this computer, and HF_HUB_OFFLINE is set" in text
    assert "Unset HF_HUB_OFFLINE, and type the same command again." in text
    assert "hf download org/name --local-dir FOLDER (" in text
    assert text.endswith(" --model_args pretrained=FOLDER")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    text = refuse(model_args={"pretrained": "org/name"})
    assert "and the hub cannot be reached.\nSet HF_ENDPOINT to a mirror, and type" in text


def test_a_hub_id_without_its_owner(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--openai-community--gpt2").mkdir()
    assert "Did you mean 'openai-community/gpt2', which is here?" in refuse(model_args={"pretrained": "gpt2"})
    assert "'openai-community/gpt2'" in refuse(model_args={"pretrained": "openai-comunity/gpt2"})


def test_half_a_model_in_the_hubs_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--org--name"
    write_model(folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    check_weights(HF, spec(model_args={"pretrained": "org/name"}))
    (folder / "snapshots" / "abc" / "model.safetensors").unlink()
    assert "contains no weights" in refuse(model_args={"pretrained": "org/name"})


def test_another_tokenizer(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = write_model(tmp_path / "m")
    check_weights(HF, spec(model_args={"pretrained": str(folder), "tokenizer": str(folder)}))
    text = refuse(model_args={"pretrained": str(folder), "tokenizer": "./nowhere"})
    assert "There is no model folder ./nowhere" in text
    text = refuse(model_args={"pretrained": str(folder), "tokenizer": "org/name"})
    assert "The tokenizer 'org/name' is not on this computer" in text


def test_an_adapter(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = str(write_model(tmp_path / "m"))
    assert "There is no model folder ./nowhere" in refuse(
        model_args={"pretrained": folder, "peft": "./nowhere"}
    )
    assert "does not contain an adapter" in refuse(model_args={"pretrained": folder, "peft": folder})
    assert "model 'org/x' is not on" in refuse(model_args={"pretrained": folder, "delta": "org/x"})


def test_the_users_arguments_win():
    model = Model("m", "", "", "", args={"pretrained": "a", "dtype": "float16"})
    merged = merge_model_args(model, spec(model_args={"dtype": "float32"}, trust_remote_code=True))
    assert merged == {"pretrained": "a", "dtype": "float32", "trust_remote_code": True}


def make_gguf(path):
    from gguf import GGUFWriter
    from numpy import zeros

    writer = GGUFWriter(path, "llama")
    writer.add_tensor("weights", zeros((64, 64), dtype="float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_whole_gguf_passes(tmp_path):
    check_gguf(make_gguf(tmp_path / "m.gguf"))


@pytest.mark.parametrize("kept", [0, 3, 8, 100, -100])
def test_a_cut_off_gguf_is_found(tmp_path, kept):
    path = make_gguf(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GptaltError, match=r"m\.gguf"):
        check_gguf(path)


def test_something_else_is_no_gguf(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(GptaltError, match="is not a GGUF file"):
        check_gguf(path)
    path.write_bytes(b"GGUF" + struct.pack("<I", 99) + b"\0" * 100)
    with pytest.raises(GptaltError, match="is not a GGUF file"):
        check_gguf(path)


def test_a_gguf_beside_it_is_named(tmp_path):
    make_gguf(tmp_path / "model.Q4_1.gguf")
    with pytest.raises(GptaltError, match=r"model\.Q4_1\.gguf"):
        check_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config.json": {}}, False),
        ({"tokenizer_config.json": {"chat_template": "{{ x }}"}}, True),
        ({"tokenizer_config.json": {}, "chat_template.jinja": "x"}, True),
        ({}, None),
    ],
)
def test_whether_a_folders_tokenizer_has_a_template(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    settings = spec(model_args={"pretrained": str(tmp_path)}, apply_chat_template=True)
    assert has_chat_template(HF, settings) is expected
    if expected is False:
        with pytest.raises(GptaltError, match="has no chat template"):
            check_chat_template(HF, settings)
    else:
        check_chat_template(HF, settings)


def test_the_folder_of_results_is_named_as_lm_eval_names_it():
    from lm_eval.utils import sanitize_model_name

    for pretrained in ("gpt2", "org/name", "a b/c:d", "a//b"):
        assert name_run_folder(title_model(HF, {"pretrained": pretrained})) == sanitize_model_name(pretrained)


def test_the_users_home_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_model(tmp_path / "m")
    settings = spec(model_args={"pretrained": "~/m", "dtype": "~"})
    assert merge_model_args(HF, settings)["pretrained"] == str(tmp_path / "m")
    check_weights(HF, spec(model_args={"pretrained": "~/m"}))
