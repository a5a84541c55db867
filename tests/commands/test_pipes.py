"""A pipe in place of any file that a user, or a stranger's file, names: one message, and nobody waits for ever."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.testing import make_plugin_set, make_scripted_model

ROOT = Path(__file__).parents[2]
SECONDS = 20  # of waiting; nothing here takes one
TASK = """
task: quiz
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [a, b]
doc_to_target: 0
"""
ROWS = '{"question": "a or b?"}\n{"question": "b or a?"}\n'
DATASETS = "own: {hub: own/set, splits: {test: own/PLACE}}\n"
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among files here")


class Waited(BaseException):
    """The program waited for a pipe; nothing catches this."""


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A working folder with a task, its rows, a run and a model's folder."""

    def stop(*_):
        raise Waited

    monkeypatch.chdir(tmp_path)
    (tmp_path / "quiz.yaml").write_text(TASK)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "piqa").mkdir()
    (tmp_path / "folder").mkdir()
    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


def call(*words):
    """(exit code, message)."""
    try:
        code = cli.dispatch([str(word) for word in words], make_plugin_set(models=[make_scripted_model()]))
    except GptaltError as error:
        return error.exit_code, str(error)
    return code, ""


RUN = ("run", "--model=scripted", "--output_path=out", "--limit=1")
NAMED = {
    "report": ("report", "PIPE"),
    "report into": ("report", "RUN", "--output", "PIPE"),
    "compare": ("compare", "PIPE", "PIPE"),
    "resume": ("resume", "PIPE"),
    "rerun": ("rerun", "PIPE"),
    "recommend": ("recommend", "PIPE"),
    "experiment": ("run", "PIPE.yaml"),
    "config": ("run", "--config", "PIPE"),
    "tasks": (*RUN, "--tasks", "PIPE.yaml"),
    "samples": (*RUN, "--tasks=quiz.yaml", "--samples", "PIPE"),
    "lock": (*RUN, "--tasks=quiz.yaml", "--plugins_lock", "PIPE"),
    "include_path": (*RUN, "--tasks=quiz.yaml", "--include_path", "PIPE"),
    "data_dir": (*RUN, "--tasks=piqa", "--data_dir", "PIPE"),
    "output_path": ("run", "--model=scripted", "--tasks=quiz.yaml", "--output_path", "PIPE"),
    "pretrained": ("run", "--model=hf", "--model_args", "pretrained=./PIPE", "--tasks=quiz.yaml"),
    "show task": ("show", "task", "PIPE.yaml"),
    "show dataset": ("show", "dataset", "piqa", "--data_dir", "PIPE"),
    "validate": ("validate", "PIPE.yaml"),
    "validate with rows": ("validate", "quiz.yaml", "--data_dir", "PIPE"),
    "plugins lock": ("plugins", "lock", "PIPE"),
    "install": ("install", "-r", "PIPE"),
    "data check": ("data", "check", "piqa", "--data_dir", "PIPE"),
    "data prepare": ("data", "prepare", "piqa", "--from", "PIPE", "--data_dir", "folder"),
    "data prepare zip": ("data", "prepare", "piqa", "--from", "PIPE.zip", "--data_dir", "folder"),
    "data prepare tar": ("data", "prepare", "piqa", "--from", "PIPE.tar.gz", "--data_dir", "folder"),
    "data prepare gz": ("data", "prepare", "piqa", "--from", "PIPE.jsonl.gz", "--data_dir", "folder"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete run, to be copied."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "quiz.yaml").write_text(TASK)
        (folder / "rows.jsonl").write_text(ROWS)
        assert (
            call("run", "--model=scripted", "--output_path=out", "--tasks=quiz.yaml", "--log_samples")[0] == 0
        )
    return folder / "out" / "scripted"


@pytest.mark.parametrize("name", [*NAMED])
def test_a_link_to_itself_that_the_user_names(scene, run, name):
    """Python's own way to follow links fails there."""
    words = [word.replace("RUN", str(run)) for word in NAMED[name]]
    for word in words:
        if (found := re.search(r"PIPE[\w.]*", word)) and not (scene / found[0]).is_symlink():
            (scene / found[0]).symlink_to(found[0])
    code, told = call(*words)
    assert code in (0, 2) and (code == 0 or told or name.startswith("validate"))


@pytest.mark.parametrize("name", [*NAMED])
def test_a_pipe_that_the_user_names(scene, run, name):
    words = [word.replace("RUN", str(run)) for word in NAMED[name]]
    for word in words:
        if found := re.search(r"PIPE[\w.]*", word):
            (scene / found[0]).exists() or os.mkfifo(scene / found[0])
    code, told = call(*words)
    assert code == 2 and (told == "" or "PIPE" in told), told
    assert (told or name.startswith("validate")) and "Traceback" not in told
    assert any(file.is_fifo() for file in scene.iterdir()), "it is still a pipe"


#: what a stranger's folder has a pipe in place of, the rest of the folder, and the command
FOUND = {
    "rows": ("rows.jsonl", "", (*RUN, "--tasks=quiz.yaml")),
    "rows as csv": ("rows.csv", TASK.replace("json", "csv").replace("rows.csvl", "rows.csv"), (*RUN, "--tasks=quiz.yaml")),
    "rows as text": ("rows.txt", TASK.replace("path: json", "path: text").replace("rows.jsonl", "rows.txt"), (*RUN, "--tasks=quiz.yaml")),
    "rows by pattern": ("rows1.jsonl", TASK.replace("rows.jsonl", "'rows*.jsonl'"), (*RUN, "--tasks=quiz.yaml")),
    "rows in a folder": ("folder/test.jsonl", TASK.replace("{data_files: {test: rows.jsonl}}", "{data_dir: folder}"), (*RUN, "--tasks=quiz.yaml")),
    "a dataset's folder": ("folder/test.jsonl", TASK.replace("path: json", "path: ./folder").replace("dataset_kwargs: {data_files: {test: rows.jsonl}}", ""), (*RUN, "--tasks=quiz.yaml")),
    "a dataset's card": ("folder/README.md", TASK.replace("path: json", "path: ./folder").replace("dataset_kwargs: {data_files: {test: rows.jsonl}}", ""), (*RUN, "--tasks=quiz.yaml")),
    "rows, shown": ("rows.jsonl", "", ("show", "task", "quiz.yaml")),
    "rows, validated": ("rows.jsonl", "", ("validate", "quiz.yaml")),
    "an include": ("base.yaml", "include: base.yaml\n" + TASK, (*RUN, "--tasks=quiz.yaml")),
    "an include, validated": ("base.yaml", "include: base.yaml\n" + TASK, ("validate", "quiz.yaml")),
    "a fixture": ("quiz.fixture.jsonl", TASK.replace("dataset_path: json", "dataset_path: own/set").replace("dataset_kwargs: {data_files: {test: rows.jsonl}}", ""), ("validate", "quiz.yaml")),
    "its Python": ("helpers.py", TASK.replace('"{{question}}"', "!function helpers.ask"), (*RUN, "--tasks=quiz.yaml", "--trust_task_code=quiz.yaml")),
    "its Python, validated": ("helpers.py", TASK.replace('"{{question}}"', "!function helpers.ask"), ("validate", "quiz.yaml")),
    "a release's file": ("piqa/valid.jsonl", "", (*RUN, "--tasks=piqa", "--data_dir=.")),
    "a release's labels": ("piqa/valid-labels.lst", "", (*RUN, "--tasks=piqa", "--data_dir=.")),
    "a release's file, checked": ("piqa/valid.jsonl", "", ("data", "check", "piqa", "--data_dir=.")),
    "a release's file, validated": ("piqa/valid.jsonl", TASK.replace("path: json", "path: baber/piqa").replace("test_split: test", "validation_split: validation").replace("dataset_kwargs: {data_files: {test: rows.jsonl}}", ""), ("validate", "quiz.yaml", "--data_dir=.")),
    "a release's file, prepared": ("folder/valid.jsonl", "", ("data", "prepare", "piqa", "--from=folder", "--data_dir=new")),
    "a release's file, in the way": ("piqa/valid.jsonl", "", ("data", "prepare", "piqa", "--from=folder", "--data_dir=.")),
    "datasets.yaml": ("datasets.yaml", "", ("data", "check", "--data_dir=.")),
    "an own dataset": ("own/rows.jsonl", DATASETS.replace("PLACE", "rows.jsonl"), ("data", "check", "own", "--data_dir=.")),
    "an own dataset in gz": ("own/rows.jsonl.gz", DATASETS.replace("PLACE", "rows.jsonl.gz"), ("data", "check", "own", "--data_dir=.")),
    "an own dataset in csv": ("own/rows.csv", DATASETS.replace("PLACE", "rows.csv"), ("data", "check", "own", "--data_dir=.")),
    "a model's YAML": ("folder/mine.model.yaml", "", (*RUN, "--tasks=quiz.yaml", "--include_path=folder")),
    "a task's YAML in a folder": ("folder/mine.yaml", "", (*RUN, "--tasks=quiz.yaml", "--include_path=folder")),
    "a YAML in a folder, validated": ("folder/mine.yaml", "", ("validate", "folder")),
    "config.json": ("folder/config.json", "", ("run", "--model=hf", "--model_args=pretrained=./folder", "--tasks=quiz.yaml")),
    "a GGUF file": ("folder/m.gguf", "", ("run", "--model=hf", "--model_args=pretrained=./folder,gguf_file=m.gguf", "--tasks=quiz.yaml")),
    "experiment.json": ("folder/experiment.json", "", ("resume", "folder")),
    "run.json": ("folder/run.json", "", ("report", "folder")),
    "results": ("folder/results_1.json", "", ("compare", "folder")),
}  # fmt: skip
#: those that go on without the pipe: it is no file of theirs
WITHOUT = {
    "a task's YAML in a folder",
    "a fixture",
    "its Python, validated",
    "a model's YAML",
    "rows by pattern",
}


@pytest.mark.parametrize("is_loop", [False, True], ids=["pipe", "link to itself"])
@pytest.mark.parametrize("name", [*FOUND])
def test_a_pipe_in_a_stranger_s_folder(scene, capsys, name, is_loop):
    place, text, words = FOUND[name]
    (scene / ("datasets.yaml" if text.startswith("own") else "quiz.yaml")).write_text(text or TASK)
    (scene / place).parent.mkdir(exist_ok=True)
    (scene / place).unlink(missing_ok=True)
    if is_loop:
        (scene / place).symlink_to((scene / place).name)
    else:
        os.mkfifo(scene / place)
    if "labels" in name:
        (scene / "piqa" / "valid.jsonl").write_text('{"goal": "g", "sol1": "a", "sol2": "b"}\n')
    if "in the way" in name:
        (scene / "folder" / "valid.jsonl").write_text('{"goal": "g", "sol1": "a", "sol2": "b"}\n')
    code, told = call(*words)
    said = capsys.readouterr()
    assert is_loop or name in WITHOUT or code == 2, said.out + said.err
    assert "Traceback" not in told + said.out + said.err
    assert is_loop or (scene / place).is_fifo(), "it is neither read nor replaced"


@pytest.mark.parametrize("name", ["run.json", "results_*.json", "samples_*.jsonl", "answers.jsonl"])
@pytest.mark.parametrize("command", ["report", "compare", "resume", "rerun"])
def test_a_pipe_in_a_stranger_s_run(scene, run, capsys, command, name):
    shutil.copytree(run, scene / "theirs")
    for file in list((scene / "theirs").glob(name)) or [scene / "theirs" / name]:
        file.unlink(missing_ok=True)
        os.mkfifo(file)
    code, told = call(command, "theirs", *(["theirs"] if command == "compare" else []))
    assert code in (0, 2) and "Traceback" not in told
    assert code == 0 or told.strip()


# ---------------------------------------------------------------------- the one gate

#: places that open files themselves, and why that is safe
OWN = {
    "running/spreading/units.py": "a temporary folder of our own",
    "machine/temporary.py": "temporary folders of our own, and only if it is an ordinary file",
    "spread/nursery.py": "logs in a temporary folder of our own",
    "spread/children.py": "logs in a temporary folder of our own",
    "machine/bounds.py": "the gate itself",
    "machine/storage.py": "hash_file checks first; what is written is ours",
    "machine/consents.py": "the user's state folder",
    "machine/arithmetic.py": "the user's cache folder, which nobody else can write to",
    "machine/environment.py": "of the system",
    "machine/hub.py": "only if it is an ordinary file",
    "contract/handed.py": "open_plain checks before and after",
    "contract/pictures.py": "Pillow opens bytes that were read through open_named",
    "scoring/picture_backend.py": "opens a picture of contract/pictures.py",
    "running/lmeval/pictures.py": "opens pictures of contract/pictures.py",
    "planning/smollm2.py": "the user's cache folder",
    "planning/hub/hashes.py": "files that the client keeps, and the user's cache folder",
    "planning/hub/download.py": "what is being downloaded",
    "planning/index.py": "the user's cache folder",
    "planning/catalog.py": "of the package",
    "planning/known.py": "of the package",
    "planning/backends.py": "of the package",
    "validation/vocabulary.py": "of the package",
    "results/page.py": "of a package",
    "results/items/build.py": "compressed text in memory",
    "results/items/packing.py": "compressed text in memory",
    "results/site/publishing.py": "the manifest, which is checked when it is read",
    "commands/report.py": "only if it is an ordinary file",
    "data/cache.py": "the user's cache folder",
    "data/check.py": "checksums of a package",
    "data/download.py": "open_download checks first",
    "data/prepare.py": "a folder that was made for it",
    "running/lmeval/packed.py": "only if it is an ordinary file",
    "commands/cli.py": "the null device",
    "commands/new.py": "of the package",
    "commands/conformance/watch.py": "a folder that was made for it",
    "testing.py": "golden files of a plugin's author",
}
OPENS = re.compile(
    r"\.open\(|(?<![\w.])open\(|(?<!self)(?<!renderer)(?<!distribution)\.read_text\(|\.read_bytes\(|gzip\.|lzma\.open|bz2\.|ZipFile\(|tarfile\.open|connect\("
)


def test_every_file_is_opened_through_the_gate():
    found = {
        str(file.relative_to(ROOT / "gptalt_eval"))
        for file in (ROOT / "gptalt_eval").rglob("*.py")
        if OPENS.search(file.read_text(encoding="utf-8"))
    }
    assert found - {*OWN} == set(), "use open_named of contract/handed.py, or say why not"
