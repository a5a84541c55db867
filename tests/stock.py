"""lm-eval itself, for tests that compare with it."""

import json
from importlib.metadata import version
from pathlib import Path

from packaging.version import Version

from gptalt_eval.data.locate import read_located


def run_stock(plan, lm, tmp_path, limit, **settings):
    """lm-eval's own ``simple_evaluate`` on its own task definitions, fed the same rows as JSON files."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    tasks, manager = [], TaskManager(include_defaults=False)  # the default reads 14,000 files
    for task in plan.cells[0].tasks:
        config = load_yaml(task.file, resolve_func=True)
        files = {}
        for split in task.data.splits:
            files[split] = str(tmp_path / f"{task.name}-{split}.jsonl")
            Path(files[split]).write_text(
                "".join(json.dumps(row) + "\n" for row in read_located(task.data, split))
            )
        for key in ("training_split", "validation_split", "test_split"):
            if config.get(key) and config[key] not in files:
                config[key] = None  # a split that is not on this disk
        config |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        tasks.append(config)
    return simple_evaluate(model=lm, tasks=tasks, task_manager=manager, limit=limit, **settings)


def make_rolling(text):
    """A request for the log-likelihood of a whole text; since 0.5, its arguments are a pair."""
    from lm_eval.api.instance import Instance

    pair = Version(version("lm_eval")) >= Version("0.5.0.dev0")
    return Instance("loglikelihood_rolling", {}, ("", text) if pair else (text,), 0, doc_id=0)
