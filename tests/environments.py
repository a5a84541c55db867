"""Fresh virtual environments, for what is installed as users install it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "plugins" / "gptalt-eval-plugin-example"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
OFFLINE = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]


def build_wheels(folder: Path) -> None:
    """The core's wheel and every plugin's."""
    projects = [ROOT, *sorted((ROOT / "plugins").glob("gptalt-eval-plugin-*"))]
    words = [*PIP, "wheel", *OFFLINE, "--wheel-dir", str(folder), *map(str, projects)]
    subprocess.run(words, check=True, capture_output=True, text=True)


class FreshEnvironment:
    """A virtual environment with the dependencies of this one, and of gptalt-eval what is installed into it.

    Args:
        folder: where it is made.
        projects: installed at once, as by :meth:`install`.
    """

    def __init__(self, folder: Path, *projects: Path | str) -> None:
        venv.create(folder, with_pip=False)
        self.folder = folder
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.cache = folder / "cache"
        asked = [str(self.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        self.packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            # linked one by one, so that what this environment has of ours stays outside
            if "gptalt" not in entry.name.lower() and entry.suffix != ".pth":
                (self.packages / entry.name).symlink_to(entry)
        self.install(*projects)

    def install(self, *projects: Path | str) -> None:
        """Wheels, folders of projects, or ``-e`` before one."""
        words = [*PIP, "--python", str(self.python), "install", *OFFLINE, *map(str, projects)]
        subprocess.run(words, check=True, capture_output=True, text=True)

    def run(self, *arguments: str, cwd: Path, plugins: str | None = None) -> subprocess.CompletedProcess[str]:
        """Python with these arguments.

        Args:
            plugins: the allow-list; None: all that is installed.
        """
        names = ("GPTALT_DATA", "GPTALT_EVAL_LOAD_PLUGINS", "PYTHONPATH")
        environment = {key: value for key, value in os.environ.items() if key not in names}
        # what the program itself installs needs no network either
        pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environment |= {"GPTALT_CACHE": str(self.cache), "HF_HUB_OFFLINE": "1", **pip}
        if plugins is not None:
            environment["GPTALT_EVAL_LOAD_PLUGINS"] = plugins
        command = [str(self.python), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8"
        )

    def gptalt_eval(
        self, *arguments: str, cwd: Path, plugins: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.python.with_name("gptalt-eval")), *arguments, cwd=cwd, plugins=plugins)
