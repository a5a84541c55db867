"""Human evaluation: votes from any tool, agreement, Elo and Bradley-Terry ratings, win rates."""

from __future__ import annotations

from gptalt_eval import Command, VoteFormat, hookimpl

__version__ = "0.1.0"


@hookimpl
def register_commands() -> list[Command]:
    from gptalt_eval_plugin_elo.commands import ELO, VOTES, run_elo, run_votes
    from gptalt_eval_plugin_elo.voting.commands import ANSWERS, VOTE, run_answers, run_vote

    return [
        Command("answers", "ask models the questions that people judge", run_answers, ANSWERS),
        Command("vote", "serve the page on which people judge answers, export votes", run_vote, VOTE),
        Command("votes", "import human votes, measure how far judges agree", run_votes, VOTES),
        Command("elo", "rate models by human votes: leaderboard, win rates, report", run_elo, ELO),
    ]


@hookimpl
def register_vote_formats() -> list[VoteFormat]:
    from gptalt_eval_plugin_elo.formats import list_formats

    return list_formats()
