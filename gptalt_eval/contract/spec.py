"""What the user asked for: a RunSpec from argv, a YAML file or Python. Nothing is looked up here."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.settings import (
    DEFAULT_SEEDS,
    SCORERS,
    complete_seeds,
    parse_samples,
    parse_seeds,
    parse_settings,
    parse_shots,
    split_names,
)

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class RunSpec:
    """A request, validated by itself. Field names are lm-eval's flags.

    Attributes:
        model: one name, or several separated by commas: an experiment.
        num_fewshot: one or several shot counts; several make one evaluation each, the model loaded once.
        prompt_style: ways of writing prompts; several make one evaluation each.
        seed: for Python, numpy, torch and few-shot sampling; None leaves one unset.
        data_dir: folder of release files, or ``sample``; None: ``GPTALT_DATA``, else the hub.
        scorer: ``tree``, or ``stock`` for lm-eval's own computation of log-likelihoods and generation.
        allow_partial_data: go on with release files that are short or altered, and mark the results.
    """

    model: str = ""
    tasks: tuple[str, ...] = ()
    model_args: Settings = field(default_factory=dict)
    num_fewshot: tuple[int, ...] = ()
    prompt_style: tuple[str, ...] = ()
    batch_size: str = "1"
    max_batch_size: int | None = None
    device: str | None = None
    limit: float | None = None
    samples: Mapping[str, list[int]] | None = None
    gen_kwargs: Settings = field(default_factory=dict)
    scorer: str = "tree"
    data_dir: str | None = None
    allow_partial_data: bool = False
    include_path: str | None = None
    output_path: str | None = None
    log_samples: bool = False
    predict_only: bool = False
    use_cache: str | None = None
    cache_requests: str | None = None
    check_integrity: bool = False
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    write_out: bool = False
    show_config: bool = False
    verbosity: str | None = None
    seed: tuple[int | None, ...] = DEFAULT_SEEDS
    trust_remote_code: bool = False
    confirm_run_unsafe_code: bool = False
    metadata: Settings = field(default_factory=dict)
    wandb_args: Settings = field(default_factory=dict)
    wandb_config_args: Settings = field(default_factory=dict)
    trackio_args: Settings = field(default_factory=dict)
    hf_hub_log_args: Settings = field(default_factory=dict)

    @property
    def saves_samples(self) -> bool:
        """lm-eval saves samples on request; a folder of our own has them, and so have arms to be compared."""
        several = len(self.num_fewshot) > 1 or len(self.prompt_style) > 1
        return self.log_samples or self.predict_only or several or not self.output_path

    def find_faults(self) -> list[GptaltError]:
        """What is wrong with the request whatever the names in it mean."""
        faults = [
            (not self.model, "No model was named.", "For a first try: --model smollm2 --data_dir sample"),
            (not self.tasks, "No tasks were named.", "For example: --tasks piqa. See: gptalt-eval ls tasks"),
            (
                any(shots < 0 for shots in self.num_fewshot),
                f"--num_fewshot {','.join(map(str, self.num_fewshot))}: it cannot be negative.",
                "Give 0 or more.",
            ),
            (
                self.limit is not None and self.limit <= 0,
                f"--limit {self.limit}: nothing would run.",
                "Give a number of items, or a fraction below 1.",
            ),
            (
                self.limit is not None and self.samples is not None,
                "--limit and --samples exclude each other.",
                "Leave one out: --samples names the very rows.",
            ),
            (
                bool(self.fewshot_as_multiturn) and not self.apply_chat_template,
                "--fewshot_as_multiturn has no meaning without a chat template.",
                "Add --apply_chat_template, or leave it out.",
            ),
            (
                bool(self.prompt_style) and bool(self.apply_chat_template or self.system_instruction),
                "--prompt_style decides on the chat template and the system message itself.",
                "Leave out --apply_chat_template and --system_instruction, or --prompt_style.",
            ),
            (
                self.scorer not in SCORERS,
                f"--scorer {self.scorer}: there is no such scorer.",
                did_you_mean(self.scorer, SCORERS) or f"There are: {', '.join(SCORERS)}.",
            ),
            (
                not is_batch_size(self.batch_size),
                f"--batch_size {self.batch_size}: not a batch size.",
                "Give a number, 'auto' or 'auto:N'.",
            ),
        ]
        return [GptaltError(what, hint) for wrong, what, hint in faults if wrong]


def is_batch_size(text: str) -> bool:
    word, _, count = text.partition(":")
    if word == "auto":
        return not count or count.isdigit()
    return text.isdigit() and int(text) > 0


def read_argv(namespace: argparse.Namespace) -> RunSpec:
    """The request that a parsed command line makes, laid over its ``--config`` file."""
    typed = {key: value for key, value in vars(namespace).items() if value not in (None, False)}
    typed.update((key, 0) for key in ("limit",) if vars(namespace).get(key) == 0)
    config = typed.pop("config", None)
    values = read_config(Path(config)) if config else {}
    return make_spec({**values, **typed})


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file of flags.

    Raises:
        GptaltError: no such file, no YAML, no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GptaltError(f"--config: {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GptaltError(f"--config: {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise GptaltError(f"--config: {path} holds no settings.", "Write one 'flag: value' a line.")
    return values


def make_spec(values: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from plain values: strings where lists are meant are split, mappings may be ``a=1,b=2``.

    Raises:
        GptaltError: a name that is no flag, or a value of the wrong kind.
    """
    names = [item.name for item in dataclasses.fields(RunSpec)]
    ready: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            raise GptaltError(f"There is no setting '{key}'.", did_you_mean(key, names))
        try:
            ready[key] = convert_value(key, value)
        except (argparse.ArgumentTypeError, TypeError, ValueError) as error:
            raise GptaltError(f"{key}: {value!r} cannot be used: {error}.") from error
    return RunSpec(**ready)


def convert_value(key: str, value: Any) -> Any:
    if value is None:
        return getattr(RunSpec(), key)
    if key == "model":
        return ",".join(split_names(value)) if isinstance(value, list) else value
    if key in ("tasks", "prompt_style"):
        return tuple(split_names(value))
    if key == "num_fewshot":
        return tuple(
            parse_shots(value) if isinstance(value, str) else [value] if isinstance(value, int) else value
        )
    if key == "seed":
        return tuple(
            parse_seeds(value)
            if isinstance(value, str)
            else complete_seeds([value] if isinstance(value, int) else value)
        )
    if key == "samples":
        return parse_samples(value) if isinstance(value, str) else dict(value)
    if key == "batch_size":
        return str(value)
    if key.endswith("_args") or key in ("gen_kwargs", "metadata"):
        return parse_settings(value) if isinstance(value, str) else dict(value)
    return value


def dump_spec(spec: RunSpec) -> dict[str, Any]:
    """The settings that differ from their defaults, as JSON can hold them; ``make_spec`` reads them back."""
    default = RunSpec()
    values = {item.name: getattr(spec, item.name) for item in dataclasses.fields(spec)}
    return {key: value for key, value in values.items() if value != getattr(default, key)}


def format_command(spec: RunSpec, program: str = "gptalt-eval") -> str:
    """The command line that makes this request."""
    words = [program]
    for key, value in dump_spec(spec).items():
        words.append(f"--{key}")
        if isinstance(value, Mapping):
            words.append(json.dumps(value, ensure_ascii=False))
        elif isinstance(value, tuple):
            words.append(",".join(map(str, value)))
        elif value is not True:
            words.append(f"{value:g}" if isinstance(value, float) else str(value))
    return " ".join(
        word if word.startswith("--") and i != 0 else shlex.quote(word) for i, word in enumerate(words)
    )
