"""Checks of a plugin's contributions: hooks, names, licences, samples, YAMLs, prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

from gptalt_eval.commands.conformance.subject import Check, Subject
from gptalt_eval.commands.described import find_help_faults
from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.implementations import Fault, list_implementations
from gptalt_eval.contract.located import SAMPLE
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plugins import Plugins
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.contract.types import Dataset, Installed, Owned, Owner
from gptalt_eval.data.readers import read_jsonl
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.index import load_task_yaml, read_task_folder
from gptalt_eval.planning.models.gather import list_plugin_models
from gptalt_eval.planning.models.made import UNSTATED
from gptalt_eval.planning.models.reader import find_model_yamls
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.validation.models import find_model_faults
from gptalt_eval.validation.validator import validate_files

NAMED = {
    "loader": "register_loaders",
    "dataset": "register_datasets",
    "prompt style": "register_prompt_styles",
    "command": "register_commands",
}


def check_hooks(subject: Subject) -> Check:
    """Its hooks exist, have the right arguments and return the right types."""
    plugins = subject.plugins
    for name, hook in plugins.hooks.items():
        if hook.item.gives and not hook.item.arguments:
            list(plugins.contribute(name))
    faults = [Fault(problem.what, problem.cure) for problem in subject.problems]
    hooks = list_hooks(subject) if subject.is_loaded else []
    if not hooks and not faults:
        text = f"{subject.point.value} implements no hook, so it adds nothing."
        faults.append(Fault(text, "Put '@hookimpl' above a function with the name of a hook."))
    return Check("hooks", ", ".join(hooks), tuple(faults))


def list_hooks(subject: Subject) -> list[str]:
    hooks = {name for name, _ in list_implementations(subject.point.load(), subject.owner.plugin)}
    known = subject.plugins.hooks
    return sorted(name if name in known else f"{name} (of a plugin that is not installed)" for name in hooks)


def check_names(subject: Subject) -> Check:
    """The names of its contributions are unique."""
    faults, own = [], 0
    owners: dict[tuple[str, str], list[Owner]] = {}
    for noun, name, owner in list_names(subject.plugins):
        owners.setdefault((noun, name), []).append(owner)
    for (noun, name), claims in owners.items():
        if subject.owner not in claims:
            continue
        own += 1
        others = list(claims)
        others.remove(subject.owner)
        if others:
            text = f"the {noun} '{name}' is also registered by {others[0]}."
            if others[0] == subject.owner:
                text = f"the {noun} '{name}' is registered twice."
            faults.append(Fault(text, f"Give it another name, such as '{subject.point.name}-{name}'."))
    replaced = find_replaced(key for key, claims in owners.items() if subject.owner in claims)
    return Check("names", count(own, "unique name") + replaced, tuple(faults))


def find_replaced(claimed: Iterable[tuple[str, str]]) -> str:
    """Which of these (noun, name) are lm-eval's too, as the end of a line; empty: none is."""
    catalog = Catalog(Plugins())
    theirs = {"task": catalog.lm_eval_tasks, "model": catalog.lm_eval_models}
    replaced = sorted(name for noun, name in claimed if name in theirs.get(noun, ()))
    return f"; used instead of lm-eval's: {', '.join(replaced)}" if replaced else ""


def list_names(plugins: Installed) -> Iterator[tuple[str, str, Owner]]:
    """The noun, name and owner of everything that is registered."""
    for noun, hook in NAMED.items():
        for owner, thing in plugins.contribute(hook):
            yield noun, thing.name, owner
    for owned in list_models(plugins):
        for name in (owned.item.name, *owned.item.aliases):
            yield "model", name, owned.owner
    for owner, folder in plugins.contribute("register_task_dirs"):
        for name in read_task_folder(folder):
            yield "task", name, owner


def list_models(plugins: Installed) -> Iterator[Owned[Model]]:
    """The models of all plugins, those of YAMLs too."""
    loaders = {loader.name: loader for _, loader in plugins.contribute(NAMED["loader"])}
    yield from list_plugin_models(plugins, loaders)


def check_help(subject: Subject) -> Check:
    """Its commands describe their arguments and have examples that can be typed."""
    commands = list(subject.contribute(NAMED["command"]))
    faults = tuple(fault for command in commands for fault in find_help_faults(command))
    return Check("help", count(len(commands), "command"), faults)


def check_licences(subject: Subject) -> Check:
    """Models and datasets state their licence and where they are published."""
    faults, licences = [], set()
    models = [owned.item for owned in list_models(subject.plugins) if owned.owner == subject.owner]
    datasets = list(subject.contribute(NAMED["dataset"]))
    for noun, thing in [*(("model", each) for each in models), *(("dataset", each) for each in datasets)]:
        licences.add(thing.licence)
        for field, example in (("licence", "Apache-2.0"), ("home", "where it is published")):
            stated = str(getattr(thing, field) or "").strip()
            if not stated:
                text = f"the {noun} '{thing.name}' does not state its {field}."
                faults.append(Fault(text, f'Write in its {type(thing).__name__}: {field}="{example}"'))
            elif noun == "model" and stated == UNSTATED:  # of a dataset it is a fact: its release states none
                faults.append(
                    Fault(
                        f"the {noun} '{thing.name}' does not state its {field}.",
                        f"Write in its YAML: {field}: {example}",
                    )
                )
    return Check("licences", ", ".join(sorted(licences)) or "no models or datasets", tuple(faults))


def check_samples(subject: Subject) -> Check:
    """The samples of its datasets can be read and are not empty."""
    faults, rows, without = [], 0, []
    for dataset in subject.contribute("register_datasets"):
        if dataset.sample is None:
            without.append(dataset.name)
            continue
        for item in read_sample(dataset):
            if isinstance(item, Fault):
                faults.append(item)
            else:
                rows += item
    found = count(rows, "row") + (f"; no sample of {', '.join(without)}" if without else "")
    return Check("samples", found, tuple(faults))


def read_sample(dataset: Dataset) -> Iterator[int | Fault]:
    """The number of rows of each file of a sample, or what is wrong with it."""
    assert dataset.sample is not None
    files = sorted(dataset.sample.glob("*.jsonl"))
    splits = [split.name for split in dataset.splits]
    if not files:
        text = f"the sample of '{dataset.name}' has no files: {dataset.sample}."
        yield Fault(text, f"Put {splits[0] if splits else 'test'}.jsonl there, or omit 'sample'.")
    for file in files:
        if file.stem not in splits:
            hint = did_you_mean(file.stem, splits) or f"The splits are: {', '.join(splits)}."
            yield Fault(f"{file} does not belong to a split of '{dataset.name}'.", hint)
        try:
            rows = list(read_jsonl(file))
        except GptaltError as error:
            yield Fault(error.what, "Write one JSON object per line.")
            continue
        if rows and dataset.cluster and dataset.cluster not in rows[0]:
            hint = did_you_mean(dataset.cluster, rows[0]) or f"The columns are: {', '.join(rows[0])}."
            yield Fault(f"{file} has no column '{dataset.cluster}', which 'cluster' names.", hint)
        yield len(rows) if rows else Fault(f"{file} has no rows.", "Write one JSON object per line.")


def check_yamls(subject: Subject) -> Check:
    """Its YAMLs, of tasks and of models, are valid."""
    catalog = Catalog(subject.plugins, data_dir=SAMPLE)
    faults, files, warnings = [], 0, 0
    for folder in subject.contribute("register_task_dirs"):
        try:
            reports = validate_files([str(folder)], catalog)
        except GptaltError as error:
            faults.append(Fault(f"register_task_dirs returned {folder}. {error.what}", error.hint))
            continue
        files += len(reports)
        for report in reports:
            warnings += report.count("warning")
            for found in report.findings:
                if found.level == "error":
                    text = f"{found.place.file}:{found.place.line}: {found.message}"
                    faults.append(Fault(text, f"See: gptalt-eval validate {quote(str(report.target))}"))
    for folder in subject.contribute("register_model_dirs"):
        if not folder.is_dir():
            text = f"register_model_dirs returned {folder}, which does not exist."
            faults.append(Fault(text, 'Start from the module: Path(__file__).parent / "catalogue".'))
        for file in find_model_yamls(folder):
            files += 1
            faults += check_model_yaml(file, catalog)
    looked_at = f"{count(files, 'file')}, {count(warnings, 'warning')}"
    return Check("YAMLs", looked_at, tuple(faults))


def check_model_yaml(file: Path, catalog: Catalog) -> Iterator[Fault]:
    for found in find_model_faults(file, catalog):
        text = f"{found.place.file}:{found.place.line}: {found.message}"
        yield Fault(text, f"See: gptalt-eval validate {quote(str(file))}")


def check_prompts(subject: Subject) -> Check:
    """Every task whose dataset has a sample produces a prompt from its first row."""
    catalog = Catalog(subject.plugins, data_dir=SAMPLE)
    faults, shown, without = [], 0, []
    for folder in subject.contribute("register_task_dirs"):
        for entry in read_task_folder(folder).values():
            if entry.kind != "task" or entry.file is None:
                continue
            if not has_sample(catalog, entry.file):
                without.append(entry.name)
                continue
            shown += 1
            wrong = find_prompt_fault(subject.plugins, entry.name)
            if wrong:
                cure = f"See: gptalt-eval show task {entry.name} --data_dir sample"
                faults.append(Fault(f"the task '{entry.name}' has no prompt: {wrong}", cure))
    found = count(shown, "task") + (f"; no sample for {', '.join(without)}" if without else "")
    return Check("prompts", found, tuple(faults))


def has_sample(catalog: Catalog, file: Path) -> bool:
    """Whether a task's rows can come from an embedded sample."""
    try:
        keys = load_task_yaml(file)
    except GptaltError:
        return True  # the check of the prompt will say what is wrong
    dataset = catalog.find_dataset(keys.get("dataset_path"), keys.get("dataset_name"))
    return dataset is not None and dataset.item.sample is not None


def find_prompt_fault(plugins: Installed, name: str) -> str:
    """Why a task has no prompt for its sample's first row; empty: it has one."""
    from gptalt_eval.running.lmeval import evaluation

    try:
        plan = resolve(RunSpec(model="dummy", tasks=(name,), data_dir=SAMPLE), plugins)
        with evaluation.quiet(None):
            prompt, _ = evaluation.build_first_requests(plan)
    except GptaltError as error:
        return error.what
    except Exception as error:  # the task's own functions can raise anything
        return f"{type(error).__name__}: {error}"
    return "" if prompt.strip() else "it is empty."


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
