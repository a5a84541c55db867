"""The files of a download: a folder, an archive or a single file, read without unpacking it anywhere."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.bounds import RATIO, Unpacked, limit_unpacked, open_file
from gptalt_eval.machine.storage import check_ordinary, follow_links, walk_files

Opener = Callable[[], IO[bytes]]
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


class Budget:
    """How many bytes may still be unpacked: an archive of 0.6 MB must not fill a disk.

    Args:
        source: a file or a folder; a hundred times its size is allowed, and what fits into memory anyway.
    """

    def __init__(self, source: Path) -> None:
        files = [file for file in walk_files(source) if file.is_file()] if source.is_dir() else [source]
        self.source = source
        self.left = limit_unpacked(sum(file.stat().st_size for file in files))

    def spend(self, size: int) -> None:
        """
        Raises:
            GptaltError: there is nothing left.
        """
        self.left -= size
        if self.left < 0:
            text = f"{self.source} unpacks to more than {RATIO} times its size, as no release does."
            hint = "Nothing was unpacked. Download the official release: gptalt-eval show dataset NAME"
            raise GptaltError(text, hint)

    def watch(self, opener: Opener) -> Opener:
        return lambda: cast("IO[bytes]", Watched(opener(), self))


class Watched:
    """A stream of which each byte is counted.

    Args:
        stream: the stream.
        budget: what is left.
    """

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self.stream, self.budget = stream, budget

    def read(self, size: int) -> bytes:
        block = self.stream.read(size)
        self.budget.spend(len(block))
        return block

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


@contextmanager
def open_download(source: Path) -> Iterator[list[Item]]:
    """The files of a download, open until the block ends.

    Raises:
        GptaltError: it does not exist, is damaged, or has a member with a path outside the folder.
        OSError: it cannot be read, or is a pipe or a device.
    """
    if not source.exists():
        raise GptaltError(f"--from: {source} does not exist.", "Give the file or folder that you downloaded.")
    check_ordinary(source)
    budget = Budget(source)
    try:
        if source.is_dir():
            files = sorted(file for file in walk_files(source) if file.is_file())
            yield [
                item
                for file in files
                for item in list_forms(str(file), follow_links(file).parts, open_inside(file, source), budget)
            ]
        elif source.name.endswith(".zip"):
            with zipfile.ZipFile(source) as archive:
                yield list_zip(archive, budget)
        elif source.name.endswith(TARS):
            with tarfile.open(source) as tar:
                yield list_tar(tar, budget)
        else:
            yield list_forms(str(source), follow_links(source).parts, open_alone(source), budget)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise GptaltError(f"{source} is damaged or encrypted ({error}).", "Download it again.") from error


def list_zip(archive: zipfile.ZipFile, budget: Budget) -> list[Item]:
    source = budget.source
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    for name in names:
        refuse_outside(name, source)
    return [
        item
        for name in names
        for item in list_forms(
            f"{source}: {name}", PurePosixPath(name).parts, open_zipped(archive, name), budget
        )
    ]


def list_tar(archive: tarfile.TarFile, budget: Budget) -> list[Item]:
    source, members = budget.source, []
    for member in archive:  # a compressed one is unpacked to find the next member
        if archive.offset > budget.left:
            budget.spend(archive.offset)
        members.append(member)
        refuse_outside(member.name, source)
    # links are skipped: their target is another member, or is outside the archive
    return [
        item
        for member in members
        if member.isfile()
        for item in list_forms(
            f"{source}: {member.name}", PurePosixPath(member.name).parts, open_tarred(archive, member), budget
        )
    ]


def refuse_outside(name: str, source: Path) -> None:
    windows = PureWindowsPath(name)  # splits at both slashes
    if ".." in windows.parts or windows.drive or windows.root:
        text = f"{source}: its member {name!r} would be written outside the folder. Nothing was unpacked."
        raise GptaltError(text, "Download the official release; 'gptalt-eval show dataset NAME' says where.")


def list_forms(path: str, parts: tuple[str, ...], opener: Opener, budget: Budget) -> list[Item]:
    """A file as it is and, if it is gzipped, its decompressed content."""
    forms = [Item(path, parts, budget.watch(opener))]
    if path.endswith(".gz") and not path.endswith(TARS):
        name = parts[-1].removesuffix(".gz")
        forms.append(Item(path, (*parts[:-1], name), budget.watch(open_gzipped(opener))))
    return forms


def open_gzipped(opener: Opener) -> Opener:
    return lambda: cast("IO[bytes]", Unpacked(opener()))


def open_alone(file: Path) -> Opener:
    return lambda: open_file(file, "rb")


def open_inside(file: Path, folder: Path) -> Opener:
    """As :func:`open_alone`, for a file of a folder that may not be elsewhere."""

    def open_checked() -> IO[bytes]:
        if not follow_links(file).is_relative_to(follow_links(folder)):
            text = f"{file} is a link to {follow_links(file)}, which is not in {folder}. Nothing was copied."
            raise GptaltError(text, "If you know where it leads and it is yours, replace it by a copy.")
        return open_file(file, "rb")

    return open_checked


def open_zipped(archive: zipfile.ZipFile, name: str) -> Opener:
    return lambda: archive.open(name)


def open_tarred(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Opener:
    return lambda: cast("IO[bytes]", archive.extractfile(member))
