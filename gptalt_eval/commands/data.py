"""``gptalt-eval data``: check release files, and copy a download to its place."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.types import Dataset, Installed
from gptalt_eval.data.locate import choose_data_dir
from gptalt_eval.data.survey import MISSING, SplitSurvey, survey_dataset
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.planning.catalog import Catalog

EXIT_OF_FAULTY_DATA = 2


def run_check(arguments: argparse.Namespace, plugins: Installed) -> int:
    folder = choose_data_dir(arguments.data_dir)
    if not isinstance(folder, Path):
        raise need_folder("check")
    found = [
        survey
        for dataset in find_datasets(Catalog(plugins, data_dir=folder), arguments.names)
        for survey in survey_dataset(dataset, folder)
    ]
    return show_surveys(arguments, found)


def need_folder(command: str) -> GptaltError:
    return GptaltError(
        f"'data {command}' needs a data folder.", "Give --data_dir FOLDER, or set GPTALT_DATA."
    )


def find_datasets(catalog: Catalog, names: list[str]) -> list[Dataset]:
    """The datasets with these names; without names, all.

    Raises:
        UnknownNameError: no such dataset; suggests the nearest ones.
    """
    for name in names:
        if name not in catalog.datasets:
            begin = ", ".join(known for known in catalog.datasets if known.startswith(name))
            hint = did_you_mean(name, catalog.datasets) or (f"Available: {begin}." if begin else "")
            raise UnknownNameError(f"There is no dataset '{name}'.", hint or "See: gptalt-eval ls datasets")
    return [catalog.datasets[name].item for name in names or catalog.datasets]


def show_surveys(arguments: argparse.Namespace, surveys: list[SplitSurvey]) -> int:
    """Print what was found. Returns 2 if there is a problem, else 0."""
    show(arguments, [asdict(s) for s in surveys] if arguments.json else [describe_survey(s) for s in surveys])
    if not arguments.json:
        for survey in surveys:
            if survey.state == "partial" and survey.part:  # the table says so
                continue
            for reason in survey.reasons:
                print(f"\n{'Error' if survey.is_faulty else 'Note'}: {reason}")
        is_faulty = any(survey.is_faulty for survey in surveys)
        if is_faulty:
            print("\nTo download files again, see: gptalt-eval show dataset NAME")
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


def run_prepare(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.data.prepare import prepare_dataset

    folder = choose_target(arguments.data_dir)
    datasets = find_datasets(Catalog(plugins, data_dir=folder), arguments.names)
    placed = [
        item
        for dataset in datasets
        for item in prepare_dataset(dataset, arguments.source.expanduser(), folder)
    ]
    surveys = [survey for dataset in datasets for survey in survey_dataset(dataset, folder)]
    if not arguments.json:
        new = [item.path for item in placed if item.is_new]
        named = ", ".join(new[:3]) + (f" and {len(new) - 3:,} more" if len(new) > 3 else "")
        print(f"Added to {folder}: {named or 'nothing new'}. Already there: {len(placed) - len(new):,}.\n")
    code = show_surveys(arguments, surveys)
    missing = [
        f"{survey.dataset} {survey.split} ({survey.files})" for survey in surveys if survey.state == MISSING
    ]
    if missing and not arguments.json:
        print(f"Still missing: {', '.join(missing)}.")
    return code


def choose_target(flag: str | None) -> Path:
    """The data folder, which need not exist yet."""
    if flag not in (None, SAMPLE):
        return Path(flag).expanduser()
    folder = choose_data_dir(flag)
    if not isinstance(folder, Path):
        raise need_folder("prepare")
    return folder


def show(arguments: argparse.Namespace, rows: list[dict[str, str]]) -> None:
    from gptalt_eval.commands.printing import print_json, print_rows

    if arguments.json:
        print_json(rows)
    elif rows:
        print_rows([{key: key.upper() for key in rows[0]}, *rows], below="files")
    else:
        print("No dataset matches.")
