"""The log of FastChat's server: a line for every click, of which some are votes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from gptalt_eval_plugin_elo.formats.values import Record, get_optional, get_text, has, shorten
from gptalt_eval_plugin_elo.votes import Vote, Word

is_log = has("type", "tstamp", "models", "states")
SINGLE = ("upvote", "downvote")  # on one model's answer


def convert_log(record: Record) -> Iterator[Vote]:
    """Clicks other than votes on a pair (``chat``, ``flag``, ``upvote``) are passed over."""
    kind = get_text(record, "type")
    if "vote" not in kind or kind in SINGLE:
        return
    shown, states = record.get("models"), record.get("states")
    if not isinstance(shown, list) or not isinstance(states, list) or not 2 == len(shown) == len(states):
        raise ValueError("'models' and 'states' are not two each")
    if not all(isinstance(each, str) for each in shown) or not all(isinstance(each, dict) for each in states):
        raise ValueError("'models' are not texts, or 'states' are not objects")
    played = [str(state.get("model_name") or "").strip() for state in states]
    named = [name.strip() for name in shown]
    if any(named) and any(played) and named != played:
        raise ValueError(f"'models' and 'states' name different models: {shorten([*named, *played])}")
    models = named if all(named) else played
    if not all(models):
        raise ValueError("neither 'models' nor 'states' name the models")
    yield Vote(
        find_comparison(states[0]), models[0], models[1], Word(kind), "", hide_address(record),
        get_text(record, "tstamp"), get_optional(record, "language"), blind=not any(named),
    )  # fmt: skip


def find_comparison(state: Record) -> str:
    """The conversation's id, and how many messages it had when it was judged."""
    messages, offset = state.get("messages"), state.get("offset")
    if not isinstance(messages, list):
        raise ValueError("'states' without 'messages'")
    turn = (len(messages) - (offset if type(offset) is int else 0)) // 2
    return f"{get_text(state, 'conv_id')}/turn {turn}"


def hide_address(record: Record) -> str:
    """An annotator's name that is the same for the same address, and is not the address."""
    address = get_optional(record, "ip")
    return f"user-{hashlib.blake2b(address.encode(), digest_size=6).hexdigest()}" if address else ""
