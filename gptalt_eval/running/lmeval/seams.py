"""Every patch of lm-eval, and every call of it by a name that it does not document.

Nothing else in this room patches it or uses such a name. ``tests/running/test_seams.py`` lists them, says
what stands on each and holds them against the installed lm-eval. Where 0.5 differs from 0.4.13, the two are
told apart here.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
from lm_eval import utils
from lm_eval.api.model import LM, CacheHook, hash_args
from lm_eval.tasks import TaskManager
from packaging.version import Version
from tqdm.std import tqdm

IS_NEXT = Version(importlib.metadata.version("lm_eval")) >= Version("0.5.0.dev0")
if IS_NEXT:
    from lm_eval.evaluator_utils import _aggregate_groups as aggregate_groups
    from lm_eval.evaluator_utils import _EvalAcc as EvalAcc
    from lm_eval.evaluator_utils import _get_sample_size as get_sample_size
else:
    from lm_eval.evaluator_utils import EvalAcc, aggregate_groups, get_sample_size

PARTS = {  # of a result: where lm-eval gathers them
    "results": "metrics",
    "configs": "configs",
    "versions": "versions",
    "n-shot": "num_fewshot",
    "higher_is_better": "higher_is_better",
    "n-samples": "n_samples",
}

# ------------------------------------------------------------------ patches, each undone when its block ends


@contextlib.contextmanager
def replace_load_dataset(load: Callable[..., Any]) -> Iterator[None]:
    """While this lasts, ``datasets.load_dataset(...)`` is ``load(the original, ...)``.

    The one place that serves tasks in YAML and tasks written in Python alike.
    """
    with mock.patch.object(datasets, "load_dataset", functools.partial(load, datasets.load_dataset)):
        yield


@contextlib.contextmanager
def compile_once() -> Iterator[None]:
    """While this lasts, each template of the tasks is compiled once; lm-eval 0.4 does it anew for every row.

    Of the 140 seconds that a grid over the medical sets spent on other things than the model, 105 went there.
    """
    if IS_NEXT:  # it keeps 256 compiled templates itself
        yield
        return
    with mock.patch.object(utils.env, "from_string", functools.cache(utils.env.from_string)):
        yield


@contextlib.contextmanager
def keep_requests_in(folder: Path | None) -> Iterator[None]:
    """While this lasts, lm-eval keeps built requests there, if it is asked to keep them."""
    from lm_eval.caching import cache

    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)  # 0.5 makes the last folder of a path only
    with mock.patch.object(cache, "PATH", str(folder)):
        yield


@contextlib.contextmanager
def silence_bars() -> Iterator[None]:
    """While this lasts, no bar of tqdm is drawn, whoever makes it."""
    initialise = tqdm.__init__

    def initialise_silently(self: tqdm, *args: Any, **settings: Any) -> None:
        initialise(self, *args, **{**settings, "disable": True})

    with mock.patch.object(tqdm, "__init__", initialise_silently):
        yield


# ------------------------------------------------------------------ tasks


def load_named(manager: TaskManager, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tasks and the groups that these names stand for, each by its own name, the tasks' rows loaded.

    0.5 loads rows when they are first looked at, and calls a member of a group ``group::task``.
    """
    loaded = manager.load(list(names))
    if IS_NEXT:
        for group in loaded["groups"].values():
            for child in [group.pop(name) for name in group.child_names]:
                drop_prefix(child)
                group.add(child)
        for task in loaded["tasks"].values():
            _ = task.dataset
    return {task.task_name: task for task in loaded["tasks"].values()}, dict(loaded.get("groups", {}))


def drop_prefix(child: Any) -> None:
    if hasattr(child, "task_name"):
        child.config._qualified_name = None


def take_splits(rows: datasets.DatasetDict, splits: str | Sequence[str] | None) -> Any:
    """What ``load_dataset`` gives of these rows for ``split=``; 0.5 asks for ``["train[:]", "test[:]"]``."""
    if splits is None:
        return rows
    if not isinstance(splits, str):
        return [take_splits(rows, split) for split in splits]
    name, _, limit = splits.rstrip("]").partition("[:")
    return rows[name].select(range(min(int(limit), len(rows[name])))) if limit else rows[name]


def build_requests(task: Any, **settings: Any) -> list[Any]:
    """A task's requests, as lm-eval's evaluator has them built.

    Returns:
        lm-eval ``Instance`` objects.
    """
    task.build_all_requests(**settings)
    return list(task.instances)


def keep_requests(task: Any) -> None:
    """Have the evaluator ask the requests as they are: built anew, they would have other examples."""
    task.build_all_requests = lambda **_: None


def filter_examples(task: Any, is_wanted: Callable[[Any], bool]) -> None:
    """Draw few-shot examples from the wanted rows only."""
    task.sampler.replace_df([row for row in task.sampler.df if is_wanted(row)])


def count_limited(task: Any, limit: float | None) -> int | None:
    """How many rows ``--limit`` leaves, a share of them included; None: all."""
    limited: int | None = get_sample_size(task, limit)
    return limited


# ------------------------------------------------------------------ answers


class AnswerHook(CacheHook):  # type: ignore[misc]
    """lm-eval calls this with each answer as soon as it has it."""

    def __init__(self, hear: Callable[[str, Any, Any], None]) -> None:
        super().__init__(None)
        self.hear = hear

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self.hear(attr, req, res)


def hear_answers(lm: LM, hear: Callable[[str, Any, Any], None]) -> None:
    """Have a model say (request type, arguments, answer) as soon as it knows an answer."""
    lm.set_cache_hook(AnswerHook(hear))


def hash_request(request_type: str, arguments: Iterable[Any]) -> str:
    """The key of a request in lm-eval's own cache of answers.

    Raises:
        TypeError: it holds what cannot be hashed, such as a sound.
    """
    return str(hash_args(request_type, arguments))


# ------------------------------------------------------------------ results


def flatten_sample(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """A logged sample as 0.4 has it; 0.5 keeps lists of filtered answers, one for each repeat."""
    if not IS_NEXT:
        return sample
    return {**sample, "filtered_resps": [unwrap(kept) for kept in sample["filtered_resps"]]}


def unwrap(answers: Any) -> Any:
    return answers[0] if isinstance(answers, list) and len(answers) == 1 else answers


def combine_results(results: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Any]) -> dict[str, Any]:
    """The results of single tasks as one, groups aggregated by lm-eval itself.

    Args:
        results: by task, lm-eval's result for it.
        groups: name -> lm-eval ``Group``, all of whose tasks are there.
    """
    gathered = EvalAcc(groups=dict(groups))
    for name, result in results.items():
        for part, attribute in PARTS.items():
            getattr(gathered, attribute)[name] = result[part][name]
    combined: dict[str, Any] = aggregate_groups(gathered)._to_eval_results()
    return combined


def dump_json(value: Any, indent: int | None = None) -> str:
    """Results and samples as JSON, what JSON does not know written as lm-eval writes it."""
    return json.dumps(value, indent=indent, default=utils.handle_non_serializable, ensure_ascii=False)


def write_out_texts(answers: Any) -> Any:
    """Nested answers, each number in them as text, as lm-eval saves them."""
    return utils.sanitize_list(answers)


def add_tokenizer(described: dict[str, Any], lm: LM) -> None:
    """Add what lm-eval's command line says of a model's tokenizer."""
    from lm_eval.loggers.utils import add_tokenizer_info

    add_tokenizer_info(described, lm)


# ------------------------------------------------------------------ the process


def set_log_level(level: int) -> None:
    """Have lm-eval and what it uses log from this level on."""
    utils.setup_logging(level)
