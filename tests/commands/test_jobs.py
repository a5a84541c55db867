"""``gptalt-eval new slurm`` and ``new kuberay``: scripts that only name what there is, and that continue."""

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gptalt_eval.commands.cli import gather_commands, main, make_parser
from gptalt_eval.contract.faults import find_faults
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.contract.spec import read_argv
from gptalt_eval.testing import make_plugin_set

#: fields of a RayJob and of what it contains: docs.ray.io/en/master/kuberay/references/api.html, of KubeRay 1.7.1
RAY_JOB = {
    "entrypoint",
    "backoffLimit",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "rayClusterSpec",
}
RAY_CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


@pytest.fixture
def write(tmp_path, monkeypatch, capsys):
    """Writes a job into the current folder; returns its file, and what was printed."""
    monkeypatch.chdir(tmp_path)

    def write_it(kind, name="survey"):
        assert main(["new", kind, name]) == 0
        said = capsys.readouterr().out
        [file] = tmp_path.glob(f"{name}.*")
        return file, said

    return write_it


def check_command(words):
    """Every flag exists, and the request has no fault."""
    parser = make_parser(gather_commands(make_plugin_set()), make_plugin_set())
    words = words[1:]
    namespace = parser.parse_args(["run", *words] if words[0].startswith("-") else words)
    if namespace.chosen.name == "run":
        assert find_faults(read_argv(namespace)) == []
    return namespace


def test_the_commands_of_a_slurm_job(write):
    file, said = write("slurm")
    assert f"sbatch {file.name}" in said
    text = file.read_text(encoding="utf-8")
    begin = re.search(r"run=\(\n(.*?)\)", text, re.S)[1]
    again = re.search(r"run=\((gptalt-eval resume .*)\)", text)[1]
    for words in (shlex.split(begin), shlex.split(again)):
        assert check_command([*words, "--cluster", "head:6379"]).cluster == "head:6379"


def test_a_slurm_job_is_sound_bash(write):
    file, _ = write("slurm")
    subprocess.run(["bash", "-n", file], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", file], check=True)


def test_the_fields_of_a_kuberay_job(write):
    file, said = write("kuberay")
    assert f"kubectl apply -f {file.name}" in said
    job = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"], job["metadata"]) == ("ray.io/v1", "RayJob", {"name": "survey"})
    assert job["spec"].keys() == RAY_JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster.keys() == RAY_CLUSTER
    assert cluster["authOptions"] == {"mode": "token"}
    [group] = cluster["workerGroupSpecs"]
    assert group.keys() == WORKER_GROUP
    pods = [cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]]
    for pod in pods:
        [container] = pod["containers"]
        assert container["volumeMounts"] == [{"name": "survey", "mountPath": "/survey"}]
        assert pod["volumes"] == [{"name": "survey", "persistentVolumeClaim": {"claimName": "survey"}}]
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (pod is pods[1])
        assert container["image"] == pods[0]["containers"][0]["image"]
    assert all(isinstance(value, str) for value in cluster["headGroupSpec"]["rayStartParams"].values())


def test_the_version_of_ray_is_the_one_that_is_pinned(write):
    job = yaml.safe_load(write("kuberay")[0].read_text(encoding="utf-8"))
    pins = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']}\n" in pins


def test_the_commands_of_a_kuberay_job(write):
    job = yaml.safe_load(write("kuberay")[0].read_text(encoding="utf-8"))
    shell, flag, script = shlex.split(job["spec"]["entrypoint"])
    assert (shell, flag) == ("bash", "-c")
    subprocess.run(["bash", "-n", "-c", script], check=True)
    commands = re.findall(r"gptalt-eval .*?(?=;)", script)
    assert len(commands) == 2
    for command in commands:
        spec = check_command(shlex.split(command))
        assert (spec.cluster, spec.gpus_per_worker) == ("auto", "1")  # it waits for computers with GPUs


@pytest.mark.parametrize(("name", "near"), [("Survey 2", "survey-2"), ("a_b", "a-b"), ("-", "my-slurm")])
def test_a_name_that_kubernetes_refuses(tmp_path, monkeypatch, capsys, name, near):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "slurm", name]) == 2
    assert f"gptalt-eval new slurm {near}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(write, capsys):
    file, _ = write("slurm")
    file.write_text("mine", encoding="utf-8")
    assert main(["new", "slurm", "survey"]) == 2
    assert "already exists" in capsys.readouterr().err and file.read_text(encoding="utf-8") == "mine"


SRUN = """#!/bin/bash
setsid "$@" &
echo $! > "$STAND_IN/step"
wait $!
"""
#: a requeued job's processes are killed
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; exit; fi
echo "$@" >> "$STAND_IN/requeued"
kill -KILL -- "-$(cat "$STAND_IN/step")"
"""


@pytest.mark.ray
@pytest.mark.torch
@pytest.mark.xdist_group("ray")
def test_a_slurm_job_continues_after_it_was_requeued(write, tmp_path):
    """The script itself, with Ray itself; only Slurm's commands are stood in for."""
    if importlib.util.find_spec("ray") is None:  # which reads its environment once, when it is imported
        pytest.skip("ray is not installed")
    import tiny

    tiny.save_model("llama", tmp_path / "model-a")
    tiny.save_model("gpt_neox", tmp_path / "model-b")
    file, _ = write("slurm")
    text = file.read_text(encoding="utf-8")
    text = text.replace("mmlu,arc_challenge", "piqa,arc_easy").replace("0,5", "0")
    text = text.replace('"$HOME/benchmarks"', "sample --device cpu --model_args max_length=1024")
    file.write_text(text, encoding="utf-8")
    stand_in = tmp_path / "stand-in"
    stand_in.mkdir()
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL)):
        (stand_in / name).write_text(content, encoding="utf-8")
        (stand_in / name).chmod(0o755)
    number = 1000 + os.getpid() % 9000
    environ = {
        **os.environ, "PATH": os.pathsep.join([str(stand_in), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "STAND_IN": str(stand_in), "SLURM_JOB_ID": str(number), "SLURM_JOB_NODELIST": "127.0.0.1",
        "SLURM_JOB_NUM_NODES": "1", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "HOME": str(tmp_path),
    }  # fmt: skip
    log = tmp_path / "log"

    def start():
        with log.open("ab") as out:
            return subprocess.Popen(["bash", file.name], cwd=tmp_path, env=environ, stdout=out, stderr=out)

    first = start()
    try:
        until = time.monotonic() + 90
        while (
            not list(tmp_path.glob("survey/*/run.json")) and time.monotonic() < until and first.poll() is None
        ):
            time.sleep(0.2)
        first.send_signal(signal.SIGUSR1)  # the time is nearly over
        first.wait(60)
        assert (stand_in / "requeued").read_text(encoding="utf-8") == f"requeue {number}\n"
        second = start()
        assert second.wait(200) == 0, log.read_text(encoding="utf-8")[-3000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((stand_in / "step").read_text(encoding="utf-8")), signal.SIGKILL)
    assert not Path(f"/tmp/ray-{number}").exists()
    records = [load_record(folder) for folder in find_runs(tmp_path / "survey")]
    assert [record.run.status for record in records] == ["complete", "complete"]
    assert all(record.run.workers for record in records)
    assert not list(tmp_path.glob(".survey-*.token"))
