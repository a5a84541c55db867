"""The user's request: a RunSpec from argv, a YAML file or Python. No names are looked up here."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.settings import (
    DEFAULT_SEEDS,
    parse_settings,
    read_batch_size,
    read_flag,
    read_integer,
    read_level,
    read_model,
    read_names,
    read_number,
    read_request_cache,
    read_samples,
    read_seeds,
    read_settings,
    read_shots,
    read_template,
    read_text,
)
from gptalt_eval.machine.bounds import read_yaml
from gptalt_eval.machine.secrets import HIDDEN, fill_values, hide_values

Settings = Mapping[str, Any]
#: refuses settings that a file may not have: (file, its settings, those typed)
Checker = Callable[[Path, Mapping[str, Any], Mapping[str, Any]], None]


@dataclass(frozen=True)
class RunSpec:
    """A request. Field names are lm-eval's flags.

    Attributes:
        model: one name, or several separated by commas: an experiment.
        num_fewshot: one or several shot counts; each is one evaluation, and the model is loaded only once.
        prompt_style: prompt styles; each is one evaluation.
        seed: for Python, numpy, torch and few-shot sampling; None leaves one unset.
        data_dir: folder of release files, or ``sample``; None: ``GPTALT_DATA``, else the hub.
        scorer: ``tree``, or ``stock`` for lm-eval's own computation of log-likelihoods and generation.
        allow_partial_data: use incomplete or altered release files anyway, and mark the results.
        plugins_lock: a lock file that the installed packages must match.
        trust_task_code: YAMLs that may run the Python and read the files that they name.
        workers: processes on this computer that answer; None: one for each GPU if there are several.
        cluster: address of the Ray cluster whose workers answer, or ``auto``.
        gpus_per_worker: with which each worker loads a model.
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
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    write_out: bool = False
    show_config: bool = False
    verbosity: str | None = None
    seed: tuple[int | None, ...] = DEFAULT_SEEDS
    trust_remote_code: bool = False
    confirm_run_unsafe_code: bool = False
    plugins_lock: str | None = None
    trust_task_code: tuple[str, ...] = ()
    workers: int | None = None
    cluster: str | None = None
    gpus_per_worker: int | None = None
    metadata: Settings = field(default_factory=dict)
    wandb_args: Settings = field(default_factory=dict)
    wandb_config_args: Settings = field(default_factory=dict)
    trackio_args: Settings = field(default_factory=dict)
    hf_hub_log_args: Settings = field(default_factory=dict)

    @property
    def saves_samples(self) -> bool:
        """On request, as in lm-eval; always in the default folder and for several arms to compare."""
        several = len(self.num_fewshot) > 1 or len(self.prompt_style) > 1
        return self.log_samples or self.predict_only or several or not self.output_path


#: how the value of each setting is read
READERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "model": read_model,
        "num_fewshot": read_shots,
        "batch_size": read_batch_size,
        **dict.fromkeys(("max_batch_size", "workers", "gpus_per_worker"), read_integer),
        "limit": read_number,
        "samples": read_samples,
        "cache_requests": read_request_cache,
        "apply_chat_template": read_template,
        "verbosity": read_level,
        "seed": read_seeds,
        **dict.fromkeys(("tasks", "prompt_style", "trust_task_code"), read_names),
        **dict.fromkeys(
            ("device", "scorer", "data_dir", "include_path", "output_path", "use_cache"), read_text
        ),
        **dict.fromkeys(("system_instruction", "plugins_lock", "cluster"), read_text),
        **dict.fromkeys(("model_args", "gen_kwargs", "metadata"), read_settings),
        **dict.fromkeys(
            ("wandb_args", "wandb_config_args", "trackio_args", "hf_hub_log_args"), read_settings
        ),
        **dict.fromkeys(("allow_partial_data", "log_samples", "predict_only", "write_out"), read_flag),
        **dict.fromkeys(("show_config", "trust_remote_code", "confirm_run_unsafe_code"), read_flag),
        "fewshot_as_multiturn": read_flag,
    }
)
#: where a parsed command line has the values of plugins' flags
OF_PLUGINS = "metadata_of_plugins"
#: flags of lm-eval that are not supported, and why
REFUSED: Mapping[str, str] = MappingProxyType(
    {"check_integrity": "no release of lm-eval includes the tests that it runs"}
)


def read_argv(namespace: argparse.Namespace, check: Checker | None = None) -> RunSpec:
    """The request of a parsed command line, which overrides its ``--config`` file.

    Args:
        namespace: contains only what was typed.
        check: called with that file, its settings and those typed, before any of them is used.
    """
    typed = {key: value for key, value in vars(namespace).items() if key in READERS or key in REFUSED}
    config = getattr(namespace, "config", None)
    values = read_config(Path(config)) if config is not None else {}
    if check is not None and config is not None:
        check(Path(config), values, typed)
    flags: Mapping[str, Any] = getattr(namespace, OF_PLUGINS, {})
    if not flags:
        return make_spec({**values, **typed})
    # a flag of a plugin replaces its own entry of the metadata, not those that somebody wrote beside it
    spec = make_spec({**values, **typed})
    return dataclasses.replace(spec, metadata={**spec.metadata, **flags})


class SingleLoader(yaml.SafeLoader):
    """Reads YAML in which no key appears twice; of two values, the usual reader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, key in enumerate(keys):
            if key.value in [other.value for other in keys[:place]]:
                text = f"'{key.value}' appears twice, again in line {key.start_mark.line + 1}"
                raise yaml.YAMLError(text)
        return super().construct_mapping(node, deep)


#: what PyYAML raises for values that are none: `!!int x`, `!!timestamp x`, 5,000 brackets
UNREADABLE = (ValueError, AttributeError, LookupError, TypeError, OverflowError, RecursionError)


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file of flags.

    Raises:
        GptaltError: the file is missing, not valid YAML, or not a mapping.
    """
    try:
        values = yaml.load(read_yaml(path).decode("utf-8"), SingleLoader)
    except OSError as error:
        raise GptaltError(f"--config: {path} cannot be read: {error.strerror}.") from error
    except (*UNREADABLE, yaml.YAMLError) as error:
        raise GptaltError(f"--config: {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise GptaltError(f"--config: {path} contains no settings.", "Write one 'flag: value' per line.")
    return values


def make_spec(values: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from values, or from text as typed: ``a,b`` for a list, ``a=1,b=2`` for a mapping.

    Raises:
        GptaltError: an unknown flag, or a value of the wrong type.
    """
    try:
        values = fill_values(values)
    except LookupError as error:
        text = f"These settings were saved without their secrets ({HIDDEN}), and {error} is not set."
        raise GptaltError(text, f"Set the variable {error}, for example before the same command.") from None
    for key, reason in REFUSED.items():
        if values.get(key):
            raise GptaltError(f"--{key}: {reason}.", "Omit it.")
    return RunSpec(**{key: read_value(key, value) for key, value in values.items() if key not in REFUSED})


def read_value(key: str, value: object) -> Any:
    if key not in READERS:
        raise GptaltError(f"There is no setting '{key}'.", did_you_mean(str(key), READERS))
    if value is None and key != "seed":  # with seed None, lm-eval leaves all generators unset
        return getattr(RunSpec(), key)
    try:
        return READERS[key](value)
    except ValueError as error:
        shown = f" {value}" if isinstance(value, (str, int, float)) and value != "" else ""
        raise GptaltError(f"--{key}{shown}: {error}.", "See: gptalt-eval run --help") from error


def dump_spec(spec: RunSpec) -> dict[str, Any]:
    """The settings that differ from their defaults, as JSON values without secrets.

    ``make_spec`` reads them back, with the secrets from the environment.
    """
    default = RunSpec()
    values = {item.name: getattr(spec, item.name) for item in dataclasses.fields(spec)}
    return hide_values({key: value for key, value in values.items() if value != getattr(default, key)})


def format_settings(value: Mapping[str, Any]) -> str:
    """Settings as ``a=1,b=x`` if they are read back as they are, else as JSON."""
    if all(isinstance(one, (str, int, float)) for one in value.values()):
        words = {key: str(one).lower() if isinstance(one, bool) else one for key, one in value.items()}
        text = ",".join(f"{key}={one}" for key, one in words.items())
        with contextlib.suppress(ValueError):
            if list(map(repr, parse_settings(text).items())) == list(map(repr, value.items())):
                return text
    return json.dumps(value, ensure_ascii=False)


def format_command(spec: RunSpec, program: str = "gptalt-eval") -> str:
    """The command line of this request."""
    words = [program]
    for key, value in dump_spec(spec).items():
        words.append(f"--{key}")
        if isinstance(value, Mapping):
            words.append(format_settings(value))
        elif isinstance(value, tuple):
            words.append(",".join(map(str, value)))
        elif value is not True:
            words.append(str(int(value) if isinstance(value, float) and value.is_integer() else value))
    return " ".join(
        word if word.startswith("--") and i != 0 else shlex.quote(word) for i, word in enumerate(words)
    )
