"""sha256 of files, arrays and plain data: the names by which results refer to what they were made from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.core.plain_files import require_plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks. Raises `OSError`, also for a pipe or a device."""
    require_plain(path)
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - short files by the thousand are hashed
        while block := file.read(1 << 18):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """Hex sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def sha256_data(data: Any) -> str:
    """Hex sha256 of plain data (dicts, lists, numbers, texts) in a canonical JSON form: key order does not matter."""
    return sha256_text(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def sha256_samples(samples: NDArray[np.float32]) -> str:
    """Hex sha256 of an array's bytes, for audio that has no file."""
    return hashlib.sha256(samples.tobytes()).hexdigest()
