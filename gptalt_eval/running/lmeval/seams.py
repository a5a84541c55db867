"""Every patch of lm-eval, and every use of its undocumented names.

No other module in this room patches lm-eval or uses such a name. ``tests/running/test_seams.py`` lists them,
says what depends on each, and checks them against the installed release. Differences between releases 0.4.13
and 0.5 are handled here.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
from lm_eval import evaluator, utils
from lm_eval.api.model import LM, CacheHook, hash_args
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Entry, Kind
from packaging.version import Version
from tqdm.std import tqdm

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import TaskEntry
from gptalt_eval.machine.plain import show_plain_record
from gptalt_eval.running.lmeval.kept import JsonRequests
from gptalt_eval.validation.sandbox import Sandbox

IS_NEXT = Version(importlib.metadata.version("lm_eval")) >= Version("0.5.0.dev0")
if IS_NEXT:
    from lm_eval.config import templates
    from lm_eval.evaluator_utils import _aggregate_groups as aggregate_groups
    from lm_eval.evaluator_utils import _EvalAcc as EvalAcc
    from lm_eval.evaluator_utils import _get_sample_size as get_sample_size
else:
    from lm_eval.evaluator_utils import EvalAcc, aggregate_groups, get_sample_size

PARTS = {  # part of a result -> the attribute in which lm-eval collects it
    "results": "metrics", "configs": "configs", "versions": "versions", "n-shot": "num_fewshot",
    "higher_is_better": "higher_is_better", "n-samples": "n_samples",
}  # fmt: skip

Explain = Callable[[str, Exception], Exception]

# ------------------------------------------------------------------ patches, each undone when its block ends


@contextlib.contextmanager
def replace_load_dataset(load: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, ``datasets.load_dataset(...)`` is ``load(the original, ...)``.

    This works both for tasks in YAML and for tasks written in Python.
    """
    with mock.patch.object(datasets, "load_dataset", functools.partial(load, datasets.load_dataset)):
        yield


def find_environment() -> Any:
    """The Jinja environment of lm-eval's templates."""
    return templates._jinja_env() if IS_NEXT else utils.env


@contextlib.contextmanager
def sandbox_templates(explain: Explain) -> Iterator[None]:
    """Inside the block, templates of tasks see the row and nothing of this process, and are compiled once.

    lm-eval itself lets them call anything, run without end, and compiles them again for every row. A template
    that fails raises ``explain(its text, what it raised)``.
    """
    environment = find_environment()
    if isinstance(environment, Sandbox):  # an outer block has done it
        yield
        return
    sandbox: Any = Sandbox(environment)
    sandbox.from_string = functools.cache(sandbox.from_string)

    def apply(template: str, doc: Mapping[str, Any], *_: Any) -> str:
        try:
            return str(sandbox.from_string(template).render(**doc))
        except Exception as error:
            raise explain(template, error) from error

    made = {"_jinja_env": lambda: sandbox, "_compile_tpl": sandbox.from_string}
    module, names = (templates, made) if IS_NEXT else (utils, {"env": sandbox})
    with mock.patch.multiple(module, apply_template=apply, **names):
        yield


@contextlib.contextmanager
def explain_builds(explain: Explain) -> Iterator[None]:
    """Inside the block, a task that lm-eval cannot build raises ``explain(its name, lm-eval's error)``."""
    build = ConfigurableTask.from_config if IS_NEXT else ConfigurableTask.__init__

    @functools.wraps(build)
    def build_explained(*args: Any, **settings: Any) -> Any:
        try:
            return build(*args, **settings)
        except (GptaltError, ImportError):
            raise
        except Exception as error:
            config = settings.get("config") or next((each for each in args if isinstance(each, dict)), {})
            raise explain(str(config.get("task")), error) from error

    with mock.patch.object(ConfigurableTask, "from_config" if IS_NEXT else "__init__", build_explained):
        yield


@contextlib.contextmanager
def keep_requests_in(folder: Path | None) -> Iterator[None]:
    """Inside the block, lm-eval's cache of requests is here, as JSON: pickles would run what others wrote."""
    from lm_eval.caching import cache

    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)  # 0.5 creates only the last folder of a path
    with mock.patch.object(cache, "PATH", str(folder)), mock.patch.object(cache, "dill", JsonRequests):
        yield


def keep_pictures() -> Any:
    """Inside the block, samples of image-text models are logged with their pictures, as objects."""
    return mock.patch.object(evaluator, "LMEVAL_HASHMM", False)


@contextlib.contextmanager
def silence_bars() -> Iterator[None]:
    """Inside the block, tqdm shows no progress bars."""
    initialise = tqdm.__init__

    def initialise_silently(self: tqdm, *args: Any, **settings: Any) -> None:
        initialise(self, *args, **{**settings, "disable": True})

    with mock.patch.object(tqdm, "__init__", initialise_silently):
        yield


# ------------------------------------------------------------------ tasks


def make_manager(entries: Mapping[str, TaskEntry], metadata: Mapping[str, Any]) -> TaskManager:
    """lm-eval's task manager, which knows these names and reads these YAMLs only.

    Of a folder, it would read every YAML, and take one for another where two have the same name.
    """
    manager = TaskManager(include_defaults=False, metadata=dict(metadata))
    kinds = {"task": Kind.TASK, "group": Kind.GROUP, "tag": Kind.TAG}
    for name, entry in entries.items():
        manager._index[name] = Entry(entry.name, kinds[entry.kind], entry.file, tags=set(entry.members))
    return manager


def load_named(manager: TaskManager, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tasks and groups of these names, each by its own name, with the tasks' rows loaded.

    0.5 loads rows only when they are first used, and names a member of a group ``group::task``.
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
    """What ``load_dataset`` returns for ``split=``; 0.5 requests ``["train[:]", "test[:]"]``."""
    if splits is None:
        return rows
    if not isinstance(splits, str):
        return [take_splits(rows, split) for split in splits]
    name, _, limit = splits.rstrip("]").partition("[:")
    return rows[name].select(range(min(int(limit), len(rows[name])))) if limit else rows[name]


def build_requests(task: Any, **settings: Any) -> list[Any]:
    """A task's requests (lm-eval ``Instance`` objects), built as in lm-eval's evaluator."""
    task.build_all_requests(**settings)
    return list_requests(task)


def list_requests(task: Any) -> list[Any]:
    """The requests of a task that were built last; none if building them failed."""
    return list(getattr(task, "instances", None) or [])


def keep_requests(task: Any) -> None:
    """Make the evaluator use the existing requests: built again, they would have other examples."""
    task.build_all_requests = lambda **_: None


def filter_examples(task: Any, is_wanted: Callable[[Any], bool]) -> None:
    """Draw few-shot examples from the wanted rows only."""
    task.sampler.replace_df([row for row in task.sampler.df if is_wanted(row)])


def count_examples(sampler: Any) -> int:
    """How many rows a task's sampler can draw few-shot examples from."""
    return len(sampler.df)


def count_limited(task: Any, limit: float | None) -> int | None:
    """How many rows ``--limit`` (a number or a share) leaves; None: all."""
    limited: int | None = get_sample_size(task, limit)
    return limited


# ------------------------------------------------------------------ answers


class AnswerHook(CacheHook):  # type: ignore[misc]
    """lm-eval calls this with each answer as soon as it has it."""

    def __init__(self, report: Callable[[str, Any, Any], None]) -> None:
        super().__init__(None)
        self.report = report

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self.report(attr, req, res)


def report_answers(lm: LM, report: Callable[[str, Any, Any], None]) -> None:
    """Make a model call ``report(request type, arguments, answer)`` as soon as it has an answer."""
    lm.set_cache_hook(AnswerHook(report))


def hash_request(request_type: str, arguments: Iterable[Any]) -> str:
    """The key of a request in lm-eval's own cache of answers; TypeError: audio, say, has none."""
    return str(hash_args(request_type, arguments))


def make_chat(prompt: str) -> Any:
    """A prompt that lm-eval sends to a served chat model as messages."""
    from lm_eval.models.api_models import JsonChatStr

    return JsonChatStr(prompt)


def flatten_sample(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """A logged sample in the format of 0.4; 0.5 has lists of filtered answers, one for each repeat."""
    if not IS_NEXT:
        return sample
    return {**sample, "filtered_resps": [unwrap(kept) for kept in sample["filtered_resps"]]}


def unwrap(answers: Any) -> Any:
    return answers[0] if isinstance(answers, list) and len(answers) == 1 else answers


def combine_results(results: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Any]) -> dict[str, Any]:
    """The results of single tasks as one, in which lm-eval aggregates groups of which no task is missing."""
    gathered = EvalAcc(groups=dict(groups))
    for name, result in results.items():
        for part, attribute in PARTS.items():
            getattr(gathered, attribute)[name] = result[part][name]
    combined: dict[str, Any] = aggregate_groups(gathered)._to_eval_results()
    return combined


def dump_json(value: Any, indent: int | None = None) -> str:
    """Results and samples as JSON; values that JSON does not have are written as in lm-eval."""
    return json.dumps(value, indent=indent, default=utils.handle_non_serializable, ensure_ascii=False)


def write_out_texts(answers: Any) -> Any:
    """Nested answers with numbers as text, as lm-eval saves them."""
    return utils.sanitize_list(answers)


def add_tokenizer(described: dict[str, Any], lm: LM) -> None:
    """Add what lm-eval's command line records about a model's tokenizer.

    A tokenizer that is only loaded when it is used, such as the dummy model's, may be out of reach: behind a
    blocked hub, asking for it takes minutes.
    """
    from lm_eval.loggers.utils import add_tokenizer_info

    if "tokenizer" in vars(lm):
        add_tokenizer_info(described, lm)


def set_log_level(level: int) -> None:
    """Set the log level of lm-eval and its dependencies."""
    utils.setup_logging(level)
    for handler in logging.getLogger("lm_eval").handlers:
        handler.addFilter(show_plain_record)
