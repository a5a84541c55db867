"""Tries the tasks of others on one row: what is wrong with a YAML is said before weights are loaded."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import Cell, Plan
from gptalt_eval.machine.bounds import limit_time
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.unsafe import list_functions
from gptalt_eval.running.lmeval import observed, seams
from gptalt_eval.running.lmeval.faults import explain_task

SECONDS = 60.0  # of the processor, for the filters of all answers; lm-eval's take less than one
SECONDS_OF_ROW = 10.0  # for the metrics of one row
ANSWERS = {"loglikelihood": (-1.0, False), "loglikelihood_rolling": -1.0, "generate_until": "1"}


def is_foreign(plan: Plan, name: str) -> bool:
    """Whether a task's YAML, or that of its group, is neither lm-eval's nor an installed plugin's."""
    tasks = [task for cell in plan.cells for task in cell.tasks if task.name == name]
    return any(task.file is None or str(follow_links(task.file)) in plan.judged for task in tasks) and bool(
        plan.judged
    )


def has_code(plan: Plan, name: str) -> bool:
    """Whether a task runs Python: it is the user's, and only a run runs it."""
    tasks = [task for cell in plan.cells for task in cell.tasks if task.name == name]
    return bool(plan.trusted) or any(True for task in tasks for _ in list_functions(dict(task.config)))


def rehearse_tasks(plan: Plan, cell: Cell, tasks: Mapping[str, Any]) -> None:
    """Build the requests of each foreign task's first row and score invented answers; leave all as it was.

    Raises:
        GptaltError: this fails; says which field of which file it is.
    """
    for name, task in tasks.items():
        if not is_foreign(plan, name) or has_code(plan, name):
            continue
        python, numpy = random.getstate(), np.random.get_state()
        try:
            with explain_errors(plan, name):
                try_first_row(task)
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            task.set_fewshot_seed(seed=cell.spec.seed[3])
        task.apply_filters = limit(task.apply_filters, SECONDS, f"{name}: the filters of its answers")
        task.process_results = limit(task.process_results, SECONDS_OF_ROW, f"{name}: the metrics of a row")


def try_first_row(task: Any) -> None:
    """Build the requests of the first row, and score invented answers to them as the evaluator does."""
    requests = seams.build_requests(task, limit=1)
    for request in requests:
        request.resps = [ANSWERS[request.request_type]] * request.repeats
    task.apply_filters()
    for name in requests[0].filtered_resps:
        task.process_results(requests[0].doc, [request.filtered_resps[name] for request in requests])
    task._instances = None


def limit(function: Callable[..., Any], seconds: float, what: str) -> Callable[..., Any]:
    """A function that ends with an error if its regular expressions do not end."""

    @functools.wraps(function)
    def limited(*args: Any, **settings: Any) -> Any:
        try:
            with limit_time(seconds):
                return function(*args, **settings)
        except TimeoutError as error:
            hint = "Look at the regular expressions in filter_list and metric_list."
            raise GptaltError(f"{what} take longer than {seconds:g} s.", hint) from error

    return limited


@contextlib.contextmanager
def explain_errors(plan: Plan, name: str) -> Iterator[None]:
    """Inside the block, errors of lm-eval in a task of others are said in one message.

    Errors of the model, and those in tasks that are installed, keep their traceback.
    """
    try:
        yield
    except (GptaltError, ImportError, OSError, MemoryError):
        raise
    except Exception as error:
        if not is_foreign(plan, name) or comes_from_model(error):
            raise
        raise explain_task(plan, name, error) from error


def comes_from_model(error: Exception) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == observed.__file__:
            return True
        trace = trace.tb_next
    return False
