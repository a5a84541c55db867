"""Random rows of texts and pictures: whatever they share a call with, they answer as alone and at once."""

import copy
import random
from itertools import pairwise

import pytest
import torch

pytestmark = pytest.mark.torch
TRIALS = 20
PICTURES = torch.randn(6, 3, 28, 28, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=["minigpt4", "mplug-owl", "otter", "multimodal-gpt"])
def model(request, write_text_folder, load_lm):
    name = "otter" if request.param == "multimodal-gpt" else request.param
    folder, args = write_text_folder(name)
    lm = load_lm(name, folder, **args)
    if request.param == name:
        return lm.model, lm.places
    config = copy.deepcopy(lm.model.config)
    config.attend_previous = False
    other = type(lm.model)(config)
    other.load_state_dict(lm.model.state_dict())
    return other.eval(), lm.places


def draw_words(rng, least, most):
    return [rng.randint(3, 380) for _ in range(rng.randint(least, most))]


def draw_row(rng, places):
    """Ids and the numbers of their pictures."""
    ids, pictures = [1], []
    for _ in range(rng.randint(0, 4)):
        ids += draw_words(rng, 0, 5)
        if rng.random() < 0.6:
            ids += places
            pictures.append(rng.randrange(len(PICTURES)))
    return ids + draw_words(rng, 1, 4), pictures


def make_batch(rng, rows, places):
    """Padded at one side, with any id: for a model with one place a picture also with that."""
    length = max(len(ids) for ids, _ in rows)
    side, pad = rng.choice(["left", "right"]), rng.choice([0, 2, *places[: len(places) == 1]])
    batch = torch.full((len(rows), length), pad)
    mask = torch.zeros_like(batch)
    for number, (ids, _) in enumerate(rows):
        at = slice(length - len(ids), None) if side == "left" else slice(len(ids))
        batch[number, at], mask[number, at] = torch.tensor(ids), 1
    return batch, mask


def draw_cuts(rng, model, batch, mask, places):
    """Where a batch is cut into calls: not within pictures; a text that sees its next picture needs it."""
    where = (batch == places[0]) & mask.bool()
    within = where[:, 1:] & where[:, :-1] if len(places) > 1 else torch.zeros_like(where[:, 1:])
    cuts = [place + 1 for place in range(batch.shape[1] - 1) if not within[:, place].any()]
    if not getattr(model.config, "attend_previous", True):
        last = int(where.nonzero()[:, 1].max()) if where.any() else 0
        cuts = [place for place in cuts if place > last]
    return [0, *sorted(rng.sample(cuts, min(len(cuts), rng.randint(0, 5)))), batch.shape[1]]


def ask_in_parts(model, rows, batch, mask, cuts, places):
    """Logits by several calls on one cache, each with the pictures whose places are in it."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    left = [list(pictures) for _, pictures in rows]
    cache, found = None, []
    for begin, end in pairwise(cuts):
        where = (batch[:, begin:end] == places[0]) & mask[:, begin:end].bool()
        counts = (where.sum(-1) // len(places)).tolist()
        now = [row.pop(0) for row, count in zip(left, counts, strict=True) for _ in range(count)]
        out = model(
            batch[:, begin:end], attention_mask=mask[:, :end], position_ids=positions[:, begin:end],
            past_key_values=cache, use_cache=True, pixel_values=PICTURES[now] if now else None,
        )  # fmt: skip
        cache = out.past_key_values
        found.append(out.logits)
    return torch.cat(found, 1)


@torch.no_grad()
def test_rows_answer_as_alone_in_any_company_and_in_any_parts(model):
    model, places = model
    rng = random.Random(1)
    for _ in range(TRIALS):
        rows = [draw_row(rng, places) for _ in range(rng.randint(1, 4))]
        batch, mask = make_batch(rng, rows, places)
        shown = [each for _, pictures in rows for each in pictures]
        pixels = PICTURES[shown] if shown else None
        whole = model(batch, attention_mask=mask, pixel_values=pixels).logits
        parts = ask_in_parts(model, rows, batch, mask, draw_cuts(rng, model, batch, mask, places), places)
        for number, (ids, pictures) in enumerate(rows):
            given = PICTURES[pictures] if pictures else None
            alone = model(torch.tensor([ids]), pixel_values=given, use_cache=False).logits[0]
            for found in (whole, parts):
                assert float((found[number][mask[number].bool()] - alone).abs().max()) < 5e-5
