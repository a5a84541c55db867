"""The hash of what is installed: of every file that can run, however it was installed."""

import json
import os
import sys
from importlib.metadata import PathDistribution, distribution

import pytest
from distributions import write_distribution

from gptalt_eval.machine.installed import find_sources, hash_installation

FILES = {
    "sky/__init__.py": "A = 1\n",
    "sky/inner/rows.jsonl": '{"a": 1}\n',
    "sky_extra.py": "B = 2\n",
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sky", "space")]:
        del sys.modules[name]


def install(site, files=FILES, version="1.0"):
    return PathDistribution(write_distribution(site, "sky", {"sky": "sky"}, files, version))


def test_the_same_files_have_the_same_hash(site, tmp_path, monkeypatch):
    first = hash_installation(install(site), "sky")
    assert len(first) == 64 and first == hash_installation(install(site), "sky")
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.syspath_prepend(other)
    assert hash_installation(install(other), "sky") == first, "where it is does not count"


@pytest.mark.parametrize("file", [*FILES, "sky-1.0.dist-info/entry_points.txt"])
def test_each_changed_file_changes_the_hash(file, site):
    plugin = install(site)
    before = hash_installation(plugin, "sky")
    (site / file).write_text((site / file).read_text() + "\n")
    assert hash_installation(plugin, "sky") != before


@pytest.mark.parametrize("change", ["rename", "delete", "add", "swap"])
def test_names_count_as_contents_do(change, site):
    plugin = install(site)
    before = hash_installation(plugin, "sky")
    if change == "rename":
        (site / "sky/inner/rows.jsonl").rename(site / "sky/inner/other.jsonl")
    elif change == "delete":
        (site / "sky_extra.py").unlink()
    elif change == "add":  # a file that RECORD does not list, and that is imported all the same
        (site / "sky/hidden.py").write_text("")
    else:
        texts = [(site / name).read_text() for name in ("sky/__init__.py", "sky/inner/rows.jsonl")]
        (site / "sky/__init__.py").write_text(texts[1])
        (site / "sky/inner/rows.jsonl").write_text(texts[0])
    assert hash_installation(plugin, "sky") != before


def test_what_the_installer_notes_and_bytecode_do_not_count(site):
    plugin = install(site)
    before = hash_installation(plugin, "sky")
    (site / "sky/__pycache__").mkdir()
    (site / "sky/__pycache__/x.cpython-311.pyc").write_bytes(b"x")
    record = site / "sky-1.0.dist-info/RECORD"
    record.write_text(record.read_text() + "../../bin/sky,,\nsky/__pycache__/x.cpython-311.pyc,,\n")
    (site / "sky-1.0.dist-info/INSTALLER").write_text("uv")
    assert hash_installation(plugin, "sky") == before


def test_bytecode_without_a_source_counts(site):
    plugin = install(site)
    before = hash_installation(plugin, "sky")
    (site / "sky/hidden.pyc").write_bytes(b"x")
    assert hash_installation(plugin, "sky") != before


def test_an_editable_installation_has_the_hash_of_its_package(site, tmp_path, monkeypatch):
    files = {name: text for name, text in FILES.items() if name.startswith("sky/")}
    wheel = hash_installation(install(site, files), "sky")
    project, links = tmp_path / "project", tmp_path / "links"
    for folder in (project, links):
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
    install(project, files)
    info = write_distribution(links, "sky", {"sky": "sky"}, {"__editable__.sky.pth": str(project)})
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
    linked = PathDistribution(info)
    assert hash_installation(linked, "sky") == wheel
    (project / "sky/__init__.py").write_text("A = 2\n")
    assert hash_installation(linked, "sky") != wheel


def test_a_package_that_hides_the_distribution_is_what_is_hashed(site, tmp_path, monkeypatch):
    plugin = install(site)
    before = hash_installation(plugin, "sky")
    (tmp_path / "first" / "sky").mkdir(parents=True)
    (tmp_path / "first" / "sky" / "__init__.py").write_text("A = 3\n")
    monkeypatch.syspath_prepend(tmp_path / "first")
    assert hash_installation(plugin, "sky") != before


@pytest.mark.parametrize("listed", ["/dev/zero", "../../secret", "sky/../../secret"])
def test_no_file_outside_is_read(listed, site, tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path.parent / "secret").write_text("x")
    plugin = install(site)
    before = hash_installation(plugin, "sky")
    record = site / "sky-1.0.dist-info/RECORD"
    record.write_text(record.read_text() + f"{listed},,\n")
    assert hash_installation(plugin, "sky") == before


def test_the_listed_hashes_are_those_of_the_files(site):
    plugin = install(site)
    assert hash_installation(plugin, "sky", trusts_record=True) == hash_installation(plugin, "sky")
    (site / "sky/__init__.py").write_text("A = 2\n")  # not read: a file of gigabytes would take long
    read = hash_installation(plugin, "sky")
    assert hash_installation(plugin, "sky", trusts_record=True) != read


def test_without_listed_hashes_the_files_are_read(site):
    plugin = install(site)
    expected = hash_installation(plugin, "sky")
    record = site / "sky-1.0.dist-info/RECORD"
    record.write_text("".join(f"{line.split(',')[0]},,\n" for line in record.read_text().splitlines()))
    assert hash_installation(plugin, "sky", trusts_record=True) == expected


def test_a_large_package_is_not_read():
    assert hash_installation(distribution("pluggy"), "pluggy", trusts_record=True) == hash_installation(
        distribution("pluggy"), "pluggy"
    )


def test_others_packages_in_a_namespace_do_not_count(site):
    for file in ("space/sky/__init__.py", "space/sky/a.py", "space/sea/__init__.py"):
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text("")
    found = {name for name, _ in find_sources("space.sky")}
    assert found == {"space/sky/__init__.py", "space/sky/a.py"}


@pytest.mark.parametrize("module", ["no_such_module_anywhere", "json.nothing", "sys"])
def test_modules_without_files(module, site):
    names = {name for name, _ in find_sources(module)}
    assert names == set() or all(name.startswith("json/") for name in names)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file, so none can be locked")
def test_a_file_that_cannot_be_read_is_no_traceback(site):
    plugin = install(site)
    (site / "sky_extra.py").chmod(0)
    assert len(hash_installation(plugin, "sky")) == 64
