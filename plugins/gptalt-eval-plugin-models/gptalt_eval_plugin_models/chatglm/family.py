"""What the rest of the package knows about ChatGLM; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptalt_eval_plugin_models.chatglm.layouts import V1, V2, describe_weights, find_setting_faults, identify
from gptalt_eval_plugin_models.family import LOADER, MARK, Family


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.chatglm.backend import ChatGLMLM

    return ChatGLMLM


def describe_repair(folder: Path, config: Mapping[str, Any]) -> str:
    is_converted = (config.get(MARK), config.get(LOADER)) == (V2, "chatglm")
    return "computes angles of positions in fp16, as the model was trained" if is_converted else ""


CHATGLM = Family(
    name="chatglm",
    summary="ChatGLM-6B, ChatGLM2-6B and ChatGLM3-6B, by config.json",
    identify=identify,
    describe=describe_weights,
    find_setting_faults=find_setting_faults,
    tokenizers=("ice_text.model", "tokenizer.model"),
    make_class=make_class,
    repairs=describe_repair,
    own=(V1,),
)
