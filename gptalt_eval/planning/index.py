"""Names of tasks in folders of lm-eval YAMLs, read fast and without lm-eval.

lm-eval builds its index by parsing each of its 14,000 files as YAML, which takes seconds. A few top-level
keys decide what a file defines, so reading those lines is enough (tests compare the result with lm-eval's
own index). The names of an installed lm-eval are stored in the user's cache.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Kind, TaskEntry
from gptalt_eval.machine.bounds import read_yaml
from gptalt_eval.machine.storage import cache_dir, follow_links, make_cache, walk_files, write_atomically
from gptalt_eval.planning.places import check_cached

IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}
KEYS = ("task", "group", "tag", "class", "include")
NAMING = {"task", "group", "include"}  # a file without them defines nothing
NAMES = re.compile(rb"""["']?(task|group|include)["']?\s*:""")
TOP_LEVEL = re.compile(
    rb"""^["']?(task|group|tag|class|include)["']?[ \t]*:(.*(?:\n[ \t]*(?:-[ \t].*|#.*))*)""", re.MULTILINE
)
Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Function:
    """A ``!function module.name`` of a task YAML, not executed.

    Attributes:
        name: the name in the YAML.
        file: the YAML that contains it.
    """

    name: str
    file: Path


def read_task_folder(folder: Path) -> dict[str, TaskEntry]:
    """The tasks, groups and tags that the YAMLs below ``folder`` define; of equal names, the first."""
    entries: dict[str, TaskEntry] = {}
    tags: dict[str, list[str]] = {}
    seen: dict[Path, dict[str, Any]] = {}
    for file in sorted(find_yaml_files(folder), key=lambda path: path.as_posix()):
        try:
            keys = read_top_level(file, seen)
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            continue  # a file that cannot be read defines nothing; `validate` says why
        add_entry(entries, tags, keys, file)
    for tag, members in tags.items():
        entries.setdefault(tag, TaskEntry(tag, "tag", members=tuple(members)))
    return entries


def find_yaml_files(folder: Path) -> Iterator[Path]:
    return (file for file in walk_files(folder, IGNORED_FOLDERS) if file.suffix == ".yaml")


def add_entry(
    entries: dict[str, TaskEntry], tags: dict[str, list[str]], keys: dict[str, Any], file: Path
) -> None:
    is_group = "group" in keys and "class" not in keys
    name = keys.get("group" if is_group else "task")
    if not isinstance(name, str) or name in entries:
        return
    entries[name] = TaskEntry(name, "group" if is_group else "task", file)
    if not is_group:
        for tag in as_list(keys.get("tag")):
            tags.setdefault(tag, []).append(name)


def read_top_level(file: Path, seen: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """The deciding keys of one YAML, with those of its includes; its own take precedence."""
    if file in seen:
        return seen[file]
    own = scan_keys(file)
    keys: dict[str, Any] = {}
    for include in as_list(own.pop("include", None)):
        keys.update(read_top_level(file.parent / include, seen))
    keys.update(own)
    seen[file] = keys
    return keys


def scan_keys(file: Path) -> dict[str, Any]:
    """The deciding keys of one file, from its lines; from all of it if its lines do not begin with keys.

    That is so for a mapping in braces, an indented one, and a file in UTF-16.
    """
    content = read_yaml(file).removeprefix(codecs.BOM_UTF8)
    found = {key.decode(): read_value(value) for key, value in TOP_LEVEL.findall(content)}
    if found.keys() & NAMING or not NAMES.search(content.replace(b"\0", b"")):
        return found
    config = yaml.load(content, make_loader(file))
    return {key: config[key] for key in KEYS if key in config} if isinstance(config, dict) else found


def read_value(text: bytes) -> Any:
    """The value of a top-level key; plain words are used directly, everything else is parsed."""
    value = text.strip()
    if re.fullmatch(rb"[\w./+-]*[A-Za-z_][\w./+-]*", value):
        return value.decode()
    if value.startswith(b"!function"):
        return value.decode()
    parsed = yaml.load(b"key: " + text.rstrip(), make_loader(Path()))
    return parsed.get("key") if isinstance(parsed, dict) else None


def as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def find_lm_eval_tasks() -> Path:
    """The folder of lm-eval's task YAMLs, found without importing lm-eval."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise GptaltError("lm-eval is not installed in this environment.", "Type: pip install 'lm-eval[hf]'")
    return Path(spec.submodule_search_locations[0]) / "tasks"


def read_lm_eval_tasks() -> dict[str, TaskEntry]:
    """lm-eval's own names, from the cache if this version was read before."""
    from gptalt_eval.machine.version import __version__

    folder = find_lm_eval_tasks()
    version = importlib.metadata.version("lm_eval")
    cached = cache_dir() / f"lm_eval-{version}-tasks-{__version__}.json"
    check_cached(cached)
    try:
        stored = json.loads(cached.read_text(encoding="utf-8"))
        if stored["folder"] == str(folder):
            return {name: load_entry(folder, name, *row) for name, row in stored["entries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # no cache yet, or one that is not ours: it is written below
    entries = read_task_folder(folder)
    rows = {name: dump_entry(folder, entry) for name, entry in entries.items()}
    with contextlib.suppress(OSError):  # without the cache, the next call takes a second longer
        make_cache()
        write_atomically(cached, json.dumps({"folder": str(folder), "entries": rows}))
    return entries


def dump_entry(folder: Path, entry: TaskEntry) -> tuple[Kind, str | None, tuple[str, ...]]:
    file = str(entry.file.relative_to(folder)) if entry.file else None
    return entry.kind, file, entry.members


def load_entry(folder: Path, name: str, kind: Kind, file: str | None, members: list[str]) -> TaskEntry:
    """One entry of the cache.

    Raises:
        ValueError, TypeError: it is damaged, or names a file that is not in lm-eval's folder.
    """
    if kind not in ("task", "group", "tag") or not all(isinstance(member, str) for member in members):
        raise ValueError(name)
    if file is None:
        return TaskEntry(name, kind, None, tuple(members))
    # of 14,000 names, so without the slower PurePath; a drive has a colon
    if file.startswith(("/", "\\")) or ":" in file or "\0" in file or not file.endswith(".yaml"):
        raise ValueError(file)
    if ".." in file and ".." in file.replace("\\", "/").split("/"):
        raise ValueError(file)
    return TaskEntry(name, kind, folder / file, tuple(members))


def load_task_yaml(file: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A task YAML with its includes merged as in lm-eval; ``!function`` is not executed.

    Raises:
        GptaltError: the file or an include is missing, not valid YAML, not a mapping, or includes itself.
    """
    file = follow_links(file)
    if file in seen:
        chain = " -> ".join(path.name for path in (*seen, file))
        raise GptaltError(f"{file.name} includes itself: {chain}.", "Remove one of these includes.")
    config = parse_yaml(file)
    includes = as_list(config.pop("include", None))
    merged: dict[str, Any] = {}
    for include in includes:
        inherited = load_task_yaml(file.parent / include, (*seen, file))
        inherited.pop("task_list", None)
        merged.update(inherited)
    merged.update(config)
    return merged


def make_loader(file: Path, functions: list[tuple[Function, int]] | None = None) -> Any:
    """The loader of a YAML; it notes each ``!function`` in ``functions``, with its line."""
    loader: Any = type("TaskLoader", (Loader,), {})

    def construct(self: Any, node: Any) -> Function:
        function = Function(str(self.construct_scalar(node)), file)
        if functions is not None:
            functions.append((function, node.start_mark.line + 1))
        return function

    loader.add_constructor("!function", construct)
    return loader


def parse_yaml(file: Path) -> dict[str, Any]:
    return read_document(file)[0]


def read_document(file: Path) -> tuple[dict[str, Any], list[tuple[Function, int]]]:
    """One YAML by itself: its fields, and every ``!function`` that lm-eval would import on reading it.

    Those are more than the ones in its fields: of a key that is given twice, only the last value is left.
    """
    functions: list[tuple[Function, int]] = []
    try:
        config = yaml.load(read_yaml(file), make_loader(file, functions))
    except OSError as error:
        raise GptaltError(f"{file} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise GptaltError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise GptaltError(f"{file} is not a task: it does not contain a mapping of fields.")
    return config, functions
