"""Plugins that this project publishes: a name of one that is not installed can say where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class KnownPlugin:
    """A published plugin.

    Attributes:
        summary: one line.
        tasks: task, group and tag names it brings.
        models: model names it brings.
        commands: subcommands it brings.
    """

    summary: str
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


KNOWN: Mapping[str, KnownPlugin] = MappingProxyType(
    {
        "example": KnownPlugin(
            "the smallest useful plugin, to copy from", ("capitals",), ("shortest-option",)
        ),
        "models": KnownPlugin(
            "the open stand-ins for GPT of 2023, with their chat templates",
            models=(
                "alpaca",
                "alpaca-lora",
                "baichuan",
                "belle",
                "bloomz",
                "cerebras-gpt",
                "chatglm",
                "chatglm2",
                "chatglm3",
                "dolly",
                "falcon",
                "gpt4all",
                "guanaco",
                "h2ogpt",
                "koala",
                "llama",
                "llama2",
                "moss",
                "mpt",
                "oasst",
                "pythia",
                "redpajama",
                "rwkv",
                "stablelm",
                "vicuna",
                "wizardlm",
            ),
        ),
        "medqa": KnownPlugin(
            "medicine and science in English, simplified and traditional Chinese",
            tasks=(
                "medqa",
                "medqa_en",
                "medqa_zh",
                "medqa_en_4",
                "medqa_en_5",
                "medqa_zh_hans_4",
                "medqa_zh_hans_5",
                "medqa_zh_hant_4",
                "medqa_gen",
                "medqa_en_4_gen",
                "medqa_en_5_gen",
                "medqa_zh_hans_4_gen",
                "medqa_zh_hans_5_gen",
                "medqa_zh_hant_4_gen",
                "medmcqa_gen",
                "pubmedqa_gen",
                "sciq_gen",
                "gptalt_science",
                "gptalt_science_gen",
            ),
        ),
        "nlpec": KnownPlugin(
            "the Chinese pharmacist examination",
            tasks=(
                "nlpec",
                "nlpec_zh",
                "nlpec_en",
                "nlpec_zh_gen",
                "nlpec_en_gen",
                "nlpec_zh_evidence",
                "nlpec_en_evidence",
                "explaincpe",
                "explaincpe_gen",
            ),
        ),
        "scienceqa": KnownPlugin("ScienceQA with its pictures", tasks=("scienceqa", "scienceqa_img")),
        "elo": KnownPlugin(
            "human votes: import, agreement, Elo, the voting page",
            commands=("votes", "vote", "elo", "answers"),
        ),
    }
)


def find_provider(kind: str, name: str) -> str | None:
    """The known plugin that brings this ``tasks``, ``models`` or ``commands`` name."""
    return next((plugin for plugin, known in KNOWN.items() if name in getattr(known, kind)), None)


def say_where_from(kind: str, name: str, plugin: str) -> str:
    """The sentence for a name whose plugin is not installed."""
    noun = {"tasks": "Task", "models": "Model", "commands": "Command"}[kind]
    return f"{noun} '{name}' comes with gptalt-eval-plugin-{plugin}."
