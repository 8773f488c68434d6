"""Late fusion: do measured pitch, level, pace and pauses add to the age and emotion models that ship?

    python benchmarks/manner_fusion.py --data ../shared/data --runs runs

Needs runs/emotion and runs/age (`earwitness train recipes/default/NAME.yaml -o runs/NAME`), whose answers about
speakers left out are fused with those of a small model of the measured delivery alone (what `examine` prints), which
leaves the same speakers out: logistic regression for emotion, ridge regression for age, on values standardised by the
training folds. Emotions are fused by weighted logarithms of their probabilities, ages by weighted means; with equal
weights, and with the weight of delivery that is best on the answers of all other folds. Differences are paired, over
speakers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import polars as pl
from manner_peers import RATE, Floats, asked, tell, told, uar
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earwitness.audio.reading import load
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.tables import read_table
from earwitness.metrics.bootstrap import Units
from earwitness.paralinguistic.prosody import prosody
from earwitness.training.left_out import LEFT_OUT

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # of delivery
OURS, DELIVERY, EQUAL, CHOSEN = "earwitness", "measured delivery alone", "fused, equal weights", "fused, weight chosen"
Called = Callable[[float], NDArray[np.float64]]  # what the fusion with a weight of delivery answers, [R]
Error = Callable[[NDArray[np.float64], Floats], float]  # of answers, with weights of rows; lower is better


def clean_rows(run: Path) -> pl.DataFrame:
    """What a run answered about the recordings as they are, each speaker left out."""
    return read_table(run / LEFT_OUT).filter(pl.col("condition") == "clean")


def delivery(table: pl.DataFrame, everything: Manifest) -> Floats:
    """The measured delivery of each row [R, D]; what could not be measured is 0 and flagged in a column of its own."""
    rows = {row.id: row for row in everything.rows()}
    heard = [prosody(load(everything.resolve(rows[name]), RATE).samples) for name in table["id"]]
    values = np.array([astuple(one) for one in heard], np.float64)
    return np.hstack([np.nan_to_num(values), np.isnan(values)])


def left_out_answers(pupil: BaseEstimator, values: Floats, truth: Floats, folds: Floats, way: str) -> Floats:
    """What a model says of each row (`way`: predict or predict_log_proba) that learnt from the other folds."""
    parts = {}
    for fold in np.unique(folds):
        rest, here = folds != fold, folds == fold
        parts[fold] = getattr(make_pipeline(StandardScaler(), pupil).fit(values[rest], truth[rest]), way)(values[here])
    found = np.empty((len(truth), *parts[folds[0]].shape[1:]))
    for fold, part in parts.items():
        found[folds == fold] = part
    return found


def chosen(called: Called, error: Error, folds: Floats) -> NDArray[np.float64]:
    """Every fold answered with the weight that errs least on all other folds."""
    answers = {weight: called(weight) for weight in WEIGHTS}
    found = answers[0.0].copy()
    for fold in np.unique(folds):
        here = folds == fold
        best = min(WEIGHTS, key=lambda weight: error(answers[weight], (~here).astype(np.float64)))
        found[here] = answers[best][here]
    return found


def lines(name: str, table: pl.DataFrame, called: Called, error: Error, sign: float) -> list[dict[str, object]]:
    """All arms with intervals; figures are `sign` times the error."""
    arms = {
        OURS: called(0.0),
        DELIVERY: called(1.0),
        EQUAL: called(0.5),
        CHOSEN: chosen(called, error, table["fold"].to_numpy()),
    }
    values = {arm: (lambda w, a=answers: sign * error(a, w)) for arm, answers in arms.items()}
    return told(name, values, Units.of(table["speaker"].to_list(), "speaker"), OURS)


def emotions(run: Path, everything: Manifest) -> list[dict[str, object]]:
    """UAR of EmoDB."""
    table = clean_rows(run)
    truth, folds = table["category"].to_numpy(), table["fold"].to_numpy()
    pupil = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    theirs = left_out_answers(pupil, delivery(table, everything), truth, folds, "predict_log_proba")
    classes = np.unique(truth)
    ours = np.log(np.maximum(np.array(table["probabilities"].to_list())[:, classes], 1e-12))

    def called(weight: float) -> NDArray[np.float64]:
        return classes[((1 - weight) * ours + weight * theirs).argmax(axis=1)].astype(np.float64)

    def error(answers: NDArray[np.float64], weights: Floats) -> float:
        return -uar(truth, answers.astype(np.int64), weights)

    return lines("emotion (EmoDB, leave one speaker out), UAR %", table, called, error, -1.0)


def ages(run: Path, everything: Manifest) -> list[dict[str, object]]:
    """MAE of speechocean762."""
    table = clean_rows(run)
    truth, folds = table["age"].to_numpy(), table["fold"].to_numpy()
    theirs = left_out_answers(Ridge(10.0), delivery(table, everything), truth, folds, "predict")
    shares = np.array(table["distribution"].to_list())
    ours = shares @ np.arange(shares.shape[1])

    def error(answers: NDArray[np.float64], weights: Floats) -> float:
        return float(weights @ np.abs(answers - truth) / weights.sum())

    name = "age (speechocean762, 195 speakers), MAE years"
    return lines(name, table, lambda weight: (1 - weight) * ours + weight * theirs, error, 1.0)


def main() -> None:
    given = asked(__doc__)
    everything = read_corpus("earwitness-data", given.data).manifest
    tell([*emotions(given.runs / "emotion", everything), *ages(given.runs / "age", everything)], given.output)


if __name__ == "__main__":
    main()
