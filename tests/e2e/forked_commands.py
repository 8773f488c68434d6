"""Command lines in children of a process that has imported everything: see `fault_server.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SCRIPT = Path(__file__).with_name("fault_server.py")


@dataclass(frozen=True)
class Outcome:
    """What became of a command line; `peak_mb` is the most memory that it had."""

    code: int | str
    out: str
    err: str
    seconds: float
    peak_mb: float

    def one_line(self, code: int, *said: str) -> None:
        """It ended with this code, and said why in one line that has these words."""
        assert self.code == code, self
        assert self.err.startswith("earwitness: "), self
        assert self.err.count("\n") == 1, self
        assert "defect" not in self.err
        for words in said:
            assert words in self.err

    def listed(self, *said: str) -> None:
        """It did what it could, and named what it could not do, a line each."""
        assert self.code == 1, self
        assert "Traceback" not in self.err
        for words in said:
            assert sum(words in line for line in self.err.splitlines()) == 1, (words, self.err)


@dataclass(frozen=True)
class Forked:
    """forked(*words, cwd=..., **faults): a command line in a folder."""

    asks: IO[str]
    answers: IO[str]

    def __call__(self, *words: object, cwd: Path, **faults: Any) -> Outcome:
        asked = {"words": [str(word) for word in words], "cwd": str(cwd)} | faults
        self.asks.write(json.dumps(asked, default=str) + "\n")
        self.asks.flush()
        return Outcome(**json.loads(self.answers.readline()))


@contextmanager
def forked_commands() -> Iterator[Forked]:
    """While it lasts, the process lives whose children run the commands."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield Forked(server.stdin, server.stdout)
        server.stdin.close()
