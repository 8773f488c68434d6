"""What lists of time marks share (RTTM, CTM, TextGrid): recordings are named, not placed, and rows have no ids."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from earwitness.corpora.formats.base import Value, imported, numbered, place, seconds
from earwitness.corpora.formats.times import stretch
from earwitness.corpora.imported import Imported


def placed(rows: Sequence[dict[str, Value]], path: Path, notes: Sequence[str]) -> Imported:
    """Rows that name a `recording` as a manifest: with ids, and with the path of the audio found beside the list."""
    folder = path if path.is_dir() else path.parent
    names = [str(row["recording"]) for row in rows]
    paths, told = place(names, folder)
    full = [
        {"id": id_, "path": paths[name], **row} for id_, name, row in zip(numbered(names), names, rows, strict=True)
    ]
    return imported(full, folder, path, (*notes, *_point_note(rows), *told))


def times_of(start: str, duration: str) -> dict[str, Value] | None:
    """Start and end (or a point) as columns; None where the two are no times."""
    first, length = seconds(start), seconds(duration)
    if first is None or length is None or first < 0 or length < 0:
        return None
    return dict(vars(stretch(first, float(Decimal(start) + Decimal(duration)))))


def channel_of(text: str) -> int | None:
    """0-based, from a number that counts from 1 or a letter A or B; None for what is neither."""
    if text in ("A", "B"):
        return ord(text) - ord("A")
    return int(text) - 1 if text.isdecimal() and len(text) < 6 and int(text) > 0 else None


def channel_note(channels: pl.Series, stated: Sequence[bool] | None = None) -> tuple[str, ...]:
    """A format that states a channel (in the rows of `stated`, by default in all) makes one up where there is none."""
    missing = channels.is_null()
    count = int((missing if stated is None else missing & pl.Series(stated, dtype=pl.Boolean)).sum())
    return (f"{count} row(s) without a channel are written as the first one",) if count else ()


def _point_note(rows: Sequence[dict[str, Value]]) -> list[str]:
    count = sum(row.get("point_s") is not None for row in rows)
    return [f"{count} stretch(es) of no length kept as a point of their recording (column `point_s`)"] if count else []
