"""The advisor: facts exclude, the user's own runs rank, and without runs it says what to run."""

import json
import shlex
import shutil

import pytest

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Card, Model
from gptalt_eval.contract.record import RUN_FILE
from gptalt_eval.results.evidence import rank_runs
from gptalt_eval.testing import make_plugin_set, make_scripted_lm

ROWS = 200
TASK = """
task: counting
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: [right, wrong]
doc_to_target: 0
"""


def answer(share):
    """Chooses the right option in a share of the rows."""

    def rate(prompt, option):
        number = int("".join(filter(str.isdigit, prompt.split()[-1])) or 0)
        return float((option.strip() == "right") == (number % ROWS < share * ROWS))

    return rate


SHARES = {"good": 0.9, "close": 0.895, "poor": 0.3, "closed": 0.95}


def make_model(name, share=0.5, commercial="yes", languages=("zh",), parameters=6_000_000_000):
    def create(args):
        return make_scripted_lm(answer(share))

    return Model(
        name, "", "some licence", "", create=create, languages=languages,
        card=Card(commercial, parameters),
    )  # fmt: skip


@pytest.fixture(scope="module")
def plugins():
    models = [make_model(name, share, "no" if name == "closed" else "yes") for name, share in SHARES.items()]
    others = [
        make_model("untried"),
        make_model("english", languages=("en",)),
        make_model("huge", parameters=10**12),
    ]
    return make_plugin_set(models=[*models, *others])


def evaluate(root, plugins, name, output, **settings):
    return gptalt_eval.evaluate(
        name, settings.pop("tasks", "counting"), plugins=plugins, include_path=str(root), output_path=str(output),
        log_samples=True, **{"data_dir": str(root), **settings},
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("advice")
    (root / "rows.jsonl").write_text("\n".join(json.dumps({"question": f"row {n}"}) for n in range(ROWS)))
    (root / "counting.yaml").write_text(TASK.format(file=root / "rows.jsonl"))
    return root


@pytest.fixture(scope="module")
def runs(root, plugins):
    for name in SHARES:
        evaluate(root, plugins, name, root / "out" / name)
    return root / "out"


@pytest.fixture
def ask(plugins, root, capsys, monkeypatch):
    monkeypatch.setattr(cli, "load_plugins", lambda *_: plugins)

    def run(*words):
        code = cli.main(["recommend", "--include_path", str(root), *words])
        return code, capsys.readouterr()

    return run


def test_runs_rank_and_ties_are_said_to_be_ties(ask, runs):
    code, printed = ask(
        "--task", "counting", "--language", "zh", "--license", "commercial", "--runs", str(runs)
    )
    assert code == 0
    lines = printed.out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("counting, standard"))
    ranked = [line.split() for line in lines[start + 1 : start + 4]]
    assert [words[:2] for words in ranked] == [["good", "0.900"], ["close", "0.895"], ["poor", "0.300"]]
    assert "best" in lines[start + 1]
    assert "not significantly different from the best" in lines[start + 2]
    assert "best" not in lines[start + 3]
    assert "[0.851, 0.934]" in lines[start + 1]  # Wilson's, 180 of 200


def test_each_exclusion_is_explained(ask, runs):
    _, printed = ask("--language", "zh", "--license", "commercial", "--memory", "16GB", "--runs", str(runs))
    assert "4 of 8 models fit (language zh, 16GB of memory, commercial use)." in printed.out
    excluded = printed.out.partition("Excluded:")[2]
    assert "no commercial use: closed" in excluded
    assert "not zh: english, smollm2" in excluded
    assert "too large (465.7 GiB even in 4-bit): huge" in excluded
    assert "too little is known" not in excluded


def test_a_better_model_that_is_excluded_is_not_ranked(ask, runs):
    _, printed = ask("--task", "counting", "--license", "commercial", "--runs", str(runs))
    assert "closed               0.950" not in printed.out
    assert f"{runs / 'closed'}" in printed.out
    assert "not one of the models that fit" in printed.out
    _, printed = ask("--task", "counting", "--runs", str(runs))
    assert "closed               0.950" in printed.out


def test_without_evidence_it_says_what_to_run(ask, runs, root, plugins):
    _, printed = ask("--task", "counting", "--language", "zh", "--memory", "8GB", "--runs", str(runs))
    commands = [line.strip() for line in printed.out.splitlines() if line.startswith("  gptalt-eval")]
    assert commands == [
        "gptalt-eval --model untried --tasks counting --model_args load_in_8bit=true --num_fewshot 0"
    ]
    words = shlex.split(commands[0])
    assert words[0] == "gptalt-eval"


def test_without_any_run_nothing_is_guessed(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed = ask("--task", "counting", "--language", "zh")
    assert code == 0
    assert "No evidence yet for counting. Run this:" in printed.out
    assert "0." not in printed.out.partition("No evidence")[2].partition("Excluded")[0]


def test_the_embedded_sample_is_not_evidence(ask, root, plugins, tmp_path):
    evaluate(root, plugins, "good", tmp_path / "sampled", tasks="arc_easy", data_dir="sample")
    _, printed = ask("--task", "arc_easy", "--runs", str(tmp_path))
    assert "on the embedded sample, which is not the benchmark" in printed.out
    assert "95 % intervals" not in printed.out


def test_other_conditions_are_another_list(root, plugins, tmp_path, ask, runs):
    evaluate(root, plugins, "poor", tmp_path / "shots", num_fewshot=2, allow_partial_data=True)
    _, printed = ask("--task", "counting", "--runs", str(runs), str(tmp_path))
    assert "counting, standard prompts, 0-shot" in printed.out
    assert "counting, standard prompts, 2-shot" in printed.out
    assert "not comparable" in printed.out
    assert printed.out.index("0-shot") < printed.out.index("2-shot")  # the list with more models first


def test_other_weights_under_a_models_name_are_not_evidence(runs, ask, tmp_path):
    """A tiny stand-in called `good` says nothing about the model of that name."""
    folder = tmp_path / "good"
    folder.mkdir()
    for file in (runs / "good").rglob("*"):
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    record = json.loads((folder / RUN_FILE).read_text())
    record["model"]["parameters"] = 300_000
    (folder / RUN_FILE).write_text(json.dumps(record))
    _, printed = ask("--task", "counting", "--runs", str(tmp_path))
    assert "its weights have 300,000 parameters, and good has 6,000,000,000" in printed.out
    assert "0.900" not in printed.out


def test_a_limited_run_says_how_much_it_saw(root, plugins, tmp_path, ask):
    evaluate(root, plugins, "good", tmp_path, limit=50)
    _, printed = ask("--task", "counting", "--runs", str(tmp_path))
    assert "50 of 200 items" in printed.out
    assert "--limit 50" in printed.out  # so that the next model sees the same rows


def test_programs_get_the_same(ask, runs):
    _, printed = ask("--task", "counting", "--license", "commercial", "--runs", str(runs), "--json")
    found = json.loads(printed.out)
    [task] = found["tasks"]
    places = task["rankings"][0]["places"]
    assert [(place["model"], place["best"], place["tied"]) for place in places] == [
        ("good", True, False), ("close", False, True), ("poor", False, False),
    ]  # fmt: skip
    assert {model["name"]: model["lacks"] for model in found["models"]}["closed"] == ["no commercial use"]
    assert set(task["untried"]) >= {"untried"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--memory", "much"), "not an amount of memory"),
        (("--language", "xx"), "no model here has this language"),
        (("--task", "countin"), "There is no task 'countin'"),
        (("--runs", "/nowhere/at/all"), "There is no run folder"),
    ],
)
def test_mistakes_end_in_one_message(ask, words, message):
    code, printed = ask(*words)
    assert code != 0
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_ranking_takes_the_metrics_direction(root, plugins, runs):
    from gptalt_eval.contract.record import find_runs, load_record

    records = [load_record(folder) for folder in find_runs(runs)]
    [ranking] = rank_runs(records, "counting")
    assert [place.record.model for place in ranking.places] == ["closed", "good", "close", "poor"]
    with pytest.raises(GptaltError):
        find_runs(root / "none")


def test_runs_of_one_model_are_distinguished(ask, runs, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(runs / "good", tmp_path / name / "good")
    _, printed = ask("--task", "counting", "--runs", str(tmp_path))
    names = [line.split()[0] for line in printed.out.splitlines() if " 0.900 " in line]
    assert sorted(name.split("/")[0] for name in names) == ["first", "second"]
