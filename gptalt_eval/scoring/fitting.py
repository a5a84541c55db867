"""Whether a checkpoint is that of the model into which it was loaded.

transformers fills what a checkpoint lacks with random numbers, leaves out what has no place, and says so in a
log only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

NUMBER = re.compile(r"\.\d+(?=\.|$)")  # of a layer, in a weight's name


@dataclass(frozen=True)
class Fit:
    """What did not fit when a checkpoint was loaded.

    Attributes:
        place: the checkpoint.
        missing: weights that it lacks.
        excess: its weights that are like others of the model, in layers that the model does not have.
    """

    place: str
    missing: tuple[str, ...] = ()
    excess: tuple[str, ...] = ()


class Watched:
    """A class of transformers whose checkpoints are compared with their models.

    Args:
        loads: the class.

    Attributes:
        fits: what did not fit, by checkpoint.
    """

    def __init__(self, loads: Any) -> None:
        self.loads = loads
        self.fits: list[Fit] = []
        self.names: set[str] = set()

    def from_pretrained(self, place: Any, *args: Any, **settings: Any) -> Any:
        """The model in a checkpoint; a second one is a difference to the first."""
        model, info = self.loads.from_pretrained(place, *args, output_loading_info=True, **settings)
        names = set(model.state_dict())
        missing, unexpected = (sorted(info.get(key, ())) for key in ("missing_keys", "unexpected_keys"))
        excess = find_alike(unexpected, names) + sorted(names - self.names if self.names else ())
        self.names = self.names or names
        self.fits.append(Fit(str(place), tuple(missing), tuple(excess)))
        return model


def find_alike(unexpected: Iterable[str], names: Collection[str]) -> list[str]:
    """Weights that are called like those of the model but for the number of the layer."""
    kinds = {NUMBER.sub(".N", name) for name in names}
    return [name for name in unexpected if NUMBER.search(name) and NUMBER.sub(".N", name) in kinds]
