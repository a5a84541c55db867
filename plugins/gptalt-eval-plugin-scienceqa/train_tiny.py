r"""Trains a small image-text model that answers questions about drawings, and prints its folder.

    gptalt-eval --model hf-multimodal --model_args pretrained=$(python train_tiny.py) --tasks scienceqa_img \
        --data_dir sample --shot_qids 1,2

It is for tests and for `make demo-images`: that it answers shows that pictures arrive, those of questions and
those of examples. It is trained once, in some minutes on one core, and kept in the user's cache. It is shaped
like LLaVA (https://arxiv.org/abs/2304.08485): the patches of a picture, projected, are read among the words.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import transformers
from filelock import FileLock
from gptalt_eval_plugin_scienceqa import drawing, formats
from gptalt_eval_plugin_scienceqa.drawing import ASKED, CHOICES, ORDINALS, SIDE, Drawing
from gptalt_eval_plugin_scienceqa.formats import DEFAULT, PLACE, write_answer, write_question
from gptalt_eval_plugin_scienceqa.releases import LETTERS
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from gptalt_eval.machine.storage import make_cache

PATCH = SIDE // 2  # a cell of a drawing
STEPS, BATCH, RATE = 1200, 24, 1.5e-3
SPREAD = 0.06  # of the weights at first; with the usual 0.02 it answers blindly for long
HELD = 0.5  # the share of the steps with the full rate, which falls to nothing afterwards
WEIGHTS = {"letter": 1.0, "answer": 0.2, "text": 0.05}  # of each kind of token in the loss
#: of lessons: questions about a picture of an example, and those without examples; the rest have two
LOOK_BACK, ALONE = 0.65, 0.1
TEXTS = 0.3  # of examples of other lessons: without a picture, in words that the model does not know
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", PLACE)
#: the parts of a prompt that are one token; blanks are none
WORDS = r"\n+|Question:|Context:|Options:|Answer:|N/A|\([A-E]\)|\w+|[^\w\s]"
IGNORED = -100
Row = dict[str, Any]
Lesson = list[tuple[Row, Drawing | None]]  # examples, and a question at the end


def list_words() -> list[str]:
    """The words of the prompts, and no others: what else there is in the sample need not be known."""
    asked = [write_row(skill, back, 0) for skill in CHOICES for back in (None, *range(len(ORDINALS)))]
    texts = [f"{write_question(row, DEFAULT, 'N/A')} {write_answer(row, DEFAULT)}\n\n" for row in asked]
    found = [word for text in texts for word, _ in split_words().pre_tokenize_str(text)]
    return [*SPECIAL, *dict.fromkeys([*found, *LETTERS, *(f"({letter})" for letter in LETTERS)])]


def split_words() -> Any:
    return pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)


def make_tokenizer() -> Any:
    vocabulary = {word: number for number, word in enumerate(list_words())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split_words()
    tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex(r"^(?=\w)"), " "), decoders.Fuse()])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": PLACE},
    )  # fmt: skip


def make_processor() -> Any:
    square = {"height": SIDE, "width": SIDE}
    half = [0.5, 0.5, 0.5]
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size=square, image_mean=half, image_std=half
    )  # fmt: skip
    return transformers.LlavaProcessor(
        image_processor=images, tokenizer=make_tokenizer(), patch_size=PATCH,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
    )  # fmt: skip


def make_model(tokenizer: Any) -> Any:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    text = {
        **sizes, "model_type": "llama", "num_hidden_layers": 4, "num_key_value_heads": 4,
        "vocab_size": len(tokenizer), "max_position_embeddings": 1024, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    }  # fmt: skip
    vision = {
        **sizes, "model_type": "clip_vision_model", "num_hidden_layers": 2, "image_size": SIDE,
        "patch_size": PATCH, "projection_dim": 64,
    }  # fmt: skip
    config = transformers.LlavaConfig(
        text_config=text, vision_config=vision, vision_feature_layer=-1, tie_word_embeddings=False,
        image_token_id=tokenizer.convert_tokens_to_ids(PLACE), pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = transformers.LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=SPREAD)
    return model


def write_row(skill: str, back: int | None, answer: int) -> Row:
    """A question about a drawing, as the tasks write it from a row of the sample."""
    text = ASKED[skill] if back is None else drawing.ask_back(skill, back)
    return {"question": text, "choices": list(CHOICES[skill]), "answer": answer}


def draw_lesson(random: Random) -> Lesson:
    """Pictures never seen before: no lesson is drawn twice, and none is of the sample."""
    share = random.random()
    seen = [drawing.draw_at_random(random) for _ in range(3)]
    own: Lesson = [ask_about(random, each) for each in seen]
    if share < LOOK_BACK:
        skill, back = random.choice(list(CHOICES)), random.randrange(len(ORDINALS))
        answer = drawing.find_answer(seen[back], skill)
        return [*own[:2], (write_row(skill, back, answer), seen[2])]
    if share < LOOK_BACK + ALONE:
        return own[2:]
    return [*(write_unknown(random) if random.random() < TEXTS else each for each in own[:2]), own[2]]


def ask_about(random: Random, seen: Drawing) -> tuple[Row, Drawing]:
    skill = random.choice(list(CHOICES))
    return write_row(skill, None, drawing.find_answer(seen, skill)), seen


def write_unknown(random: Random) -> tuple[Row, None]:
    """An example of words that the model does not know."""
    choices = [" ".join("x" * random.randint(1, 4)) for _ in range(random.randint(2, 4))]
    question = f"{' '.join('x' * random.randint(3, 16))}?"
    return {"question": question, "choices": choices, "answer": random.randrange(len(choices))}, None


class Encoder:
    """Makes ids and pixels of lessons as the processor does, without its time for what repeats.

    Attributes:
        processor: tests compare with it.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.encode = functools.cache(self.read)
        self.letters = torch.tensor(self.tokenizer.convert_tokens_to_ids(list(LETTERS)))

    def read(self, text: str) -> tuple[int, ...]:
        places = PLACE * (SIDE // PATCH) ** 2
        return tuple(self.tokenizer.encode(text.replace(PLACE, places), add_special_tokens=False))

    def read_lesson(self, lesson: Lesson) -> tuple[list[int], list[bool]]:
        """Ids, and which of them are answers to questions with a picture."""
        ids: list[int] = []
        is_answer: list[bool] = []
        for row, seen in lesson:
            asked = self.encode((f"{PLACE}\n" if seen else "") + write_question(row, DEFAULT, "N/A"))
            answer = self.encode(f"{write_answer(row, DEFAULT)}\n\n")
            ids += [*asked, *answer]
            is_answer += [False] * len(asked) + [seen is not None] * len(answer)
        return ids, is_answer

    def make_batch(self, lessons: Sequence[Lesson]) -> dict[str, Tensor]:
        """``input_ids`` and ``weights`` (lessons, tokens), padded on the right; ``pixel_values``."""
        read = [self.read_lesson(lesson) for lesson in lessons]
        longest = max(len(ids) for ids, _ in read)
        ids = torch.zeros(len(read), longest, dtype=torch.long)
        weights = torch.zeros(len(read), longest)
        for place, (tokens, is_answer) in enumerate(read):
            ids[place, : len(tokens)] = torch.tensor(tokens)
            weights[place, : len(tokens)] = torch.where(
                torch.tensor(is_answer), WEIGHTS["answer"], WEIGHTS["text"]
            )
        weights[(weights == WEIGHTS["answer"]) & torch.isin(ids, self.letters)] = WEIGHTS["letter"]
        weights[ids == self.processor.image_token_id] = 0
        pixels = [read_pixels(seen) for lesson in lessons for _, seen in lesson if seen]
        return {"input_ids": ids, "weights": weights, "pixel_values": torch.from_numpy(np.stack(pixels))}


def read_pixels(seen: Drawing) -> Any:
    """(3, SIDE, SIDE), from -1 to 1."""
    return (np.asarray(seen.draw(), np.float32) / 127.5 - 1).transpose(2, 0, 1)


def compute_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The weighted mean of each kind of token."""
    known = model.model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"]).last_hidden_state
    weights = batch["weights"][:, 1:]
    counted = weights > 0
    logits = model.lm_head(known[:, :-1][counted])
    lost = torch.nn.functional.cross_entropy(logits, batch["input_ids"][:, 1:][counted], reduction="none")
    kinds = weights[counted]
    return torch.stack([weight * lost[kinds == weight].mean() for weight in WEIGHTS.values()]).sum()


def train(folder: Path, steps: int = STEPS, seed: int = 0) -> Iterator[tuple[int, float]]:
    """Train a model on one core and save it; yields step and loss now and then."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    random = Random(seed)
    encoder = Encoder(make_processor())
    model = make_model(encoder.tokenizer).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, 1.0, max(0.02, (1 - step / steps) / (1 - HELD)))
    )
    for step in range(1, steps + 1):
        loss = compute_loss(model, encoder.make_batch([draw_lesson(random) for _ in range(BATCH)]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            yield step, loss.item()
    model.eval().save_pretrained(folder)
    encoder.processor.save_pretrained(folder)


def name_recipe() -> str:
    """What the model depends on, as a name: another recipe is another model."""
    files = (Path(__file__), Path(drawing.__file__), Path(formats.__file__))
    parts = [*(file.read_bytes() for file in files), torch.__version__.encode()]
    return hashlib.sha256(b"\0".join([*parts, transformers.__version__.encode()])).hexdigest()[:16]


def fetch() -> Path:
    """The folder of the model, which is trained if that has not happened yet; a second process waits."""
    cache = make_cache("trained")
    folder = cache / f"drawings-{name_recipe()}"
    with FileLock(cache / "lock"):
        if not folder.is_dir():
            partial = cache / "partial"
            shutil.rmtree(partial, ignore_errors=True)
            for step, loss in train(partial):
                print(f"Training: step {step:,} of {STEPS:,}, loss {loss:.3f}", file=sys.stderr)
            partial.rename(folder)
    return folder


if __name__ == "__main__":
    print(fetch())
