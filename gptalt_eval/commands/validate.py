"""``gptalt-eval validate``: check task files."""

from __future__ import annotations

import argparse
import json

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.types import Installed
from gptalt_eval.data.locate import choose_data_dir
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.validation.formats import format_text, make_json, make_sarif
from gptalt_eval.validation.validator import validate_files

EXIT_OF_FAULTY_FILES = 2


def run_validate(arguments: argparse.Namespace, plugins: Installed) -> int:
    """Print the findings. Returns 2 if there are errors, else 0."""
    if arguments.json and arguments.sarif:
        raise GptaltError("--json and --sarif cannot be used together.", "Give only one of them.")
    data_dir = choose_data_dir(arguments.data_dir)
    reports = validate_files(arguments.targets, Catalog(plugins, data_dir=data_dir))
    if arguments.json or arguments.sarif:
        value = make_sarif(reports) if arguments.sarif else make_json(reports)
        print(json.dumps(value, indent=2, ensure_ascii=False), as_is=True)
    else:
        print(format_text(reports))
    return EXIT_OF_FAULTY_FILES if any(report.count("error") for report in reports) else 0
