"""Numbers kept by the hash of the audio: found again under any manifest, by stretch, and after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.core.errors import AudioError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.side_tables import AudioKeys, SideTable, missing

ROWS = [
    {"id": "a", "path": "a.wav", "start": None, "end": None},
    {"id": "copy", "path": "copy.wav", "start": None, "end": None},
    {"id": "part", "path": "a.wav", "start": 0.1, "end": 0.4},
    {"id": "b", "path": "b.wav", "start": None, "end": None},
]


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Manifest:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    for name, seed in (("a", 0), ("copy", 0), ("b", 1)):
        soundfile.write(tmp_path / f"{name}.wav", speechlike(0.5, seed=seed), 16_000)
    return Manifest.from_table(pl.DataFrame(ROWS), tmp_path)


def entry(key: str, value: float) -> dict[str, Any]:
    return {"audio": key, "value": value, "seconds_used": 0.5, "seconds_total": 0.5, "model": "m1"}


def test_keys_are_of_what_is_heard(manifest: Manifest) -> None:
    keys = AudioKeys(manifest)
    found = {row.id: keys.of(row) for row in manifest.rows()}
    assert found["a"] == found["copy"]  # the same audio under another name
    assert len(set(found.values())) == 3
    assert found["part"] == f"{found['a']}:None:0.1:0.4"


def test_values_are_kept_and_found_again(manifest: Manifest) -> None:
    table = SideTable("mos", "made-up", "m1")
    assert table.of(manifest) == {}
    keys = AudioKeys(manifest)
    rows = {row.id: keys.of(row) for row in manifest.rows()}
    with table.rows() as kept:
        kept.add(entry(rows["a"], 3.5))
        interrupted = SideTable("mos", "made-up", "m1").of(manifest)
        kept.add(entry(rows["part"], 1.5))
    assert interrupted == {"a": 3.5, "copy": 3.5}
    again = SideTable("mos", "made-up", "m1").of(manifest)
    assert again == {"a": 3.5, "copy": 3.5, "part": 1.5}
    assert missing(manifest.rows(), again) == ["b"]
    assert SideTable("mos", "made-up", "m2").of(manifest) == {}  # another version of the model


def test_a_file_that_is_gone(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "b.wav").unlink()
    with pytest.raises(AudioError, match=r"b\.wav"):
        SideTable("mos", "made-up", "m1").of(manifest)
