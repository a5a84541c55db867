"""``--model OWNER/NAME`` as its users type it: the program in a process of its own, the hub on this computer."""

import json
import os
import subprocess
import sys

import pytest
import tiny
from hub_server import COMMIT, Hub, Repo

pytestmark = pytest.mark.torch
TOKEN = "hf_secretsecretsecretsecret"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tiny.save_model("llama", tmp_path_factory.mktemp("made"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(files):
    server = Hub()
    server.repos["org/tiny"] = Repo(files, info={"cardData": {"license": "apache-2.0"}})
    yield server
    server.close()


@pytest.fixture
def run(hub, tmp_path):
    """Runs the program on two questions; returns its exit code and all that it printed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "TRANSFORMERS_", "MODELSCOPE_"))
        and not name.lower().endswith("_proxy")
    }
    own = {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "GPTALT_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run_program(name="org/tiny", out="out", **more):
        words = [
            "--model",
            name,
            "--tasks",
            "piqa",
            "--data_dir",
            "sample",
            "--limit",
            "2",
            "--device",
            "cpu",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "gptalt_eval", *words, "--output_path", str(tmp_path / out)],
            env=kept | own | more, capture_output=True, text=True, timeout=120, cwd=tmp_path,
        )  # fmt: skip
        assert "Traceback" not in done.stderr and TOKEN not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    return run_program


def test_a_model_is_fetched_from_a_mirror_asked_and_found_again_without_it(hub, run, files, tmp_path):
    hub.cut[WEIGHTS] = [100]
    hub.answers["GET", f"resolve.*/{WEIGHTS}"] = [(429, {"Retry-After": "1"})]
    code, said = run(TTY_COMPATIBLE="1", TTY_INTERACTIVE="1", COLUMNS="120")  # rich shows progress then
    assert code == 0, said
    assert f"GB of 'org/tiny' ({COMMIT[:12]}) are downloaded" in said and "Licence: apache-2.0." in said
    assert "the hub was asked too often; going on in 1 s" in said
    assert "the connection broke off; going on in" in said
    assert hub.ranges(WEIGHTS) == [None, None, "bytes=100-"]
    [record] = (tmp_path / "out").rglob("run.json")
    assert json.loads(record.read_text())["model"]["commits"] == {"pretrained": f"org/tiny@{COMMIT}"}
    assert TOKEN not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "out").rglob("*.json")
    )
    hub.asked.clear()
    code, again = run(out="again", HF_HUB_OFFLINE="1")
    assert code == 0 and hub.asked == [], again
    [first], [second] = ((tmp_path / out).rglob("results*.json") for out in ("out", "again"))
    results = [json.loads(path.read_text())["results"] for path in (first, second)]
    assert results[0] == results[1]
    code, said = run("org/tinny")  # nothing but a list of names is asked for
    assert code != 0 and "'org/tinny' is not on the hub (127.0.0.1)" in said
    assert "Did you mean 'org/tiny', which is here?" in said


def test_other_bytes_than_the_hub_has_are_never_loaded(hub, run, files, tmp_path):
    repo = hub.repos["org/tiny"]
    repo.lies[WEIGHTS] = files[WEIGHTS][:-1] + bytes([files[WEIGHTS][-1] ^ 1])
    code, said = run()
    assert code != 0 and f"{WEIGHTS} of 'org/tiny' is damaged" in said
    assert not list((tmp_path / "hf").rglob(WEIGHTS))
    assert not list((tmp_path / "out").rglob("results*.json"))


def test_a_gated_model_is_refused_before_anything_is_fetched(hub, run):
    hub.repos["org/tiny"].gated = True
    code, said = run()
    assert code != 0 and "'org/tiny' is gated" in said and f"Log in at {hub.url}/org/tiny" in said
    assert not [path for path in hub.paths("GET") if "resolve" in path]
