"""Which part of the distinct tokens of real requests is computed twice, because units share a prefix.

    python benchmarks/units.py --data_dir FOLDER [--tasks mmlu,race] [--num_fewshot 5] [--model smollm2]

Prompts, tokens and units are those of a run with workers; no weights are loaded. The count is that of the
prefix trees of all units, against that of the one tree of all requests.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning import builtin
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.display import SILENT
from gptalt_eval.running.opening import open_run
from gptalt_eval.running.runfiles import RunFiles
from gptalt_eval.running.spreading.spread import Spread
from gptalt_eval.running.spreading.units import Cutter, group_requests
from gptalt_eval.scoring.asked import share_prefixes
from gptalt_eval.scoring.tree import build_tree
from gptalt_eval.spread.cutting import cut_tree


def measure(settings: dict[str, str], out: Path) -> str:
    """The figures for the log-likelihoods of some tasks."""
    plugins = load_plugins(builtin)
    plan = resolve(make_spec({**settings, "output_path": str(out)}), plugins)
    spread = Spread(RunFiles(plan, True))
    with open_run(plan, plugins, SILENT, spread.files, spread) as run:
        groups = group_requests(Cutter(run, "0").collect())
        requests = [wanted.request for wanted in groups["loglikelihood", ""].values()]
        lm = run.lm.lm
        queries = share_prefixes(enumerate(lm.encode_all(requests)), lm.max_length).queries
    distinct = len(build_tree(queries))
    cuts = cut_tree(queries)
    computed = sum(len(build_tree([queries[place] for place in cut.places])) for cut in cuts)
    asked = int(queries.count_inputs().sum())
    return (
        f"{len(requests):,} requests of {asked:,} tokens, {distinct:,} distinct, in {len(cuts)} units: "
        f"{computed / distinct - 1:.2%} computed twice"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--tasks", default="mmlu,race")
    parser.add_argument("--num_fewshot", default="5")
    parser.add_argument("--model", default="smollm2")
    arguments = parser.parse_args()
    for task in arguments.tasks.split(","):
        settings = {**vars(arguments), "tasks": task}
        with tempfile.TemporaryDirectory() as out:
            print(f"{task}, {arguments.num_fewshot}-shot: {measure(settings, Path(out))}", flush=True)


if __name__ == "__main__":
    main()
