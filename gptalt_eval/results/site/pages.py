"""A site of many runs: a leaderboard, a page for each model and task, and the reports with their items."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gptalt_eval.contract.record import Record, find_experiment
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.results.arms import lengthen, name_models
from gptalt_eval.results.figures.choice import draw_figures
from gptalt_eval.results.notes import list_marks, list_notes
from gptalt_eval.results.overview import Overview, make_overview
from gptalt_eval.results.page import render_page
from gptalt_eval.results.report import render_report, show_count, show_seconds
from gptalt_eval.results.rows import Logged, read_logged
from gptalt_eval.results.site.models import ModelView, view_models
from gptalt_eval.results.site.places import SECTIONS, Place
from gptalt_eval.results.site.publishing import name_page, publish
from gptalt_eval.results.site.tasks import TaskView, view_tasks
from gptalt_eval.results.tree import Branch, make_tree

DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(/|$)")
#: what has a style sheet or a script of its own
PARTS = ("report", "address", "tables", "exports", "figures", "site_nav", "site")
LEADERBOARD, MODELS, TASKS, RUNS = (path for _, path in SECTIONS)


@dataclass(frozen=True)
class Report:
    """The report of an experiment, or of a run on its own.

    Attributes:
        title, path: of its page.
        places: the numbers of its runs.
    """

    title: str
    path: str
    places: Sequence[int]


@dataclass(frozen=True)
class Site:
    """What the pages of a site are made from.

    Attributes:
        records: the runs.
        names: of each.
        logged: the rows of each.
        overview: of all of them.
        tree: the scores of all arms, task by task.
        reports: of the runs.
        models, tasks: those with a page.
        plugins: what adds sections to reports.
    """

    records: Sequence[Record]
    names: Sequence[str]
    logged: Sequence[Logged]
    overview: Overview
    tree: Sequence[Branch]
    reports: Sequence[Report]
    models: Sequence[ModelView]
    tasks: Sequence[TaskView]
    plugins: Installed

    @property
    def links(self) -> dict[str, str]:
        """By the model that an arm names, the path of its page."""
        return {arm.model: model.path for model in self.models for arm in model.arms}

    @property
    def paths(self) -> dict[str, str]:
        """The path of the page of each task."""
        return {task.name: task.path for task in self.tasks}

    def find_report(self, place: int) -> Report:
        """The report of the run with a number."""
        return next(report for report in self.reports if place in report.places)


def write_site(records: Sequence[Record], folder: Path, plugins: Installed) -> list[str]:
    """Write the site of some runs into a folder, and return old pages that were changed and are kept.

    Raises:
        GptaltError: the folder contains something else.
        OSError: a page cannot be written.
    """
    return publish(folder, list_pages(make_site(records, plugins)))


def make_site(records: Sequence[Record], plugins: Installed) -> Site:
    logged = [read_logged(record) for record in records]
    overview = make_overview(records, logged)
    tree = [line for line in make_tree(records, overview) if not line.is_subject]
    tasks = view_tasks(records, overview, tree)
    return Site(
        records=records, names=name_models(records), logged=logged, overview=overview, tree=tree,
        reports=group_reports(records), models=view_models(records, overview, tasks), tasks=tasks,
        plugins=plugins,
    )  # fmt: skip


def group_reports(records: Sequence[Record]) -> list[Report]:
    """A report for each experiment, and for each run that belongs to none."""
    found: dict[Path, list[int]] = {}
    for place, record in enumerate(records):
        found.setdefault(find_experiment(record.folder) or record.folder, []).append(place)
    titles = []
    for folder, places in found.items():
        began = min(records[place].run.started for place in places)[:19].replace("T", " ")
        alone = folder == records[places[0]].folder
        name = records[places[0]].model if alone else folder.absolute().name
        titles.append(f"{name}, {began}" if began else name)
    unique = lengthen(titles, list(found))
    return [
        Report(title, f"runs/{name_page(title)}.html", places)
        for title, places in zip(unique, found.values(), strict=True)
    ]


def list_pages(site: Site) -> dict[str, Callable[[], str]]:
    """What makes each page, by its path; those that lead to others follow them."""
    pages: dict[str, Callable[[], str]] = {}
    for report in site.reports:
        pages[report.path] = partial(show_report, site, report)
    for task in site.tasks:
        pages[task.path] = partial(show_page, site, "site_task", task.path, task.title, task=task)
    for model in site.models:
        pages[model.path] = partial(show_page, site, "site_model", model.path, model.name, model=model)
    pages[RUNS] = partial(show_page, site, "site_runs", RUNS, "Runs")
    pages[TASKS] = partial(show_page, site, "site_tasks", TASKS, "Tasks")
    pages[MODELS] = partial(show_page, site, "site_models", MODELS, "Models")
    pages[LEADERBOARD] = partial(show_leaderboard, site)
    return pages


def show_report(site: Site, report: Report) -> str:
    records = [site.records[number] for number in report.places]
    paths = {model.name: model.path for model in site.models}
    names = zip(name_models(records), records, strict=True)
    place = Place(report.path, show_plain(report.title), {name: paths[each.model] for name, each in names})
    return render_report(records, site.plugins, [site.logged[number] for number in report.places], place)


def show_leaderboard(site: Site) -> str:
    overview = site.overview
    return show_page(
        site, "site_index", LEADERBOARD, SECTIONS[0][0],
        marks=list_marks(site.records, site.names, overview),
        notes=list_notes(site.records, site.names, site.logged, overview),
        figures=draw_figures(overview, site.tree),
    )  # fmt: skip


def show_page(site: Site, name: str, path: str, title: str, **values: Any) -> str:
    place = Place(path, show_plain(title), site.links)
    return render_page(
        "gptalt_eval.results", name, PARTS, pages=site, overview=site.overview, site=place,
        show_seconds=show_seconds, show_count=show_count, show_plain=show_plain, find_url=find_url,
        **values,
    )  # fmt: skip


def find_url(text: str) -> str:
    """The address in a home page as it is published, often without ``https://``; empty: it is not one."""
    if text.startswith(("https://", "http://")):
        return text
    return f"https://{text}" if DOMAIN.match(text) else ""
