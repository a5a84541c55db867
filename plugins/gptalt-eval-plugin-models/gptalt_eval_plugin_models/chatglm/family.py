"""What the rest of the package knows about ChatGLM; nothing heavy is imported here."""

from __future__ import annotations

from typing import Any

from gptalt_eval_plugin_models.chatglm.layouts import describe_weights, find_setting_faults, identify
from gptalt_eval_plugin_models.family import Family


def make_class() -> type[Any]:
    from gptalt_eval_plugin_models.chatglm.backend import ChatGLMLM

    return ChatGLMLM


CHATGLM = Family(
    name="chatglm",
    summary="ChatGLM-6B, ChatGLM2-6B and ChatGLM3-6B, by config.json",
    identify=identify,
    describe=describe_weights,
    find_setting_faults=find_setting_faults,
    tokenizers=("ice_text.model", "tokenizer.model"),
    make_class=make_class,
)
