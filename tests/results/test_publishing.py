"""A folder of pages: what is in it of others stays, names are safe everywhere, and the same input gives the same bytes."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.results.site import publishing
from gptalt_eval.results.site.publishing import name_page, publish

SAFE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,71}[a-z0-9])?")
HOSTILE = [
    "../x", "..", ".", "", " ", "<script>", "CON", "con", "Con", "nul.txt", "index", "a/b", "a\\b", "a" * 300, "模型",
    "a b", "A B", "a.", "-a", "_a", ".git", "x?y#z", "100%", "\ud800", "a\nb", "a-b", "lpt1", "a:b", "İ", "ﬁ", "ſ", "K",
]  # fmt: skip


def say(text):
    return lambda: text


def list_files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def check_name(made):
    assert SAFE.fullmatch(made), made
    assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d|index)(\..*)?", made)
    assert publishing.PAGE.fullmatch(f"models/{made}.html")


def test_names_are_safe_and_different():
    made = [name_page(name) for name in HOSTILE]
    assert len(set(made)) == len(HOSTILE)
    for each in made:
        check_name(each)
    assert name_page("smollm2-1.7b") == "smollm2-1.7b"  # what is safe stays readable


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_names_have_two_pages(one, other):
    check_name(name_page(one))
    assert (name_page(one) == name_page(other)) == (one == other)


@given(st.text(max_size=80))
def test_a_name_that_is_the_page_of_another_has_another_page(name):
    """Also not by a name made for it."""
    assert name == name_page(name) or name_page(name_page(name)) != name_page(name)


def test_pages_are_written_and_the_outdated_are_removed(tmp_path):
    site = tmp_path / "deep" / "site"
    assert publish(site, {"models/a.html": say("a"), "runs/r.html": say("r"), "index.html": say("1")}) == []
    assert publish(site, {"runs/r.html": say("r2"), "index.html": say("2")}) == []
    assert {name: text for name, text in list_files(site).items() if name != "site.json"} == {
        "runs/r.html": b"r2", "index.html": b"2",
    }  # fmt: skip
    assert not (site / "models").exists()


def test_the_same_pages_are_the_same_bytes_and_are_not_written_again(tmp_path):
    pages = {"models/a.html": say("ä\ud800"), "index.html": say("1")}
    publish(tmp_path / "site", pages)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "site").rglob("*.*")}
    publish(tmp_path / "site", pages)
    after = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "site").rglob("*.*")}
    assert before == after and len(after) == 3
    publish(tmp_path / "again", pages)
    assert list_files(tmp_path / "again") == list_files(tmp_path / "site")


def test_what_others_put_into_a_site_stays(tmp_path):
    publish(tmp_path, {"models/a.html": say("a"), "index.html": say("1")})
    for name in ("CNAME", ".nojekyll", "models/mine.html", "models/notes.txt"):
        (tmp_path / name).write_text("mine")
    publish(tmp_path, {"index.html": say("2")})
    assert {name for name, text in list_files(tmp_path).items() if text == b"mine"} == {
        "CNAME", ".nojekyll", "models/mine.html", "models/notes.txt",
    }  # fmt: skip
    assert not (tmp_path / "models" / "a.html").exists()


def test_an_outdated_page_that_somebody_changed_is_kept(tmp_path):
    publish(tmp_path, {"models/a.html": say("a"), "index.html": say("1")})
    (tmp_path / "models" / "a.html").write_text("changed")
    assert publish(tmp_path, {"index.html": say("1")}) == ["models/a.html"]
    assert (tmp_path / "models" / "a.html").read_text() == "changed"


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(GptaltError) as told:
        publish(tmp_path, {"index.html": say("1")})
    assert told.value.what == f"{tmp_path} contains other files, such as thesis.tex."
    assert told.value.hint == "Choose an empty or a new folder for the site."
    assert list_files(tmp_path) == {"thesis.tex": b"mine"}
    with pytest.raises(GptaltError, match="is not a folder"):
        publish(tmp_path / "thesis.tex", {"index.html": say("1")})


def test_a_fresh_checkout_is_not_something_else(tmp_path):
    (tmp_path / ".git").mkdir()
    publish(tmp_path, {"index.html": say("1")})
    assert (tmp_path / "index.html").read_text() == "1"


def test_a_page_of_others_with_our_name_is_not_replaced(tmp_path):
    publish(tmp_path, {"index.html": say("1")})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.html").write_text("mine")
    before = list_files(tmp_path)
    with pytest.raises(GptaltError, match="was not written by this command") as told:
        publish(tmp_path, {"models/a.html": say("a"), "index.html": say("2")})
    assert told.value.hint == "Move it away, or choose another folder."
    assert list_files(tmp_path) == before


def test_links_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.html").write_text("mine")
    site = tmp_path / "site"
    publish(site, {"models/a.html": say("a"), "index.html": say("1")})
    (site / "models" / "a.html").unlink()
    (site / "models").rmdir()
    (site / "models").symlink_to(elsewhere)
    for pages in ({"models/a.html": say("a"), "index.html": say("1")}, {"index.html": say("2")}):
        with pytest.raises(GptaltError, match="is a link"):
            publish(site, pages)
    (site / "models").unlink()
    (site / "index.html").unlink()
    (site / "index.html").symlink_to(elsewhere / "a.html")
    with pytest.raises(GptaltError, match="is a link"):
        publish(site, {"index.html": say("1")})
    assert (elsewhere / "a.html").read_text() == "mine"


@pytest.mark.parametrize("is_dangling", [True, False])
def test_a_list_of_pages_that_is_a_link_is_refused(tmp_path, is_dangling):
    publish(tmp_path / "site", {"index.html": say("1")})
    (tmp_path / "site" / "site.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "site" / "site.json").symlink_to(tmp_path / ("nothing" if is_dangling else "elsewhere.json"))
    before = (tmp_path / "elsewhere.json").read_bytes()
    with pytest.raises(GptaltError, match="is a link"):
        publish(tmp_path / "site", {"index.html": say("2")})
    assert (tmp_path / "elsewhere.json").read_bytes() == before
    assert (tmp_path / "site" / "index.html").read_text() == "1"


@pytest.mark.parametrize(
    "path",
    ["../mine.html", "/etc/x.html", "models/../../mine.html", "a/b/c.html", "mine.txt", "A.html", ".html"],
)
def test_a_list_of_pages_made_by_others_removes_nothing_elsewhere(tmp_path, path):
    site = tmp_path / "site"
    publish(site, {"index.html": say("1")})
    (tmp_path / "mine.html").write_text("mine")
    (site / "mine.txt").write_text("mine")
    (site / "site.json").write_text(json.dumps({"gptalt-eval site": 1, "files": {path: ""}}))
    with pytest.raises(GptaltError, match="is damaged"):
        publish(site, {"index.html": say("2")})
    assert (tmp_path / "mine.html").exists() and (site / "mine.txt").exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", "not JSON", '{"gptalt-eval site": 2, "files": {}}', '{"files": []}']
)
def test_a_list_that_is_not_ours_is_refused(tmp_path, text):
    (tmp_path / "site.json").write_text(text)
    with pytest.raises(GptaltError) as told:
        publish(tmp_path, {"index.html": say("1")})
    assert told.value.what.startswith(f"{tmp_path / 'site.json'} ")
    if "files" in text:
        assert told.value.what.endswith("does not belong to a site of this version.")
        assert told.value.hint == "Choose another folder."
    assert list_files(tmp_path) == {"site.json": text.encode()}


def test_what_an_interrupted_command_wrote_is_still_ours(tmp_path):
    def stop():
        raise KeyboardInterrupt

    publish(tmp_path, {"runs/old.html": say("old"), "index.html": say("1")})
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, {"runs/old.html": say("older"), "runs/new.html": say("new"), "index.html": stop})
    assert (tmp_path / "index.html").read_text() == "1"
    publish(tmp_path, {"index.html": say("3")})
    assert {name: text for name, text in list_files(tmp_path).items() if name != "site.json"} == {
        "index.html": b"3"
    }


def test_secrets_of_the_environment_are_not_published(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    publish(tmp_path, {"index.html": say("hf_secretsecretsecret")})
    assert "secretsecret" not in (tmp_path / "index.html").read_text()
