"""How often the 95 % intervals of measures of judges, and of ratings with their help, contain the truth.

    python plugins/gptalt-eval-plugin-elo/benchmarks/judges.py [--runs 2000]

The simulated people and judges are those of ``tests/test_judges.py`` and ``tests/test_sharpening.py``, with
other seeds. Prints the tables of RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from gptalt_eval_plugin_elo.judges import measure_judges
from gptalt_eval_plugin_elo.sharpening import fit_with_judges

TESTS = Path(__file__).parents[1] / "tests"
FIRST_SEED = 10_000


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"judges_{name}", TESTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_ratings(worlds: ModuleType, make_world: Any, runs: int) -> None:
    """Print the table of ratings with a judge's help."""
    truth = worlds.find_truth()
    print("| judge | people vote | people alone | with the judge | width | with the judge | weight | 0 |")
    print("|---|---|---|---|---|---|---|---|")
    for judge, choose in worlds.WORLDS:
        rows = []
        for seed in range(FIRST_SEED, FIRST_SEED + runs):
            table = worlds.simulate(make_world, judge, choose, seed)
            for found in fit_with_judges(table):
                if len(found.models) == len(truth):
                    columns = found.people, found.sharpened
                    covered = [worlds.count_covered(each, truth, table) / len(truth) for each in columns]
                    widths = [np.mean([each.high - each.low for each in column]) for column in columns]
                    rows.append([*covered, *widths, found.weight, found.weight == 0])
        one, other, alone, helped, weight, none = np.mean(rows, axis=0)
        name, way = (each.__name__.split("_", 1)[1].replace("_", " ") for each in (judge, choose))
        print(
            f"| {name} | {way} | {one:.1%} | {other:.1%} | {alone:.0f} | {helped:.0f} "
            f"| {weight:.2f} | {none:.0%} |"
        )


def measure_biases(worlds: ModuleType, make_world: Any, runs: int) -> None:
    """Print the table of measures of judges."""
    print("| planted | value | mean estimate | intervals |")
    print("|---|---|---|---|")
    for play, planted in worlds.PLANTED.items():
        reports = []
        for seed in range(FIRST_SEED, FIRST_SEED + runs):
            world = make_world(seed)
            play(world)
            reports += measure_judges(world.finish())
        for name, value in planted.items():
            found = [worlds.read(report, name) for report in reports]
            covered = np.mean([each.low < value < each.high for each in found])
            mean = np.mean([each.value for each in found])
            print(f"| {name.replace('_', ' ')} | {value:.3g} | {mean:.3g} | {covered:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    make_world = load("conftest").World
    measure_biases(load("test_judges"), make_world, runs)
    print()
    measure_ratings(load("test_sharpening"), make_world, runs)


if __name__ == "__main__":
    main()
