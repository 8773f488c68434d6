"""Work for the engine `ray` that needs no model: its workers import this file alone."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.errors import AudioError
from earwitness.core.paths import data_root


@dataclass(frozen=True)
class Squaring:
    """Squares numbers; notes each that it begins in a folder, with the process that does."""

    folder: Path
    deadly: int | None = None  # its worker dies over it,
    lives: int = 99  # so many times
    failing: int | None = None
    meeting: bool = False  # nobody goes on before two have begun

    def result(self, item: int) -> int:
        (self.folder / f"{item}-{os.getpid()}").touch()
        deadline = time.monotonic() + 120
        while self.meeting and len(self.processes()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        if item == self.failing:
            raise AudioError("cannot be squared", where=item, fix="Try another.")
        if item == self.deadly and len(self.begun(item)) <= self.lives:
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item

    def lost(self, item: int, why: str) -> str:
        return f"{item}: {why}"

    def processes(self) -> set[str]:
        return {path.name.split("-")[1] for path in self.folder.iterdir()}

    def begun(self, item: int) -> list[Path]:
        return list(self.folder.glob(f"{item}-*"))


@dataclass(frozen=True)
class Unwelcome(Squaring):
    """Cannot be opened by a worker."""

    def __reduce__(self) -> Any:
        return _refused, ()


def _refused() -> None:
    raise RuntimeError("no memory for this model")


class Confined:
    """Says where its process may read."""

    def result(self, item: int) -> str:
        return str(data_root())

    def lost(self, item: int, why: str) -> str:
        return why
