"""The files of a download: a folder, an archive or a single file, read without unpacking it anywhere."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from gptalt_eval.contract.errors import GptaltError

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Item:
    """One file of a download.

    Attributes:
        path: where it is, for messages.
        parts: the components of its path, without the ``.gz`` of a file that is decompressed.
        open: returns a stream of its bytes.
    """

    path: str
    parts: tuple[str, ...]
    open: Callable[[], IO[bytes]]


@contextmanager
def open_download(source: Path) -> Iterator[list[Item]]:
    """The files of a download, open until the block ends.

    Raises:
        GptaltError: it does not exist, is damaged, or has a member with a path outside the folder.
    """
    if not source.exists():
        raise GptaltError(f"--from: {source} does not exist.", "Give the file or folder that you downloaded.")
    try:
        if source.is_dir():
            files = sorted(file for file in source.rglob("*") if file.is_file())
            yield [
                item
                for file in files
                for item in list_forms(str(file), file.resolve().parts, open_file(file))
            ]
        elif source.name.endswith(".zip"):
            with zipfile.ZipFile(source) as archive:
                yield list_zip(archive, source)
        elif source.name.endswith(TARS):
            with tarfile.open(source) as tar:
                yield list_tar(tar, source)
        else:
            yield list_forms(str(source), source.resolve().parts, open_file(source))
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise GptaltError(f"{source} is damaged or encrypted ({error}).", "Download it again.") from error


def list_zip(archive: zipfile.ZipFile, source: Path) -> list[Item]:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    for name in names:
        refuse_outside(name, source)
    return [
        item
        for name in names
        for item in list_forms(f"{source}: {name}", PurePosixPath(name).parts, open_zipped(archive, name))
    ]


def list_tar(archive: tarfile.TarFile, source: Path) -> list[Item]:
    members = archive.getmembers()
    for member in members:
        refuse_outside(member.name, source)
    # links are skipped: their target is another member, or is outside the archive
    return [
        item
        for member in members
        if member.isfile()
        for item in list_forms(
            f"{source}: {member.name}", PurePosixPath(member.name).parts, open_tarred(archive, member)
        )
    ]


def refuse_outside(name: str, source: Path) -> None:
    windows = PureWindowsPath(name)  # splits at both slashes
    if ".." in windows.parts or windows.drive or windows.root:
        text = f"{source}: its member {name!r} would be written outside the folder. Nothing was unpacked."
        raise GptaltError(text, "Download the official release; 'gptalt-eval show dataset NAME' says where.")


def list_forms(path: str, parts: tuple[str, ...], opener: Callable[[], IO[bytes]]) -> list[Item]:
    """A file as it is and, if it is gzipped, its decompressed content."""
    forms = [Item(path, parts, opener)]
    if path.endswith(".gz") and not path.endswith(TARS):
        name = parts[-1].removesuffix(".gz")
        forms.append(Item(path, (*parts[:-1], name), open_gzipped(opener)))
    return forms


def open_gzipped(opener: Callable[[], IO[bytes]]) -> Callable[[], IO[bytes]]:
    return lambda: cast("IO[bytes]", gzip.GzipFile(fileobj=opener()))


def open_file(file: Path) -> Callable[[], IO[bytes]]:
    return lambda: file.open("rb")


def open_zipped(archive: zipfile.ZipFile, name: str) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(name)


def open_tarred(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: cast("IO[bytes]", archive.extractfile(member))
