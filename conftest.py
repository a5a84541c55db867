"""For every test of this checkout, the core's and the plugins'. What authors of plugins use is in gptalt_eval/testing.py."""

from __future__ import annotations

import base64
import functools
import gc
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import settings
from packaging.version import Version

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one worker a core: torch's threads would fight over them

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

ROOT = Path(__file__).parent
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On lm-eval's pre-release, what ``tests/next.toml`` lists must fail; see ``make test-next``."""
    if Version(importlib.metadata.version("lm_eval")) < Version("0.5.0.dev0"):
        return
    import tomllib

    listed = tomllib.loads((ROOT / "tests" / "next.toml").read_text(encoding="utf-8"))["cannot"]
    for item in items:
        for entry in listed:
            if item.nodeid.startswith(tuple(entry["tests"])):
                item.add_marker(pytest.mark.xfail(reason=entry["reason"], strict=entry.get("strict", True)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A report with half characters, which hypothesis makes, would end the worker that sends it."""
    if report.failed:
        report.sections = [(name, make_sendable(text)) for name, text in report.sections]
        shown = str(report.longrepr)
        if make_sendable(shown) != shown:
            report.longrepr = make_sendable(shown)


def make_sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@pytest.fixture
def shared_data() -> Path:
    """Real release files, where this checkout has them beside it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/data with real release files is not beside the checkout")
    return folder


class Browser:
    """Headless Chromium with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self.command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
        ]  # fmt: skip

    def open(self, page: Path, size: str, scheme: str, what: str) -> str:
        """What it prints of a page (``--dump-dom``), or nothing (``--screenshot=FILE``)."""
        dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
        words = [*self.command, f"--window-size={size}", *dark, what, page.as_uri()]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout


def add_probe(page: str, script: str) -> str:
    """A page with one more script, which its policy allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'"
    if "script-src" in page:
        page = page.replace("script-src ", f"script-src {allowed} ", 1)
    else:
        page = page.replace("; base-uri", f"; script-src {allowed}; base-uri", 1)
    return page.replace("</body>", f"<script>{script}</script></body>")


@pytest.fixture
def probe() -> Callable[[str, str], str]:
    return add_probe


@pytest.fixture
def browser(tmp_path) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    return Browser(program, tmp_path / "profile")


@pytest.fixture(scope="module")
def chromium():
    """Chromium, driven by Playwright; not for a session, because its event loop would be in others' way."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def open_tab(chromium):
    """A function that opens a page's file in a tab; an error in the page's console fails the test."""
    contexts, errors = [], []

    def start(file: Path, width=1400, height=900, scheme="light", address="", **settings):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **settings
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.goto(file.as_uri() + (address and f"#{address}"))
        return tab

    yield start
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """The wheels of the core and of every plugin, by distribution; the workers of one run build them once."""
    from environments import build_wheels
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "wheels"
    with FileLock(shared / "wheels.lock"):
        if not folder.is_dir():
            build_wheels(folder)
    return {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in folder.glob("*.whl")}


@pytest.fixture
def plugins():
    """The core with the scripted model."""
    from gptalt_eval.testing import make_plugin_set, make_scripted_model

    return make_plugin_set(models=[make_scripted_model()])


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of our own."""
    monkeypatch.setenv("GPTALT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def no_ambient_settings(request, monkeypatch, tmp_path_factory):
    """Of what is installed, a plugin's tests load that plugin and the core's tests load nothing; no consents."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state" / uuid.uuid4().hex))
    for name in ("GPTALT_DATA", "LMEVAL_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    own = [part for part in request.path.parts if part.startswith("gptalt-eval-plugin-")]
    monkeypatch.setenv("GPTALT_EVAL_LOAD_PLUGINS", ",".join(own))


@functools.cache
def freeze_modules(hundreds: int) -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def frozen_modules():
    """Modules that were loaded (torch, lm-eval) are not searched whenever a run collects garbage."""
    freeze_modules(len(sys.modules) // 300)


@functools.cache
def read_shared_names():
    from gptalt_eval.planning.index import read_lm_eval_tasks

    return MappingProxyType(read_lm_eval_tasks())


@pytest.fixture(autouse=True)
def lm_eval_names(monkeypatch):
    """lm-eval's 14,000 names are read once; tests/planning/test_index.py tests how."""
    from gptalt_eval.planning.catalog import Catalog

    monkeypatch.setattr(Catalog, "lm_eval_tasks", property(lambda catalog: read_shared_names()))


@functools.cache
def fetch_smollm2() -> dict:
    from gptalt_eval.planning.smollm2 import fetch

    return dict(fetch())


@pytest.fixture
def smollm2() -> dict:
    """Arguments that load the real model; it is fetched once into the user's cache."""
    return fetch_smollm2()
