"""Downloads the files of a repository with the hub's own client.

Large files are asked for with its session, and written to a file with a name that stays: the client itself
drops what it has of a file when the program ends, and over a slow line that can be a day's work. Each is
checked before it gets its place in the cache. Xet, which keeps no unfinished files, is not used for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from gptalt_eval.machine.hub import find_hub_cache, find_storage, read_endpoint
from gptalt_eval.machine.storage import write_atomically
from gptalt_eval.machine.words import say_seconds
from gptalt_eval.planning.hub.hashes import check_file, check_files
from gptalt_eval.planning.hub.needs import GB
from gptalt_eval.planning.hub.refusals import choose_wait, describe_break, explain_refusal, list_errors
from gptalt_eval.planning.hub.repository import SECONDS, RemoteFile, Repository

PART = ".incomplete"
OFTEN = 0.5  # seconds between two reports
Show = Callable[[str], None]


class Progress:
    """Counts what arrives and reports it.

    Args:
        name: what is downloaded.
        total: bytes in all.
        done: bytes that are here already.
        say: shows a step.
        note: shows what the user should know.
    """

    def __init__(self, name: str, total: int, done: int, say: Show, note: Show) -> None:
        self.name, self.total, self.done, self.say, self.note = name, total, done, say, note
        self.before, self.began, self.told = done, time.monotonic(), 0.0

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.told < OFTEN and self.done < self.total:
            return
        self.told = now
        rate = (self.done - self.before) / max(now - self.began, 1e-3) / 1e6
        left = f", {say_seconds((self.total - self.done) / 1e6 / rate)} left" if rate else ""
        much = f"{self.done / GB:.2f} of {self.total / GB:.2f} GB, {rate:.1f} MB/s{left}"
        self.say(f"Downloading {self.name}, {much}")


def download(repository: Repository, files: Sequence[RemoteFile], say: Show, note: Show) -> Path:
    """Download files; what is in the cache already is not downloaded again. Returns their folder.

    Raises:
        GptaltError: it cannot be done, or a file is not what the hub says it is.
    """
    source = repository.source
    storage = find_storage(source.id)
    large = [file for file in files if file.sha256 and file.size and not is_here(repository, file)]
    total = sum(file.size or 0 for file in large)
    parts = sum(measure(find_part(storage, file)) for file in large)
    progress = Progress(source.id, total, parts, say, note)
    with explained(repository):
        for file in large:
            with lock_blob(storage, file):
                fetch_blob(repository, file, storage, progress)
        say(f"Downloading {source.id}: settings and tokenizer")
        for file in files:
            fetch_rest(repository, file)
        if source.revision != repository.commit:
            write_atomically(storage / "refs" / source.revision, repository.commit)
    folder = storage / "snapshots" / repository.commit
    check_files(folder, source.id, files, say)
    return folder


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Errors of the client, the network and the disk become ours."""
    try:
        yield
    except list_errors() as error:
        raise explain_refusal(find_cause(error), repository.source) from error


def find_cause(error: Exception) -> Exception:
    """What the client itself was told: it wraps it into the remark that nothing is in the cache either."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__
    return cause if isinstance(error, LocalEntryNotFoundError) and isinstance(cause, Exception) else error


def is_here(repository: Repository, file: RemoteFile) -> bool:
    """Whether a file is in the cache, under its name or under its hash."""
    storage = find_storage(repository.source.id)
    places = [storage / "snapshots" / repository.commit / file.path]
    places += [storage / "blobs" / digest for digest in (file.sha256 or file.blob,) if digest]
    return any(place.is_file() for place in places)


def find_part(storage: Path, file: RemoteFile) -> Path:
    return storage / "blobs" / f"{file.sha256}{PART}"


def measure(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def lock_blob(storage: Path, file: RemoteFile) -> FileLock:
    """The lock of the client itself: of two processes, one downloads a file."""
    locks = find_hub_cache() / ".locks" / storage.name
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{file.sha256}.lock")


def fetch_blob(repository: Repository, file: RemoteFile, storage: Path, progress: Progress) -> None:
    """Download one file from where an earlier attempt ended, check it, and give it its place."""
    blob, part, tries = storage / "blobs" / file.sha256, find_part(storage, file), 0
    if blob.is_file():  # another process was faster
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    if measure(part) > (file.size or 0):
        part.unlink()
    while measure(part) < (file.size or 0):
        before = measure(part)
        try:
            transfer(repository, file, part, progress)
        except list_errors() as error:
            tries = 1 if measure(part) > before else tries + 1  # all begins again where something arrived
            seconds = choose_wait(error, tries)
            if seconds is None:
                raise
            progress.note(f"{file.path}: {describe_break(error)}; going on in {seconds:.0f} s")
            time.sleep(seconds)
    check_file(part, file.path, repository.source.id, file.sha256)
    part.replace(blob)


def transfer(repository: Repository, file: RemoteFile, part: Path, progress: Progress) -> None:
    """Ask once for what is missing of a file, and append it."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    source, begun = repository.source, measure(part)
    url = hf_hub_url(source.id, file.path, revision=repository.commit, endpoint=find_endpoint())
    headers = build_hf_headers(token=source.token)
    headers["Accept-Encoding"] = "identity"  # else a part of a file is a part of its compressed form
    if begun:
        headers["Range"] = f"bytes={begun}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with (
        get_session().stream("GET", url, headers=headers, timeout=timeout) as answer,
        part.open("ab") as stream,
    ):
        hf_raise_for_status(answer)
        if begun and answer.status_code == 200:  # the server begins again
            stream.truncate(0)
            progress.add(-begun)
        for block in answer.iter_bytes():  # as they come: what waits in memory is lost in a cut
            stream.write(block)
            stream.flush()
            progress.add(len(block))
    if measure(part) < (file.size or 0):
        raise OSError(f"{file.path} ended after {measure(part):,} of {file.size:,} bytes")


def fetch_rest(repository: Repository, file: RemoteFile) -> None:
    """Let the client put a file into its folder, and download it if it is a small one."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(
        repository.source.id,
        file.path,
        revision=repository.commit,
        cache_dir=find_hub_cache(),
        endpoint=find_endpoint(),
        token=repository.source.token,
        etag_timeout=SECONDS,
    )


def find_endpoint() -> str:
    return read_endpoint().geturl().rstrip("/")
