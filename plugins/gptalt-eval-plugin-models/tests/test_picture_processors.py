"""Pictures become the numbers that the models were trained with."""

import numpy as np
import pytest
from gptalt_eval_plugin_models.pictures.processors import crop, squeeze
from PIL import Image

pytestmark = pytest.mark.torch


def make_picture(width, height, mode="RGB"):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def normalize(picture):
    """[3, height, width], as CLIP and BLIP were trained with."""
    values = np.asarray(picture, dtype=np.float64) / 255
    return ((values - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (40, 60), (224, 224), (1, 500), (333, 334)])
def test_pictures_become_the_numbers_that_they_became_in_2023(mode, width, height):
    picture = make_picture(width, height, mode)
    plain = picture.convert("RGB")
    expected = normalize(plain.resize((224, 224), Image.Resampling.BICUBIC))
    found = squeeze(224)(picture, return_tensors="np")["pixel_values"][0]
    assert found.shape == (3, 224, 224) and np.abs(found - expected).max() < 1e-5
    short = min(width, height)
    size = (int(224 * width / short), int(224 * height / short))
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    middle = plain.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    found = crop(224)(picture, return_tensors="np")["pixel_values"][0]
    assert found.shape == (3, 224, 224) and np.abs(found - normalize(middle)).max() < 1e-5


@pytest.mark.parametrize("name", ["minigpt4", "mplug-owl", "otter"])
def test_each_model_has_the_processor_of_its_size(write_text_folder, load_lm, name):
    folder, args = write_text_folder(name)
    lm = load_lm(name, folder, **args)
    values = lm.make_processor()([make_picture(60, 40), make_picture(30, 90)], return_tensors="pt")[
        "pixel_values"
    ]
    assert lm.model.get_image_features(values).pooler_output.shape[0] == 2
