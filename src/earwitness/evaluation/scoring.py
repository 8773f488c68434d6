"""Scoring many inputs: one row each, written as it comes, decoding hidden behind the model.

A file that cannot be judged gets a row with `error` and no score. Killed at any moment and started again with `resume`,
no row is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from earwitness.audio import Recording, load, probe
from earwitness.core.errors import AudioError
from earwitness.core.writing import ResumableRows
from earwitness.corpora.manifest import Manifest, Row
from earwitness.deepfake.detector import DetectionScore, Detector

T = TypeVar("T")
U = TypeVar("U")

COLUMNS: dict[str, type] = {
    "id": str,
    "path": str,
    "score": float,
    "llr": float,
    "label": str,
    "start": float,
    "end": float,
    "seconds_used": float,
    "seconds_total": float,
    "windows": str,
    "model": str,
    "error": str,
}
HELD_IN_MEMORY_S = 120.0  # longer recordings are streamed instead of decoded ahead


@dataclass(frozen=True)
class Tally:
    """How a run went."""

    done: int
    failed: int
    skipped: int  # rows that an earlier, interrupted run had written


def score_detection(
    manifest: Manifest,
    detector: Detector,
    output: str | Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = lambda: None,
) -> Tally:
    """Score every row of the manifest into a CSV, Parquet or JSONL table. Raises `UsageError` where it cannot write."""
    with ResumableRows(output, "id", COLUMNS, resume=resume) as table:
        skipped = len(table.done)
        todo = (row for row in manifest.rows() if row.id not in table.done)
        for row, ahead in ahead_of(todo, lambda row: _decode(manifest, row, detector.info.rate), workers):
            table.add(_row(manifest, row, ahead, detector))
            progress()
        return Tally(len(table.done) - skipped, table.failed, skipped)


def _decode(manifest: Manifest, row: Row, rate: int) -> Recording | None:
    """The recording where it is short enough to lie in memory, else None: it will be streamed. Raises `AudioError`."""
    path = manifest.resolve(row)
    asked = (row.end - (row.start or 0)) if row.end is not None else probe(path).duration_s
    if asked is None or asked > HELD_IN_MEMORY_S:
        return None
    return load(path, rate, row.channel, row.start or 0.0, row.end)


def _row(manifest: Manifest, row: Row, ahead: Future[Recording | None], detector: Detector) -> dict[str, Any]:
    known: dict[str, Any] = {
        "id": row.id,
        "path": row.path,
        "label": row.label,
        "start": row.start,
        "end": row.end,
        "windows": detector.info.windows.name,
        "model": detector.info.reference,
    }
    try:
        result = _score(manifest, row, ahead.result(), detector)
    except AudioError as error:
        return known | {"error": str(error)}
    return known | {
        "score": result.score,
        "llr": result.llr,
        "seconds_used": round(result.seconds_used, 4),
        "seconds_total": round(result.seconds_total, 4),
    }


def _score(manifest: Manifest, row: Row, recording: Recording | None, detector: Detector) -> DetectionScore:
    if recording is None:
        return detector.score_file(manifest.resolve(row), row.channel, row.start or 0.0, row.end)
    return detector.score(recording.samples, recording.rate)


def ahead_of(items: Iterable[T], work: Callable[[T], U], workers: int) -> Iterator[tuple[T, Future[U]]]:
    """Each item with its finished or running work, in order; at most `2 * workers + 2` are held at once."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: list[tuple[T, Future[U]]] = []
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > 2 * workers + 2:
                    yield waiting.pop(0)
            while waiting:
                yield waiting.pop(0)
        finally:
            for _, future in waiting:
                future.cancel()
