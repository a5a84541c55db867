"""Settings in other people's files: nothing that they ask for happens without ``--trust``, all of it with it."""

import atexit
import functools
import json
import os
import shutil
import tempfile
import threading
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from services import FakeTrackio, FakeWandb

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.consent.asks import list_asks
from gptalt_eval.testing import make_plugin_set, make_scripted_model

HOST = "http://203.0.113.9/v1"
SETTINGS = {"model": "scripted", "tasks": ["gsm8k"], "data_dir": "sample", "limit": 1}
#: setting, value, what the message says of it
ASKS = [
    ("trust_remote_code", True, "runs the code of the model scripted"),
    ("confirm_run_unsafe_code", True, "runs what the model writes"),
    ("model_args", {"trust_remote_code": True}, "runs code: true (model_args trust_remote_code"),
    ("model_args", {"trust_remote_code": "True"}, "runs code: True"),
    ("model_args", {"deep": [{"er": {"trust_remote_code": 1}}]}, "deep.er.trust_remote_code"),
    ("model_args", {"worker_cls": "evil"}, "runs code: evil"),
    ("model_args", {"x": "evil.module.Class"}, "may run Python: evil.module.Class"),
    ("model_args", {"attn_implementation": "evil/kernel"}, "runs code of the hub: evil/kernel"),
    ("model_args", {"use_kernels": True}, "use_kernels"),
    ("model_args", {"weights_only": False}, "runs code in pickled weights"),
    ("model_args", {"steer_path": "evil.pt"}, "runs code: evil.pt"),
    ("model_args", {"base_url": HOST}, f"sends prompts to {HOST}"),
    ("model_args", {"base_url": "203.0.113.9:80/v1"}, "sends prompts to 203.0.113.9:80/v1"),
    ("model_args", {"proxies": {"https": "203.0.113.9:80"}}, "sends prompts to 203.0.113.9:80"),
    ("model_args", {"whatever": [HOST]}, f"sends prompts to {HOST}"),
    ("model_args", {"cache_dir": "/abs/cache"}, "uses the files in /abs/cache"),
    ("model_args", {"cache_dir": "cache"}, "uses the files in cache"),
    ("model_args", {"ca_cert_path": "../../pem"}, "uses the files in ../../pem"),
    ("gen_kwargs", {"custom_generate": "evil/repo"}, "runs code: evil/repo"),
    ("gen_kwargs", {"custom_generate": {"repo": "evil"}}, "runs code: evil"),
    ("gen_kwargs", {"trust_remote_code": True}, "gen_kwargs trust_remote_code"),
    ("gen_kwargs", {"deep": {"custom_generate": "evil/repo"}}, "runs code: evil/repo (gen_kwargs deep.custom_generate"),
    ("gen_kwargs", {"deep": [{"er": {"trust_remote_code": "yes"}}]}, "gen_kwargs deep.er.trust_remote_code"),
    ("gen_kwargs", {"deep": {"logits_processor": ["evil.module"]}}, "runs code: evil.module (gen_kwargs deep.logits_processor"),
    ("trust_task_code", "evil.yaml", "runs the Python of the task evil.yaml"),
    ("trust_task_code", ["a.yaml", "evil.yaml"], "runs the Python of the task evil.yaml"),
    ("metadata", {"trust_remote_code": True}, "metadata trust_remote_code"),
    ("metadata", {"url": HOST}, f"sends prompts to {HOST}"),
    ("wandb_args", {"project": "p", "entity": "evil"}, "sends results and samples to others (wandb_args"),
    ("trackio_args", {"project": "p", "space_id": "evil/x"}, "sends results and samples to others (trackio_args"),
    ("use_cache", "/{elsewhere}/cache", "writes answers to /"),
    ("output_path", "/{elsewhere}/out", "writes results to /"),
]  # fmt: skip
WAYS = ("resume", "rerun", "run", "--config")


def make_plugins(marker):
    """A model that leaves a marker as soon as it is made."""
    model = make_scripted_model()
    made = model.create

    def create(args):
        marker.write_text(json.dumps(args))
        return made(args)

    return make_plugin_set(models=[replace(model, create=create)])


@pytest.fixture
def scene(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    FakeWandb(monkeypatch)
    FakeTrackio(monkeypatch)
    return tmp_path


@functools.cache
def make_run():
    """A finished run, made once."""
    folder = Path(tempfile.mkdtemp(prefix="gptalt-trust-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    words = ["--model=scripted", "--tasks=gsm8k", "--data_dir=sample", "--limit=1", f"--output_path={folder}"]
    cli.dispatch(words, make_plugin_set(models=[make_scripted_model()]))
    return folder / "scripted"


def write_file(folder, way, settings):
    """A stranger's file with some settings; returns the words that use it."""
    theirs = folder / "theirs"
    theirs.mkdir(exist_ok=True)
    if way in ("run", "--config"):
        (theirs / "experiment.yaml").write_text(yaml.safe_dump(settings))
        return [*([] if way == "run" else ["run"]), way, str(theirs / "experiment.yaml")]
    run = theirs / "scripted"
    shutil.copytree(make_run(), run, dirs_exist_ok=True)
    content = json.loads((run / "run.json").read_text())
    for file in (*run.glob("samples_*"), *run.glob("results_*")):
        file.unlink()
    content |= {
        "settings": settings,
        "done": [],
        "results": [],
        "missing": ["gsm8k"],
        "status": "interrupted",
    }
    content["cells"] = [{"prompt_style": None, "num_fewshot": None, "results": None}]
    content["model"]["fingerprint"] = None
    (run / "run.json").write_text(json.dumps(content))
    return [way, str(run)]


def call(marker, *words):
    return cli.dispatch([str(word) for word in words], make_plugins(marker))


def fill(value, folder):
    return value.replace("/{elsewhere}", str(folder / "elsewhere")) if isinstance(value, str) else value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("setting", "value", "said"), ASKS, ids=lambda value: json.dumps(value)[:40])
def test_nothing_happens_without_trust_and_all_of_it_with_it(scene, way, setting, value, said):
    if (way, setting) == ("resume", "output_path"):
        pytest.skip("a resumed run stays in its folder, whatever the file says: see below")
    value, marker = fill(value, scene), scene / "marker"
    code = {"trust_remote_code": True} if setting == "gen_kwargs" else {}  # without it, always refused
    words = write_file(scene, way, {**SETTINGS, **code, setting: value})
    before = sorted(map(str, scene.rglob("*")))
    with pytest.raises(GptaltError) as caught:
        call(marker, *words)
    assert said in str(caught.value) and "--trust" in caught.value.hint
    assert not marker.exists() and sorted(map(str, scene.rglob("*"))) == before
    call(marker, *words, "--trust")
    given = json.loads(marker.read_text())
    assert setting != "model_args" or value.items() <= given.items()
    assert setting not in ("use_cache", "output_path") or list((scene / "elsewhere").iterdir())


@pytest.mark.parametrize("way", WAYS)
def test_a_cluster_of_strangers_is_not_joined_without_trust(scene, way):
    words = write_file(scene, way, {**SETTINGS, "cluster": "evil.example:6379"})
    with pytest.raises(GptaltError) as caught:
        call(scene / "marker", *words)
    assert "the cluster at evil.example:6379" in caught.value.what and "--trust" in caught.value.hint
    if way == "resume":  # what is typed replaces it
        with pytest.raises(GptaltError) as caught:
            call(scene / "marker", *words, "--workers", "2")
        assert "evil.example" not in str(caught.value) and "--trust" not in caught.value.hint
    assert not (scene / "marker").exists()


@pytest.mark.parametrize("way", WAYS)
def test_everything_is_listed_at_once(scene, way):
    settings = {"trust_remote_code": True, "model_args": {"base_url": HOST}, "use_cache": "/abs/x"}
    words = write_file(scene, way, {**SETTINGS, **settings})
    with pytest.raises(GptaltError) as caught:
        call(scene / "marker", *words)
    assert all(text in caught.value.what for text in ("runs the code", f"sends prompts to {HOST}", "/abs/x"))


@pytest.mark.parametrize("way", WAYS)
def test_harmless_settings_ask_for_nothing(scene, way):
    harmless = {"model_args": {"dtype": "float32", "max_length": 99}, "gen_kwargs": {"until": ["/a", "http://"]},
                "use_cache": "kept/answers", "output_path": "out", "log_samples": True, "seed": 3}  # fmt: skip
    call(scene / "marker", *write_file(scene, way, {**SETTINGS, **harmless}))
    assert (scene / "marker").exists()


def test_what_is_typed_overrides_the_file_and_asks_for_nothing(scene):
    words = write_file(scene, "run", {**SETTINGS, "model_args": {"base_url": HOST}})
    call(scene / "marker", *words, "--model_args", f"base_url={HOST}/mine")
    assert json.loads((scene / "marker").read_text()) == {"base_url": f"{HOST}/mine"}


def test_consent_is_for_what_was_listed(scene):
    marker = scene / "marker"
    asking = {**SETTINGS, "model_args": {"base_url": HOST}}
    call(marker, *write_file(scene, "run", asking), "--trust")
    call(marker, *write_file(scene, "run", asking))
    call(marker, *write_file(scene, "run", {**asking, "limit": 2}))
    with pytest.raises(GptaltError, match=r"203\.0\.113\.10"):
        call(marker, *write_file(scene, "run", {**asking, "model_args": {"base_url": "http://203.0.113.10"}}))
    (scene / "copy.yaml").write_text((scene / "theirs" / "experiment.yaml").read_text())
    with pytest.raises(GptaltError, match=r"copy\.yaml asks for more"):
        call(marker, "run", scene / "copy.yaml")


def test_trust_without_a_file_is_refused():
    with pytest.raises(GptaltError, match="--trust is for the settings in a file"):
        call(None, "--model=scripted", "--tasks=piqa", "--trust")


def test_a_resumed_run_stays_in_its_folder(scene):
    words = write_file(scene, "resume", {**SETTINGS, "output_path": str(scene / "elsewhere" / "out")})
    call(scene / "marker", *words)
    assert not (scene / "elsewhere").exists()
    record = load_record(scene / "theirs" / "scripted")
    assert record.is_complete and record.run.settings["output_path"] == str(scene / "theirs")


def test_a_file_of_row_numbers_is_not_read_unasked(scene):
    (scene / "rows.json").write_text('{"gsm8k": [0]}')
    words = write_file(scene, "run", {**SETTINGS, "limit": None, "samples": str(scene / "rows.json")})
    with pytest.raises(GptaltError, match=r"reads .*rows\.json"):
        call(scene / "marker", *words)
    call(scene / "marker", *words, "--trust")


def test_an_experiments_file_is_asked_about_too(scene):
    theirs = scene / "theirs"
    theirs.mkdir()
    (theirs / "experiment.json").write_text(
        json.dumps({**SETTINGS, "model": "scripted,dummy", "trust_remote_code": True})
    )
    with pytest.raises(GptaltError, match=r"experiment\.json asks for more"):
        call(scene / "marker", "resume", theirs)
    assert [file.name for file in theirs.iterdir()] == ["experiment.json"] and not (scene / "marker").exists()


@pytest.mark.parametrize(
    "given", [["--trust_remote_code"], ["--model_args", f"base_url={HOST}", "--use_cache=/{elsewhere}/kept"]]
)
def test_ones_own_run_is_resumed_and_repeated_without_a_flag(scene, monkeypatch, given):
    stops = {"left": 1}

    def answer(prompt):
        stops["left"] -= 1
        if not stops["left"]:
            raise KeyboardInterrupt
        return "5"

    seen = []
    model = replace(make_scripted_model(generate=answer), backend="hf")
    made = model.create
    model = replace(model, create=lambda args: (seen.append(dict(args)), made(args))[1])
    monkeypatch.setattr("gptalt_eval.planning.resolve.check_built", lambda model, spec: None)
    words = ["--model=scripted", "--tasks=gsm8k", "--data_dir=sample", "--limit=2", f"--output_path={scene / 'mine'}",
             *(fill(word, scene).replace("=/{elsewhere}", f"={scene}/elsewhere") for word in given)]  # fmt: skip
    with pytest.raises(GptaltError, match="Stopped"):
        cli.dispatch(words, make_plugin_set(models=[model]))
    monkeypatch.chdir(scene)
    assert cli.dispatch(["resume", str(scene / "mine" / "scripted")], make_plugin_set(models=[model])) == 0
    assert cli.dispatch(["rerun", str(scene / "mine" / "scripted")], make_plugin_set(models=[model])) == 0
    assert len(seen) == 3 and seen[0] == seen[1] == seen[2]
    content = json.loads((scene / "mine" / "scripted" / "run.json").read_text())
    content["settings"]["model_args"] = {"base_url": "http://203.0.113.10"}
    (scene / "mine" / "scripted" / "run.json").write_text(json.dumps(content))
    with pytest.raises(GptaltError, match=r"203\.0\.113\.10"):
        cli.dispatch(["rerun", str(scene / "mine" / "scripted")], make_plugin_set(models=[model]))


class Service(BaseHTTPRequestHandler):
    """A service that remembers the keys that it was sent."""

    def do_POST(self):
        self.server.keys.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def ask_service(args):
    """As a model of a service does: the key goes wherever ``base_url`` says."""
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    urllib.request.urlopen(urllib.request.Request(args["base_url"], b"prompt", headers)).close()
    return make_scripted_model().create(args)


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        server.keys = []
        server.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.plugins = make_plugin_set(models=[replace(make_scripted_model(), create=ask_service)])
        yield server
        server.shutdown()


@pytest.mark.parametrize("way", WAYS)
def test_no_key_leaves_for_a_host_that_only_a_file_names(scene, service, way):
    words = write_file(scene, way, {**SETTINGS, "model_args": {"base_url": service.url}})
    with pytest.raises(GptaltError, match=f"sends prompts to {service.url}"):
        cli.dispatch(list(words), service.plugins)
    assert service.keys == []
    cli.dispatch([*words, "--trust"], service.plugins)
    assert service.keys == ["Bearer sk-mine"]


def test_ones_own_run_of_a_service_is_repeated_without_a_flag(scene, service):
    words = [
        "--model=scripted",
        "--tasks=gsm8k",
        "--data_dir=sample",
        "--limit=1",
        f"--output_path={scene / 'mine'}",
    ]
    cli.dispatch([*words, f"--model_args=base_url={service.url}"], service.plugins)
    cli.dispatch(["rerun", str(scene / "mine" / "scripted")], service.plugins)
    assert service.keys == ["Bearer sk-mine"] * 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"model": "openai-completions"},
            "sends prompts to the service of openai-completions, with the key in OPENAI_API_KEY",
        ),
        ({"model": "litellm"}, "sends prompts to the service of litellm"),
        ({"model": "nemo_lm", "model_args": {"path": "x.nemo"}}, "runs code in the weights of nemo_lm"),
        (
            {"model": "hf", "tasks": "niah_single_1", "model_args": {"pretrained": "evil/x"}},
            "runs the code of the tokenizer of evil/x",
        ),
        (
            {"model": "hf", "tasks": "./evil.yaml", "data_dir": "/home/ann"},
            "lets tasks read the files in /home/ann",
        ),
    ],
)
def test_more_that_is_listed(settings, said):
    spec = make_spec(settings)
    assert [line for line in list_asks(spec, settings.keys()) if line.startswith(said)]


@pytest.mark.parametrize("settings", [
    {"model": "hf", "model_args": {"pretrained": "/models/mine", "tokenizer": "~/tokenizer", "peft": "./adapter"}},
    {"model": "hf", "model_args": {"pretrained": "owner/name", "dtype": "torch.float16", "attn_implementation": "sdpa"}},
    {"model": "hf", "model_args": {"trust_remote_code": False, "weights_only": True}, "trust_remote_code": False},
    {"model": "vllm", "model_args": {"pretrained": "x/y", "tensor_parallel_size": 2, "gpu_memory_utilization": 0.9}},
    {"model": "hf", "tasks": "mmlu", "data_dir": "/data/benchmarks", "system_instruction": "See http://x"},
    {"model": "hf", "wandb_config_args": {"note": "x"}},
])  # fmt: skip
def test_what_is_harmless_is_not_listed(settings):
    assert list_asks(make_spec(settings), settings.keys()) == []


@pytest.mark.parametrize("setting", ["include_path", "data_dir"])
def test_a_file_makes_no_folder_free(scene, setting, capsys):
    """Not even the working folder, in which the user's own papers may be."""
    (scene / "work" / "papers").mkdir()
    (scene / "work" / "papers" / "diary.txt").write_text("the user's secret")
    (scene / "theirs").mkdir()
    (scene / "theirs" / "quiz.yaml").write_text(
        f"task: quiz\ndataset_path: text\ndataset_kwargs: {{data_files: {scene / 'work' / 'papers' / 'diary.txt'}}}\n"
        "test_split: train\noutput_type: generate_until\ndoc_to_text: text\ndoc_to_target: x\n"
        "generation_kwargs: {until: ['.']}\nmetric_list: [{metric: exact_match}]\n"
    )
    settings = {
        "model": "scripted",
        "tasks": str(scene / "theirs" / "quiz.yaml"),
        setting: "papers",
        "log_samples": True,
    }
    (scene / "theirs" / "e.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(GptaltError, match="lets tasks read the files in papers"):
        call(scene / "marker", "run", scene / "theirs" / "e.yaml")
    assert not (scene / "marker").exists() and not (scene / "work" / "runs").exists()


@pytest.mark.parametrize("is_linked", [False, True])
@pytest.mark.parametrize("setting", ["custom_generate", "pretrained"])
def test_consent_is_for_the_code_as_it_was(scene, setting, is_linked):
    folder = scene / "theirs" / "code"
    inner = folder / "custom_generate" if setting == "custom_generate" else folder
    real = scene / "theirs" / "elsewhere" if is_linked else inner
    real.mkdir(parents=True)
    if is_linked:
        inner.parent.mkdir(exist_ok=True)
        inner.symlink_to(real)
    (inner / "generate.py").write_text("1")
    given = (
        {"gen_kwargs": {setting: str(folder)}}
        if setting == "custom_generate"
        else {"model_args": {setting: str(folder)}}
    )
    words = write_file(scene, "run", {**SETTINGS, "trust_remote_code": True, **given})
    call(scene / "marker", *words, "--trust")
    call(scene / "marker", *words)
    (inner / "generate.py").write_text("2")
    with pytest.raises(GptaltError, match="asks for more"):
        call(scene / "marker", *words)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_pushed_to_the_hub_unasked(scene, way, monkeypatch):
    pushed = []

    class Hub(Silent):
        def __init__(self, spec, note):
            pushed.append(spec)

    monkeypatch.setattr("gptalt_eval.running.lmeval.loggers.Hub", Hub)
    pushes = {"push_results_to_hub": True, "hub_results_org": "evil"}
    words = write_file(scene, way, {**SETTINGS, "hf_hub_log_args": pushes})
    with pytest.raises(GptaltError, match=r"sends results and samples to others \(hf_hub_log_args .*evil"):
        call(scene / "marker", *words)
    assert not pushed and not (scene / "marker").exists()
    call(scene / "marker", *words, "--trust")
    assert [dict(spec.hf_hub_log_args) for spec in pushed] == [pushes]


class Silent:
    """A service that takes everything."""

    flag = "hf_hub_log_args"
    needs_samples = False

    def log(self, *_):
        pass

    def finish(self):
        pass


def test_a_resumed_run_with_code_that_generates_asks_when_the_code_has_changed(scene, monkeypatch):
    """One's own run, whose flags were typed; what was trusted is the code as it was then."""
    code, stops = scene / "mine" / "generation", {"left": 1}
    (code / "custom_generate").mkdir(parents=True)
    (code / "custom_generate" / "generate.py").write_text("1")

    def answer(prompt):
        stops["left"] -= 1
        if not stops["left"]:
            raise KeyboardInterrupt
        return "5"

    plugins = make_plugin_set(models=[make_scripted_model(generate=answer)])
    settings = json.dumps({"until": ["."], "custom_generate": str(code)})
    words = ["--model=scripted", "--tasks=gsm8k", "--data_dir=sample", "--limit=2", f"--output_path={scene / 'mine'}",
             f"--gen_kwargs={settings}", "--trust_remote_code"]  # fmt: skip
    with pytest.raises(GptaltError, match="runs Python code"):
        cli.dispatch(words[:-1], plugins)
    with pytest.raises(GptaltError, match="Stopped"):
        cli.dispatch(words, plugins)
    (code / "custom_generate" / "generate.py").write_text("2")
    with pytest.raises(GptaltError, match=r"runs code: .*generation \(gen_kwargs custom_generate"):
        cli.dispatch(["resume", str(scene / "mine" / "scripted")], plugins)
    (code / "custom_generate" / "generate.py").write_text("1")
    assert cli.dispatch(["resume", str(scene / "mine" / "scripted")], plugins) == 0
