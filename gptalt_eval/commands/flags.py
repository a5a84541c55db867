"""The flags of a run: those of ``lm-eval run``, with the same names and meanings, and ``--data_dir``."""

from __future__ import annotations

import argparse
from typing import Any

from gptalt_eval.contract.settings import REQUEST_CACHES, SCORERS, parse_settings, split_names


class Names(argparse.Action):
    """Names separated by commas, spaces or both."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        earlier = getattr(namespace, self.dest, None) or []
        setattr(namespace, self.dest, [*earlier, *split_names(values)])


class KeyValues(argparse.Action):
    """``key=value`` pairs separated by commas or spaces, or one JSON object."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        merged = dict(getattr(namespace, self.dest, None) or {})
        for value in values:
            try:
                merged.update(parse_settings(value))
            except ValueError as error:
                parser.error(f"{option_string} {value}: {error}")
        setattr(namespace, self.dest, merged)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of a run. Values are read by ``make_spec``, as those of YAML files are."""
    add_request_flags(parser)
    add_data_flags(parser)
    add_model_flags(parser)
    add_service_flags(parser)
    for action in parser._actions:
        action.default = argparse.SUPPRESS  # only what the user typed lands in the namespace


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, which tasks, how many items."""
    what = parser.add_argument_group("what to run")
    add = what.add_argument
    add(
        "--model",
        "-M",
        metavar="NAME",
        help="a model of 'gptalt-eval ls models', a hub id or folder, or lm-eval's 'hf'",
    )
    add(
        "--model_args",
        "-a",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="arguments of the model, as pretrained=...,dtype=...",
    )
    add(
        "--tasks",
        "-t",
        nargs="+",
        action=Names,
        metavar="NAME",
        help="tasks, groups, globs or YAML files, by comma or space",
    )
    add(
        "--num_fewshot",
        "-f",
        metavar="N[,N]",
        help="examples in the prompt; several counts make one evaluation each",
    )
    add(
        "--prompt_style",
        nargs="+",
        action=Names,
        metavar="NAME",
        help="how prompts are written: standard, system, or a plugin's; several make one evaluation each",
    )
    add("--limit", "-L", metavar="N", help="items per task, or a fraction below 1")
    add(
        "--samples",
        "-E",
        metavar="JSON",
        help='the very rows, as {"task": [0, 5]} or a file; not with --limit',
    )
    add("--config", "-C", metavar="FILE", help="a YAML file of these flags; what is typed here wins")
    add("--include_path", metavar="FOLDER", help="a further folder of task YAMLs")
    add(
        "--gen_kwargs",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="arguments of generation, as temperature=0.8,do_sample=true",
    )


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Where rows come from and results go."""
    data = parser.add_argument_group("data and output")
    add = data.add_argument
    add(
        "--data_dir",
        metavar="FOLDER|sample",
        help="release files on this disk, or the embedded sample (default: $GPTALT_DATA, else the hub)",
    )
    add(
        "--allow-partial-data",
        "--allow_partial_data",
        action="store_true",
        help="go on with release files that are short or altered; the results are marked",
    )
    add(
        "--output_path",
        "-o",
        metavar="PATH",
        help="folder (or .json file) for results; default: a new folder below runs/",
    )
    add(
        "--log_samples",
        "-s",
        action="store_true",
        help="save each item's prompt and answers (always on without --output_path, "
        "and where arms are compared)",
    )
    add("--predict_only", "-x", action="store_true", help="save the answers, compute no metrics")
    add(
        "--use_cache",
        "-c",
        metavar="PATH",
        help="keep answers in a file for this very model, and reuse them",
    )
    add(
        "--cache_requests",
        nargs="?",
        const="true",
        choices=REQUEST_CACHES,
        help="keep the built prompts and reuse them",
    )
    add("--write_out", "-w", action="store_true", help="print the prompt of each task's first item")
    add("--show_config", action="store_true", help="print the whole result as JSON")
    add(
        "--check_integrity",
        action="store_true",
        help="refused: lm-eval's tests of its tasks are in no release",
    )
    add("--verbosity", "-v", metavar="LEVEL", help="log level, as INFO")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """How the model is loaded and prompted."""
    how = parser.add_argument_group("the model at work")
    add = how.add_argument
    add("--device", metavar="DEVICE", help="cuda, cuda:0, cpu, mps (default: a GPU where there is one)")
    add("--batch_size", "-b", metavar="N|auto", help="items at once where lm-eval computes (default 1)")
    add(
        "--scorer",
        choices=SCORERS,
        help="tree (default): each distinct token is computed once; stock: lm-eval's own way",
    )
    add("--max_batch_size", metavar="N", help="the most that 'auto' tries")
    add(
        "--apply_chat_template",
        nargs="?",
        const=True,
        metavar="TEMPLATE",
        help="wrap prompts in the model's chat template",
    )
    add("--system_instruction", metavar="TEXT", help="a system instruction")
    add(
        "--fewshot_as_multiturn",
        nargs="?",
        const=True,
        metavar="BOOL",
        help="examples as turns of the conversation (default with a chat template)",
    )
    add(
        "--seed",
        metavar="N,N,N,N",
        help="Python, numpy, torch, few-shot (default 0,1234,1234,1234)",
    )
    add("--trust_remote_code", action="store_true", help="let a model from the hub run its own code")
    add("--confirm_run_unsafe_code", action="store_true", help="run tasks that execute what the model writes")
    add(
        "--metadata",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="further facts that some tasks ask for",
    )


def add_service_flags(parser: argparse.ArgumentParser) -> None:
    """Which services are told of the results, through lm-eval's own loggers."""
    logging = parser.add_argument_group("reporting to services")
    for flag, text in (
        ("--wandb_args", "log to Weights & Biases: arguments of wandb.init, as project=NAME"),
        ("--wandb_config_args", "further entries of that run's configuration"),
        ("--trackio_args", "log to Trackio: arguments of trackio.init, as project=NAME"),
        (
            "--hf_hub_log_args",
            "push to the Hugging Face hub, as push_results_to_hub=True,hub_results_org=NAME",
        ),
    ):
        logging.add_argument(flag, nargs="+", action=KeyValues, metavar="KEY=VALUE", help=text)
