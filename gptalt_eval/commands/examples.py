"""What to type, for the help of the core's commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from gptalt_eval.contract.types import Command

RUN_FOLDER = "runs/2026-01-31_12-00-00"
OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": (
            "gptalt-eval --model smollm2 --tasks piqa --data_dir sample",
            "gptalt-eval --model smollm2 --tasks mmlu,gsm8k --data_dir ~/data --limit 100",
            "gptalt-eval --model hf --model_args pretrained=./my-model --tasks race",
            "gptalt-eval --model smollm2,me/my-model --tasks piqa --num_fewshot 0,5",
            "gptalt-eval run experiment.yaml --limit 10",
        ),
        "ls": (
            "gptalt-eval ls tasks race",
            "gptalt-eval ls models --language zh --size '<10B' --commercial",
            "gptalt-eval ls datasets --data_dir ~/data",
        ),
        "show": ("gptalt-eval show piqa", "gptalt-eval show model smollm2"),
        "show task": ("gptalt-eval show task gsm8k --num_fewshot 2 --data_dir sample",),
        "show model": ("gptalt-eval show model smollm2",),
        "show dataset": ("gptalt-eval show dataset mmlu --data_dir ~/data",),
        "plugins": ("gptalt-eval plugins", "gptalt-eval plugins check medqa"),
        "plugins check": ("gptalt-eval plugins check medqa",),
        "plugins lock": ("gptalt-eval plugins lock gptalt-eval.lock",),
        "install": ("gptalt-eval install medqa", "gptalt-eval install ./my-plugin"),
        "uninstall": ("gptalt-eval uninstall medqa",),
        "report": (
            f"gptalt-eval report {RUN_FOLDER}",
            f"gptalt-eval report {RUN_FOLDER} --format latex --output scores.tex",
        ),
        "site": ("gptalt-eval site runs --into pages",),
        "resume": (f"gptalt-eval resume {RUN_FOLDER}",),
        "compare": (
            f"gptalt-eval compare {RUN_FOLDER}",
            "gptalt-eval compare runs/first runs/second --by model --metric acc_norm",
        ),
        "recommend": ("gptalt-eval recommend --language zh --memory 16GB --task medqa_zh",),
        "rerun": (f"gptalt-eval rerun {RUN_FOLDER}",),
        "validate": ("gptalt-eval validate rivers.yaml", "gptalt-eval validate my_tasks/ --data_dir sample"),
        "new": ("gptalt-eval new task rivers", "gptalt-eval new plugin night-sky --into ~/plugins"),
        "data check": ("gptalt-eval data check --data_dir ~/data", "gptalt-eval data check piqa mmlu"),
        "data prepare": ("gptalt-eval data prepare piqa --from ~/Downloads/piqa.zip --data_dir ~/data",),
    }
)


def add_examples(command: Command, path: str = "") -> Command:
    """A command of the core with its examples, and its subcommands with theirs."""
    path = f"{path} {command.name}".strip()
    inner = tuple(add_examples(each, path) for each in command.commands)
    return replace(command, commands=inner, examples=OF.get(path, ()))
