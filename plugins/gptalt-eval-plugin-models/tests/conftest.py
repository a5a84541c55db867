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


SENTENCES = [
    "Question: how many apples are left if seven of twelve are eaten?", "Answer: twelve minus seven is five apples.",
    "A chat between a curious user and an assistant.", "USER: hello ASSISTANT: hi there", "问：你好吗？ 答：很好。",
]  # fmt: skip


@pytest.fixture(scope="session")
def write_pieces(tmp_path_factory):
    """Trains a sentencepiece model of LLaMA's kind and writes it into a folder."""
    from sentencepiece import SentencePieceTrainer

    made = tmp_path_factory.mktemp("pieces")
    text = made / "text.txt"
    text.write_text("\n".join(SENTENCES * 3), encoding="utf-8")
    SentencePieceTrainer.train(
        input=str(text), model_prefix=str(made / "tokenizer"), vocab_size=400, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip

    def write(folder):
        shutil.copy(made / "tokenizer.model", folder)
        return folder

    return write


@pytest.fixture(scope="session")
def write_moss_tokenizer():
    """Writes vocab.json, merges.txt and added_tokens.json, as MOSS has them, into a folder."""

    def write(folder):
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
        inner.train_from_iterator(SENTENCES, trainer)
        inner.model.save(str(folder))
        size = inner.get_vocab_size()
        added = {
            name: size + place for place, name in enumerate(("<|endoftext|>", "<eoh>", "<eom>", "<eot>"))
        }
        (folder / "added_tokens.json").write_text(json.dumps(added))
        return folder

    return write
