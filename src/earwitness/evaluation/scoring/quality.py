"""Scoring the quality of many recordings: a MOS each, also kept in the side table in which training looks it up.

Columns as in `evaluation.scoring.scorers`; `score` is the MOS, higher = better, and there is no llr.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.audio import Recording
from earwitness.core.writing import ResumableRows
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.side_tables import AudioKeys, SideTable
from earwitness.deepfake.material import mos_table
from earwitness.evaluation.scoring.scorers import COLUMNS, Hearing, Tally
from earwitness.nn.pretrained.mos import MosEstimator, QualityScore, load_mos


def _nothing() -> None:
    """Shows no progress."""


def score_quality(
    manifest: Manifest,
    predictor: str,
    output: str | Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Score every row of the manifest into a table; what the side table knows is not heard again.

    Raises `MissingPartError` where the predictor is not installed, and `UsageError` where it is unknown, where it
    cannot write, or where rows of an interrupted run or another predictor lie there.
    """
    table = mos_table(predictor)
    estimator = load_mos(predictor)
    model = f"{estimator.name} (sha256 {estimator.model})"
    known = {"windows": estimator.windows.name, "calibration": "none", "model": model}
    with (
        ResumableRows(output, "id", COLUMNS, resume=resume, same=known) as rows,
        table.rows() as kept,
    ):
        hearing = _Remembering.of(manifest, estimator, known, table, kept)
        return hearing.fill(rows, manifest.rows(), workers, progress)


@dataclass(frozen=True)
class _Remembering(Hearing[QualityScore]):
    """Hears only what the side table does not know, and adds it."""

    keys: AudioKeys
    table: SideTable
    kept: ResumableRows

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        estimator: MosEstimator,
        known: dict[str, str],
        table: SideTable,
        kept: ResumableRows,
    ) -> _Remembering:
        keys = AudioKeys(manifest)
        return cls(manifest, estimator.rate, estimator.score, estimator.score_file, _columns, known, keys, table, kept)

    def _decode(self, row: Row) -> Recording | None:
        return None if self.keys.of(row) in self.table.known else super()._decode(row)

    def _heard(self, row: Row, recording: Recording | None) -> QualityScore:
        key = self.keys.of(row)
        if (found := self.table.known.get(key)) is not None:
            return QualityScore(*found)
        heard = super()._heard(row, recording)
        values = (heard.score, heard.seconds_used, heard.seconds_total)
        self.kept.add({"audio": key, "model": self.table.model, **dict(zip(_NAMES, values, strict=True))})
        self.table.known[key] = values
        return heard


_NAMES = ("value", "seconds_used", "seconds_total")


def _columns(heard: QualityScore) -> dict[str, Any]:
    return {"score": heard.score}
