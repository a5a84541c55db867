"""``gptalt-eval data``: what there is, whether it is whole, where it belongs, and putting it there."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.types import Dataset, Installed
from gptalt_eval.data.locate import choose_data_dir
from gptalt_eval.data.survey import NOT_HERE, SplitSurvey, survey_dataset
from gptalt_eval.planning.catalog import Catalog, add_local_datasets

VERBS = ("ls", "check", "where", "prepare")
EXIT_OF_FAULTY_DATA = 2


def run_data(arguments: argparse.Namespace, plugins: Installed) -> int:
    verbs = {"ls": run_ls, "check": run_check, "where": run_where, "prepare": run_prepare}
    if arguments.verb not in verbs:
        hint = did_you_mean(arguments.verb, VERBS) or f"There are: {', '.join(VERBS)}."
        raise GptaltError(f"'data {arguments.verb}': there is no such thing to do.", hint)
    if arguments.source is not None and arguments.verb != "prepare":
        raise GptaltError("--from belongs to 'data prepare'.", "gptalt-eval data prepare NAME --from PATH")
    folder = choose_folder(arguments)
    catalog = Catalog(plugins)
    if folder is not None:
        add_local_datasets(catalog, folder)
    return verbs[arguments.verb](arguments, catalog, folder)


def choose_folder(arguments: argparse.Namespace) -> Path | None:
    """The data folder. Only ``check`` and ``prepare`` need one; ``prepare`` makes it.

    Raises:
        GptaltError: one is needed and none is named, or there is none of that name.
    """
    if arguments.verb == "prepare" and arguments.data_dir not in (None, SAMPLE):
        return Path(arguments.data_dir).expanduser()
    folder = choose_data_dir(arguments.data_dir)
    if isinstance(folder, Path):
        return folder
    if arguments.verb in ("check", "prepare"):
        raise GptaltError(
            f"'data {arguments.verb}' needs a data folder.", "Give --data_dir FOLDER, or set GPTALT_DATA."
        )
    return None


def find_datasets(catalog: Catalog, names: list[str]) -> list[Dataset]:
    """The datasets of these names; of none: all.

    Raises:
        UnknownNameError: no such dataset; says which is near.
    """
    for name in names:
        if name not in catalog.datasets:
            begin = [known for known in catalog.datasets if known.startswith(name)]
            hint = did_you_mean(name, catalog.datasets) or (f"There are {', '.join(begin)}." if begin else "")
            raise UnknownNameError(f"There is no dataset '{name}'.", hint or "See: gptalt-eval data ls")
    return [catalog.datasets[name].item for name in names or catalog.datasets]


def run_ls(arguments: argparse.Namespace, catalog: Catalog, folder: Path | None) -> int:
    word = " ".join(arguments.names).lower()
    rows = []
    for name, owned in catalog.datasets.items():
        dataset = owned.item
        here = [
            split.name
            for split in dataset.splits
            if folder and any(find_anywhere(folder, p) for p in split.files)
        ]
        row = {
            "name": name,
            "title": dataset.title,
            "licence": dataset.licence,
            "here": ", ".join(here),
            "from": str(owned.owner),
        }
        if word in " ".join(row.values()).lower():
            rows.append(row)
    show(arguments, rows)
    return 0


def find_anywhere(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern.replace("{config}", "*")))


def run_check(arguments: argparse.Namespace, catalog: Catalog, folder: Path | None) -> int:
    assert folder is not None
    found = [
        survey
        for dataset in find_datasets(catalog, arguments.names)
        for survey in survey_dataset(dataset, folder)
    ]
    return show_surveys(arguments, found)


def show_surveys(arguments: argparse.Namespace, surveys: list[SplitSurvey]) -> int:
    """Print what was found. Returns 2 where something is wrong with it, else 0."""
    show(arguments, [asdict(s) for s in surveys] if arguments.json else [describe_survey(s) for s in surveys])
    if not arguments.json:
        for survey in surveys:
            for reason in survey.reasons:
                print(f"\n{'Fault' if survey.is_faulty else 'Note'}: {reason}", end="")
        is_faulty = any(survey.is_faulty for survey in surveys)
        print("\nWhere to get them again: gptalt-eval data where NAME" if is_faulty else "")
    return EXIT_OF_FAULTY_DATA if any(survey.is_faulty for survey in surveys) else 0


def describe_survey(survey: SplitSurvey) -> dict[str, str]:
    expected = "" if survey.expected is None else f"{survey.expected:,}"
    if survey.official is not None and survey.expected not in (None, survey.official):
        expected += f" of {survey.official:,}"
    files = survey.files.replace("{config}", "*")
    return {
        "dataset": survey.dataset,
        "split": survey.split,
        "files": f"{files} ({survey.count:,} files)" if survey.count > 1 else files,
        "rows": "" if survey.rows is None else f"{survey.rows:,}",
        "expected": expected,
        "sha-256": survey.sha256,
        "state": f"{survey.state}: {survey.part}"
        if survey.part and survey.state == "partial"
        else survey.state,
    }


def run_where(arguments: argparse.Namespace, catalog: Catalog, folder: Path | None) -> int:
    if not arguments.names:
        raise GptaltError("'data where' needs a name.", "See: gptalt-eval data ls")
    rows = []
    datasets = find_datasets(catalog, arguments.names)
    for dataset in datasets:
        for split in dataset.splits:
            for pattern in split.files:
                count = len(find_anywhere(folder, pattern)) if folder else 0
                found = f"found ({count:,} files)" if count > 1 else "found" if count else "not found"
                shown = pattern.replace("{config}", "*")
                rows.append({
                    "dataset": dataset.name, "split": split.name, "found": found if folder else "",
                    "path": str(folder / shown) if folder else shown, "published": dataset.home,
                })  # fmt: skip
    show(arguments, rows)
    if not arguments.json:
        print("\nPut a download in its place: gptalt-eval data prepare NAME --from PATH --data_dir FOLDER")
    return 0


def run_prepare(arguments: argparse.Namespace, catalog: Catalog, folder: Path | None) -> int:
    from gptalt_eval.data.prepare import prepare_dataset

    if not arguments.names or arguments.source is None:
        raise GptaltError(
            "'data prepare' needs a name and what was downloaded.",
            "gptalt-eval data prepare NAME --from PATH",
        )
    assert folder is not None
    datasets = find_datasets(catalog, arguments.names)
    placed = [
        item
        for dataset in datasets
        for item in prepare_dataset(dataset, arguments.source.expanduser(), folder)
    ]
    surveys = [survey for dataset in datasets for survey in survey_dataset(dataset, folder)]
    if not arguments.json:
        new = [item.path for item in placed if item.is_new]
        named = ", ".join(new[:3]) + (f" and {len(new) - 3:,} more" if len(new) > 3 else "")
        print(f"Put in {folder}: {named or 'nothing new'}. There already: {len(placed) - len(new):,}.\n")
    code = show_surveys(arguments, surveys)
    missing = [
        f"{survey.dataset} {survey.split} ({survey.files})" for survey in surveys if survey.state == NOT_HERE
    ]
    if missing and not arguments.json:
        print(f"Still missing: {', '.join(missing)}.")
    return code


def show(arguments: argparse.Namespace, rows: list[dict[str, str]]) -> None:
    from gptalt_eval.commands.printing import print_json, print_rows

    if arguments.json:
        print_json(rows)
    elif rows:
        print_rows([{key: key.upper() for key in rows[0]}, *rows])
    else:
        print("Nothing of that name.")
