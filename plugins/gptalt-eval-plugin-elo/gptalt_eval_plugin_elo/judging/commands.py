"""``gptalt-eval judge``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from gptalt_eval import GptaltError, Option, UnknownNameError
from gptalt_eval import print_plain as print
from gptalt_eval_plugin_elo.answers import FILE
from gptalt_eval_plugin_elo.commands import FOLDER as VOTES_FOLDER
from gptalt_eval_plugin_elo.voting.commands import ANSWERS, FOLDER, PASSED_ON, list_names

if TYPE_CHECKING:
    from gptalt_eval import Installed
    from gptalt_eval_plugin_elo.answers import Answer
    from gptalt_eval_plugin_elo.judging.prompts import Match

VERDICTS = ("likelihood", "text")
OWN = ("model_args", "gen_kwargs", "plain")
SHARED = {f"--{name}" for name in PASSED_ON if name not in OWN}
JUDGE = (
    Option(("--model", "-M"), {"required": True, "metavar": "NAME", "help": "the model that judges"}),
    Option(("--answers",), {"type": Path, "default": Path(FOLDER), "metavar": "ANSWERS",
                            "help": f"folder or {FILE}; default: {FOLDER}"}),
    Option(("--verdict",), {"choices": VERDICTS, "default": VERDICTS[0],
                            "help": "the likeliest letter (default), or the one that the model writes"}),
    Option(("--questions",), {"metavar": "ID,...", "help": "only these questions"}),
    Option(("--language",), {"metavar": "CODE,...", "help": "only questions in these languages"}),
    Option(("--limit", "-L"), {"type": int, "metavar": "N", "help": "maximum questions per category"}),
    Option(("--longest",), {"type": int, "metavar": "N",
                            "help": "leave out comparisons whose prompts have more characters"}),
    Option(("--leave_out_named",), {"action": "store_true",
                                    "help": "leave out answers in which a model names itself"}),
    Option(("--name",), {"metavar": "NAME", "help": "the judge's name (default: the model's)"}),
    Option(("--into",), {"type": Path, "default": Path(VOTES_FOLDER), "metavar": "FOLDER",
                         "help": f"where its votes are added; default: {VOTES_FOLDER}"}),
    Option(("--model_args",), {"metavar": "NAME=VALUE,...", "help": "as for a run"}),
    Option(("--gen_kwargs",), {"metavar": "NAME=VALUE,...",
                               "help": "as for a run, for --verdict text (max_gen_toks=512, no sampling)"}),
    Option(("--plain",), {"action": "store_true", "help": "plain prompts, without a chat template"}),
    *(option for option in ANSWERS if option.names[0] in SHARED),
)  # fmt: skip


def run_judge(arguments: argparse.Namespace, plugins: Installed) -> int:
    from gptalt_eval_plugin_elo.answers import read_answers
    from gptalt_eval_plugin_elo.commands import gather_formats
    from gptalt_eval_plugin_elo.importing import VOTES, import_files
    from gptalt_eval_plugin_elo.judging.judge import Judge, compare, read_export_of, refuse_other, save_votes
    from gptalt_eval_plugin_elo.judging.prompts import hash_prompts, pair_answers
    from gptalt_eval_plugin_elo.judging.verdicts import summarise

    refuse_chat_likelihoods(arguments.model, arguments.verdict)
    answers = choose_blind(read_answers(arguments.answers), arguments.leave_out_named, list_names(plugins))
    possible = list(pair_answers(answers))
    if not possible:
        raise GptaltError(
            f"{arguments.answers} contains no question that two models answer"
            + (" without naming themselves." if arguments.leave_out_named else "."),
            "Ask a second one: gptalt-eval answers --models NAME",
        )
    matches = choose_short(list(pair_answers(choose_answers(answers, arguments))), arguments)
    settings = {name: getattr(arguments, name) for name in PASSED_ON if getattr(arguments, name)}
    settings["apply_chat_template"] = not arguments.plain
    folder = arguments.answers if arguments.answers.is_dir() else arguments.answers.parent
    name = arguments.name or arguments.model
    page = read_export_of(name, folder)[0].page
    judge = Judge(name, page, arguments.model, arguments.verdict, settings)
    refuse_other(judge, folder)
    votes = compare(judge, matches, folder, plugins)
    file = save_votes(judge, votes, possible, folder)
    import_files([file], arguments.into, gather_formats(plugins), "gptalt")
    print(f"{judge.name}, by {judge.verdict}, prompts {hash_prompts(judge.verdict)}:")
    found = summarise(votes)
    for line in found.describe():
        print(f"  {line}")
    if judge.verdict == "text" and found.without > found.verdicts:
        print(f"Most replies state no letter, or several: read them in {file.parent / 'runs'}.")
        print("If they were cut: --gen_kwargs max_gen_toks=4096. If not, try a larger model.")
    print(f"Its votes: {file}, added to {arguments.into / VOTES}")
    print(f"To see how far it agrees with people: gptalt-eval elo {quote(str(arguments.into))}")
    return 0


def refuse_chat_likelihoods(model: str, verdict: str) -> None:
    if model.endswith("chat-completions") and verdict == "likelihood":
        raise GptaltError(
            f"'{model}' returns text only: a served chat model has no log-likelihoods.",
            "Let it write its verdict: --verdict text",
        )


def choose_blind(answers: Sequence[Answer], leave_out: bool, models: Sequence[str]) -> Sequence[Answer]:
    """The answers without those in which a model names itself, if these are to be left out.

    Args:
        answers: all answers.
        leave_out: whether to leave them out; else they are only mentioned.
        models: names of models.
    """
    from gptalt_eval_plugin_elo.naming import Names, find_named

    named = {(each.question, each.model) for each in find_named(answers, Names(models))}
    if named:
        shown = [f"{model:.40} on {question:.40}" for question, model in sorted(named)]
        print(
            f"Answers in which a model names itself: {len(named):,} ({', '.join(shown[:3])}). "
            + ("They are left out." if leave_out else "The judge sees whose they are (--leave_out_named).")
        )
    return [each for each in answers if not leave_out or (each.key, each.model) not in named]


def choose_answers(answers: Sequence[Answer], arguments: argparse.Namespace) -> list[Answer]:
    """The answers to the questions that ``--questions``, ``--language`` and ``--limit`` leave.

    Raises:
        GptaltError: one of them leaves none, or an unknown question is named.
    """
    chosen = list(answers)
    if arguments.questions:
        asked = [name.strip() for name in arguments.questions.split(",") if name.strip()]
        known = sorted({name for each in answers for name in (each.key, each.question) if name})
        for name in asked:
            if name not in known:
                near = get_close_matches(name, known, 1) or known[:3]
                raise UnknownNameError(f"No answer is to the question '{name}'.", f"Try {', '.join(near)}.")
        chosen = [each for each in chosen if each.key in asked or each.question in asked]
    if arguments.language:
        codes = [code.strip() for code in arguments.language.split(",")]
        chosen = [each for each in chosen if each.language in codes]
        if not chosen:
            known = sorted({each.language for each in answers} - {""})
            raise GptaltError(
                f"No answer is in '{arguments.language}'.", f"Available: {', '.join(known) or 'no language'}."
            )
    if arguments.limit is not None:
        if arguments.limit < 1:
            raise GptaltError(f"--limit {arguments.limit}: nothing would be judged.", "Give 1 or more.")
        chosen = limit_answers(chosen, arguments.limit)
    return chosen


def limit_answers(answers: Sequence[Answer], limit: int) -> list[Answer]:
    """The answers to the first few questions of each category and language."""
    taken: dict[tuple[str, str], list[str]] = {}
    for each in answers:
        questions = taken.setdefault((each.category, each.language), [])
        if each.key not in questions and len(questions) < limit:
            questions.append(each.key)
    return [each for each in answers if each.key in taken[each.category, each.language]]


def choose_short(matches: Sequence[Match], arguments: argparse.Namespace) -> list[Match]:
    """The matches whose prompts are not too long.

    Raises:
        GptaltError: there are none.
    """
    from gptalt_eval_plugin_elo.judging.prompts import write_prompt

    longest = arguments.longest
    kept = [
        each for each in matches if longest is None or len(write_prompt(each, arguments.verdict)) <= longest
    ]
    if len(kept) < len(matches):
        print(
            f"{(len(matches) - len(kept)) // 2:,} of {len(matches) // 2:,} comparisons are left out: "
            f"their prompts have more than {longest:,} characters."
        )
    if not kept:
        raise GptaltError("Nothing is left to judge.", "Choose more with --questions, --limit or --longest.")
    return kept
