"""Runs that were made with other packages or plugins: compare and the report say so."""

import json

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.record import load_record
from gptalt_eval.results.compare import compare_runs
from gptalt_eval.results.packages import tell_differences
from gptalt_eval.testing import make_plugin_set

VERSIONS = {"python": "3.11.7", "lm_eval": "0.4.13"}
SKY = {"name": "sky", "distribution": "gptalt-eval-plugin-sky", "version": "0.1.0", "sha256": "a" * 64}
SAME = {"versions": VERSIONS, "plugins": [SKY]}


def make(folder, name, **content):
    """A run of two rows with this in its run.json."""
    (folder / name).mkdir()
    scores = [1, 0] if name == "a" else [1, 1]
    results = {
        "results": {"toy": {"alias": "toy", "acc,none": sum(scores) / 2}},
        "n-shot": {"toy": 0},
        "config": {"prompt_style": "standard"},
    }
    rows = [
        {
            "doc_id": row,
            "doc_hash": f"{row}",
            "prompt_hash": f"{row}",
            "filter": "none",
            "metrics": ["acc"],
            "acc": score,
        }
        for row, score in enumerate(scores)
    ]
    run = {"model": {"name": name}, "results": ["results_1.json"], "started": "x", **content}
    (folder / name / "results_1.json").write_text(json.dumps(results))
    (folder / name / "samples_toy_1.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / name / "run.json").write_text(json.dumps(run))
    return load_record(folder / name)


OTHERS = {
    "a version": ({"versions": VERSIONS, "plugins": [SKY | {"version": "0.2.0"}]},
                  "gptalt-eval-plugin-sky 0.1.0 (aaaaaaaaaaaa), and b with gptalt-eval-plugin-sky 0.2.0 (aaaaaaaaaaaa)"),
    "a hash": ({"versions": VERSIONS, "plugins": [SKY | {"sha256": "b" * 64}]},
               "gptalt-eval-plugin-sky 0.1.0 (aaaaaaaaaaaa), and b with gptalt-eval-plugin-sky 0.1.0 (bbbbbbbbbbbb)"),
    "no plugin": ({"versions": VERSIONS, "plugins": []},
                  "gptalt-eval-plugin-sky 0.1.0 (aaaaaaaaaaaa), and b with gptalt-eval-plugin-sky (none)"),
    "a package": ({"versions": VERSIONS | {"lm_eval": "0.4.14"}, "plugins": [SKY]}, "lm_eval 0.4.13, and b with lm_eval 0.4.14"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*OTHERS])
def test_compare_and_report_say_what_differs(tmp_path, capsys, name):
    other, told = OTHERS[name]
    records = [make(tmp_path, "a", **SAME), make(tmp_path, "b", **other)]
    sentence = f"a was run with {told}."
    assert [each.packages for each in compare_runs(records)] == [sentence]
    assert cli.dispatch(["compare", str(tmp_path)], make_plugin_set()) == 0
    assert f"Note: {sentence}\n" in capsys.readouterr().out
    assert cli.dispatch(["compare", "--json", str(tmp_path)], make_plugin_set()) == 0
    assert json.loads(capsys.readouterr().out)[0]["packages"] == sentence
    cli.dispatch(["report", str(tmp_path), "--output", str(tmp_path / "r.html")], make_plugin_set())
    assert sentence in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("other", [SAME, {}], ids=["the same", "not recorded"])
def test_nothing_is_said_where_nothing_is_known_to_differ(tmp_path, capsys, other):
    records = [make(tmp_path, "a", **SAME), make(tmp_path, "b", **other)]
    assert [each.packages for each in compare_runs(records)] == [""]
    assert cli.dispatch(["compare", str(tmp_path)], make_plugin_set()) == 0
    assert "Note:" not in capsys.readouterr().out
    assert tell_differences(records, ["a", "b"]) == []


def test_each_run_is_told_apart_from_the_first(tmp_path):
    later = SAME | {"plugins": []}
    records = [
        make(tmp_path, name, **({} if name == "a" else later if name == "d" else SAME)) for name in "abcd"
    ]
    assert tell_differences(records, [*"abcd"]) == [
        "b was run with gptalt-eval-plugin-sky 0.1.0 (aaaaaaaaaaaa), and d with gptalt-eval-plugin-sky (none)."
    ]
