"""What a run tells while it goes: `log.jsonl` always, a progress bar on a terminal, TensorBoard if asked for."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from earwitness.core.errors import MissingPartError, UsageError
from earwitness.training.conflicts import ConflictTable

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """What happened after `step` optimiser steps, in the epoch `epoch` (from 0).

    `values` are named `lr`, `loss` (the sum of the terms), `loss/TERM`, `gradient/NAME` (what an aligned run sees of
    its terms' gradients), `note/NAME` (what the task has to say), `dev/METRIC`.
    """

    kind: Literal["step", "epoch", "result"]
    step: int
    epoch: int
    values: Mapping[str, float]


class Listener(Protocol):
    """Someone whom a run tells what happens; every step, every epoch, and the result."""

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        ...

    def close(self) -> None:
        """The run is over, or has failed."""
        ...


class JsonLines:
    """`log.jsonl`: one object a line, for every `every`-th step, each epoch and the result; a number that is not
    finite is null.

    `keep` bytes of an earlier log stay: what a killed run wrote after its checkpoint is cut, so that no line stands
    twice.
    """

    def __init__(self, path: Path, every: int, keep: int = 0) -> None:
        self._every = every
        try:
            self._file = path.open("ab")
            self._file.truncate(min(keep, self._file.seek(0, os.SEEK_END)))
        except OSError as error:
            raise UsageError(
                f"cannot be written ({error.strerror})", where=path, fix="Choose another output."
            ) from None

    def hear(self, event: Event) -> None:
        """Append the event's line; it survives a killed process."""
        if event.kind == "step" and event.step % self._every:
            return
        numbers = {name: value if math.isfinite(value) else None for name, value in event.values.items()}
        line = {"event": event.kind, "step": event.step, "epoch": event.epoch, **numbers}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def size(self) -> int:
        """Bytes so far, safely on disk: what a checkpoint remembers."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Event files for TensorBoard; on resume what lies after the checkpoint is purged. Raises `MissingPartError`."""

    def __init__(self, folder: Path, every: int, step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingPartError(
                "TensorBoard is not installed", fix="pip install 'earwitness[tensorboard]'"
            ) from None
        self._every = every
        self._writer = SummaryWriter(folder, purge_step=step)

    def hear(self, event: Event) -> None:
        """Add the event's numbers as scalars."""
        if event.kind == "step" and event.step % self._every:
            return
        for name, value in event.values.items():
            self._writer.add_scalar(name if event.kind != "step" else f"step/{name}", value, event.step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def counted(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items; a bar on standard error says how many are done (nothing where that is no terminal)."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


class Bar:
    """A progress bar over all steps on standard error (nothing where that is no terminal), and the table of conflicts
    of a run that counts them.
    """

    def __init__(self, steps: int, done: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._console = console
        self._conflicts = ConflictTable()
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("train", total=steps, completed=done)
        self._dev = ""
        self._bar.start()

    def hear(self, event: Event) -> None:
        """Show the step, the loss, and the last dev metrics."""
        if event.kind == "epoch":
            dev = {name: value for name, value in event.values.items() if name.startswith("dev/")}
            self._dev = " ".join(f"{name} {value:.4g}" for name, value in dev.items())
            for line in self._conflicts.lines(event.epoch, event.values):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif event.kind == "step":
            text = f"epoch {event.epoch + 1}  loss {event.values['loss']:.4g}  {self._dev}"
            self._bar.update(self._task, completed=event.step, description=text)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if not self._bar.disable:  # rich 14 ends a bar that was never drawn with an empty line
            self._bar.stop()
