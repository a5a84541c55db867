"""What is installed: a distribution's files as one SHA-256."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
from collections.abc import Iterator
from importlib.metadata import Distribution, PackagePath
from pathlib import Path

from gptalt_eval.machine.storage import hash_file, hash_text

BYTECODE = "__pycache__"
ENTRY_POINTS = "entry_points.txt"


def hash_installation(distribution: Distribution, module: str, trusts_record: bool = False) -> str:
    """SHA-256 of the names and contents of a distribution's files.

    They are the files that it lists and those of the package that is imported, wherever it is: an editable
    installation has the hash of a wheel with the same files. Bytecode and the installer's notes do not count.

    Args:
        distribution: the distribution.
        module: the module that is imported from it.
        trusts_record: whether the hashes that it lists are taken as they are, for packages of gigabytes.
    """
    hashes = dict(hash_listed(distribution, trusts_record))
    if not trusts_record or not any(name.startswith(f"{module}/") for name in hashes):
        hashes.update((name, hash_content(file)) for name, file in find_sources(module))
    return hash_text("".join(f"{name} {hashes[name]}\n" for name in sorted(hashes)))


def hash_listed(distribution: Distribution, trusts_record: bool) -> Iterator[tuple[str, str]]:
    """(name, SHA-256) of each file that a distribution lists; of an editable one, only its entry points."""
    is_linked = is_editable(distribution)
    for path in distribution.files or ():
        if not counts(path) or (is_linked and path.name != ENTRY_POINTS):
            continue
        digest = read_digest(path) if trusts_record else ""
        yield path.as_posix(), digest or hash_content(Path(str(path.locate())))


def counts(path: PackagePath) -> bool:
    """Whether a listed file is content: programs of the environment and metadata depend on the installer."""
    if BYTECODE in path.parts or ".." in path.parts or path.is_absolute():
        return False
    return path.name == ENTRY_POINTS or not path.parts[0].endswith((".dist-info", ".egg-info"))


def read_digest(path: PackagePath) -> str:
    """The SHA-256 that RECORD has of a file, in hexadecimal digits; empty: it has another or none."""
    if path.hash is None or path.hash.mode != "sha256":
        return ""
    padded = path.hash.value + "=" * (-len(path.hash.value) % 4)
    return base64.urlsafe_b64decode(padded).hex()


def is_editable(distribution: Distribution) -> bool:
    with contextlib.suppress(ValueError, AttributeError):
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    return False


def find_sources(module: str) -> Iterator[tuple[str, Path]]:
    """(name, file) of everything in the package that a module belongs to, without namespaces around it."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except (ImportError, ValueError):
            return
        if spec is None:
            return
        if not spec.has_location or spec.origin is None:  # a namespace, in which others have packages too
            continue
        file = Path(spec.origin)
        if not spec.submodule_search_locations:
            yield "/".join([*parts[: end - 1], file.name]), file
            return
        for inner in file.parent.rglob("*"):
            if inner.is_file() and BYTECODE not in inner.parts:
                yield "/".join([*parts[:end], *inner.relative_to(file.parent).parts]), inner
        return


def hash_content(file: Path) -> str:
    try:
        return hash_file(file)
    except OSError as error:  # listed, but deleted since
        return f"({type(error).__name__})"
