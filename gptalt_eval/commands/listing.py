"""Lists for ``gptalt-eval ls`` and ``plugins``: tasks, models, datasets, prompt styles, plugins."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gptalt_eval.commands.model_list import choose_models, make_facts, make_row
from gptalt_eval.commands.printing import print_rows
from gptalt_eval.contract.discovery import PREFIX
from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.types import Dataset, Installed, Owned, Split
from gptalt_eval.data.locate import choose_data_dir, find_sample
from gptalt_eval.data.survey import found_by
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.machine.words import count_things
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.places import list_included


def run_ls(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands.printing import print_json

    if arguments.all and arguments.kind not in ("tasks", "groups"):
        raise GptaltError(f"--all does not apply to {arguments.kind}.", "It applies to tasks and groups.")
    if arguments.data_dir and arguments.kind != "datasets":
        raise GptaltError(f"--data_dir does not apply to {arguments.kind}.", "It applies to datasets.")
    folder = choose_data_dir(arguments.data_dir) if arguments.kind == "datasets" else None
    idle = [flag for flag in ("language", "size", "commercial") if getattr(arguments, flag)]
    if idle and arguments.kind != "models":
        raise GptaltError(f"--{idle[0]} does not apply to {arguments.kind}.", "It applies to models.")
    if arguments.include_path and arguments.kind not in ("tasks", "groups", "models"):
        text = f"--include_path does not apply to {arguments.kind}."
        raise GptaltError(text, "It applies to tasks, groups and models.")
    catalog = Catalog(plugins, list_included(arguments.include_path), folder)
    models = choose_models(catalog, arguments) if arguments.kind == "models" else []
    listers: dict[str, Callable[[], Iterable[dict[str, str]]]] = {
        "tasks": lambda: list_tasks(catalog, arguments.all, ("task", "group", "tag")),
        "groups": lambda: list_tasks(catalog, arguments.all, ("group", "tag")),
        "models": lambda: map(make_row, models),
        "datasets": lambda: list_datasets(catalog),
        "styles": lambda: list_prompt_styles(catalog),
        "plugins": lambda: list_plugins(catalog),
    }
    rows = list(listers[arguments.kind]())
    word = arguments.word.lower()
    shown = [row for row in rows if word in " ".join(row.values()).lower()]
    if arguments.json:
        names = {row["name"] for row in shown}
        print_json([make_facts(owned) for owned in models if owned.item.name in names] or shown)
        return 0
    print_rows(shown)
    if not rows:
        print("No model here meets all of these conditions. See all: gptalt-eval ls models")
    elif not shown:
        hint = did_you_mean(arguments.word, [row["name"] for row in rows])
        print(f"Nothing matches '{arguments.word}'. {hint}")
    if arguments.kind == "models" and any(row["commercial"] for row in shown):
        print("\nyes, no, ask: commercial use (ask: its publisher decides).")
    if arguments.kind in ("tasks", "groups") and not arguments.all:
        command = f"gptalt-eval ls {arguments.kind} --all {arguments.word}".rstrip()
        print(f"\nlm-eval's own {arguments.kind}: {command}")
    return 0


def list_tasks(catalog: Catalog, everything: bool, kinds: tuple[str, ...]) -> Iterable[dict[str, str]]:
    listed = {name: (owned.item.kind, str(owned.owner)) for name, owned in catalog.list_benchmarks().items()}
    if everything:
        listed = {name: (entry.kind, "lm-eval") for name, entry in catalog.lm_eval_tasks.items()} | listed
    for name, (kind, owner) in sorted(listed.items()):
        if kind in kinds:
            yield {"name": name, "kind": kind, "from": owner}


def list_datasets(catalog: Catalog) -> Iterable[dict[str, str]]:
    """Every dataset and, of a data folder, which of its splits are here."""
    folder = catalog.data_dir
    for name, owned in sorted(catalog.datasets.items()):
        dataset = owned.item
        rows = ", ".join(f"{split.name} {split.rows:,}" for split in dataset.splits if split.rows)
        row = {
            "name": name,
            "title": dataset.title,
            "licence": dataset.licence,
            "from": str(owned.owner),
            "rows": rows,
        }
        if folder is not None:
            here = [split.name for split in dataset.splits if is_here(dataset, split, folder)]
            row["here"] = ", ".join(here) or "nothing"
        yield row


def is_here(dataset: Dataset, split: Split, folder: Path | str) -> bool:
    """Whether a data folder, or the embedded sample, has rows of a split."""
    if not isinstance(folder, Path):
        return bool(find_sample(dataset, split.name))
    return any(found_by(folder, pattern) for pattern in split.files)


def list_prompt_styles(catalog: Catalog) -> Iterable[dict[str, str]]:
    for name, owned in catalog.prompt_styles.items():
        yield {"name": name, "from": str(owned.owner), "what": owned.item.summary}


def list_plugins(catalog: Catalog) -> Iterable[dict[str, str]]:
    from gptalt_eval.planning.known import KNOWN

    for name, owner in catalog.plugins.owners.items():
        if owner.distribution == "gptalt-eval" and name != "builtin":
            continue  # the core registers several modules, but counts as one
        yield {
            "name": name,
            "state": "installed",
            "version": owner.version,
            "what": count_contributions(catalog, owner),
        }
    broken = {problem.plugin for problem in catalog.plugins.problems} - {
        str(o) for o in catalog.plugins.owners.values()
    }
    for name in sorted(broken):
        yield {"name": name.removeprefix(PREFIX), "state": "disabled", "version": "", "what": "see below"}
    for name, known in KNOWN.items():
        if name not in catalog.plugins.owners and PREFIX + name not in broken:
            yield {"name": name, "state": "available", "version": "", "what": known.summary}


def count_contributions(catalog: Catalog, owner: Any) -> str:
    def count(things: Iterable[Owned[Any]]) -> int:
        return sum(thing.owner == owner for thing in things)

    counts = {
        "model": count(catalog.models.values()),
        "task": sum(thing.owner == owner and thing.item.kind == "task" for thing in catalog.tasks.values()),
        "group": sum(thing.owner == owner and thing.item.kind != "task" for thing in catalog.tasks.values()),
        "dataset": count(catalog.datasets.values()),
        "prompt style": count(catalog.prompt_styles.values()),
    }
    return ", ".join(count_things(number, noun) for noun, number in counts.items() if number)


def run_plugins(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.commands.printing import print_json

    rows = list(list_plugins(Catalog(plugins)))
    if arguments.json:
        problems = [{"plugin": p.plugin, "what": p.what, "cure": p.cure} for p in plugins.problems]
        print_json({"plugins": rows, "problems": problems})
        return 0
    print_rows(rows)
    print("\nTo install one: gptalt-eval install NAME. To write one: CONTRIBUTING.md")
    return 0
