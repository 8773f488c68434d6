"""Scoring segments: how a detector's score runs over the time of each recording, one row a segment.

    id, path, label                    as in the manifest
    start, end                         of the segment, seconds from where the row begins; the last one may be shorter
    score                              higher = bona fide; by overlapping windows, see `metrics.segments`
    seconds_used                       of the segment that lie in a window with sound; 0: the score is its neighbour's
    windows, model, error              as in the scores of whole recordings

A recording that cannot be judged is one row with `error`, without times and score. There is no `llr`: calibrations are
fitted on whole recordings, and none on segments. `earwitness evaluate localisation` judges the table.

Each recording's segments lie in one row of `OUT.segments.jsonl` until all are scored, so that an interrupted run never
leaves half of a recording.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.audio.audible import SHORTEST_S
from earwitness.audio.windows import Sliding, total_seconds
from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import UsageError
from earwitness.core.writing import ResumableRows, part_of, read_rows, refuse_unfinished
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import write_table
from earwitness.deepfake.detector import DetectionScore, Detector
from earwitness.evaluation.scoring.scorers import Hearing, Tally
from earwitness.metrics.segments import SegmentScores, segment_scores

COLUMNS: dict[str, Any] = {
    "id": pl.String,
    "path": pl.String,
    "label": pl.String,
    "start": pl.Float64,
    "end": pl.Float64,
    "score": pl.Float64,
    "seconds_used": pl.Float64,
    "windows": pl.String,
    "model": pl.String,
    "error": pl.String,
}
_KEPT: dict[str, type] = {
    "id": str,
    "path": str,
    "label": str,
    "seconds_total": float,
    "scores": str,  # JSON list, one number a segment
    "heard": str,  # JSON list, seconds
    "windows": str,
    "segments": str,
    "model": str,
    "error": str,
}


@dataclass(frozen=True)
class SegmentOptions:
    """A segment each `step_s` seconds (whole milliseconds), by windows of `window_s` seconds that hop by `step_s`.

    `window_s` None: as long as the model's own windows. Raises `UsageError` for impossible numbers.
    """

    step_s: float
    window_s: float | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.step_s <= 600 or abs(self.step_s * 1000 - round(self.step_s * 1000)) > 1e-6:
            fix = "Give 0.01 to 600 seconds, in whole milliseconds."
            raise UsageError(f"segments of {self.step_s:g} s", where="--segments", fix=fix)
        if self.window_s is not None and not SHORTEST_S <= self.window_s <= 600:
            fix = f"Give {SHORTEST_S:g} to 600 seconds."
            raise UsageError(f"windows of {self.window_s:g} s", where="--window", fix=fix)

    def windows(self, detector: Detector) -> Sliding:
        """The windows that `detector` hears. Raises `UsageError` where they are shorter than a segment, or the model
        hears recordings whole and no window is named."""
        length_s = self.window_s or getattr(detector.info.windows, "length_s", None)
        if length_s is None:
            raise UsageError("this model hears recordings whole", fix="Name the length of a window (--window).")
        if length_s < self.step_s:
            what = f"segments of {self.step_s:g} s are longer than windows of {length_s:g} s"
            raise UsageError(what, fix="Ask for shorter segments or longer windows (--window).")
        return Sliding(length_s=length_s, hop_s=self.step_s)


def segments_of(heard: DetectionScore, step_s: float) -> SegmentScores:
    """The segments of a recording from its scored windows, whose times count from the recording's start."""
    starts, ends, scores = zip(*((w.start_s, w.end_s, w.score) for w in heard.windows), strict=True)
    seconds = max(heard.seconds_total, *ends)  # a container may state less than it holds
    return segment_scores(starts, ends, scores, seconds, step_s)


def score_segments(
    manifest: Manifest,
    detector: Detector,
    output: str | Path,
    options: SegmentOptions,
    *,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = lambda: None,
) -> Tally:
    """Score the segments of every row of the manifest into a CSV, Parquet or JSONL table, in the manifest's order.

    Raises `UsageError` where it cannot write, where rows of an interrupted run or of another model lie there, and for
    options that the model cannot follow.
    """
    output = Path(output)
    part_of(output)  # refuses an unknown format before the work
    kept = output.with_name(f"{output.name}.segments.jsonl")
    detector = detector.hearing(options.windows(detector))
    known = {
        "windows": detector.info.windows.name,
        "segments": f"{options.step_s:g} s",
        "model": detector.info.reference,
    }
    if not resume:
        refuse_unfinished(part_of(kept))
    elif (finished := _finished(output, kept, manifest, known)) is not None:
        return finished

    def hear_file(path: Path, channel: int | None, start_s: float, end_s: float | None) -> DetectionScore:
        """With times from the start of the row, as those of recordings in memory are."""
        heard = detector.score_file(path, channel, start_s, end_s)
        windows = tuple(replace(w, start_s=w.start_s - start_s, end_s=w.end_s - start_s) for w in heard.windows)
        total_s = total_seconds(path, start_s, end_s)
        return replace(heard, windows=windows, seconds_total=windows[-1].end_s if total_s is None else total_s)

    def columns(heard: DetectionScore) -> dict[str, Any]:
        found = segments_of(heard, options.step_s)
        numbers = {"scores": found.scores, "heard": found.heard_s.round(6)}
        return {"seconds_total": found.seconds} | {name: json.dumps(n.tolist()) for name, n in numbers.items()}

    hearing = Hearing(manifest.place, detector.info.rate, detector.score, hear_file, columns, known)
    with ResumableRows(kept, "id", _KEPT, resume=resume, same=known) as table:
        tally = hearing.fill(table, manifest.rows(), engine, progress)
    order = manifest.table.select("id")
    rows = order.join(read_rows(kept, _KEPT), on="id", how="left", maintain_order="left")
    write_table(pl.DataFrame(list(_rows(rows, options.step_s)), schema=COLUMNS, orient="row"), output)
    kept.unlink()
    return tally


def _rows(kept: pl.DataFrame, step_s: float) -> Iterator[tuple[object, ...]]:
    """In the order of `COLUMNS`."""
    for row in kept.iter_rows(named=True):
        head, tail = (row["id"], row["path"], row["label"]), (row["windows"], row["model"], row["error"])
        if row["error"]:
            yield (*head, None, None, None, None, *tail)
            continue
        scores, heard = json.loads(row["scores"]), json.loads(row["heard"])
        last = len(scores) - 1
        for place, (score, used) in enumerate(zip(scores, heard, strict=True)):
            end_s = row["seconds_total"] if place == last else (place + 1) * step_s
            yield (*head, round(place * step_s, 6), round(end_s, 6), score, used, *tail)


def _finished(output: Path, kept: Path, manifest: Manifest, known: dict[str, str]) -> Tally | None:
    """What there was to do, where an earlier run has scored these very recordings so to the end."""
    if not output.exists() or kept.exists() or part_of(kept).exists():
        return None
    there = read_rows(output, {"id": str, "start": float, "end": float, "windows": str, "model": str, "error": str})
    ids = there["id"].unique(maintain_order=True).to_list()
    whole = there.filter(pl.col("start") == 0, pl.col("id").is_duplicated())
    steps = {f"{length:g} s" for length in whole["end"]}
    same = {(known["windows"], known["model"])} == set(zip(there["windows"], there["model"], strict=True))
    if ids != manifest.table["id"].to_list() or not same or not steps <= {known["segments"]}:
        return None
    return Tally(0, there["error"].count(), len(ids))
