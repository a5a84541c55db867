"""lm-eval's own loggers get from a run what they get from lm-eval's command line."""

import importlib.util
import json

import pandas
import pytest
from services import FakeArtifact, FakeTable, FakeTrackio, FakeWandb
from stock import run_stock

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError, InterruptedRun
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.lmeval.logged import dump_sample, restore_sample
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_lm, make_scripted_model

TASKS = ["piqa", "gsm8k", "triviaqa", "drop", "mmlu_high_school_biology"]


OURS_ALONE = ("task_hashes", "lm_eval_version", "transformers_version", "model_source", "model_name", "system_instruction",
              "system_instruction_sha", "fewshot_as_multiturn", "chat_template", "chat_template_sha",
              "total_evaluation_time_seconds")  # fmt: skip


def tidy(value):
    """What was told, in a form to be compared: without the times, and with what our results say besides."""
    if isinstance(value, FakeTable):
        return value.columns, value.rows
    if isinstance(value, FakeArtifact):
        files = {
            name: {key: each for key, each in content.items() if key not in OURS_ALONE}
            if isinstance(content, dict)
            else content
            for name, content in value.files.items()
        }
        return value.name, value.type, tidy(files)
    if isinstance(value, pandas.DataFrame):
        return tidy(value.to_dict("records"))
    if isinstance(value, dict):
        # where the rows were read from differs, and what the model is called
        apart = (
            "date",
            "git_hash",
            "cli_configs",
            "config",
            "dataset_path",
            "dataset_name",
            "dataset_kwargs",
            "sample_count",
            "config_source",
        )
        shown = {key: tidy(each) for key, each in value.items() if key not in apart}
        return {key: each for key, each in shown.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [tidy(each) for each in value]
    return value.item() if hasattr(value, "item") else str(value) if callable(value) else value


def evaluate(tmp_path, **settings):
    given = {
        "data_dir": "sample",
        "limit": 3,
        "output_path": str(tmp_path / "ours"),
        "log_samples": True,
        **settings,
    }
    plugins = given.pop("plugins", None) or make_plugin_set(models=[make_scripted_model()])
    return gptalt_eval.evaluate("scripted", given.pop("tasks", TASKS), plugins=plugins, **given)


@pytest.fixture
def stock(tmp_path, monkeypatch):
    """lm-eval's own result of the same model on the same rows: (results, samples)."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda storage: None)  # half a minute
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    spec = make_spec({"model": "scripted", "tasks": TASKS, "data_dir": "sample", "limit": 3})
    plan = resolve(spec, make_plugin_set(models=[make_scripted_model()]))
    results = run_stock(plan, make_scripted_lm(), tmp_path, 3)
    return results, results.pop("samples")


def test_samples_come_back_from_disk_as_they_were(stock):
    results, samples = stock
    for task, lines in samples.items():
        output_type = results["configs"][task]["output_type"]
        for line in lines:
            restored = restore_sample(json.loads(dump_sample(line)), output_type)
            for key, value in line.items():
                assert restored[key] == value, (task, key)
                assert key in line["metrics"] or type(restored[key]) is type(value)
            assert [type(request) for request in restored["arguments"]] == [tuple] * len(line["arguments"])


@pytest.mark.parametrize(
    ("output_type", "answers"),
    [
        ("loglikelihood", {"resps": [[(-1.5, True)]], "filtered_resps": [(-1.5, True)], "target": " x"}),
        ("loglikelihood", {"resps": [[(-1e-7, False)], [(-2.0, True)]], "filtered_resps": [(-1e-7, False)], "target": "1"}),
        ("loglikelihood_rolling", {"resps": [[-12.25]], "filtered_resps": [-12.25], "target": "the text"}),
        ("multiple_choice", {"resps": [[(float("-inf"), False)]], "filtered_resps": [(float("-inf"), False)], "target": 2}),
        ("multiple_choice", {"resps": [[(-1.0, False)]], "filtered_resps": [(-1.0, False)], "target": [0, 2]}),
        ("generate_until", {"resps": [["1.5", "True"]], "filtered_resps": ["1.5"], "target": "7"}),
        ("generate_until", {"resps": [["x"]], "filtered_resps": ["x"], "target": ["a", "it's"]}),
        ("generate_until", {"resps": [["x"]], "filtered_resps": ["x"], "target": "[unclosed"}),
    ],
)  # fmt: skip
def test_every_kind_of_answer_comes_back(output_type, answers):
    sample = {"doc_id": 0, "arguments": [("a", {"until": ["\n"]})], **answers}
    restored = restore_sample(json.loads(dump_sample(sample)), output_type)
    if output_type == "loglikelihood" and answers["target"] == "1":
        answers = {**answers, "target": 1}  # on disk, a number and the text of one are the same
    assert {key: restored[key] for key in answers} == answers
    assert repr(restored["resps"]) == repr(answers["resps"])


def test_wandb_is_told_what_lm_eval_tells_it(monkeypatch, tmp_path, stock):
    from lm_eval.loggers import WandbLogger

    fake = FakeWandb(monkeypatch)
    results, samples = stock
    logger = WandbLogger({"project": "p", "step": 3}, {"who": "me"})
    logger.post_init(results)
    logger.log_eval_result()
    logger.log_eval_samples(samples)
    logger.run.finish()
    theirs, fake.told = fake.told, []

    evaluate(tmp_path, wandb_args="project=p,step=3", wandb_config_args="who=me")

    assert fake.told[0] == ("init", {"project": "p"}) and fake.told[-1] == ("finish",)
    assert [told[0] for told in fake.told] == [told[0] for told in theirs]
    assert tidy(fake.told) == tidy(theirs)


def test_trackio_is_told_what_lm_eval_tells_it(monkeypatch, tmp_path, stock):
    from lm_eval.loggers import TrackioLogger

    fake = FakeTrackio(monkeypatch)
    results, samples = stock
    logger = TrackioLogger({"project": "p"})
    logger.post_init(results)
    logger.log_eval_result()
    logger.log_eval_samples(samples)
    logger.finish()
    theirs, fake.told = fake.told, []

    evaluate(tmp_path, trackio_args="project=p")

    assert fake.told[0] == ("init", {"project": "p"})
    assert len(fake.told) > 3 * len(TASKS)
    assert tidy(fake.told) == tidy(theirs)


def test_samples_are_sent_only_where_they_were_asked_for(monkeypatch, tmp_path):
    """A folder of our own, several shots and several models keep samples for themselves."""
    fake = FakeTrackio(monkeypatch)
    for settings in ({"output_path": None}, {"num_fewshot": [0, 1]}):
        monkeypatch.chdir(tmp_path)
        evaluate(tmp_path, tasks="piqa", trackio_args="project=p", log_samples=False, **settings)
    plugins = make_plugin_set(models=[make_scripted_model(name="one"), make_scripted_model(name="two")])
    gptalt_eval.evaluate(
        ["one", "two"],
        "piqa",
        plugins=plugins,
        data_dir="sample",
        limit=2,
        trackio_args="project=p",
        output_path=str(tmp_path / "x"),
    )
    assert [told[0] for told in fake.told].count("init") == 1 + 2 + 2
    assert not [told for told in fake.told if told[0] == "log" and "piqa/sample" in told[1]]


def test_each_result_is_a_run_of_its_own(monkeypatch, tmp_path):
    fake = FakeTrackio(monkeypatch)
    evaluate(tmp_path, tasks="piqa", trackio_args="project=p", num_fewshot=[0, 2])
    assert [told[0] for told in fake.told if told[0] != "log"] == ["init", "config", "finish"] * 2
    shots = [told[1]["cli_configs"]["num_fewshot"] for told in fake.told if told[0] == "config"]
    assert shots == [0, 2]


class Watch:
    """Notes what happened before what."""

    def __init__(self, told):
        self.told = told

    @hookimpl
    def run_started(self, plan):
        self.told.append(("run_started",))


def test_a_service_is_begun_before_the_run(monkeypatch, tmp_path):
    fake = FakeTrackio(monkeypatch)
    plugins = make_plugin_set(Watch(fake.told), models=[make_scripted_model()])
    owners = dict(plugins.owners)
    evaluate(tmp_path, tasks="piqa", trackio_args="project=p", plugins=plugins)
    assert [told[0] for told in fake.told[:2]] == ["init", "run_started"]
    assert plugins.owners == owners and plugins.problems == []


def test_a_service_that_cannot_be_begun_stops_the_run_before_it(monkeypatch, tmp_path):
    def refuse(**settings):
        raise PermissionError("no API key")

    fake = FakeWandb(monkeypatch)
    fake.module.init = refuse
    with pytest.raises(GptaltError, match="--wandb_args: PermissionError: no API key"):
        evaluate(tmp_path, tasks="piqa", wandb_args="project=p")
    assert not list((tmp_path / "ours").rglob("*"))


def test_a_service_that_fails_at_the_end_costs_nothing_else(monkeypatch, tmp_path, capsys):
    fake, other = FakeWandb(monkeypatch), FakeTrackio(monkeypatch)
    monkeypatch.setattr(FakeArtifact, "new_file", lambda *_, **__: 1 / 0)
    record = evaluate(tmp_path, tasks="piqa", wandb_args="project=p", trackio_args="project=p")
    assert "--wandb_args: logging failed: ZeroDivisionError" in " ".join(capsys.readouterr().err.split())
    assert record.is_complete and record.results
    assert fake.told[-1] == ("finish",) and other.told[-1][0] == "finish"
    assert ("piqa/acc" in other.told[2][1]) and other.told[2][0] == "log"


def test_a_stopped_run_is_logged_when_it_is_resumed(monkeypatch, tmp_path):
    calls = []

    def likelihood(prompt, answer):
        calls.append(prompt)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return hash_likelihood(prompt, answer)

    fake = FakeTrackio(monkeypatch)
    given = {
        "tasks": ["piqa", "arc_easy"], "trackio_args": "project=p",
        "plugins": make_plugin_set(models=[make_scripted_model(likelihood)]),
    }  # fmt: skip
    with pytest.raises(InterruptedRun):
        evaluate(tmp_path, **given)
    assert [told[0] for told in fake.told] == ["init", "finish"]
    evaluate(tmp_path, resume=True, **given)
    logged = [told[1] for told in fake.told if told[0] == "log"]
    assert {"piqa/acc", "arc_easy/acc"} <= logged[0].keys()
    assert (
        sum("piqa/sample" in each for each in logged)
        == sum("arc_easy/sample" in each for each in logged)
        == 3
    )


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_package_that_is_not_installed_is_named_before_anything_runs(monkeypatch, tmp_path, package):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(GptaltError) as caught:
        evaluate(tmp_path, tasks="piqa", **{f"{package}_args": "project=p"})
    assert (
        str(caught.value)
        == f"--{package}_args: the package {package} is not installed.\nType: pip install {package}"
    )
    assert not list((tmp_path / "ours").rglob("*"))


# ------------------------------------------------------------------ the hub


class FakeApi:
    """The hub, in memory."""

    def __init__(self, fails=False):
        self.fails, self.tokens, self.repos, self.files = fails, [], {}, {}

    def __call__(self, token):
        self.tokens.append(token)
        return self

    def whoami(self):
        return {"name": "me"}

    def create_repo(self, repo_id, repo_type, private, exist_ok):
        if self.fails:
            raise PermissionError("read-only token")
        self.repos[repo_id] = private

    def upload_file(self, repo_id, path_or_fileobj, path_in_repo, repo_type, commit_message):
        self.files[repo_id, path_in_repo] = open(path_or_fileobj, encoding="utf-8").read()  # noqa: SIM115, PTH123

    def upload_folder(self, repo_id, folder_path, path_in_repo, repo_type, commit_message):
        from pathlib import Path

        for file in Path(folder_path).iterdir():
            self.files[repo_id, f"{path_in_repo}/{file.name}"] = file.read_text(encoding="utf-8")

    def list_repo_files(self, repo_id, repo_type):
        return [path for repo, path in self.files if repo == repo_id]


@pytest.fixture
def hub(monkeypatch):
    api, cards = FakeApi(), []
    monkeypatch.setattr("huggingface_hub.HfApi", api)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(
        "lm_eval.loggers.evaluation_tracker.load_dataset",
        lambda *_, **__: {"results": [{"piqa": {"acc": 1}}]},
        raising=False,
    )
    monkeypatch.setattr(
        "huggingface_hub.DatasetCard.push_to_hub", lambda card, repo, **_: cards.append((repo, str(card)))
    )
    api.cards = cards
    return api


PUSH = "push_results_to_hub=True,push_samples_to_hub=True,hub_results_org=me,details_repo_name=details,results_repo_name=results"


def test_results_and_samples_are_pushed(hub, tmp_path, capsys):
    record = evaluate(tmp_path, tasks=["piqa", "gsm8k"], hf_hub_log_args=PUSH)
    assert hub.tokens == ["hf_secret"]
    assert hub.repos == {"me/results-private": True, "me/details-private": True}
    results = {path: text for (repo, path), text in hub.files.items() if repo == "me/results-private"}
    [(path, text)] = results.items()
    assert path.startswith("scripted/results_")
    assert json.loads(text)["results"] == record.results[0]["results"]
    assert json.loads(text)["task_hashes"] == record.results[0]["task_hashes"]
    for task in ("piqa", "gsm8k"):
        [pushed] = [text for (_, path), text in hub.files.items() if f"samples_{task}_" in path]
        assert [json.loads(line) for line in pushed.splitlines()] == list(record.read_samples(0, task))
    assert [repo for repo, _ in hub.cards] == ["me/details-private"]
    assert "Successfully pushed aggregated results" in " ".join(capsys.readouterr().err.split())
    assert "hf_secret" not in (record.folder / "run.json").read_text()


def test_a_push_that_fails_is_said_and_the_results_are_there(hub, tmp_path, capsys):
    hub.fails = True
    record = evaluate(tmp_path, tasks="piqa", hf_hub_log_args=PUSH)
    printed = " ".join(capsys.readouterr().err.split())
    assert (
        "--hf_hub_log_args: logging failed: OSError: Could not save results aggregated PermissionError('read-only token')"
        in printed
    )
    assert record.is_complete


def test_samples_stay_here_where_only_results_are_pushed(hub, tmp_path, capsys):
    record = evaluate(
        tmp_path,
        tasks="piqa",
        log_samples=False,
        hf_hub_log_args="push_results_to_hub=True,hub_results_org=me,public_repo=True",
    )
    assert hub.repos == {"me/lm-eval-results": False}
    assert [path.split("/")[1][:8] for _, path in hub.files] == ["results_"]
    # lm-eval cannot write the card of a repository without samples; that is said
    assert "logging failed: IndexError" in " ".join(capsys.readouterr().err.split())
    assert record.is_complete


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "push_results_to_hub=True,hub_result_org=me",
            "unknown argument 'hub_result_org'.\nDid you mean 'hub_results_org'",
        ),
        ("push_results_to_hub=True", "a token is needed for pushing.\nSet HF_TOKEN."),
    ],
)
def test_a_push_that_cannot_be_is_said_before_anything_runs(monkeypatch, tmp_path, words, expected):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(GptaltError) as caught:
        evaluate(tmp_path, tasks="piqa", hf_hub_log_args=words)
    assert expected in str(caught.value)
    assert not list((tmp_path / "ours").rglob("*"))
