"""Model folders of strangers: settings without end, pipes, and lists of weights that lie, end in one message."""

import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
from gptalt_eval_plugin_models import checkpoint, pickled
from gptalt_eval_plugin_models.checkpoint import read_checkpoint, read_index
from gptalt_eval_plugin_models.family import read_config

from gptalt_eval import GptaltError

DEEP = '{"a":' * 200_000


@pytest.mark.parametrize(
    "text", [DEEP, "[" * 200_000, "[]", "\ud800".encode("utf-8", "replace").decode(), "1" * 5000]
)
def test_settings_without_end(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(GptaltError, match=r"config\.json is damaged"):
        read_config(tmp_path)
    with pytest.raises(GptaltError, match="does not list weights"):
        read_index(tmp_path / "config.json")


def write_safetensors(file, header):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(content)) + content + b"\0" * 64)


ITEM = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize("header", [
    DEEP.encode(), {"w": ITEM | {"data_offsets": [-4096, 8]}}, {"w": ITEM | {"shape": [-2]}}, {"w": ITEM | {"shape": [2**70]}},
    {"w": ITEM | {"data_offsets": []}}, {"w": ITEM | {"dtype": []}}, {"w": ITEM | {"shape": [1e400]}}, {"w": None}, [],
])  # fmt: skip
def test_a_header_that_lies(tmp_path, header):
    write_safetensors(tmp_path / "model.safetensors", header)
    with pytest.raises(GptaltError, match=r"model\.safetensors is (damaged|truncated)"):
        read_checkpoint([tmp_path / "model.safetensors"])


def write_torch(file, content, **settings):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", content)


def test_a_list_of_weights_that_unpacks_to_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled, "LARGEST", 1 << 16)
    write_torch(tmp_path / "model.bin", pickle.dumps(OrderedDict()) + b" " * (1 << 20))
    with pytest.raises(GptaltError, match=r"model\.bin is damaged"):
        read_checkpoint([tmp_path / "model.bin"])


@pytest.mark.parametrize("field", ["first", "shape", "stride"])
@pytest.mark.parametrize("value", [-1, "x", 1.5, None, True, 2**80])
def test_a_tensor_that_is_nowhere(tmp_path, monkeypatch, field, value):
    (tmp_path / "model.bin").write_bytes(b"PK")
    tensor = pickled.PickledTensor("archive/data/0", "float32", 0, (2,), (1,))
    tensor = tensor._replace(**{field: value if field == "first" else (value,)})
    monkeypatch.setattr(checkpoint, "read_state", lambda file: {"w": tensor})
    monkeypatch.setattr(checkpoint, "locate_entries", lambda file: {"archive/data/0": 0})
    with pytest.raises(GptaltError, match=r"model\.bin is (damaged|truncated)"):
        read_checkpoint([tmp_path / "model.bin"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among files here")
@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_a_pipe(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(GptaltError, match="is a pipe or a device"):
        read_checkpoint([tmp_path / name])
