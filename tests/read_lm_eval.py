"""Reads from the source of the installed lm-eval the names that the validator and the catalog know.

    python tests/read_lm_eval.py        writes them anew into the package, after a change of the pinned lm-eval

Nothing of lm-eval or transformers runs: its source is read as text.
"""

import ast
import dataclasses
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from read_backends import list_lookalikes, read_backends, read_loading_arguments

import gptalt_eval
from gptalt_eval.planning.index import find_lm_eval_tasks
from gptalt_eval.validation.sources import (
    OPEN,
    Signature,
    read_class_signature,
    read_function_signature,
    read_module,
)
from gptalt_eval.validation.vocabulary import Vocabulary

PACKAGE = Path(gptalt_eval.__file__).parent
# settings of generation that backends other than transformers take (vLLM, OpenAI), and lm-eval's own.
GENERATION_KEYS = (
    "until", "do_sample", "temperature", "max_gen_toks", "max_new_tokens", "max_tokens",
    "max_completion_tokens", "top_p", "top_k", "min_p", "seed", "stop", "n", "best_of", "min_tokens",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "ignore_eos", "logprobs",
    "skip_special_tokens", "spaces_between_special_tokens", "chat_template_kwargs", "enable_thinking",
    "think_end_token", "reasoning_effort",
)  # fmt: skip
PAIRED = ("mcc",)  # its aggregation compares pairs of any values, so of texts too
STRUCTURE = ("class", "include", "group", "tag", "task_list")  # lm-eval takes these out before TaskConfig


def read_names():
    """The files of the package and what should be in them."""
    package = find_lm_eval_tasks().parent
    version = {"lm_eval": importlib.metadata.version("lm_eval")}
    both = version | {"transformers": importlib.metadata.version("transformers")}
    backends = read_backends(package)
    loading = read_loading_arguments()
    lookalikes = list_lookalikes([*backends["hf"]["arguments"], *loading])
    models = both | {"models": backends, "loading": loading, "lookalikes": lookalikes}
    vocabulary = both | dataclasses.asdict(read_vocabulary(package))
    return {
        PACKAGE / "planning" / "lm_eval_models.json": dump(models),
        PACKAGE / "validation" / "vocabulary.json": dump(vocabulary),
    }


def dump(names):
    """JSON with a line for each name that has a description, so that a difference can be read."""
    lines = []
    for key, value in names.items():
        text = json.dumps(value)
        if isinstance(value, dict):
            inner = [f"    {json.dumps(name)}: {json.dumps(described)}" for name, described in value.items()]
            text = "{\n" + ",\n".join(inner) + "\n  }"
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


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
        computed=read_computed(package),
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


def read_computed(package: Path) -> dict[str, tuple[str, ...]]:
    """Output type -> the metrics that ``process_results`` computes for it: those that its branch names.

    Generated text is passed to any metric; only those that are registered for it can be called with it.
    """
    tree = parse(package / "api" / "task.py")
    [task] = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ConfigurableTask"
    ]
    [method] = [
        node for node in task.body if isinstance(node, ast.FunctionDef) and node.name == "process_results"
    ]
    [branch] = [
        node for node in method.body if isinstance(node, ast.If) and "OUTPUT_TYPE" in ast.unparse(node.test)
    ]
    found: dict[str, tuple[str, ...]] = {}
    rest: list[ast.stmt] = [branch]
    while len(rest) == 1 and isinstance(rest[0], ast.If):
        output_type = rest[0].test.comparators[0].value
        parts = [part for statement in rest[0].body for part in ast.walk(statement)]
        found[output_type] = tuple(
            part.left.value
            for part in parts
            if isinstance(part, ast.Compare) and ast.unparse(part.comparators[0]) == "use_metric"
        )
        rest = rest[0].orelse
    found["generate_until"] = (*read_registered_outputs(package / "api" / "metrics.py"), *PAIRED)
    return found


def read_registered_outputs(file: Path) -> list[str]:
    """The metrics that are registered for generated text."""
    calls = [node for node in ast.walk(parse(file)) if isinstance(node, ast.Call)]
    words = [
        {
            word.arg: ast.literal_eval(word.value)
            for word in call.keywords
            if word.arg in ("metric", "output_type")
        }
        for call in calls
        if ast.unparse(call.func) == "register_metric"
    ]
    return [each["metric"] for each in words if "generate_until" in each["output_type"]]


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


if __name__ == "__main__":
    for file, text in read_names().items():
        file.write_text(text, encoding="utf-8")
        print("Written:", file)
