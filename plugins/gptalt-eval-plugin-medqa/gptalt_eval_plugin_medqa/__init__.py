"""MedQA in English, simplified and traditional Chinese; MedMCQA; and PubMedQA."""

from __future__ import annotations

from pathlib import Path

from gptalt_eval import Dataset, Part, Split, from_rows, hookimpl
from gptalt_eval_plugin_medqa.releases import convert_medmcqa, convert_medqa, read_pubmedqa

gptalt_eval_api = 1  # the version of gptalt-eval's hook API
HERE = Path(__file__).parent
TASKS = HERE / "tasks"
SAMPLES = HERE / "samples"
CHECKSUMS = HERE / "checksums.sha256"


@hookimpl
def register_task_dirs() -> list[Path]:
    return [TASKS]


@hookimpl
def register_datasets() -> list[Dataset]:
    return [
        medqa("en_4", "English, 4 options", "med_qa_en_4options_source", 10178, 1272, 1273,
              "medqa/US/4_options/phrases_no_exclude_{split}.jsonl"),
        medqa("en_5", "English, 5 options", "med_qa_en_source", 10178, 1272, 1273, "medqa/US/{split}.jsonl"),
        medqa("zh_hans_4", "simplified Chinese, 4 options", "med_qa_zh_4options_source", 27400, 3425, 3426,
              "medqa/Mainland/4_options/{split}.jsonl"),
        medqa("zh_hans_5", "simplified Chinese, 5 options", "med_qa_zh_source", 27400, 3425, 3426,
              "medqa/Mainland/{split}.jsonl"),
        medqa("zh_hant_4", "traditional Chinese, 4 options", "med_qa_tw_source", 11298, 1412, 1413,
              "medqa/Taiwan/{split}.jsonl"),
        Dataset(
            "medmcqa",
            "MedMCQA",
            "openlifescienceai/medmcqa",
            (
                Split("train", ("medmcqa/train.json",), 182822),
                Split("validation", ("medmcqa/dev.json",), 4183),
            ),
            from_rows(convert_medmcqa),
            "MIT",
            "medmcqa.github.io",
            sample=SAMPLES / "medmcqa",
            checksums=CHECKSUMS,
        ),
        Dataset(
            "pubmedqa",
            "PubMedQA",
            "bigbio/pubmed_qa",
            (
                Split("train", ("pubmedqa/ori_pqal.json",), 500, beside=("test_ground_truth.json",)),
                Split("test", ("pubmedqa/test_ground_truth.json",), 500, beside=("ori_pqal.json",)),
            ),
            read_pubmedqa,
            "MIT",
            "github.com/pubmedqa/pubmedqa",
            ("pubmed_qa_labeled_fold0_source",),
            SAMPLES / "pubmedqa",
            CHECKSUMS,
        ),
    ]  # fmt: skip


def medqa(name: str, title: str, config: str, train: int, dev: int, test: int, path: str) -> Dataset:
    """One edition of MedQA; if the training set is missing, examples come from the development set."""
    files = {split: path.replace("{split}", split) for split in ("train", "dev", "test")}
    instead = Part("the development set in place of the training set", dev)
    return Dataset(
        f"medqa_{name}",
        f"MedQA ({title})",
        "bigbio/med_qa",
        (
            Split("train", (files["train"], files["dev"]), train, {files["dev"]: instead}),
            Split("validation", (files["dev"],), dev),
            Split("test", (files["test"],), test),
        ),
        from_rows(convert_medqa),
        "MIT",
        "github.com/jind11/MedQA",
        (config,),
        SAMPLES / f"medqa_{name}",
        CHECKSUMS,
    )
