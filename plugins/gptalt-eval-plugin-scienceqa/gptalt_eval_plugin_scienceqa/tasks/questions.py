"""The questions as lm-eval tasks: in the chosen format, with their pictures if the model sees any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask

from gptalt_eval import GptaltError, find_choice, make_picture
from gptalt_eval_plugin_scienceqa.columns import find_columns
from gptalt_eval_plugin_scienceqa.formats import PLACE, write_answer, write_context, write_question
from gptalt_eval_plugin_scienceqa.releases import LETTERS, find_fault
from gptalt_eval_plugin_scienceqa.settings import read_settings

SHOWN = 3  # questions with a fault that a message names
Row = Mapping[str, Any]


class ScienceQA(ConfigurableTask):
    """ScienceQA, asked as its settings say.

    Attributes:
        notes: what the user should know about the questions and examples.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        given = {name: value for name, value in (config or {}).items() if name != "class"}
        self.settings = read_settings(given.get("metadata") or {})
        self.notes: list[str] = []
        self.asked: Any = None
        fields: dict[str, Any] = {
            "doc_to_text": self.write_question,
            "doc_to_target": self.write_target,
            "process_results": self.score,
            "fewshot_config": {"sampler": ExampleSampler},
        }
        if given["output_type"] == "multiple_choice":
            fields["doc_to_choice"] = self.list_choices
            fields["fewshot_config"] |= {"doc_to_choice": None, "doc_to_target": self.write_answer}
        if self.settings.pictures:
            fields["doc_to_image"] = self.list_pictures
        if self.settings.shot_qids and given.get("num_fewshot") is None:
            fields["num_fewshot"] = len(self.settings.shot_qids)
        super().__init__(config={**given, **fields})
        self.sampler.choose(self)

    def __deepcopy__(self, memo: object) -> ScienceQA:
        return self  # lm-eval copies the settings of a task, of which our methods are some

    def test_docs(self) -> Any:
        """The questions that are asked: those of the subset that have no fault."""
        if self.asked is None:
            rows = self.dataset[self.config.test_split]
            self.asked = rows.select(self.choose_rows(rows))
        return self.asked

    def choose_rows(self, rows: Any) -> list[int]:
        """The indices of the questions to ask.

        Raises:
            GptaltError: questions have a fault, and the settings do not say that they are left out.
        """
        faults: dict[int, str] = {}
        kept = []
        for place, row in enumerate(without_pictures(rows)):
            if self.settings.subset == ("txt" if row["image"] is not None else "img"):
                continue
            fault = find_fault(row) or self.find_picture_fault(row)
            if fault:
                faults[place] = f"question {row.get('id') or place} {fault}"
            else:
                kept.append(place)
        if faults:
            self.report(list(faults.values()), len(faults) + len(kept))
        if not kept:
            raise GptaltError(f"{self.config.task} has no questions.", "Try another subset of ScienceQA.")
        return kept

    def report(self, faults: Sequence[str], count: int) -> None:
        kinds = Counter(fault.split(" ", 2)[2].split(":")[0] for fault in faults)
        listed = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
        named = "; ".join(faults[:SHOWN]) + ("; ..." if len(faults) > SHOWN else "")
        text = f"ScienceQA: {len(faults):,} of {count:,} questions cannot be asked ({listed}): {named}"
        if self.settings.bad_rows == "refuse":
            raise GptaltError(f"{text}.", "To leave them out, and count them: --metadata bad_rows=leave_out")
        self.notes.append(f"{text}. They are left out.")

    def find_picture_fault(self, row: Row) -> str:
        """What is wrong with the picture of a question for a model that sees pictures; empty: nothing."""
        image = row["image"]
        if not self.settings.pictures or not isinstance(image, str):
            return ""
        try:
            make_picture(self.locate(image)).check()
        except GptaltError as error:
            return f"has a picture that cannot be shown: {str(error).splitlines()[0]}"
        return ""

    def write_question(self, row: Row) -> str:
        shown = bool(self.list_pictures(row)) if self.settings.pictures else False
        in_place = bool(row.get("is_example")) and self.settings.pictures == "one"
        context = write_context(row, caption=self.settings.use_caption or in_place)
        question = write_question(row, self.settings.prompt_format, context)
        return f"{PLACE}\n{question}" if shown else question

    def write_answer(self, row: Row) -> str:
        return write_answer(row, self.settings.prompt_format)

    def write_target(self, row: Row) -> Any:
        """Of a choice, its number; of a text, what an example answers."""
        return row["answer"] if self.OUTPUT_TYPE == "multiple_choice" else self.write_answer(row)

    def list_choices(self, row: Row) -> list[str]:
        return [f"The answer is {letter}" for letter, _ in zip(LETTERS, row["choices"], strict=False)]

    def list_pictures(self, row: Row) -> list[Any]:
        """The picture of a question, if there is one and the model may see it."""
        if row["image"] is None or (row.get("is_example") and self.settings.pictures == "one"):
            return []
        return [self.locate(row["image"]) if isinstance(row["image"], str) else row["image"]]

    def locate(self, path: str) -> str:
        """Where a picture is; rows name it below the folder of their file."""
        return str(Path(getattr(self.dataset, "folder", ".")) / path)

    def score(self, row: Row, results: Sequence[Any]) -> dict[str, float]:
        """Whether the answer is right, in the columns of the question too, and whether there is one."""
        if self.OUTPUT_TYPE == "multiple_choice":
            likely = [logprob for logprob, _ in results]
            right = float(likely.index(max(likely)) == row["answer"])
            extra = {}
        else:
            choice = find_choice(results[0], dict(zip(LETTERS, row["choices"], strict=False)))
            right = float(choice == LETTERS[row["answer"]])
            extra = {"no_answer": float(choice is None)}
        return {"acc": right, **{f"acc_{column}": right for column in find_columns(row)}, **extra}


class ExampleSampler(ContextSampler):
    """Draws the examples: by number, or from train by the seed, the same for all questions by default."""

    task: ScienceQA
    seed: int | None = None

    def choose(self, task: ScienceQA) -> None:
        self.task = task
        self.known: dict[int, list[Row]] = {}

    def set_rnd(self, rnd: int | None) -> ExampleSampler:
        self.seed = rnd
        self.known = {}
        super().set_rnd(rnd)
        return self

    def sample(self, n: int, eval_doc: Any = None, df: Any = None, **settings: Any) -> list[Row]:
        if self.task.settings.shots == "per_question" and not self.task.settings.shot_qids:
            return self.draw(n, self.rnd)
        if n not in self.known:
            self.known[n] = self.draw(n, Random(self.seed))
        return self.known[n]

    def draw(self, count: int, random: Random) -> list[Row]:
        """Examples in the order in which they are shown.

        Raises:
            GptaltError: there are too few, or one that was asked for is not there.
        """
        names = self.task.settings.shot_qids
        order = self.find_named(names) if names else random.sample(range(len(self.df)), len(self.df))
        if names and count > len(names):
            text = f"--num_fewshot {count}: shot_qids has {len(names)} questions."
            raise GptaltError(text, f"Give {count} of them, or omit --num_fewshot.")
        drawn: list[Row] = []
        faults = []
        for place in order:
            if len(drawn) == count:
                break
            row = self.df[place]
            fault = find_fault(row) or self.task.find_picture_fault(row)
            if fault:
                faults.append(f"question {row.get('id') or place} {fault}")
            else:
                drawn.append({**row, "is_example": True})
        if len(drawn) < count:
            text = f"ScienceQA: only {len(drawn)} of {len(self.df)} examples can be shown: {faults[0]}."
            raise GptaltError(text, "Take fewer: --num_fewshot, or put the missing pictures in their place.")
        if names and faults:
            raise GptaltError(f"ScienceQA: an example cannot be shown: {faults[0]}.", "Choose another one.")
        if faults:
            note = f"{len(faults)} examples that were drawn cannot be shown ({faults[0]}); others were drawn."
            if note not in self.task.notes:
                self.task.notes.append(note)
        return drawn

    def find_named(self, names: Sequence[str]) -> list[int]:
        places = {str(row.get("id")): place for place, row in enumerate(self.df)}
        for name in names:
            if name not in places:
                text = f"shot_qids: question {name} is not one of the {len(places):,} of train."
                raise GptaltError(text, f"The first of them: {', '.join(list(places)[:5])}")
        return [places[name] for name in names]


def without_pictures(rows: Any) -> Any:
    """Rows whose pictures are not decoded; those of the hub are in the rows themselves."""
    if "image" in rows.features and type(rows.features["image"]).__name__ == "Image":
        import datasets

        return rows.cast_column("image", datasets.Image(decode=False))
    return rows
