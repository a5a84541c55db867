"""``gptalt-eval recommend``: which model to use, by published facts and by the user's own runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from gptalt_eval.commands.printing import print_json
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import Record, find_runs, load_record
from gptalt_eval.contract.settings import split_names
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.planning.candidates import (
    Candidate,
    Needs,
    check_language,
    find_candidates,
    read_memory,
)
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.places import RUNS, list_included
from gptalt_eval.results.arms import name_models
from gptalt_eval.results.evidence import Place, Ranking, divide_runs, find_remark, rank_runs

SHOWN = 12  # names of models excluded for one reason


@dataclass(frozen=True)
class Advice:
    """What is known for one task.

    Attributes:
        task: its name.
        rankings: of the candidates' runs, one for each prompt style and number of shots.
        left_out: runs that do not count, and why.
        untried: candidates without a run that counts.
    """

    task: str
    rankings: Sequence[Ranking]
    left_out: Sequence[tuple[Record, str]]
    untried: Sequence[Candidate]


def run_recommend(arguments: argparse.Namespace, plugins: Installed) -> int:
    catalog = Catalog(plugins, list_included(arguments.include_path))
    models = [owned.item for _, owned in sorted(catalog.models.items())]
    check_language(arguments.language, models)
    memory = read_memory(arguments.memory) if arguments.memory else None
    needs = Needs(arguments.language, memory, arguments.license == "commercial")
    found = find_candidates(models, needs)
    tasks = list(split_names(arguments.task))
    for task in tasks:
        catalog.find_task(task)
    records = load_records(arguments.runs)
    advice = [advise(task, records, found, catalog) for task in tasks]
    if arguments.json:
        print_json(dump(found, advice))
    else:
        for line in describe(found, needs, arguments, advice):
            print(line)
    return 0


def load_records(folders: Sequence[Path]) -> list[Record]:
    """The runs in some folders; without folders, those in the default one, if there are any.

    Raises:
        GptaltError: a given folder has no runs, or one of them is damaged.
    """
    if folders:
        return [load_record(run) for folder in folders for run in find_runs(folder)]
    try:
        return [load_record(run) for run in find_runs(Path(RUNS))]
    except GptaltError:
        if Path(RUNS).is_dir() and any(Path(RUNS).iterdir()):
            raise
        return []


def advise(task: str, records: Sequence[Record], found: Sequence[Candidate], catalog: Catalog) -> Advice:
    """Rank the runs of a task by models that meet the needs."""
    suitable = {each.model.name: each for each in found if not each.lacks}
    by_folder = {record.folder: find_name(record, catalog) for record in records}

    def explain(record: Record) -> str:
        return explain_mismatch(record, by_folder[record.folder], suitable)

    counted, left_out = divide_runs(records, task, explain)
    rankings = rank_runs(counted, task) if counted else []
    tried = {by_folder[place.record.folder] for each in rankings for place in each.places}
    untried = [each for name, each in suitable.items() if name not in tried]
    return Advice(task, rankings, left_out, untried)


def find_name(record: Record, catalog: Catalog) -> str:
    """The model of a run in the catalogue; otherwise what the run calls it."""
    try:
        return catalog.find_model(record.model).item.name
    except GptaltError:
        return record.model


def explain_mismatch(record: Record, name: str, suitable: Mapping[str, Candidate]) -> str:
    """Why a run says nothing about a suitable model of that name; empty: it does."""
    if name not in suitable:
        return "not one of the models that fit"
    card, parameters = suitable[name].model.card, record.run.model.parameters
    if card and parameters and not card.has_size(parameters):
        return f"its weights have {parameters:,} parameters, and {name} has {card.parameters:,}"
    return ""


def describe(
    found: Sequence[Candidate], needs: Needs, arguments: argparse.Namespace, advice: Sequence[Advice]
) -> Iterator[str]:
    suitable = [each for each in found if not each.lacks]
    wishes = [
        needs.language and f"language {needs.language}",
        needs.memory and f"{arguments.memory} of memory",
        needs.commercial and "commercial use",
    ]
    wanted = ", ".join(wish for wish in wishes if wish) or "no needs were given"
    yield f"{len(suitable)} of {len(found)} models fit ({wanted})."
    if not advice:
        yield from describe_facts(suitable)
        if suitable:
            yield "\nTo rank them by your own runs, name a task: --task medqa_zh"
    for each in advice:
        yield from describe_task(each, arguments)
    yield from describe_excluded(found)


def describe_facts(suitable: Iterable[Candidate]) -> Iterator[str]:
    for each in suitable:
        model = each.model
        yield f"  {model.name:<20} {size(each):>9} in {each.precision:<8} {model.licence}"


def size(candidate: Candidate) -> str:
    return "" if candidate.size is None else f"{candidate.size:.1f} GiB"


def describe_task(advice: Advice, arguments: argparse.Namespace) -> Iterator[str]:
    for ranking in advice.rankings:
        yield ""
        shots = "default shots" if ranking.num_fewshot is None else f"{ranking.num_fewshot}-shot"
        metric = ranking.places[0].score.metric
        yield f"{ranking.task}, {ranking.prompt_style} prompts, {shots}: {metric}, with 95 % intervals"
        names = name_models([place.record for place in ranking.places])
        yield from map(describe_place, ranking.places, names)
    if len(advice.rankings) > 1:
        yield "  Scores under different conditions are not comparable; the lists are not merged."
    if advice.untried:
        yield f"\nNo evidence yet for {advice.task}. Run this:"
        yield from (f"  {make_command(each, advice, arguments)}" for each in advice.untried)
    if advice.left_out:
        yield f"\nRuns of {advice.task} that do not count:"
        yield from (f"  {record.folder}: {record.model}, {reason}" for record, reason in advice.left_out)


def describe_place(place: Place, name: str) -> str:
    """A line; of several runs of one model, the name is the end of the folder's path."""
    score = place.score
    interval = f"[{score.interval[0]:.3f}, {score.interval[1]:.3f}]" if score.interval else "no interval"
    verdict = "best" if place.is_best else "not significantly different from the best" * place.is_tied
    rows = f"{score.items:,} items" if score.items else ""
    if score.available and score.available > score.items > 0:
        rows = f"{score.items:,} of {score.available:,} items"
    parts = [rows, verdict, find_remark(place.record, score.task)]
    return f"  {name:<20} {score.value:.3f} {interval:<16} {', '.join(filter(None, parts))}"


def make_command(candidate: Candidate, advice: Advice, arguments: argparse.Namespace) -> str:
    """The command that gives evidence comparable with the largest ranking."""
    words = ["gptalt-eval", "--model", candidate.model.name, "--tasks", advice.task]
    if candidate.argument:
        words += ["--model_args", candidate.argument]
    if advice.rankings:
        first = advice.rankings[0]
        if first.num_fewshot is not None:
            words += ["--num_fewshot", str(first.num_fewshot)]
        settings = first.places[0].record.run.settings
        if settings.get("prompt_style"):
            words += ["--prompt_style", first.prompt_style]
        if settings.get("limit"):
            words += ["--limit", f"{settings['limit']:g}"]
    command = " ".join(map(quote, words))
    if candidate.argument and candidate.model.loader:
        named = ["pretrained", *(key for key in ("delta", "peft") if key in candidate.model.args)]
        given = ",".join(f"{key}=DOWNLOADED" for key in named)
        written = f"gptalt-eval models convert {candidate.model.name} --to FOLDER --model_args {given}"
        return f"{written} && {command}"
    return command


def describe_excluded(found: Sequence[Candidate]) -> Iterator[str]:
    """The excluded models by what they lack."""
    reasons: dict[str, list[str]] = {}
    for each in found:
        if each.lacks:
            reasons.setdefault("; ".join(each.lacks), []).append(each.model.name)
    if reasons:
        yield "\nExcluded:"
    for reason, names in reasons.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield f"  {reason}: {', '.join(names[:SHOWN])}{more}"


def dump(found: Sequence[Candidate], advice: Sequence[Advice]) -> object:
    """The same for programs."""
    return {
        "models": [describe_candidate(each) for each in found],
        "tasks": [
            {
                "task": each.task,
                "rankings": [dump_ranking(ranking) for ranking in each.rankings],
                "untried": [candidate.model.name for candidate in each.untried],
                "left_out": [
                    {"run": str(record.folder), "model": record.model, "reason": reason}
                    for record, reason in each.left_out
                ],
            }
            for each in advice
        ],
    }


def describe_candidate(candidate: Candidate) -> dict[str, object]:
    model = candidate.model
    return {
        "name": model.name,
        "licence": model.licence,
        "lacks": list(candidate.lacks),
        "precision": candidate.precision,
        "gib": candidate.size,
    }


def dump_ranking(ranking: Ranking) -> dict[str, object]:
    return {
        "task": ranking.task,
        "prompt_style": ranking.prompt_style,
        "num_fewshot": ranking.num_fewshot,
        "places": [
            {
                "model": place.record.model,
                "run": str(place.record.folder),
                "metric": place.score.metric,
                "score": place.score.value,
                "interval": place.score.interval,
                "items": place.score.items,
                "best": place.is_best,
                "tied": place.is_tied,
            }
            for place in ranking.places
        ],
    }
