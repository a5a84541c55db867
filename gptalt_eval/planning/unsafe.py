"""Tasks that run what a model writes.

Examined, and not among them: math_verify 0.9 (its ``parse_expr`` gets digits and operators only; a grammar
reads everything else), sympy's ``parse_latex`` (a grammar), and services that judge answers. unitxt evaluates
the Python in its recipes: those of others are asked for (``consent/deeds.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.consent.code import find_module
from gptalt_eval.planning.index import Function, find_lm_eval_tasks

#: functions of lm-eval's tasks that evaluate answers as Python (``exec``, ``eval``, sympy's ``parse_expr``),
#: although not all of these tasks say ``unsafe_code``; a test compares them with lm-eval's source
RUNNING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cruxeval/utils.py": ("pass_at_k",),
        "longproc/metrics.py": ("process_results_countdown", "process_results_pseudo_to_code"),
        "score/math/utils_math.py": (
            "math_prompt_consistency_rate",
            "non_greedy_accuracy",
            "process_results",
        ),
    }
)


def find_unsafe(spec: RunSpec, tasks: Mapping[str, PlannedTask]) -> Iterator[GptaltError]:
    """Tasks that run what a model writes; lm-eval refuses some of them, when the model has written it."""
    names = [name for name, task in tasks.items() if runs_answers(task.config)]
    if names and not spec.confirm_run_unsafe_code:
        text = f"{', '.join(names)}: the code that the model writes would be run."
        yield GptaltError(text, "If you want that, add --confirm_run_unsafe_code.")


def runs_answers(config: Mapping[str, object]) -> bool:
    if config.get("unsafe_code", False) is not False:
        return True
    functions = [function for value in config.values() for function in list_functions(value)]
    return any(is_running(function) for function in functions)


def is_running(function: Function) -> bool:
    name = function.name.rpartition(".")[2]
    if not any(name in names for names in RUNNING.values()):
        return False
    file, folder = follow_links(find_module(function)), follow_links(find_lm_eval_tasks())
    return any(name in names and file == folder / module for module, names in RUNNING.items())


def list_functions(value: object) -> Iterator[Function]:
    if isinstance(value, Function):
        yield value
    elif isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from list_functions(inner)
