"""What a finished toy run is to the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest, its folder, and the model in it."""

    manifest: Path
    folder: Path
    model: Path
