"""Frozen dataclasses that cross a boundary between modules, or between the core and a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gptalt_eval.contract.hooks import Hook, Problem

if TYPE_CHECKING:
    import argparse


T = TypeVar("T")


@dataclass(frozen=True)
class Owned(Generic[T]):
    """A contribution and who made it."""

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
class Model:
    """A model under a name of its own.

    Attributes:
        name: what the user types after ``--model``.
        summary: one line for listings.
        licence: the licence of the weights, as their publisher states it.
        home: where the model is published.
        backend: the lm-eval model class that loads it (``hf`` for transformers).
        args: lm-eval ``--model_args`` that make it up; the user's own win.
        fetch: gets the weights where they are not simply a hub id, and returns further args. Called
            after everything else about the request was found right.
        check: looks, in well under a second, whether what was fetched before is whole; raises GptaltError.
        create: builds an lm-eval ``LM`` itself, for a model that no backend knows. Called with the
            merged args; imports what it needs when called.
        chat_template: whether its tokenizer has one; None where that is not known before loading.
        languages: ISO 639-1 codes.
        parameters: number of parameters, in words (``135M``).
        system_instruction: the system message that its publisher gives it, for the prompt style ``system``.
    """

    name: str
    summary: str
    licence: str
    home: str
    backend: str = "hf"
    args: Mapping[str, Any] = field(default_factory=dict)
    fetch: Callable[[], Mapping[str, Any]] | None = None
    check: Callable[[], None] | None = None
    create: Callable[[Mapping[str, Any]], Any] | None = None
    chat_template: bool | None = None
    languages: tuple[str, ...] = ()
    parameters: str = ""
    system_instruction: str | None = None


@dataclass(frozen=True)
class PromptStyle:
    """How a task's text becomes a prompt.

    Attributes:
        name: what the user types after ``--prompt_style``.
        summary: one line for listings.
        chat: whether the text goes through the model's chat template.
        system: gives the system message for a model; None (or giving None): the template's own default.
        instruction: text that is put before the task's own description.
    """

    name: str
    summary: str
    chat: bool = False
    system: Callable[[Model], str | None] | None = None
    instruction: str = ""


@dataclass(frozen=True)
class Part:
    """A release file that by design holds part of a split.

    Attributes:
        title: in words, after a comma: ``the Wikipedia half``.
        rows: how many rows it has.
    """

    title: str
    rows: int


@dataclass(frozen=True)
class Split:
    """One split of a dataset's official release.

    Attributes:
        name: the split's name in the hub version (``train``, ``validation``, ``test``, ``dev``).
        files: paths below the data folder that may hold it, best first; globs are allowed and
            ``{config}`` stands for the configuration (an MMLU subject, RACE's ``high``).
        rows: how many rows the official release has, summed over all configurations; None: not stated.
        parts: those of ``files`` that hold part of the split by design.
        beside: further files that the reader opens, named from the folder of each file; ``{stem}`` is
            the file's name without its ending. They are hashed, checked and kept as part of the split.
    """

    name: str
    files: tuple[str, ...]
    rows: int | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A dataset, and where its rows can come from.

    Attributes:
        name: short name, also its sample's folder.
        title: the name in print.
        hub: the hub id that task YAMLs give as ``dataset_path``.
        configs: the ``dataset_name`` values it serves; empty: every one.
        splits: the official splits.
        read: turns release files into rows of the hub version's schema.
        licence: the data's licence.
        home: where the release is published.
        sample: folder of ``<split>.jsonl`` with items of our own writing, or None.
        checksums: the SHA-256 of its release files, as ``sha256sum`` writes them in the data folder, or None.
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

    def serves(self, hub: str | None, config: str | None) -> bool:
        """Whether a task that names this hub id and configuration gets its rows here."""
        return hub == self.hub and (not self.configs or config in self.configs)

    def split(self, name: str) -> Split | None:
        return next((split for split in self.splits if split.name == name), None)


@dataclass(frozen=True)
class Sample:
    """One scored item, as observers see it while a run goes on.

    The first six attributes tell items apart: one row is scored once for each filter of its task, in each
    cell (number of shots, prompt style) of a run.

    Attributes:
        task: the task's name.
        doc_id: the row's index in its split.
        filter: lm-eval's filter that made the response of the model's answer; ``none`` for a task without.
        num_fewshot: how many examples stand before the question.
        prompt_style: the style's name; None: what the request itself says.
        model: the model's name.
        metrics: metric -> value for this row and filter.
        prompt: the text the model was given.
        response: the model's filtered answers, one an option, as lm-eval logs them.
        target: the gold answer as lm-eval logs it.
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
    """A section of ``report.html``. ``html`` goes in as it is: escape what comes from a model or dataset."""

    title: str
    html: str


class Installed(Protocol):
    """The plugins of this process, as the core and every command see them."""

    @property
    def owners(self) -> Mapping[str, Owner]:
        """Plugin name -> owner, in the order in which they were loaded; the core is first."""

    @property
    def hooks(self) -> Mapping[str, Owned[Hook]]:
        """Hook name -> the hook and who brings it; the core's are first."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What was found wrong with plugins so far."""

    def contribute(self, hook: str) -> Iterator[tuple[Owner, Any]]:
        """(owner, thing) of a contributing hook, the core's first."""

    def collect(self, hook: str, **arguments: object) -> Iterator[tuple[Owner, Any]]:
        """(owner, what the hook returned), of a hook with arguments."""

    def observe(self, hook: str, **arguments: object) -> None:
        """Call an observing hook of every plugin."""

    def watched_by(self, observer: object, owner: Owner) -> AbstractContextManager[None]:
        """While this lasts, an object hears of runs as plugins do."""

    def blame(self, owner: Owner, what: str, cure: str) -> None:
        """Add a problem of that plugin, once."""


@dataclass(frozen=True)
class Option:
    """An argument of a plugin's command: the names and keywords of ``argparse.add_argument``."""

    names: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A subcommand: ``gptalt-eval <name> ...``. It does something itself, has commands of its own, or both.

    Attributes:
        name: what the user types.
        summary: one line for ``--help``.
        run: gets the parsed arguments and the plugins, and returns the exit code; None: one of ``commands``
            has to be named.
        options: its arguments. Those that ``commands`` have too may stand before the inner command's name.
        commands: its own subcommands (``votes import``).

    Raises:
        ValueError: there is nothing to run.
    """

    name: str
    summary: str
    run: Callable[[argparse.Namespace, Installed], int] | None = None
    options: tuple[Option, ...] = ()
    commands: tuple[Command, ...] = ()

    def __post_init__(self) -> None:
        if self.run is None and not self.commands:
            raise ValueError(f"the command '{self.name}' has neither 'run' nor 'commands'")
