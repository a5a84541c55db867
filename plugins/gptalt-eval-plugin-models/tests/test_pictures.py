"""Models that see pictures give the same answers however they are asked."""

import copy
from itertools import pairwise

import pytest
import torch
from transformers import DynamicCache

pytestmark = pytest.mark.torch
FP32 = 1e-5
NAMES = ("minigpt4", "mplug-owl", "otter")


@pytest.fixture(scope="module")
def models(write_pictured, load_lm):
    written = {name: write_pictured(name) for name in NAMES}
    return {name: load_lm(name, folder, **args) for name, (folder, args) in written.items()}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def lm(models, name):
    return models[name]


def differ(found, expected):
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


#: rows of texts with the number of a picture between each two texts: several, one, none
ROWS = [([1, 5, 6], 0, [7, 8], 1, [9, 10, 11]), ([1], 2, [12, 13]), ([1, 20, 21, 22, 23],)]
PICTURES = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def make_row(lm, row):
    """The ids of a row, and its pictures."""
    ids = [each for part in row for each in (part if isinstance(part, list) else lm.places)]
    return torch.tensor([ids]), [part for part in row if not isinstance(part, list)]


def ask(lm, row, **settings):
    ids, pictures = make_row(lm, row)
    pixels = PICTURES[pictures] if pictures else None
    return lm.model(ids, pixel_values=pixels, **settings).logits


def make_batch(lm, rows, side):
    """Rows of several lengths with padding, whose id is that of a picture's place in Otter."""
    made = [make_row(lm, row) for row in rows]
    length = max(ids.shape[1] for ids, _ in made)
    pad = lm.places[0] if lm.model.slots == 1 else 0
    batch = torch.full((len(made), length), pad)
    mask = torch.zeros_like(batch)
    for number, (ids, _) in enumerate(made):
        count = ids.shape[1]
        at = slice(length - count, None) if side == "left" else slice(count)
        batch[number, at], mask[number, at] = ids[0], 1
    return batch, mask, PICTURES[[each for _, pictures in made for each in pictures]]


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_rows_of_a_batch_answer_as_alone(lm, side):
    batch, mask, pixels = make_batch(lm, ROWS, side)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for given in ({}, {"position_ids": positions}):
        logits = lm.model(batch, attention_mask=mask, pixel_values=pixels, **given).logits
        for number, row in enumerate(ROWS):
            assert differ(logits[number][mask[number].bool()][None], ask(lm, row)) < FP32


@torch.no_grad()
def test_cached_answers_are_those_without_a_cache(lm):
    """Token by token from each place of the row on; Otter's own code forgets its pictures then."""
    ids, pictures = make_row(lm, ROWS[0])
    expected = ask(lm, ROWS[0], use_cache=False)
    at = [place for place in range(1, ids.shape[1]) if is_between(lm, ids[0], place)]
    for known in at:
        cache, found = None, []
        cuts = [0, known, *(place for place in at if place > known), ids.shape[1]]
        left = list(pictures)
        for begin, end in pairwise(cuts):
            part = ids[:, begin:end]
            count = int((part == lm.places[0]).sum()) // len(lm.places)
            now, left = left[:count], left[count:]
            pixels = PICTURES[now] if now else None
            out = lm.model(part, past_key_values=cache, use_cache=True, pixel_values=pixels)
            found.append(out.logits)
            cache = out.past_key_values
        assert differ(torch.cat(found, 1), expected) < FP32


def is_between(lm, ids, place):
    """Whether a row can be cut here: not within a picture."""
    return len(lm.places) == 1 or not (ids[place] == ids[place - 1] == lm.places[0])


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("uses_cache", [True, False])
@torch.no_grad()
def test_generated_texts_are_those_of_each_row_alone(lm, beams, uses_cache):
    settings = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "eos_token_id": None}
    settings |= {"pad_token_id": 0, "use_cache": uses_cache, "num_return_sequences": beams}
    batch, mask, pixels = make_batch(lm, ROWS, "left")
    together = lm.model.generate(batch, attention_mask=mask, pixel_values=pixels, **settings)
    for number, row in enumerate(ROWS):
        ids, pictures = make_row(lm, row)
        given = {"pixel_values": PICTURES[pictures]} if pictures else {}
        alone = lm.model.generate(ids, attention_mask=torch.ones_like(ids), **given, **settings)
        own = together[number * beams : (number + 1) * beams]
        assert torch.equal(own[:, -6:], alone[:, -6:])
        if beams == 1:
            assert torch.equal(alone[:, -6:], continue_greedily(lm, ids, given, 6)[:, -6:])


def continue_greedily(lm, ids, given, count):
    """Without a cache, and without ``generate``."""
    for _ in range(count):
        logits = lm.model(ids, use_cache=False, **given).logits[:, -1]
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return ids


@torch.no_grad()
def test_answers_depend_on_pictures_and_on_nothing_else(lm):
    same = ask(lm, ROWS[0])
    assert torch.equal(ask(lm, ROWS[0]), same)
    exchanged = ask(lm, ([1, 5, 6], 1, [7, 8], 0, [9, 10, 11]))
    other = ask(lm, ([1, 5, 6], 0, [7, 8], 3, [9, 10, 11]))
    slots = len(lm.places)
    before, between = slice(3), slice(3, 5 + slots)
    assert differ(exchanged[:, before], same[:, before]) < FP32  # text before the first picture
    assert differ(exchanged[:, between], same[:, between]) > 1e-3
    assert differ(other[:, between], same[:, between]) < FP32
    assert differ(other[:, 5 + slots :], same[:, 5 + slots :]) > 1e-3


@torch.no_grad()
def test_encoded_pictures_answer_as_the_pictures(lm):
    """What a prefix tree hands over: features of each distinct picture, encoded once."""
    ids, pictures = make_row(lm, ROWS[0])
    features = lm.model.get_image_features(PICTURES[pictures]).pooler_output
    if len(lm.places) == 1:
        seen = (ids == lm.places[0]).cumsum(-1) - 1
        given = {"image_features": features[None], "seen": seen}
    else:
        given = {"image_features": features.flatten(0, 1)}
    assert differ(lm.model(ids, **given).logits, ask(lm, ROWS[0])) < FP32


@pytest.mark.parametrize("count", [0, 1, 3])
def test_more_or_fewer_pictures_than_places_are_refused(lm, count):
    ids, _ = make_row(lm, ROWS[0])
    with pytest.raises(ValueError, match="places of pictures"):
        lm.model(ids, pixel_values=PICTURES[:count] if count else None)


@pytest.mark.parametrize("name", ["minigpt4", "mplug-owl"])
def test_parts_of_pictures_are_refused(models, name):
    """A picture in two parts, in two rows, and one place too few."""
    lm = models[name]
    first, *rest = lm.places
    divided = [[1, first, 5, *rest, 6]]
    spread = [[1, *rest, 5], [1, first, *[6] * len(rest)]]
    for rows in (divided, spread, [[1, *rest]]):
        with pytest.raises(ValueError, match="places of"):
            lm.model(torch.tensor(rows), pixel_values=PICTURES[:1])


def test_what_the_models_cannot_answer_rightly_is_refused(models):
    lm = models["otter"]
    ids, pictures = make_row(lm, ROWS[0])
    pixels, model = PICTURES[pictures], lm.model
    with pytest.raises(ValueError, match="only a PictureCache"):
        model(ids, pixel_values=pixels, past_key_values=DynamicCache())
    features = model.get_image_features(pixels).pooler_output[None]
    for given in ({"image_features": features}, {"seen": ids}):
        with pytest.raises(ValueError, match="together"):
            model(ids, **given)
    with pytest.raises(ValueError, match="either"):
        model(ids, image_features=features, seen=ids, pixel_values=pixels)
    for name in ("minigpt4", "mplug-owl"):
        with pytest.raises(ValueError, match="need input_ids"):
            models[name].model(inputs_embeds=torch.zeros(1, 2, 40), pixel_values=pixels)
        with pytest.raises(ValueError, match="features of 3 places"):
            models[name].model(make_row(models[name], ROWS[0])[0], image_features=torch.zeros(3, 40))


@pytest.fixture
def cached(models):
    """Otter's cache after two rows with one picture each, and what comes next."""
    lm = models["otter"]
    ids = torch.tensor([[1, 90, 5, 6], [1, 7, 90, 8]])
    cache = lm.model(ids, pixel_values=PICTURES[:2], use_cache=True).past_key_values
    return lm.model, ids, cache, torch.tensor([[9], [9]])


@torch.no_grad()
def test_a_cache_s_rows_can_be_chosen_repeated_and_cut(cached):
    model, ids, cache, following = cached

    def expect(rows, ids):
        whole = torch.cat([ids[rows], following[rows]], 1)
        return model(whole, pixel_values=PICTURES[rows], use_cache=False).logits[:, -1:]

    for change, rows in (
        (lambda cache: cache.reorder_cache(torch.tensor([1, 0])), [1, 0]),
        (lambda cache: cache.batch_select_indices(torch.tensor([1])), [1]),
        (lambda cache: cache.batch_repeat_interleave(2), [0, 0, 1, 1]),
    ):
        changed = copy.deepcopy(cache)
        change(changed)
        found = model(following[rows], past_key_values=changed).logits
        assert differ(found, expect(rows, ids)) < FP32
    shorter = copy.deepcopy(cache)
    shorter.crop(-1)
    found = model(following, past_key_values=shorter).logits
    assert differ(found, expect([0, 1], ids[:, :-1])) < FP32
    with pytest.raises(ValueError, match="before its last picture"):
        copy.deepcopy(cache).crop(-2)
    cache.reset()
    assert cache.picture is None


@torch.no_grad()
def test_a_picture_s_place_that_the_model_itself_wrote_is_text(cached):
    model, _, cache, _ = cached
    assert model(torch.tensor([[90], [5]]), past_key_values=cache).logits.isfinite().all()


@pytest.fixture(scope="module")
def flamingo(models):
    """OpenFlamingo's first release, which MultiModal-GPT was made from, with Otter's weights."""
    config = copy.deepcopy(models["otter"].model.config)
    config.attend_previous = False
    model = type(models["otter"].model)(config)
    model.load_state_dict(models["otter"].model.state_dict())
    return model.eval()


@torch.no_grad()
def test_multimodal_gpt_sees_the_next_picture(flamingo):
    """After the last picture, a text sees nothing, cached or not."""
    ids = torch.tensor([[1, 5, 90, 6, 7, 90, 8, 9]])
    seen = torch.tensor([[0, 0, 0, 1, 1, 1, -1, -1]])
    features = flamingo.get_image_features(PICTURES[:2]).pooler_output[None]
    expected = flamingo(ids, image_features=features, seen=seen).logits
    assert differ(flamingo(ids, pixel_values=PICTURES[:2]).logits, expected) < FP32
    out = flamingo(ids[:, :7], pixel_values=PICTURES[:2], use_cache=True)
    last = flamingo(ids[:, 7:], past_key_values=out.past_key_values).logits
    assert differ(last, expected[:, 7:]) < FP32
    with pytest.raises(ValueError, match="in the first call"):
        flamingo(ids[:, 5:6], pixel_values=PICTURES[:1], past_key_values=out.past_key_values)


@torch.no_grad()
def test_multimodal_gpt_reads_texts_alone_as_a_llama(flamingo):
    """Its own code skips all layers for pictures then; beside rows with pictures and with a cache, too."""
    plain = copy.deepcopy(flamingo.lang_encoder)
    for layer in plain.model.layers:
        layer.gated_cross_attn_layer = None
    texts = torch.tensor([[1, 5, 6, 7, 8, 9], [1, 90, 6, 7, 8, 9]])
    expected = plain(texts[:1]).logits
    assert differ(flamingo(texts[:1]).logits, expected) < FP32
    both = flamingo(texts, pixel_values=PICTURES[:1]).logits
    assert differ(both[:1], expected) < FP32
    assert differ(both[1:], plain(texts[1:]).logits) > 1e-3
    out = flamingo(texts[:, :4], pixel_values=PICTURES[:1], use_cache=True)
    for place in (4, 5):
        out = flamingo(texts[:, place : place + 1], past_key_values=out.past_key_values)
        assert differ(out.logits, both[:, place : place + 1]) < FP32
    cache = None
    for place in range(6):
        out = flamingo(texts[:1, place : place + 1], past_key_values=cache, use_cache=True)
        assert differ(out.logits, expected[:, place : place + 1]) < FP32
        cache = out.past_key_values
