"""Reads from the source of lm-eval and transformers what a model class takes: arguments, packages, a key."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from gptalt_eval.planning.backends import find_near

OURS = {"lm_eval", *sys.stdlib_module_names}


def read_backends(package: Path) -> dict[str, dict[str, object]]:
    """Model class -> its ``--model_args``, whether it takes others, its packages and its key's variable."""
    mapping = read_mapping(package / "models" / "__init__.py")
    classes = {
        node.name: (file, node)
        for file in sorted((package / "models").glob("*.py"))
        for node in parse(file).body
        if isinstance(node, ast.ClassDef)
    }
    return {name: describe(target.rpartition(":")[2], classes) for name, target in mapping.items()}


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def read_mapping(file: Path) -> dict[str, str]:
    [value] = [
        node.value
        for node in parse(file).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODEL_MAPPING"
    ]
    found: dict[str, str] = ast.literal_eval(value)
    return found


def describe(name: str, classes: dict[str, tuple[Path, ast.ClassDef]]) -> dict[str, object]:
    chain = list_chain(name, classes)
    methods = [find_method(node, "__init__") for _, node in chain]
    arguments: dict[str, None] = {}
    is_open = True
    for method in filter(None, methods):
        arguments |= dict.fromkeys(list_arguments(method))
        is_open = method.args.kwarg is not None
        if not is_open:
            break
    packages = {package for file, node in chain for package in list_packages(file, node)}
    return {
        "arguments": list(arguments),
        "is_open": is_open,
        "packages": sorted(packages - OURS),
        "key": find_key([node for _, node in chain]),
    }


def list_chain(name: str, classes: dict[str, tuple[Path, ast.ClassDef]]) -> list[tuple[Path, ast.ClassDef]]:
    """A class and its bases, as far as they are model classes of lm-eval."""
    if name not in classes:
        return []
    file, node = classes[name]
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    return [(file, node), *(found for base in bases for found in list_chain(base, classes))]


def find_method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == name), None)


def list_arguments(method: ast.FunctionDef) -> list[str]:
    return [
        argument.arg for argument in (*method.args.args, *method.args.kwonlyargs) if argument.arg != "self"
    ]


def list_packages(file: Path, node: ast.ClassDef) -> set[str]:
    """What a module imports when it is loaded, and what a class insists on when it is made."""
    method = find_method(node, "__init__")
    tried = [part.body for part in method.body if isinstance(part, ast.Try)] if method else []
    found = {name.split(".")[0] for body in (parse(file).body, *tried) for name in list_imports(body)}
    return found | (set(list_looked_up(method)) if method else set())


def list_imports(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def list_looked_up(method: ast.FunctionDef) -> Iterator[str]:
    """``x`` in ``if not find_spec("x"):``, and in ``[name for name in ["x"] if find_spec(name) is None]``."""
    for node in ast.walk(method):
        if isinstance(node, ast.If) and ast.unparse(node.test).startswith("not find_spec("):
            yield str(node.test.operand.args[0].value)
        elif isinstance(node, ast.ListComp) and any(
            "find_spec(" in ast.unparse(test) for test in node.generators[0].ifs
        ):
            yield from map(str, ast.literal_eval(node.generators[0].iter))


def find_key(chain: list[ast.ClassDef]) -> str:
    """The environment variable without which a class raises an error."""
    for node in chain:
        for part in ast.walk(node):
            is_read = isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Load)
            if is_read and ast.unparse(part.value) == "os.environ" and isinstance(part.slice, ast.Constant):
                return str(part.slice.value)
        method = find_method(node, "api_key")
        calls = [part for part in ast.walk(method) if isinstance(part, ast.Call)] if method else []
        for call in calls:
            if ast.unparse(call.func) == "os.environ.get":
                default = call.args[1] if len(call.args) > 1 else ast.Constant(None)
                is_needed = isinstance(default, ast.Constant) and default.value is None
                return str(call.args[0].value) if is_needed else ""
    return ""


def read_loading_arguments() -> list[str]:
    """What transformers' ``from_pretrained`` takes."""
    spec = importlib.util.find_spec("transformers")
    folder = Path(spec.submodule_search_locations[0])
    names: dict[str, None] = {}
    for node in ast.walk(parse(folder / "modeling_utils.py")):
        if isinstance(node, ast.FunctionDef) and node.name == "from_pretrained":
            called = [call for call in ast.walk(node) if isinstance(call, ast.Call) and call.args]
            popped = [
                call.args[0] for call in called if ast.unparse(call.func) in ("kwargs.pop", "kwargs.get")
            ]
            names |= dict.fromkeys(list_arguments(node))
            names |= {str(word.value): None for word in popped if isinstance(word, ast.Constant)}
    return [name for name in names if name not in ("cls", "pretrained_model_name_or_path") and name[0] != "_"]


def list_lookalikes(arguments: list[str]) -> list[str]:
    """The settings of models that look like misspellings of arguments.

    A setting of a model is an argument too (``sliding_window=64``), so none may be called a misspelling.
    """
    spec = importlib.util.find_spec("transformers")
    settings = read_settings(Path(spec.submodule_search_locations[0]))
    return sorted(name for name in settings - {*arguments} if find_near(name, arguments))


def read_settings(folder: Path) -> set[str]:
    """The settings of all configurations of transformers."""
    files = [folder / "configuration_utils.py", *folder.glob("models/*/configuration_*.py")]
    classes = [node for file in files for node in parse(file).body if isinstance(node, ast.ClassDef)]
    found = {
        part.target.id
        for node in classes
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    methods = [method for node in classes if (method := find_method(node, "__init__"))]
    return found.union(*(list_arguments(method) for method in methods)) - {"kwargs"}
