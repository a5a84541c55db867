"""A model's folder is checked before anything is loaded: what lacks, what is cut off, what it is instead."""

import json
import zipfile

import pytest
from model_folders import write_model, write_safetensors

from gptalt_eval.planning.folders import (
    VOCABULARIES,
    find_adapter_faults,
    find_folder_faults,
    measure_safetensors,
)


def find(folder, **args):
    return [str(fault) for fault in find_folder_faults(folder, args)]


def only(folder, **args):
    [text] = find(folder, **args)
    return text


@pytest.mark.parametrize("shards", [0, 1, 3])
def test_a_whole_folder_passes(tmp_path, shards):
    assert find(write_model(tmp_path, shards)) == []


def test_the_size_is_that_which_the_library_itself_writes(tmp_path):
    from numpy import zeros
    from safetensors.numpy import save_file

    save_file({"x": zeros((7, 5), "float32"), "y": zeros(3, "int64")}, tmp_path / "w.safetensors")
    assert measure_safetensors(tmp_path / "w.safetensors") == (tmp_path / "w.safetensors").stat().st_size
    save_file({}, tmp_path / "empty.safetensors")
    assert (
        measure_safetensors(tmp_path / "empty.safetensors") == (tmp_path / "empty.safetensors").stat().st_size
    )


@pytest.mark.parametrize("kept", [0, 7, 8, 40, -1, -100])
def test_a_file_of_weights_that_is_cut_off(tmp_path, kept):
    file = write_model(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert str(file) in only(tmp_path) and "Download it again" in only(tmp_path)


def test_a_cut_off_shard_is_named_with_its_sizes(tmp_path):
    write_model(tmp_path, 3)
    file = tmp_path / "model-00002-of-00003.safetensors"
    whole = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-10])
    assert only(tmp_path).startswith(f"{file} is truncated: {whole - 10:,} bytes, {whole:,} expected.")


def test_bytes_after_the_tensors_are_no_safetensors_either(tmp_path):
    file = write_model(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes() + b"x")
    assert "is damaged" in only(tmp_path)


def test_a_shard_that_the_index_names_and_that_is_not_there(tmp_path):
    write_model(tmp_path, 5)
    for number in (1, 2, 4, 5):
        (tmp_path / f"model-0000{number}-of-00005.safetensors").unlink()
    assert only(tmp_path) == (
        f"{tmp_path}: 4 of 5 weight files are missing: model-00001-of-00005.safetensors, "
        "model-00002-of-00005.safetensors, model-00004-of-00005.safetensors and 1 more.\n"
        "Download the rest of the model."
    )


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": []}'])
def test_a_damaged_index(tmp_path, index):
    (write_model(tmp_path, 2) / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json is damaged" in only(tmp_path)


def test_no_weights(tmp_path):
    (write_model(tmp_path) / "model.safetensors").unlink()
    assert "contains no weights (looked for model.safetensors" in only(tmp_path)
    assert "Download the whole model" in only(tmp_path)
    (tmp_path / "weights.h5").write_bytes(b"x")
    assert "It contains weights.h5, which transformers does not look for" in only(tmp_path)


def test_a_variant_that_was_not_asked_for(tmp_path):
    write_model(tmp_path, variant=".fp16")
    assert "--model_args variant=fp16" in only(tmp_path)
    assert find(tmp_path, variant="fp16") == []


def test_weights_in_the_older_format(tmp_path):
    (write_model(tmp_path) / "model.safetensors").unlink()
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"x" * 500)
    assert find(tmp_path) == [] and find(tmp_path, use_safetensors=False) == []
    assert "contains no weights" in only(tmp_path, use_safetensors=True)
    file.write_bytes(file.read_bytes()[:-30])
    assert "pytorch_model.bin is truncated or damaged" in only(tmp_path)
    file.write_bytes(b"")
    assert "pytorch_model.bin is truncated or damaged (0 bytes)" in only(tmp_path)
    file.write_bytes(b"\x80\x02}q\x00.")  # before 2020, torch pickled without an archive
    assert find(tmp_path) == []


def test_weights_under_a_name_of_their_own(tmp_path):
    write_safetensors(write_model(tmp_path) / "other.safetensors", pad=3)
    (tmp_path / "model.safetensors").unlink()
    assert find(tmp_path, transformers_weights="other.safetensors") == []


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs(tmp_path, name):
    (write_model(tmp_path) / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    assert f"{name} is a pointer of Git LFS" in only(tmp_path) and "git lfs pull" in only(tmp_path)


def test_no_tokenizer(tmp_path):
    write_model(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    assert "it has no tokenizer" in only(tmp_path) and "--model_args tokenizer=" in only(tmp_path)
    assert find(tmp_path, tokenizer="org/name") == []


def test_a_tokenizer_without_its_vocabulary(tmp_path):
    (write_model(tmp_path) / "tokenizer.json").unlink()
    assert "its tokenizer has no vocabulary" in only(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    assert find(tmp_path) == [], "it reads bytes"
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert "tokenizer_config.json is damaged" in only(tmp_path)


def test_every_vocabulary_of_transformers_is_known(tmp_path):
    """Each class of transformers names the files of its vocabulary in its source."""
    import re
    from fnmatch import fnmatch
    from pathlib import Path

    import transformers

    named = set()
    for file in Path(transformers.__file__).parent.glob("models/*/tokenization_*.py"):
        for block in re.findall(
            r"^VOCAB_FILES_NAMES = \{(.*?)\}", file.read_text(), re.MULTILINE | re.DOTALL
        ):
            files = re.findall(r':\s*"([^"]+)"', block)
            named.add(tuple(files))
    assert len(named) > 10
    for files in named:
        assert any(fnmatch(name, pattern) for name in files for pattern in VOCABULARIES), files


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"adapter_config.json": "{}"}, "It is an adapter: --model_args pretrained=BASE_MODEL,peft="),
        ({"checkpoint-500/config.json": "{}"}, "Did you mean '"),
        ({"m.Q4.gguf": "GGUF"}, "gguf_file=m.Q4.gguf"),
        ({"readme.md": "x"}, "Give a folder saved by transformers"),
    ],
)
def test_what_a_folder_is_instead(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert "config.json is missing" in only(tmp_path) and expected in only(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\xff"])
def test_a_damaged_configuration(tmp_path, text):
    (write_model(tmp_path) / "config.json").write_bytes(text.encode("latin-1"))
    assert "config.json is damaged" in only(tmp_path)


def test_an_adapter_beside_the_configuration_names_its_model(tmp_path):
    (write_model(tmp_path) / "model.safetensors").unlink()
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/name"}))
    assert find(tmp_path) == []


def test_the_folder_of_an_adapter(tmp_path):
    def find_one(expected):
        [fault] = find_adapter_faults(tmp_path)
        assert expected in str(fault)

    find_one("Give a folder saved by peft")
    (tmp_path / "config.json").write_text("{}")
    find_one("It is a model: --model_args pretrained=")
    (tmp_path / "adapter_config.json").write_text("{}")
    find_one("contains no weights (looked for adapter_model.safetensors")
    file = write_safetensors(tmp_path / "adapter_model.safetensors")
    assert list(find_adapter_faults(tmp_path)) == []
    file.write_bytes(file.read_bytes()[:-1])
    find_one("is truncated")


def test_all_problems_of_a_folder_at_once(tmp_path):
    write_model(tmp_path, 2)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"")
    assert len(find(tmp_path)) == 3
