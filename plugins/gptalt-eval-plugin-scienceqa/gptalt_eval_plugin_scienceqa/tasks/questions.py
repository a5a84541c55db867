"""The questions as lm-eval tasks: in the chosen format, with their pictures if the model sees any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask

from gptalt_eval import GptaltError, find_choice
from gptalt_eval_plugin_scienceqa.columns import find_columns
from gptalt_eval_plugin_scienceqa.faults import Fault, count_kinds, describe_faults, find_fault
from gptalt_eval_plugin_scienceqa.formats import (
    BECAUSE,
    PLACE,
    answers_first,
    write_answer,
    write_context,
    write_question,
)
from gptalt_eval_plugin_scienceqa.releases import LETTERS
from gptalt_eval_plugin_scienceqa.settings import read_settings

LONG = 512  # tokens of a reply that gives its reasons first, as in the release
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
        if self.settings.shot_qids:
            fields["num_fewshot"] = len(self.settings.shot_qids)
        if given["output_type"] == "generate_until" and not answers_first(self.settings.prompt_format):
            fields["generation_kwargs"] = {**given["generation_kwargs"], "max_gen_toks": LONG}
        super().__init__(config={**given, **fields})
        self.sampler.choose(self)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **settings: Any) -> None:
        """As lm-eval's; pictures in the rows, as on the hub, stay as they are until one is shown."""
        super().download(dataset_kwargs, **settings)
        for split in self.dataset:
            self.dataset[split] = keep_pictures(self.dataset[split])
        if self.settings.use_caption and "caption" not in self.dataset[self.config.test_split].features:
            raise GptaltError(
                "--use_caption: ScienceQA on the hub has no captions.",
                "Give the folder of the release, which has captions.json: --data_dir FOLDER",
            )

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """As lm-eval's; examples that cannot be shown are found now, not when the weights are loaded."""
        super().set_fewshot_seed(seed)
        if self.config.num_fewshot:
            self.sampler.rehearse(self.config.num_fewshot)

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
        faults = []
        kept = []
        unseen = 0
        for place, row in enumerate(rows):
            if self.settings.subset == ("txt" if row["image"] is not None else "img"):
                continue
            fault = self.find_fault(row, place)
            if fault:
                faults.append(fault)
            else:
                kept.append(place)
                unseen += row["image"] is not None
        if faults:
            self.report(faults, len(faults) + len(kept))
        if not kept:
            raise GptaltError(f"{self.config.task} has no questions.", "Try another subset of ScienceQA.")
        if unseen and not self.settings.pictures:
            text = f"{unseen:,} of the {len(kept):,} questions of ScienceQA have a picture"
            shown = "captions stand in their place" if self.settings.use_caption else "this model sees none"
            self.notes.append(f"{text}; {shown}.")
        return kept

    def report(self, faults: Sequence[Fault], count: int) -> None:
        """Say which questions are left out, and note it in the task's configuration.

        Raises:
            GptaltError: the settings do not say that they are.
        """
        text = describe_faults(faults, count)
        if self.settings.bad_rows == "refuse":
            raise GptaltError(f"{text}.", "To leave them out, and count them: --bad_rows leave_out")
        self.notes.append(f"{text}. They are left out.")
        self.set_config("metadata", {"left_out": count_kinds(faults)}, update=True)

    def find_fault(self, row: Row, place: int) -> Fault | None:
        """The first fault of a question; what is wrong with a picture matters if the model is to see it."""
        shown = self.list_pictures(row) if self.settings.pictures else []
        return find_fault(row, place, *shown)

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
            choice = find_choice(
                self.cut_reasons(results[0]), dict(zip(LETTERS, row["choices"], strict=False))
            )
            right = float(choice == LETTERS[row["answer"]])
            extra = {"no_answer": float(choice is None)}
        return {"acc": right, **{f"acc_{column}": right for column in find_columns(row)}, **extra}

    def cut_reasons(self, reply: str) -> str:
        """A reply without the reasons after its answer, which may name other options."""
        if not answers_first(self.settings.prompt_format):
            return reply
        return reply.partition(BECAUSE)[0] if reply.partition(BECAUSE)[0].strip() else reply


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
            return self.draw(n, self.rnd)[0]
        if n not in self.known:
            self.known[n] = self.draw(n, Random(self.seed))[0]
        return self.known[n]

    def rehearse(self, count: int) -> None:
        """Check that examples can be shown; nothing is drawn from the generator that others will use.

        Raises:
            GptaltError: there are too few, or one that was asked for is not there.
        """
        found, faults = self.draw(count, Random(self.seed))
        if faults:
            counted = ", ".join(f"{number:,} {kind}" for kind, number in count_kinds(faults).items())
            self.note(
                f"ScienceQA: in place of {len(faults):,} drawn examples that cannot be shown ({counted}; "
                f"{faults[0]}), others were drawn."
            )
        if self.task.settings.pictures == "one" and any(row["image"] is not None for row in found):
            place = "have captions in place of theirs" if "caption" in found[0] else "are without theirs"
            self.note(f"The model takes one picture in a prompt: examples of ScienceQA {place}.")

    def note(self, text: str) -> None:
        if text not in self.task.notes:
            self.task.notes.append(text)

    def draw(self, count: int, random: Random) -> tuple[list[Row], list[Fault]]:
        """Examples in the order in which they are shown, and those that were drawn and cannot be.

        Raises:
            GptaltError: there are too few, or one that was asked for is not there.
        """
        names = self.task.settings.shot_qids
        order = self.find_named(names) if names else random.sample(range(len(self.df)), len(self.df))
        if names and count > len(names):
            text = f"--num_fewshot {count}: shot_qids has {len(names)} questions."
            raise GptaltError(text, f"Give {count} of them, or omit --num_fewshot.")
        drawn: list[Row] = []
        faults: list[Fault] = []
        for place in order:
            if len(drawn) == count:
                break
            example = {**self.df[place], "is_example": True}
            fault = self.task.find_fault(example, place)
            if fault:
                faults.append(fault)
            else:
                drawn.append(example)
        if names and faults:
            raise GptaltError(f"ScienceQA: an example cannot be shown: {faults[0]}.", "Choose another one.")
        if len(drawn) < count:
            text = f"ScienceQA: only {len(drawn)} of {len(self.df)} examples can be shown"
            raise GptaltError(
                f"{text}: {faults[0]}." if faults else f"{text}, {count} are wanted.",
                "Take fewer: --num_fewshot, or put the missing pictures in their place.",
            )
        return drawn, faults

    def find_named(self, names: Sequence[str]) -> list[int]:
        places = {str(row.get("id")): place for place, row in enumerate(self.df)}
        if names and "None" in places:
            text = "shot_qids: ScienceQA on the hub has no numbers of questions."
            raise GptaltError(text, "Give the folder of the release, which has them: --data_dir FOLDER")
        for name in names:
            if name not in places:
                text = f"shot_qids: question {name} is not one of the {len(places):,} of train."
                raise GptaltError(text, f"The first of them: {', '.join(list(places)[:5])}")
        return [places[name] for name in names]


def keep_pictures(rows: Any) -> Any:
    """Rows in which pictures are bytes, as in their files, where ``datasets`` would decode each of them."""
    if type(rows.features.get("image")).__name__ != "Image":
        return rows
    import datasets

    return rows.cast_column("image", datasets.Image(decode=False))
