"""Predictions for the test set: the release's result files, LLaVA's answer lines, our own runs.

Sources of the two formats: github.com/lupantech/ScienceQA (run_gpt3.py) and github.com/haotian-liu/LLaVA
(llava/eval/model_vqa_science.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval import DataError, GptaltError, Record, find_choice, find_runs, load_record, open_named
from gptalt_eval_plugin_scienceqa.formats import BECAUSE
from gptalt_eval_plugin_scienceqa.releases import LETTERS

NONE = -1  # LLaVA's index of a reply without an answer
KINDS = {"ll": "by log-likelihood", "gen": "by generation"}
FORMATS = (
    'Known: {"results": {id: option index}, "outputs": {id: text}} of the release; JSON Lines with '
    "question_id and text, as LLaVA writes them; and the folders of our own runs."
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Predictions:
    """What somebody's model chose.

    Attributes:
        name: what the table calls it.
        chosen: by question, the index of the option; None: the reply chooses none.
        contradicted: questions of which the text states another option than the index.
        guessed: questions of which the text states none, and the index one nevertheless.
    """

    name: str
    chosen: Mapping[str, int | None]
    contradicted: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()


def read_predictions(path: Path, questions: Mapping[str, Row]) -> Iterator[Predictions]:
    """The predictions in a file, or in the runs at or below a folder.

    Args:
        path: the file or folder.
        questions: the test set by number, by which options are recognised in texts; others are kept, so that
            they can be counted, with the index that a file has or None.

    Raises:
        GptaltError: the format is none of the known ones, a question is there twice, or an index is not that
            of one of its options.
    """
    if path.is_dir():
        for folder in find_runs(path):
            yield from read_run(load_record(folder), questions)
        return
    with open_named(path) as stream:
        try:
            text = stream.read()
        except (UnicodeDecodeError, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}).", FORMATS) from error
    lines = parse_lines(text, path)
    if lines is not None:
        yield Predictions(path.stem, dict(read_lines(lines, path, questions)))
        return
    yield read_results(parse(text, path), path, questions)


def parse_lines(text: str, path: Path) -> list[tuple[int, Row]] | None:
    """The objects of JSON Lines, with their lines; None: the first line is not an answer of that format."""
    listed = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        first = json.loads(listed[0][1]) if listed else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(first, dict) or "question_id" not in first:
        return None
    return [(number, parse(line, path, f", line {number}")) for number, line in listed]


def parse(text: str, path: Path, place: str = "") -> Row:
    """A JSON object in which no key is repeated: Python's reader would keep the last one without a word."""

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DataError(
                f"{path}{place}: {len(twice):,} keys are there twice: {', '.join(map(repr, twice[:3]))}.",
                "Which of the two counts, only its author can tell.",
            )
        return made

    try:
        found = json.loads(text, object_pairs_hook=make)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}{place}: truncated or damaged ({error}).", FORMATS) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}{place}: a JSON object was expected.", FORMATS)
    return found


def read_results(content: Row, path: Path, questions: Mapping[str, Row]) -> Predictions:
    results, outputs = content.get("results"), content.get("outputs") or {}
    if not isinstance(results, dict) or not isinstance(outputs, dict):
        raise DataError(f"{path}: its format is not known.", FORMATS)
    chosen = {}
    contradicted, guessed = [], []
    for name, index in results.items():
        count = len(questions[name]["choices"]) if name in questions else len(LETTERS)
        if not isinstance(index, int) or isinstance(index, bool) or not NONE <= index < count:
            text = f"{path}: the result of question {name} is {index!r:.40}, and it has {count} options."
            raise DataError(text, f"Options are counted from 0; {NONE} is a reply without an answer.")
        chosen[name] = None if index == NONE else index
        if name in questions and name in outputs:
            said = find_index(str(outputs[name]), questions[name])
            if said is None and index != NONE:
                guessed.append(name)
            elif said is not None and said != index:
                contradicted.append(name)
    if unmatched := outputs.keys() - results.keys():
        text = f"{path}: {len(unmatched):,} questions have an output and no result: "
        raise DataError(f"{text}{', '.join(sorted(unmatched)[:3])}.", "The file is not complete.")
    return Predictions(path.stem, chosen, tuple(contradicted), tuple(guessed))


def read_lines(
    lines: Iterable[tuple[int, Row]], path: Path, questions: Mapping[str, Row]
) -> Iterator[tuple[str, int | None]]:
    """What each line of LLaVA's answers chooses; the option is found as in replies of our own runs."""
    seen: dict[str, int] = {}
    for number, line in lines:
        name, text = str(line.get("question_id", "")), line.get("text")
        if not name or not isinstance(text, str):
            raise DataError(f"{path}, line {number}: no question_id, or no text.", FORMATS)
        if name in seen:
            twice = f"{path}: question {name} is in line {seen[name]} and in line {number}."
            raise DataError(twice, "Which of the two counts, only its author can tell.")
        seen[name] = number
        yield name, find_index(text, questions[name]) if name in questions else None


def find_index(text: str, question: Row) -> int | None:
    """The option that a text chooses, without the reasons after its answer; None: none."""
    head = text.partition(BECAUSE)[0]
    options = dict(zip(LETTERS, question["choices"], strict=False))
    found = find_choice(head if head.strip() else text, options)
    found = found or find_choice(text, options)  # reasons first
    return LETTERS.index(found) if found else None


def read_run(record: Record, questions: Mapping[str, Row]) -> Iterator[Predictions]:
    """The predictions of a run, for each of its tasks, numbers of shots and prompt styles.

    Raises:
        GptaltError: it asked no questions of ScienceQA, or their rows are not saved or have no number.
    """
    asked = False
    for result, results in enumerate(record.results):
        for task in results.get("results", {}):
            kind = KINDS.get(task.rpartition("_")[2])
            if kind is None or not task.startswith("scienceqa_"):
                continue
            asked = True
            shots, style = results.get("n-shot", {}).get(task), results.get("config", {}).get("prompt_style")
            parts = [task, kind, f"{shots}-shot", *([style] if style else [])]
            chosen = dict(read_samples(record, result, task, questions))
            if not chosen:
                hint = "Run it again with --log_samples, or with --output_path omitted."
                raise GptaltError(f"{record.folder}: the rows of {task} are not saved.", hint)
            yield Predictions(f"{record.model}: {', '.join(parts)}", chosen)
    if not asked:
        raise GptaltError(f"{record.folder} has no task of ScienceQA.", "Give another run.")


def read_samples(
    record: Record, result: int, task: str, questions: Mapping[str, Row]
) -> Iterator[tuple[str, int | None]]:
    for line in record.read_samples(result, task):
        row = line.get("doc")
        name = str(row.get("id") or "") if isinstance(row, dict) else ""
        if not name:
            text = f"{record.folder}: the questions of {task} have no number, as on the hub."
            raise GptaltError(text, "Run it on the release: --data_dir FOLDER")
        answers = line.get("filtered_resps") or [None]
        if task.endswith("_gen"):
            found = find_index(str(answers[0]), questions[name]) if name in questions else None
        else:
            found = find_likeliest(answers, f"{record.folder}: {task}, question {name}")
        yield name, found


def find_likeliest(answers: Iterable[Any], place: str) -> int:
    """The index of the most likely option, from pairs of log-likelihood and whether it is greedy."""
    try:
        likely = [float(each[0]) for each in answers]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise GptaltError(f"{place}: its log-likelihoods are damaged ({error}).") from error
    return likely.index(max(likely))
