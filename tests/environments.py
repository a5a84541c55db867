"""Fresh virtual environments, for what is installed as users install it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "plugins" / "gptalt-eval-plugin-example"


class FreshEnvironment:
    """A virtual environment that sees this one's packages, and may have more of its own."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.cache = folder / "cache"
        asked = [str(self.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site_packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
        # addsitedir, not just the path: it reads this environment's own .pth files (an editable install) too
        ours = sysconfig.get_path("purelib")
        (site_packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")

    def install(self, *projects: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-index"]
        options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, *map(str, projects)], check=True, capture_output=True, text=True)

    def run(self, *arguments: str, cwd: Path, plugins: str | None = None) -> subprocess.CompletedProcess[str]:
        names = ("GPTALT_DATA", "GPTALT_EVAL_LOAD_PLUGINS", "PYTHONPATH")
        environment = {key: value for key, value in os.environ.items() if key not in names}
        environment |= {"GPTALT_CACHE": str(self.cache), "HF_HUB_OFFLINE": "1"}
        if plugins is not None:
            environment["GPTALT_EVAL_LOAD_PLUGINS"] = plugins
        command = [str(self.python), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8"
        )

    def gptalt_eval(
        self, *arguments: str, cwd: Path, plugins: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        program = "from gptalt_eval.commands.cli import main; raise SystemExit(main())"
        return self.run("-c", program, *arguments, cwd=cwd, plugins=plugins)
