"""Scoring how recordings are spoken: an age or an emotion each, with how sure the model is.

Columns as in `evaluation.scoring.scorers`, without llr, and

    age       score: the mean, years; mean, sd, low, high: the ends of the central 80 % interval
    emotion   score: the largest probability; called: the class, empty where the model gives no answer;
              p_CLASS: the probability of every class; intensity: 0..1, empty where the model learnt none

A relative emotion model hears each recording against all that the manifest has of its speaker, which are heard first;
a speaker with too few audible recordings has errors and no scores.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.core.writing import ResumableRows
from earwitness.corpora.manifest import Manifest, Row
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
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Estimate the age heard in every row of the manifest. Raises `UsageError` as `score_detection` does."""
    known = known_of(estimator.info)

    def columns(heard: AgeEstimate) -> dict[str, Any]:
        told = {"mean": heard.mean, "sd": heard.sd, "low": heard.low, "high": heard.high}
        return {"score": heard.mean, **told}

    hearing = Hearing(manifest.place, estimator.info.rate, estimator.estimate, estimator.estimate_file, columns, known)
    with ResumableRows(output, "id", AGE_COLUMNS, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), engine, progress)


def score_emotions(
    manifest: Manifest,
    estimator: EmotionEstimator,
    output: str | Path,
    *,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Estimate the emotion heard in every row of the manifest. Raises `UsageError` as `score_detection` does, and
    `DataError` where a relative model is asked of rows that do not say who speaks. It hears in this process only."""
    known = known_of(estimator.info)
    told = (manifest.place, estimator.info.rate, estimator.estimate, _file_hearing(estimator), _emotion_columns, known)
    if estimator.relative and not isinstance(engine, LocalEngine):
        what = "a relative emotion model hears all of a speaker's recordings together"
        raise UsageError(what, where="--engine", fix="Use --engine local, or the model 'emotion'.")
    hearing = _AgainstOwn(*told, OwnSpeech(manifest, estimator)) if estimator.relative else Hearing(*told)
    with ResumableRows(output, "id", EMOTION_COLUMNS, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), engine, progress)


class OwnSpeech:
    """A relative model for each speaker of a manifest, who is heard when the first row of theirs is asked for, by one
    thread, for which others that ask for the same speaker wait.

    Raises `DataError` where a row does not say who speaks.
    """

    def __init__(self, manifest: Manifest, estimator: EmotionEstimator) -> None:
        self._manifest, self._estimator = manifest, estimator
        self._rows: dict[str, list[Row]] = {}
        self._known: dict[str, EmotionEstimator | AudioError] = {}
        for row in manifest.rows():
            if row.speaker is None:
                what = f"'{row.id}' does not say who speaks, and this model hears a speaker against the other rows"
                raise DataError(what, fix="Give a manifest with the column `speaker`, or use the model 'emotion'.")
            self._rows.setdefault(row.speaker, []).append(row)
        self._turns = {speaker: threading.Lock() for speaker in self._rows}

    def of(self, row: Row) -> EmotionEstimator:
        """The model that was told of this row's speaker. Raises `AudioError` where there is too little."""
        speaker = str(row.speaker)
        with self._turns[speaker]:
            if speaker not in self._known:
                self._known[speaker] = self._beside(self._rows[speaker])
        found = self._known[speaker]
        if isinstance(found, AudioError):
            raise AudioError(found.what, fix=found.fix)
        return found

    def _beside(self, rows: list[Row]) -> EmotionEstimator | AudioError:
        vectors = []
        for row in rows:
            with contextlib.suppress(AudioError, OSError):  # such a row has its error when its turn comes
                path = self._manifest.resolve(row)
                vectors.append(self._estimator.vector_of_file(path, row.channel, row.start or 0.0, row.end))
        try:
            return self._estimator.beside(vectors)
        except AudioError as error:
            return error


@dataclass(frozen=True)
class _AgainstOwn(Hearing[EmotionEstimate]):
    """Hears each row by the model that was told of its speaker."""

    own: OwnSpeech

    def _heard(self, row: Row) -> EmotionEstimate:
        estimator = self.own.of(row)
        return self._heard_by(estimator.estimate, _file_hearing(estimator), row)


def _file_hearing(estimator: EmotionEstimator) -> Callable[..., EmotionEstimate]:
    """`estimate_file` with a path, a channel, a start and an end."""

    def hear(path: Path, channel: int | None, start_s: float, end_s: float | None) -> EmotionEstimate:
        return estimator.estimate_file(path, None, channel, start_s, end_s)

    return hear


def _emotion_columns(heard: EmotionEstimate) -> dict[str, Any]:
    shares = dict(zip((f"p_{name}" for name in heard.classes), map(float, heard.probabilities), strict=True))
    told = {"called": heard.category, "intensity": heard.intensity}
    return {"score": float(heard.probabilities.max()), **told, **shares}
