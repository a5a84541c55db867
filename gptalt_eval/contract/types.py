"""Frozen dataclasses that cross a boundary between modules, or between the core and a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gptalt_eval.contract.hooks import Hook, Problem
from gptalt_eval.contract.models import Model

if TYPE_CHECKING:
    import argparse


T = TypeVar("T")


@dataclass(frozen=True)
class Owned(Generic[T]):
    """A contribution and the plugin that made it."""

    item: T
    owner: Owner


#: Reads the release files of one split: (paths, config) -> rows in the schema of the dataset's hub version.
RowReader = Callable[[tuple[Path, ...], str | None], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Owner:
    """Who contributed something.

    Attributes:
        plugin: the entry point's name, e.g. ``medqa``; ``builtin`` is the core itself.
        version: the distribution's version.
        distribution: the name that pip knows, or None for a plugin registered by hand (in a test).
    """

    plugin: str
    version: str = ""
    distribution: str | None = None

    def __str__(self) -> str:
        return self.distribution or self.plugin


@dataclass(frozen=True)
class PromptStyle:
    """How a task's text becomes a prompt.

    Attributes:
        name: what the user types after ``--prompt_style``.
        summary: one line for listings.
        chat: whether the model's chat template is applied.
        system: returns the system message for a model; None (or returning None): the template's default.
        instruction: text before the task's own description.
    """

    name: str
    summary: str
    chat: bool = False
    system: Callable[[Model], str | None] | None = None
    instruction: str = ""


@dataclass(frozen=True)
class Part:
    """A release file that contains only part of a split by design.

    Attributes:
        title: a noun phrase such as ``the Wikipedia half``.
        rows: how many rows it has.
    """

    title: str
    rows: int


@dataclass(frozen=True)
class Split:
    """One split of a dataset's official release.

    Attributes:
        name: the split's name in the hub version (``train``, ``validation``, ``test``, ``dev``).
        files: possible paths below the data folder, best first; globs are allowed, and
            ``{config}`` stands for the configuration (an MMLU subject, RACE's ``high``).
        rows: how many rows the official release has in all configurations; None: unknown.
        parts: those of ``files`` that contain only part of the split by design.
        beside: other files that the reader opens, relative to the folder of each file; ``{stem}`` is the
            file's name without its suffix. They are hashed and checked as part of the split.
        read: reads this split, if its files have several; None: the dataset's reader does. A function of a
            module, by whose name its rows are kept apart from those of the others.
        is_listed: whether a file of it lists the rows, and the reader refuses a split that lacks one: fewer
            rows than the official ones are then a part of the release, not a damaged file.
    """

    name: str
    files: tuple[str, ...]
    rows: int | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    read: RowReader | None = None
    is_listed: bool = False


@dataclass(frozen=True)
class Dataset:
    """A dataset, and where its rows can come from.

    Attributes:
        name: short name, also its sample's folder.
        title: the display name.
        hub: the hub id, which task YAMLs use as ``dataset_path``.
        configs: the ``dataset_name`` values that it provides; empty: all.
        splits: the official splits.
        read: converts release files to rows in the schema of the hub version.
        licence: the data's licence.
        home: where the release is published.
        sample: folder of ``<split>.jsonl`` with a few items for trying things out, or None.
        checksums: file in ``sha256sum`` format with paths below the data folder, or None.
        cluster: the column that rows share which are not independent, such as the passage of several
            questions; empty: none.
    """

    name: str
    title: str
    hub: str
    splits: tuple[Split, ...]
    read: RowReader
    licence: str
    home: str
    configs: tuple[str | None, ...] = ()
    sample: Path | None = None
    checksums: Path | None = None
    cluster: str = ""

    def serves(self, hub: str | None, config: str | None) -> bool:
        """Whether this dataset provides the rows for a task with this hub id and configuration."""
        return hub == self.hub and (not self.configs or config in self.configs)

    def split(self, name: str) -> Split | None:
        return next((split for split in self.splits if split.name == name), None)

    def reading(self, name: str) -> Dataset:
        """This dataset, whose reader is that of a split."""
        split = self.split(name)
        return replace(self, read=split.read) if split is not None and split.read else self


@dataclass(frozen=True)
class Sample:
    """One scored item, as observers receive it during a run.

    The first six attributes identify an item: a row is scored once for each filter of its task, in each
    cell (number of shots, prompt style) of a run.

    Attributes:
        task: the task's name.
        doc_id: the row's index in its split.
        filter: lm-eval's filter that extracted the response; ``none`` for a task without filters.
        num_fewshot: number of examples in the prompt.
        prompt_style: the style's name; None: none was requested.
        model: the model's name.
        metrics: metric -> value for this row and filter.
        prompt: the prompt as the model received it.
        response: the model's filtered answers, one per option, as lm-eval logs them.
        target: the gold answer, as lm-eval logs it.
    """

    task: str
    doc_id: int
    filter: str
    num_fewshot: int
    prompt_style: str | None
    model: str
    metrics: Mapping[str, Any]
    prompt: str
    response: tuple[Any, ...]
    target: str


@dataclass(frozen=True)
class ReportSection:
    """A section of ``report.html``. ``html`` is inserted unescaped: escape text from models and datasets."""

    title: str
    html: str


class Installed(Protocol):
    """The plugins of this process, as the core and every command see them."""

    @property
    def owners(self) -> Mapping[str, Owner]:
        """Plugin name -> owner, in the order of loading; the core is first."""

    @property
    def hooks(self) -> Mapping[str, Owned[Hook]]:
        """Hook name -> the hook and the plugin that defines it; the core's are first."""

    @property
    def problems(self) -> Sequence[Problem]:
        """The problems with plugins so far."""

    def contribute(self, hook: str) -> Iterator[tuple[Owner, Any]]:
        """(owner, item) from a contributing hook, the core's first."""

    def collect(self, hook: str, **arguments: object) -> Iterator[tuple[Owner, Any]]:
        """(owner, returned list) from a contributing hook with arguments."""

    def observe(self, hook: str, **arguments: object) -> None:
        """Call an observing hook of every plugin."""

    def watched_by(self, observer: object, owner: Owner) -> AbstractContextManager[None]:
        """While this lasts, an object hears of runs as plugins do."""

    def blame(self, owner: Owner, what: str, cure: str) -> None:
        """Add a problem of this plugin, once."""


@dataclass(frozen=True)
class Option:
    """An argument of a plugin's command: the names and keywords of ``argparse.add_argument``."""

    names: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A subcommand: ``gptalt-eval <name> ...``. It runs something, has subcommands of its own, or both.

    Attributes:
        name: what the user types.
        summary: one line for ``--help``.
        run: receives the parsed arguments and the plugins, returns the exit code; None: one of ``commands``
            is required.
        options: its arguments. Those that ``commands`` have too can precede the subcommand's name.
        commands: its own subcommands (``votes import``).
        examples: what to type, for ``--help``: ``gptalt-eval votes import votes.csv``. A command without any
            shows the first one of each of its subcommands.

    Raises:
        ValueError: neither ``run`` nor ``commands`` is given.
    """

    name: str
    summary: str
    run: Callable[[argparse.Namespace, Installed], int] | None = None
    options: tuple[Option, ...] = ()
    commands: tuple[Command, ...] = ()
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.run is None and not self.commands:
            raise ValueError(f"the command '{self.name}' has neither 'run' nor 'commands'")
