"""`gptalt-eval validate` over every definition of the installed lm-eval, against what lm-eval itself loads.

    python benchmarks/validate_lm_eval.py [--json FILE]

First every file is validated, in this process and without lm-eval (that is asserted). Then lm-eval's own
loader reads each, without data: `load_yaml` with its functions imported, `TaskConfig(**fields)` or
`GroupConfig(**fields)`, and its factory for a group's members. A file that lm-eval loads and that is
called broken here is a false alarm. Modules of tasks need packages that may not be installed; such files
count by what `load_yaml(resolve_func=False)` makes of them, which is the stricter test for us.
"""

import argparse
import collections
import json
import logging
import os
import platform
import sys
import time
from pathlib import Path

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.index import find_lm_eval_tasks, find_yaml_files, read_lm_eval_tasks
from gptalt_eval.validation.findings import gather_distinct
from gptalt_eval.validation.validator import Validator

HEAVY = ("lm_eval", "torch", "transformers", "datasets")
REFUSALS = ("Refused",)  # what the factory itself says of a group's members
STRUCTURE = ("tag", "group", "task_list")  # what lm-eval's factory takes out before TaskConfig


def validate_all(files):
    """The reports, the seconds of each file, and the seconds of all."""
    start = time.perf_counter()
    validator = Validator(Catalog(load_plugins(builtin)))
    reports, seconds = [], []
    for file in files:
        before = time.perf_counter()
        reports.append(validator.check(file))
        seconds.append(time.perf_counter() - before)
    return reports, seconds, time.perf_counter() - start


def load_with_lm_eval(files):
    """file -> "loads", "loads, functions aside" or lm-eval's complaint."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.CRITICAL)
    return {file: try_to_load(file) for file in files}


def try_to_load(file):
    problem = build(file, resolve=False)
    if problem:
        return problem
    problem = build(file, resolve=True)
    if problem.startswith(REFUSALS):
        return problem
    return "loads, functions aside" if problem else "loads"


def build(file, resolve):
    from lm_eval.config.group import GroupConfig
    from lm_eval.config.task import TaskConfig
    from lm_eval.tasks._factory import GROUP_FIELD_NAMES
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config = load_yaml(file, resolve_func=resolve)
        if "class" in config:
            return ""
        if "group" in config:
            GroupConfig(**{key: value for key, value in config.items() if key in GROUP_FIELD_NAMES})
            if resolve:
                build_members(config)
        else:
            TaskConfig(**{key: value for key, value in config.items() if key not in STRUCTURE})
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"[:200]
    return ""


class Refused(Exception):
    """lm-eval's factory does not build the group."""


def build_members(config):
    """What lm-eval's factory does with a group, each task made as far as its TaskConfig."""
    from lm_eval.config.task import TaskConfig
    from lm_eval.tasks import _factory

    class Stub:
        def __init__(self, config):
            self.config, self.task_name = TaskConfig(**config), config["task"]

    class Factory(_factory.TaskFactory):
        def build(self, entry, **_):
            return Stub({"task": entry.name})

    original, _factory.ConfigurableTask = _factory.ConfigurableTask, Stub
    try:
        registry = {name: _factory.Entry(name, _factory.Kind.TASK, None) for name in read_lm_eval_tasks()}
        Factory()._build_group(config["group"], config, None, registry)
    except (TypeError, ValueError) as error:
        raise Refused(error) from error
    finally:
        _factory.ConfigurableTask = original


def describe(finding, folder):
    where = finding.place.file.relative_to(folder).as_posix()
    return {"rule": finding.rule, "level": finding.level, "file": where, "line": finding.place.line,
            "message": finding.message}  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = find_lm_eval_tasks()
    files = sorted(find_yaml_files(folder))
    reports, seconds, total = validate_all(files)
    assert not [name for name in HEAVY if name in sys.modules], "validate imported something heavy"
    loads = load_with_lm_eval(files)
    findings = gather_distinct(reports)
    with_errors = [report for report in reports if report.count("error")]
    false_alarms = [report for report in with_errors if loads[report.target].startswith("loads")]
    seconds.sort()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(
        f"{len(files):,} files in {total:.1f} s; a file: median {1000 * seconds[len(seconds) // 2]:.1f} ms,"
    )
    print(
        f"  99 % below {1000 * seconds[int(0.99 * len(seconds))]:.1f} ms, longest {1000 * seconds[-1]:.0f} ms"
    )
    print(
        "lm-eval:",
        dict(
            collections.Counter(
                word if word.startswith("loads") else "does not load" for word in loads.values()
            )
        ),
    )
    print(
        f"{len(with_errors)} files with errors, {len(false_alarms)} of them loaded by lm-eval (false alarms)"
    )
    missed = [
        file
        for file, word in loads.items()
        if not word.startswith("loads") and file not in {r.target for r in with_errors}
    ]
    print(f"{len(missed)} files that lm-eval does not load and validate does not call broken")
    kinds = collections.Counter((finding.level, finding.rule) for finding in findings)
    for (level, rule), count in sorted(kinds.items(), key=lambda item: (item[0][0], -item[1])):
        in_files = sum(
            any(f.rule == rule and f.level == level for f in report.findings) for report in reports
        )
        print(f"  {level:8} {rule:24} {count:6,} places, met in {in_files:6,} files")
    for report in false_alarms:
        for finding in report.findings:
            if finding.level == "error":
                print("FALSE ALARM", describe(finding, folder))
    if arguments.json:
        rows = [describe(finding, folder) for finding in findings]
        arguments.json.write_text(
            json.dumps({"seconds": total, "files": len(files), "findings": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
