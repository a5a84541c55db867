"""A lock file: the packages that a run may use, with their versions and the hashes of their files."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import read_json
from gptalt_eval.contract.run import RunPlugin
from gptalt_eval.contract.typed import build
from gptalt_eval.machine.installed import hash_installation
from gptalt_eval.machine.storage import write_atomically

FORMAT = 1
CORE = "gptalt_eval"
#: what computes prompts and answers; each module has the name of its distribution
LIBRARIES = ("lm_eval", "transformers", "torch", "datasets")


@dataclass(frozen=True)
class Locked:
    """One package: its version, and SHA-256 of its files."""

    version: str
    sha256: str


@dataclass(frozen=True)
class Lock:
    """The content of a lock file: the packages by the names of their distributions."""

    packages: Mapping[str, Locked]
    format: int = FORMAT


def describe_environment(plugins: Sequence[RunPlugin]) -> Lock:
    """What is installed and loaded now. Of the large libraries, the hashes that pip noted are taken.

    Args:
        plugins: the loaded plugins.
    """
    packages = {}
    for name in ("gptalt-eval", *LIBRARIES):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        is_core = name not in LIBRARIES
        digest = hash_installation(found, CORE if is_core else name, trusts_record=not is_core)
        packages[name] = Locked(found.version, digest)
    for plugin in plugins:
        packages[plugin.distribution or plugin.name] = Locked(plugin.version, plugin.sha256)
    return Lock(packages)


def write_lock(file: Path, plugins: Sequence[RunPlugin]) -> Lock:
    """Write a lock file; only another lock file is overwritten.

    Raises:
        GptaltError: the file is something else, or cannot be written.
    """
    if file.exists() or file.is_symlink():
        read_lock(file)
    lock = describe_environment(plugins)
    try:
        write_atomically(file, json.dumps(asdict(lock), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise GptaltError(f"{file} cannot be written: {error.strerror}.") from error
    return lock


def read_lock(file: Path) -> Lock:
    """The content of a lock file.

    Raises:
        GptaltError: there is none, or it is something else.
    """
    hint = f"Write one: gptalt-eval plugins lock {file}"
    if not file.exists():
        raise GptaltError(f"There is no lock file {file}.", hint)
    content = read_json(file, "Give a file that 'gptalt-eval plugins lock' wrote.")
    try:
        lock = build(Lock, content)
    except ValueError as error:
        raise GptaltError(f"{file} is not a lock file ({error}).", hint) from error
    if lock.format != FORMAT:
        raise GptaltError(f"{file} has format {lock.format}, but this version reads format {FORMAT}.", hint)
    return lock


def check_lock(file: Path, plugins: Sequence[RunPlugin]) -> None:
    """Check that what is installed and loaded is what a lock file says.

    Raises:
        GptaltError: it is not; names each difference.
    """
    differences = list(compare(read_lock(file).packages, describe_environment(plugins).packages))
    if differences:
        listed = "\n".join(f"  {text}" for text in differences)
        hint = f"Install what is locked, or accept what is installed: gptalt-eval plugins lock {file}"
        raise GptaltError(f"What is installed is not what {file} says:\n{listed}", hint)


def compare(locked: Mapping[str, Locked], found: Mapping[str, Locked]) -> Iterator[str]:
    for name in sorted({*locked, *found}):
        before, now = locked.get(name), found.get(name)
        if now is None:
            yield f"{name} {locked[name].version} is locked, but not installed or not loaded"
        elif before is None:
            yield f"{' '.join([name, *now.version.split()])} is loaded, but not locked"
        elif before.version != now.version:
            yield f"{name} is {now.version}, but {before.version} is locked"
        elif before.sha256 != now.sha256:
            yield f"{name} {now.version} has other files than those locked"
