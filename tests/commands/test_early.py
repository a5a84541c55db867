"""Mistakes that once showed after the weights were loaded, or as a traceback: each typed, each answered at once."""

import json
import sys
from datetime import datetime

import pytest
from model_folders import write_model

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

GROUPED = ("--model", "scripted", "--data_dir", "sample")


@pytest.fixture
def complain(tmp_path, monkeypatch, cache):
    """Types a command in a folder of its own; returns the message. Nothing may be loaded or written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("gptalt_eval.running.resuming.execute", None)

    def call(*words, sample=True):
        plugins = make_plugin_set(models=[make_scripted_model()])
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(GptaltError) as caught:
            cli.dispatch(["run", *map(str, words), *(("--data_dir", "sample") if sample else ())], plugins)
        assert not {*tmp_path.rglob("*")} - {*before, cache, *cache.rglob("*")}
        return str(caught.value)

    return call


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "model", 3)


# ------------------------------------------------------------------------------------------ the model


def remove(name):
    return lambda folder: (folder / name).unlink()


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def set_config(**settings):
    return lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "llama", **settings}))


DAMAGES = {
    "no tokenizer": (remove("tokenizer.json"), "no vocabulary"),
    "no weights": (remove("model.safetensors.index.json"), "contains no weights"),
    "cut off": (cut("model-00001-of-00003.safetensors"), "is truncated"),
    "no shard": (remove("model-00003-of-00003.safetensors"), "1 of 3 weight files are missing"),
    "no configuration": (remove("config.json"), "config.json is missing"),
    "half a configuration": (cut("config.json"), "config.json is damaged"),
    "an unknown quantization": (
        set_config(quantization_config={"quant_method": "gptqq"}),
        "Did you mean 'gptq'",
    ),
}


@pytest.mark.parametrize(("damage", "expected"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("by_name", [True, False], ids=["--model", "pretrained"])
def test_a_damaged_folder(complain, folder, damage, expected, by_name):
    damage(folder)
    model = ("--model", folder) if by_name else ("--model", "hf", "--model_args", f"pretrained={folder}")
    assert expected in complain(*model, "--tasks", "piqa")


@pytest.mark.parametrize(
    "words", [{"model": "./model"}, {"model": "hf", "model_args": {"pretrained": "./model"}}]
)
def test_a_models_folder_gives_a_title_and_no_hidden_folder(folder, tmp_path, monkeypatch, words):
    from gptalt_eval.contract.spec import make_spec
    from gptalt_eval.running.experiments import plan_models
    from gptalt_eval.running.runfiles import choose_folder, describe_plan

    monkeypatch.chdir(tmp_path)
    spec = {"tasks": "piqa", "data_dir": "sample", "output_path": "out", **words}
    [plan] = plan_models(make_spec(spec), make_plugin_set())
    described = describe_plan(plan, datetime.now()).model
    assert (described.name, described.licence, described.home) == ("model", "licence not known here", "")
    assert str(choose_folder(plan)[1]) == "out/model"


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_quantized_folder_without_its_package(complain, folder, method):
    import importlib.util

    if importlib.util.find_spec("gptqmodel"):
        pytest.skip("the package is installed here")
    set_config(quantization_config={"quant_method": method, "bits": 4})(folder)
    assert "pip install" in complain("--model", folder, "--tasks", "piqa")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model_args", "dtyp=float16"), "Did you mean 'dtype'"),
        (("--model_args", "dtype=flaot16"), "Did you mean 'float16'"),
        (("--model_args", "dtype=fp16"), "Did you mean 'float16'"),
        (("--model_args", "trust_remote_cod=True"), "Did you mean 'trust_remote_code'"),
        (("--model_args", "tokenizer=./nowhere"), "There is no model folder ./nowhere"),
        (("--device", "gpu"), "Did you mean 'cuda'"),
        (("--device", "cuda:99"), "--device cuda:99"),
        (("--device", "xpu"), "torch finds no such device"),
        (("--device", "cdua"), "Did you mean 'cuda'"),
        (("--model_args", "device=cuda"), "Type: --device cuda"),
    ],
)
def test_how_a_model_is_loaded(complain, folder, words, expected):
    assert expected in complain("--model", folder, "--tasks", "piqa", *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model", "gpt2"), "--model OWNER/gpt2"),
        (("--model", "hf", "--model_args", "pretraned=org/name"), "Did you mean 'pretrained'"),
        (("--model", "openai-chat-completions", "--model_args", "modle=x"), "Did you mean 'model'"),
        (("--model", "openai-chat-completions", "--model_args", "model=x"), "OPENAI_API_KEY"),
        (
            ("--model", "vllm", "--model_args", "pretrained=x"),
            "pip install -c constraints-vllm.txt '.[vllm]'",
        ),
    ],
)
def test_which_model(complain, monkeypatch, words, expected):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if "vllm" in words:
        monkeypatch.setitem(sys.modules, "vllm", None)
    assert expected in complain(*words, "--tasks", "piqa")


# ------------------------------------------------------------------------------------------ the places


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--output_path", "/dev/null/x"), "--output_path /dev/null/x is not writable"),
        (("--output_path", "file/results.json"), "file is not a folder"),
        (("--use_cache", "/dev/null/x"), "--use_cache /dev/null/x"),
        (("--include_path", "nowhere"), "--include_path: there is no folder nowhere"),
    ],
)
def test_where_nothing_can_be_written(complain, tmp_path, words, expected):
    (tmp_path / "file").write_text("")
    assert expected in complain(*GROUPED[:2], "--tasks", "piqa", *words)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs a folder that even root cannot write to"
)
def test_a_working_directory_that_is_read_only(complain, monkeypatch):
    monkeypatch.chdir("/proc")
    text = complain(*GROUPED[:2], "--tasks", "piqa")
    assert "Results are saved in /proc/runs, which is not writable" in text and "--output_path" in text


def test_a_cache_that_is_read_only(complain, monkeypatch):
    monkeypatch.setenv("GPTALT_CACHE", "/dev/null/cache")
    text = complain("--model", "smollm2", "--tasks", "piqa")
    assert "GPTALT_CACHE is /dev/null/cache, which is not writable" in text
    text = complain(*GROUPED[:2], "--tasks", "piqa", "--cache_requests")
    assert "GPTALT_CACHE is /dev/null/cache" in text


# ------------------------------------------------------------------------------------------ the tasks


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--tasks", "mmlu,mmlu_anatomy"), "mmlu_anatomy is part of 'mmlu'"),
        (("--tasks", "piqa", "--num_fewshot", "40"), "piqa: 40 examples requested, but 'train' has only 6"),
        (("--tasks", "piqa", "--samples", '{"piqa": [20]}'), "piqa has no row 20"),
        (("--tasks", "piqa", "--samples", '{"pqia": [0]}'), "Did you mean 'piqa'"),
        (("--tasks", "piqa", "--samples", '{"piqa": []}'), "each task needs at least one row"),
        (("--tasks", "piqa", "--samples", "{}"), "each task needs at least one row"),
        (("--tasks", "piqa", "--samples", '{"piqa": [-1]}'), "row numbers start at 0"),
        (
            ("--tasks", "gsm8k", "--gen_kwargs", "max_gen_toks=many"),
            "'max_gen_toks' is 'many', not an integer",
        ),
        (("--tasks", "gsm8k", "--gen_kwargs", '{"do_sample": "false"}'), "Write true or false"),
        (("--tasks", "gsm8k", "--gen_kwargs", '{"until": [""]}'), "an empty text"),
        (("--tasks", "gsm8k", "--gen_kwargs", "temprature=0.7"), "Did you mean 'temperature'"),
        (("--tasks", "gsm8k", "--gen_kwargs", "do_sample=true"), "without a temperature"),
        (("--tasks", "gsm8k", "--gen_kwargs", "temperature=0.7"), "'temperature' has no effect"),
        (("--tasks", "gsm8k", "--gen_kwargs", "temperature=-1"), "It must be 0 or more"),
    ],
)
def test_what_is_asked_of_the_tasks(complain, words, expected):
    assert expected in complain("--model", "scripted", *words)


def test_sampling_that_is_set_as_a_whole(tmp_path, monkeypatch):
    from gptalt_eval.contract.spec import make_spec
    from gptalt_eval.running.experiments import plan_models

    spec = {"model": "scripted", "tasks": "gsm8k,piqa", "data_dir": "sample", "output_path": str(tmp_path)}
    settings = {"do_sample": True, "temperature": 0.7, "top_p": 0.9}
    plugins = make_plugin_set(models=[make_scripted_model()])
    assert plan_models(make_spec(spec | {"gen_kwargs": settings}), plugins)


def test_a_task_without_settings_is_greedy_and_stays_so(complain, write_task):
    file = write_task(output_type="generate_until", doc_to_choice=None)
    words = ("--model", "scripted", "--tasks", file, "--gen_kwargs", "temperature=0.7")
    assert "(with the settings of mine)" in complain(*words, sample=False)


@pytest.fixture
def write_task(tmp_path):
    def write(rows=({"q": "1 + 1", "a": "2"},), **changes):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        fields = {
            "task": "mine", "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice",
            "doc_to_text": "{{q}}", "doc_to_choice": ["one", "2"], "doc_to_target": "a",
            "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}, **changes,
        }  # fmt: skip
        (tmp_path / "mine.yaml").write_text(json.dumps(fields))  # JSON is YAML
        return tmp_path / "mine.yaml"

    return write


FAULTS = {
    "a number taken for an index": (
        {"doc_to_choice": ["1", "2", "3"], "doc_to_target": "{{a}}"},
        "for the index",
    ),
    "a target that is no choice": ({"doc_to_choice": ["one", "two"]}, "is not one of"),
    "an index beyond the choices": ({"doc_to_target": 7}, "the choices are numbered 0 to 1"),
    "a column that is not there": ({"doc_to_text": "{{question}}"}, "uses 'question'"),
    "a metric that is not computed": ({"metric_list": [{"metric": "bleu"}]}, "does not compute 'bleu'"),
    "a field that does not exist": ({"descripton": "x"}, "Did you mean 'description'"),
    "a file that does not exist": (
        {"dataset_kwargs": {"data_files": {"test": "rows.json"}}},
        "no data file rows.json",
    ),
    "a stop string that is a number": (
        {"output_type": "generate_until", "doc_to_choice": None, "generation_kwargs": {"until": [1]}},
        "which is not text",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("by_name", [True, False], ids=["--include_path", "a path"])
def test_what_validate_would_have_found(complain, write_task, changes, expected, by_name):
    file = write_task(**changes)
    words = ("--tasks", "mine", "--include_path", file.parent) if by_name else ("--tasks", file)
    text = complain("--model", "scripted", *words, sample=False)
    assert expected in text and "mine.yaml, line 1: " in text and "gptalt-eval validate mine.yaml" in text


def test_a_sound_task_of_the_users_own_runs(write_task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = make_plugin_set(models=[make_scripted_model()])
    words = ["run", "--model", "scripted", "--tasks", str(write_task()), "--output_path", "out"]
    assert cli.dispatch(words, plugins) == 0


def test_metrics_do_not_matter_if_none_is_computed(write_task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = make_plugin_set(models=[make_scripted_model()])
    file = write_task(metric_list=[{"metric": "bleu"}])
    words = ["run", "--model", "scripted", "--tasks", str(file), "--output_path", "out", "--predict_only"]
    assert cli.dispatch(words, plugins) == 0


# ------------------------------------------------------------------------------------------ all at once


def test_all_of_them_in_one_message(complain, folder, write_task):
    remove("model-00002-of-00003.safetensors")(folder)
    remove("tokenizer.json")(folder)
    file = write_task(doc_to_target=7)
    text = complain(
        "--model", folder, "--model_args", "dtyp=auto,dtype=fp16", "--device", "gpu", "--output_path", "/dev/null/x",
        "--tasks", f"{file},piqa,hellaswga", "--num_fewshot", 0, "--samples", '{"piqa": [99]}', "--gen_kwargs", "top_p=2",
    )  # fmt: skip
    for expected in (
        "'dtyp'", "dtype=fp16", "--device gpu", "1 of 3 weight files", "no vocabulary", "--output_path", "hellaswag", "no row 99",
        "--gen_kwargs: 'top_p' is 2", "mine.yaml, line 1: The target is 7",
    ):  # fmt: skip
        assert expected in text, expected
    assert text.startswith("10 problems found")
