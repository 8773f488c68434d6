"""What every reader of a corpus gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earwitness.corpora.manifest import Manifest


@dataclass(frozen=True)
class Imported:
    """A manifest, and what a person should know about how it came to be."""

    manifest: Manifest
    notes: tuple[str, ...] = ()


Reader = Callable[[Path], Imported]
