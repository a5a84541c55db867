"""Where the page listens, and how browsers reach it from this computer and from others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import ip_address

from gptalt_eval import GptaltError

#: addresses for documentation: nothing is sent there, but the system says from where it would be
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; port 0 is a free one.

    Raises:
        GptaltError: there is no such host or port, or the port is in use.
    """
    host = host or "0.0.0.0"
    found = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # "::" is every address of both kinds on each system
            with suppress(OSError):
                found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind((host, port))
    except (OSError, OverflowError, ValueError) as error:
        if found is not None:
            found.close()
        reason = getattr(error, "strerror", None) or error
        raise GptaltError(
            f"Cannot listen on {host:.60}, port {port} ({reason}).", "Choose another port: --port 8766"
        ) from error
    return found


def list_homes(listening: socket.socket, host: str) -> list[str]:
    """The beginnings of links, the usual one first: ``http://192.168.1.5:8765``.

    Args:
        listening: the socket.
        host: what the user typed: it is in the links, unless it means every address of this computer.
    """
    bound, port = listening.getsockname()[:2]
    every = ip_address(bound.partition("%")[0]).is_unspecified
    names = list(find_addresses(listening.family)) if every else [host]
    return [make_home(name, port) for name in names or ["localhost"]]


def is_local(listening: socket.socket) -> bool:
    """Whether the page can be reached from this computer only."""
    return ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def make_home(host: str, port: int) -> str:
    name = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return f"http://{name}:{port}"


def find_addresses(family: int) -> Iterator[str]:
    """This computer's addresses in networks, without those that only work on itself or one cable.

    Args:
        family: of the socket; one of IPv6 takes both kinds.
    """
    families = [socket.AF_INET] if family == socket.AF_INET else [socket.AF_INET, socket.AF_INET6]
    found: dict[str, None] = {}  # a set in order
    for each, there in ELSEWHERE:
        if each in families:
            with suppress(OSError), closing(socket.socket(each, socket.SOCK_DGRAM)) as probe:
                probe.connect((there, 9))
                found[probe.getsockname()[0]] = None
    with suppress(OSError, UnicodeError):
        for known in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
            if known[0] in families:
                found[str(known[4][0])] = None
    for address in found:
        about = ip_address(address.partition("%")[0])
        if not (about.is_loopback or about.is_link_local or about.is_unspecified):
            yield address
