"""A Ray cluster on this computer that only this computer reaches, and that writes to a folder of its own."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest


def make_surroundings(folder):
    """The environment in which Ray is imported and started."""
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    home = folder / "home"
    home.mkdir()
    return {
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on 127.0.0.1 only
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }


class RayCluster:
    """Nodes of one CPU each."""

    def __init__(self, folder, count):
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster = Cluster()
        self.nodes = [self.add_node() for _ in range(count)]

    @property
    def address(self):
        return self.cluster.address

    def add_node(self, gpus=0):
        """Start a node; its GPUs exist for Ray only."""
        settings = {} if self.cluster.head_node else {"include_dashboard": False}
        return self.cluster.add_node(num_cpus=1, num_gpus=gpus, object_store_memory=80 << 20, **settings)

    def kill_node(self, node_id):
        """Kill a node with all that runs there, as when a computer is taken away."""
        [node] = [node for node in self.nodes if node.node_id == node_id]
        self.nodes.remove(node)
        raylet = node.all_processes["raylet"][0].process.pid
        for process in [*psutil.Process(raylet).children(recursive=True), psutil.Process(raylet)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def list_processes(self):
        """What belongs to the cluster, by the folder that they all name in their words or environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                named = [*process.cmdline(), process.environ().get("RAY_TMPDIR", "")]
                if process.pid != os.getpid() and any(str(self.folder) in each for each in named):
                    found.append(process)
        return found


@contextlib.contextmanager
def open_cluster(count=5):
    """Start a cluster, with this process in its surroundings; at the end nothing of it is left."""
    if importlib.util.find_spec("ray") is None:  # it reads its environment once, when it is imported
        pytest.skip("ray is not installed")
    folder = Path(
        tempfile.mkdtemp(prefix="ray", dir="/tmp")
    )  # a socket's name is at most 107 characters long
    with pytest.MonkeyPatch.context() as patch:
        for name, value in make_surroundings(folder).items():
            patch.setenv(name, value)
        cluster = RayCluster(folder, count)
        try:
            yield cluster
        finally:
            cluster.cluster.shutdown()
            until = time.monotonic() + 20
            while (left := cluster.list_processes()) and time.monotonic() < until:
                time.sleep(0.1)
            for process in left:
                process.kill()
            shutil.rmtree(folder)
            assert not left
