"""What a task or group YAML does besides asking questions: the Python that it runs, the files that it reads.

It is read from the files that lm-eval will read, each by itself: what an included file sets counts even if
another one overrides it, because lm-eval imports a ``!function`` as soon as it reads it. Nothing is run here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.storage import follow_links, hash_file, hash_text
from gptalt_eval.planning.consent.asks import RUNS, SENDS
from gptalt_eval.planning.consent.code import find_module, list_code, list_sources
from gptalt_eval.planning.consent.reads import find_reads, list_bases, walk_mappings
from gptalt_eval.planning.index import Function, as_list, load_task_yaml, read_document

#: lm-eval's own metrics; it looks for others in the ``evaluate`` library, which runs scripts
METRICS = frozenset(
    ("acc", "acc_all", "acc_bytes", "acc_mutual_info", "acc_norm", "bits_per_byte", "bleu", "brier_score",
     "bypass", "byte_perplexity", "chrf", "chrf++", "exact_match", "f1", "likelihood", "mcc", "perplexity",
     "ter", "word_perplexity")
)  # fmt: skip
#: the parts of a recipe of unitxt that ``dataset_kwargs`` can set
RECIPES = ("recipe", "card", "template", "metrics", "postprocessors", "augmentor", "serializer")
PICKLED = ("pandas",)  # datasets before 5.0 unpickles its files


@dataclass(frozen=True)
class Deed:
    """One thing that a YAML does.

    Attributes:
        text: ``runs Python: helpers.process``.
        file, line: where the YAML says so.
        code: the files with the code.
        where: the code's own file, or what else it comes from.
    """

    text: str
    file: Path
    line: int = 1
    code: tuple[Path, ...] = ()
    where: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.where})" if self.where else self.text


@dataclass(frozen=True)
class Deeds:
    """All that a task's or group's YAML and its includes do.

    Attributes:
        file: the YAML.
        found: what it does.
        yamls: itself and the files that it includes.
    """

    file: Path
    found: tuple[Deed, ...] = ()
    yamls: tuple[Path, ...] = ()

    @property
    def texts(self) -> list[str]:
        return list(dict.fromkeys(map(str, self.found)))

    def hash_files(self) -> dict[str, str]:
        """Path -> SHA-256 of the YAML, its includes and the code."""
        code = [file for deed in self.found for file in deed.code]
        return {str(file): hash_file(file) for file in dict.fromkeys((*self.yamls, *code)) if file.is_file()}

    def digest(self) -> str:
        """SHA-256 of all that a consent is for: what was listed, and the content of these files."""
        return hash_text(json.dumps([self.texts, self.hash_files()], sort_keys=True))


@dataclass(frozen=True)
class Free:
    """What needs no consent.

    Attributes:
        installed: the folders of lm-eval's and the installed plugins' YAMLs.
        rows: the folders whose files may be read, besides the YAML's own.
    """

    installed: tuple[Path, ...] = ()
    rows: tuple[Path, ...] = ()

    def has_yaml(self, file: Path) -> bool:
        return any(follow_links(file).is_relative_to(follow_links(folder)) for folder in self.installed)


def read_deeds(file: Path, free: Free) -> Deeds:
    """What a YAML and its includes do.

    Raises:
        GptaltError: one of the files cannot be read.
    """
    file = follow_links(file)
    merged = load_task_yaml(file)
    documents = dict(read_documents(file, free))
    mappings = [mapping for config, _ in documents.values() for mapping in walk_mappings(config)]
    bases = list_bases([*mappings, *walk_mappings(merged)])
    rows = [follow_links(folder) for folder in (file.parent, *free.rows)]
    is_scored = merged.get("process_results") is not None and not any(
        "process_results" in mapping and mapping["process_results"] is None for mapping in mappings
    )
    found: dict[Deed, None] = {}
    for path, (config, functions) in documents.items():
        for function, line in functions:
            if not free.has_yaml(function.file):
                found[describe_function(function, line)] = None
        for mapping in walk_mappings(config):
            metrics = () if is_scored else find_metrics(mapping)
            for text, code in (*find_settings(mapping), *metrics):
                found[Deed(text, path, code=tuple(code))] = None
            for text in find_reads(mapping, bases, rows):
                found[Deed(text, path)] = None
    return Deeds(file, tuple(found), tuple(documents))


Document = tuple[dict[str, Any], list[tuple[Function, int]]]


def read_documents(file: Path, free: Free) -> Iterator[tuple[Path, Document]]:
    """A YAML and those that it includes, without installed ones: each file's fields and its functions."""
    if free.has_yaml(file):
        return
    config, functions = read_document(file)
    yield file, (config, functions)
    for include in as_list(config.get("include")):
        yield from read_documents(follow_links(file.parent / include), free)


def describe_function(function: Function, line: int) -> Deed:
    module = find_module(function)
    where = str(module) if module.is_file() else "a module that is not there"
    return Deed(f"runs Python: {function.name}", function.file, line, tuple(list_sources(module)), where)


Found = tuple[str, Sequence[Path]]


def find_metrics(mapping: Mapping[Any, Any]) -> Iterator[Found]:
    """Metrics for which lm-eval asks the ``evaluate`` library, which runs a script of a folder or the hub."""
    entries = mapping.get("metric_list")
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("metric") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and (entry.get("hf_evaluate") is True or name not in METRICS):
            path = Path(name)
            script = path if path.suffix == ".py" else path / f"{path.name}.py"
            code = list_sources(script)
            yield f"runs Python: the metric {name} ({script if code else 'of the evaluate library'})", code
    if "process_results" in mapping and mapping["process_results"] is None:
        yield (
            "runs Python: its members' metrics, looked for in the evaluate library (process_results: null)",
            (),
        )


def find_settings(mapping: Mapping[Any, Any]) -> Iterator[Found]:
    """Settings that make lm-eval, transformers or ``datasets`` run code."""
    generate = mapping.get("custom_generate")
    if generate:
        folder = Path(str(generate)).expanduser()
        code = list_code(folder) if folder.is_dir() else []
        yield f"runs Python: custom_generate {generate}", code
    for key, value in walk_settings(mapping.get("generation_kwargs")):
        if SENDS.search(key) and value:
            yield f"sends prompts to {value} (generation_kwargs {key})", ()
        elif RUNS.search(key) and value and key not in ("custom_generate", "trust_remote_code"):
            yield f"runs Python: {value} (generation_kwargs {key})", ()
    if mapping.get("trust_remote_code"):
        yield "runs Python: code that comes with a model or dataset (trust_remote_code)", ()
    path = mapping.get("dataset_path")
    if isinstance(path, str) and path in PICKLED:
        yield f"runs Python: what is in pickled rows (dataset_path: {path})", ()
    elif isinstance(path, str) and "\0" not in path:
        place = Path(path).expanduser()
        script = place if place.suffix == ".py" else place / f"{place.name}.py"
        if script.is_file():
            yield f"runs Python: {follow_links(script)}", list_sources(script)
    for field in ("metadata", "dataset_kwargs"):  # lm-eval gives both to the functions that make rows
        settings: Any = mapping.get(field)
        named = (
            [settings.get(key) for key in ("tokenizer", "pretrained")] if isinstance(settings, dict) else []
        )
        for name in filter(None, named):
            yield f"runs Python: code that comes with the tokenizer {name} ({field})", ()
    yield from find_recipes(mapping)
    if mapping.get("unsafe_code") is False:
        yield "runs what a model writes, without asking (unsafe_code: false)", ()
    prompt = mapping.get("use_prompt")
    if isinstance(prompt, str) and prompt.partition(":")[0] != "qa-basic":
        yield f"reads {prompt.rpartition(':')[0] or prompt} (use_prompt)", ()


def find_recipes(mapping: Mapping[Any, Any]) -> Iterator[Found]:
    """What lm-eval's class for unitxt, which any YAML can include, makes and evaluates as Python."""
    kwargs = mapping.get("dataset_kwargs")
    given = [("recipe", mapping.get("recipe"))]
    given += [(key, kwargs.get(key)) for key in RECIPES] if isinstance(kwargs, Mapping) else []
    for key, value in given:
        if value:
            yield f"runs Python: what unitxt makes of {key} {value!r:.80}", ()


def walk_settings(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    return ((str(key), each) for mapping in walk_mappings(value) for key, each in mapping.items())


def describe_deeds(name: str, deeds: Deeds) -> str:
    """The lines that a user is shown."""
    return "\n  ".join([f"{name} ({deeds.file}) does more than ask questions:", *deeds.texts])


def find_deeds(file: Path, free: Free) -> Deeds:
    """As :func:`read_deeds`; of files that cannot be read, nothing."""
    try:
        return read_deeds(file, free)
    except (GptaltError, RecursionError, ValueError, OSError):
        return Deeds(file)
