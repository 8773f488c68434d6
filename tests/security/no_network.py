"""Runs command lines in a process that cannot reach anything: asking for a name or a connection ends as an error.

Prints one JSON list: what was asked of the network, and the exit codes. Standard input holds the command lines.
"""

from __future__ import annotations

import json
import sys

asked: list[str] = []


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.connect"):
        target = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        if isinstance(target, str) and event == "socket.connect":
            return  # a local socket between processes of this machine
        asked.append(f"{event} {target}")
        raise OSError("there is no network here")


sys.addaudithook(refuse)

from earwitness.cli.main import exit_code  # noqa: E402 - nothing may be imported before the hook


def code_of(words: list[str]) -> int:
    """`encoder NAME [--allow-download]` loads an encoder as a recipe does; all else is a command line."""
    if words[0] != "encoder":
        return exit_code(words)
    from earwitness.core.errors import EarwitnessError
    from earwitness.nn.pretrained.transformers_models import load_encoder

    try:
        load_encoder(words[1], allow_download="--allow-download" in words)
    except EarwitnessError:
        return 2
    return 0


codes = [code_of(words) for words in json.load(sys.stdin)]
sys.stdout = sys.__stdout__
print("\n" + json.dumps([asked, codes]))
