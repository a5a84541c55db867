"""The arguments of the core's subcommands; those of a run are in ``flags``."""

from __future__ import annotations

import argparse
from pathlib import Path

from gptalt_eval.contract.types import Option

KINDS = ("tasks", "groups", "models", "plugins", "datasets", "styles")
WORD = Option(
    ("word",), {"nargs": "?", "default": "", "metavar": "WORD", "help": "show only entries that contain this"}
)
JSON = Option(("--json",), {"action": "store_true", "help": "print JSON"})
VALIDATE = (
    Option(
        ("targets",), {"nargs": "+", "metavar": "PATH_OR_NAME", "help": "YAML files, folders, task names"}
    ),
    JSON,
    Option(("--sarif",), {"action": "store_true", "help": "print SARIF 2.1.0, for editors and code hosts"}),
    Option(("--data_dir",), {"metavar": "FOLDER|sample", "help": "rows to try the templates on"}),
)
NEW = (
    Option(("kind",), {"choices": ("plugin", "task", "model", "slurm", "kuberay"), "metavar": "KIND",
                       "help": "plugin, task, model; slurm or kuberay: a job for many computers"}),
    Option(("name",), {"metavar": "NAME", "help": "what to call it"}),
    Option(("--into",), {"metavar": "FOLDER", "type": Path, "help": "where to write it"}),
)  # fmt: skip
DATA_DIR = Option(
    ("--data_dir",), {"metavar": "FOLDER", "help": "where release files are (default: $GPTALT_DATA)"}
)
CHECK = (Option(("names",), {"nargs": "*", "metavar": "NAME", "help": "datasets; none: all"}), DATA_DIR, JSON)
PREPARE = (
    Option(("names",), {"nargs": "+", "metavar": "NAME", "help": "datasets"}),
    Option(
        ("--from",),
        {"dest": "source", "metavar": "PATH", "type": Path, "required": True, "help": "what you downloaded"},
    ),
    DATA_DIR,
    JSON,
)
INCLUDE = Option(
    ("--include_path",), {"metavar": "FOLDER", "default": "", "help": "with YAMLs of your own, as for a run"}
)
LS = (
    Option(("kind",), {"choices": KINDS, "nargs": "?", "default": "tasks", "metavar": "KIND",
                       "help": f"{', '.join(KINDS)} (default: tasks)"}),
    WORD,
    JSON,
    Option(("--all",), {"action": "store_true", "help": "include lm-eval's own 14,000 names"}),
    Option(
        ("--data_dir",), {"metavar": "FOLDER", "help": "for datasets: show which splits are in this folder"}
    ),
    Option(("--language",), {"metavar": "CODE", "default": "", "help": "for models: such as zh or en"}),
    Option(("--size",), {"metavar": "SIZE", "default": "", "help": "for models: 7B, or in quotes '<10B'"}),
    Option(("--commercial",), {"action": "store_true", "help": "for models: commercial use is allowed"}),
    INCLUDE,
)  # fmt: skip
NAME = Option(("name",), {"metavar": "NAME", "help": "the plugin's name"})
MODEL = Option(("name",), {"metavar": "NAME", "help": "a model of 'gptalt-eval ls models'"})
DATASET = Option(("name",), {"metavar": "NAME", "help": "a dataset of 'gptalt-eval ls datasets'"})
LOCK = Option(
    ("file",),
    {"metavar": "FILE", "nargs": "?", "type": Path, "default": Path("gptalt-eval.lock"),
     "help": "where to write it (default: gptalt-eval.lock)"},
)  # fmt: skip
SHOW_TASK = (
    Option(("name",), {"metavar": "NAME", "help": "a task or group, or a YAML file"}),
    Option(
        ("--data_dir",), {"metavar": "FOLDER|sample", "help": "where the row of the shown prompt comes from"}
    ),
    Option(
        ("--num_fewshot",),
        {"type": int, "metavar": "N", "help": "number of few-shot examples in the shown prompt"},
    ),
    Option(
        ("--trust_task_code",),
        {"metavar": "FILE", "default": "", "help": "task YAMLs that may run the Python that they name"},
    ),
)
RUNS = Option(
    ("runs",), {"nargs": "+", "metavar": "RUN", "type": Path, "help": "folders with one or more runs"}
)
REPORT = (
    RUNS,
    Option(
        ("--format",),
        {
            "choices": ("html", "csv", "markdown", "latex"),
            "default": "html",
            "help": "a page, or a table of the scores, printed (default: html)",
        },
    ),
    Option(
        ("--output", "-o"),
        {"type": Path, "metavar": "FILE", "help": "default: report.html in the folder; a table is printed"},
    ),
)
SITE = (
    RUNS,
    Option(
        ("--into",),
        {"metavar": "FOLDER", "type": Path, "required": True, "help": "where the pages go; new, or a site"},
    ),
)
TRUST = Option(
    ("--trust",),
    {
        "action": "store_true",
        "help": "allow what the file's settings ask for: code, hosts, other folders",
    },
)
RUN = (
    Option(
        ("experiment",),
        {"metavar": "EXPERIMENT.yaml", "nargs": "?", "help": "a YAML file of these flags, like --config"},
    ),
    TRUST,
)
#: who computes; a resumed run can have others, since they change no answer
WORKERS = (
    Option(
        ("--workers",),
        {
            "metavar": "N",
            "help": "processes on this computer, one for each GPU (default if there are several GPUs)",
            "default": argparse.SUPPRESS,
        },
    ),
    Option(
        ("--cluster",),
        {
            "metavar": "auto|HOST:PORT",
            "help": "workers on a Ray cluster: many computers",
            "default": argparse.SUPPRESS,
        },
    ),
    Option(
        ("--gpus_per_worker",),
        {
            "metavar": "N",
            "help": "GPUs over which each worker spreads a model (default 1)",
            "default": argparse.SUPPRESS,
        },
    ),
)
RESUME = (
    Option(("run",), {"metavar": "RUN", "type": Path, "help": "the folder of a run or experiment"}),
    TRUST,
    *WORKERS,
)
COMPARE = (
    RUNS,
    Option(
        ("--by",),
        {"choices": ("model", "prompt_style", "num_fewshot"), "help": "what differs (default: each of them)"},
    ),
    Option(
        ("--metric",),
        {"metavar": "NAME", "help": "what is compared (default: each task's first one)"},
    ),
    Option(("--members",), {"action": "store_true", "help": "also compare the members of groups one by one"}),
    JSON,
)
RECOMMEND = (
    Option(("--language",), {"metavar": "CODE", "default": "", "help": "such as zh or en"}),
    Option(
        ("--task",), {"metavar": "NAME", "default": "", "help": "rank by your runs of this; several: A,B"}
    ),
    Option(("--memory",), {"metavar": "SIZE", "default": "", "help": "of the device, such as 16GB"}),
    Option(
        ("--license",), {"choices": ("commercial", "any"), "default": "any", "help": "what it must allow"}
    ),
    Option(
        ("--runs",),
        {"nargs": "+", "metavar": "RUN", "type": Path, "default": [], "help": "default: all below runs/"},
    ),
    INCLUDE,
    JSON,
)
INSTALL = (
    Option(("names",), {"nargs": "*", "metavar": "NAME", "help": "a plugin's name, a ./FOLDER or a wheel"}),
    Option(
        ("-r", "--requirement"),
        {"dest": "requirements", "action": "append", "default": [], "type": Path, "metavar": "FILE",
         "help": "a requirements file for pip"},
    ),
    Option(("--unknown",), {"action": "store_true", "help": "also what is not a plugin of this project"}),
)  # fmt: skip
UNINSTALL = (Option(("names",), {"nargs": "+", "metavar": "NAME", "help": "plugins"}),)
RERUN = (Option(("run",), {"metavar": "RUN", "type": Path, "help": "a run's folder"}), TRUST)
