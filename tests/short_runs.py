"""Short runs of a tiny model, however it is reached, and whether two of them have the same answers."""

import copy
import json
from pathlib import Path

import pytest
import tiny
import torch
import transformers as tf

from gptalt_eval.commands import cli
from gptalt_eval.contract.record import load_record

TASKS = ["--tasks", "piqa,hellaswag,gsm8k", "--num_fewshot", "0", "--gen_kwargs", "max_gen_toks=12"]
DATA = ["--data_dir", "sample", "--limit", "4", "--log_samples"]


def save_model(folder, template=None):
    """A model with a context for these tasks, and its tokenizer with a chat template; returns the folder."""
    torch.manual_seed(0)
    settings = tiny.GROUPED | {"max_position_embeddings": 600}
    tf.LlamaForCausalLM(tf.LlamaConfig(**settings)).save_pretrained(folder)
    tokenizer = copy.deepcopy(tiny.make_tokenizer())  # it is every test's
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def write_command(name, out, *more, tasks=TASKS, **args):
    """The words of a command that runs a model with arguments."""
    given = ",".join(f"{key}={value}" for key, value in args.items())
    return ["--model", name, "--model_args", given, *tasks, *DATA, "--output_path", str(out), *more]


def run_here(folder, out, *more, tasks=TASKS):
    """The answers of the same weights, computed by lm-eval's own backend."""
    more = ["--device", "cpu", *more]
    assert cli.main(write_command("hf", out, *more, tasks=tasks, pretrained=folder, dtype="float32")) == 0
    return read_answers(out)


def read_run(out):
    return load_record(next(Path(out).rglob("run.json")).parent).run


def read_answers(out):
    """The answers to each row, as the samples have them."""
    found = {}
    for file in Path(out).rglob("samples_*.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            asked = json.dumps(sample["arguments"], sort_keys=True)
            found[asked, sample.get("filter")] = [answer for [answer] in sample["resps"]]
    return found


def assert_alike(found, expected):
    assert found.keys() == expected.keys() and len(found) > 10
    for key, answers in expected.items():
        for ours, theirs in zip(found[key], answers, strict=True):
            if isinstance(theirs, str):
                assert ours == theirs
            else:
                assert float(ours[0]) == pytest.approx(float(theirs[0]), abs=1e-3) and ours[1] == theirs[1]
