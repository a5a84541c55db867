"""All families that have a loader."""

from __future__ import annotations

from gptalt_eval_plugin_models.chatglm.family import CHATGLM
from gptalt_eval_plugin_models.llama.family import ALPACA, LLAMA
from gptalt_eval_plugin_models.minigpt4.family import MINIGPT4
from gptalt_eval_plugin_models.moss.family import MOSS
from gptalt_eval_plugin_models.mplug_owl.family import MPLUG_OWL
from gptalt_eval_plugin_models.otter.family import OTTER
from gptalt_eval_plugin_models.rwkv.family import RWKV

FAMILIES = (CHATGLM, LLAMA, ALPACA, MOSS, RWKV, MINIGPT4, MPLUG_OWL, OTTER)
