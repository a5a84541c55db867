"""Questions with two picture examples: the tree against one option at a time and one prefix a question.

    python benchmarks/pictures.py [--questions 200] [--places 64,144] [--repeats 1]

A LLaVA with random weights in float32: 8 layers of width 256, a vocabulary of 32,000, a tower of 4 layers
of width 128; one thread. Each question has 2 examples and 4 options; an example is a picture and 50 words, a
word is a token. All three ways score the same tokens. *One option at a time* is the model's own forward with
all pictures, on 40 questions and scaled; *one prefix a question* computes a question's prompt with its
pictures once, and its options from the cached prefix.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from scoring import format_table
from transformers import DynamicCache, LlavaConfig, LlavaForConditionalGeneration

from gptalt_eval.machine.environment import describe_hardware
from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.pictures import Picture, Pictures, make_picture
from gptalt_eval.scoring.probe import choose_engine
from gptalt_eval.scoring.tree import Query
from gptalt_eval.scoring.trial import answer_all

VOCABULARY, IMAGE = 32_000, 31_999
PATCH, WORDS, SHOTS, OPTIONS, ALONE = 8, 50, 2, 4, 40
COLUMNS = {
    "positions": "places of a picture",
    "options": "options",
    "shared": "pictures",
    "alone": "one option at a time, s",
    "prefix": "one prefix a question, s",
    "ours": "tree, s",
    "faster": "times faster than one option",
    "than_prefix": "than one prefix",
    "asked": "tokens asked",
    "computed": "computed",
    "distinct": "distinct",
    "pictures": "pictures asked",
    "encoded": "encoded",
    "different": "distinct pictures",
    "error": "largest difference",
}


@dataclass(frozen=True)
class Load:
    """Questions, in items: ids and pictures.

    Attributes:
        prompts: of each question.
        options: [questions][options] ids.
    """

    prompts: Sequence[Sequence[int | Picture]]
    options: Sequence[Sequence[Sequence[int]]]


def make_model(positions: int) -> Any:
    side = int(positions**0.5) * PATCH
    text = {
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 8,
        "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
    }  # fmt: skip
    tower = {
        "model_type": "clip_vision_model", "hidden_size": 128, "intermediate_size": 512,
        "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": side, "patch_size": PATCH,
        "projection_dim": 128,
    }  # fmt: skip
    config = LlavaConfig(text_config=text, vision_config=tower, image_token_id=IMAGE)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


class Reader:
    """Makes the arguments of the model's own forward."""

    def make_inputs(self, ids: Sequence[int], pictures: Sequence[Picture], suffix: int = 0) -> dict[str, Any]:
        made = {"input_ids": torch.tensor([[IMAGE if each < 0 else each for each in ids]])}
        if pictures:
            made["pixel_values"] = torch.cat([picture.load()["pixel_values"] for picture in pictures])
        return made

    def __init__(self, positions: int) -> None:
        self.positions, self.side = positions, int(positions**0.5) * PATCH

    def sample(self, seed: int) -> Picture:
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randn(1, 3, self.side, self.side, generator=generator)
        return make_picture({"pixel_values": pixels}, [-1] * self.positions)


def make_load(reader: Reader, questions: int, texts: bool, shared: int) -> Load:
    """Questions of which ``shared`` have the same picture; options are letters, or texts of 3 to 6 words."""
    draw = random.Random(0)

    def say(count: int) -> list[int]:
        return [draw.randrange(3, IMAGE) for _ in range(count)]

    shots = [item for number in range(SHOTS) for item in (reader.sample(number), *say(WORDS))]
    letters = [say(1) for _ in range(OPTIONS)]
    prompts = [[1, *shots, reader.sample(100 + n // shared), *say(WORDS)] for n in range(questions)]
    options = [
        [say(draw.randint(3, 6)) for _ in range(OPTIONS)] if texts else letters for _ in range(questions)
    ]
    return Load(prompts, options)


def measure(task: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return task(), time.perf_counter() - began


def make_queries(load: Load, pictures: Pictures) -> list[Query]:
    return [
        Query(np.array(pictures.expand([*prompt, *option[:-1]])), option)
        for prompt, options in zip(load.prompts, load.options, strict=True)
        for option in options
    ]


def score_by_prefix(alone: AlonePictures, pictures: Pictures, load: Load) -> list[float]:
    """Each question's prompt once with all its pictures; its options from the cached keys and values."""
    found = []
    for prompt, options in zip(load.prompts, load.options, strict=True):
        row = np.array(pictures.expand(prompt))
        with torch.no_grad():
            first = alone.whole(**alone.make_inputs(row), use_cache=True, logits_to_keep=1)
            after = first.logits[0, -1].log_softmax(-1)
            states = [(layer.keys, layer.values) for layer in first.past_key_values.layers]
            for option in options:
                total = float(after[option[0]])
                if len(option) > 1:
                    ids = torch.tensor([option[:-1]])
                    rest = alone.whole(input_ids=ids, past_key_values=DynamicCache(states), use_cache=True)
                    logprobs = rest.logits[0].log_softmax(-1)
                    total += float(logprobs.gather(1, torch.tensor(option[1:])[:, None]).sum())
                found.append(total)
    return found


def compare(positions: int, questions: int, texts: bool, shared: int, repeats: int) -> dict[str, Any]:
    """One row of the table; of several runs, the fastest."""
    model, reader = make_model(positions), Reader(positions)
    load = make_load(reader, questions, texts, shared)
    pictures = Pictures(model)
    alone = AlonePictures(model, torch.no_grad, torch.float32, pictures, reader)
    engine = choose_engine(alone).engine
    assert engine is not None
    pictures.encoded = 0
    queries = make_queries(load, pictures)
    few = queries[: ALONE * OPTIONS]
    times: dict[str, list[float]] = {"alone": [], "prefix": [], "ours": []}
    for _ in range(repeats):
        engine.computed, pictures.encoded = 0, 0
        ours, seconds = measure(lambda: answer_all(engine, queries))
        times["ours"].append(seconds)
        prefix, seconds = measure(lambda: score_by_prefix(alone, pictures, load))
        times["prefix"].append(seconds)
        each, seconds = measure(lambda: [alone.answer(query) for query in few])
        times["alone"].append(seconds * len(queries) / len(few))
    best = {name: min(found) for name, found in times.items()}
    shown = [item for prompt in load.prompts for item in prompt if isinstance(item, Picture)]
    rows = [tuple(query.inputs.tolist()) for query in queries]
    errors = [np.abs(np.array(ours) - prefix).max(), np.abs(np.array(ours[: len(each)]) - each).max()]
    return {
        "positions": positions,
        "options": "texts" if texts else "letters",
        "shared": f"{shared} questions a picture" if shared > 1 else "one a question",
        **best,
        "faster": best["alone"] / best["ours"],
        "than_prefix": best["prefix"] / best["ours"],
        "asked": sum(map(len, rows)),
        "computed": engine.computed,
        "distinct": len({row[:end] for row in rows for end in range(1, len(row) + 1)}),
        "pictures": len(shown) * OPTIONS,
        "encoded": pictures.encoded,
        "different": len({picture.key for picture in shown}),
        "error": float(max(errors)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--places", default="64,144")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(json.dumps(describe_hardware()))
    rows = []
    for places in map(int, arguments.places.split(",")):
        for texts, shared in ((False, 1), (True, 1), (False, 4)):
            rows.append(compare(places, arguments.questions, texts, shared, arguments.repeats))
            print(json.dumps(rows[-1]), flush=True)
    print(format_table(rows, COLUMNS))


if __name__ == "__main__":
    main()
