"""``gptalt-eval new plugin|task|model|slurm|kuberay NAME``: working templates, ready to change.

The plugin's template, rendered with the names in ``EXAMPLE``, is exactly this project's example plugin: its
tests are tests of the template.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from gptalt_eval.commands.checkout import find_checkout
from gptalt_eval.contract.discovery import PREFIX
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.types import Installed
from gptalt_eval.machine.plain import print_plain as print
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.known import KNOWN
from gptalt_eval.planning.models.fields import NAME as MODEL_NAME

TEMPLATES = Path(__file__).parent / "templates"
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
JOB_NAME = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")  # also a name of Kubernetes
#: what a scheduler reads, and how it is told to
JOBS = {"slurm": ("sbatch", "sbatch"), "kuberay": ("yaml", "kubectl apply -f")}
TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class PluginNames:
    """The names in the plugin's template.

    Attributes:
        name: the entry point's name (``medqa``).
        distribution: the name for pip.
        module: the name for import.
        model: the name of its model.
        task: the name of its task and of its dataset.
        hub: the hub id of its task.
        summary: one sentence.
    """

    name: str
    distribution: str
    module: str
    model: str
    task: str
    hub: str
    summary: str


EXAMPLE = PluginNames(
    name="example",
    distribution="gptalt-eval-plugin-example",
    module="gptalt_eval_plugin_example",
    model="shortest-option",
    task="capitals",
    hub="gptalt-eval/capitals",
    summary="The smallest useful plugin for gptalt-eval, to copy from: one model, one task and its data.",
)


def run_new(arguments: argparse.Namespace, plugins: Installed) -> int:
    if arguments.kind == "plugin":
        print(create_plugin(arguments.name, arguments.into or Path()))
    elif arguments.kind in JOBS:
        print(create_job(arguments.kind, arguments.name, arguments.into or Path()))
    elif arguments.kind == "model":
        print(create_model(arguments.name, arguments.into or Path(), Catalog(plugins)))
    else:
        print(create_task(arguments.name, arguments.into or find_task_folder(Path.cwd()), Catalog(plugins)))
    return 0


def create_plugin(name: str, into: Path) -> str:
    """Write a complete, installable plugin below ``into``.

    Returns:
        what the user can type next.

    Raises:
        GptaltError: the name is invalid, or a file already exists.
    """
    names = name_plugin(name)
    folder = into / names.distribution
    write_files(folder, render_plugin(names), "gptalt-eval new plugin ANOTHER-NAME, or add --into FOLDER")
    return "\n".join(
        (
            f"{show(folder)} is a working plugin. Next:",
            f"  cd {show(folder)}",
            "  pip install -e .",
            f"  gptalt-eval ls tasks {names.task}",
            f"  gptalt-eval --model {names.model} --tasks {names.task} --data_dir sample",
            f"  gptalt-eval plugins check {names.name}",
            "  pytest",
        )
    )


def name_plugin(name: str) -> PluginNames:
    """The names derived from a plugin's name (with or without ``gptalt-eval-plugin-``).

    Raises:
        GptaltError: the name is invalid, or one of this project's plugins has it.
    """
    name = name.removeprefix(PREFIX)
    check_name("plugin", name, PLUGIN_NAME, "lowercase letters and digits, joined by '-'", "-")
    if name in KNOWN or name == "builtin":
        text = f"There is already a plugin '{name}'."
        raise GptaltError(text, f"Choose another name: gptalt-eval new plugin my-{name}")
    word = name.replace("-", "_")
    return PluginNames(
        name=name,
        distribution=PREFIX + name,
        module=f"gptalt_eval_plugin_{word}",
        model=f"{name}-shortest-option",
        task=f"{word}_capitals",
        hub=f"your-name/{word}_capitals",
        summary=f"A plugin for gptalt-eval: {name}.",
    )


def render_plugin(names: PluginNames) -> dict[str, str]:
    """The plugin's files: path below its folder -> text."""
    return render_folder(TEMPLATES / "plugin", {"MODULE": names.module, "TASK": names.task}, asdict(names))


def write_example(into: Path = Path("plugins")) -> None:
    """Write the example plugin of this project again, after a change of the template."""
    write_files(into / EXAMPLE.distribution, render_plugin(EXAMPLE), f"rm -r {into / EXAMPLE.distribution}")


def create_task(name: str, into: Path, catalog: Catalog) -> str:
    """Write ``NAME.yaml``, three rows to run it on, and the first prompt that results.

    Returns:
        what the user can type next.

    Raises:
        GptaltError: the name is invalid or taken, or a file already exists.
    """
    check_name("task", name, TASK_NAME, "letters, digits and '_', starting with a letter", "_")
    if name in catalog.tasks or name in catalog.lm_eval_tasks:
        text = f"There is already a task '{name}', from {catalog.find_task(name).owner}."
        raise GptaltError(text, f"Choose another name: gptalt-eval new task my_{name}")
    write_files(into, render_task(name), "gptalt-eval new task ANOTHER_NAME, or add --into FOLDER")
    steps = [] if into.resolve() == Path.cwd() else [f"  cd {show(into)}"]
    steps += [
        f"  gptalt-eval validate {name}.yaml",
        f"  gptalt-eval show task {name}.yaml",
        f"  gptalt-eval --model smollm2 --tasks {name}.yaml",
    ]
    return "\n".join((f"{show(into / name)}.yaml is a working task with three rows. Next:", *steps))


def create_model(name: str, into: Path, catalog: Catalog) -> str:
    """Write ``NAME.yaml``, which describes a model.

    Returns:
        what the user can type next.

    Raises:
        GptaltError: the name is invalid or taken, or a file already exists.
    """
    check_name("model", name, MODEL_NAME, "letters, digits, '.', '_', '+' and '-'", "-")
    if name in catalog.model_names or name in catalog.lm_eval_models:
        text = f"There is already a model '{name}', from {catalog.find_model(name).owner}."
        raise GptaltError(text, f"Choose another name: gptalt-eval new model my-{name}")
    files = render_folder(TEMPLATES / "model", {"NAME": name}, {"name": name})
    write_files(into, files, "gptalt-eval new model ANOTHER-NAME, or add --into FOLDER")
    file = f"{show(into / name)}.yaml"
    return "\n".join(
        (
            f"{file} describes a model. Fill in what is in capitals. Next:",
            f"  gptalt-eval validate {file}",
            f"  gptalt-eval --model {name} --include_path {show(into)} --tasks piqa --data_dir sample",
        )
    )


def create_job(kind: str, name: str, into: Path) -> str:
    """Write what a scheduler runs on many computers.

    Returns:
        what the user can type next.

    Raises:
        GptaltError: the name is invalid, or the file already exists.
    """
    check_name(
        kind, name, JOB_NAME, "at most 42 lowercase letters, digits and '-', starting with a letter", "-"
    )
    files = render_folder(TEMPLATES / kind, {"NAME": name}, {"name": name})
    write_files(into, files, f"gptalt-eval new {kind} ANOTHER-NAME, or add --into FOLDER")
    ending, command = JOBS[kind]
    file = f"{show(into / name)}.{ending}"
    return "\n".join(
        (
            f"{file} evaluates two models on many GPUs. Change models, tasks and sizes. Next:",
            f"  {command} {file}",
        )
    )


def render_task(name: str) -> dict[str, str]:
    """The task's files: name -> text."""
    files = render_folder(TEMPLATES / "task", {"NAME": name}, {"name": name})
    row = json.loads(files[f"{name}.fixture.jsonl"].split("\n", 1)[0])
    golden = render_golden(yaml.safe_load(files[f"{name}.yaml"]), row)
    return {**files, f"{name}.golden.txt": golden}


def render_golden(config: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The prompt followed by the correct answer, as lm-eval renders them from one row.

    Args:
        config: the YAML's fields; ``doc_to_text`` and ``doc_to_target`` are Jinja templates, and
            ``doc_to_choice``, if there is one, a template that produces a list.
        row: a row of the dataset.
    """
    from jinja2 import Environment, StrictUndefined

    jinja = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # lm-eval's settings
    text, target = (jinja.from_string(config[key]).render(row) for key in ("doc_to_text", "doc_to_target"))
    if "doc_to_choice" in config:
        target = ast.literal_eval(jinja.from_string(config["doc_to_choice"]).render(row))[int(target)]
    return f"{text}{config.get('target_delimiter', ' ')}{target}"


def find_task_folder(folder: Path) -> Path:
    """``task_yamls/`` of the checkout of gptalt-eval that contains ``folder``, else ``folder`` itself."""
    checkout = find_checkout(folder)
    return checkout / "task_yamls" if checkout else folder


def check_name(noun: str, name: str, pattern: re.Pattern[str], rule: str, joint: str) -> None:
    if pattern.fullmatch(name):
        return
    words = re.findall(r"[A-Za-z0-9]+", name)
    near = joint.join(words).lower().lstrip("0123456789" + joint)
    hint = f"Type: gptalt-eval new {noun} {near or f'my{joint}{noun}'}"
    raise GptaltError(f"'{name}' is not a valid {noun} name: use {rule}.", hint)


def render_folder(folder: Path, paths: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """Every ``*.tmpl`` below a folder, filled in.

    Args:
        folder: the templates.
        paths: words in the templates' paths -> their replacements.
        texts: ``$word`` in the templates' texts -> their replacements.
    """
    files = {}
    for file in sorted(folder.rglob("*.tmpl")):
        path = file.relative_to(folder).with_suffix("").as_posix()
        for word, replacement in paths.items():
            path = path.replace(word, replacement)
        files[path] = Template(file.read_text(encoding="utf-8")).substitute(texts)
    return files


def write_files(folder: Path, files: Mapping[str, str], instead: str) -> None:
    """Write all files, or none if one of them already exists.

    Raises:
        GptaltError: one already exists, or the folder is not writable.
    """
    there = [folder / path for path in files if (folder / path).exists()]
    if there:
        raise GptaltError(f"{show(there[0])} already exists; nothing was written.", f"Type: {instead}")
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())  # unchanged line endings on Windows
    except OSError as error:
        text = f"{show(folder)} cannot be written: {error.strerror}."
        raise GptaltError(text, "Choose another folder with --into.") from error


def show(path: Path) -> str:
    """The path as one would type it in the current folder."""
    path = path.resolve()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
