"""Rows of strangers: nothing but the rows is read, nothing is fetched elsewhere, and no key leaves."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import datasets
import pyarrow.parquet
import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.running.lmeval import guards
from gptalt_eval.testing import make_plugin_set, make_scripted_model

TASK = """
task: quiz
test_split: train
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "x"
generation_kwargs: {until: ["."]}
metric_list: [{metric: exact_match}]
"""
SECRET = "the user's secret"


class Listener(BaseHTTPRequestHandler):
    """A stranger's host, which notes who asks it for what, and with which key."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(404)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_the_user_s_key")
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        server.asked, server.url = [], f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def scene(tmp_path, monkeypatch):
    (tmp_path / "theirs" / "rows").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "secret.txt").write_text(SECRET)
    (tmp_path / "theirs" / "rows" / "train.txt").write_text("an ordinary row")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(scene, capsys, lines, *words):
    """What ``show task`` prints of the stranger's task, or how it refuses."""
    (scene / "theirs" / "quiz.yaml").write_text(TASK + lines)
    try:
        cli.dispatch(["show", "task", str(scene / "theirs" / "quiz.yaml"), *words], make_plugin_set())
    except GptaltError as error:
        return str(error)
    return capsys.readouterr().out


@pytest.mark.parametrize("settings", [
    '{data_files: "hf://datasets/a/b/x.json", storage_options: {hf: {endpoint: "HOST"}}}',
    '{data_files: "hf://datasets/a/b/x.json", storage_options: {endpoint: "HOST"}}',
    '{data_files: "hf://datasets/a/b/x.json", deep: [{storage_options: {hf: {endpoint: "HOST"}}}]}',
    '{catalog_config: {uri: "HOST"}}',
    '{con: "HOST"}',
])  # fmt: skip
def test_no_key_goes_to_a_host_that_a_yaml_names(scene, capsys, host, settings):
    lines = f"dataset_path: json\ndataset_kwargs: {settings.replace('HOST', host.url)}\n"
    told = show(scene, capsys, lines)
    assert host.url in told and "--trust_task_code" in told and host.asked == []


def test_with_consent_the_host_is_asked(scene, capsys, host):
    settings = (
        f'{{data_files: "hf://datasets/a/b/x.json", storage_options: {{hf: {{endpoint: "{host.url}"}}}}}}'
    )
    lines = f"dataset_path: json\ndataset_kwargs: {settings}\n"
    show(scene, capsys, lines, "--trust_task_code", str(scene / "theirs" / "quiz.yaml"))
    assert host.asked


CARD = "configs:\n- config_name: default\n  data_files: SECRET\n"
CARDS = {
    "a rule in a text": "---\npretty_name: 'x --- y'\n" + CARD + "---\n",
    "empty lines first": "\n  \n---\n" + CARD + "---\n",
    "other line ends": "---\r\n" + CARD.replace("\n", "\r\n") + "---\r\n",
    "a byte order mark": "\ufeff---\n" + CARD + "---\n",
    "no end of line": "---\n" + CARD + "---",
    "spaces at its end": "---\n" + CARD + "---  \ntext\n",
    "plain": "---\n" + CARD + "---\n",
}


@pytest.mark.parametrize("name", [*CARDS])
def test_what_a_card_names_is_found_as_the_library_finds_it(scene, capsys, name):
    card = CARDS[name].replace("SECRET", str(scene / "mine" / "secret.txt"))
    (scene / "theirs" / "rows" / "README.md").write_bytes(card.encode())
    told = show(scene, capsys, f"dataset_path: {scene / 'theirs' / 'rows'}\n")
    assert SECRET not in told and "reads" in told and "secret.txt" in told


def test_what_the_library_finds_is_checked_too(scene, capsys, monkeypatch):
    """Even if the card had been understood in another way."""
    card = CARDS["plain"].replace("SECRET", str(scene / "mine" / "secret.txt"))
    (scene / "theirs" / "rows" / "README.md").write_text(card)
    monkeypatch.setattr("gptalt_eval.planning.consent.reads.read_card", lambda folder: [])
    told = show(scene, capsys, f"dataset_path: {scene / 'theirs' / 'rows'}\n")
    assert SECRET not in told and "names files that are not below its folder" in told


@pytest.mark.parametrize("text", ["&a [*a, ", "x: !!python/name:os.system\n", "[" * 5000])
def test_a_card_that_cannot_be_read_is_a_message(scene, capsys, text):
    (scene / "theirs" / "rows" / ".huggingface.yaml").write_text(text)
    told = show(scene, capsys, f"dataset_path: {scene / 'theirs' / 'rows'}\n")
    assert ".huggingface.yaml cannot be read" in told


def save_pictures(scene, places, nested=False):
    """A Parquet file whose pictures are elsewhere."""
    kept = [{"bytes": None, "path": place} for place in places]
    feature = datasets.Sequence(datasets.Image()) if nested else datasets.Image()
    features = datasets.Features({"text": datasets.Value("string"), "picture": feature})
    raw = datasets.Dataset.from_dict(
        {"text": ["a"] * len(kept), "picture": [[one] if nested else one for one in kept]}
    )
    table = raw.data.table.cast(features.arrow_schema)
    pyarrow.parquet.write_table(table, scene / "theirs" / "rows" / "train.parquet")
    return f"dataset_path: parquet\ndataset_kwargs: {{data_files: {scene / 'theirs' / 'rows' / 'train.parquet'}}}\n"


@pytest.mark.parametrize("nested", [False, True])
def test_a_picture_in_a_row_is_fetched_from_nowhere(scene, capsys, host, nested):
    for place in (
        f"{host.url}/leak.png",
        str(scene / "mine" / "secret.txt"),
        f"zip://x.png::{host.url}/x.zip",
    ):
        told = show(scene, capsys, save_pictures(scene, [place], nested))
        assert "a row names a file that is not part of the data" in told and host.asked == []
    (scene / "theirs" / "rows" / "link.png").symlink_to(scene / "mine" / "secret.txt")
    told = show(scene, capsys, save_pictures(scene, [str(scene / "theirs" / "rows" / "link.png")], nested))
    assert "a row names a file" in told


def test_pictures_beside_the_rows_are_theirs(scene):
    lines = save_pictures(scene, [str(scene / "theirs" / "rows" / "a.png")])
    rows = datasets.load_dataset("parquet", data_files=lines.split("data_files: ")[1].strip(" }\n"))
    guards.refuse_media("rows", rows, [scene / "theirs"])
    with pytest.raises(GptaltError):
        guards.refuse_media("rows", rows, [scene / "mine"])


@pytest.mark.parametrize("kind", ["pipe", "device", "linked"])
@pytest.mark.parametrize("way", ["validate", "show", "folder", "include", "run", "--config", "rows", "model"])
def test_a_file_that_does_not_end_is_not_waited_for(scene, capsys, way, kind):
    theirs = scene / "theirs"
    odd = theirs / {"rows": "rows/piqa/valid.jsonl", "model": "config.json"}.get(way, "odd.yaml")
    odd.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "device":
        odd.symlink_to("/dev/zero")
    else:
        os.mkfifo(scene / "mine" / "pipe")
        odd.symlink_to(scene / "mine" / "pipe")
    (theirs / "quiz.yaml").write_text(f"{TASK}include: odd.yaml\n" if way == "include" else TASK)
    run = ["run", "--model=scripted", "--limit=1", f"--output_path={scene / 'out'}", "--tasks=piqa"]
    words = {
        "validate": ["validate", str(theirs)], "show": ["show", "task", str(odd)],
        "folder": [*run, "--data_dir=sample", f"--include_path={theirs}"],
        "include": ["show", "task", str(theirs / "quiz.yaml")], "run": ["run", str(odd)],
        "--config": [*run, "--config", str(odd)], "rows": [*run, f"--data_dir={theirs / 'rows'}"],
        "model": ["run", f"--model={theirs}", "--tasks=piqa", "--data_dir=sample", f"--output_path={scene / 'out'}"],
    }[way]  # fmt: skip
    try:
        cli.dispatch(words, make_plugin_set(models=[make_scripted_model()]))
    except GptaltError as error:
        told = str(error)
    else:
        told = capsys.readouterr().out
    assert "Results:" in told if way == "folder" else told


def make_deep(folder):
    at = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=at)
        below = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def remove_deep(folder):
    """pytest cannot, for the same reason."""
    top, kept = folder / "a", folder / "kept"
    while (top / "a").is_dir():
        (top / "a").rename(kept)
        top.rmdir()
        kept.rename(top)
    top.rmdir()


def test_a_folder_may_be_as_deep_as_the_system_allows(scene, capsys, request):
    """Python's own way to walk through folders ends with an error at a thousand levels."""
    plugins = make_plugin_set(models=[make_scripted_model()])
    words = ["run", "--model=scripted", "--tasks=piqa", "--data_dir=sample", "--limit=1", "--output_path=out"]
    cli.dispatch(words, plugins)
    theirs = scene / "out" / "scripted"
    (theirs / "quiz.yaml").write_text(TASK + "dataset_path: json\n")
    make_deep(theirs)
    request.addfinalizer(lambda: remove_deep(theirs))
    for words in (
        ["report", str(theirs)], ["compare", str(theirs), str(theirs)], ["validate", str(theirs)],
        ["run", "--model=scripted", "--tasks=piqa", "--data_dir=sample", "--limit=1", "--output_path=b", f"--include_path={theirs}"],
    ):  # fmt: skip
        try:
            cli.dispatch(words, plugins)
        except GptaltError as error:
            assert words[0] in ("compare", "validate"), error
    capsys.readouterr()


def test_a_generation_setting_is_no_address(scene, capsys, host):
    """Some of lm-eval's classes hand a task's settings on to a client, and ``api_base`` says whom it asks."""
    rows = scene / "theirs" / "rows" / "rows.jsonl"
    rows.write_text(json.dumps({"text": "a"}))
    lines = f"dataset_path: json\ndataset_kwargs: {{data_files: {rows}}}\n"
    for setting in (
        f"api_base: '{host.url}'",
        f"extra: {{base_url: '{host.url}'}}",
        "worker_cls: evil.Class",
    ):
        told = show(scene, capsys, lines + f"generation_kwargs: {{until: ['http://x'], {setting}}}\n")
        assert ("sends prompts to " if "http" in setting else "runs Python: evil.Class") in told
        assert "--trust_task_code" in told and host.asked == []
    assert "http://x" not in show(scene, capsys, lines + "generation_kwargs: {until: ['http://x']}\n")
