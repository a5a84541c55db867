"""Links that work from elsewhere, whatever was typed for the host; ports; annotators' names."""

import socket
from contextlib import closing

import pytest
from gptalt_eval_plugin_elo.voting.addresses import find_addresses, is_local, list_homes, listen, make_home
from gptalt_eval_plugin_elo.voting.commands import LONGEST_NAME, read_people

from gptalt_eval import GptaltError


def has_ipv6():
    try:
        listen("::1", 0).close()
    except GptaltError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def addresses(monkeypatch):
    """A computer in two networks, whose name leads to itself, as it often does."""
    mine = {socket.AF_INET: ("192.168.1.5", 1), socket.AF_INET6: ("fd00::5", 1, 0, 0)}
    listed = ["127.0.1.1", "192.168.1.5", "10.0.0.7", "169.254.3.3", "fe80::1%eth0", "::1", "2001:db8:7::7"]

    class Probe:
        def __init__(self, family, kind):
            self.family = family

        def connect(self, there):
            assert there[1] == 9

        def getsockname(self):
            return mine[self.family]

        def close(self):
            pass

    monkeypatch.setattr("gptalt_eval_plugin_elo.voting.addresses.socket.socket", Probe)
    monkeypatch.setattr(
        "gptalt_eval_plugin_elo.voting.addresses.socket.getaddrinfo",
        lambda *_, **__: [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 0, 0, "", (each, 0)) for each in listed
        ],
    )
    return mine


def test_addresses_in_networks_are_found(addresses):
    assert list(find_addresses(socket.AF_INET)) == ["192.168.1.5", "10.0.0.7"]
    assert list(find_addresses(socket.AF_INET6)) == ["192.168.1.5", "fd00::5", "10.0.0.7", "2001:db8:7::7"]


def test_without_a_network_there_are_none(monkeypatch):
    def fail(*_, **__):
        raise OSError

    monkeypatch.setattr("gptalt_eval_plugin_elo.voting.addresses.socket.socket", fail)
    monkeypatch.setattr("gptalt_eval_plugin_elo.voting.addresses.socket.getaddrinfo", fail)
    assert list(find_addresses(socket.AF_INET6)) == []


def find_homes(host, port=0):
    with closing(listen(host, port)) as listening:
        homes = list_homes(listening, host)
        bound = listening.getsockname()[1]
        assert all(home.endswith(f":{bound}") for home in homes)
        return [home.removeprefix("http://").rpartition(":")[0] for home in homes], is_local(listening)


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "", pytest.param("::", marks=needs_ipv6), pytest.param("0::0", marks=needs_ipv6)])  # fmt: skip
def test_every_address_is_told_from_what_is_bound(host):
    homes, local = find_homes(host)
    assert local is False
    assert (homes and not {"localhost", "127.0.0.1", "[::1]", host or "0.0.0.0"} & {*homes}) or homes == [
        "localhost"
    ]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "localhost", pytest.param("::1", marks=needs_ipv6)]
)
def test_what_was_typed_is_in_the_links(host):
    assert find_homes(host) == ([f"[{host}]" if ":" in host else host], True)


@needs_ipv6
def test_every_address_is_of_both_kinds():
    with closing(listen("::", 0)) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()


def test_addresses_in_links():
    assert make_home("fd00::5", 80) == "http://[fd00::5]:80"
    assert make_home("fe80::1%eth0", 80) == "http://[fe80::1%25eth0]:80"
    assert make_home("192.168.1.5", 80) == "http://192.168.1.5:80"


@pytest.mark.parametrize(
    ("host", "port"),
    [("256.1.1.1", 0), ("127.0.0.1", 99999), ("127.0.0.1", -1), ("a" * 300, 0), ("a\0b", 0), ("nowhere.invalid", 0),
     ("..", 0), ("1.2.3.4", 0), ("[::1]", 0)],
)  # fmt: skip
def test_where_nobody_can_listen(host, port):
    with pytest.raises(GptaltError, match=r"^Cannot listen on .*\n.*--port 8766"):
        listen(host, port)


def test_annotators_names():
    assert read_people("anna, Ben  B. ,,本\u3000田,می\u200cخواهم, O'Neil") == [
        "anna", "Ben B.", "本 田", "می\u200cخواهم", "O'Neil",
    ]  # fmt: skip
    assert read_people("x" * LONGEST_NAME) == ["x" * LONGEST_NAME]
    assert read_people("") == read_people(" , ") == []


@pytest.mark.parametrize(
    ("names", "said"),
    [("anna," + "x" * 2000, r"--annotators: the name 'x{40}\.\.\.' has 2,000 characters"), ("an\x1b[2Jna", r"'an\\x1b\[2Jna' contains U\+001B"),
     ("\u202eanna", r"contains U\+202E"), ("anna\0", r"U\+0000"), ("an\u200bna", r"U\+200B"), ("\udcff", r"U\+DCFF"),
     ("anna\ufeff", r"U\+FEFF"), ("\u200fanna", r"U\+200F"), ("an\u00adna", r"U\+00AD")],
)  # fmt: skip
def test_names_that_nobody_could_read(names, said):
    with pytest.raises(GptaltError, match=said):
        read_people(names)
