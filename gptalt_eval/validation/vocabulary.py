"""The names that lm-eval knows, read from its source as text: fields, metrics, filters and the like."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.storage import cache_dir, write_atomically
from gptalt_eval.planning.index import find_lm_eval_tasks
from gptalt_eval.validation.sources import (
    OPEN,
    Signature,
    read_class_signature,
    read_function_signature,
    read_module,
)

#: Settings of generation that backends other than transformers take (vLLM, OpenAI), and lm-eval's own.
GENERATION_KEYS = (
    "until", "do_sample", "temperature", "max_gen_toks", "max_new_tokens", "max_tokens",
    "max_completion_tokens", "top_p", "top_k", "min_p", "seed", "stop", "n", "best_of", "min_tokens",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "ignore_eos", "logprobs",
    "skip_special_tokens", "spaces_between_special_tokens", "chat_template_kwargs", "enable_thinking",
    "think_end_token", "reasoning_effort",
)  # fmt: skip
STRUCTURE = ("class", "include", "group", "tag", "task_list")  # lm-eval takes these out before TaskConfig


@dataclass(frozen=True)
class Vocabulary:
    """What lm-eval knows by name.

    Attributes:
        task_fields, fewshot_fields, group_fields, aggregate_fields: the fields of its four configurations.
        output_types: the kinds of request.
        metrics: metric -> its arguments.
        default_aggregations: metric -> the aggregation it has where none is given.
        aggregations, samplers: their names.
        filters: filter -> its arguments.
        generation_keys: what ``generation_kwargs`` may hold.
    """

    task_fields: tuple[str, ...] = ()
    fewshot_fields: tuple[str, ...] = ()
    group_fields: tuple[str, ...] = ()
    aggregate_fields: tuple[str, ...] = ()
    output_types: tuple[str, ...] = ()
    metrics: Mapping[str, Signature] = field(default_factory=dict)
    default_aggregations: Mapping[str, str] = field(default_factory=dict)
    aggregations: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    filters: Mapping[str, Signature] = field(default_factory=dict)
    generation_keys: tuple[str, ...] = ()


def load_vocabulary() -> Vocabulary:
    """The vocabulary of the installed lm-eval, from the cache where these versions were read before.

    Raises:
        GptaltError: lm-eval is not installed, or its source is not laid out as expected.
    """
    package = find_lm_eval_tasks().parent
    versions = [f"{name}-{find_version(name)}" for name in ("lm_eval", "transformers")]
    reader = crc32(Path(__file__).read_bytes())  # another way of reading, another cache
    cached = cache_dir() / f"vocabulary-{'-'.join(versions)}-{reader:08x}.json"
    try:
        return restore(json.loads(cached.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no cache yet, or a damaged one: it is written below
    try:
        vocabulary = read_vocabulary(package)
    except (OSError, ValueError, KeyError, SyntaxError) as error:
        text = f"The source of lm-eval in {package} is not laid out as expected ({error})."
        raise GptaltError(text, "Type: pip install 'lm-eval[hf]>=0.4.13,<0.5'") from error
    with contextlib.suppress(OSError):  # without the cache, the next time costs a quarter second more
        write_atomically(cached, json.dumps(dataclasses.asdict(vocabulary)))
    return vocabulary


def find_version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def restore(stored: dict[str, Any]) -> Vocabulary:
    """A vocabulary from its JSON.

    Raises:
        KeyError, TypeError, AttributeError: the JSON is not one.
    """
    values: dict[str, Any] = {}
    for part in dataclasses.fields(Vocabulary):
        value = stored[part.name]
        if part.name in ("metrics", "filters"):
            value = {
                name: Signature(tuple(item["names"]), tuple(item["required"]), bool(item["is_open"]))
                for name, item in value.items()
            }
        values[part.name] = value if isinstance(value, dict) else tuple(value)
    return Vocabulary(**values)


def read_vocabulary(package: Path) -> Vocabulary:
    tasks, groups = parse(package / "config" / "task.py"), parse(package / "config" / "group.py")
    metrics, defaults = read_metrics(package / "api" / "metrics.py")
    filters = read_filters(package / "filters")
    return Vocabulary(
        task_fields=tuple(dict.fromkeys((*list_fields(tasks, "TaskConfig"), *STRUCTURE))),
        fewshot_fields=list_fields(tasks, "FewshotConfig"),
        group_fields=list_fields(groups, "GroupConfig"),
        aggregate_fields=list_fields(groups, "AggMetricConfig"),
        output_types=tuple(read_constant(package / "api" / "task.py", "ALL_OUTPUT_TYPES")),
        metrics=metrics,
        default_aggregations=defaults,
        aggregations=read_module(package / "api" / "metrics.py").registered["register_aggregation"],
        samplers=tuple(read_constant(package / "api" / "samplers.py", "SAMPLER_REGISTRY")),
        filters=filters,
        generation_keys=(*GENERATION_KEYS, *read_generation_keys()),
    )


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def list_fields(tree: ast.Module, name: str) -> tuple[str, ...]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return tuple(
                part.target.id
                for part in node.body
                if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
            )
    raise ValueError(f"no class {name}")


def read_constant(file: Path, name: str) -> Iterable[str]:
    """The texts of a module's list, or the keys of its dictionary."""
    for node in parse(file).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and name in ast.unparse(node).split("=")[0]:
            parts = node.value.keys if isinstance(node.value, ast.Dict) else getattr(node.value, "elts", [])
            return [str(ast.literal_eval(part)) for part in parts if part is not None]
    raise ValueError(f"no {name} in {file}")


def read_metrics(file: Path) -> tuple[dict[str, Signature], dict[str, str]]:
    """The metrics with their arguments, and the aggregation that each has by default."""
    functions = {node.name: node for node in parse(file).body if isinstance(node, ast.FunctionDef)}
    metrics: dict[str, Signature] = {}
    defaults: dict[str, str] = {}
    for function in functions.values():
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "register_metric":
                words = {word.arg: word.value for word in decorator.keywords if word.arg}
                name = str(ast.literal_eval(words["metric"]))
                metrics[name] = read_function_signature(function, functions)
                if "aggregation" in words:
                    defaults[name] = str(ast.literal_eval(words["aggregation"]))
    return metrics, defaults


def read_filters(folder: Path) -> dict[str, Signature]:
    """The filters of the modules that the package itself imports: others are never registered."""
    imports = [node for node in parse(folder / "__init__.py").body if isinstance(node, ast.ImportFrom)]
    modules = [alias.name for node in imports if node.level == 1 and not node.module for alias in node.names]
    found: dict[str, Signature] = {}
    for file in (folder / f"{module}.py" for module in modules):
        classes = {node.name: node for node in parse(file).body if isinstance(node, ast.ClassDef)}
        for node in classes.values():
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "register_filter":
                    found[str(ast.literal_eval(decorator.args[0]))] = (
                        read_class_signature(node, classes) or OPEN
                    )
    if not found:
        raise ValueError("no filters")
    return found


def read_generation_keys() -> tuple[str, ...]:
    """What transformers' GenerationConfig takes, from its source; nothing where that is elsewhere."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return ()
    file = Path(spec.submodule_search_locations[0], "generation", "configuration_utils.py")
    try:
        calls = [node for node in ast.walk(parse(file)) if isinstance(node, ast.Call)]
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(
        str(call.args[0].value)
        for call in calls
        if ast.unparse(call.func) == "kwargs.pop" and call.args and isinstance(call.args[0], ast.Constant)
    )
