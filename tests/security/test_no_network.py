"""The commands work without a network and never ask for one; only what is told to fetch tries to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tiny_models import make_detector, make_embedder

RUNNER = Path(__file__).with_name("no_network.py")


def cut_off(home: Path, *lines: str) -> tuple[list[str], list[int]]:
    """What the command lines asked of the network, and their exit codes."""
    environment = {**os.environ, "EARWITNESS_CACHE": str(home / "cache"), "HF_HOME": str(home / "hub")}
    environment = {name: value for name, value in environment.items() if not name.endswith("_OFFLINE")}
    environment["EARWITNESS_TEST_NETWORK"] = "allowed"  # the runner refuses by itself, and counts
    given = json.dumps([line.split() for line in lines])
    done = subprocess.run(
        [sys.executable, RUNNER], input=given, cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    asked, codes = json.loads(done.stdout.splitlines()[-1])
    return asked, codes


@pytest.fixture
def home(tmp_path: Path, speechlike: Callable[..., Any]) -> Path:
    rows = ["id,path,label,speaker,system"]
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", speechlike(1.2, seed=number), 16_000)
        rows.append(f"r{number},{number}.wav,{['bonafide', 'spoof'][number % 2]},s{number},{['', 'x'][number % 2]}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    make_detector(tmp_path / "detector")
    make_embedder(tmp_path / "embedder")
    return tmp_path


def test_no_command_asks_for_the_network(home: Path) -> None:
    asked, codes = cut_off(
        home,
        "examine 0.wav --reference 2.wav --html page.html --json report.json",
        "score rows.csv --task deepfake --model detector -o s.csv",
        "score rows.csv --task speaker --model embedder --reference 0.wav -o v.csv",
        "evaluate deepfake s.csv --key rows.csv --resamples 20 --json result.json",
        "compare s.csv s.csv --key rows.csv --resamples 20",
        "corpus check rows.csv",
        "corpus describe rows.csv",
        "index build 0.wav 1.wav -o genuine --encoder log_mel --segment 1",
        "index build 0.wav -o genuine --encoder log_mel --segment 1",
        "index search genuine 2.wav",
        "model list",
        "model verify detector",
        "claim list",
        "cache info",
        "doctor",
    )
    assert asked == []
    assert codes[1:3] == [0, 1]  # the reference is not compared with itself
    assert codes[3:7] == [0, 0, 0, 0]
    assert codes[7] == 2  # wrong use
    assert codes[8:14] == [0] * 6


REACHES_OUT = """
import socket, sys
tries = [
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.getaddrinfo("example.org", 443),
    lambda: socket.gethostbyname("example.org"),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
]
for one in tries:
    try:
        one()
    except OSError as error:
        print(error)
"""


def test_no_test_reaches_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither this process nor one that it starts, and both reach this machine."""
    exec(REACHES_OUT)
    here = capsys.readouterr().out
    done = subprocess.run([sys.executable, "-c", REACHES_OUT], capture_output=True, text=True, check=True)
    for said in (here, done.stdout):
        assert [line.startswith("tests have no network: ") for line in said.splitlines()] == [True] * 5
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        connect = f"import socket; socket.create_connection({server.getsockname()!r}).close()"
        subprocess.run([sys.executable, "-c", connect], check=True)


@pytest.mark.soak
def test_only_what_may_fetch_tries_to(home: Path) -> None:
    """The control of the test above, and the rule for encoders: a hub name alone is not enough."""
    asked, codes = cut_off(home, "encoder someone/something")
    assert (asked, codes) == ([], [2])
    asked, codes = cut_off(home, "encoder someone/something --allow-download")
    assert asked
    assert codes == [2]
