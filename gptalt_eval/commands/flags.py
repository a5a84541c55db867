"""The flags of a run: those of ``lm-eval run``, with the same names and meanings, and some of our own."""

from __future__ import annotations

import argparse
from typing import Any

from gptalt_eval.commands.options import WORKERS
from gptalt_eval.contract.settings import REQUEST_CACHES, SCORERS, parse_settings, split_names
from gptalt_eval.contract.spec import OF_PLUGINS
from gptalt_eval.contract.types import Installed, Option

PLUGIN = "plugin_"  # before the name of a plugin's flag among the parsed ones


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


class Metadata(argparse.Action):
    """A flag of a plugin: its value is an entry of the metadata that the plugin's tasks read."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        value = True if self.nargs == 0 else values
        merged = {**getattr(namespace, OF_PLUGINS, {}), self.dest.removeprefix(PLUGIN): value}
        setattr(namespace, OF_PLUGINS, merged)


def add_plugin_flags(parser: argparse.ArgumentParser, plugins: Installed) -> None:
    """The flags of plugins. One that cannot be added is left out, and its plugin is named with the reason."""
    known: dict[str, str] = dict.fromkeys(parser._option_string_actions, "gptalt-eval itself")
    groups: dict[str, Any] = {}
    for owner, option in plugins.contribute("register_run_options"):
        taken = next((name for name in option.names if name in known), None)
        if taken is not None:
            text = f"the flag '{taken}' of a run is also that of {known[taken]}."
            plugins.blame(owner, text, "Rename it, or uninstall one of the two.")
            continue
        title = f"tasks of {owner}"
        groups[title] = groups.get(title) or parser.add_argument_group(title)
        try:
            add_plugin_flag(groups[title], option)
        except (TypeError, ValueError, argparse.ArgumentError) as error:
            named = "/".join(option.names)
            text = f"its flag '{named}' of a run cannot be added: {error}."
            plugins.blame(
                owner, text, "Give the arguments of argparse.add_argument, without dest and default."
            )
            continue
        known |= dict.fromkeys(option.names, str(owner))


def add_plugin_flag(group: Any, option: Option) -> None:
    """One flag; its value becomes metadata.

    Raises:
        TypeError, ValueError: its names or settings are not those of such a flag.
    """
    settings = dict(option.settings)
    if not option.names or not all(name.startswith("--") for name in option.names):
        raise ValueError("its names must begin with --")
    action = settings.pop("action", None)
    if action not in (None, "store_true"):
        raise ValueError(f"its action is {action!r}, and only 'store_true' is possible")
    if action:
        settings["nargs"] = 0
    dest = f"{PLUGIN}{option.names[0].lstrip('-')}"
    group.add_argument(*option.names, action=Metadata, dest=dest, default=argparse.SUPPRESS, **settings)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """All flags of a run. ``make_spec`` reads their values, as it does those of YAML files."""
    add_request_flags(parser)
    add_data_flags(parser)
    add_model_flags(parser)
    group = parser.add_argument_group("workers")
    for option in WORKERS:
        group.add_argument(*option.names, **option.settings)
    add_service_flags(parser)
    for action in parser._actions:
        action.default = argparse.SUPPRESS  # the namespace contains only what the user typed


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, which tasks, how many items."""
    what = parser.add_argument_group("what to run")
    add = what.add_argument
    add(
        "--model",
        "-M",
        metavar="NAME",
        help="a name from 'gptalt-eval ls models', a hub id, a folder, or lm-eval's 'hf'",
    )
    add(
        "--model_args",
        "-a",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="model arguments, such as pretrained=...,dtype=...",
    )
    add(
        "--tasks",
        "-t",
        nargs="+",
        action=Names,
        metavar="NAME",
        help="tasks, groups, globs or YAML files, separated by commas or spaces",
    )
    add(
        "--num_fewshot",
        "-f",
        metavar="N[,N]",
        help="number of few-shot examples; each of several numbers is one evaluation",
    )
    add(
        "--prompt_style",
        nargs="+",
        action=Names,
        metavar="NAME",
        help="standard, system, or a plugin's style; each of several styles is one evaluation",
    )
    add("--limit", "-L", metavar="N", help="items per task, or a fraction below 1")
    add(
        "--samples",
        "-E",
        metavar="JSON",
        help='row numbers by task, such as {"task": [0, 5]}, or a JSON file; not with --limit',
    )
    add(
        "--config", "-C", metavar="FILE", help="a YAML file of these flags; the command line takes precedence"
    )
    add("--include_path", metavar="FOLDER", help="another folder of task YAMLs")
    add(
        "--gen_kwargs",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="generation settings, such as temperature=0.8,do_sample=true",
    )


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Where rows come from and results go."""
    data = parser.add_argument_group("data and output")
    add = data.add_argument
    add(
        "--data_dir",
        metavar="FOLDER|sample",
        help="folder of release files, or the embedded sample (default: $GPTALT_DATA, else the hub)",
    )
    add(
        "--allow-partial-data",
        "--allow_partial_data",
        action="store_true",
        help="use incomplete or altered release files anyway; the results are marked",
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
        help="save each item's prompt and answers (always on without --output_path, and for several arms)",
    )
    add("--predict_only", "-x", action="store_true", help="save the answers, compute no metrics")
    add(
        "--use_cache",
        "-c",
        metavar="PATH",
        help="store answers in a file, and reuse them for exactly this model",
    )
    add(
        "--cache_requests",
        nargs="?",
        const="true",
        choices=REQUEST_CACHES,
        help="store the built prompts, and reuse them",
    )
    add("--write_out", "-w", action="store_true", help="print the prompt of each task's first item")
    add("--show_config", action="store_true", help="print the whole result as JSON")
    add(
        "--check_integrity",
        action="store_true",
        help="not supported: no release of lm-eval includes the tests",
    )
    add("--verbosity", "-v", metavar="LEVEL", help="log level, such as INFO")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """How the model is loaded and prompted."""
    how = parser.add_argument_group("loading and prompting the model")
    add = how.add_argument
    add("--device", metavar="DEVICE", help="cuda, cuda:0, cpu, mps (default: a GPU if there is one)")
    add("--batch_size", "-b", metavar="N|auto", help="batch size where lm-eval computes (default 1)")
    add(
        "--scorer",
        choices=SCORERS,
        help="tree (default): each distinct token is computed once; stock: lm-eval's own scorer",
    )
    add("--max_batch_size", metavar="N", help="the largest size that 'auto' tries")
    add(
        "--apply_chat_template",
        nargs="?",
        const=True,
        metavar="TEMPLATE",
        help="wrap prompts in the model's chat template",
    )
    add("--system_instruction", metavar="TEXT", help="a system message")
    add(
        "--fewshot_as_multiturn",
        nargs="?",
        const=True,
        metavar="BOOL",
        help="few-shot examples as turns of the conversation (default with a chat template)",
    )
    add(
        "--seed",
        metavar="N,N,N,N",
        help="seeds for Python, numpy, torch, few-shot sampling (default 0,1234,1234,1234)",
    )
    add(
        "--plugins_lock",
        metavar="FILE",
        help="run only with the plugins and libraries in this file; 'gptalt-eval plugins lock' writes it",
    )
    add("--trust_remote_code", action="store_true", help="let a model from the hub run its own code")
    add(
        "--confirm_run_unsafe_code",
        action="store_true",
        help="run tasks that execute generated code",
    )
    add(
        "--trust_task_code",
        nargs="+",
        action=Names,
        metavar="FILE",
        help="task YAMLs that may run the Python and read the files that they name; data folders with links",
    )
    add(
        "--metadata",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="metadata that some tasks need",
    )


def add_service_flags(parser: argparse.ArgumentParser) -> None:
    """Services that receive the results, through lm-eval's own loggers."""
    logging = parser.add_argument_group("logging to services")
    for flag, text in (
        ("--wandb_args", "log to Weights & Biases: arguments of wandb.init, such as project=NAME"),
        ("--wandb_config_args", "more entries of that run's configuration"),
        ("--trackio_args", "log to Trackio: arguments of trackio.init, such as project=NAME"),
        (
            "--hf_hub_log_args",
            "push to the Hugging Face hub, such as push_results_to_hub=True,hub_results_org=NAME",
        ),
    ):
        logging.add_argument(flag, nargs="+", action=KeyValues, metavar="KEY=VALUE", help=text)
