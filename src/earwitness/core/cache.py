"""Where Earwitness keeps what it can make again: `EARWITNESS_CACHE`, else the user's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder (not created here). macOS and Windows have their own customary places."""
    if chosen := os.environ.get("EARWITNESS_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "earwitness"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "earwitness"
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "earwitness"
