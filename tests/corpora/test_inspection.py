"""What `corpus check` and `corpus describe` find in files and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.corpora.inspection import Count, describe, inspect_files
from earwitness.corpora.manifest import Manifest


@pytest.fixture
def folder(tmp_path: Path, speechlike: Callable[..., Any]) -> Path:
    for name, seed in (("a", 0), ("twin", 0), ("b", 1)):
        soundfile.write(tmp_path / f"{name}.wav", speechlike(1.0, seed=seed), 16_000)
    (tmp_path / "text.wav").write_text("no sound")
    content = (tmp_path / "b.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    return tmp_path


def inspected(folder: Path, rows: list[dict[str, Any]], decode: bool = False) -> dict[str, list[str]]:
    """What was found, by row."""
    steps: list[int] = []
    table = pl.DataFrame(rows, infer_schema_length=None)
    found = inspect_files(Manifest.from_table(table, folder), lambda: steps.append(1), decode)
    assert len(steps) == len(found.hashes) == len(rows)
    return {row["id"]: [one.what for one in found.problems if one.id == row["id"]] for row in rows}


def test_a_file_is_held_against_its_row(folder: Path) -> None:
    found = inspected(
        folder,
        [
            {"id": "right", "path": "a.wav", "duration_s": 1.0, "sample_rate": 16_000, "channel": 0},
            {"id": "rate", "path": "a.wav", "sample_rate": 8_000},
            {"id": "channel", "path": "a.wav", "channel": 1},
            {"id": "length", "path": "a.wav", "duration_s": 3.0},
            {"id": "stretch", "path": "a.wav", "start": 0.5, "end": 2.0, "duration_s": 1.5},
            {"id": "other", "path": "b.wav"},
        ],
    )
    assert found == {
        "right": [],
        "rate": ["has 16000 Hz, not 8000 Hz"],
        "channel": ["has 1 channel(s), and no channel 1"],
        "length": ["lasts 1.00 s, not 3.00 s"],
        "stretch": ["ends at 1.00 s, before 2.00 s"],
        "other": [],
    }


def test_copies_and_what_is_no_recording(folder: Path) -> None:
    rows = [{"id": name, "path": f"{name}.wav"} for name in ("a", "twin", "text", "gone")]
    found = inspected(folder, rows)
    assert found["a"] == []
    assert found["twin"] == ["is the same file as a"]
    assert len(found["text"]) == len(found["gone"]) == 1


def test_decoding_finds_what_the_header_hides(folder: Path) -> None:
    rows = [{"id": "cut", "path": "cut.wav", "duration_s": 1.0}, {"id": "b", "path": "b.wav", "duration_s": 1.0}]
    found = inspected(folder, rows, decode=True)
    assert found["cut"]
    assert found["b"] == []


def test_counts_of_a_table() -> None:
    rows = [
        {"path": "a", "label": "bonafide", "speaker": "s1", "duration_s": 1800.0, "language": "de"},
        {"path": "b", "label": "bonafide", "speaker": "s2", "start": 900.0, "end": 2700.0, "language": None},
        {"path": "c", "label": "spoof", "speaker": "s1", "system": "x", "start": 600.0, "duration_s": 2400.0},
        {"path": "d", "label": "spoof", "speaker": "s1", "system": "y"},
    ]
    found = describe(Manifest.from_table(pl.DataFrame(rows, infer_schema_length=None), "."))
    assert found.total == Count("all", 4, 1.5, 2, 2)
    assert found.rows_without_duration == 1
    assert found.labels == (Count("bonafide", 2, 1.0, 2, 0), Count("spoof", 2, 0.5, 1, 2))
    assert [(one.name, one.rows) for one in found.languages] == [("de", 1), ("(none)", 3)]
    assert [one.name for one in found.systems] == ["x", "y", "(none)"]
    assert found.corpora == ()
