"""Where Earwitness keeps what it can make again: `EARWITNESS_CACHE`, else the user's cache folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import UsageError

KINDS = {
    "encoders": "weights of the shared encoder in the form that loads fastest",
    "mos": "predicted quality of recordings, by the hash of their audio",
    "phones": "phones of recordings, by the hash of their audio",
    "prints": "voice prints of known voices, by the hash of their audio",
}
"""The sub-folders that are ours: nothing else in the folder is counted or cleared."""


def cache_folder() -> Path:
    """The cache folder (not created here). macOS and Windows have their own customary places."""
    if chosen := os.environ.get("EARWITNESS_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "earwitness"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "earwitness"
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "earwitness"


@dataclass(frozen=True)
class Kept:
    """What the cache holds of one of `KINDS`."""

    kind: str
    what: str
    files: int
    bytes: int


def cache_contents() -> list[Kept]:
    """Every kind, also those of which nothing is kept."""
    return [_kept(kind, what) for kind, what in KINDS.items()]


def clear_cache(kinds: Sequence[str] = ()) -> list[Kept]:
    """Remove these kinds (none named: all), and say what was removed. Links are not followed.

    Raises `UsageError` for a kind that does not exist, or where a kind's folder is a link.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"'{kind}' is no kind of the cache", fix=f"Kinds: {', '.join(KINDS)}.")
    chosen = [kind for kind in KINDS if not kinds or kind in kinds]
    for kind in chosen:
        if (cache_folder() / kind).is_symlink():
            fix = "Remove it, or what it leads to, yourself."
            raise UsageError(
                "is a link, and what it leads to is not ours to remove", where=cache_folder() / kind, fix=fix
            )
    gone = [_kept(kind, KINDS[kind]) for kind in chosen]
    for kind in chosen:
        shutil.rmtree(cache_folder() / kind, ignore_errors=True)
    return gone


def _kept(kind: str, what: str) -> Kept:
    files = [path for path in (cache_folder() / kind).rglob("*") if path.is_file() and not path.is_symlink()]
    return Kept(kind, what, len(files), sum(path.stat().st_size for path in files))
