"""What a manifest claims against what its files say, and what it holds in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness.audio.decoding import AudioInfo
from earwitness.audio.reading import probe, stream
from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import AudioError, DataError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.making import is_marked_synthetic
from earwitness.corpora.manifest import Manifest, Place, Row

DURATION_SLACK_S = 0.1  # manifests round, and lossy containers state their length with their padding


@dataclass(frozen=True)
class Problem:
    """What is wrong with the row `id`."""

    id: str
    what: str


@dataclass(frozen=True)
class Inspected:
    """The problems found, and the sha256 of each row's file (None where it cannot be read)."""

    problems: tuple[Problem, ...]
    hashes: tuple[str | None, ...]


@dataclass(frozen=True)
class Count:
    """Rows and what is in them; `hours` counts rows of known length only."""

    name: str
    rows: int
    hours: float
    speakers: int
    systems: int


@dataclass(frozen=True)
class Summary:
    """A manifest in numbers, each tuple sorted by name. `rows_without_duration` are missing from the hours."""

    total: Count
    rows_without_duration: int
    labels: tuple[Count, ...]
    corpora: tuple[Count, ...]
    splits: tuple[Count, ...]
    systems: tuple[Count, ...]
    families: tuple[Count, ...]
    languages: tuple[Count, ...]
    rates: tuple[Count, ...]
    licences: tuple[Count, ...]


def inspect_files(
    manifest: Manifest,
    step: Callable[[], None] = lambda: None,
    decode: bool = False,
    engine: Engine = LocalEngine(),
) -> Inspected:
    """Open every file: readable, as long and at the rate that the row says, and the same audio only once.

    With `decode` each file is decoded to its end, which finds truncated and broken ones. `step` is called after each
    row. Rows of one path are one file, and no duplicates of each other.
    """
    problems: list[Problem] = []
    hashes: list[str | None] = []
    first: dict[str, Row] = {}
    for row, found in engine.results(_Opening(manifest.place, decode), manifest.rows()):
        problems += [Problem(row.id, what) for what in found.problems]
        hashes.append(found.sha256)
        if found.sha256 is not None:
            twin = first.setdefault(found.sha256, row)
            if twin.path != row.path:
                problems.append(Problem(row.id, f"is the same file as {twin.id}"))
        step()
    return Inspected(tuple(problems), tuple(hashes))


@dataclass(frozen=True)
class _Opened:
    """What is wrong with a file, and its sha256 (None where it cannot be read)."""

    problems: tuple[str, ...]
    sha256: str | None


@dataclass(frozen=True)
class _Opening:
    """Opens the file of a row; nothing is left to do after it."""

    files: Place
    decode: bool

    def result(self, row: Row) -> _Opened:
        try:
            path = self.files.resolve(row)
            problems = _differences(row, _measured(path) if self.decode else probe(path))
            if row.label == "bonafide" and is_marked_synthetic(path):
                problems.append("is called bonafide, and its own tag says that it is synthetic")
            return _Opened(tuple(problems), sha256_file(path))  # probing has shown that it can be read
        except (AudioError, DataError) as error:
            return self.lost(row, error.what)

    def lost(self, row: Row, why: str) -> _Opened:
        return _Opened((why,), None)


def _measured(path: Path) -> AudioInfo:
    """What the file says of itself, with the length that decoding gives. Raises `AudioError`."""
    info = probe(path)
    samples = sum(len(block) for block in stream(path, info.rate))
    return replace(info, duration_s=samples / info.rate)


def _probed(path: Path) -> AudioInfo:
    """As `probe`, measured where the container declares no length."""
    info = probe(path)
    return _measured(path) if info.duration_s is None else info


def _differences(row: Row, info: AudioInfo) -> list[str]:
    found = []
    if row.sample_rate is not None and row.sample_rate != info.rate:
        found.append(f"has {info.rate} Hz, not {row.sample_rate} Hz")
    if row.channel is not None and row.channel >= info.channels:
        found.append(f"has {info.channels} channel(s), and no channel {row.channel}")
    length = info.duration_s
    if length is None:
        return found
    stated = row.duration_s if row.start is None and row.end is None else None
    if stated is not None and abs(stated - length) > DURATION_SLACK_S:
        found.append(f"lasts {length:.2f} s, not {stated:.2f} s")
    last = max(row.start or 0.0, row.end or 0.0)
    if last > length + DURATION_SLACK_S:
        found.append(f"ends at {length:.2f} s, before {last:.2f} s")
    return found


def fill_from_files(
    manifest: Manifest, step: Callable[[], None] = lambda: None, engine: Engine = LocalEngine()
) -> tuple[Manifest, list[Problem]]:
    """The manifest with `duration_s` and `sample_rate` filled in where they are empty, and what could not be read."""
    durations, rates, problems = [], [], []
    for row, found in engine.results(_Measuring(manifest.place), manifest.rows()):
        problems += [] if found.problem is None else [Problem(row.id, found.problem)]
        durations.append(row.duration_s if row.duration_s is not None else found.duration_s)
        rates.append(row.sample_rate if row.sample_rate is not None else found.rate)
        step()
    columns = {"duration_s": pl.Series(durations, dtype=pl.Float64), "sample_rate": pl.Series(rates, dtype=pl.Int64)}
    return manifest.with_table(manifest.table.with_columns(**columns)), problems


@dataclass(frozen=True)
class _Length:
    """What a file says of itself, or why it cannot be read; nothing where nobody asked."""

    duration_s: float | None = None
    rate: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Measuring:
    """Asks the files of rows that do not say their length and rate."""

    files: Place

    def result(self, row: Row) -> _Length:
        if row.duration_s is not None and row.sample_rate is not None:
            return _Length()
        try:
            info = _probed(self.files.resolve(row))
        except (AudioError, DataError) as error:
            return self.lost(row, error.what)
        return _Length(info.duration_s, info.rate)

    def lost(self, row: Row, why: str) -> _Length:
        return _Length(problem=why)


def describe(manifest: Manifest) -> Summary:
    """Counts by label, corpus, split, system, family, language, rate and licence."""
    length = pl.coalesce(
        pl.col("end") - pl.col("start").fill_null(0.0), pl.col("duration_s") - pl.col("start").fill_null(0.0)
    )
    table = manifest.table.with_columns(_length=length)
    total = _counts(table.with_columns(_all=pl.lit("all")), "_all")
    return Summary(
        total=total[0] if total else Count("all", 0, 0.0, 0, 0),
        rows_without_duration=table["_length"].null_count(),
        labels=_counts(table, "label"),
        corpora=_counts(table, "corpus"),
        splits=_counts(table, "split"),
        systems=_counts(table, "system"),
        families=_counts(table, "family"),
        languages=_counts(table, "language"),
        rates=_counts(table, "sample_rate"),
        licences=_counts(table, "licence"),
    )


def _counts(table: pl.DataFrame, column: str) -> tuple[Count, ...]:
    """One `Count` a value, nulls last under the name "(none)"; nothing where the column is empty or absent."""
    if column not in table.columns or table[column].null_count() == table.height:
        return ()
    grouped = table.group_by(column).agg(
        pl.len(),
        pl.col("_length").sum() / 3600,
        pl.col("speaker").drop_nulls().n_unique(),
        pl.col("system").drop_nulls().n_unique().alias("_systems"),
    )
    rows = grouped.sort(column, nulls_last=True).iter_rows()
    return tuple(Count("(none)" if value is None else str(value), *rest) for value, *rest in rows)
