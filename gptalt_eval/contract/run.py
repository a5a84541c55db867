"""The content of ``run.json``: how a run's scores were produced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from gptalt_eval.contract.handed import is_bare
from gptalt_eval.contract.types import Owner

Status = Literal["running", "complete", "incomplete", "interrupted", "failed"]
FORMAT = 1


@dataclass(frozen=True)
class RunModel:
    """The model of a run.

    Attributes:
        name: what it is called: its ``--model`` name, or the weights that lm-eval's class loads.
        owner: the plugin that contributed it.
        args: its arguments, as text.
        licence, home: as published.
        system_place: where its chat template puts a system message; empty: that of its tokenizer is used.
        stop, stop_token_ids: what ends an answer to a prompt with this template.
        fingerprint: SHA-256 of everything that can change an answer; None until it is loaded.
        parts: SHA-256 of its weights, configuration, tokenizer, code, ..., to tell what has changed.
        parameters: their number; None if unknown.
        dtype, device: of the weights.
        load_seconds: how long loading took.
        commits: argument -> ``OWNER/NAME@COMMIT``, of the repositories that its files are from.
    """

    name: str = ""
    owner: Owner | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    home: str = ""
    system_place: str = ""
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    fingerprint: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    dtype: str = ""
    device: str = ""
    load_seconds: float | None = None
    commits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSplit:
    """One split that was read: its rows, those of the official release, and its files' SHA-256."""

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
        task_from: the plugin that contributed the task.
        partial: whether the rows are not those of the complete release; ``reason`` says why.
        title, licence, home: of the dataset, if one is registered.
        splits: those that were read.
        yaml: SHA-256 of the task's merged YAML; empty: written by an earlier version.
        cluster: the column that rows share which are not independent; empty: none.
        files: SHA-256 of the local files that the YAML names; empty: none, or written by an earlier version.
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
    yaml: str = ""
    cluster: str = ""
    files: str = ""


@dataclass(frozen=True)
class RunCell:
    """One prompt style and number of shots.

    Attributes:
        prompt_style, num_fewshot: None: none was requested.
        results: its results file; None: there are no results yet.
        prompts: SHA-256 of what the style adds to prompts; empty: no style, or written by an earlier version.
    """

    prompt_style: str | None = None
    num_fewshot: int | None = None
    results: str | None = None
    prompts: str = ""

    def label(self, task: str) -> str:
        return label_task(task, self.num_fewshot, self.prompt_style or "")


def label_task(name: str, shots: int | None, style: str) -> str:
    """The name of a task in one cell, with prompt style and shots."""
    details = [style, "" if shots is None else f"{shots}-shot"]
    return f"{name} ({', '.join(filter(None, details))})" if any(details) else name


@dataclass(frozen=True)
class RunCut:
    """How many of a task's requests lost the beginning of their prompt, which was too long for the model.

    Attributes:
        lost: their number.
        requests: the number of all requests of the task.
        context: tokens that the model can read at once.
        pictures: how many pictures a prompt may have; 0: any number.
    """

    lost: int
    requests: int
    context: int
    pictures: int = 0

    def explain(self, task: str) -> str:
        many = f", or had more pictures than {self.pictures}," if self.pictures else ""
        return (
            f"{task}: {self.lost:,} of {self.requests:,} requests did not fit into the model's context of "
            f"{self.context:,} tokens{many} and lost the beginning of their prompt."
        )


@dataclass(frozen=True)
class RunPlugin:
    """A plugin that was loaded.

    Attributes:
        name: of its entry point.
        distribution, version: as pip knows them; empty: it was registered by hand.
        sha256: of its files; empty: it was registered by hand.
    """

    name: str
    distribution: str = ""
    version: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        if not self.distribution:
            return f"{self.name} (not installed)"
        return f"{self.distribution} {self.version} ({self.sha256[:12]})"


@dataclass(frozen=True)
class RunScoring:
    """How log-likelihoods were computed.

    Attributes:
        way: the method.
        reason: why it is not the fastest one; empty: it is.
        tokens: how many were computed (a resumed run: since it was resumed).
        asked: how many there would have been without shared prefixes.
        seconds: the time for them.
    """

    way: str
    reason: str = ""
    tokens: int = 0
    asked: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class RunWorker:
    """What one worker computed on the ``device`` of a computer (``node``), and in how many seconds."""

    name: str
    node: str = ""
    device: str = ""
    units: int = 0
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkout:
    """The git checkout in which a run was started; an empty commit: none."""

    commit: str = ""
    changed: bool = False


@dataclass(frozen=True)
class Run:
    """The content of ``run.json``. All defaults: a folder that lm-eval itself wrote.

    Attributes:
        format: version of the file format.
        status: ``incomplete``: some tasks could not be evaluated; ``failed``: a bug ended the run.
        command: the command line that repeats it.
        settings: the request, readable by ``make_spec``; empty: not recorded.
        started, finished: ISO 8601.
        seconds: how long it took (a resumed run: since it was resumed).
        resumed: when it was resumed.
        data: by task.
        notes: what must be shown with the results.
        seeds: Python, numpy, torch, few-shot.
        versions: of the packages.
        plugins: all that were loaded, whether or not they contributed to the run.
        earlier_plugins: others with which it ran before it was resumed.
        earlier_versions: others with which it ran before it was resumed, the oldest first.
        results: the result files.
        cells: the prompt styles and shots, in order.
        done, missing: tasks by label.
        failed: tasks that could not be evaluated, by label, and why.
        cut: of tasks by label, how many requests were too long for the model; those without any are left out.
        stem: the prefix of the names of the run's files.
        hardware: see :func:`machine.environment.describe_hardware`.
        scoring: how log-likelihoods were computed; None: by lm-eval's own scorer.
        usage: how many tokens the servers of a model counted, by kind (a resumed run: since it was resumed);
            empty: it is not served, or they count none.
        task_code: path -> SHA-256 of the YAMLs and Python files that the user trusted.
        workers: who computed the answers; empty: this process.
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
    plugins: tuple[RunPlugin, ...] = ()
    earlier_plugins: tuple[RunPlugin, ...] = ()
    earlier_versions: tuple[Mapping[str, str], ...] = ()
    git: Checkout = field(default_factory=Checkout)
    results: tuple[str, ...] = ()
    cells: tuple[RunCell, ...] = ()
    done: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    cut: Mapping[str, RunCut] = field(default_factory=dict)
    stem: str = ""
    hardware: Mapping[str, Any] = field(default_factory=dict)
    scoring: RunScoring | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    task_code: Mapping[str, str] = field(default_factory=dict)
    workers: tuple[RunWorker, ...] = ()

    def check(self) -> None:
        """Check that every name that becomes a file's is that of a file in the run's own folder.

        Raises:
            ValueError: one is not; says which.
        """
        named = {f"results[{place}]": name for place, name in enumerate(self.results)}
        named |= {f"cells[{place}].results": cell.results or "" for place, cell in enumerate(self.cells)}
        named |= {"stem": self.stem, "started": self.started.replace(":", "-")}
        for place, name in named.items():
            if name and not is_bare(name):
                raise ValueError(f"{place} is {name!r:.60}, expected a name without folders")
        if not isinstance(self.hardware.get("gpus", []), list):
            raise ValueError(f"hardware.gpus is {self.hardware['gpus']!r:.60}, expected a list")

    def explain_versions(self) -> list[str]:
        """A sentence for each time that the run was resumed with other packages or plugins."""
        versions = [
            f"A part of this run was computed with {name_versions(before, after)}, and what follows with "
            f"{name_versions(after, before)}."
            for before, after in pairwise((*self.earlier_versions, self.versions))
        ]
        plugins = [f"A part of this run was computed with {plugin}." for plugin in self.earlier_plugins]
        return [*versions, *plugins]

    def dump(self) -> dict[str, Any]:
        """The run as JSON values; unknown ones are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def name_versions(some: Mapping[str, str], others: Mapping[str, str]) -> str:
    """The packages of which two environments have different versions, in the first of them."""
    names = [name for name in {**some, **others} if some.get(name) != others.get(name)]
    return ", ".join(f"{name} {some.get(name, '(none)')}" for name in names)
