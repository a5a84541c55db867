"""YAML files with the place of every node; includes are merged as lm-eval merges them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gptalt_eval.contract.errors import did_you_mean
from gptalt_eval.machine.bounds import LARGEST_YAML, check_yaml, read_file
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.index import Function
from gptalt_eval.validation.findings import Findings, Place

Steps = tuple[str | int, ...]
Base: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """One YAML file: its data, and nodes that know their place.

    Attributes:
        file: the file as the user gave it.
        text: its lines.
        root: the composed mapping node.
        data: the mapping; ``!function`` is not executed.
    """

    file: Path
    text: tuple[str, ...]
    root: Any
    data: Mapping[str, Any]

    def place(self, path: Steps, of_key: bool = False) -> Place:
        """The place of the value (or key) at a path such as ``("metric_list", 0, "metric")``."""
        node, key = self.find(path)
        chosen = key if of_key and key is not None else node
        return place_mark(self.file, chosen.start_mark)

    def find(self, path: Steps) -> tuple[Any, Any]:
        """The node at a path and the node of its key; if the path does not exist, the deepest that does."""
        node, key = self.root, None
        for step in path:
            found = step_into(node, step)
            if found is None:
                break
            node, key = found
        return node, key


@dataclass(frozen=True)
class Definition:
    """A task or group as lm-eval sees it.

    Attributes:
        main: the file itself.
        config: its fields and those of its includes; its own take precedence.
        sources: the file that each top-level field comes from.
        files: the file itself and all included ones.
        is_whole: whether every included file could be read.
    """

    main: Document
    config: Mapping[str, Any]
    sources: Mapping[str, Document] = field(default_factory=dict)
    files: tuple[Document, ...] = ()
    is_whole: bool = True

    def source(self, path: Steps) -> Document:
        return self.sources.get(str(path[0]), self.main) if path else self.main

    def place(self, *path: str | int, of_key: bool = False) -> Place:
        """The place of a field, in any of the files; if there is no such field, the place of the name."""
        if not path or path[0] not in self.sources:
            return self.place_name()
        return self.source(path).place(path, of_key)

    def place_name(self) -> Place:
        """The place of the task's or group's name, where missing fields are reported."""
        for name in ("task", "group"):
            if name in self.main.data:
                return self.main.place((name,), of_key=True)
        return Place(self.main.file)


class YamlReader:
    """Reads definitions; files that many tasks include are parsed once."""

    def __init__(self) -> None:
        self._documents: dict[Path, tuple[Document | None, Findings]] = {}

    def read(self, file: Path, findings: Findings) -> Definition | None:
        """The definition in a file, or None if it cannot be read at all."""
        return self._merge(file, findings, set())

    def _merge(self, file: Path, findings: Findings, seen: set[Path]) -> Definition | None:
        seen.add(follow_links(file))
        document = self._read_document(file, findings)
        if document is None:
            return None
        config: dict[str, Any] = {}
        sources: dict[str, Document] = {}
        files, is_whole = [document], True
        for index, name in enumerate(list_includes(document, findings)):
            is_list = isinstance(document.data["include"], list)
            place = document.place(("include", index) if is_list else ("include",))
            included = self._include(file.parent / name, place, findings, seen)
            is_whole = is_whole and included is not None and included.is_whole
            if included is not None:
                inherited = {key: value for key, value in included.config.items() if key != "task_list"}
                config.update(inherited)
                sources.update({key: included.sources[key] for key in inherited})
                files += included.files
        own = {key: value for key, value in document.data.items() if key != "include"}
        sources.update(dict.fromkeys(own, document))
        return Definition(document, {**config, **own}, sources, tuple(files), is_whole)

    def _include(self, file: Path, place: Place, findings: Findings, seen: set[Path]) -> Definition | None:
        file = shorten(file)
        if not file.is_file():
            beside = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
            hint = did_you_mean(file.name, beside)
            findings.add("missing-include", f"There is no file {file.name} to include. {hint}", place)
            return None
        if follow_links(file) in seen:
            text = f"{file.name} is included twice; lm-eval treats that as a cycle."
            findings.add("include-cycle", text, place)
            return None
        return self._merge(file, findings, seen)

    def _read_document(self, file: Path, findings: Findings) -> Document | None:
        key = follow_links(file)
        if key not in self._documents:
            own = Findings()
            self._documents[key] = (read_document(file, own), own)
        document, own = self._documents[key]
        for finding in own.sorted():
            findings.add(finding.rule, finding.message, finding.place, finding.level)
        return document


def shorten(file: Path) -> Path:
    """``a/../b`` as ``b``, so that a file has only one name, unless a link makes the two differ."""
    short = Path(os.path.normpath(file))
    return short if follow_links(short) == follow_links(file) else file


def read_document(file: Path, findings: Findings) -> Document | None:
    """Parse one file; reports invalid YAML, anything but a mapping, and duplicate keys."""
    try:
        content = read_file(file, LARGEST_YAML)
    except ValueError:
        most = f"{LARGEST_YAML:,} bytes"
        findings.add("syntax-error", f"The file has more than {most}: it is not a task.", Place(file))
        return None
    except OSError as error:
        findings.add("syntax-error", f"The file cannot be read: {error.strerror}.", Place(file))
        return None
    try:
        check_yaml(content)
        loader = make_loader(file)(content)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            findings.add("syntax-error", "This is not a task: a mapping of fields was expected.", Place(file))
            return None
        report_duplicates(file, root, findings)
        data = loader.construct_document(root)
    except yaml.YAMLError as error:
        findings.add("syntax-error", f"Not valid YAML: {describe_fault(error)}.", place_fault(file, error))
        return None
    except (ValueError, RecursionError, OverflowError) as error:  # impossible dates and numbers
        findings.add("syntax-error", f"Not valid YAML: {error}.", Place(file))
        return None
    text = content.decode("utf-8", "replace").splitlines()
    return Document(file, tuple(text), root, {str(key): value for key, value in data.items()})


def make_loader(file: Path) -> type[Any]:
    loader: type[Any] = type("PlacedLoader", (Base,), {})
    loader.add_constructor("!function", lambda self, node: Function(self.construct_scalar(node), file))
    return loader


def describe_fault(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    return f"{problem} ({context})" if context else str(problem)


def place_fault(file: Path, error: yaml.YAMLError) -> Place:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return place_mark(file, mark) if mark else Place(file)


def place_mark(file: Path, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def report_duplicates(file: Path, root: Any, findings: Findings) -> None:
    for mapping in walk_mappings(root):
        seen: dict[str, Any] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                first = seen[key.value]
                text = f"'{key.value}' appears twice (first in line {first.line + 1})."
                findings.add("duplicate-key", text, place_mark(file, key.start_mark))
            seen.setdefault(key.value, key.start_mark)


def walk_mappings(root: Any) -> Iterator[Any]:
    """Every mapping node once, even with aliases and cycles."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            waiting += [child for pair in node.value for child in pair]
        else:
            waiting += node.value


def step_into(node: Any, step: str | int) -> tuple[Any, Any] | None:
    """The child of a node and the child's key, or None."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return (node.value[step], None) if step < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        pairs = [(value, key) for key, value in node.value if key.value == str(step)]
        return pairs[-1] if pairs else None  # YAML keeps the last one
    return None


def list_includes(document: Document, findings: Findings) -> list[str]:
    include = document.data.get("include")
    names = include if isinstance(include, list) else [include] if include is not None else []
    wrong = [name for name in names if not isinstance(name, str) or "\0" in name]
    if wrong:
        text = "'include' must be a file name or a list of file names."
        findings.add("wrong-type", text, document.place(("include",)))
    return [name for name in names if name not in wrong]
