"""A cache of converted release files, keyed by their content.

The key depends on the files' bytes, the code that reads them and this package's version, so that an entry
is never out of date. The folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from gptalt_eval.contract.types import Dataset
from gptalt_eval.machine.storage import (
    cache_dir,
    find_shared,
    hash_folder,
    make_cache,
    write_atomically,
)
from gptalt_eval.machine.temporary import temporary_folder

WORTH_KEEPING = 1 << 20  # bytes; smaller files are converted as fast as they are found in the cache
DIGESTS = "sha256.json"


def rows_dir() -> Path:
    return cache_dir() / "rows"


def make_key(dataset: Dataset, config: str | None, sha256: str) -> str:
    """The cache key of a split's rows.

    Args:
        dataset: the dataset whose reader converts the files.
        config: the configuration passed to the reader.
        sha256: of all files that the reader opens.
    """
    from gptalt_eval.machine.version import __version__

    reader = f"{dataset.read.__module__}.{getattr(dataset.read, '__qualname__', type(dataset.read).__name__)}"
    parts = [__version__, dataset.name, str(config), reader, hash_sources(dataset.read), sha256]
    return f"{dataset.name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def hash_sources(reader: Callable[..., Any]) -> str:
    """SHA-256 of the source files that define a reader and the functions in its closure."""
    digest = hashlib.sha256()
    for name in sorted(list_modules(reader)):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def list_modules(function: Any) -> set[str]:
    names = {getattr(function, "__module__", "") or ""}
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a cell that is still empty
            if isinstance(cell.cell_contents, FunctionType) and cell.cell_contents is not function:
                names |= list_modules(cell.cell_contents)
    return names


def find_count(key: str) -> int | None:
    """The cached row count of this key, or None; a damaged entry is deleted."""
    file = rows_dir() / f"{key}.json"
    if find_shared(file):
        return None
    try:
        count = json.loads(file.read_text(encoding="utf-8"))["rows"]
        if isinstance(count, int) and count >= 0:
            return count
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with contextlib.suppress(OSError):
        file.unlink()
    return None


def keep_count(key: str, rows: int) -> None:
    with contextlib.suppress(OSError):  # a run must not fail because its cache is read-only
        make_cache("rows")
        write_atomically(rows_dir() / f"{key}.json", json.dumps({"rows": rows}))


def find_folder(key: str) -> Path | None:
    """The cached folder of this key if it is complete, else None; a damaged one is deleted."""
    folder = rows_dir() / key
    if not folder.is_dir() or find_shared(folder / DIGESTS):
        return None
    try:
        digests = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        if digests and digests == hash_folder(folder, DIGESTS):
            return folder
    except (OSError, ValueError):
        pass
    drop_folder(key)
    return None


def drop_folder(key: str) -> None:
    shutil.rmtree(rows_dir() / key, ignore_errors=True)


@contextlib.contextmanager
def keep_folder(key: str) -> Iterator[Path]:
    """A temporary folder to write into; it moves into the cache when the block ends without an error.

    If another process was faster, its folder stays.

    Raises:
        OSError: the folder cannot be written.
    """
    make_cache("rows")
    with temporary_folder(rows_dir(), ".making-") as temporary:
        folder = temporary / key
        folder.mkdir()
        yield folder
        (folder / DIGESTS).write_text(json.dumps(hash_folder(folder, DIGESTS)), encoding="utf-8")
        with contextlib.suppress(OSError):
            folder.rename(rows_dir() / key)
