"""Tiny folders in the formats of 2023, from the reference of this project."""

import json
import shutil
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared" / "reference"


@pytest.fixture(scope="session")
def reference():
    """The folder with what the models' own code answered."""
    if not SHARED.is_dir():
        pytest.skip("the reference tensors are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def expected_ids(reference):
    return json.loads((reference / "tokenizers" / "expected.json").read_text())


@pytest.fixture(scope="session")
def write_parity(reference, tmp_path_factory):
    """Copies a parity folder, with a tokenizer, to a folder of its own."""

    def write(name, tokenizer="tokenizer.model", **settings):
        folder = tmp_path_factory.mktemp(name)
        for file in ("config.json", "model.safetensors"):
            if (reference / "parity" / name / file).is_file():
                shutil.copy(reference / "parity" / name / file, folder)
        if tokenizer:
            shutil.copy(reference / "tokenizers" / tokenizer, folder)
        if settings:
            file = folder / "config.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | settings))
        return folder

    return write
