"""Files that would take all memory or all day: each is refused within seconds, and real ones pass."""

import io
import json
import struct
import tarfile
import time
import zipfile

import pytest
import yaml

from gptalt_eval.contract.discovery import load_plugins
from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.spec import read_config
from gptalt_eval.data import download
from gptalt_eval.data.datasets_yaml import read_datasets
from gptalt_eval.data.download import open_download
from gptalt_eval.data.readers import read_jsonl
from gptalt_eval.machine import bounds
from gptalt_eval.machine.bounds import check_yaml, limit_time
from gptalt_eval.planning import builtin
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.folders import measure_safetensors
from gptalt_eval.planning.gguf_header import check_gguf, check_header
from gptalt_eval.planning.index import find_lm_eval_tasks, load_task_yaml, read_task_folder
from gptalt_eval.results.items.gathering import split_blocks
from gptalt_eval.results.items.packing import LONGEST as LONGEST_TEXT
from gptalt_eval.results.items.packing import Texts
from gptalt_eval.results.items.samples import read_item
from gptalt_eval.results.page import LONGEST, cut_text
from gptalt_eval.validation.validator import validate_files


@pytest.fixture(autouse=True)
def quick():
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < 20


def laugh(levels=12):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "task: bomb\ndoc_to_text: x\n" + "\n".join(lines) + "\n"


BOMBS = {
    "aliases": laugh(),
    "merges": "task: bomb\na0: &a0 {a: 1, b: 2}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, z: *a{n - 1}}}\n" for n in range(1, 40)),
    "brackets": "task: bomb\nx: " + "[" * 100_000,
    "braces": "task: bomb\nx: " + "{a: " * 100_000,
    "blocks": "task: bomb\nx:\n" + "".join(" " * n + "-\n" for n in range(1, 3000)),
    "large": "task: bomb\nx: " + "a" * (9 << 20),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_yaml_bomb_is_refused_by_all_who_read_yaml(kind, tmp_path, plugins_catalog):
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMBS[kind])
    for read in (load_task_yaml, read_config, read_datasets):
        with pytest.raises(GptaltError, match=r"bomb\.yaml"):
            read(file)
    read_task_folder(tmp_path)
    [report] = validate_files([str(file)], plugins_catalog)
    assert "syntax-error" in [finding.rule for finding in report.findings]


@pytest.fixture(scope="module")
def plugins_catalog():
    return Catalog(load_plugins(builtin))


def test_aliases_and_depth_within_reason_are_read():
    check_yaml(laugh(5).encode())
    check_yaml(b"x: " + b"[" * 190 + b"]" * 190)
    with pytest.raises(yaml.YAMLError, match="its aliases repeat"):
        check_yaml(laugh(8).encode())


def test_all_of_lm_evals_yamls_are_within_the_limits():
    files = list(find_lm_eval_tasks().rglob("*.yaml"))
    assert len(files) > 10_000
    largest = sorted(files, key=lambda file: file.stat().st_size)[-200:]
    assert all(file.stat().st_size * 50 < bounds.LARGEST_YAML for file in largest)
    for file in largest:
        check_yaml(file.read_bytes())


# ---------------------------------------------------------------------- validate


TEMPLATES = {
    "ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}x",
    "pattern": "{{ ('a' * 40) | regex_replace('(a+)+$b', '') }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "width": "{{ 'x'.ljust(9999999999) }}",
    "format": "{{ '%9999999999d' % 1 }}",
    "star": "{{ '%*d' % (9999999999, 1) }}",
    "product": "{{ 'x' * 9999999999 }}",
}  # fmt: skip


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_that_would_not_end_is_reported(kind, tmp_path, plugins_catalog):
    file = tmp_path / "slow.yaml"
    (tmp_path / "slow.fixture.jsonl").write_text('{"question": "?", "answer": "a"}\n' * 3)
    task = {
        "task": "slow",
        "dataset_path": "json",
        "output_type": "generate_until",
        "doc_to_text": TEMPLATES[kind],
        "doc_to_target": "{{answer}}",
        "test_split": "test",
    }
    file.write_text(json.dumps(task))
    [report] = validate_files([str(file)], plugins_catalog)
    assert [finding for finding in report.findings if finding.rule == "template-error"], report.findings


def test_a_limit_ends_a_loop_and_leaves_nothing_behind():
    with pytest.raises(TimeoutError, match=r"longer than 0\.2 s"), limit_time(0.2):
        while True:
            pass
    with limit_time(0.1):
        pass
    time.sleep(0.2)


# ---------------------------------------------------------------------- models


def make_gguf(*entries, tensors=0, count=None):
    return (
        b"GGUF"
        + struct.pack("<IQQ", 3, tensors, len(entries) if count is None else count)
        + b"".join(entries)
    )


def entry(kind, body):
    return struct.pack("<Q", 1) + b"k" + struct.pack("<I", kind) + body


GGUFS = {
    "array": make_gguf(entry(9, struct.pack("<IQ", 4, 1 << 34))),
    "texts": make_gguf(entry(9, struct.pack("<IQ", 8, 1 << 34))),
    "text": make_gguf(entry(8, struct.pack("<Q", 1 << 60))),
    "arrays": make_gguf(entry(9, struct.pack("<IQ", 9, 1) * 50)),
    "entries": make_gguf(count=1 << 40),
    "tensors": make_gguf(tensors=1 << 40),
    "kind": make_gguf(entry(77, b"")),
}  # fmt: skip


@pytest.mark.parametrize("kind", GGUFS)
def test_a_gguf_that_promises_more_than_it_has(kind, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUFS[kind] + bytes(100))
    with pytest.raises((ValueError, struct.error)):
        check_header(path)
    with pytest.raises(GptaltError, match="damaged or truncated"):
        check_gguf(path)


def test_headers_of_all_kinds_of_values_pass(tmp_path):
    path = tmp_path / "m.gguf"
    texts = struct.pack("<IQ", 8, 2) + struct.pack("<Q", 1) + b"a" + struct.pack("<Q", 2) + b"bc"
    values = [entry(kind, bytes(size)) for kind, size in enumerate((1, 1, 2, 2, 4, 4, 4, 1, 8))]
    path.write_bytes(
        make_gguf(
            *values, entry(9, texts), entry(9, struct.pack("<IQ", 4, 3) + bytes(12)), entry(12, bytes(8))
        )
    )
    check_header(path)


def test_a_safetensors_header_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as stream:  # sparse: it takes no space
        stream.write(struct.pack("<Q", 4 << 30))
        stream.truncate(5 << 30)
    assert measure_safetensors(path) is None


# ---------------------------------------------------------------------- data


def pack(tmp_path, kind, content):
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("test.jsonl", content)
    elif kind == "jsonl.gz":
        import gzip

        path.write_bytes(gzip.compress(content))
    else:
        with tarfile.open(path, f"w:{kind.rpartition('.')[2]}") as archive:
            member = tarfile.TarInfo("test.jsonl")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "jsonl.gz"])
def test_an_archive_that_unpacks_to_a_thousand_times_its_size(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    path = pack(tmp_path, kind, bytes(60 << 20))

    def read():
        taken = 0
        with open_download(path) as items:
            for item in items:
                with item.open() as stream:
                    while block := stream.read(1 << 20):
                        taken += len(block)
                        assert taken < 40 << 20

    with pytest.raises(GptaltError, match="unpacks to more than 100 times its size"):
        read()


def test_an_archive_of_ordinary_text_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 0)
    content = "".join(
        json.dumps({"question": f"How many are {n}?", "answer": n}) + "\n" for n in range(20_000)
    ).encode()
    with open_download(pack(tmp_path, "tar.gz", content)) as [item], item.open() as stream:
        assert stream.read(1 << 30) == content


def test_a_line_without_end_is_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "LONGEST_LINE", 1 << 16)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' + "x" * (1 << 17))
    with pytest.raises(DataError, match=r"a\.jsonl, line 1.*a line has more than 65,536 characters"):
        list(read_jsonl(tmp_path / "a.jsonl"))


# ---------------------------------------------------------------------- pages


def test_long_texts_are_cut_with_a_remark():
    assert cut_text("x" * LONGEST) == "x" * LONGEST
    assert cut_text("x" * (LONGEST + 5)) == "x" * LONGEST + " ... (5 more characters are not shown)"


def test_an_item_of_thirty_megabytes_is_shown_cut():
    long = "x" * (30 << 20)
    texts = Texts()
    item = read_item(
        {"doc_id": 1, "arguments": {"a": {"b": long, "c": {}}}, "filtered_resps": [long], "target": long}
    )
    for text in (item.prompt, item.gold, *item.extracted, long * 2):
        texts.add(text)
    assert max(map(len, texts.texts)) < LONGEST_TEXT + 100 and len(texts.cut) == 2
    assert len(split_blocks("\n\n" * (1 << 20), "\n\n")) == 1
    many = {f"a{n}": {"b": "?", "c": f" {n}"} for n in range(10_000)}
    assert len(read_item({"doc_id": 1, "arguments": many, "filtered_resps": [], "target": 1}).options) == 200


def test_a_gzipped_file_of_a_download_is_closed(tmp_path):
    path = pack(tmp_path, "jsonl.gz", b'{"a": 1}\n')
    opened = []
    opener = download.open_gzipped(lambda: opened.append(path.open("rb")) or opened[-1])
    with opener() as stream:
        assert stream.read(99) == b'{"a": 1}\n'
    assert [stream.closed for stream in opened] == [True]
