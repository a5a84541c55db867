"""Compressed rows of tasks: the ``datasets`` library would unpack 1 MB to 10 GB, and fill the disk."""

from __future__ import annotations

import contextlib
import importlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
from datasets.utils.extract import Extractor

from gptalt_eval.contract.errors import DataError
from gptalt_eval.machine.bounds import RATIO, limit_unpacked
from gptalt_eval.planning.consent.reads import list_texts

BLOCK = 1 << 20
#: format -> the module that reads it; the last two are those that ``datasets`` needs too
STREAMS = {"gzip": "gzip", "bz2": "bz2", "xz": "lzma", "zstd": "zstandard", "lz4": "lz4.frame"}
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, RuntimeError)


@contextlib.contextmanager
def limit_unpacking() -> Iterator[None]:
    """Inside the block, what ``datasets`` has fetched or found is only unpacked if it is no bomb."""
    with contextlib.ExitStack() as stack:
        for kind in (datasets.DownloadManager, datasets.StreamingDownloadManager):
            stack.enter_context(mock.patch.object(kind, "download", check_fetched(kind.download)))
        yield


def check_fetched(fetch: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a manager that fetches files; what it is given is checked, and what it returns."""

    def fetch_checked(manager: Any, names: Any) -> Any:
        check_places(names)  # of an archive, it may fetch one file
        fetched = fetch(manager, names)
        check_places(fetched)
        return fetched

    return fetch_checked


def check_places(places: Any) -> None:
    for place in list_texts(places):
        file = Path(place.rpartition("::")[2])
        if file.is_file():
            check_unpacked(file)


def check_unpacked(file: Path) -> None:
    """Check that a compressed file or an archive does not unpack to more than any real one.

    Raises:
        DataError: it does, or nobody can know without unpacking it.
    """
    kind = Extractor.infer_extractor_format(file)
    if kind is None:
        return
    limit = limit_unpacked(file.stat().st_size)
    try:
        is_bomb = any(size > limit for size in measure(file, kind))
    except ImportError:  # `datasets` says what to install
        return
    except DAMAGED as error:
        raise DataError(f"{file} is damaged ({error}).", "Download it again.") from error
    if is_bomb:
        text = f"{file} unpacks to more than {RATIO} times its size, as no data does."
        raise DataError(text, "It was not read. If it is right all the same, unpack it yourself.")


def measure(file: Path, kind: str) -> Iterator[int]:
    """How many bytes a file unpacks to, as far as it has been read; the last one counts.

    Raises:
        DataError: its format is none whose content can be measured.
    """
    total = 0
    if kind == "zip":
        with zipfile.ZipFile(file) as archive:
            yield sum(info.file_size for info in archive.infolist())
    elif kind == "tar":
        with tarfile.open(file) as members:
            for member in members:  # a compressed one is unpacked to find the next member
                total += member.size
                yield max(total, members.offset)
    elif kind in STREAMS:
        with importlib.import_module(STREAMS[kind]).open(file, "rb") as stream:
            while block := stream.read(BLOCK):
                total += len(block)
                yield total
    else:
        text = f"{file} is packed with {kind}, and might unpack to anything."
        raise DataError(text, "Unpack it yourself, and name the file in it.")
