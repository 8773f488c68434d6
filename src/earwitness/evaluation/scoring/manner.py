"""Scoring how recordings are spoken: an age or an emotion each, with how sure the model is.

Columns as in `evaluation.scoring.scorers`, without llr, and

    age       score: the mean, years; mean, sd, low, high: the ends of the central 80 % interval
    emotion   score: the largest probability; called: the class, empty where the model gives no answer;
              p_CLASS: the probability of every class; intensity: 0..1, empty where the model learnt none
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from earwitness.core.writing import ResumableRows
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.scoring.scorers import COLUMNS, Hearing, Tally, known_of
from earwitness.paralinguistic.age import AgeEstimate, AgeEstimator
from earwitness.paralinguistic.emotion import EmotionEstimate, EmotionEstimator
from earwitness.paralinguistic.labels import CATEGORIES

AGE_COLUMNS: dict[str, type] = {**COLUMNS, "mean": float, "sd": float, "low": float, "high": float}
EMOTION_COLUMNS: dict[str, type] = {
    **COLUMNS,
    "called": str,
    **{f"p_{name}": float for name in CATEGORIES},
    "intensity": float,
}


def _nothing() -> None:
    """Shows no progress."""


def score_ages(
    manifest: Manifest,
    estimator: AgeEstimator,
    output: str | Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Estimate the age heard in every row of the manifest. Raises `UsageError` as `score_detection` does."""
    known = known_of(estimator.info)

    def columns(heard: AgeEstimate) -> dict[str, Any]:
        told = {"mean": heard.mean, "sd": heard.sd, "low": heard.low, "high": heard.high}
        return {"score": heard.mean, **told}

    hearing = Hearing(manifest, estimator.info.rate, estimator.estimate, estimator.estimate_file, columns, known)
    with ResumableRows(output, "id", AGE_COLUMNS, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), workers, progress)


def score_emotions(
    manifest: Manifest,
    estimator: EmotionEstimator,
    output: str | Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Estimate the emotion heard in every row of the manifest. Raises `UsageError` as `score_detection` does."""
    known = known_of(estimator.info)

    def columns(heard: EmotionEstimate) -> dict[str, Any]:
        shares = dict(zip((f"p_{name}" for name in heard.classes), map(float, heard.probabilities), strict=True))
        told = {"called": heard.category, "intensity": heard.intensity}
        return {"score": float(heard.probabilities.max()), **told, **shares}

    def hear_file(path: Path, channel: int | None, start_s: float, end_s: float | None) -> EmotionEstimate:
        return estimator.estimate_file(path, None, channel, start_s, end_s)

    hearing = Hearing(manifest, estimator.info.rate, estimator.estimate, hear_file, columns, known)
    with ResumableRows(output, "id", EMOTION_COLUMNS, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), workers, progress)
