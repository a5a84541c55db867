"""lm-eval's own loggers, used as in its command line: W&B, Trackio, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.temporary import temporary_folder
from gptalt_eval.running.lmeval.logged import read_raw_samples

LOGGED = ("complete", "incomplete")  # a stopped run is logged after it was resumed
Results = dict[str, Any]
Samples = dict[str, list[dict[str, Any]]]


class Service(Protocol):
    """One logger. Each result of a run has its own, since lm-eval has only one result per run."""

    flag: str
    needs_samples: bool

    def log(self, results: Results, samples: Samples | None) -> None:
        """Log a result and, optionally, its samples by task."""

    def finish(self) -> None: ...


class Loggers:
    """An observer that logs to the services in a request. They are started before the weights load.

    Args:
        spec: the request.
        sends_samples: whether every service gets the samples too.
        note: shows what the user must know.

    Raises:
        GptaltError: a service cannot be started.
    """

    def __init__(self, spec: RunSpec, sends_samples: bool, note: Callable[[str], None]) -> None:
        self.spec = spec
        self.sends_samples = sends_samples
        self.note = note
        self.begun = list(begin_services(spec, note))

    @hookimpl
    def run_finished(self, record: Record) -> None:
        count = len(record.results) if record.run.status in LOGGED else 0
        for number in range(count):
            services = self.begun if number == 0 else list(begin_services(self.spec, self.note))
            for service in services:
                wanted = self.sends_samples or service.needs_samples
                samples = read_raw_samples(record, number) if wanted else None
                self.attempt(service, partial(service.log, dict(record.results[number]), samples))
                self.attempt(service, service.finish)
        if not count:
            for service in self.begun:
                self.attempt(service, service.finish)

    def attempt(self, service: Service, action: Callable[[], None]) -> None:
        """Run an action; an error must not affect the saved results or the other services."""
        try:
            action()
        except Exception as error:
            self.note(f"--{service.flag}: logging failed: {type(error).__name__}: {error}")


def begin_services(spec: RunSpec, note: Callable[[str], None]) -> Iterator[Service]:
    """Start the services in a request.

    Raises:
        GptaltError: one cannot be started; nothing has run yet.
    """
    named: list[tuple[str, object, Callable[[], Service]]] = [
        (Hub.flag, spec.hf_hub_log_args, lambda: Hub(spec, note)),
        (Wandb.flag, spec.wandb_args, lambda: Wandb(spec)),
        (Trackio.flag, spec.trackio_args, lambda: Trackio(spec)),
    ]
    for flag, settings, make in named:
        if settings:
            try:
                yield make()
            except GptaltError:
                raise
            except Exception as error:  # services raise their own types of errors
                text = f"--{flag}: {type(error).__name__}: {error}"
                raise GptaltError(text, "Nothing was run. Fix this, or omit the flag.") from error


class Dashboard:
    """A service whose lm-eval logger takes a result, and samples if there are any."""

    needs_samples = False
    logger: Any

    def log(self, results: Results, samples: Samples | None) -> None:
        self.logger.post_init(results)
        self.logger.log_eval_result()
        if samples is not None:
            self.logger.log_eval_samples(samples)


class Wandb(Dashboard):
    """Weights & Biases; needs the package wandb."""

    flag = "wandb_args"

    def __init__(self, spec: RunSpec) -> None:
        from lm_eval.loggers import WandbLogger

        self.logger = WandbLogger(dict(spec.wandb_args), dict(spec.wandb_config_args))

    def finish(self) -> None:
        self.logger.run.finish()


class Trackio(Dashboard):
    """Trackio; needs the package trackio."""

    flag = "trackio_args"

    def __init__(self, spec: RunSpec) -> None:
        from lm_eval.loggers import TrackioLogger

        self.logger = TrackioLogger(dict(spec.trackio_args))

    def finish(self) -> None:
        self.logger.finish()


class Hub:
    """The Hugging Face hub. lm-eval pushes the files that it writes; here they are in a temporary folder."""

    flag = "hf_hub_log_args"

    def __init__(self, spec: RunSpec, note: Callable[[str], None]) -> None:
        from lm_eval.loggers import EvaluationTracker

        known = inspect.signature(EvaluationTracker).parameters
        for name in spec.hf_hub_log_args:
            if name not in known:
                raise GptaltError(f"--hf_hub_log_args: unknown argument '{name}'.", did_you_mean(name, known))
        self.needs_samples = bool(spec.hf_hub_log_args.get("push_samples_to_hub"))
        self.note = note
        settings = {**spec.hf_hub_log_args, "token": os.environ.get("HF_TOKEN", "")}
        if not settings["token"]:
            raise GptaltError("--hf_hub_log_args: a token is needed for pushing.", "Set HF_TOKEN.")
        self.written = contextlib.ExitStack()
        folder = self.written.enter_context(temporary_folder(Path(tempfile.gettempdir()), "gptalt-pushed-"))
        self.tracker = EvaluationTracker(**settings, output_path=str(folder))

    def log(self, results: Results, samples: Samples | None) -> None:
        tracker = self.tracker
        tracker.general_config_tracker.log_experiment_args(
            results["model_source"],
            {"pretrained": name_model(results)},
            results["system_instruction"],
            results["chat_template"],
            results["fewshot_as_multiturn"],
        )
        with collect_log("lm_eval.loggers.evaluation_tracker") as messages:
            tracker.save_results_aggregated(results, samples)
            for task, lines in (samples or {}).items():
                tracker.save_results_samples(task, lines)
        failed = [text for text in messages if text.startswith("Could not")]
        if failed:  # lm-eval only logs this
            raise OSError(" ".join(messages[messages.index(failed[0]) :]))
        for text in messages:
            if text.startswith("Successfully pushed"):
                self.note(text)
        tracker.recreate_metadata_card()

    def finish(self) -> None:
        self.written.close()


def name_model(results: Results) -> str:
    """The model's name in the repository: that of its weights if ``--model hf`` loads them."""
    name, args = results["model_name"], results["config"]["model_args"]
    weights = args.get("peft") or args.get("pretrained")
    return str(weights if weights and name == results["model_source"] else name)


@contextlib.contextmanager
def collect_log(name: str) -> Iterator[list[str]]:
    """Collect a logger's messages inside the block instead of printing them."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
