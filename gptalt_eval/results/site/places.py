"""Where a page is in a site: what leads to it, and how its links begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SECTIONS = (
    ("Leaderboard", "index.html"), ("Models", "models/index.html"), ("Tasks", "tasks/index.html"),
    ("Runs", "runs/index.html"),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The place of a page in a site.

    Attributes:
        path: of the page, in the site's folder.
        title: of the page.
        links: by the model that an arm names, the path of its page.
    """

    path: str
    title: str
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """What leads from the page to the site's folder."""
        return "../" * self.path.count("/")

    @property
    def sections(self) -> Sequence[tuple[str, str]]:
        return SECTIONS

    @property
    def trail(self) -> list[tuple[str, str]]:
        """The pages above this one, by title and path."""
        above = [SECTIONS[0], *((title, path) for title, path in SECTIONS[1:] if is_below(self.path, path))]
        return [(title, path) for title, path in above if path != self.path]


def is_below(path: str, section: str) -> bool:
    return path.partition("/")[0] == section.partition("/")[0]
