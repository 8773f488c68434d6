"""No test reaches another machine: in each process with this folder on its path, names and connections are refused.

Python imports a module of this name at its start; `conftest.py` puts the folder on the path of every process that tests
start, and loads it for their own. Loopback and sockets that are files are free. It sees what Python asks for, not what
a library in C asks by itself: `make test-offline` has no network at all.
"""

from __future__ import annotations

import os
import socket
import sys

NAMES = ("socket.getaddrinfo", "socket.gethostbyname")
CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")
HERE = ("localhost", "", None, b"localhost")


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: raises `OSError` where another machine is meant."""
    if event in NAMES:
        host = arguments[0]
    elif event in CONNECTIONS and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in HERE and host != socket.gethostname() and not is_loopback(str(host)):
        raise OSError(f"tests have no network: {event} {host}")


def is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1", "0.0.0.0", "::")


if os.environ.get("EARWITNESS_TEST_NETWORK") != "allowed":
    sys.addaudithook(refuse)
