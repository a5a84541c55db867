"""Models described in YAML, without Python: where they are, how one talks to them, what is known about them.

licence: Apache-2.0          # what all models of the file share
commercial: yes
models:
  my-chat:
    hub: my-org/my-chat-7b
    template: my-chat.jinja  # or the template itself

A YAML cannot allow anything, such as code from the hub: only the user can, on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.models import Loader, Model
from gptalt_eval.machine.bounds import read_yaml
from gptalt_eval.planning.index import NAMING, find_yaml_files
from gptalt_eval.planning.models.fields import KINDS, Facts, FieldError, read_name
from gptalt_eval.planning.models.made import make_model

MODELS = "models"
NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a YAML, and where.

    Attributes:
        text: what is wrong.
        hint: what to write instead.
        line, column: where; they count from 1.
        is_absent: whether only a loader is not installed, so that the model can be listed.
    """

    text: str
    hint: str = ""
    line: int = 1
    column: int = 1
    is_absent: bool = False

    def explain(self, file: Path) -> GptaltError:
        return GptaltError(f"{file}, line {self.line}, column {self.column}: {self.text}", self.hint)


@dataclass(frozen=True)
class Described:
    """What a YAML describes.

    Attributes:
        models: its models, without those that have faults.
        faults: all faults.
        templates: where the template of a model is: its line and column, by the model's name.
    """

    models: tuple[Model, ...] = ()
    faults: tuple[Fault, ...] = ()
    templates: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def find_model_yamls(folder: Path) -> list[Path]:
    """The YAMLs below a folder that describe models."""
    return [file for file in sorted(find_yaml_files(folder)) if describes_models(file)]


def describes_models(file: Path) -> bool:
    """Whether a YAML describes models: it has the key ``models``, and none that makes it a task."""
    try:
        content = read_yaml(file)
        if MODELS.encode() not in content.replace(b"\0", b""):
            return False
        root = yaml.compose(content, yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return False  # `validate` says why
    if not isinstance(root, yaml.MappingNode):
        return False
    pairs = {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}
    # a list is what an experiment has: names of models
    return isinstance(pairs.get(MODELS), yaml.MappingNode) and not pairs.keys() & NAMING


def read_models(file: Path, loaders: Mapping[str, Loader]) -> Described:
    """The models of a YAML. Its content cannot cause an exception.

    Args:
        file: the YAML.
        loaders: those that it may name.
    """
    try:
        root = yaml.compose(read_yaml(file), yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Described(
            faults=(Fault(f"not valid YAML: {error.problem or error.context}.", "", line, column),)
        )
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        return Described(faults=(Fault(f"not valid YAML: {' '.join(str(error).split())}."),))
    reader = ModelReader(file, loaders)
    return Described(tuple(reader.read(root)), tuple(reader.faults), reader.templates)


def place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


@dataclass
class ModelReader:
    """Turns YAML nodes into models and collects the problems in them."""

    file: Path
    loaders: Mapping[str, Loader]
    faults: list[Fault] = field(default_factory=list)
    templates: dict[str, tuple[int, int]] = field(default_factory=dict)

    def complain(self, node: yaml.Node | None, text: str, hint: str = "", is_absent: bool = False) -> None:
        line, column = place(node) if node is not None else (1, 1)
        self.faults.append(Fault(text, hint, line, column, is_absent))

    def read(self, root: yaml.Node | None) -> list[Model]:
        pairs = dict(self.list_pairs(root, "the file"))
        listed = pairs.pop(MODELS, None)
        if listed is None:
            if not self.faults:
                self.complain(
                    root, "'models' is missing.", "Add 'models:', and below it a name with its facts."
                )
            return []
        shared = self.read_facts("the file", pairs, [key for key in KINDS if key != "aliases"])
        models: list[Model] = []
        taken: dict[str, str] = {}
        for name, node in self.list_pairs(listed[1], "'models'"):
            before = len(self.faults)
            model = self.read_model(name, node, shared)
            for each in (model.name, *model.aliases) if model else ():
                other = taken.setdefault(each, name)
                if other != name:
                    self.complain(node[0], f"'{each}' is already a name of '{other}'.", "Rename one of them.")
            if model is not None and all(fault.is_absent for fault in self.faults[before:]):
                models.append(model)
        return models

    def read_model(
        self, name: str, pair: tuple[yaml.Node, yaml.Node], shared: Mapping[str, Facts]
    ) -> Model | None:
        key, node = pair
        before = len(self.faults)
        try:
            read_name(name)
        except FieldError as error:
            self.complain(key, f"'{name}' {error.text}.", error.hint)
        own = self.read_facts(f"'{name}'", dict(self.list_pairs(node, f"'{name}'")), list(KINDS))
        facts = {key: fact for key, fact in {**shared, **own}.items() if fact.value is not None}
        if len(self.faults) > before:
            return None
        named = facts.get("loader")
        if named is not None and named.value not in self.loaders:
            hint = did_you_mean(named.value, self.loaders) or "Install or update the plugin that has it."
            self.complain(named.node, f"there is no loader '{named.value}'.", hint, is_absent=True)
        if "template" in facts:
            self.templates[name] = place(facts["template"].node)
        try:
            return make_model(name, facts, self.file, self.loaders)
        except FieldError as error:
            self.complain(facts[error.key].node if error.key in facts else key, f"{error.text}.", error.hint)
            return None

    def read_facts(
        self, where: str, pairs: Mapping[str, tuple[yaml.Node, yaml.Node]], known: Iterable[str]
    ) -> dict[str, Facts]:
        """The values of the known keys. A null stands for no value, also in place of a shared one."""
        found: dict[str, Facts] = {}
        names = list(known)
        for name, (key, node) in pairs.items():
            if name not in names:
                hint = did_you_mean(name, names) or f"Valid keys: {', '.join(names)}. {ELSEWHERE}"
                self.complain(key, f"unknown key '{name}' in {where}.", hint)
                continue
            if isinstance(node, yaml.ScalarNode) and node.tag == NULL:
                found[name] = Facts(None, node)
                continue
            try:
                found[name] = Facts(KINDS[name](self.read_scalars(node)), node)
            except FieldError as error:
                self.complain(node, f"'{name}' in {where} {error.text}.", error.hint)
        return found

    def read_scalars(self, node: yaml.Node) -> str | list[str]:
        """A value as it is written, or a list of them: ``yes`` is not taken for a truth value."""
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        if isinstance(node, yaml.SequenceNode) and all(isinstance(x, yaml.ScalarNode) for x in node.value):
            return [str(item.value) for item in node.value]
        raise FieldError("must be text, or a list of texts")

    def list_pairs(self, node: yaml.Node | None, where: str) -> list[tuple[str, tuple[yaml.Node, yaml.Node]]]:
        """The keys and values of a mapping; duplicate keys are reported."""
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"{where} must consist of 'key: value' lines.")
            return []
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.complain(key, f"a key in {where} must be text.")
                continue
            if key.value in pairs:
                self.complain(key, f"'{key.value}' appears twice in {where}.", "Remove one of them.")
            pairs[str(key.value)] = (key, value)
        return list(pairs.items())


ELSEWHERE = "Settings for loading belong on the command line, in --model_args."
