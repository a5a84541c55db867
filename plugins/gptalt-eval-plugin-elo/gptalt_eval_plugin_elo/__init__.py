"""Human evaluation: votes from any tool, agreement, Elo and Bradley-Terry ratings, win rates."""

from __future__ import annotations

from typing import Any

from gptalt_eval import Command, Hook, hookimpl
from gptalt_eval_plugin_elo import votes
from gptalt_eval_plugin_elo.votes import Vote, VoteFormat, Word

__all__ = ["Vote", "VoteFormat", "Word"]

__version__ = "0.1.0"
gptalt_eval_api = 1  # the version of gptalt-eval's hook API


@hookimpl
def register_hooks() -> list[Hook]:
    return [Hook(votes.register_vote_formats, VoteFormat)]


@hookimpl
def register_commands() -> list[Command]:
    from gptalt_eval_plugin_elo.commands import IMPORT, run_import
    from gptalt_eval_plugin_elo.judging.commands import JUDGE, run_judge
    from gptalt_eval_plugin_elo.leaderboard import AGREEMENT, ELO, run_agreement, run_elo
    from gptalt_eval_plugin_elo.voting.commands import (
        ANSWERS,
        EXPORT,
        SERVE,
        run_answers,
        run_export,
        run_serve,
    )

    def make(name: str, summary: str, run: Any, options: Any, *examples: str) -> Command:
        shown = tuple(f"gptalt-eval {example}" for example in examples)
        return Command(name, summary, run, options, examples=shown)

    votes = (
        make(
            "serve", "serve the page on which people judge answers", run_serve, SERVE,
            "votes serve --answers answers --annotators Anna,Ben --judges 2",
        ),
        make(
            "export", "print the page's votes as JSON lines", run_export, EXPORT,
            "votes export > votes.jsonl",
        ),
        make(
            "import", "import votes from the page or from any tool", run_import, IMPORT,
            "votes import arena.csv",
            "votes import votes.xlsx --columns question=prompt,model_a=left,model_b=right",
        ),
        make(
            "agreement", "measure the agreement between judges", run_agreement, AGREEMENT,
            "votes agreement votes --language zh",
        ),
    )  # fmt: skip
    return [
        make(
            "answers", "ask models the questions that people judge", run_answers, ANSWERS,
            "answers --models smollm2,vicuna-7b --language en --limit 5",
        ),
        Command("votes", "collect votes on answers, import them, and measure agreement", commands=votes),
        make(
            "judge", "let a model compare the answers, in both orders", run_judge, JUDGE,
            "judge --model pandalm --answers answers",
            "judge --model me/my-judge --verdict text --gen_kwargs max_gen_toks=4096",
        ),
        make(
            "elo", "rate models by votes: leaderboard, win rates, report", run_elo, ELO,
            "elo votes", "elo --published", "elo votes --kind judge --style_control --anchor smollm2=1000",
        ),
    ]  # fmt: skip


@hookimpl(tryfirst=True)  # if a file looks like two formats, the first one is used
def register_vote_formats() -> list[VoteFormat]:
    from gptalt_eval_plugin_elo.formats import list_formats

    return list_formats()
