"""Every name that a user can type, and the plugin that owns it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError, GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.contract.models import Loader, Model
from gptalt_eval.contract.plan import Kind, TaskEntry
from gptalt_eval.contract.types import Dataset, Installed, Owned, Owner, PromptStyle
from gptalt_eval.data.datasets_yaml import FILE, read_datasets
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning import index as taskindex
from gptalt_eval.planning.models.gather import list_own_models, list_plugin_models
from gptalt_eval.planning.names import Claims, describe_unknown

LM_EVAL = Owner("lm-eval", distribution="lm-eval")
UNKNOWN = "licence not known here"


class Catalog:
    """Looks up names in the core, its plugins and lm-eval.

    Args:
        plugins: the plugins of this process.
        include_paths: more folders of task YAMLs (``--include_path``); they take precedence over other tasks.
        data_dir: where rows come from, see ``choose_data_dir``; a folder's ``datasets.yaml`` adds
            the user's own datasets.
    """

    def __init__(
        self, plugins: Installed, include_paths: Iterable[Path] = (), data_dir: Path | str | None = None
    ) -> None:
        self.plugins = plugins
        self.include_paths = tuple(include_paths)
        self.data_dir = data_dir
        self.replaced: dict[str, Owned[TaskEntry]] = {}  # what --include_path displaces
        self.replaced_models: dict[str, Owned[Model]] = {}
        self.claims = Claims(plugins)

    # ------------------------------------------------------------------ what there is

    @cached_property
    def models(self) -> Mapping[str, Owned[Model]]:
        """The models by name, without their aliases."""
        return {name: owned for name, owned in self.model_names.items() if name == owned.item.name}

    @cached_property
    def model_names(self) -> Mapping[str, Owned[Model]]:
        """The models by name and by alias; those in the YAMLs of ``--include_path`` take precedence.

        Raises:
            GptaltError, RequestErrors: all problems in those YAMLs.
        """
        found: dict[str, Owned[Model]] = {}
        loaders = {name: owned.item for name, owned in self.loaders.items()}
        for owned in list_plugin_models(self.plugins, loaders):
            for name in (owned.item.name, *owned.item.aliases):
                self.claims.add(found, "model", name, owned)
        for owned in list_own_models(self.include_paths, loaders):
            for name in (owned.item.name, *owned.item.aliases):
                self.claims.replace(found, self.replaced_models, "model", name, owned)
        return found

    @cached_property
    def loaders(self) -> Mapping[str, Owned[Loader]]:
        return self._gather("loader", "register_loaders")

    @cached_property
    def prompt_styles(self) -> Mapping[str, Owned[PromptStyle]]:
        return self._gather("prompt style", "register_prompt_styles")

    @cached_property
    def datasets(self) -> Mapping[str, Owned[Dataset]]:
        """The registered datasets; those in the data folder's ``datasets.yaml`` take precedence.

        Raises:
            DataError, RequestErrors: all problems in that file.
        """
        registered = self._gather("dataset", "register_datasets")
        file = self.data_dir / FILE if isinstance(self.data_dir, Path) else None
        local: dict[str, Owned[Dataset]] = {}
        described = read_datasets(file) if file and file.exists() else ()
        for dataset in sorted(described, key=lambda each: not each.configs):  # those for one config first
            taken = registered.get(dataset.name)
            if taken is not None:
                text = f"{file}: there is already a dataset '{dataset.name}' in {taken.owner}."
                raise DataError(text, f"Give it another name, such as 'my_{dataset.name}'.")
            local[dataset.name] = Owned(dataset, Owner(str(file)))
        return local | registered

    @cached_property
    def tasks(self) -> Mapping[str, Owned[TaskEntry]]:
        """The tasks of the core, its plugins and ``--include_path``; lm-eval's are in ``lm_eval_tasks``."""
        found: dict[str, Owned[TaskEntry]] = {}
        for folder, owner in self.plugin_folders.items():
            for name, entry in taskindex.read_task_folder(folder).items():
                self.claims.add(found, "task", name, Owned(entry, owner))
        for folder in self.include_paths:
            for name, entry in taskindex.read_task_folder(folder).items():
                owned = Owned(entry, Owner(f"--include_path {folder}"))
                self.claims.replace(found, self.replaced, "task", name, owned)
        return found

    @cached_property
    def plugin_folders(self) -> Mapping[Path, Owner]:
        """The plugins' folders of task YAMLs, each with its plugin."""
        found: dict[Path, Owner] = {}
        for owner, folder in self.plugins.contribute("register_task_dirs"):
            if folder.is_dir():
                found.setdefault(folder, owner)
                continue
            text = f"register_task_dirs returned {str(folder)!r}, which does not exist."
            self.plugins.blame(owner, text, 'Start from the module: Path(__file__).parent / "tasks".')
        return found

    @cached_property
    def lm_eval_tasks(self) -> Mapping[str, TaskEntry]:
        return taskindex.read_lm_eval_tasks()

    @cached_property
    def lm_eval_models(self) -> tuple[str, ...]:
        """lm-eval's model classes (``hf``, ``vllm``, ...); ``tests/read_lm_eval.py`` writes the file."""
        file = Path(__file__).with_name("lm_eval_models.json")
        return tuple(json.loads(file.read_text(encoding="utf-8"))["models"])

    def list_benchmarks(self) -> dict[str, Owned[TaskEntry]]:
        """The tasks that ``ls`` shows: our own, and those of lm-eval that are in our groups.

        Does not read lm-eval's folders, so that ``ls`` is fast.
        """
        listed = dict(self.tasks)
        for owned in self.tasks.values():
            if owned.item.kind == "group" and owned.item.file:
                for child in list_children(taskindex.load_task_yaml(owned.item.file)):
                    listed.setdefault(child.name, Owned(child, LM_EVAL))
        return listed

    # ------------------------------------------------------------------ lookups

    def find_model(self, name: str) -> Owned[Model]:
        """The model with this name.

        Raises:
            UnknownNameError: unknown name; suggests the nearest one, or the plugin to install.
            PluginError: two plugins register it.
        """
        self.claims.refuse_clash("model", name, self.model_names)
        if name in self.model_names:
            return self.model_names[name]
        if name in self.lm_eval_models:
            model = Model(name, "lm-eval's model class", UNKNOWN, "", backend=name)
            return Owned(model, LM_EVAL)
        if Path(name).expanduser().is_dir():
            return Owned(
                Model(name, "model in a local folder", UNKNOWN, "", args={"pretrained": name}), LM_EVAL
            )
        if "/" in name and not name.startswith((".", "/", "~")):
            return Owned(
                Model(name, "transformers model", "see its page", name, args={"pretrained": name}), LM_EVAL
            )
        if name.startswith((".", "/", "~")):
            raise UnknownNameError(
                f"There is no model folder {name}.", "Give the folder that contains config.json."
            )
        raise describe_unknown(self.plugins, "models", name, [*self.model_names, *self.lm_eval_models])

    def find_prompt_style(self, name: str) -> PromptStyle:
        """The prompt style with this name.

        Raises:
            UnknownNameError, PluginError: see :meth:`find_model`.
        """
        self.claims.refuse_clash("prompt style", name, self.prompt_styles)
        if name in self.prompt_styles:
            return self.prompt_styles[name].item
        hint = did_you_mean(name, self.prompt_styles) or f"Available: {', '.join(self.prompt_styles)}."
        raise UnknownNameError(f"There is no prompt style '{name}'.", hint)

    def find_tasks(self, pattern: str) -> list[Owned[TaskEntry]]:
        """The tasks, groups or tags with this name, matching this glob (``mmlu_*``), or in this YAML file.

        Raises:
            UnknownNameError, PluginError: see :meth:`find_model`.
        """
        is_path = pattern.endswith((".yaml", ".yml"))  # its folders can contain these characters
        if not is_path and any(character in pattern for character in "*?["):
            return self._match(pattern)
        return [self.find_task(pattern)]

    def find_task(self, name: str) -> Owned[TaskEntry]:
        """The task, group or tag with exactly this name, or in this YAML file."""
        if name.endswith((".yaml", ".yml")):
            return self._read_file(Path(name))
        self.claims.refuse_clash("task", name, self.tasks)
        if name in self.tasks:
            return self.tasks[name]
        if name in self.lm_eval_tasks:
            return Owned(self.lm_eval_tasks[name], LM_EVAL)
        known = [*self.list_benchmarks(), *self.lm_eval_tasks]
        raise describe_unknown(self.plugins, "tasks", name, known)

    def find_dataset(self, hub: str | None, config: str | None) -> Owned[Dataset] | None:
        """The dataset for a task's ``dataset_path`` and ``dataset_name``, or None."""
        return next((owned for owned in self.datasets.values() if owned.item.serves(hub, config)), None)

    # ------------------------------------------------------------------ inside

    def _gather(self, noun: str, hook: str) -> dict[str, Owned[Any]]:
        found: dict[str, Owned[Any]] = {}
        for owner, item in self.plugins.contribute(hook):
            self.claims.add(found, noun, item.name, Owned(item, owner))
        return found

    def _match(self, pattern: str) -> list[Owned[TaskEntry]]:
        names = [name for name in {**self.lm_eval_tasks, **self.tasks} if fnmatchcase(name, pattern)]
        if not names:
            raise UnknownNameError(
                f"No task matches '{pattern}'.", f"See: gptalt-eval ls tasks {pattern.strip('*')}"
            )
        return [self.find_task(name) for name in sorted(names)]

    def _read_file(self, file: Path) -> Owned[TaskEntry]:
        if not file.is_file():
            siblings = [path.name for path in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
            raise UnknownNameError(f"There is no task file {file}.", did_you_mean(file.name, siblings))
        keys = taskindex.load_task_yaml(file)
        name = (keys.get("group") if "class" not in keys else None) or keys.get("task")
        if not isinstance(name, str):
            raise GptaltError(f"{file} does not name a task.", "Add a line such as 'task: my_task'.")
        kind: Kind = "group" if "group" in keys and "class" not in keys else "task"
        return Owned(TaskEntry(name, kind, follow_links(file)), Owner(str(file)))


def list_children(config: Mapping[str, Any]) -> list[TaskEntry]:
    """The members in a group's ``task`` list, including those of inline subgroups."""
    found: list[TaskEntry] = []
    children = config.get("task")
    for child in children if isinstance(children, list) else []:
        if isinstance(child, str):
            found.append(TaskEntry(child, "task"))
        elif isinstance(child, dict):
            kind: Kind = "group" if "group" in child else "task"
            if isinstance(child.get(kind), str):
                found.append(TaskEntry(child[kind], kind))
            found.extend(list_children(child))
    return found
