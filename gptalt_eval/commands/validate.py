""""""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.types import Installed
from gptalt_eval.data.locate import choose_data_dir
from gptalt_eval.planning.catalog import Catalog, add_local_datasets
from gptalt_eval.validation.formats import format_text, make_json, make_sarif
from gptalt_eval.validation.validator import validate_files

EXIT_OF_FAULTY_FILES = 2


def run_validate(arguments: argparse.Namespace, plugins: Installed) -> int:
    """Print what was found. Returns 2 where there are errors, else 0."""
    if arguments.json and arguments.sarif:
        raise GptaltError("--json and --sarif exclude each other.", "Give one of them.")
    data_dir = choose_data_dir(arguments.data_dir)
    catalog = Catalog(plugins)
    if isinstance(data_dir, Path):
        add_local_datasets(catalog, data_dir)
    reports = validate_files(arguments.targets, catalog, data_dir)
    if arguments.json or arguments.sarif:
        value = make_sarif(reports) if arguments.sarif else make_json(reports)
        print(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        print(format_text(reports))
    return EXIT_OF_FAULTY_FILES if any(report.count("error") for report in reports) else 0
