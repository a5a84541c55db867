"""Finds problems in task YAMLs offline: file, line, column and the nearest correct name.

Neither lm-eval nor torch is imported and no ``!function`` is run: what lm-eval knows is read from its
source as text. The checks live in :mod:`gptalt_eval.validation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError, UnknownNameError, did_you_mean
from gptalt_eval.contract.plan import TaskEntry
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.deeds import find_deeds
from gptalt_eval.planning.consent.trust import find_free
from gptalt_eval.planning.index import find_yaml_files
from gptalt_eval.planning.models.reader import describes_models
from gptalt_eval.validation.deeds import note_deeds, note_replaced, reads_more
from gptalt_eval.validation.fields import (
    check_choice_of_names,
    check_field_names,
    check_generation,
    check_idle_fields,
    check_kinds,
)
from gptalt_eval.validation.findings import Findings, Report
from gptalt_eval.validation.functions import check_functions
from gptalt_eval.validation.groups import Neighbourhood, check_group
from gptalt_eval.validation.metrics import check_filters, check_metrics
from gptalt_eval.validation.models import find_model_faults
from gptalt_eval.validation.prompts import check_cluster, check_templates
from gptalt_eval.validation.rendering import Renderer
from gptalt_eval.validation.rows import find_dataset, find_rows
from gptalt_eval.validation.scene import Scene
from gptalt_eval.validation.sources import Sources
from gptalt_eval.validation.splits import (
    check_needs,
    check_overlap,
    check_splits,
    is_included,
    note_absent_data,
)
from gptalt_eval.validation.vocabulary import load_vocabulary
from gptalt_eval.validation.yamlmap import YamlReader


class Validator:
    """Checks files one after another; what they share is read once.

    Args:
        catalog: where to look up names and datasets.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.vocabulary = load_vocabulary()
        self.reader = YamlReader()
        self.sources = Sources()
        self.renderer = Renderer()
        self.neighbourhood = Neighbourhood(catalog)
        self.free = find_free(catalog)

    def check(self, file: Path) -> Report:
        """All problems in one file. The file's content cannot cause an exception."""
        if describes_models(file):
            return Report(file, find_model_faults(file, self.catalog))
        findings = Findings()
        definition = self.reader.read(file, findings)
        if definition is not None:
            scene = Scene(definition, findings, self.vocabulary, self.sources)
            deeds = find_deeds(file, self.free)
            note_deeds(findings, deeds)
            if not self.free.has_yaml(file):
                note_replaced(scene, self.catalog)
            check_functions(scene)
            if "class" in scene.config:
                self._check_class(scene)
            elif "group" in scene.config:
                check_group(scene, self.neighbourhood)
            else:
                self._check_task(scene, may_read=not reads_more(deeds))
        return Report(file, findings.sorted())

    def _check_class(self, scene: Scene) -> None:
        """A task that a Python class defines; its other fields depend on the class."""
        if not scene.config.get("task"):
            scene.report("missing-field", "'task' is missing: a task needs a name.")

    def _check_task(self, scene: Scene, may_read: bool) -> None:
        check_field_names(scene)
        check_idle_fields(scene)
        check_kinds(scene)
        check_choice_of_names(scene)
        check_generation(scene)
        check_metrics(scene)
        check_filters(scene)
        if not scene.definition.is_whole:
            return  # a file that cannot be read may have contained what is missing
        if not scene.config.get("task"):
            if is_included(scene.definition.main.file):
                return  # part of a task: files that include it have the rest
            scene.report("missing-field", "'task' is missing: a task needs a name.")
        check_needs(scene)
        check_splits(scene, find_dataset(self.catalog, scene.config))
        rows = find_rows(scene, self.catalog) if may_read else None
        check_templates(scene, self.renderer, rows)
        if rows is not None:
            check_overlap(scene, rows)
            check_cluster(scene, rows)
        note_absent_data(scene, rows)


def validate_files(targets: Sequence[str], catalog: Catalog) -> list[Report]:
    """Check task files.

    Args:
        targets: YAML files, folders of them, or names of tasks, groups and tags.
        catalog: where to look up names.

    Raises:
        GptaltError: a target does not exist. Problems inside files are reported, not raised.
    """
    files = list(dict.fromkeys(file for target in targets for file in find_files(target, catalog)))
    validator = Validator(catalog)
    return [validator.check(file) for file in files]


def find_files(target: str, catalog: Catalog) -> list[Path]:
    """The YAML files of a path or name.

    Raises:
        UnknownNameError: there is neither such a file nor such a task.
    """
    path = Path(target).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(find_yaml_files(path))
        if not files:
            raise GptaltError(f"There is no .yaml file in {path}.", "Give the path of the file itself.")
        return files
    if target.endswith((".yaml", ".yml")):
        beside = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise UnknownNameError(f"There is no file {target}.", did_you_mean(path.name, beside))
    entries = [owned.item for owned in catalog.find_tasks(target)]
    return [file for entry in entries for file in list_definitions(entry, catalog)]


def list_definitions(entry: TaskEntry, catalog: Catalog) -> list[Path]:
    if entry.file is not None:
        return [entry.file]
    members = [catalog.find_task(name).item for name in entry.members]
    return [member.file for member in members if member.file is not None]
