import codecs
import json
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine import storage
from gptalt_eval.planning import index
from gptalt_eval.planning.index import Function, load_task_yaml, read_task_folder


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return read_task_folder(folder)


def test_tasks_groups_tags(tmp_path):
    entries = write(
        tmp_path,
        a="task: a\ntag: [x, y]\n",
        b='"task": "b"\n"tag": x\n',
        c="group: c\ntask:\n  - a\n  - b\n",
        d="tag:\n  - y\n  # a remark\n  - z\ntask: d\n",
    )
    assert {name: entry.kind for name, entry in entries.items()} == {
        "a": "task", "b": "task", "c": "group", "d": "task", "x": "tag", "y": "tag", "z": "tag",
    }  # fmt: skip
    assert entries["x"].members == ("a", "b")
    assert entries["y"].members == ("a", "d")
    assert entries["c"].file == tmp_path / "c.yaml"


def test_what_a_file_includes_counts_and_its_own_lines_win(tmp_path):
    (tmp_path / "base_yaml").write_text("tag: inherited\ntask: base\n")
    entries = write(tmp_path, a="include: base_yaml\ntask: a\n", b="include: base_yaml\ntask: b\ntag: own\n")
    assert entries["inherited"].members == ("a",)
    assert entries["own"].members == ("b",)
    assert "base" not in entries


def test_the_first_of_two_equal_names_counts(tmp_path):
    entries = write(tmp_path, a="task: same\n", b="task: same\n")
    assert entries["same"].file.name == "a.yaml"


def test_broken_files_define_nothing_and_stop_nothing(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00task: x")
    entries = write(
        tmp_path,
        good="task: good\n",
        lost="include: nowhere\ntask: lost\n",
        odd="task: [\n",
        loop="include: loop.yaml\ntask: loop\n",
    )
    assert "good" in entries
    assert "lost" not in entries


FORMS = {  # ways to write a definition that YAML allows, beside a key at the start of a line
    "braces": b"{task: t, tag: [x], dataset_path: json}",
    "braces after a remark": b"# ours\n---\n{'group': t, task: [a, b]}",
    "braces beside the mark": b"--- {task: t,\n tag: x}\n",
    "byte order mark": codecs.BOM_UTF8 + b"task: t\ntag: x\n",
    "utf-16": "task: t\ntag: x\n".encode("utf-16"),
    "indented": b"  task: t\n  tag: x\n",
    "question mark": b"? task\n: t\n",
    "old line ends": b"dataset_path: x\rtask: t\rtag: x\r",
    "other line ends": b"dataset_path: x\r\ntask: t\r\ntag: x\r\n",
    "without a name": b"{dataset_path: json, num_fewshot: 2}",
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_every_form_of_yaml_is_found_as_by_lm_eval(tmp_path, content):
    from lm_eval.tasks import TaskManager

    (tmp_path / "t.yaml").write_bytes(content)
    theirs = TaskManager(include_path=str(tmp_path), include_defaults=False).task_index
    ours = read_task_folder(tmp_path)
    assert {name: entry.kind for name, entry in ours.items()} == {
        name: entry.kind.name.lower() for name, entry in theirs.items()
    }
    assert ("t" in ours) is (b"dataset_path: json, num" not in content)


TOP_LEVEL_KEYS = st.sampled_from([b"task", b"group", b"tag", b"class", b"include"])


@example(b"include:!")
@example(b"include: a\0b")
@example(b"tag: 2020-13-45")
@given(st.binary(max_size=200) | st.tuples(TOP_LEVEL_KEYS, st.binary(max_size=20)).map(b":".join))
def test_no_bytes_make_it_raise(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "x.yaml").write_bytes(content)
    read_task_folder(folder)


def test_the_index_is_lm_evals_own():
    from lm_eval.tasks import TaskManager

    ours = read_task_folder(index.find_lm_eval_tasks())
    theirs = TaskManager().task_index
    kinds = {"TASK": "task", "PY_TASK": "task", "GROUP": "group", "TAG": "tag"}
    assert {name: entry.kind for name, entry in ours.items()} == {
        name: kinds[e.kind.name] for name, e in theirs.items()
    }
    assert {name: entry.file for name, entry in ours.items()} == {
        name: e.yaml_path for name, e in theirs.items()
    }
    tags = {name: set(entry.members) for name, entry in ours.items() if entry.kind == "tag"}
    assert tags == {name: e.tags for name, e in theirs.items() if e.kind.name == "TAG"}
    assert len(ours) > 10_000


def test_the_index_of_lm_eval_is_kept(cache):
    first = index.read_lm_eval_tasks()
    [kept] = cache.glob("lm_eval-*.json")
    assert index.read_lm_eval_tasks() == first
    kept.write_text("{ broken")
    assert index.read_lm_eval_tasks() == first
    assert json.loads(kept.read_text())["entries"]


def test_a_kept_index_of_another_place_is_not_used(cached, tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "only.yaml").write_text("task: only\n")
    monkeypatch.setattr(index, "find_lm_eval_tasks", lambda: tmp_path / "tasks")
    assert list(index.read_lm_eval_tasks()) == ["only"]


def test_loading_merges_includes_and_leaves_functions_alone(tmp_path):
    (tmp_path / "base").write_text(
        "dataset_path: x\nnum_fewshot: 1\ntask_list: [a]\ndoc_to_text: !function utils.text\n"
    )
    (tmp_path / "t.yaml").write_text("include: base\ntask: t\nnum_fewshot: 2\n")
    config = load_task_yaml(tmp_path / "t.yaml")
    assert config["num_fewshot"] == 2
    assert config["dataset_path"] == "x"
    assert config["doc_to_text"] == Function("utils.text", (tmp_path / "base").resolve())
    assert "task_list" not in config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("task: [", "not valid YAML"),
        ("- a", "does not contain a mapping"),
        ("include: nowhere\n", "cannot be read"),
        ("include: t.yaml\n", "includes itself"),
    ],
)
def test_files_that_cannot_be_loaded(tmp_path, text, expected):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(GptaltError, match=expected):
        load_task_yaml(tmp_path / "t.yaml")


# ---------------------------------------------------------------------- a cache that others wrote


@pytest.fixture
def cached(cache, tmp_path, monkeypatch):
    """The cached names of an lm-eval with a few tasks; to read all of its files takes seconds."""
    few = tmp_path / "lm_eval" / "tasks"
    for name in ("piqa", "sciq"):
        shutil.copytree(index.find_lm_eval_tasks() / name, few / name)
    monkeypatch.setattr(index, "find_lm_eval_tasks", lambda: few)
    assert sorted(index.read_lm_eval_tasks()) == ["piqa", "sciq"]
    [file] = cache.glob("lm_eval-*.json")
    return file


@pytest.mark.parametrize(
    "row",
    [
        ["task", "/tmp/evil.yaml", []], ["task", "../../evil.yaml", []], ["group", "a/../../evil.yaml", []],
        ["task", "evil.py", []], ["class", "a.yaml", []], ["task", 1, []], ["task", "a.yaml", [{}]], ["task"], None,
    ],
)  # fmt: skip
def test_an_entry_that_names_another_file_is_not_believed(row, cached):
    stored = json.loads(cached.read_text())
    stored["entries"]["piqa"] = row
    cached.write_text(json.dumps(stored))
    assert index.read_lm_eval_tasks()["piqa"].file == index.find_lm_eval_tasks() / "piqa" / "piqa.yaml"


@pytest.mark.parametrize("text", ["[]", "{", "[" * 200_000, '{"folder": 1}', '{"entries": []}'])
def test_a_damaged_cache_is_written_again(text, cached):
    cached.write_text(text)
    assert "piqa" in index.read_lm_eval_tasks()
    assert json.loads(cached.read_text())["entries"]["piqa"]


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_cache_that_others_can_write_is_refused(place, cached):
    cached.parent.chmod(0o755)
    path = cached if place == "file" else cached.parent
    path.chmod(path.stat().st_mode | 0o022)
    with pytest.raises(
        GptaltError, match=f"Other users can write to {path}.*\n.*chmod -R go-w {path}\n.*GPTALT_CACHE"
    ):
        index.read_lm_eval_tasks()
    path.chmod(path.stat().st_mode & ~0o022)
    assert "piqa" in index.read_lm_eval_tasks()


def test_a_cache_of_another_user_is_refused(cached, monkeypatch):
    uid = cached.stat().st_uid
    monkeypatch.setattr(storage, "is_others", lambda path, bits: path == cached)
    with pytest.raises(GptaltError, match=f"{cached} belongs to another user.*\n.*chown"):
        index.read_lm_eval_tasks()
    assert cached.stat().st_uid == uid
