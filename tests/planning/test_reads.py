"""What the rows of a stranger's YAML are read from: the folders that the user named are free, all else is listed."""

import os
from pathlib import Path

import pytest

from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.deeds import METRICS, Free, find_deeds, read_deeds
from gptalt_eval.planning.consent.trust import find_free
from gptalt_eval.testing import make_plugin_set

TASK = "task: t\ntest_split: test\ndoc_to_text: a\ndoc_to_target: b\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with a stranger's folder, another one, and a secret."""
    for name in ("theirs/data/.hidden", "data", "hub_name"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "theirs/rows.jsonl",
        "theirs/data/rows.jsonl",
        "theirs/data/.hidden/rows.jsonl",
        "data/rows.jsonl",
        "secret.txt",
    ):
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "theirs" / "link.jsonl").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "theirs" / "up").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def list_reads(home, lines, rows=()):
    (home / "theirs" / "t.yaml").write_text(TASK + lines.replace("HOME", str(home)) + "\n")
    deeds = read_deeds(home / "theirs" / "t.yaml", Free((), tuple(home / name for name in rows)))
    return sorted(text.replace(str(home), "HOME") for text in deeds.texts)


FILES = "dataset_path: json\ndataset_kwargs: {data_files: FILES}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("theirs/rows.jsonl", []),
        ("HOME/theirs/rows.jsonl", []),
        ("{test: [theirs/rows.jsonl, theirs/data/*.jsonl]}", []),
        ("theirs/**.jsonl", ["reads HOME", "reads HOME/secret.txt"]),  # the links in this folder lead out
        ("theirs/data", []),
        ("secret.txt", ["reads HOME/secret.txt"]),
        ("HOME/secret.txt", ["reads HOME/secret.txt"]),
        ("~/secret.txt", ["reads HOME/secret.txt"]),
        ("{train: theirs/rows.jsonl, test: [secret.txt]}", ["reads HOME/secret.txt"]),
        ("'*.txt'", ["reads HOME/*.txt"]),
        ("'HOME/*.txt'", ["reads HOME/*.txt"]),
        ("theirs/../secret.txt", ["reads HOME/secret.txt"]),
        ("'theirs/data/*/../../../secret.txt'", ["reads HOME/secret.txt"]),
        ("theirs/link.jsonl", ["reads HOME/secret.txt"]),
        ("theirs/up/secret.txt", ["reads HOME/secret.txt"]),
        ("theirs/data/.hidden/rows.jsonl", ["reads HOME/theirs/data/.hidden/rows.jsonl"]),
        ("http://host/x", ["fetches http://host/x"]),
        ("file:///etc/passwd", ["reads file:///etc/passwd"]),
        ("zip://x::/etc/passwd", ["fetches zip://x::/etc/passwd"]),
        ("hf://datasets/a/b/x.jsonl", []),
        ("hf://x::file://etc/passwd", ["reads hf://x::file://etc/passwd"]),
        ("not/there.jsonl", []),  # a name in a repository on the hub, or a mistake
    ],
)  # fmt: skip
def test_files_of_rows(files, expected, home):
    assert list_reads(home, FILES.replace("FILES", files)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("dataset_path: owner/name", []),
        ("dataset_path: data", ["reads HOME/data"]),
        ("dataset_path: hub_name", ["reads HOME/hub_name"]),  # `datasets` prefers a folder of this name
        ("dataset_path: HOME/theirs/data", []),
        ("dataset_path: HOME/theirs/data\ndataset_kwargs: {data_files: ../../secret.txt}", ["reads HOME/secret.txt"]),
        ("dataset_path: https://host/x.py", ["fetches https://host/x.py"]),
        ("dataset_path: json\ndataset_kwargs: {data_dir: data}", ["reads HOME/data"]),
        ("dataset_path: json\ndataset_kwargs: {data_dir: data, data_files: rows.jsonl}", ["reads HOME/data", "reads HOME/data/rows.jsonl"]),
        ("dataset_path: json\ndataset_kwargs: {cache_dir: HOME/data}", ["writes to HOME/data"]),
        ("dataset_path: pandas", ["runs Python: what is in pickled rows (dataset_path: pandas)"]),
        ("use_prompt: HOME/prompts.yaml:x", ["reads HOME/prompts.yaml (use_prompt)"]),
        ("use_prompt: qa-basic:q-newline-a", []),
        ("fewshot_config: {samples: [{data_files: HOME/secret.txt}]}", ["reads HOME/secret.txt"]),
        ("metadata: &a {x: [*a]}\ndataset_kwargs: {data_files: HOME/secret.txt}", ["reads HOME/secret.txt"]),
    ],
)  # fmt: skip
def test_other_ways_to_read(lines, expected, home):
    assert list_reads(home, lines) == expected


@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
def test_the_card_of_a_local_dataset_names_files_too(home, name):
    card = f"configs:\n- config_name: default\n  data_files: {home / 'secret.txt'}\n"
    (home / "theirs" / "data" / name).write_text(f"---\n{card}---\nText.\n" if name.endswith("md") else card)
    assert list_reads(home, "dataset_path: HOME/theirs/data") == ["reads HOME/secret.txt"]


def test_a_dataset_s_script_is_code(home):
    (home / "theirs" / "data" / "data.py").write_text("")
    assert list_reads(home, "dataset_path: HOME/theirs/data") == ["runs Python: HOME/theirs/data/data.py"]
    assert list_reads(home, "dataset_path: HOME/theirs/data/data.py") == [
        "runs Python: HOME/theirs/data/data.py"
    ]


def test_named_folders_are_free(home):
    files = FILES.replace("FILES", "[data/rows.jsonl, HOME/secret.txt]")
    assert list_reads(home, files, ["data"]) == ["reads HOME/secret.txt"]
    free = find_free(Catalog(make_plugin_set(), [home / "data"], home / "theirs"))
    assert {home / "data", home / "theirs"} <= set(free.rows)
    assert any("lm_eval" in folder.parts for folder in free.installed)


def test_installed_yamls_are_free_and_what_they_include_is(home):
    (home / "theirs" / "code.py").write_text("")
    (home / "data" / "base.yaml").write_text("process_docs: !function code.f\n")
    (home / "theirs" / "t.yaml").write_text(TASK + "include: ../data/base.yaml\n")
    assert read_deeds(home / "theirs" / "t.yaml", Free((home / "data",))).found == ()
    assert read_deeds(home / "theirs" / "t.yaml", Free((home / "theirs",))).found == ()
    assert [deed.text for deed in read_deeds(home / "theirs" / "t.yaml", Free()).found] == [
        "runs Python: code.f"
    ]


def test_the_digest_is_of_all_that_is_concerned(home):
    file = home / "theirs" / "t.yaml"
    file.write_text(TASK + "include: base.yaml\ndoc_to_text: !function code.f\n")
    code = {"base.yaml": "x: 1\n", "code.py": "import more\n", "more.py": "1\n"}
    for name, text in code.items():
        (home / "theirs" / name).write_text(text)
    seen = {read_deeds(file, Free()).digest()}
    for name, text in code.items():
        (home / "theirs" / name).write_text(text + "# changed\n")
        seen.add(read_deeds(file, Free()).digest())
    assert len(seen) == 4
    assert {Path(name).name for name in read_deeds(file, Free()).hash_files()} == {"t.yaml", *code}


def test_a_file_that_cannot_be_read_does_nothing(home):
    for text in ("task: [", "include: t.yaml", "x: !function [a]"):
        (home / "theirs" / "t.yaml").write_text(text)
        assert find_deeds(home / "theirs" / "t.yaml", Free()).found == ()
    os.mkfifo(home / "pipe")
    assert list_reads(home, FILES.replace("FILES", "HOME/pipe")) == ["reads HOME/pipe"]


def test_the_metrics_that_lm_eval_has_itself():
    import lm_eval.api.metrics  # noqa: F401
    from lm_eval.api.registry import metric_registry

    assert set(metric_registry.keys()) == METRICS
