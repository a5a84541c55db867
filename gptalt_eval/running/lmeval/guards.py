"""What ``datasets`` and ``evaluate`` may read, fetch and run for a task, whatever they find."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import datasets
import pyarrow as pa
from huggingface_hub.constants import HF_HUB_CACHE

from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.plan import Plan
from gptalt_eval.machine.storage import follow_links, hash_file
from gptalt_eval.planning.consent.reads import is_free
from gptalt_eval.planning.shared import check_modules
from gptalt_eval.running.lmeval import seams
from gptalt_eval.running.lmeval.faults import explain_template

EVALUATE = "evaluate.loading"  # where evaluate finds metrics
TOKENIZERS = "transformers.models.auto.tokenization_auto"
MEDIA = ("bytes", "path")  # how a picture, a sound or a document is kept: by itself, or by where it is


@contextlib.contextmanager
def guard_tasks(plan: Plan) -> Iterator[None]:
    """Inside the block, tasks can do what was planned and allowed."""
    explain = functools.partial(explain_template, plan)
    asked = plan.spec.trust_remote_code or plan.model_args.get("trust_remote_code")
    has_consent = bool(asked or plan.trusted)  # the code of tokenizers that a YAML names was listed too
    with seams.sandbox_templates(explain), refuse_metrics(plan.trusted), refuse_code(has_consent):
        yield


def check_unchanged(plan: Plan) -> None:
    """Check that the files are still those by which it was judged what the tasks do.

    Raises:
        GptaltError: one has changed since.
    """
    for name, digest in plan.judged.items():
        file = Path(name)
        if not file.is_file() or hash_file(file) != digest:
            raise GptaltError(
                f"{file} has changed while the run was prepared.", "Look at it, and start again."
            )


@contextlib.contextmanager
def refuse_metrics(trusted: Mapping[str, str]) -> Iterator[None]:
    """Inside the block, ``evaluate.load`` runs no script of this computer that the user has not trusted.

    It prefers a folder of the working folder to a metric of the same name on the hub.
    """
    with watch(EVALUATE, lambda loading: refuse_scripts(loading, trusted)):
        yield


@contextlib.contextmanager
def refuse_code(has_consent: bool) -> Iterator[None]:
    """Inside the block, no tokenizer's own code is run unless the user said --trust_remote_code.

    Some of lm-eval's tasks (ruler, babilong) load the model's tokenizer themselves, with its code.
    """

    def load_plainly(module: ModuleType) -> contextlib.AbstractContextManager[Any]:
        load = module.AutoTokenizer.from_pretrained

        def load_without_code(*args: Any, **settings: Any) -> Any:
            return load(*args, **{**settings, "trust_remote_code": False})

        return mock.patch.object(module.AutoTokenizer, "from_pretrained", load_without_code)

    with contextlib.nullcontext() if has_consent else watch(TOKENIZERS, load_plainly):
        yield


@contextlib.contextmanager
def watch(name: str, guard: Callable[[ModuleType], contextlib.AbstractContextManager[Any]]) -> Iterator[None]:
    """Inside the block, a module is guarded: now, or as soon as it is imported."""
    with contextlib.ExitStack() as stack:

        def enter(module: ModuleType) -> None:
            stack.enter_context(guard(module))

        if name in sys.modules:
            enter(sys.modules[name])
        else:
            stack.enter_context(mock.patch.object(sys, "meta_path", [Watcher(name, enter), *sys.meta_path]))
        yield


def refuse_scripts(loading: ModuleType, trusted: Mapping[str, str]) -> contextlib.AbstractContextManager[Any]:
    """While it lasts, this module finds no script that is not trusted, or that others can change."""
    make, find = loading.LocalEvaluationModuleFactory, loading.evaluation_module_factory

    def make_trusted(path: str, *args: Any, **settings: Any) -> Any:
        if str(follow_links(Path(path))) not in trusted:
            raise GptaltError(
                f"{Path(path).absolute()} would be run as a metric, and no task's YAML asks for it.",
                "Rename its folder, or change to another folder and start again.",
            )
        return make(path, *args, **settings)

    def find_safe(*args: Any, **settings: Any) -> Any:
        check_modules()
        return find(*args, **settings)

    return mock.patch.multiple(
        loading, LocalEvaluationModuleFactory=make_trusted, evaluation_module_factory=find_safe
    )


class Watcher(MetaPathFinder):
    """Calls a function with a module as soon as it is imported.

    Importing ``evaluate`` or transformers beforehand would load torch for tasks that need neither.
    """

    def __init__(self, name: str, guard: Callable[[ModuleType], None]) -> None:
        self.name = name
        self.guard = guard

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == self.name else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_guarded(module: ModuleType) -> None:
            execute(module)
            self.guard(module)

        spec.loader.exec_module = execute_guarded  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def check_builders(check: Callable[[Any], None]) -> Iterator[None]:
    """Inside the block, ``check(builder)`` is called with what ``datasets`` found, before it reads rows."""
    find = datasets.load.load_dataset_builder

    def find_checked(*args: Any, **settings: Any) -> Any:
        builder = find(*args, **settings)
        check(builder)
        return builder

    with mock.patch.object(datasets.load, "load_dataset_builder", find_checked):
        yield


def refuse_files(path: str, builder: Any, free: Sequence[Path]) -> None:
    """Refuse a dataset whose card names files of this computer that are not free, or addresses elsewhere.

    Args:
        path: the dataset.
        builder: what ``datasets`` made of its card.
        free: the folders below which files may be read; none for a dataset of the hub. What addresses a YAML
            or a local card names was judged before.

    Raises:
        DataError: it does.
    """
    named = getattr(getattr(builder, "config", None), "data_files", None) or {}
    places = [follow_links(folder) for folder in free]
    files = [str(file) for some in named.values() for file in some]
    refused = [file for file in files if not is_allowed(file, places) and not (free and "://" in file)]
    if refused:
        what = "files that are not below its folder" if free else "files of this computer, or elsewhere"
        text = f"{path}: this dataset names {what}: {', '.join(refused[:3])}."
        raise DataError(text, "They were not read. Do not use it.")


def is_allowed(file: str, places: Sequence[Path]) -> bool:
    """Whether a dataset may read what it names: on the hub, or below a free folder; also in an archive."""
    inner, _, outer = file.rpartition("::")
    if "://" in outer:
        return outer.startswith(("hf://", str(datasets.config.HF_ENDPOINT).rstrip("/") + "/"))
    return is_free(Path(outer), places) and (not inner or "://" in inner)


def refuse_media(path: str, rows: Any, free: Sequence[Path]) -> None:
    """Refuse rows with a picture, sound or document that is somewhere else: it would be opened or fetched.

    Args:
        path: the dataset.
        rows: a ``Dataset``, or several by split.

    Raises:
        DataError: one is.
    """
    kept = (datasets.config.HF_CACHE_HOME, datasets.config.HF_DATASETS_CACHE, HF_HUB_CACHE)
    places = [follow_links(Path(folder)) for folder in (*free, *kept)]
    for part in rows.values() if isinstance(rows, Mapping) else [rows]:
        table = getattr(getattr(part, "data", None), "table", None)
        for column in table.columns if table is not None else ():
            for place in find_media(column):
                if not is_allowed(place, places):
                    text = f"{path}: a row names a file that is not part of the data: {place}."
                    raise DataError(text, "It was not read. Do not use these rows.")


def find_media(column: pa.ChunkedArray) -> Iterable[str]:
    """Where the media of a column are, at any depth, of those that are not kept in it."""
    found: dict[str, None] = {}
    waiting = [chunk for chunk in column.chunks]
    while waiting:
        array = waiting.pop()
        if isinstance(array, pa.ExtensionArray):
            waiting.append(array.storage)
        elif pa.types.is_struct(array.type):
            names = [field.name for field in array.type]
            if set(MEDIA) <= set(names):
                elsewhere = array.field("path").filter(array.field("bytes").is_null())
                found |= {str(place): None for place in elsewhere.unique().to_pylist() if place}
            waiting += [array.field(name) for name in names]
        elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            waiting.append(array.values)
        elif pa.types.is_fixed_size_list(array.type):
            waiting.append(array.flatten())
    return found
