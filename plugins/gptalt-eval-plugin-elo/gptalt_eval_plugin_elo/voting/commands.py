"""``gptalt-eval answers``, ``votes serve`` and ``votes export``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from gptalt_eval import GptaltError, Option
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_elo.answers import FILE, LANGUAGES, QUESTIONS

if TYPE_CHECKING:
    from gptalt_eval import Installed
    from gptalt_eval_plugin_elo.naming import Naming
    from gptalt_eval_plugin_elo.voting.store import Annotator, Store

FOLDER = "answers"
LONGEST_NAME = 100  # characters of an annotator's or a model's name
JOINERS = "\u200c\u200d"  # between letters of Persian and Indian scripts
MOST_JUDGES = 1_000
LISTED = 20  # answers in which a model names itself
DATABASE = "votes.sqlite"
ANSWERS = (
    Option(("--models", "--model", "-M"), {"required": True, "metavar": "NAME,...", "help": "the models"}),
    Option(("--questions",), {"type": Path, "default": QUESTIONS, "metavar": "FILE",
                              "help": "your own JSONL file; default: the plugin's 50 questions"}),
    Option(("--language",), {"default": ",".join(LANGUAGES), "metavar": "CODE,...",
                             "help": f"languages of the questions ({','.join(LANGUAGES)})"}),
    Option(("--limit", "-L"), {"type": int, "metavar": "N", "help": "maximum questions per category"}),
    Option(("--name",), {"metavar": "NAME", "help": "name for one model's answers (default: its own)"}),
    Option(("--output_path", "-o"), {"type": Path, "default": Path(FOLDER), "metavar": "FOLDER",
                                     "help": f"default: {FOLDER}"}),
    *(Option((f"--{name}",), {"metavar": shown, "help": text}) for name, shown, text in (
        ("model_args", "NAME=VALUE,...", "as for a run; for every model"),
        ("gen_kwargs", "NAME=VALUE,...", "as for a run (max_gen_toks=1024, no sampling)"),
        ("system_instruction", "TEXT", "system message"),
        ("device", "DEVICE", "as for a run"), ("batch_size", "N", "as for a run"),
        ("seed", "N", "as for a run"),
    )),
    Option(("--plain",), {"action": "store_true", "help": "plain questions, without a chat template"}),
    Option(("--trust_remote_code",), {"action": "store_true", "help": "as for a run"}),
)  # fmt: skip
PASSED_ON = (
    "model_args", "gen_kwargs", "system_instruction", "device", "batch_size", "seed", "trust_remote_code",
)  # fmt: skip
FILES = (
    Option(("--answers",), {"type": Path, "default": Path(FOLDER), "metavar": "ANSWERS",
                            "help": f"folder or {FILE}; default: {FOLDER}"}),
    Option(("--database",), {"type": Path, "metavar": "FILE", "help": f"default: {DATABASE} next to them"}),
)  # fmt: skip
EXPORT = (
    Option(("votes",), {"nargs": "?", "type": Path, "metavar": "VOTES",
                        "help": f"{DATABASE} or its folder; default: as --database"}),
    *FILES,
    Option(("--leave_out_named",), {"action": "store_true",
                                    "help": "leave out votes on answers in which a model names itself"}),
)  # fmt: skip
SERVE = (
    *FILES,
    Option(("--annotators",), {"metavar": "NAME,...", "help": "the people who vote; each gets a link"}),
    Option(("--judges",), {"type": int, "default": 1, "metavar": "N", "help": "judges per comparison (1)"}),
    Option(("--twice",), {"type": float, "default": 0.2, "metavar": "SHARE",
                          "help": "share of comparisons with one more judge, for agreement (0.2)"}),
    Option(("--leave_out_named",), {"action": "store_true",
                                    "help": "ask for no votes on answers in which a model names itself"}),
    Option(("--host",), {"default": "127.0.0.1", "help": "listen on (127.0.0.1: only this computer)"}),
    Option(("--port",), {"type": int, "default": 8765, "help": "listen on this port (8765)"}),
)  # fmt: skip


def run_answers(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval_plugin_elo.answers import ask, limit_questions, read_questions, write_answers
    from gptalt_eval_plugin_elo.naming import Names, find_named

    names = [name.strip() for name in arguments.models.split(",") if name.strip()]
    if arguments.name and len(names) > 1:
        raise GptaltError("--name can only be used with one model.", "Run one model at a time.")
    check_name("--name", arguments.name or "")
    languages = [code.strip() for code in arguments.language.split(",") if code.strip()]
    questions = read_questions(arguments.questions, languages)
    if arguments.limit is not None:
        if arguments.limit < 1:
            raise GptaltError(f"--limit {arguments.limit}: no questions would be asked.", "Give 1 or more.")
        questions = limit_questions(questions, arguments.limit)
    settings = {name: getattr(arguments, name) for name in PASSED_ON if getattr(arguments, name)}
    settings["apply_chat_template"] = not arguments.plain
    folder = arguments.output_path
    for model in names:
        name = arguments.name or model
        new = ask(model, questions, folder, name, settings, plugins)
        kept = write_answers(folder / FILE, new)
        print(f"{name}: {len(new):,} answers")
    models = sorted({each.model for each in kept})
    print(f"Answers: {folder / FILE} ({', '.join(models)})")
    print_named(find_named(kept, Names(list_names(plugins))))
    if len(models) > 1:
        print(f"To vote on them: gptalt-eval votes serve --answers {quote(str(folder))} --annotators YOU")
    return 0


def list_names(plugins: Installed) -> list[str]:
    """The names of all models that plugins know."""
    return [
        name for _, model in plugins.contribute("register_models") for name in (model.name, *model.aliases)
    ]


def print_named(named: Sequence[Naming]) -> None:
    if not named:
        return
    count = f"{len(named):,} answers" if len(named) > 1 else "One answer"
    print(f"{count} in which a model names itself, so that judging them is not blind:")
    for each in named[:LISTED]:
        print(f"  {each.model:.60}, {each.question:.60}: {each.sentence:.120}")
    if len(named) > LISTED:
        print(f"  and {len(named) - LISTED:,} more")
    print("To leave them out: gptalt-eval votes serve --leave_out_named")


def find_database(arguments: argparse.Namespace) -> Path:
    answers: Path = arguments.answers
    folder = answers if answers.is_dir() else answers.parent
    return Path(arguments.database or folder / DATABASE)


def run_export(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval_plugin_elo.naming import Names
    from gptalt_eval_plugin_elo.voting.export import write_lines

    given: Path | None = arguments.votes
    path = (given / DATABASE if given.is_dir() else given) if given else find_database(arguments)
    names = Names(list_names(plugins))
    try:
        for line in write_lines(path, names, arguments.leave_out_named):
            sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:  # `votes export | head`
        raise
    except OSError as error:
        raise GptaltError(f"The votes cannot be written: {error.strerror}.", "Free some space.") from error
    return 0


def run_serve(arguments: argparse.Namespace, plugins: Installed) -> int:
    import uvicorn

    from gptalt_eval_plugin_elo.answers import read_answers
    from gptalt_eval_plugin_elo.naming import Names, find_named
    from gptalt_eval_plugin_elo.voting.addresses import is_local, list_homes, listen
    from gptalt_eval_plugin_elo.voting.server import Application
    from gptalt_eval_plugin_elo.voting.store import Store

    if not 1 <= arguments.judges <= MOST_JUDGES or not 0 <= arguments.twice <= 1:
        raise GptaltError(
            f"--judges must be from 1 to {MOST_JUDGES:,}, and --twice from 0 to 1.",
            "Omit them for 1 and 0.2.",
        )
    people = read_people(arguments.annotators or "")
    answers = read_answers(arguments.answers)
    with closing(Store(find_database(arguments))) as store:
        count = store.add_answers(answers, arguments.judges, arguments.twice)
        names = Names(list_names(plugins))
        named = find_named(answers, names)
        left_out = store.leave_out((each[0], each[1]) for each in named) if arguments.leave_out_named else 0
        annotators = store.add_annotators(people)
        if not annotators:
            raise GptaltError("There are no annotators.", "Name everyone who votes: --annotators ANNA,BEN")
        listening = listen(arguments.host, arguments.port)
        print_links(store, annotators, count, list_homes(listening, arguments.host))
        if arguments.judges > len(annotators):
            print(f"More annotators are needed: each comparison is to have {arguments.judges} judges.")
        print_hints(is_local(listening), left_out, len(named))
        # no access log, because it would contain the links
        page = Application(store, names, named).build()
        settings = uvicorn.Config(page, log_level="warning", access_log=False)
        uvicorn.Server(settings).run(sockets=[listening])
    return 0


def read_people(text: str) -> list[str]:
    """The annotators' names, with single spaces.

    Raises:
        GptaltError: a name is too long, or contains characters that cannot be seen.
    """
    names = [" ".join(part.split()) for part in text.split(",")]
    for name in names:
        check_name("--annotators", name)
    return [name for name in names if name]


def check_name(flag: str, name: str) -> None:
    """Check that people can read a name: two that look the same would be two.

    Raises:
        GptaltError: it is too long, or contains characters that cannot be seen.
    """
    if len(name) > LONGEST_NAME:
        what = f"the name '{name[:40]}...' has {len(name):,} characters"
        raise GptaltError(f"{flag}: {what}.", f"Give at most {LONGEST_NAME}.")
    hidden = next((each for each in name if not each.isprintable() and each not in JOINERS), "")
    if hidden:
        what = f"the name {name!a:.80} contains U+{ord(hidden):04X}, which cannot be seen"
        raise GptaltError(f"{flag}: {what}.", "Give a name of letters.")


def print_links(store: Store, annotators: Sequence[Annotator], count: int, homes: Sequence[str]) -> None:
    print(f"{count:,} {'comparison' if count == 1 else 'comparisons'}; votes are saved in {store.path}.")
    if store.renew_links():
        print(
            "The links are new, and the earlier ones no longer work: the file was moved, or the secret in "
            "your state folder is not the one that made them. The votes are as they were."
        )
    print("Personal links, one for each annotator:")
    width = min(max(len(each.name) for each in annotators), 40)
    for each in annotators:
        print(f"  {each.name:{width}}  {homes[0]}/vote/{each.token}")
    print(f"Your own link, to all votes: {homes[0]}/organiser/{store.organiser}")
    for home in homes[1:]:
        print(f"Where {homes[0]} cannot be reached, put {home} in its place.")


def print_hints(is_local: bool, left_out: int, named: int) -> None:
    if named and not left_out:
        print(f"Answers in which a model names itself: {named:,} (to leave them out: --leave_out_named)")
    if left_out:
        print(f"Comparisons that are left out, as a model names itself in one of the answers: {left_out:,}")
    if not is_local:
        print(
            "Anyone who sees the network traffic sees the links: put a server with TLS in front of this one."
        )
    print("Ctrl-C stops the server; every vote is saved at once.", flush=True)
