"""The tree against stock lm-eval in float32, on every request: log-likelihoods, options, generated texts.

    python benchmarks/exactness.py [--workloads piqa,mmlu] [--data FOLDER]

The workloads are those of ``scoring.py``. Nothing is timed: other work beside it does no harm.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from scoring import Scores, describe, format_table, make_parser
from workloads import GENERATION, WORKLOADS, Question, make_questions

from gptalt_eval.planning.smollm2 import fetch
from gptalt_eval.scoring.backend import add_tree

COLUMNS = {
    "workload": "workload", "requests": "requests", "difference": "largest difference, nats",
    "questions": "questions", "other": "different option", "texts": "different text",
}  # fmt: skip


def compare(name: str, questions: list[Question], ours: Any, stock: Any) -> dict[str, Any]:
    """One row of the table."""
    requests = [request for question in questions for request in question]
    encoded = [((context, end), *stock._encode_pair(context, end)) for context, end in requests]
    found, theirs = (
        ours._loglikelihood_tokens(encoded),
        stock._loglikelihood_tokens(encoded, disable_tqdm=True),
    )
    predicted = [choose_options(questions, scores) for scores in (found, theirs)]
    return {
        "workload": name, "requests": len(requests),
        "difference": max(abs(one[0] - other[0]) for one, other in zip(found, theirs, strict=True)),
        "questions": len(questions),
        "other": sum(one != other for one, other in zip(*predicted, strict=True)),
    }  # fmt: skip


def choose_options(questions: list[Question], scores: Scores) -> list[int]:
    """The number of each question's most likely request."""
    logprobs = iter([logprob for logprob, _ in scores])
    return [int(np.argmax([next(logprobs) for _ in question])) for question in questions]


def compare_texts(
    name: str, prompts: list[tuple[str, dict[str, Any]]], ours: Any, stock: Any
) -> dict[str, Any]:
    """The row of a generation workload."""
    asked = [
        Instance("generate_until", {}, prompt, number, doc_id=number) for number, prompt in enumerate(prompts)
    ]
    found, theirs = (lm.generate_until(asked, disable_tqdm=True) for lm in (ours, stock))
    other = sum(one != other for one, other in zip(found, theirs, strict=True))
    return {"workload": name, "requests": len(prompts), "texts": other}


def main() -> None:
    arguments = make_parser(__doc__.splitlines()[0]).parse_args()
    transformers.utils.logging.disable_progress_bar()
    print(describe(arguments, "float32"))
    ours = add_tree(HFLM)(**{**fetch(), "device": arguments.device, "dtype": "float32"})
    stock = HFLM(pretrained=ours.model, tokenizer=ours.tokenizer, batch_size=8)
    rows = []
    for name in (*WORKLOADS, *GENERATION):
        if name.lower().startswith(arguments.workloads):
            measure = compare_texts if name in GENERATION else compare
            rows.append(measure(name, make_questions(name, arguments.data), ours, stock))
            print(json.dumps(rows[-1]), flush=True)
    print(format_table(rows, COLUMNS))


if __name__ == "__main__":
    main()
