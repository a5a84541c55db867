"""Models' answers to questions, generated with lm-eval and stored as JSON Lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptalt_eval import GptaltError, check_folders, check_plain, read_jsonl
from gptalt_eval_plugin_elo.asking import make_folder, make_word, run_tasks, write_task
from gptalt_eval_plugin_elo.exports import find_fault
from gptalt_eval_plugin_elo.folders import written
from gptalt_eval_plugin_elo.votes import Vote

if TYPE_CHECKING:
    from gptalt_eval import Record

QUESTIONS = Path(__file__).with_name("questions-v1.jsonl")
FILE = "answers.jsonl"
LANGUAGES = ("zh", "en")
GENERATED = {
    "output_type": "generate_until",
    "doc_to_target": "{{expected}}",
    "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": 1024},
}


@dataclass(frozen=True)
class Question:
    """A question in one language.

    Attributes:
        id, category, language: the language is an ISO 639-1 code.
        prompt: the text of the question.
        expected: what a good answer contains; may be empty.
    """

    id: str
    category: str
    language: str
    prompt: str
    expected: str


@dataclass(frozen=True)
class Answer:
    """A line of ``answers.jsonl``.

    Attributes:
        question, category, language, prompt, expected: see ``Question``; all except ``prompt`` may be empty.
        model: the model's name.
        answer: the model's answer without surrounding white space.
    """

    prompt: str
    model: str
    answer: str
    question: str = ""
    category: str = ""
    language: str = ""
    expected: str = ""

    @property
    def key(self) -> str:
        """The question's name in votes: its id and language, or its text if it has no id."""
        name = self.question or self.prompt
        return f"{name}/{self.language}" if self.question and self.language else name


def read_questions(path: Path, languages: Sequence[str]) -> list[Question]:
    """Questions of a file in some languages.

    Args:
        path: JSON lines of ``id``, ``category`` and, by language, the question (``zh``, ``en``) and what a
            good answer contains (``expected_zh``).
        languages: the languages to read.

    Raises:
        GptaltError: the file cannot be read, a line is incomplete, or an id appears twice.
    """
    questions: dict[tuple[str, str], Question] = {}
    for number, row in enumerate(read_lines(path), 1):
        if not row.get("id"):
            raise GptaltError(f"{path}, line {number}: a question needs 'id', 'category' and its text.")
        for language in languages:
            if not row.get(language):
                continue
            question = Question(
                str(row["id"]), str(row.get("category") or "other"), language, str(row[language]),
                str(row.get(f"expected_{language}") or ""),
            )  # fmt: skip
            if (question.id, language) in questions:
                raise GptaltError(f"{path}, line {number}: the id '{question.id}' appears twice.")
            questions[question.id, language] = question
    if not questions:
        named = " or ".join(map(repr, languages))
        raise GptaltError(
            f"{path} contains no question in {named}.", "Choose other languages with --language."
        )
    return list(questions.values())


def read_lines(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise GptaltError(
            f"There is no file {path}.", "To create one: gptalt-eval answers --models FIRST,SECOND"
        )
    yield from read_jsonl(path)


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file, or of the folder that ``gptalt-eval answers`` wrote.

    Raises:
        GptaltError: there is no such file, or a line is not an answer.
    """
    file = path / FILE if path.is_dir() else path
    if path.is_dir():
        check_plain(file)
    answers: dict[tuple[str, str], Answer] = {}
    for number, row in enumerate(read_lines(file), 1):
        needed = ("prompt", "model", "answer")
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in needed):
            raise GptaltError(f"{file}, line {number}: an answer needs the texts {', '.join(needed)}.")
        fields = {name: clean(str(row.get(name) or "")) for name in Answer.__dataclass_fields__}
        answer = Answer(**fields)
        fault = find_fault(
            Vote(answer.key, answer.model, "", "tie", answer.category, language=answer.language)
        )
        if not answer.model.strip():
            fault = "the model has no name"
        if fault:  # a vote on it could not be imported
            raise GptaltError(f"{file}, line {number}: {fault.replace('model_a', 'model')}.")
        if (answer.key, answer.model) in answers:
            raise GptaltError(f"{file}, line {number}: {answer.model} answers {answer.key} twice.")
        answers[answer.key, answer.model] = answer
    return list(answers.values())


def clean(text: str) -> str:
    """Text that can be stored: without unpaired surrogates, which JSON can contain."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write_answers(path: Path, new: Iterable[Answer]) -> list[Answer]:
    """Add answers to a file; they replace answers of the same model to the same question."""
    check_plain(path, path.with_suffix(".new"))
    answers = {(each.key, each.model): each for each in (read_answers(path) if path.exists() else [])}
    answers |= {(each.key, each.model): each for each in new}
    ordered = sorted(answers.values(), key=lambda each: (each.category, each.key, each.model))
    lines = (json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in ordered)
    beside = path.with_suffix(".new")
    with written(path.parent, "--output_path"):
        try:
            with beside.open("w", encoding="utf-8") as stream:
                stream.writelines(lines)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return ordered


def ask(
    model: str,
    questions: Sequence[Question],
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    plugins: Any = None,
) -> list[Answer]:
    """A model's answers to questions.

    Each language is a task, so that batches are full. Answers that are not sampled are stored at once, and
    reused if the questions change or the run was interrupted.

    Args:
        model: a ``--model`` name.
        questions: the questions.
        folder: the folder for tasks, runs and answers.
        name: the model's name in the answers.
        settings, plugins: flags and plugins for ``gptalt_eval.evaluate``.

    Raises:
        GptaltError: the model is not available, or it has no chat template but needs one.
        InterruptedRun: it ended early; another call continues it.
    """
    include = make_folder(folder, repr(questions))
    with written(include, "--output_path"):
        tasks = write_tasks(include, questions)
    runs = check_folders(folder, "runs", make_word(name))
    return list(collect(run_tasks(model, tasks, include, runs, settings, plugins), tasks, name))


def collect(record: Record, tasks: Mapping[str, Sequence[Question]], name: str) -> Iterator[Answer]:
    for task, questions in tasks.items():
        given = {sample["doc"]["id"]: sample for sample in record.read_samples(0, task)}
        for question in questions:
            if question.id in given:
                text = clean(str(given[question.id]["resps"][0][0])).strip()
                fields = {key: value for key, value in asdict(question).items() if key != "id"}
                yield Answer(model=name, answer=text, question=question.id, **fields)


def write_tasks(folder: Path, questions: Sequence[Question]) -> dict[str, list[Question]]:
    """Write one lm-eval task for each language into a folder; returns the questions by task name."""
    tasks: dict[str, list[Question]] = {}
    for question in questions:
        tasks.setdefault(f"questions_{question.language}", []).append(question)
    for name, asked in tasks.items():
        write_task(folder, name, map(asdict, asked), GENERATED)
    return tasks


def limit_questions(questions: Sequence[Question], limit: int) -> list[Question]:
    """The first few of each category and language."""
    taken: dict[tuple[str, str], int] = {}
    kept = []
    for question in questions:
        place = question.category, question.language
        taken[place] = taken.get(place, 0) + 1
        if taken[place] <= limit:
            kept.append(question)
    return kept
