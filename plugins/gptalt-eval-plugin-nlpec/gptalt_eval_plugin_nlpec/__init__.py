"""The Chinese pharmacist examination: NLPEC, with its evidence passages, and ExplainCPE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptalt_eval import Dataset, Split, from_rows, hookimpl

gptalt_eval_api = 1  # the version of gptalt-eval's hook API
HERE = Path(__file__).parent
TASKS = HERE / "tasks"
SAMPLES = HERE / "samples"
NLPEC_HOME = "aclanthology.org/2020.emnlp-main.111 (see the paper)"
Row = dict[str, Any]


@hookimpl
def register_task_dirs() -> list[Path]:
    return [TASKS]


@hookimpl
def register_datasets() -> list[Dataset]:
    explaincpe = tuple(
        Split(split, (f"explaincpe/{split}.json",), rows)
        for split, rows in (("train", 5967), ("dev", 700), ("test", 190))
    )
    return [
        nlpec("zh", "Chinese"),
        nlpec("en", "English"),
        Dataset(
            "explaincpe",
            "ExplainCPE",
            "gptalt-eval/explaincpe",
            explaincpe,
            from_rows(convert_explaincpe),
            "not stated",
            "github.com/HITsz-TMG/ExplainCPE",
            sample=SAMPLES / "explaincpe",
            checksums=HERE / "checksums.sha256",
        ),
    ]


def nlpec(language: str, title: str) -> Dataset:
    """One edition of NLPEC, without row counts: there is no official English edition."""
    splits = tuple(
        Split(split, (f"nlpec/{language}/{split}.jsonl", f"nlpec/{language}/{split}.json"))
        for split in ("train", "dev", "test")
    )
    return Dataset(
        f"nlpec_{language}",
        f"NLPEC ({title})",
        "gptalt-eval/nlpec",
        splits,
        from_rows(convert_nlpec),
        "not stated",
        NLPEC_HOME,
        (language,),
        SAMPLES / f"nlpec_{language}",
    )


def convert_nlpec(index: int, row: Row) -> Row:
    """A question of NLPEC, whose options are numbered from 1; evidence is one passage per option."""
    [answer] = row["answer"]
    places = dict(zip("12345", "ABCDE", strict=True))
    return {
        "id": str(row.get("questionId", index)),
        "question": row["questionText"],
        "options": letter(row["option"]),
        "answer_idx": places[answer],
        "evidence": [text for text in row.get("context") or [] if text],
        "subject": str(row.get("subject") or ""),
    }


def convert_explaincpe(index: int, row: Row) -> Row:
    return {
        "id": str(row["id"]),
        "question": row["question"],
        "options": letter(row["options"]),
        "answer_idx": row["answer"],
        "explanation": row["explanation"],
    }


def letter(options: list[str]) -> list[Row]:
    return [{"key": key, "value": value} for key, value in zip("ABCDE", options, strict=True)]
