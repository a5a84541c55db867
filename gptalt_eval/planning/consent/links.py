"""Links that lead out of a data folder: what they lead to would be rows, and so in prompts and results.

A folder of benchmarks on another disk is often linked. So what a link leads to is named and asked for once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from shlex import quote

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.types import Dataset
from gptalt_eval.data.locate import find_beside, find_files
from gptalt_eval.machine import consents
from gptalt_eval.machine.storage import follow_links, hash_text
from gptalt_eval.planning.consent.trust import FLAG


def check_links(
    folder: Path, dataset: Dataset, config: str | None, splits: Iterable[str], trusted: Sequence[str] = ()
) -> None:
    """Check that the files of some splits are in the data folder, or that the user has allowed the links.

    Args:
        folder: the data folder.
        dataset, config: whose rows are read.
        splits: the splits.
        trusted: the folders of ``--trust_task_code``; their links are remembered.

    Raises:
        GptaltError: a link leads out; says where to, and what to type.
    """
    found = [split for name in splits if (split := dataset.split(name))]
    files = [file for split in found for file in find_files(folder, split, config)]
    files += [other for split in found for file in files for other in find_beside(file, split)]
    links = dict(find_links(folder, files))
    if follow_links(folder) in [follow_links(Path(each).expanduser()) for each in trusted]:
        for link, target in links.items():
            consents.allow(name_consent(link), hash_text(str(target)))
        return
    asked = {
        link: target
        for link, target in links.items()
        if not consents.is_allowed(name_consent(link), hash_text(str(target)))
    }
    if asked:
        listed = "\n".join(f"  reads {target} (the link {link})" for link, target in asked.items())
        raise GptaltError(
            f"Links in {folder} lead out of it:\n{listed}",
            f"Look where they lead. If you trust them, add: {FLAG} {quote(str(folder.absolute()))}",
        )


def name_consent(link: Path) -> str:
    return f"data link {link.absolute()}"


def find_links(folder: Path, files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """The links on the way from a folder to files, as far as they lead out of it, and where they lead."""
    root = follow_links(folder)
    is_inside = cache(
        lambda place: follow_links(place).is_relative_to(root)
    )  # some folders have 20,000 files
    for file in files:
        if is_inside(file.parent) and not (file.is_symlink() and not is_inside(file)):
            continue
        below = [place for place in (file, *file.parents) if place != folder and place.is_relative_to(folder)]
        linked = (place for place in reversed(below) if not follow_links(place).is_relative_to(root))
        link = next(linked, file)
        yield link, follow_links(link)
