"""Where a run writes, and that no other run writes there at the same time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.places import RUNS
from gptalt_eval.running.execute import is_main_process

LOCK_FILE = ".lock"


@contextlib.contextmanager
def claim_output(spec: RunSpec, resumed: Path | None = None) -> Iterator[Path]:
    """``--output_path``, else a folder named by the time; of two runs in one second, each gets its own.

    It is made at once, and removed if it is empty when the block ends.

    Args:
        spec: the request.
        resumed: the folder of the run that it continues; None: it begins one.
    """
    if spec.output_path or resumed or not is_main_process():
        yield Path(spec.output_path or RUNS).expanduser()
        return
    runs, name = Path(RUNS), datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    made = [] if runs.exists() else [runs]
    for number in itertools.count(1):
        place = runs / (name if number == 1 else f"{name}_{number}")
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError:  # the plan says why
            break
        made.insert(0, place)
        break
    try:
        yield place
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def lock_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Have the folders for this run alone, as long as the block lasts; a kill frees them too.

    Args:
        folders: those that are written into; one that does not exist is made, and removed if it stays empty.

    Raises:
        GptaltError: another run writes into one of them.
    """
    with contextlib.ExitStack() as held:
        for folder in {follow_links(each): each for each in folders}.values():
            held.enter_context(lock_folder(folder))
        yield


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock one folder; where the file system has no locks, or nothing can be written, it stays open to all.

    A file that marks the folder as taken would do without locks, but outlive a killed run.
    """
    made = not folder.exists()
    lock = FileLock(folder / LOCK_FILE, timeout=0, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise GptaltError(
            f"Another run is writing into {folder}.",
            "Wait until it has ended, or stop it; a new run can go elsewhere: --output_path FOLDER",
        ) from None
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # before its release: a run that has it open then tries again
            (folder / LOCK_FILE).unlink()
        lock.release()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
