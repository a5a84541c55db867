"""Human evaluation: votes from any tool, agreement, Elo and Bradley-Terry ratings, win rates."""

from __future__ import annotations

from gptalt_eval import Command, VoteFormat, hookimpl

__version__ = "0.1.0"


@hookimpl
def register_commands() -> list[Command]:
    from gptalt_eval_plugin_elo.commands import AGREEMENT, ELO, IMPORT, run_agreement, run_elo, run_import
    from gptalt_eval_plugin_elo.voting.commands import (
        ANSWERS,
        EXPORT,
        SERVE,
        run_answers,
        run_export,
        run_serve,
    )

    vote = (
        Command("serve", "the page on which people judge answers", run_serve, SERVE),
        Command("export", "print the votes as JSON lines", run_export, EXPORT),
    )
    votes = (
        Command("import", "read the votes of any tool", run_import, IMPORT),
        Command("agreement", "measure how far judges agree", run_agreement, AGREEMENT),
    )
    return [
        Command("answers", "ask models the questions that people judge", run_answers, ANSWERS),
        Command("vote", "serve the page on which people judge answers, export votes", commands=vote),
        Command("votes", "import human votes, measure how far judges agree", commands=votes),
        Command("elo", "rate models by human votes: leaderboard, win rates, report", run_elo, ELO),
    ]


@hookimpl
def register_vote_formats() -> list[VoteFormat]:
    from gptalt_eval_plugin_elo.formats import list_formats

    return list_formats()
