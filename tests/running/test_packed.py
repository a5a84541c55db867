"""Compressed rows of a task: a small file that unpacks to a large one is refused before it fills the disk."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.machine import bounds
from gptalt_eval.running.lmeval.packed import check_unpacked
from gptalt_eval.testing import make_plugin_set, make_scripted_model

ROW = b'{"question": "a or b?"}\n'
TASK = """
task: quiz
dataset_path: json
dataset_kwargs: SETTINGS
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [a, b]
doc_to_target: 0
"""


def pack_zip(content):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", content)
    return target.getvalue()


def pack_tar(content, mode):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        member = tarfile.TarInfo("rows.jsonl")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def pack_zstd(content):
    return pytest.importorskip("zstandard").compress(content)


PACKED = {
    "rows.jsonl.gz": gzip.compress, "rows.jsonl.bz2": bz2.compress, "rows.jsonl.xz": lzma.compress, "rows.zip": pack_zip,
    "rows.jsonl": gzip.compress,  # its name does not say so
    "rows.tar.gz": lambda content: pack_tar(content, "w:gz"), "rows.jsonl.zst": pack_zstd,
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bounds, "FREE", 1 << 12)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.EXTRACTED_DATASETS_PATH", tmp_path / "cache" / "extracted")

    def call(name, content, *words, settings=None):
        if name:
            (tmp_path / name).write_bytes(PACKED[name](content))
        (tmp_path / "quiz.yaml").write_text(
            TASK.replace("SETTINGS", settings or f"{{data_files: {{test: {name}}}}}")
        )
        plugins = make_plugin_set(models=[make_scripted_model()])
        try:
            return cli.dispatch(
                ["run", "--model=scripted", "--tasks=quiz.yaml", "--output_path=out", *words], plugins
            )
        except GptaltError as error:
            return str(error)

    return call


@pytest.mark.parametrize("name", [*PACKED])
def test_a_bomb_is_refused_in_one_message(run, tmp_path, name):
    told = run(name, ROW * 400_000)
    assert f"{name} unpacks to more than 100 times its size" in str(told), told
    large = [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > 1 << 20]
    assert large == [], "nothing has been unpacked"


def test_a_file_in_an_archive_is_not_fetched_out_of_a_bomb(run, tmp_path):
    told = run(
        "rows.zip",
        ROW * 400_000,
        "--trust_task_code=quiz.yaml",
        settings="{data_files: {test: 'zip://rows.jsonl::rows.zip'}}",
    )
    assert "rows.zip unpacks to more than 100 times its size" in str(told)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > 1 << 20]


def test_nor_is_a_bomb_that_is_in_an_ordinary_archive(run, tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.jsonl.gz", gzip.compress(ROW * 400_000))
    told = run(
        None,
        None,
        "--trust_task_code=quiz.yaml",
        settings="{data_files: {test: 'zip://rows.jsonl.gz::rows.zip'}}",
    )
    assert "unpacks to more than 100 times its size" in str(told)


def test_nor_is_one_that_would_be_streamed(run, tmp_path):
    told = run(
        "rows.jsonl.gz", ROW * 400_000, settings="{data_files: {test: rows.jsonl.gz}, streaming: true}"
    )
    assert "unpacks to more than 100 times its size" in str(told)


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.bz2", "rows.jsonl.xz", "rows.zip"])
def test_ordinary_rows_are_read(run, name):
    assert run(name, ROW * 3) == 0


@pytest.mark.parametrize("name", [*PACKED])
def test_a_damaged_file_is_a_message(tmp_path, monkeypatch, name):
    monkeypatch.setattr(bounds, "FREE", 1 << 12)
    (tmp_path / name).write_bytes(PACKED[name](ROW * 400_000)[:-30])
    try:
        check_unpacked(tmp_path / name)
    except DataError as error:
        assert str(tmp_path / name) in str(error)


def test_what_cannot_be_measured_is_refused(tmp_path):
    (tmp_path / "rows.rar").write_bytes(b"Rar!\x1a\x07\x01\x00" + b"0" * 99)
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match="is packed with rar"):
        check_unpacked(tmp_path / "rows.rar")
