"""The standard benchmarks' datasets: licences, home pages, official row counts, and where the files belong.

Licences and row counts are as published.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gptalt_eval.contract.types import Dataset, Part, Split
from gptalt_eval.data.readers import from_rows, with_labels
from gptalt_eval.data.releases import (
    convert_arc,
    convert_boolq,
    convert_gsm8k,
    convert_hellaswag,
    convert_openbookqa,
    convert_piqa,
    convert_sciq,
    convert_triviaqa,
    convert_winogrande,
    read_drop,
    read_mmlu,
    read_race,
)

SAMPLES = Path(__file__).parent / "samples"
CHECKSUMS = Path(__file__).with_name("checksums.sha256")
LABELS = ("{stem}-labels.lst",)
SMALLEST = Part("the extra small training set", 160)
VALIDATION = Part("the validation set in place of the training set", 1000)
WIKIPEDIA = Part("the Wikipedia half", 7993)


def split(name: str, rows: int | None, *files: str) -> Split:
    return Split(name, files, rows)


def list_datasets() -> list[Dataset]:
    """The datasets of the standard benchmarks, with their official row counts and known checksums."""
    described = [*describe_commonsense(), *describe_science(), *describe_reading(), *describe_knowledge()]
    return [replace(dataset, checksums=CHECKSUMS) for dataset in described]


def describe_commonsense() -> list[Dataset]:
    return [
        Dataset(
            "hellaswag",
            "HellaSwag",
            "Rowan/hellaswag",
            (
                split("train", 39905, "hellaswag/hellaswag_train.jsonl"),
                split("validation", 10042, "hellaswag/hellaswag_val.jsonl"),
                split("test", 10003, "hellaswag/hellaswag_test.jsonl"),
            ),
            from_rows(convert_hellaswag),
            "MIT",
            "github.com/rowanz/hellaswag",
            (),
            SAMPLES / "hellaswag",
            cluster="source_id",  # the video or article that a beginning is from
        ),
        Dataset(
            "winogrande",
            "WinoGrande",
            "allenai/winogrande",
            (
                Split(
                    "train",
                    ("winogrande/train_xl.jsonl", "winogrande/train_xs.jsonl"),
                    40398,
                    {"winogrande/train_xs.jsonl": SMALLEST},
                    LABELS,
                ),
                Split("validation", ("winogrande/dev.jsonl",), 1267, beside=LABELS),
            ),
            with_labels(convert_winogrande),
            "CC BY",
            "winogrande.allenai.org",
            ("winogrande_xl",),
            SAMPLES / "winogrande",
        ),
        Dataset(
            "piqa",
            "PIQA",
            "baber/piqa",
            (
                Split("train", ("piqa/train.jsonl",), 16113, beside=LABELS),
                Split("validation", ("piqa/valid.jsonl",), 1838, beside=LABELS),
            ),
            with_labels(convert_piqa),
            "AFL 3.0",
            "yonatanbisk.com/piqa",
            (),
            SAMPLES / "piqa",
        ),
    ]


def describe_science() -> list[Dataset]:
    return [
        arc("arc_easy", "Easy", 2251, 570, 2376),
        arc("arc_challenge", "Challenge", 1119, 299, 1172),
        Dataset(
            "openbookqa",
            "OpenBookQA",
            "allenai/openbookqa",
            (
                split("train", 4957, "openbookqa/Main/train.jsonl"),
                split("validation", 500, "openbookqa/Main/dev.jsonl"),
                split("test", 500, "openbookqa/Main/test.jsonl"),
            ),
            from_rows(convert_openbookqa),
            "Apache-2.0",
            "allenai.org/data/open-book-qa",
            ("main",),
            SAMPLES / "openbookqa",
        ),
        Dataset(
            "sciq",
            "SciQ",
            "allenai/sciq",
            (
                Split(
                    "train", ("sciq/train.json", "sciq/valid.json"), 11679, {"sciq/valid.json": VALIDATION}
                ),
                split("validation", 1000, "sciq/valid.json"),
                split("test", 1000, "sciq/test.json"),
            ),
            from_rows(convert_sciq),
            "CC BY-NC 3.0",
            "allenai.org/data/sciq",
            (),
            SAMPLES / "sciq",
        ),
    ]


def describe_reading() -> list[Dataset]:
    return [
        Dataset(
            "boolq",
            "BoolQ",
            "aps/super_glue",
            (split("train", 9427, "boolq/train.jsonl"), split("validation", 3270, "boolq/dev.jsonl")),
            from_rows(convert_boolq),
            "CC BY-SA 3.0",
            "github.com/google-research-datasets/boolean-questions",
            ("boolq",),
            SAMPLES / "boolq",
            cluster="passage",
        ),
        race("high", 1045, 1021, 18728),
        race("middle", 362, 368, 6409),
        Dataset(
            "drop",
            "DROP",
            "EleutherAI/drop",
            (
                split("train", 77400, "drop/drop_dataset_train.json"),
                split("validation", 9536, "drop/drop_dataset_dev.json", "drop/drop_v0_dev.jsonl.gz"),
            ),
            read_drop,
            "CC BY-SA 4.0",
            "allenai.org/data/drop",
            (),
            SAMPLES / "drop",
            cluster="passage",
        ),
    ]


def describe_knowledge() -> list[Dataset]:
    return [
        Dataset(
            "gsm8k",
            "GSM8K",
            "openai/gsm8k",
            (split("train", 7473, "gsm8k/train.jsonl"), split("test", 1319, "gsm8k/test.jsonl")),
            from_rows(convert_gsm8k),
            "MIT",
            "github.com/openai/grade-school-math",
            ("main",),
            SAMPLES / "gsm8k",
        ),
        Dataset(
            "mmlu",
            "MMLU",
            "cais/mmlu",
            (
                split("dev", 285, "mmlu/dev/{config}_dev.csv"),
                split("validation", 1531, "mmlu/val/{config}_val.csv"),
                split("test", 14042, "mmlu/test/{config}_test.csv"),
            ),
            read_mmlu,
            "MIT",
            "github.com/hendrycks/test",
            (),
            SAMPLES / "mmlu",
        ),
        Dataset(
            "triviaqa",
            "TriviaQA",
            "mandarjoshi/trivia_qa",
            (
                split("train", 138384, "triviaqa/rc.nocontext.train.jsonl"),
                Split(
                    "validation",
                    (
                        "triviaqa/rc.nocontext.validation.jsonl",
                        "triviaqa/rc.wikipedia.nocontext.validation.jsonl",
                    ),
                    17944,
                    {"triviaqa/rc.wikipedia.nocontext.validation.jsonl": WIKIPEDIA},
                ),
            ),
            from_rows(convert_triviaqa),
            "Apache-2.0",
            "nlp.cs.washington.edu/triviaqa",
            ("rc.nocontext",),
            SAMPLES / "triviaqa",
        ),
    ]


def arc(name: str, level: str, train: int, validation: int, test: int) -> Dataset:
    splits = (
        split("train", train, f"arc/ARC-{level}-Train.jsonl"),
        split("validation", validation, f"arc/ARC-{level}-Dev.jsonl"),
        split("test", test, f"arc/ARC-{level}-Test.jsonl"),
    )
    reader = from_rows(convert_arc)
    home = "allenai.org/data/arc"
    return Dataset(
        name,
        f"ARC-{level}",
        "allenai/ai2_arc",
        splits,
        reader,
        "CC BY-SA 4.0",
        home,
        (f"ARC-{level}",),
        SAMPLES / name,
    )


def race(level: str, test: int, validation: int, train: int) -> Dataset:
    splits = (
        split("train", train, f"race/RACE/train/{level}/*.txt"),
        split("validation", validation, f"race/RACE/dev/{level}/*.txt"),
        split("test", test, f"race/RACE/test/{level}/*.txt"),
    )
    name = f"race_{level}"
    title, home = f"RACE {level} school (rows are passages)", "www.cs.cmu.edu/~glai1/data/race"
    licence = "non-commercial research"
    return Dataset(
        name,
        title,
        "EleutherAI/race",
        splits,
        read_race,
        licence,
        home,
        (level,),
        SAMPLES / name,
        cluster="article",  # lm-eval asks one question of each; a task of your own may ask all
    )
