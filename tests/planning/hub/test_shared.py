"""Caches of Hugging Face that other users can change: their code is not run, and results say what is from them."""

import grp
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hub_server import COMMIT

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.machine import hub as places
from gptalt_eval.machine import storage
from gptalt_eval.planning.hub.obtain import obtain_files
from gptalt_eval.planning.hub.sources import Source
from gptalt_eval.planning.shared import check_modules, explain_shared, find_code_faults

HF = Model("hf", "", "", "")
TINY = Source("pretrained", "org/tiny")
ROWS = [SimpleNamespace(name=name, data=SimpleNamespace(origin="hub")) for name in ("piqa", "sciq")]
pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows keeps users' folders apart itself")


@pytest.fixture
def kept(model, shown, tmp_path):
    """The model in the client's cache, with its code."""
    obtain_files(HF, {"pretrained": "org/tiny", "trust_remote_code": True}, shown.say, shown.note)
    for folder in (tmp_path / "hf").rglob("*"):
        folder.chmod(0o755)
    shown.notes.clear()
    return tmp_path / "hf"


def list_faults(*sources):
    return [str(fault) for fault in find_code_faults(sources)]


def test_a_cache_of_one_s_own_is_used_without_a_word(kept):
    assert list_faults(TINY) == []
    assert [*explain_shared([TINY], ROWS)] == []


@pytest.mark.parametrize("place", ["hub", "hub/models--org--tiny", "hub/models--org--tiny/blobs", f"hub/models--org--tiny/snapshots/{COMMIT}", "."])  # fmt: skip
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_code_that_others_can_change_is_not_run(kept, place, mode):
    (kept / place).chmod(mode)
    faults = list_faults(TINY)
    assert any("from which the code of 'org/tiny' would be loaded" in fault for fault in faults)
    assert any(str(kept / place) in fault and "export HF_HUB_CACHE=FOLDER" in fault for fault in faults)
    assert "where 'org/tiny' is kept" in next(iter(explain_shared([TINY], [])))


def test_one_file_of_code_is_enough(kept):
    (code,) = kept.rglob("modeling_tiny.py")
    code.resolve().chmod(0o666)
    assert "modeling_tiny.py" in list_faults(TINY)[0] or code.resolve().name in list_faults(TINY)[0]


def test_code_that_is_still_to_be_downloaded_into_such_a_cache_is_not_run(kept):
    shutil.rmtree(kept / "hub" / "models--org--tiny")
    (kept / "hub").chmod(0o777)
    assert "export HF_HUB_CACHE=FOLDER" in list_faults(TINY)[0]


def test_a_cache_of_another_user_is_found(kept):
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(kept / "hub", 4711, -1)
    assert str(kept / "hub") in list_faults(TINY)[0]


@pytest.mark.parametrize("variable", ["HF_MODULES_CACHE", "HF_HOME"])
def test_modules_that_others_can_change_are_not_loaded(kept, monkeypatch, tmp_path, variable):
    folder = tmp_path / "lab"
    (folder / "modules").mkdir(parents=True)
    folder.chmod(0o777)
    monkeypatch.setenv(variable, str(folder))
    with pytest.raises(
        GptaltError, match=f"Other users can write to {folder}, from which Python code"
    ) as caught:
        check_modules()
    assert caught.value.hint == "Type: export HF_MODULES_CACHE=FOLDER, with a folder of your own"
    (tmp_path / "mine").mkdir(mode=0o700)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "mine"))
    check_modules()


def test_other_backends_are_held_to_it_too(kept, monkeypatch, tmp_path):
    from gptalt_eval.contract.spec import RunSpec
    from gptalt_eval.planning.weights import find_model_faults

    monkeypatch.setattr("gptalt_eval.planning.weights.check_backend", lambda *given: iter(()))
    (kept / "hub").chmod(0o777)
    vllm = Model("vllm", "", "", "", backend="vllm")
    asked = RunSpec(model="vllm", model_args={"pretrained": "org/tiny"}, trust_remote_code=True)
    told = [str(fault) for fault in find_model_faults(vllm, asked, [])]
    assert any("from which the code of 'org/tiny' would be loaded" in fault for fault in told)


def test_a_metric_is_not_loaded_from_such_modules(kept, monkeypatch, tmp_path):
    loading = pytest.importorskip("evaluate.loading")
    from gptalt_eval.running.lmeval.guards import refuse_metrics

    (tmp_path / "lab").mkdir()
    (tmp_path / "lab").chmod(0o777)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "lab"))
    with refuse_metrics({}), pytest.raises(GptaltError, match="from which Python code would be loaded"):
        loading.load("exact_match")


@pytest.mark.parametrize("variable", ["HF_DATASETS_CACHE", "HF_HOME", "HF_HUB_CACHE"])
def test_results_say_which_rows_are_from_such_a_cache(kept, monkeypatch, tmp_path, variable):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab").chmod(0o777)
    monkeypatch.setenv(variable, str(tmp_path / "lab"))
    told = [*explain_shared([], ROWS)]
    assert told == [
        f"Other users can write to {tmp_path / 'lab'}: the rows of piqa, sciq may not be the published ones."
    ]
    own = [SimpleNamespace(name="own", data=SimpleNamespace(origin="folder"))]
    assert [*explain_shared([], own)] == []


# ---------------------------------------------------------------------- hashes


def exchange(kept):
    """What another user puts in place of the weights: all fits together, but they are not the hub's."""
    import hashlib

    (weights,) = kept.rglob("model-00001-of-00002.safetensors")
    content = weights.read_bytes()[:-1] + b"!"
    other = weights.resolve().with_name(hashlib.sha256(content).hexdigest())
    other.write_bytes(content)
    weights.unlink()
    weights.symlink_to(other)
    return weights


def test_exchanged_weights_are_noticed_if_the_hub_can_be_asked(kept, shown):
    weights = exchange(kept)
    (kept / "hub").chmod(0o777)
    with pytest.raises(GptaltError, match=f"{weights.name} of 'org/tiny' is damaged"):
        obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note)


def test_without_the_hub_they_are_used_and_the_results_say_so(kept, shown, monkeypatch):
    exchange(kept)
    (kept / "hub").chmod(0o777)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note).args
    assert "hub's hashes only if the hub could be reached" in next(iter(explain_shared([TINY], [])))


def test_a_file_that_was_checked_is_checked_again_once_it_was_written(kept, shown):
    """Size and time of change can be set as they were; the time at which the system saw it cannot."""
    (weights,) = kept.rglob("model-00001-of-00002.safetensors")
    state = weights.stat()
    with weights.resolve().open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert weights.stat().st_mtime_ns == state.st_mtime_ns
    with pytest.raises(GptaltError, match="is damaged"):
        obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note)


# ---------------------------------------------------------------------- groups


@pytest.mark.parametrize(
    ("name", "members", "found"),
    [("ann", [], None), ("ann", ["ann"], None), ("ann", ["ann", "ben"], True), ("lab", [], True)],
)
def test_a_group_of_the_user_alone_is_nobody_else(tmp_path, monkeypatch, name, members, found):
    """Many systems give each user a group, and make what they write writable by it."""
    import pwd

    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o775)
    group = (tmp_path / "cache").stat().st_gid
    monkeypatch.setattr(pwd, "getpwuid", lambda user: SimpleNamespace(pw_name="ann", pw_gid=group))
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name=name, gr_mem=members))
    shared = storage.find_shared(tmp_path / "cache", tmp_path / "cache")
    assert shared == (tmp_path / "cache" if found else None)
    (tmp_path / "cache").chmod(0o777)
    assert storage.find_shared(tmp_path / "cache", tmp_path / "cache"), "all others can write"


VARIABLES = (
    "HF_HOME",
    "HF_DATASETS_CACHE",
    "HF_MODULES_CACHE",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
)
ASK = """
from huggingface_hub import constants
from datasets import config
from gptalt_eval.machine import hub
print(constants.HF_HUB_CACHE, config.HF_DATASETS_CACHE, config.HF_MODULES_CACHE, sep="|")
print(hub.find_hub_cache(), hub.find_datasets_cache(), hub.find_modules(), sep="|")
"""


@pytest.mark.parametrize("variable", VARIABLES)
def test_we_look_where_the_libraries_look(tmp_path, variable):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment[variable] = str(tmp_path / "elsewhere")
    command = [sys.executable, "-c", ASK]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    theirs, ours = said.splitlines()
    assert theirs == ours and "elsewhere" in ours


def test_where_the_libraries_look(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert (
        places.find_datasets_cache() == tmp_path / "datasets"
        and places.find_modules() == tmp_path / "modules"
    )
    monkeypatch.setenv("HF_DATASETS_CACHE", "/d")
    monkeypatch.setenv("HF_MODULES_CACHE", "/m")
    assert (str(places.find_datasets_cache()), str(places.find_modules())) == ("/d", "/m")
