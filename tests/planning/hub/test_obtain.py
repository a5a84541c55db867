"""From a repository to a folder: with the real client, against a hub on this computer."""

import hashlib
import json
import os
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from hub_server import COMMIT, Hub, Repo
from model_folders import write_model, write_safetensors

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.machine.hub import find_snapshot, find_storage
from gptalt_eval.planning.hub.obtain import obtain_files

HF = Model("hf", "", "", "")
FIRST = "model-00001-of-00002.safetensors"


def obtain(shown, **args):
    return obtain_files(HF, {"pretrained": "org/tiny", **args}, shown.say, shown.note)


def refuse(shown, **args):
    with pytest.raises(GptaltError) as caught:
        obtain(shown, **args)
    return str(caught.value)


def test_a_model_is_downloaded_with_its_tokenizer_and_one_format_of_weights(model, shown):
    found = obtain(shown)
    folder = find_snapshot("org/tiny")
    assert found.args == {"pretrained": str(folder)} and found.commits == {"pretrained": f"org/tiny@{COMMIT}"}
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert kept == {
        name: content
        for name, content in model.files.items()
        if name not in ("modeling_tiny.py", "pytorch_model.bin", "README.md")
    }
    [note] = shown.notes
    assert f"GB of 'org/tiny' ({COMMIT[:12]}) are downloaded" in note and "Licence: not stated." in note
    assert any(step.startswith("Downloading org/tiny, 0.00 of 0.00 GB") for step in shown.steps)


def test_a_complete_copy_is_used_without_asking(model, hub, shown, monkeypatch):
    obtain(shown)
    hub.asked.clear()
    assert obtain(shown).commits == {"pretrained": f"org/tiny@{COMMIT}"} and hub.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert obtain(shown).args


def test_code_comes_only_with_consent(model, shown):
    model.files["config.json"] = json.dumps({"auto_map": {"AutoModel": "modeling_tiny.Tiny"}}).encode()
    folder = find_storage("org/tiny") / "snapshots" / COMMIT
    obtain(shown)
    assert not (folder / "modeling_tiny.py").exists()
    obtain(shown, trust_remote_code=True)
    assert (folder / "modeling_tiny.py").read_bytes() == b"boom()"


def test_a_download_that_is_cut_off_goes_on_where_it_ended(model, hub, shown):
    hub.cut[FIRST] = [30, 40]
    obtain(shown)
    assert hub.ranges(FIRST) == [None, "bytes=30-", "bytes=70-"]
    assert (find_snapshot("org/tiny") / FIRST).read_bytes() == model.files[FIRST]


def test_after_ctrl_c_the_same_command_goes_on(model, hub, shown, monkeypatch):
    hub.cut[FIRST] = [30]

    def stop(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            "gptalt_eval.planning.hub.download.time", SimpleNamespace(sleep=stop, monotonic=time.monotonic)
        )
        with pytest.raises(KeyboardInterrupt):
            obtain(shown)
    part = find_storage("org/tiny") / "blobs" / f"{hashlib.sha256(model.files[FIRST]).hexdigest()}.incomplete"
    assert part.read_bytes() == model.files[FIRST][:30]
    obtain(shown)
    assert hub.ranges(FIRST) == [None, "bytes=30-"] and not part.exists()
    assert (find_snapshot("org/tiny") / FIRST).read_bytes() == model.files[FIRST]


def test_a_server_that_begins_again_and_a_part_that_is_too_long(model, hub, shown):
    blobs = find_storage("org/tiny") / "blobs"
    blobs.mkdir(parents=True)
    part = blobs / f"{hashlib.sha256(model.files[FIRST]).hexdigest()}.incomplete"
    part.write_bytes(b"x" * 5000)
    hub.cut[FIRST] = [30]
    hub.ignores_ranges = True
    obtain(shown)
    assert (find_snapshot("org/tiny") / FIRST).read_bytes() == model.files[FIRST]
    assert hub.ranges(FIRST) == [None, "bytes=30-"]


@pytest.mark.parametrize("name", [FIRST, "tokenizer.json", "config.json"])
def test_a_file_with_another_hash_is_named_removed_and_never_used(model, hub, shown, name):
    model.lies[name] = bytes([model.files[name][0] ^ 1]) + model.files[name][1:]
    text = refuse(shown)
    assert text.startswith(f"{name} of 'org/tiny' is damaged") and "It has been removed." in text
    assert not list(find_storage("org/tiny").glob(f"snapshots/*/{name}"))
    wrong = model.lies.pop(name)
    assert all(path.read_bytes() != wrong for path in find_storage("org/tiny").rglob("*") if path.is_file())
    obtain(shown)
    assert (find_snapshot("org/tiny") / name).read_bytes() == model.files[name]


def test_a_part_that_was_changed_is_noticed(model, shown):
    blobs = find_storage("org/tiny") / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(model.files[FIRST]).hexdigest()}.incomplete").write_bytes(b"another model's")
    assert "is damaged" in refuse(shown)
    obtain(shown)


def test_what_others_put_into_the_cache_is_checked_once(model, shown, monkeypatch):
    import huggingface_hub

    folder = huggingface_hub.snapshot_download(
        "org/tiny", endpoint=os.environ["HF_ENDPOINT"], cache_dir=find_storage("x").parent
    )
    obtain(shown)
    read = [step for step in shown.steps if step.startswith("Checking org/tiny: ")]
    assert f"Checking org/tiny: {FIRST}" in read
    shown.steps.clear()
    obtain(shown)
    assert shown.steps == []
    blob = (find_snapshot("org/tiny") / FIRST).resolve()
    blob.write_bytes(bytes(len(blob.read_bytes())))
    assert f"{FIRST} of 'org/tiny' is damaged" in refuse(shown)
    assert not blob.exists() and folder


def test_what_is_missing_is_added(model, hub, shown, monkeypatch):
    obtain(shown)
    (find_snapshot("org/tiny") / FIRST).unlink()
    (find_snapshot("org/tiny") / "tokenizer.json").resolve().unlink()
    (find_snapshot("org/tiny") / "tokenizer.json").unlink()
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refuse(shown)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    obtain(shown)
    assert [path for path in hub.paths("GET") if "resolve" in path] == [
        f"/org/tiny/resolve/{COMMIT}/tokenizer.json"
    ]


def test_tokenizer_adapter_and_delta_are_repositories_too(model, hub, shown, tmp_path):
    small = {name: content for name, content in model.files.items() if not name.endswith(".safetensors")}
    hub.repos["org/words"] = Repo({**small, "model.safetensors": b"not asked for"})
    write_safetensors(tmp_path / "adapter_model.safetensors")
    weights = (tmp_path / "adapter_model.safetensors").read_bytes()
    hub.repos["org/adapter"] = Repo({"adapter_config.json": b"{}", "adapter_model.safetensors": weights})
    hub.repos["org/delta"] = Repo(model.files)
    found = obtain(shown, tokenizer="org/words", peft="org/adapter", delta="org/delta")
    assert set(found.args) == {"pretrained", "tokenizer", "peft", "delta"}
    assert found.commits["peft"] == f"org/adapter@{COMMIT}"
    assert not [path for path in hub.paths("GET") if path.startswith("/org/words/") and "safetensors" in path]


def test_a_revision_is_resolved_and_remembered(model, hub, shown):
    model.revisions = ("main", "v2.1")
    assert obtain(shown, revision="v2.1").commits == {"pretrained": f"org/tiny@{COMMIT}"}
    assert find_snapshot("org/tiny", "v2.1").name == COMMIT and find_snapshot("org/tiny") is None
    assert obtain(shown, revision=COMMIT).commits == {"pretrained": f"org/tiny@{COMMIT}"}
    text = refuse(shown, revision="v3")
    assert "The model 'org/tiny' has no revision 'v3'." in text and "/org/tiny/tree/main" in text
    for wrong in ("../x", "a//b", "..", "a/../../b"):
        assert "no revision can have this name" in refuse(shown, revision=wrong)


@pytest.mark.parametrize("path", ["a\\..\\x.json", "x\n.json", "additional_chat_templates/../../x.jinja"])
def test_a_name_that_leads_elsewhere_is_refused(model, hub, shown, path):
    model.files[path] = b"{}"
    assert "would be written elsewhere" in refuse(shown)
    assert not [asked for asked in hub.paths() if "resolve" in asked]


def test_files_in_folders_are_not_asked_for(model, hub, shown, tmp_path):
    for path in ("../../x.json", "/etc/x.json", "onnx/config.json"):
        model.files[path] = b"{}"
    obtain(shown)
    assert not list(tmp_path.glob("**/x.json")) and not [path for path in hub.paths() if "onnx" in path]


def test_a_commit_that_is_none_is_refused(model, hub, shown):
    model.info = {"sha": "../../../evil"}
    text = refuse(shown)
    assert "gives no commit" in text and "HF_ENDPOINT" in text


def test_a_folder_on_this_computer_is_left_alone(hub, shown, tmp_path):
    folder = str(write_model(tmp_path / "m"))
    assert obtain(shown, pretrained=folder, tokenizer=folder).args == {} and hub.asked == []


@pytest.mark.parametrize("given", [{}, {"token": "hf_given_as_an_argument"}])
def test_the_token_goes_to_the_hub_or_its_mirror(model, hub, shown, monkeypatch, given):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    obtain(shown, **given)
    sent = {headers.get("authorization") for _, _, headers in hub.asked}
    assert hub.asked and sent == {f"Bearer {given.get('token', 'hf_of_the_environment')}"}


def test_the_token_is_not_sent_if_the_user_forbids_it(model, hub, shown, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    obtain(shown)
    assert hub.asked and {headers.get("authorization") for _, _, headers in hub.asked} == {None}


def test_the_token_is_not_sent_on_to_where_the_hub_sends_us(model, hub, shown, monkeypatch):
    """Large files are often on another host."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    with closing(Hub()) as other:
        other.repos["org/tiny"] = model
        path = f"/org/tiny/resolve/{COMMIT}/{FIRST}"
        hub.answers[("GET", FIRST)] = [(302, {"Location": other.url + path})]
        obtain(shown)
        asked = [headers.get("authorization") for method, path, headers in other.asked]
    assert asked and set(asked) == {None}
