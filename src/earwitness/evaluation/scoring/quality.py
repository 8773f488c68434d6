"""Scoring the quality of many recordings: a MOS each, also kept in the side table in which training looks it up.

Columns as in `evaluation.scoring.scorers`; `score` is the MOS, higher = better, and there is no llr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.writing import ResumableRows
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.side_tables import AudioKeys
from earwitness.deepfake.material import mos_table
from earwitness.evaluation.scoring.scorers import COLUMNS, Hearing, Tally
from earwitness.nn.pretrained.mos import QualityScore, load_mos


def _nothing() -> None:
    """Shows no progress."""


def score_quality(
    manifest: Manifest,
    predictor: str,
    output: str | Path,
    *,
    resume: bool = False,
    engine: Engine = LocalEngine(),
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
    hearing = _Remembering(
        manifest.place,
        estimator.rate,
        estimator.score,
        estimator.score_file,
        _columns,
        known,
        AudioKeys(manifest.place),
        dict(table.known),
    )
    with ResumableRows(output, "id", COLUMNS, resume=resume, same=known) as rows, table.rows() as kept:

        def keep(found: Mapping[str, Any]) -> None:
            if found.get(_NEW):
                kept.add({**found[_NEW], "model": table.model})

        return hearing.fill(rows, manifest.rows(), engine, progress, keep)


_NEW = "new"  # not a column: what the side table does not have yet


@dataclass(frozen=True)
class _Rated(QualityScore):
    """With the key of audio that was heard, or None where its score was known."""

    audio: str | None


@dataclass(frozen=True)
class _Remembering(Hearing[QualityScore]):
    """Hears only what is not known yet."""

    keys: AudioKeys
    rated: dict[str, tuple[float, float, float]]  # of the side table, by audio

    def _heard(self, row: Row) -> _Rated:
        key = self.keys.of(row)
        if (found := self.rated.get(key)) is not None:
            return _Rated(*found, audio=None)
        heard = super()._heard(row)
        self.rated[key] = (heard.score, heard.seconds_used, heard.seconds_total)
        return _Rated(*self.rated[key], audio=key)


def _columns(heard: QualityScore) -> dict[str, Any]:
    assert isinstance(heard, _Rated)
    new = {"audio": heard.audio, "value": heard.score}
    seconds = {"seconds_used": heard.seconds_used, "seconds_total": heard.seconds_total}
    return {"score": heard.score, _NEW: None if heard.audio is None else new | seconds}
