"""Times between forms without drift: what is written as start and duration reads back as the same start and end.

Binary floats add up to 0.1 + 0.2 = 0.30000000000000004. Sums and differences are taken in decimals here, on the digits
that a file shows, so that 0.1 and 0.2 end at 0.3 and the duration is 0.2 again, on every round trip.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from earwitness.corpora.schema import fail

NS = 10**9


@dataclass(frozen=True)
class Stretch:
    """A part of a recording in seconds. One of no length is a point: no row of a manifest can start where it ends."""

    start: float | None = None
    end: float | None = None
    point_s: str | None = None


def stretch(start: float, end: float | None) -> Stretch:
    """The stretch from `start` to `end` seconds (None: to the end of the recording)."""
    return Stretch(point_s=shown(start)) if end == start else Stretch(start, end)


def end_of(start: float, duration: float) -> float:
    """The end in seconds.

    >>> end_of(0.1, 0.2)
    0.3
    """
    return float(Decimal(repr(start)) + Decimal(repr(duration)))


def duration_of(start: float, end: float) -> float:
    """The duration in seconds from which `end_of` gives `end` again (start and end may swap: then it is negative).

    For times of up to 15 digits there is always one; for others now and then none, and this is the nearest.

    >>> duration_of(0.1, 0.3)
    0.2
    """
    guess = float(Decimal(repr(end)) - Decimal(repr(start)))
    near = (guess, math.nextafter(guess, math.inf), math.nextafter(guess, -math.inf))
    return next((duration for duration in near if end_of(start, duration) == end), guess)


def exact_duration(start: float, end: float) -> str:
    """The duration with all its digits: formats that are text state what no binary float can.

    >>> exact_duration(0.1, 0.3)
    '0.2'
    """
    return _plain(Decimal(repr(end)) - Decimal(repr(start)))


def rounded_note(pairs: Iterable[tuple[float, float]]) -> tuple[str, ...]:
    """A note on starts and ends (seconds) between which no float is the duration: 17-digit times, off in the last."""
    count = sum(end_of(start, duration_of(start, end)) != end for start, end in pairs)
    return (f"{count} end(s) rounded in the 16th digit, for the format states durations",) if count else ()


def shown(seconds: float) -> str:
    """The fewest digits that read back as the same number, without an exponent: 1.5, 0, 0.0000001.

    >>> shown(1.0)
    '1'
    """
    return _plain(Decimal(repr(seconds)))


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_ns(seconds: float) -> int:
    """Nanoseconds, rounded to the nearest."""
    return round(Decimal(repr(seconds)) * NS)


def of_ns(nanoseconds: int) -> float:
    """Seconds."""
    return nanoseconds / NS


def spans(table: pl.DataFrame) -> list[tuple[float, float]]:
    """Start and end in seconds of every row; a row without an end goes to the end of its recording.

    Raises `DataError` for a row that has neither `end` nor `duration_s`.
    """
    wanted = table.select("start", "end", "duration_s", points(table))
    return [_span(row, *values) for row, values in enumerate(wanted.iter_rows())]


def points(table: pl.DataFrame) -> pl.Series:
    """The column `point_s` as seconds, null where a row is no point. Raises `DataError` for what is no time."""
    if "point_s" not in table.columns:
        return pl.Series("point_s", [None] * table.height, dtype=pl.Float64)
    values = table["point_s"].cast(pl.Float64, strict=False)
    wrong = table["point_s"].is_not_null() & ~(values.is_finite() & (values >= 0)).fill_null(False)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise fail(row, "point_s", f"'{table['point_s'][row]}' is not a time in seconds", None)
    return values


def _span(
    row: int, start: float | None, end: float | None, duration_s: float | None, point: float | None
) -> tuple[float, float]:
    if point is not None:
        return point, point
    last = duration_s if end is None else end
    if last is None:
        fix = "`earwitness corpus import manifest` fills durations in from the files."
        raise fail(row, "end", "is empty, and so is `duration_s`; this format states where a row ends", None, fix)
    return start or 0.0, last
