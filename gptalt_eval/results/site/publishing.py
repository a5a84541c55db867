"""A folder of pages of ours: what is in it of others is neither replaced nor removed.

``site.json`` in it lists the pages that were written, so that those no longer needed can be removed, and
nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import check_folders, check_plain, read_json
from gptalt_eval.machine.secrets import hide_known
from gptalt_eval.machine.storage import UNENCODED, hash_file, write_atomically

MANIFEST = "site.json"
FORMAT = 1
#: names of pages: lower case, so that no two are the same on systems that ignore the case
PAGE = re.compile(r"(?:(?P<folder>[a-z]+)/)?[a-z0-9][a-z0-9._-]*\.html")
LONGEST = 60  # characters of a name
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|index)(\..*)?")  # by Windows, and the list of a folder
HASHED = re.compile(r".*-[0-9a-f]{12}")
VERSIONED = (".git",)  # what may be in a folder before the first page is written into it


def name_page(name: str) -> str:
    """A file's name, without its ending, for anything; other names have others.

    What is safe in addresses and on all systems stays as it is. Of other names, what is safe is followed by a
    hash.
    """
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower())[:LONGEST].strip("-._")
    if safe and safe == name and not RESERVED.fullmatch(safe) and not HASHED.fullmatch(safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe.replace('.', '-') or 'page'}-{digest}"  # 'nul.txt' is a device whatever follows the point


def publish(folder: Path, pages: Mapping[str, Callable[[], str]]) -> list[str]:
    """Write pages into a folder, and remove those of the last time that are no longer among them.

    The last page is the one that leads to all others: it changes when they are there. A page that has not
    changed is not written again.

    Args:
        folder: where they go; made if there is none.
        pages: what makes each of them, by its path in the folder.

    Returns:
        Pages that are no longer needed, but were changed by somebody and are kept.

    Raises:
        GptaltError: the folder contains something else, or a link.
        OSError: a file cannot be written.
    """
    earlier = read_manifest(folder)
    check_target(folder, earlier, pages)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    is_marked = False
    for path, make in pages.items():
        content = hide_known(make()).encode("utf-8", UNENCODED)
        written[path] = hashlib.sha256(content).hexdigest()
        if not (folder / path).is_file() or hash_file(folder / path) != written[path]:
            if not is_marked:  # if this is interrupted, the next time knows all that may have been written
                write_manifest(folder, {**earlier, **dict.fromkeys(pages, "")})
                is_marked = True
            write_atomically(folder / path, content)
    outdated = {path: digest for path, digest in earlier.items() if path not in written}
    kept = [path for path, digest in outdated.items() if not remove_page(folder / path, digest)]
    write_manifest(folder, written)
    return kept


def read_manifest(folder: Path) -> dict[str, str]:
    """The pages written the last time, with their SHA-256 (empty: it was interrupted).

    Raises:
        GptaltError: it is damaged, or lists what cannot be a page of ours.
    """
    file = folder / MANIFEST
    check_plain(file)
    if not file.exists():
        return {}
    content = read_json(file)
    files = content.get("files")
    if content.get("gptalt-eval site") != FORMAT or not isinstance(files, dict):
        raise GptaltError(f"{file} does not belong to a site of this version.", "Choose another folder.")
    for path, digest in files.items():
        if not PAGE.fullmatch(path) or not isinstance(digest, str):
            raise GptaltError(f"{file} is damaged ({path!r:.80} is not a page).", "Choose another folder.")
    return dict(files)


def check_target(folder: Path, earlier: Mapping[str, str], pages: Collection[str]) -> None:
    """Check that nothing but pages of ours will be replaced.

    Raises:
        GptaltError: it would; names what.
    """
    if folder.exists() and not folder.is_dir():
        raise GptaltError(f"{folder} is not a folder.", "Choose another one.")
    if folder.is_dir() and not (folder / MANIFEST).exists():
        others = sorted(file.name for file in folder.iterdir() if file.name not in VERSIONED)
        if others:
            raise GptaltError(
                f"{folder} contains other files, such as {others[0]}.",
                "Choose an empty or a new folder for the site.",
            )
    for path in {*earlier, *pages}:
        place = PAGE.fullmatch(path)
        if place is None:
            raise ValueError(f"{path!r} cannot be the path of a page")
        if place["folder"]:
            check_folders(folder, place["folder"])
        check_plain(folder / path)
        if path not in earlier and (folder / path).exists():
            raise GptaltError(
                f"{folder / path} was not written by this command, and is not replaced.",
                "Move it away, or choose another folder.",
            )


def remove_page(file: Path, digest: str) -> bool:
    """Remove a page of ours, and its folder if that is empty then. False: it is no longer as we wrote it."""
    if file.is_file():
        if digest and hash_file(file) != digest:
            return False
        file.unlink()
    if file.parent.is_dir() and not any(file.parent.iterdir()):
        file.parent.rmdir()
    return True


def write_manifest(folder: Path, files: Mapping[str, str]) -> None:
    content = {"gptalt-eval site": FORMAT, "files": dict(sorted(files.items()))}
    text = json.dumps(content, indent=1) + "\n"
    file = folder / MANIFEST
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        write_atomically(file, text)
