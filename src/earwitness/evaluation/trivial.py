"""The trivial control: what duration, level, bandwidth and silence alone give away.

A detector that is no better than gradient boosting on these facts has learnt how a corpus was made, not what synthesis
sounds like. The control learns from the same training rows and is judged on the same test rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.audio.facts import file_facts
from earwitness.core.errors import AudioError, DataError, LeakError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import write_table
from earwitness.evaluation.judging import Comparison, JudgeOptions, compare
from earwitness.evaluation.labelled import LabelledScores, labelled
from earwitness.metrics.scores import Floats

FEATURES = ("duration_s", "level_dbfs", "peak_dbfs", "bandwidth_hz", "leading_silence_s", "trailing_silence_s")
NAME = "trivial control"


@dataclass(frozen=True)
class ControlScores:
    """Scores of the control: `table` has `id, path, label, score, llr, model, error`, one row a test row.

    `trained_on` is the number of training rows, `unread` the ids of those that could not be read.
    """

    table: pl.DataFrame
    trained_on: int
    unread: tuple[str, ...]

    def write(self, path: str | Path) -> None:
        """As CSV, Parquet or JSONL, in the form that `evaluate` reads."""
        write_table(self.table, Path(path))


@dataclass(frozen=True)
class ControlReport:
    """The model against the control; a detector worth its name has `comparison.eer.difference.high` below 0."""

    comparison: Comparison
    scores: ControlScores

    @property
    def beaten(self) -> bool:
        """The whole interval of the difference says that the model is better."""
        return self.comparison.eer.difference.high < 0


def trivial_scores(train: Manifest, test: Manifest, seed: int = 0) -> ControlScores:
    """Train the control on the labelled rows of one manifest and score all rows of another; higher = bona fide.

    A test row that cannot be read has an error and no score. Raises `DataError` where a class is missing in training,
    and `LeakError` where the same stretch of a file stands in both manifests.
    """
    labels, rows = _training_rows(train)
    _refuse_shared(train, rows, test)
    features, errors = trivial_features(train, rows)
    readable = np.array([not error for error in errors])
    model = _fit(features[readable], labels[readable], seed)
    test_rows = list(test.rows())
    test_features, test_errors = trivial_features(test, test_rows)
    scores = model(test_features)
    table = pl.DataFrame(
        {
            "id": [row.id for row in test_rows],
            "path": [row.path for row in test_rows],
            "label": [row.label for row in test_rows],
            "score": [None if error else float(score) for score, error in zip(scores, test_errors, strict=True)],
            "llr": [None] * len(test_rows),
            "model": [NAME] * len(test_rows),
            "error": [error or None for error in test_errors],
        },
        schema_overrides={"label": pl.String, "score": pl.Float64, "llr": pl.Float64, "error": pl.String},
    )
    unread = tuple(row.id for row, error in zip(rows, errors, strict=True) if error)
    return ControlScores(table, int(readable.sum()), unread)


def trivial_features(manifest: Manifest, rows: Iterable[Row]) -> tuple[Floats, list[str]]:
    """The facts `FEATURES` [N, 6] at each file's own rate (NaN: not known), and for each row an error text or ""."""
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda row: _facts(manifest, row), rows))
    values = np.array([facts for facts, _ in results], np.float64).reshape(len(results), len(FEATURES))
    return np.where(np.isfinite(values), values, np.nan), [error for _, error in results]


def control_report(
    scores: LabelledScores, train: Manifest, test: Manifest, options: JudgeOptions | None = None
) -> ControlReport:
    """The scores of a model against the control on the same rows, with a paired interval of the difference.

    `test` describes the rows of `scores`. Raises as `trivial_scores` and `compare` do.
    """
    options = options or JudgeOptions()
    control = trivial_scores(train, test, options.seed)
    joined = labelled(scores.task, control.table, {}, NAME)
    return ControlReport(compare(scores, joined, ("the model", f"the {NAME}"), options), control)


def _training_rows(train: Manifest) -> tuple[Floats, list[Row]]:
    rows = [row for row in train.rows() if row.label is not None]
    labels = np.array([row.label == "bonafide" for row in rows], np.float64)
    if len(set(labels.tolist())) < 2:
        raise DataError("the control needs bona fide and spoof rows to learn from", where=train.root)
    return labels, rows


def _refuse_shared(train: Manifest, rows: list[Row], test: Manifest) -> None:
    learnt = {(train.resolve(row).resolve(), row.start, row.end) for row in rows}
    for row in test.rows():
        if (test.resolve(row).resolve(), row.start, row.end) in learnt:
            raise LeakError("stands in the training and in the test manifest", where=row.path, fix="Split them.")


def _facts(manifest: Manifest, row: Row) -> tuple[list[float], str]:
    try:
        facts = file_facts(manifest.resolve(row), row.channel, row.start or 0.0, row.end)
    except AudioError as error:
        return [math.nan] * len(FEATURES), str(error)
    measured = (getattr(facts, name) for name in FEATURES)
    return [math.nan if value is None else float(value) for value in measured], ""


def _fit(features: Floats, labels: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Class-balanced gradient boosting; a score is the log-odds of bona fide."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if len(set(labels.tolist())) < 2:
        raise DataError("of one class no training row could be read", where=NAME)
    model = HistGradientBoostingClassifier(
        max_iter=100, min_samples_leaf=5, class_weight="balanced", early_stopping=False, random_state=seed
    )
    model.fit(features, labels)
    return lambda unseen: np.asarray(model.decision_function(unseen), np.float64)
