"""Small corpora, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile as sf

from earwitness.corpora.manifest import Manifest


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Manifest]:
    """make(rows): a manifest of dictionaries; `path` is made up where it is missing."""

    def build(rows: list[dict[str, Any]]) -> Manifest:
        names = {name: None for row in rows for name in row}
        full = [{**dict.fromkeys(names), **row, "path": row.get("path", f"{i}.wav")} for i, row in enumerate(rows)]
        return Manifest(pl.DataFrame(full, infer_schema_length=None), tmp_path)

    return build


@pytest.fixture
def recordings(tmp_path: Path, speechlike: Callable[..., Any]) -> Manifest:
    """Six wav files at 8 kHz, 0.5 to 1 s, three speakers, two labels."""
    rows = []
    for i in range(6):
        seconds = 0.5 + 0.1 * i
        sf.write(tmp_path / f"{i}.wav", speechlike(seconds, rate=8000, seed=i), 8000)
        label = "bonafide" if i % 2 else "spoof"
        rows.append({"path": f"{i}.wav", "speaker": f"s{i % 3}", "label": label, "duration_s": seconds})
    return Manifest(pl.DataFrame(rows), tmp_path)
