"""The run record: what a result was made from. A number without one is not printed in the docs."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from earwitness.core.writing import write_atomically


@dataclass(frozen=True)
class RunRecord:
    """Enough to run it again and print the difference.

    `settings` is the recipe of a training, or the request of a judgement; `inputs` are tables, lists and manifests by
    their sha256; `weights` the models by name and sha256; `definitions` what each figure means; `licences` those of
    the data, as far as stated; `seconds_heard` how much sound the models were given (None: not known).
    """

    command: str
    settings: dict[str, Any]
    seed: int | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)
    licences: list[str] = field(default_factory=list)
    seconds_heard: float | None = None
    notes: list[str] = field(default_factory=list)  # e.g. a leak that was allowed by name
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    created: str = ""

    @classmethod
    def make(cls, command: str, settings: dict[str, Any], **known: Any) -> RunRecord:
        """A record of now, on this machine, with this code."""
        return cls(
            command=command,
            settings=settings,
            versions=versions(),
            machine={"system": platform.system(), "processor": platform.machine(), "python": platform.python_version()},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            **known,
        )

    def plain(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)

    def write(self, path: str | Path) -> None:
        """Write as JSON, whole or not at all."""
        write_atomically(path, json.dumps(self.plain(), indent=2, ensure_ascii=False) + "\n")


def versions() -> dict[str, str]:
    """Of the code (its git commit in a checkout) and of the packages that results depend on."""
    found = {"code": _code_version()}
    for package in ("earwitness", "torch", "numpy", "transformers", "soundfile", "av", "soxr"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _code_version() -> str:
    """The git commit where the code runs from a checkout, else 'installed'."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "installed"
    return done.stdout.strip() or "installed"


def command_line() -> str:
    """The command that runs now, as typed."""
    return " ".join(["earwitness", *sys.argv[1:]])
