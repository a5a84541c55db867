"""What runs in a worker's process: loads models as a run does, and answers units of requests."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import NAMING, Cell, Plan
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.machine.arithmetic import NAMES, Dtype, choose_dtype
from gptalt_eval.machine.environment import describe_hardware
from gptalt_eval.machine.secrets import remember_secrets
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.hub.obtain import obtain_files
from gptalt_eval.planning.resolve import find_model
from gptalt_eval.planning.task_data import NOWHERE
from gptalt_eval.planning.weights import merge_model_args
from gptalt_eval.running.recognised import (
    describe_scorer,
    explain_dtype,
    explain_scorer,
    explain_size,
    recognise,
)
from gptalt_eval.spread.work import Report, Result, Unit

#: what a fork server imports once, so that each worker starts in a second
PRELOAD = ("torch", "transformers", "lm_eval.models.huggingface", "gptalt_eval.running.lmeval.model")


@dataclass(frozen=True)
class Job:
    """A model that workers load.

    Attributes:
        spec: the request, for this model alone.
        templates: the chat templates that its prompts are rendered with.
        dtype: the type of its weights in the run that is resumed; empty: it begins here.
        threads: for each worker on a CPU; 0: torch chooses.
        folder: where the command was typed, which relative paths start from; empty: where the worker is.
    """

    spec: RunSpec
    templates: tuple[bool | str, ...] = ()
    dtype: str = ""
    threads: int = 0
    folder: str = ""


@dataclass(frozen=True)
class WorkerFacts:
    """What the run records of a loaded model.

    Attributes:
        model: as ``running.lmeval.model.describe_model`` says it.
        hardware: of the worker's computer.
        reason: why log-likelihoods are not computed with the fastest method.
        notes: what must be shown with the results.
        said: what need only be shown to the user.
    """

    model: Any
    hardware: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


class ModelWorker:
    """Answers units with one model at a time."""

    def __init__(self) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.plugins = load_plugins(builtin)
        self.lm: Any = None
        self.seed = 0

    def load(self, job: Job) -> Report:
        """Load a model in place of the one before.

        Raises:
            GptaltError: it cannot be loaded.
        """
        import torch

        from gptalt_eval.running.lmeval import evaluation, model, tasks

        began = time.perf_counter()
        self.lm = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif job.threads:
            torch.set_num_threads(job.threads)
        remember_secrets(vars(job.spec))
        if job.folder and Path(job.folder).is_dir():  # Ray's workers begin elsewhere
            os.chdir(job.folder)
        tasks.set_seeds(job.spec, with_torch=True)
        self.seed = job.spec.seed[2] or 0
        plan = self.plan(job)
        with evaluation.quiet(job.spec.verbosity):
            args, dtype = self.fetch(plan, job)
            self.lm = model.load_model(plan, args, self.folders)
            facts = model.describe_model(self.lm, plan)
        scoring = describe_scorer(self.lm)
        way, reason = (scoring.way, scoring.reason) if scoring else ("", "")
        seconds = round(time.perf_counter() - began, 1)
        notes = filter(None, [explain_size(plan, self.lm, facts.parameters)])
        said = filter(None, [explain_dtype(dtype) if dtype else "", explain_scorer(self.lm)])
        return Report(
            facts.fingerprint, way, name_device(self.lm), seconds,
            WorkerFacts(facts, describe_hardware(), reason, tuple(notes), tuple(said)),
        )  # fmt: skip

    def plan(self, job: Job) -> Plan:
        """As much of the run's plan as loading needs."""
        spec = job.spec
        folders = [Path(spec.include_path)] if spec.include_path else []
        catalog = Catalog(self.plugins, folders, NOWHERE)
        found = find_model(catalog, spec)
        assert found is not None  # the run was planned with its name
        owned, _ = found
        args = merge_model_args(owned.item, spec)
        check_paths(args)
        cells = tuple(
            Cell(replace(spec, apply_chat_template=template), None, None, (), ())
            for template in job.templates
        )
        plan = Plan(spec, owned, args, cells, {})
        # what is to be said of the files, the driver has said
        obtained = obtain_files(owned.item, args, lambda text: None, lambda text: None)
        self.folders = obtained.args
        if "pretrained" in obtained.args:
            plan, _ = recognise(plan, self.plugins, Path(obtained.args["pretrained"]))
        return plan

    def fetch(self, plan: Plan, job: Job) -> tuple[dict[str, Any], Dtype | None]:
        """What the model's ``fetch`` returns, and the type of weights if that is chosen here."""
        fetched = dict(plan.model.item.fetch()) if plan.model.item.fetch else {}
        if "dtype" not in fetched or "dtype" in plan.model_args:
            return fetched, None
        if job.dtype in NAMES and fetched["dtype"] in NAMES:
            return {**fetched, "dtype": job.dtype}, None
        import torch

        chosen = Dtype("float32", "several computers could measure differently")
        if torch.cuda.is_available():
            chosen = choose_dtype()
        return {**fetched, "dtype": chosen.name}, chosen

    def answer(self, unit: Unit, payload: bytes) -> Result:
        """Answer a unit of the loaded model."""
        import torch

        from gptalt_eval.running.lmeval import evaluation
        from gptalt_eval.running.lmeval.serving import answer_requests, unpack_requests

        began = time.perf_counter()
        torch.manual_seed((self.seed + int(unit.name[:8], 16)) % 2**63)  # what is drawn is the unit's own
        with evaluation.quiet(None):
            answers, tokens = answer_requests(self.lm, unit.kind, unpack_requests(payload), unit.asked)
        return Result(answers, tokens or unit.tokens, round(time.perf_counter() - began, 2))


def check_paths(args: Mapping[str, Any]) -> None:
    """Check that what a model's arguments name by a path is on the worker's computer too.

    Raises:
        GptaltError: something is not.
    """
    for name in (*NAMING, "tokenizer"):
        value = str(args.get(name) or "")
        if value.startswith((".", "/", "~")) and not Path(value).expanduser().exists():
            place = Path(value).expanduser().absolute()
            text = f"{name}={value}: {place} is not on the computer {platform.node()}."
            raise GptaltError(text, "Models must be in the same folders on all computers.")


def name_device(lm: Any) -> str:
    """What computes, as far as rounding depends on it: the kind of GPU, or what the processor can do."""
    import torch

    device = torch.device(getattr(lm, "device", "cpu"))
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return str(device.type)
    return f"cpu {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
