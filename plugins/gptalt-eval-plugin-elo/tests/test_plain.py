"""A link in somebody else's folder of votes or answers is neither read nor written through."""

import pytest
from gptalt_eval_plugin_elo.answers import Answer, write_answers
from gptalt_eval_plugin_elo.importing import read_votes
from gptalt_eval_plugin_elo.judging.judge import Judge, read_export_of, save_votes
from gptalt_eval_plugin_elo.lines import Lines
from gptalt_eval_plugin_elo.voting.database import Database

from gptalt_eval import GptaltError

JUDGE = Judge("me", "page-0123456789abcdef", "scripted", "text", {})


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("votes.jsonl", lambda folder: Lines(folder / "votes.jsonl")),
        ("votes.jsonl", lambda folder: list(read_votes(folder))),
        ("votes.sqlite", lambda folder: Database(folder / "votes.sqlite")),
        ("votes.sqlite-journal", lambda folder: Database(folder / "votes.sqlite")),
        ("answers.new", lambda folder: write_answers(folder / "answers.jsonl", [Answer("p", "m", "a")])),
        ("judges/me/votes.jsonl", lambda folder: read_export_of("me", folder)),
        ("judges/me/votes.new", lambda folder: save_votes(JUDGE, [], [], folder)),
        ("judges/me/judge.json", lambda folder: save_votes(JUDGE, [], [], folder)),
        ("judges", lambda folder: read_export_of("me", folder)),
    ],
)
def test_links_are_not_followed(tmp_path, name, use):
    folder = tmp_path / "theirs"
    (folder / name).parent.mkdir(parents=True)
    (tmp_path / "victim").write_text("without an end of line")
    (folder / name).symlink_to(tmp_path / "victim")
    with pytest.raises(GptaltError, match="is a link"):
        use(folder)
    assert (tmp_path / "victim").read_text() == "without an end of line"
