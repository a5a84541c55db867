"""The data of a task: where its rows are, and whether there are enough of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import DataError
from gptalt_eval.contract.located import SAMPLE, LocatedData
from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.contract.spec import RunSpec
from gptalt_eval.data.locate import locate as locate_splits
from gptalt_eval.data.readers import REPLACE
from gptalt_eval.machine.hub import can_reach_hub, is_in_hub_cache
from gptalt_eval.planning.catalog import Catalog

LOCAL_BUILDERS = ("json", "csv", "parquet", "arrow", "text", "pandas", "xml", "webdataset", "imagefolder")
NOWHERE = "nowhere"


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
        if config.get("custom_dataset") or config.get("class") or not isinstance(hub, str):
            return LocatedData(str(hub or ""), name, "code")
        if hub in LOCAL_BUILDERS or Path(hub).exists():
            return LocatedData(hub, name, "files")
        owned = self.catalog.find_dataset(hub, name)
        if owned is not None and self.catalog.data_dir is not None:
            splits = tuple(dict.fromkeys(split for split in (eval_split, fewshot_split) if split))
            key = (hub, name, splits)
            if key not in self.located:
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
            raise DataError(
                f"{title}: its data ({hub}) is not on this computer, and the hub cannot be reached.",
                "Give --data_dir FOLDER, set HF_ENDPOINT to a mirror, or try --data_dir sample.",
            )

    def require_rows(self, task: PlannedTask, shots: int | None) -> None:
        data = task.data
        if data.origin not in ("folder", "sample") or data.dataset is None:
            return
        self._require_split(data, task.eval_split)
        wanted = effective_shots(task.config, shots)
        if not wanted:
            return
        if task.fewshot_split:
            self._require_split(data, task.fewshot_split)
        rows = data.splits[task.fewshot_split].rows if task.fewshot_split else 0
        # a row is never its own example
        available = rows - (task.fewshot_split == task.eval_split)
        if wanted > available:
            text = (
                f"{task.name}: {wanted} examples requested, but '{task.fewshot_split}' has only {available}."
            )
            raise DataError(text, f"Use --num_fewshot {available} or less.")

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


def choose_fewshot_split(config: Mapping[str, Any]) -> str | None:
    """The split from which lm-eval draws few-shot examples."""
    fewshot = config.get("fewshot_config")
    chosen = fewshot.get("split") if isinstance(fewshot, dict) else None
    keys = ("fewshot_split", "training_split", "validation_split", "test_split")
    return chosen or next((str(config[key]) for key in keys if config.get(key)), None)


def effective_shots(config: Mapping[str, Any], shots: int | None) -> int:
    """The number of examples in a prompt; the request overrides a task's own 0 too, unlike in lm-eval."""
    return (config.get("num_fewshot") or 0) if shots is None else shots
