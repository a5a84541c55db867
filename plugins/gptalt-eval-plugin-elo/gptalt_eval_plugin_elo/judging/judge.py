"""A model compares the answers of others, through the same backends as a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import GptaltError, check_folders, check_plain, open_named
from gptalt_eval_plugin_elo.asking import make_folder, make_word, run_tasks, write_task
from gptalt_eval_plugin_elo.exports import PageExport, find_fault, read_export
from gptalt_eval_plugin_elo.folders import written
from gptalt_eval_plugin_elo.importing import VOTES, read_votes
from gptalt_eval_plugin_elo.judging.prompts import Match, hash_prompts, write_prompt
from gptalt_eval_plugin_elo.judging.verdicts import LETTERS, choose_likeliest, make_vote, read_verdict
from gptalt_eval_plugin_elo.votes import Vote

if TYPE_CHECKING:
    from gptalt_eval import Record

TASKS: Mapping[str, Mapping[str, Any]] = {
    "likelihood": {"output_type": "multiple_choice", "doc_to_choice": list(LETTERS), "doc_to_target": 0},
    "text": {
        "output_type": "generate_until",
        "doc_to_target": "",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": 512},
    },
}
INDIFFERENT = {"device", "batch_size", "trust_remote_code"}  # settings that change no verdict


@dataclass(frozen=True)
class Judge:
    """A way of judging.

    Attributes:
        name: the annotator of its votes.
        page: the id of its file of votes, like that of a voting page: a newer file replaces an older one.
        model: a ``--model`` name.
        verdict: ``likelihood``: the letter that the model finds likeliest; ``text``: the one that it writes.
        settings: flags for ``gptalt_eval.evaluate``.
    """

    name: str
    page: str
    model: str
    verdict: str
    settings: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        return {**asdict(self), "prompts": hash_prompts(self.verdict)}


def compare(judge: Judge, matches: Sequence[Match], folder: Path, plugins: Any = None) -> list[Vote]:
    """A judge's verdicts, in the order of the matches.

    Every verdict is stored when it is there, and is not computed again if the run was interrupted or more
    answers come.

    Args:
        judge: the judge.
        matches: what to compare.
        folder: the folder of the answers.
        plugins: for ``gptalt_eval.evaluate``.

    Raises:
        GptaltError: the model is not available, or a prompt is too long for it.
        InterruptedRun: it ended early; another call continues it.
    """
    own = find_folder(folder, judge.name)
    tasks: dict[str, dict[str, tuple[Match, str]]] = {}
    for match in matches:
        prompt = write_prompt(match, judge.verdict)
        name = make_word(f"verdicts_{match.first.language or 'other'}")
        vote = make_vote(match, "tie", judge.name, judge.page, prompt)
        refuse_fault(vote)
        tasks.setdefault(name, {})[vote.id] = match, prompt
    include = make_folder(own, repr(sorted((name, *sorted(rows)) for name, rows in tasks.items())))
    with written(include, "--answers"):
        for name, rows in tasks.items():
            lines = ({"id": key, "prompt": prompt} for key, (_, prompt) in rows.items())
            write_task(include, name, lines, TASKS[judge.verdict])
    record = run_tasks(judge.model, tasks, include, check_folders(own, "runs"), judge.settings, plugins)
    refuse_cut(record, judge)
    votes = {}
    for name, rows in tasks.items():
        for key, winner in read_winners(record, name, judge.verdict):
            match, prompt = rows[key]
            votes[match] = make_vote(match, winner, judge.name, judge.page, prompt)
    return [votes[match] for match in matches]


def identify(judge: Judge, match: Match) -> str:
    """The id of the vote on a match."""
    return make_vote(match, "", judge.name, judge.page, write_prompt(match, judge.verdict)).id


def find_folder(folder: Path, name: str) -> Path:
    return check_folders(folder, "judges", make_word(name))


def refuse_fault(vote: Vote) -> None:
    """Raise if what would be judged cannot be a vote, before anything is judged."""
    fault = find_fault(vote)
    if fault:
        raise GptaltError(
            f"The answers to {vote.question:.60} cannot be judged: {fault}.", "Change its name."
        )


def refuse_other(judge: Judge, folder: Path) -> None:
    """Raise if another judge has this name: the verdicts of two would pass for those of one."""
    own = find_folder(folder, judge.name)
    file = own / "judge.json"
    check_plain(file)
    if not file.exists() or not (own / VOTES).exists():
        return
    with open_named(file) as stream:
        try:
            known = json.load(stream)
            earlier = {"model": known["model"], **known["settings"]}
        except (ValueError, LookupError, TypeError, RecursionError):
            return
    now = json.loads(json.dumps({"model": judge.model, **judge.settings}, default=str))
    for name in sorted((earlier.keys() | now.keys()) - INDIFFERENT):
        if earlier.get(name) != now.get(name):
            raise GptaltError(
                f"'{judge.name}' has judged with another {name}: {earlier.get(name)!r:.200} instead of "
                f"{now.get(name)!r:.200}.",
                f"Give this judge a name of its own: --name NAME. To replace the earlier one, remove {own}",
            )


def refuse_cut(record: Record, judge: Judge) -> None:
    """Raise if prompts lost their beginning: the model would have judged without the question."""
    for label, cut in record.run.cut.items():
        raise GptaltError(
            f"{label}: {cut.lost:,} of {cut.requests:,} requests do not fit into the {cut.context:,} tokens "
            f"that {judge.model} can read: it would judge without the question. No vote was saved.",
            f"Leave out comparisons of long answers, for example --longest {max(1000, cut.context)}, "
            "or use another judge.",
        )


def read_winners(record: Record, task: str, verdict: str) -> Iterator[tuple[str, str]]:
    """The id and the winner of each comparison."""
    for sample in record.read_samples(0, task):
        replies = sample["resps"]
        if verdict == "text":
            yield sample["doc"]["id"], read_verdict(str(replies[0][0]))
        else:
            # one list for each letter, of one (log-likelihood, is greedy)
            yield sample["doc"]["id"], choose_likeliest([float(reply[0][0]) for reply in replies])


def read_export_of(name: str, folder: Path) -> tuple[PageExport, dict[str, Vote]]:
    """What a judge's file of votes says, and its votes by id; of a new judge, there are none."""
    file = find_folder(folder, name) / VOTES
    check_plain(file)
    if not file.exists():
        page = hashlib.sha256(f"{folder.resolve()}\0{name}".encode()).hexdigest()[:16]
        return PageExport(f"page-{page}", 0, 0), {}
    votes = {vote.id: vote for vote in read_votes(file)}
    with open_named(file) as stream:
        export = read_export(json.loads(stream.readline()))
    if export is None:
        raise GptaltError(
            f"{file} does not begin with what it is.", "Remove it; verdicts are kept elsewhere."
        )
    return export, votes


def save_votes(judge: Judge, votes: Iterable[Vote], possible: Iterable[Match], folder: Path) -> Path:
    """Write all the judge's votes on the present answers next to them, and how they came about.

    Args:
        judge: the judge.
        votes: the new ones; they come in addition to those that are there.
        possible: every match of the present answers; earlier votes on anything else are dropped.
        folder: the folder of the answers.

    Returns:
        the file.
    """
    own = find_folder(folder, judge.name)
    file = own / VOTES
    check_plain(file, own / "judge.json", file.with_suffix(".new"))
    export, known = read_export_of(judge.name, folder)
    every = [identify(judge, match) for match in possible]
    merged = known | {vote.id: vote for vote in votes}
    kept = {key: merged[key] for key in every if key in merged}
    if kept != known:
        now = datetime.now(timezone.utc)
        # a later file has a higher revision, even if the folder was removed in between
        revision = max(export.revision + 1, int(now.timestamp()))
        export = PageExport(judge.page, revision, len(kept), now.isoformat(timespec="seconds"))
    lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in list_lines(export, kept.values()))
    with written(own, "--answers"):
        beside = file.with_suffix(".new")
        beside.write_text("".join(lines), encoding="utf-8")
        beside.replace(file)
        described = json.dumps(judge.describe(), ensure_ascii=False, indent=1, default=str)
        (own / "judge.json").write_text(described + "\n", encoding="utf-8")
    return file


def list_lines(export: PageExport, votes: Iterable[Vote]) -> Iterator[dict[str, Any]]:
    yield export._asdict()
    yield from (vote.describe() for vote in votes)
