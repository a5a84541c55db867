"""What transformers' processors make of pictures becomes what the models' own forward takes."""

import numpy as np
import pytest
import torch
import transformers
from picture_models import IMAGE, make_llava
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from gptalt_eval.scoring.processors import PictureReader

pytestmark = pytest.mark.torch


def make_tokenizer(*special):
    """Of words w3, w4, ...; the last tokens are the special ones."""
    words = {f"w{number}": number for number in range(3, 99 - len(special))}
    words |= {name: 99 - len(special) + place for place, name in enumerate(special)}
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, **words}, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


def make_image(seed, width=20, height=16):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class LM:
    """What a reader needs of lm-eval's model."""

    def __init__(self, case, processor):
        self.model, self.processor, self.tokenizer = case.model, processor, processor.tokenizer

    def tok_encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)


def make_llava_lm():
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    processor = transformers.LlavaProcessor(
        images, make_tokenizer("<image>"), patch_size=4, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    return LM(make_llava(), processor)


LMS = {"LLaVA": make_llava_lm}


@pytest.fixture(scope="module", params=LMS)
def lm(request):
    return LMS[request.param]()


def test_a_prompt_is_read_as_by_the_processor(lm):
    """Pictures and ids of two pictures in one text."""
    reader, images = PictureReader(lm), [make_image(0), make_image(1, 40, 16)]
    text = "w5 w6 <image> w7 w8 <image> w9"
    prompt = reader.encode(text)
    assert prompt.count(None) == 2
    shown = iter([reader.read(image) for image in images])
    found = reader.forward_inputs([next(shown) if each is None else each for each in prompt])
    expected = lm.processor(text=[text], images=images, return_tensors="pt")
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert int((found["input_ids"] == IMAGE).sum()) == sum(
        picture.layout.count(-1) for picture in map(reader.read, images)
    )
    for name, value in expected.items():
        if name not in ("input_ids", "attention_mask"):
            assert torch.equal(found[name], value), name
    with torch.no_grad():
        assert torch.equal(lm.model(**found).logits, lm.model(**expected).logits)
