"""Whether the functions exist that a definition names with ``!function``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.planning.index import Function
from gptalt_eval.validation.scene import Scene
from gptalt_eval.validation.yamlmap import Steps


def check_functions(scene: Scene) -> None:
    """Every ``!function`` is defined by a module that is next to the YAML file or installed."""
    for steps, function in walk_functions(scene.definition.config, ()):
        module_name, _, name = function.name.rpartition(".")
        if not module_name:
            text = f"'!function {function.name}' names no module: write '!function module.{function.name}'."
            scene.report("missing-module", text, *steps)
            continue
        module = scene.sources.find(module_name, function.file.parent)
        scene.modules[module_name] = module
        if module is None:
            hint = did_you_mean(module_name, list_modules(function.file.parent))
            where = f"neither next to {function.file.name} nor installed"
            scene.report("missing-module", f"There is no module '{module_name}', {where}. {hint}", *steps)
        elif not module.is_open and name not in module.names:
            text = f"{module.file.name if module.file else module_name} does not define '{name}'."
            scene.report("missing-function", f"{text} {did_you_mean(name, module.names)}", *steps)


def list_modules(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


def walk_functions(value: Any, steps: Steps, depth: int = 0) -> Iterator[tuple[Steps, Function]]:
    """The functions inside a value, down to some depth, since aliases can make it infinite."""
    if isinstance(value, Function):
        yield steps, value
    if depth > 12 or not isinstance(value, (dict, list)):
        return
    children = value.items() if isinstance(value, dict) else enumerate(value[:200])
    for step, child in children:
        if isinstance(child, (dict, list, Function)):
            inner = step if isinstance(step, int) and isinstance(value, list) else str(step)
            yield from walk_functions(child, (*steps, inner), depth + 1)
