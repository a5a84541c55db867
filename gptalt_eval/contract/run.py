"""What ``run.json`` says of a run: how its scores came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gptalt_eval.contract.types import Owner

Status = Literal["running", "complete", "incomplete", "interrupted", "failed"]
FORMAT = 1


@dataclass(frozen=True)
class RunModel:
    """The model of a run.

    Attributes:
        name: as after ``--model``.
        owner: who brought it.
        args: its arguments, as text.
        licence, home: as its publisher states them.
        fingerprint: SHA-256 of its weights and tokenizer; None until they are loaded.
        parameters: their number; None where the model cannot tell.
        dtype, device: of the weights.
        load_seconds: how long loading took.
    """

    name: str = ""
    owner: Owner | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    home: str = ""
    fingerprint: str | None = None
    parameters: int | None = None
    dtype: str = ""
    device: str = ""
    load_seconds: float | None = None


@dataclass(frozen=True)
class RunSplit:
    """One split that was read: its rows, those of the official release, and what its files hash to."""

    rows: int
    official_rows: int | None = None
    sha256: str = ""
    files: int = 0


@dataclass(frozen=True)
class RunData:
    """The data of one task.

    Attributes:
        origin: ``folder``, ``sample``, ``hub``, ``files`` or ``code``, as in ``LocatedData``.
        hub, config: the task's ``dataset_path`` and ``dataset_name``.
        task_from: who brought the task.
        partial: whether the rows are not those of the whole release; ``reason`` says why.
        title, licence, home: of the dataset, where one is registered.
        splits: those that were read.
    """

    origin: str
    hub: str = ""
    config: str | None = None
    task_from: str = ""
    partial: bool = False
    reason: str = ""
    title: str = ""
    licence: str = ""
    home: str = ""
    splits: Mapping[str, RunSplit] = field(default_factory=dict)


@dataclass(frozen=True)
class RunCell:
    """One prompt style and number of shots, and the file with its results; None: there are none yet."""

    prompt_style: str | None = None
    num_fewshot: int | None = None
    results: str | None = None


@dataclass(frozen=True)
class RunScoring:
    """How log-likelihoods were computed, and why not in the fastest way (empty: it was the fastest)."""

    way: str
    reason: str = ""


@dataclass(frozen=True)
class Checkout:
    """The git checkout that a run was started in; an empty commit: none."""

    commit: str = ""
    changed: bool = False


@dataclass(frozen=True)
class Run:
    """What ``run.json`` says. All defaults: a folder that plain lm-eval wrote.

    Attributes:
        format: of the file.
        status: ``incomplete``: some tasks could not be evaluated; ``failed``: a bug ended the run.
        command: the command line that repeats it.
        settings: the request, as ``make_spec`` reads it; empty: not recorded.
        started, finished: ISO 8601.
        seconds: how long it took (a resumed run: since it was resumed).
        resumed: when it was resumed.
        data: by task.
        notes: what has to be said wherever the results are shown.
        seeds: Python, numpy, torch, few-shot.
        versions: of the packages.
        results: the result files.
        cells: the prompt styles and shots, in order.
        done, missing: tasks by label.
        failed: tasks that could not be evaluated, by label, and why.
        stem: what the names of the run's files begin with.
        hardware: as :func:`machine.environment.describe_hardware` gives it.
        scoring: None: lm-eval's own way.
    """

    format: int = FORMAT
    status: Status = "complete"
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    seconds: float | None = None
    resumed: tuple[str, ...] = ()
    model: RunModel = field(default_factory=RunModel)
    data: Mapping[str, RunData] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seeds: tuple[int | None, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    git: Checkout = field(default_factory=Checkout)
    results: tuple[str, ...] = ()
    cells: tuple[RunCell, ...] = ()
    done: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    stem: str = ""
    hardware: Mapping[str, Any] = field(default_factory=dict)
    scoring: RunScoring | None = None

    def dump(self) -> dict[str, Any]:
        """The run as JSON can hold it; what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}
