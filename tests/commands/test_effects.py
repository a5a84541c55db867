"""Each flag of a run, typed, changes something that can be seen, or is refused with a reason."""

import json
import logging
import re
import shutil
from dataclasses import dataclass, field

import pytest
from services import FakeTrackio, FakeWandb

from gptalt_eval.commands import cli
from gptalt_eval.commands.flags import add_run_flags
from gptalt_eval.commands.parser import Parser
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.testing import make_plugin_set, make_scripted_lm, make_scripted_model


@dataclass(frozen=True)
class Case:
    """A flag, what is typed with it and without it, and where its effect is seen."""

    words: str
    seen: str
    given: dict = field(default_factory=dict)


LOADED = {"--model": "loaded", "--tasks": "piqa"}
CHAT = {"--apply_chat_template": "", "--num_fewshot": "2"}
CASES = [
    Case("--model other", "samples", {"--model": None}),
    Case("--model_args a=1", "built", LOADED),
    Case("--tasks boolq", "samples", {"--tasks": None}),
    Case("--num_fewshot 1", "samples"),
    Case("--prompt_style system", "samples"),
    Case("--limit 1", "samples"),
    Case('--samples {"piqa":[1]}', "samples"),
    Case("--config CONFIG", "samples"),
    Case("--include_path TASKS", "samples", {"--tasks": "mine"}),
    Case("--gen_kwargs max_gen_toks=5", "samples", {"--tasks": "gsm8k"}),
    Case("--data_dir sample", "samples", {"--data_dir": None}),
    Case(
        "--allow_partial_data", "samples", {"--data_dir": "SHORT", "--tasks": "gsm8k", "--num_fewshot": "0"}
    ),
    Case(
        "--allow-partial-data", "samples", {"--data_dir": "SHORT", "--tasks": "gsm8k", "--num_fewshot": "0"}
    ),
    Case("--output_path elsewhere", "files", {"--output_path": None}),
    Case("--log_samples", "files"),
    Case("--predict_only", "scores"),
    Case("--use_cache kept", "files"),
    Case("--cache_requests", "requests"),
    Case("--cache_requests refresh", "requests"),
    Case("--cache_requests delete", "requests"),
    Case("--write_out", "logged"),
    Case("--show_config", "printed"),
    Case("--verbosity debug", "logged"),
    Case("--check_integrity", "refused"),
    Case("--device cuda:1", "built", LOADED),
    Case("--workers 2", "refused"),  # for a model that is registered by hand
    Case("--cluster auto", "refused"),
    Case("--gpus_per_worker 0", "refused"),
    Case("--batch_size 4", "built", LOADED),
    Case("--max_batch_size 8", "built", {**LOADED, "--batch_size": "auto"}),
    Case("--scorer stock", "built", LOADED),
    Case("--apply_chat_template", "samples"),
    Case("--system_instruction Think!", "samples"),
    Case("--fewshot_as_multiturn false", "samples", CHAT),
    Case("--seed 5", "samples", {"--num_fewshot": "2"}),
    Case("--plugins_lock LOCK", "refused"),
    Case("--trust_remote_code", "built", LOADED),
    Case("--confirm_run_unsafe_code", "samples", {"--tasks": "UNSAFE"}),
    Case("--trust_task_code CODE", "samples", {"--tasks": "CODE"}),
    Case("--gen_kwargs custom_generate=x", "refused", {"--tasks": "gsm8k"}),
    Case("--metadata a=1", "configs"),
    Case("--wandb_args project=p", "told"),
    Case("--wandb_config_args a=1", "told", {"--wandb_args": "project=p"}),
    Case("--trackio_args project=p", "told"),
    Case("--hf_hub_log_args push_results_to_hub=True", "refused"),  # for want of a token
    # what lm-eval or we took once, and then did not do
    Case("--fewshot_as_multiturn true", "refused"),
    Case("--max_batch_size 0", "refused", LOADED),
    Case("--max_batch_size 8", "refused", LOADED),
    Case("--limit 0", "refused"),
    Case("--num_fewshot -1", "refused"),
    Case("--batch_size 0", "refused", LOADED),
    Case("--seed None", "configuration"),
    Case('--samples {"boolq":[1]}', "refused"),
    Case('--samples {"piqa":[999]}', "refused"),
    Case("--device cuda:1", "refused"),
    Case("--batch_size 4", "refused"),
    Case("--scorer stock", "refused"),
    Case("--apply_chat_template rag", "refused"),
    Case("--apply_chat_template false", "refused"),
    Case("--verbosity loud", "refused"),
    Case("--wandb_config_args a=1", "refused"),
    Case("--hf_hub_log_args hub_results_org=me", "refused"),
    Case("--output_path=", "refused", {"--output_path": None}),
    Case("--data_dir=", "refused"),
]


@pytest.fixture
def places(tmp_path):
    """The files that cases name."""
    folder = tmp_path / "given"
    folder.mkdir()
    rows = [{"question": f"{number} + 1 =", "answer": number % 2} for number in range(4)]
    texts = {"mine": "'{{question}}'", "coded": "!function code.ask", "unsafe": "question\nunsafe_code: true"}
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / name / "code.py").write_text("def ask(doc):\n    return doc['question']\n")
        (folder / name / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\n"
            f"dataset_kwargs: {{data_files: {{test: {folder / name / 'rows.jsonl'}}}}}\n"
            f"test_split: test\noutput_type: multiple_choice\ndoc_to_text: {text}\ndoc_to_choice: [a, b]\n"
            "doc_to_target: answer\n"
        )
    (folder / "config.yaml").write_text("limit: 1\n")
    (folder / "other.lock").write_text('{"packages": {"gptalt-eval": {"version": "0.0", "sha256": ""}}}')
    (folder / "short" / "gsm8k").mkdir(parents=True)
    row = json.dumps({"question": "1 + 1?", "answer": "#### 2"})
    (folder / "short" / "gsm8k" / "test.jsonl").write_text(f"{row}\n{row}\n")
    return {
        "CONFIG": folder / "config.yaml",
        "TASKS": folder / "mine",
        "SHORT": folder / "short",
        "LOCK": folder / "other.lock",
        "CODE": folder / "coded" / "coded.yaml",
        "UNSAFE": folder / "unsafe" / "unsafe.yaml",
    }


@pytest.fixture(scope="module")
def seen():
    """What was seen without the flag, by what was typed: many cases have that in common."""
    return {}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A cache with the index of lm-eval's tasks, which takes seconds to make."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def observe(tmp_path, monkeypatch, capsys, places, index):
    """Runs the program in a folder of its own; returns what can be seen of it, by kind."""
    count = iter(range(9))
    fakes = FakeWandb(monkeypatch), FakeTrackio(monkeypatch)

    def call(words):
        folder = tmp_path / f"run{next(count)}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("GPTALT_CACHE", str(index))
        shutil.rmtree(index / "requests", ignore_errors=True)
        (index / "requests").mkdir()
        (index / "requests" / "old").touch()
        built, logged = watch_loading(monkeypatch), watch_logging()
        for fake in fakes:
            fake.told.clear()
        plugins = make_plugin_set(models=[
            make_scripted_model(), make_scripted_model(lambda prompt, answer: -len(answer), name="other"),
            Model("loaded", "", "", "", backend="watched", chat_template=True),
        ])  # fmt: skip
        try:
            cli.dispatch(words, plugins)
        except GptaltError as error:
            capsys.readouterr()
            return {"refused": str(error)}
        printed = capsys.readouterr()
        requests = sorted(str(file.relative_to(index)) for file in (index / "requests").rglob("*"))
        return {**read_results(folder), "requests": requests, "built": built, "logged": logged, "told": repr([fake.told for fake in fakes]),
                "printed": re.sub(r"[\d.:T-]+", "0", printed.out.replace(str(folder), ""))}  # fmt: skip

    return lambda words: call([str(places.get(word, word)) for word in words])


def watch_loading(monkeypatch):
    """What lm-eval's backend is built with, and whether by way of the tree."""
    built = {}

    class Watched(type(make_scripted_lm())):
        @classmethod
        def create_from_arg_obj(cls, args, extra):
            built.update(args=args, extra=extra)
            return cls()

    def add_tree(backend):
        built["tree"] = True
        return backend

    monkeypatch.setattr("lm_eval.api.registry.get_model", lambda name: Watched)
    monkeypatch.setattr("gptalt_eval.scoring.backend.add_tree", add_tree)
    return built


def watch_logging():
    """What lm-eval logs."""
    logged = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    logger = logging.getLogger("lm_eval")
    logger.handlers = [handler]
    return logged


def read_results(folder):
    """Scores, samples, files and configurations of the runs below a folder, without times."""
    record = load_record(find_runs(folder)[0])
    [results] = record.results
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    samples = [list(record.read_samples(0, task)) for task in results["configs"]]
    logged = [[(line["doc_hash"], line["arguments"], line["resps"]) for line in lines] for lines in samples]
    return {
        "scores": results["results"],
        "samples": logged,
        "files": [re.sub(r"\d{4}-[\d.T-]+", "TIME", name) for name in names],
        "configs": results["configs"],
        "configuration": {key: value for key, value in results["config"].items() if key != "model_args"},
    }


def spell(given):
    return [
        word
        for flag, value in given.items()
        if value is not None
        for word in ([flag, value] if value else [flag])
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_a_flag_does_something(case, observe, seen):
    given = {
        "--model": "scripted",
        "--tasks": "piqa",
        "--data_dir": "sample",
        "--output_path": "out",
        **case.given,
    }
    if case.seen == "samples":
        given["--log_samples"] = ""
    words = ["run", *spell(given)]
    if tuple(words) not in seen:
        seen[tuple(words)] = observe(words)
    without, with_it = seen[tuple(words)], observe([*words, *case.words.split()])
    assert with_it.get(case.seen) != without.get(case.seen)
    if case.seen != "refused":
        assert "refused" not in with_it, with_it


def test_no_flag_is_left_out():
    parser = Parser()
    add_run_flags(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    assert flags - {"--help"} == {re.split("[ =]", case.words)[0] for case in CASES}
