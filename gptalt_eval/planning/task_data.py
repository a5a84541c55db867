"""The data of a task: where its rows are, and whether there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.located import SAMPLE, LocatedData
from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.data.locate import locate as locate_splits
from gptalt_eval.data.readers import REPLACE
from gptalt_eval.machine.hub import can_reach_hub, explain_unreachable, is_in_hub_cache
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.links import check_links
from gptalt_eval.planning.examples import ExamplePool, find_pool
from gptalt_eval.planning.index import Function
from gptalt_eval.planning.local_files import LOCAL_BUILDERS, count_rows

NOWHERE = "nowhere"
TEXTS = ("dataset_path", "training_split", "validation_split", "test_split", "fewshot_split", "output_type")


class DataFinder:
    """Locates the rows of tasks; each dataset is read only once.

    Args:
        catalog: where to look up datasets; its ``data_dir`` is NOWHERE if only names are needed.
        spec: the request.
    """

    def __init__(self, catalog: Catalog, spec: RunSpec) -> None:
        self.catalog = catalog
        self.spec = spec
        self.located: dict[tuple[str, str | None, tuple[str, ...]], LocatedData] = {}
        self.hub_reachable: bool | None = None

    def locate(self, config: Mapping[str, Any], eval_split: str, fewshot_split: str | None) -> LocatedData:
        hub, name = config.get("dataset_path"), config.get("dataset_name")
        if self.catalog.data_dir == NOWHERE:
            return LocatedData(str(hub), name, "code")
        if config.get("custom_dataset") or not isinstance(hub, str):
            return LocatedData(str(hub or ""), name, "code")
        if config.get("class") and self.catalog.find_dataset(hub, name) is None:
            return LocatedData(hub, name, "code")  # the class may read other data
        if hub in LOCAL_BUILDERS or Path(hub).exists():
            return LocatedData(hub, name, "files")
        owned = self.catalog.find_dataset(hub, name)
        if owned is not None and self.catalog.data_dir is not None:
            splits = tuple(dict.fromkeys(split for split in (eval_split, fewshot_split) if split))
            key = (hub, name, splits)
            if key not in self.located:
                if isinstance(self.catalog.data_dir, Path):
                    check_links(self.catalog.data_dir, owned.item, name, splits, self.spec.trust_task_code)
                self.located[key] = locate_splits(owned.item, name, splits, self.catalog.data_dir)
            return self.located[key]
        if self.catalog.data_dir == SAMPLE:
            raise DataError(
                f"There is no embedded sample of {hub}.",
                "Give --data_dir a folder, or omit it to use the hub.",
            )
        self._require_hub(hub, owned.item.title if owned else hub)
        return LocatedData(hub, name, "hub", owned.item if owned else None)

    def _require_hub(self, hub: str, title: str) -> None:
        if is_in_hub_cache(hub, "datasets"):
            return
        if self.hub_reachable is None:
            self.hub_reachable = can_reach_hub()
        if not self.hub_reachable:
            why, cure = explain_unreachable()
            raise DataError(
                f"{title}: its data ({hub}) is not on this computer, and {why}.",
                f"Give --data_dir FOLDER, {cure}, or try --data_dir sample.",
            )

    def require_rows(self, task: PlannedTask, shots: int | None) -> None:
        """Check that there are rows to score, and enough for the examples.

        Raises:
            DataError: there are not.
        """
        data, wanted = task.data, effective_shots(task.config, shots)
        if data.origin in ("folder", "sample") and data.dataset is not None:
            self._require_split(data, task.eval_split)
            if wanted and task.fewshot_split:
                self._require_split(data, task.fewshot_split)
        pool = find_pool(task.config)
        rows = pool.written if pool.split is None else self.count_rows(task, pool.split)
        if wanted and rows is not None and wanted > pool.count_usable(rows):
            raise DataError(*describe_shortage(task.name, wanted, pool, rows))

    def count_rows(self, task: PlannedTask, split: str) -> int | None:
        """How many rows a split has; None if that is unknown before the task is built."""
        located = task.data.splits.get(split)
        if located is None and task.data.origin == "files":
            return count_rows(task.config, split)
        return located.rows if located else None

    def check_rows(self, task: PlannedTask, shots: int | None) -> str:
        """Why the results of a task are not those of the complete benchmark, or an empty string.

        Raises:
            DataError: files that it needs are incomplete or altered, and the request does not allow that.
        """
        is_shown = effective_shots(task.config, shots) and task.fewshot_split
        names = dict.fromkeys((task.eval_split, task.fewshot_split or "") if is_shown else (task.eval_split,))
        verdicts = [task.data.splits[name].verdict for name in names if name in task.data.splits]
        for verdict in verdicts:
            if verdict and verdict.is_faulty and not self.spec.allow_partial_data:
                assert task.data.dataset is not None
                again = f"{verdict.likely} Download the file again ({task.data.dataset.home})".lstrip()
                raise DataError(verdict.reason, f"{again}, or use it as it is with --allow-partial-data.")
        return " ".join(verdict.reason for verdict in verdicts if verdict and verdict.reason)

    def _require_split(self, data: LocatedData, name: str) -> None:
        split = data.dataset.split(name) if data.dataset else None
        if name in data.splits and data.splits[name].rows:
            return
        assert data.dataset is not None
        where = "the embedded sample" if data.is_sample else str(self.catalog.data_dir)
        looked = " or ".join(split.files).replace("{config}", data.config or "") if split else "no such split"
        if name in data.splits:
            raise DataError(f"{data.dataset.title}: '{name}' in {where} is empty ({looked}).", REPLACE)
        raise DataError(
            f"{data.dataset.title}: no '{name}' in {where} (looked for {looked}).",
            f"It is published at {data.dataset.home}; or try --data_dir sample.",
        )


def describe_shortage(name: str, wanted: int, pool: ExamplePool, rows: int) -> tuple[str, str]:
    """What is wrong if a prompt needs more examples than there are, and what to type."""
    usable = pool.count_usable(rows)
    source = f"'{pool.split}' has" if pool.split else "its YAML writes out"
    spare = f", of which lm-eval can show {usable}" if usable < rows else ""
    text = f"{name}: {wanted} examples requested, but {source} only {rows}{spare}."
    return text, f"Use --num_fewshot {usable} or less."


def effective_shots(config: Mapping[str, Any], shots: int | None) -> int:
    """The number of examples in a prompt; the request overrides a task's own 0 too, unlike in lm-eval."""
    return (config.get("num_fewshot") or 0) if shots is None else shots


def find_wrong_kinds(name: str, file: Path | None, config: Mapping[str, Any]) -> Iterator[GptaltError]:
    """Fields that planning reads and that are not what they must be; lm-eval would fail on them later.

    Args:
        name: the task.
        file: its YAML; None: it is part of a group's.
        config: its fields.
    """
    fewshot = config.get("fewshot_config")
    texts = {key: config.get(key) for key in TEXTS}
    texts |= {"fewshot_config.split": fewshot.get("split")} if isinstance(fewshot, Mapping) else {}
    kinds = {"num_fewshot": (int, "a whole number"), "dataset_kwargs": (Mapping, "a mapping")}
    checked: list[tuple[str, Any, type, str]] = [(key, value, str, "text") for key, value in texts.items()]
    checked += [(key, config.get(key), kind, said) for key, (kind, said) in kinds.items()]
    for key, value, kind, said in checked:
        if value is not None and not isinstance(value, (kind, Function)):
            where = f"{name} ({file})" if file else name
            yield GptaltError(f"{where}: {key} must be {said}, not {value!r:.60}.", "Correct it.")
