"""How many small faults in a module its tests notice.

    python tests/mutation/measure.py [GROUP ...] [--sample 40] [--seed 0] [--all] [--only TEXT] [--survivors FILE]

Of each group of modules a sample of mutants is drawn; each is written into a copy of the checkout, and the group's
tests run there until one fails. A mutant that no test notices survives, and is printed. Those that change nothing
that can be observed stand in ``equivalent.txt``, with the reason, and are not counted.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from groups import GROUPS, Group
from hypothesis import Phase, settings
from mutants import Mutant, list_mutants

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
MEMORY = 16 * 2**30  # bytes of address space; a list that grows for ever ends there


@dataclass(frozen=True)
class Outcome:
    """What became of a group's mutants: how many there are, and which were tried, noticed, and not."""

    existing: int
    tried: int
    harmless: int
    survivors: tuple[Mutant, ...]

    @property
    def counted(self) -> int:
        return self.tried - self.harmless

    @property
    def killed(self) -> int:
        return self.counted - len(self.survivors)


def main() -> int:
    arguments = read_arguments()
    equivalent = read_equivalent(EQUIVALENT.read_text(encoding="utf-8"))
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_checkout(Path(folder) / "checkout")
        for name in arguments.groups or GROUPS:
            outcomes[name] = measure(name, GROUPS[name], ROOT, copy, equivalent, arguments)
    print("\n".join(["", *format_table(outcomes)]))
    if arguments.survivors:
        keys = [mutant.key for outcome in outcomes.values() for mutant in outcome.survivors]
        arguments.survivors.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")
    return 0


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--sample", type=int, default=40, help="mutants of a group (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose line holds this")
    parser.add_argument("--survivors", type=Path, metavar="FILE", help="write the survivors' lines here")
    arguments = parser.parse_args()
    unknown = set(arguments.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return arguments


def read_equivalent(text: str) -> dict[str, str]:
    """Mutants that change nothing, and why: a line that names one, and below it the reason, indented."""
    reasons: dict[str, str] = {}
    keys: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            reasons.update(dict.fromkeys(keys, line.strip()))
            keys = []
        elif line and not line.startswith("#"):
            keys.append(line)
    return reasons


def copy_checkout(target: Path) -> Path:
    """What git knows of the checkout, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def measure(
    name: str, group: Group, root: Path, copy: Path, equivalent: dict[str, str], arguments: argparse.Namespace
) -> Outcome:
    """Try a group's mutants in a copy of the checkout.

    Raises:
        SystemExit: the tests fail without them.
    """
    settings.register_profile(
        "mutants", deadline=None, phases=[Phase.explicit, Phase.generate]
    )  # no shrinking
    for module in group.preload:
        importlib.import_module(module)
    began = time.perf_counter()
    if run_tests(copy, group, 600, quiet=False) != 0:
        raise SystemExit(f"{name}: its tests fail on the unchanged checkout")
    limit = 20 + 5 * (time.perf_counter() - began)
    every = [mutant for file in group.files for mutant in list_mutants(root, file)]
    names = {mutant.key for mutant in every}
    for key in equivalent:
        if key.split(" ", 1)[0] in group.files and key not in names:
            print(f"gone      {key}: take it out of {EQUIVALENT.name}")
    chosen = [mutant for mutant in every if arguments.only in mutant.key]
    if not arguments.all and len(chosen) > arguments.sample:
        chosen = random.Random(f"{arguments.seed} {name}").sample(chosen, arguments.sample)
    tried = [mutant for mutant in chosen if mutant.key not in equivalent]
    survivors = []
    for mutant in sorted(tried, key=lambda mutant: (mutant.file, mutant.line)):
        if not is_killed(mutant, copy, group, limit):
            survivors.append(mutant)
            print(
                f"survived  {mutant.file}:{mutant.line}  {mutant.function or '-'}: {mutant.change}",
                flush=True,
            )
    outcome = Outcome(len(every), len(chosen), len(chosen) - len(tried), tuple(survivors))
    print(
        f"{name}: {outcome.killed} of {outcome.counted} killed, {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    return outcome


def is_killed(mutant: Mutant, copy: Path, group: Group, limit: float) -> bool:
    file = copy / mutant.file
    original = file.read_bytes()
    compiled = Path(importlib.util.cache_from_source(str(file)))
    try:
        file.write_text(mutant.source, encoding="utf-8")
        compiled.unlink(missing_ok=True)
        return run_tests(copy, group, limit, quiet=True) != 0
    finally:
        file.write_bytes(original)
        compiled.unlink(missing_ok=True)


def run_tests(copy: Path, group: Group, limit: float, quiet: bool) -> int:
    """The exit code of pytest in a process of its own, which has what is slow to import already; 1 after the limit.

    The limit is of processor time, which other work on the machine does not change; waiting takes at most ten times as long.
    """
    shutil.rmtree(copy / ".hypothesis", ignore_errors=True)  # one mutant's examples are not the next one's
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        seconds = math.ceil(limit)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        run_pytest(copy, group, quiet)
    ends = time.monotonic() + 10 * limit
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def run_pytest(copy: Path, group: Group, quiet: bool) -> None:
    """Runs in the child, and ends it."""
    code = 1
    try:
        os.chdir(copy)
        ours = [str(copy), *map(str, sorted(copy.glob("plugins/*-plugin-*")))]
        os.environ |= {"PYTHONPATH": os.pathsep.join(ours), "OMP_NUM_THREADS": "1"}
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take longer than most tests
        sys.path[:1] = ours
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if quiet:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        import pytest

        options = ["-x", "-q", "--no-header", "--disable-warnings", "-p", "no:cacheprovider"]
        options += ["-p", "_hypothesis_pytestplugin", "--hypothesis-seed=0", "--hypothesis-profile=mutants"]
        options += ["-p", "xdist.plugin"]  # for its marks
        code = int(pytest.main([*options, *group.options, *group.tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def format_table(outcomes: dict[str, Outcome]) -> Sequence[str]:
    lines = [
        "| group | mutants | tried | harmless | killed | survived | killed, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in outcomes.items():
        share = 100 * each.killed / each.counted if each.counted else 100
        lines.append(
            f"| {name} | {each.existing:,} | {each.tried} | {each.harmless} | {each.killed} "
            f"| {len(each.survivors)} | {share:.0f} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
