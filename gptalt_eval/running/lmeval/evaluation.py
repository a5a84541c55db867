"""Calls lm-eval's evaluator task by task; results keep lm-eval's format."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval import evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from gptalt_eval.contract.plan import Cell, Plan
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Sample
from gptalt_eval.machine.secrets import hide_values
from gptalt_eval.machine.storage import cache_dir, hash_text, make_cache
from gptalt_eval.machine.subprocesses import run_git
from gptalt_eval.running.lmeval import guards, seams
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.lmeval.observed import ObservedLM
from gptalt_eval.running.lmeval.pictures import Shown, find_gallery, name_pictures
from gptalt_eval.running.lmeval.rehearsal import rehearse_tasks
from gptalt_eval.running.lmeval.tasks import LoadedTasks, load_tasks

Requests = list[Instance]


def count_items(task: Any, name: str, spec: RunSpec) -> int:
    """How many rows of a task will be scored."""
    if spec.samples and name in spec.samples:
        return len(spec.samples[name])
    available = len(task.eval_docs)
    wanted = seams.count_limited(task, None if spec.samples else spec.limit)
    return available if wanted is None else min(available, wanted)


def evaluate_task(
    lm: ObservedLM, name: str, task: Any, spec: RunSpec, task_hash: str
) -> dict[str, Any] | None:
    """Evaluate one task; returns lm-eval's result with its samples, or None on all but the first process.

    Args:
        task_hash: a hash of the task's rows and YAML, for ``--cache_requests``.
    """
    kept = find_request_cache(lm, name, task, spec, task_hash)
    with seams.keep_requests_in(kept), seams.keep_pictures():
        result: dict[str, Any] | None = evaluate(
            lm=lm,
            task_dict={"tasks": {name: task}},
            limit=None if spec.samples else spec.limit,
            samples=dict(spec.samples) if spec.samples else None,
            cache_requests=kept is not None,
            rewrite_requests_cache=spec.cache_requests == "refresh",
            write_out=spec.write_out,
            log_samples=True,
            system_instruction=spec.system_instruction,
            apply_chat_template=spec.apply_chat_template,
            fewshot_as_multiturn=choose_multiturn(spec),
            confirm_run_unsafe_code=spec.confirm_run_unsafe_code,
        )
    if result is not None:
        samples = map(seams.flatten_sample, result["samples"][name])
        result["samples"] = {name: [hash_pictures(name_row(sample)) for sample in samples]}
        result["results"][name] = order_scores(result["results"][name], task.config.metric_list)
    return result


def order_scores(scores: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Scores in the order of the task's YAML, after the first; lm-eval's is that in which rows have them."""
    places = {entry.get("metric"): place for place, entry in enumerate(metrics or ())}
    first = next((key for key in scores if "," in key), None)

    def find_place(key: str) -> int:
        metric = key.partition(",")[0].removesuffix("_stderr")
        return -1 if key == first or "," not in key else places.get(metric, len(places))

    return {key: scores[key] for key in sorted(scores, key=find_place)}


def build_requests(lm: ObservedLM, name: str, task: Any, spec: RunSpec, task_hash: str) -> Requests:
    """Build a task's requests in advance; ``evaluate_task`` then uses exactly these."""
    template = spec.apply_chat_template
    kept = find_request_cache(lm, name, task, spec, task_hash)
    with seams.keep_requests_in(kept):
        requests = seams.build_requests(
            task,
            limit=seams.count_limited(task, None if spec.samples else spec.limit),
            samples=spec.samples.get(name) if spec.samples else None,
            rank=lm.rank,
            world_size=lm.world_size,
            cache_requests=kept is not None,
            rewrite_requests_cache=spec.cache_requests == "refresh",
            system_instruction=spec.system_instruction,
            apply_chat_template=bool(template),
            fewshot_as_multiturn=choose_multiturn(spec),
            chat_template=lm.apply_chat_template if template else None,
            tokenizer_name=lm.tokenizer_name if template else "",
        )
    seams.keep_requests(task)
    return requests


def explain_no_room(lm: ObservedLM, task: Any) -> str:
    """Why no prompt of a task fits into the model's context before an answer; empty: one does."""
    usual = getattr(lm.lm, "max_gen_toks", None)  # None: a server, which knows its model's context
    if task.OUTPUT_TYPE != "generate_until" or getattr(lm.lm, "backend", "") != "causal" or usual is None:
        return ""
    from gptalt_eval.scoring.stock import read_settings

    longest = read_settings(task.config.generation_kwargs or {}, usual)["max_gen_toks"]
    if longest < lm.lm.max_length:
        return ""
    return (
        f"its answers may have {longest:,} tokens, and the model's context has {lm.lm.max_length:,} for the "
        "prompt and the answer; shorten them: --gen_kwargs max_gen_toks=..."
    )


def drops_system_message(lm: ObservedLM, text: str) -> bool:
    """Whether the model's chat template drops a system message."""
    turns = [{"role": "system", "content": text}, {"role": "user", "content": "?"}]
    return text.strip() not in lm.apply_chat_template(turns)


def build_first_requests(plan: Plan) -> tuple[str, list[str]]:
    """The prompt of a plan's first item and the continuations that are compared (none: generation).

    If the options are in the prompt (WinoGrande), continuations are complete texts.
    """
    with guards.guard_tasks(plan):
        loaded = load_tasks(plan, plan.cells[0]).tasks
        rehearse_tasks(plan, plan.cells[0], loaded)
        task = next(iter(loaded.values()))
        instruction = plan.cells[0].spec.system_instruction
        built = seams.build_requests(task, limit=1, system_instruction=instruction)
    requests = [request.args for request in built]
    if task.OUTPUT_TYPE == "generate_until":
        return str(requests[0][0]), []
    prompts = list(dict.fromkeys(str(request[0]) for request in requests))
    if len(prompts) > 1 and len({request[1] for request in requests}) == 1:
        return prompts[0], [f"{prompt}{requests[0][1]}" for prompt in prompts]
    return prompts[0], [str(request[1]) for request in requests if request[0] == prompts[0]]


def choose_multiturn(spec: RunSpec) -> bool:
    return bool(spec.apply_chat_template) if spec.fewshot_as_multiturn is None else spec.fewshot_as_multiturn


def find_request_cache(lm: ObservedLM, name: str, task: Any, spec: RunSpec, task_hash: str) -> Path | None:
    """Where ``--cache_requests`` stores a task's prompts.

    lm-eval's cache knows the task's name, the number of shots and the model's name, but ignores the task's
    data, YAML and functions (and so a prompt style's instruction), seeds, generation settings, the rows of
    ``--samples``, and the text of the chat template.
    """
    if spec.cache_requests not in ("true", "refresh") or find_gallery(task):
        return None  # how many examples with pictures fit depends on the model
    rows = spec.samples.get(name) if spec.samples else None
    template = lm.chat_template(spec.apply_chat_template) if spec.apply_chat_template else None
    around = [spec.apply_chat_template, template, getattr(lm.lm, "chat_template_args", None)]
    made_from = seams.dump_json([task_hash, task.dump_config(), spec.seed, rows, around])
    return make_cache("requests", hash_text(made_from)[:16])


def delete_request_cache() -> None:
    shutil.rmtree(cache_dir() / "requests", ignore_errors=True)


def combine(results: Mapping[str, Mapping[str, Any]], loaded: LoadedTasks) -> dict[str, Any]:
    """The results of single tasks as one lm-eval result; lm-eval itself aggregates groups.

    Groups with a missing task are left out.
    """
    complete = {
        name: group
        for name, group in loaded.groups.items()
        if all(task.task_name in results for task in group.get_all_tasks())
    }
    return seams.combine_results(results, complete)


def list_scored_groups(loaded: LoadedTasks) -> dict[str, str]:
    """The group of each task that is in one with a score of its own; the outermost one."""
    scored = {name: group for name, group in loaded.groups.items() if group.has_aggregation}
    inside = {inner.name for group in scored.values() for inner in group.get_all_groups()}
    return {
        task.task_name: name
        for name, group in scored.items()
        if name not in inside
        for task in group.get_all_tasks()
    }


def extract_result(combined: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One task's part of a combined result, as input for ``combine``."""
    return {part: {name: combined[part][name]} for part in seams.PARTS}


def describe_run(plan: Plan, cell: Cell, lm: LM, facts: ModelFacts, started: float) -> dict[str, Any]:
    """What lm-eval's command line adds to a result: configuration, versions, tokenizer, template."""
    spec = cell.spec
    template = lm.chat_template(spec.apply_chat_template) if spec.apply_chat_template else None
    source = plan.model.item.backend if plan.model.item.create is None else plan.model.item.name
    described: dict[str, Any] = {
        "config": {
            "model": source,
            "model_args": hide_values(dict(plan.model_args)),
            "model_num_parameters": facts.parameters,
            "model_dtype": facts.dtype,
            "batch_size": spec.batch_size,
            "batch_sizes": list(getattr(lm, "batch_sizes", {}).values()),
            "device": facts.device,
            "use_cache": spec.use_cache,
            "limit": spec.limit,
            "bootstrap_iters": 100000,
            "gen_kwargs": hide_values(dict(spec.gen_kwargs)) or None,
            "random_seed": spec.seed[0],
            "numpy_seed": spec.seed[1],
            "torch_seed": spec.seed[2],
            "fewshot_seed": spec.seed[3],
            "num_fewshot": cell.num_fewshot,
            **({"prompt_style": cell.style.name} if cell.style else {}),
        },
        "git_hash": run_git("describe", "--always") or None,
        "date": started,
        "lm_eval_version": importlib.metadata.version("lm_eval"),
        "transformers_version": importlib.metadata.version("transformers"),
        "model_source": source,
        "model_name": plan.title,
        "system_instruction": spec.system_instruction,
        "system_instruction_sha": hash_text(spec.system_instruction) if spec.system_instruction else None,
        "fewshot_as_multiturn": choose_multiturn(spec),
        "chat_template": template,
        "chat_template_sha": hash_text(template) if template else None,
    }
    seams.add_tokenizer(described, lm)
    return described


def hash_pictures(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """A sample whose ``prompt_hash`` is over its pictures too; lm-eval's is over the text."""
    shown = sample["arguments"][0][2:] if sample["arguments"] else ()
    if not shown or not isinstance(shown[0], Shown):
        return sample
    return {**sample, "prompt_hash": hash_text(sample["prompt_hash"] + "".join(shown[0]["visual"]))}


def name_row(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """A sample whose row has its pictures by name, as the hash of the row has them."""
    row = name_pictures(sample["doc"])
    if row is sample["doc"]:
        return sample
    return {**sample, "doc": row, "doc_hash": hash_text(seams.dump_json(row, indent=2))}


def hash_samples(samples: Sequence[Mapping[str, Any]]) -> str:
    """lm-eval's hash of a task: over the hashes of its documents, prompts and targets."""
    parts = [sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"] for sample in samples]
    return hash_text("".join(parts))


def make_sample(task: str, sample: Mapping[str, Any], model: str, style: str | None, shots: int) -> Sample:
    """A logged sample for observers. A task with several filters logs an item once for each."""
    return Sample(
        task=task,
        doc_id=sample["doc_id"],
        filter=sample["filter"],
        num_fewshot=shots,
        prompt_style=style,
        model=model,
        metrics={name: sample.get(name) for name in sample["metrics"]},
        prompt=str(sample["arguments"][0][0]) if sample["arguments"] else "",
        response=tuple(sample["filtered_resps"]),
        target=str(sample["target"]),
    )


def dump_results(results: Mapping[str, Any]) -> str:
    return seams.dump_json(results, indent=2)


@contextlib.contextmanager
def quiet(verbosity: str | None) -> Iterator[None]:
    """Silence other progress bars and logs; ``--verbosity`` (or LMEVAL_LOG_LEVEL) restores lm-eval's log."""
    level = verbosity or os.environ.get("LMEVAL_LOG_LEVEL")
    seams.set_log_level(getattr(logging, level, logging.INFO) if level else logging.ERROR)
    with seams.silence_bars():
        yield
