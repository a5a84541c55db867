"""The pictures of a run's items, saved beside them: small, so that the folder can be handed on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import check_folders, check_plain
from gptalt_eval.contract.pictures import PREFIX, Picture, make_thumbnail
from gptalt_eval.contract.record import PICTURES
from gptalt_eval.machine.storage import write_atomically


class Thumbnails:
    """The small copies of pictures in a run's folder, each written once.

    Args:
        folder: the run's folder.

    Raises:
        GptaltError: the folder for them, or what is in it, is a link.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = check_folders(folder, PICTURES)
        self.seen: set[str] = set()
        if self.folder.is_dir():
            check_plain(*self.folder.iterdir())  # before anything has been computed

    def save(self, samples: Iterable[Mapping[str, Any]]) -> list[GptaltError]:
        """Save the pictures that logged samples name.

        Those that are in the folder already, from tasks that were finished before, stay.

        Returns:
            why some could not be made small; their items are saved all the same.

        Raises:
            OSError: they cannot be written.
        """
        faults = []
        for picture in list_pictures(samples):
            if picture in self.seen:
                continue
            self.seen.add(picture)
            file = self.folder / f"{picture.removeprefix(PREFIX)}.webp"
            if not file.is_file():
                try:
                    content = make_thumbnail(picture)
                except GptaltError as error:
                    faults.append(error)
                else:
                    write_atomically(file, content)
        return faults


def list_pictures(samples: Iterable[Mapping[str, Any]]) -> Iterator[Picture]:
    """The pictures in what a model was asked; all requests of an item have the same ones."""
    for sample in samples:
        for request in sample["arguments"][:1]:
            for part in request:
                shown = part.get("visual") if isinstance(part, Mapping) else None
                yield from (each for each in shown or () if isinstance(each, Picture))
