"""Files of a folder that somebody handed over: names, links, JSON."""

import json
import os
import socket
from contextlib import closing

import pytest

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import (
    LINKED,
    check_folders,
    check_plain,
    is_bare,
    open_named,
    open_plain,
    parse_json,
    read_json,
)


@pytest.mark.parametrize("name", ["results_1.json", ".hidden", "a b", "mmlu (5-shot)", "问题", "x" * 255])
def test_names_of_files(name):
    assert is_bare(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/x", "a/", "a\\b", "..\\x", "C:x", "a\0b", "a\nb", "\x1b[31m", "x" * 256,
     "é" * 128, "\u202egpj"],
)  # fmt: skip
def test_names_that_lead_elsewhere(name):
    assert not is_bare(name)


def make_odd(folder, kind):
    victim = folder / "victim"
    victim.write_text("SECRET")
    path = folder / "inside"
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "link to nothing":
        path.symlink_to(folder / "nothing")
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("mode", ["r", "rb", "a", "a+", "r+b"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "hard link", "pipe", "folder"])
def test_only_ordinary_files_are_opened(tmp_path, kind, mode):
    path = make_odd(tmp_path, kind)
    with pytest.raises(GptaltError, match=str(path)) as caught:
        open_plain(path, mode)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(GptaltError):
        check_plain(path)
    assert (tmp_path / "victim").read_text() == "SECRET"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("kind", "what", "hint"),
    [
        ("link", "is a link, which could lead anywhere; it is not followed.", LINKED),
        ("hard link", "is a hard link: the same file has another name elsewhere.", LINKED),
        ("pipe", "is not an ordinary file.", "Remove it, or use another folder."),
        ("folder", "is not an ordinary file.", "Remove it, or use another folder."),
    ],
)
def test_what_is_said_of_an_odd_file(tmp_path, kind, what, hint):
    path = make_odd(tmp_path, kind)
    with pytest.raises(GptaltError) as raised:
        check_plain(path)
    assert (raised.value.what, raised.value.hint) == (f"{path} {what}", hint)


def test_a_pipe_that_appears_after_the_check_is_not_waited_for(tmp_path, monkeypatch):
    path = make_odd(tmp_path, "pipe")
    monkeypatch.setattr("gptalt_eval.contract.handed.check_plain", lambda path: None)
    with pytest.raises(GptaltError, match="is not an ordinary file"):
        open_plain(path)


def test_a_name_with_half_a_character_is_none():
    assert not is_bare("a\ud800")


def test_a_link_that_appears_after_the_check_is_not_followed(tmp_path, monkeypatch):
    path = make_odd(tmp_path, "link")
    monkeypatch.setattr("gptalt_eval.contract.handed.check_plain", lambda path: None)
    with pytest.raises(OSError):
        open_plain(path, "a")
    assert (tmp_path / "victim").read_text() == "SECRET"


def test_ordinary_files_are_read_and_written(tmp_path):
    with open_plain(tmp_path / "new", "a") as stream:
        stream.write("é")
    with open_plain(tmp_path / "new", "a+") as stream:
        stream.write("!")
        stream.seek(0)
        assert stream.read() == "é!"
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "none")
    check_plain(tmp_path / "none")


def test_the_folder_itself_may_be_behind_a_link(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "file").write_text("{}")
    (tmp_path / "typed").symlink_to(tmp_path / "real")
    assert read_json(tmp_path / "typed" / "file") == {}
    assert check_folders(tmp_path / "typed", "inner") == tmp_path / "typed" / "inner"
    assert check_folders(tmp_path / "typed", "new") == tmp_path / "typed" / "new"


def test_folders_below_it_may_not(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for names in (["link"], ["link", "deeper"], [".."], ["a/b"]):
        with pytest.raises(GptaltError):
            check_folders(tmp_path, *names)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000, "nested deeper than 100 levels"),
        ("[" * 150 + "]" * 150, "nested deeper than 100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested deeper than 100 levels"),
        ("1" * 400, "a number of 400 digits"),
        ("1" * 5000, "a number of 5,000 digits"),
        ("[1", "Expecting"),
    ],
)
def test_json_that_is_refused(tmp_path, text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    (tmp_path / "file").write_text(text)
    with pytest.raises(GptaltError, match="damaged"):
        read_json(tmp_path / "file")


def test_json_that_is_read():
    assert parse_json("[" * 99 + "]" * 99)
    assert parse_json("[" + "[1]," * 500 + "[2]]")[-1] == [2]
    assert parse_json('["' + "1" * 400 + '", 7]') == ["1" * 400, 7]
    assert parse_json("[1e999, -0, 123]")[1:] == [0, 123]
    assert parse_json(r'"\ud83d\ude00"') == "😀"


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'"\udc00"', r'"a\uDBFFb"', r'{"\ud800": 1}', r'"\ud83d\ude00\ude00"']
)
def test_half_characters_can_be_printed(text):
    str(parse_json(text)).encode("utf-8")


# ---------------------------------------------------------------------- files that are named


@pytest.mark.parametrize("name", ["pipe", "socket", "/dev/zero", "folder", "none", "nul\0"])
@pytest.mark.parametrize("mode", ["r", "rb"])
def test_what_has_no_end_is_not_opened(tmp_path, name, mode):
    path = tmp_path / name
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(GptaltError, match="cannot be read") as caught:
            open_named(path, mode)
    assert caught.value.hint == "Give the path of an ordinary file."


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("gptalt_eval.machine.bounds.check_ordinary", lambda path: None)
    with pytest.raises(GptaltError, match="is a pipe or a device"):
        open_named(tmp_path / "pipe")


def test_ordinary_files_are_opened_behind_links_too(tmp_path):
    (tmp_path / "file").write_text("é", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_named(tmp_path / "link") as stream:
        assert stream.read() == "é"
    with open_named(tmp_path / "file", encoding="latin-1") as stream:
        assert stream.read() == "Ã©"
    with open_named(tmp_path / "file", "rb") as stream:
        assert stream.read() == "é".encode()


def test_what_is_said_of_a_folder_that_is_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GptaltError) as raised:
        check_folders(tmp_path, "link")
    assert (
        raised.value.what == f"{tmp_path / 'link'} is a link, which could lead anywhere; it is not followed."
    )
    assert raised.value.hint == LINKED


def test_what_is_said_of_a_named_file_that_cannot_be_read(tmp_path):
    with pytest.raises(GptaltError) as raised:
        open_named(tmp_path / "nowhere")
    assert raised.value.what == f"{tmp_path / 'nowhere'} cannot be read: No such file or directory."
    assert raised.value.hint == "Give the path of an ordinary file."


def test_of_a_damaged_file_nothing_is_advised_unless_the_caller_does(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    for given in ((), ("Delete it.",)):
        with pytest.raises(GptaltError) as raised:
            read_json(tmp_path / "a.json", *given)
        assert raised.value.hint == "".join(given)


@pytest.mark.parametrize("inner", ["", "1", '"["'])
@pytest.mark.parametrize("beside", ["", ",[]"])
def test_a_hundred_levels_are_read_and_one_more_is_not(inner, beside):
    def nest(levels):
        return "[" * levels + inner + "]" * (levels - 1) + beside + "]"

    assert parse_json(nest(100)) == json.loads(nest(100))
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        parse_json(nest(101))
