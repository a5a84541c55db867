"""All families that have a loader."""

from __future__ import annotations

from gptalt_eval_plugin_models.chatglm.family import CHATGLM

FAMILIES = (CHATGLM,)
