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
from numpy.typing import NDArray

from earwitness.audio.facts import file_facts
from earwitness.core.errors import AudioError, DataError, LeakError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import write_table
from earwitness.evaluation.judging.judge import Comparison, JudgeOptions, compare
from earwitness.evaluation.judging.labelled import LabelledScores, labelled
from earwitness.metrics.scores import Floats

FEATURES = ("duration_s", "level_dbfs", "peak_dbfs", "bandwidth_hz", "leading_silence_s", "trailing_silence_s")
NAME = "trivial control"
FOLDS = 5


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
    """The model against the control; a detector worth its name has `comparison.eer.difference.high` below 0.

    `learnt_from` says in words what the control was trained on; `unread` are ids that it could not learn from.
    """

    comparison: Comparison
    answer: str
    learnt_from: str
    unread: tuple[str, ...] = ()

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
    unread = tuple(row.id for row, error in zip(rows, errors, strict=True) if error)
    return ControlScores(_table(test_rows, model(test_features), test_errors), int(readable.sum()), unread)


def cross_validated_scores(test: Manifest, seed: int = 0) -> ControlScores:
    """Scores of the control where there is no training manifest: each fold by a control that learnt from the others.

    Bona fide rows of a speaker, and spoofs of a system, stay in one fold. Raises `DataError` where a class is missing
    or has too few readable rows for two folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels, rows = _training_rows(test)
    features, errors = trivial_features(test, rows)
    scores = np.full(len(rows), np.nan)
    readable = np.flatnonzero([not error for error in errors])
    groups = _groups([rows[place] for place in readable])
    folds = min(FOLDS, *(len(set(groups[labels[readable] == label])) for label in (0, 1)))
    if folds < 2:
        raise DataError("too few readable rows for a cross-validated control", where=test.root)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for learn, held_out in splitter.split(features[readable], labels[readable], groups):
        model = _fit(features[readable[learn]], labels[readable[learn]], seed)
        scores[readable[held_out]] = model(features[readable[held_out]])
    unread = tuple(row.id for row, error in zip(rows, errors, strict=True) if error)
    return ControlScores(_table(rows, scores, errors), len(readable), unread)


def left_out_scores(
    rows: Manifest, fold: NDArray[np.int64], heard: NDArray[np.bool_], judged: NDArray[np.bool_], seed: int = 0
) -> ControlScores:
    """Scores of the judged rows, those of fold k by a control that learnt from the rows with `heard[:, k]`; all [R]."""
    labels, everything = _training_rows(rows)
    features, errors = trivial_features(rows, everything)
    readable = np.array([not error for error in errors])
    scores = np.full(len(everything), np.nan)
    for k in np.unique(fold[judged]):
        learn, held_out = readable & heard[:, k], readable & judged & (fold == k)
        scores[held_out] = _fit(features[learn], labels[learn], seed)(features[held_out])
    places = np.flatnonzero(judged)
    table = _table([everything[i] for i in places], scores[places], [errors[i] for i in places])
    unread = tuple(row.id for row, error in zip(everything, errors, strict=True) if error)
    return ControlScores(table, int(readable.sum()), unread)


def _groups(rows: list[Row]) -> NDArray[np.str_]:
    """What must stay in one fold: the speaker of a bona fide row, the system of a spoof; by itself where not known."""
    names = [row.speaker if row.label == "bonafide" else row.system for row in rows]
    return np.array([f"{row.label} {name or row.id}" for row, name in zip(rows, names, strict=True)])


def _table(rows: list[Row], scores: Floats, errors: list[str]) -> pl.DataFrame:
    """Raises `DataError` where all scores are equal: the control found nothing to learn, which proves no detector."""
    judged = [float(score) for score, error in zip(scores, errors, strict=True) if not error]
    if len(set(judged)) == 1 and len(judged) > 1:
        raise DataError(
            "the trivial control could learn nothing from so few rows", fix="Use more rows, or --control none."
        )
    return pl.DataFrame(
        {
            "id": [row.id for row in rows],
            "path": [row.path for row in rows],
            "label": [row.label for row in rows],
            "score": [None if error else float(score) for score, error in zip(scores, errors, strict=True)],
            "llr": [None] * len(rows),
            "model": [NAME] * len(rows),
            "error": [error or None for error in errors],
        },
        schema_overrides={"label": pl.String, "score": pl.Float64, "llr": pl.Float64, "error": pl.String},
    )


def trivial_features(manifest: Manifest, rows: Iterable[Row]) -> tuple[Floats, list[str]]:
    """The facts `FEATURES` [N, 6] at each file's own rate (NaN: not known), and for each row an error text or ""."""
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda row: _facts(manifest, row), rows))
    values = np.array([facts for facts, _ in results], np.float64).reshape(len(results), len(FEATURES))
    return np.where(np.isfinite(values), values, np.nan), [error for _, error in results]


def control_report(
    scores: LabelledScores,
    control: ControlScores,
    learnt_from: str,
    options: JudgeOptions | None = None,
    name: str = NAME,
) -> ControlReport:
    """The scores of a model against a control on the same rows, with a paired interval of the difference.

    Raises as `compare` does.
    """
    joined = labelled(scores.task, control.table, {}, name)
    shared = set(scores.table["id"])
    joined = joined.with_ids([row for row in joined.table["id"] if row in shared])
    found = compare(scores, joined, ("the model", f"the {name}"), options)
    return ControlReport(found, found.answer, learnt_from, control.unread)


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
