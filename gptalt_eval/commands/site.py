"""Site: the pages of many runs in one folder, for a web server."""

from __future__ import annotations

import argparse

from gptalt_eval.commands.report import read_records
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print


def run_site(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval.machine.consoles import make_console
    from gptalt_eval.machine.words import count_things
    from gptalt_eval.results.site.pages import write_site

    records = [record for record in read_records(arguments.runs) if record.results]
    if not records:
        raise GptaltError("None of these runs has a score yet.", "Wait until a task is finished.")
    try:
        with make_console(stderr=True).status(f"Writing the pages of {count_things(len(records), 'run')}"):
            kept = write_site(records, arguments.into, plugins)
    except OSError as error:
        raise GptaltError(
            f"{error.filename or arguments.into} cannot be written: {error.strerror}.",
            "Choose another folder with --into.",
        ) from error
    for path in kept:
        print(f"Kept, because somebody changed it: {arguments.into / path}")
    print(arguments.into / "index.html")
    return 0
