"""The formats of vote files that come with this plugin."""

from __future__ import annotations

from gptalt_eval_plugin_elo.formats.arena import convert_battle, convert_onehot, is_battle, is_onehot
from gptalt_eval_plugin_elo.formats.judged import convert_judgment, is_judgment
from gptalt_eval_plugin_elo.formats.labelstudio import is_labelstudio, make_labelstudio
from gptalt_eval_plugin_elo.formats.logs import convert_log, is_log
from gptalt_eval_plugin_elo.formats.own import convert_own, is_own
from gptalt_eval_plugin_elo.formats.pandalm import convert_pandalm, is_pandalm
from gptalt_eval_plugin_elo.votes import VoteFormat


def list_formats() -> list[VoteFormat]:
    return [
        VoteFormat("gptalt", "our own: question, model_a, model_b, winner", is_own, convert_own),
        VoteFormat("fastchat", "battles of FastChat and LMArena, MT-bench", is_battle, convert_battle),
        VoteFormat("onehot", "LMArena's winner_model_a, _b and winner_tie", is_onehot, convert_onehot),
        VoteFormat("fastchat-log", "the log of FastChat's server", is_log, convert_log),
        VoteFormat("mt-bench", "MT-bench's pairs, judged by a model twice", is_judgment, convert_judgment),
        VoteFormat("pandalm", "PandaLM's test set: several annotators in a row", is_pandalm, convert_pandalm),
        VoteFormat("labelstudio", "Label Studio's JSON, JSON-MIN or CSV", is_labelstudio, make_labelstudio()),
    ]
