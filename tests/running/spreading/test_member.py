"""One run while workers answer: what it records of its model, what it counts, and why something has no answer."""

from types import SimpleNamespace

import pytest

from gptalt_eval.contract.run import RunModel
from gptalt_eval.running.lmeval.model import ModelFacts
from gptalt_eval.running.spreading.journal import Journal, Where
from gptalt_eval.running.spreading.member import Member
from gptalt_eval.running.spreading.spread import Spread
from gptalt_eval.running.spreading.units import Spool
from gptalt_eval.running.spreading.worker import WorkerFacts
from gptalt_eval.spread.work import Outcome, Report, Result, Unit

REPORT = Report(
    "f" * 64,
    "tree",
    "H100",
    3.5,
    WorkerFacts(ModelFacts("f" * 64), {"cpu": "x"}, "why", ("kept",), ("said",)),
)


class Files:
    """The files of a run, of which only ``run.json`` matters here, and that in memory."""

    def __init__(self, folder):
        self.answers, self.units = folder / "answers.jsonl", folder / "units.jsonl"
        self.run = SimpleNamespace(model=RunModel("hf", "hf", {}), scoring=None)
        self.notes, self.saved = [], 0

    def note(self, text):
        self.notes.append(text)

    def update(self, **changes):
        vars(self.run).update(changes)

    def save_run(self, **changes):
        self.update(**changes)
        self.saved += 1


@pytest.fixture
def member(tmp_path):
    files = Files(tmp_path)
    made = Member(Spread(files), None, Journal(files.answers, files.units))
    yield made
    made.journal.close()


def test_the_first_report_is_in_the_record_before_any_answer(member):
    assert member.meet(REPORT) == ["said", "kept"]
    run = member.files.run
    assert (run.model.fingerprint, run.model.load_seconds) == ("f" * 64, 3.5)
    assert (run.scoring.way, run.scoring.reason, run.hardware) == ("tree", "why", {"cpu": "x"})
    assert member.files.notes == ["kept"] and member.files.saved == 1
    assert member.spread.facts.fingerprint == "f" * 64


def test_another_model_than_that_of_the_interrupted_run_is_not_recorded(member):
    member.spread.facts = ModelFacts("e" * 64)
    assert member.meet(REPORT) == []
    assert member.spread.facts.fingerprint == "e" * 64
    assert member.files.saved == 0 and member.files.notes == []


def test_a_worker_whose_model_builds_other_prompts_is_refused(member):
    member.texts = {"tokenizer": "a", "chat template": "b"}

    def say(**parts):
        facts = WorkerFacts(ModelFacts("f" * 64, {"weights": "w", **parts}))
        return member.refuse(Report("f" * 64, facts=facts))

    assert say(**member.texts) == ""
    assert (
        say(**{**member.texts, "chat template": "c"})
        == "its model has another chat template than the prompts"
    )
    assert "chat template and another tokenizer" in say()


def test_tokens_are_those_of_log_likelihoods_and_a_part_of_a_unit_saves_its_share(member, tmp_path):
    spool = Spool(tmp_path)
    scored = Unit("a", "0", "loglikelihood", 90, 4)
    part = Unit("a", "0", "loglikelihood", 90, 4, range(1, 2))
    texts = Unit("b", "0", "generate_until", 500, 1)
    keys = ["k0", "k1", "k2", "k3"]
    member.asked, member.units = {"a": 200}, [scored, texts]
    member.meet(REPORT)
    member.keep(part, keys, Result([((-1.0, True), 0)], 30, 1.0), Where("w"))
    member.keep(texts, ["t"], Result([("text", 0)], 500, 9.0), Where("w"))
    assert (member.tokens, member.saved, member.seconds, member.answered) == (30, 50, 1.0, 2)
    for unit, names in ((scored, keys), (texts, ["t"])):
        spool.keep(unit, [], names)
    lost = Unit("a", "0", "loglikelihood", 90, 4, range(2, 4))
    other = Unit("c", "1", "loglikelihood", 9, 1)
    member.finish(Outcome({lost: "too large", other: "not ours"}), "0", spool)
    assert member.spread.reasons == {"k2": "too large", "k3": "too large"}
    scoring = member.files.run.scoring
    assert (scoring.way, scoring.tokens, scoring.asked, scoring.seconds) == ("tree", 30, 50, 1.0)
    [worker] = member.files.run.workers
    assert (worker.name, worker.units, worker.requests) == ("w", 2, 2)
    assert member.spread.answers.known == {"k1": (-1.0, True), "t": "text"}


def test_a_model_that_no_worker_loads_gives_each_request_the_reason(member, tmp_path):
    spool = Spool(tmp_path)
    member.units = [Unit("a", "0", "loglikelihood", 90, 2)]
    spool.keep(member.units[0], [], ["k0", "k1"])
    member.finish(Outcome(models={"0": "it lacks a layer"}), "0", spool)
    assert member.spread.reasons == dict.fromkeys(["k0", "k1"], "it lacks a layer")
    assert member.files.run.scoring is None
