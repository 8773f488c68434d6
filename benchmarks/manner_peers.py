"""Age and emotion beside what users would do otherwise, in one run on the same folds of the same recordings.

    python benchmarks/manner_peers.py --data ../shared/data --runs runs

Needs runs/age and runs/emotion (`earwitness train recipes/default/age.yaml`, `.../emotion.yaml`), and the package
opensmile (research licence: a peer, never a part). Peers: eGeMAPSv02 functionals with a support vector machine,
standardised by the training folds; for emotion also by each speaker's own recordings, which needs all of a speaker's
speech at once; the training median, the most frequent class. Differences are paired, over speakers. Then the emotion
model across corpora: on nEMO (Polish, six actors, CC BY-NC-SA: measured with, never learnt from by what ships).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import opensmile
import polars as pl
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from earwitness.audio.reading import load
from earwitness.audio.speech import trim_silence
from earwitness.core.errors import AudioError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.tables import read_table
from earwitness.metrics.bootstrap import Units, bootstrap
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.paralinguistic.labels import CATEGORIES, read_labels

Floats = NDArray[np.float64]
RATE = 16_000


@dataclass(frozen=True)
class Left:
    """What a run left out: its clean rows, with the eGeMAPS functionals of the same recordings [R, 88]."""

    table: pl.DataFrame
    gemaps: Floats

    @property
    def units(self) -> Units:
        return Units.of(self.table["speaker"].to_list(), "speaker")

    @property
    def folds(self) -> NDArray[np.int64]:
        return self.table["fold"].to_numpy()


def left_out(run: Path, everything: Manifest) -> Left:
    """The clean rows of a run, and the functionals of their recordings as the run heard them: trimmed, at most 4 s."""
    table = read_table(run / "left-out.parquet").filter(pl.col("condition") == "clean")
    rows = {row.id: row for row in everything.rows()}
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals, num_workers=1)
    found = []
    for name in table["id"]:
        samples = trim_silence(load(everything.resolve(rows[name]), RATE).samples, RATE)[: 4 * RATE]
        found.append(smile.process_signal(samples, RATE).to_numpy()[0])
    return Left(table, np.nan_to_num(np.array(found, np.float64)))


def uar(truth: NDArray[np.int64], called: NDArray[np.int64], weights: Floats) -> float:
    """Mean recall over the classes that are there, %."""
    recalls = []
    for one in np.unique(truth):
        there = truth == one
        if weights[there].sum() > 0:
            recalls.append(float(weights[there & (called == one)].sum() / weights[there].sum()))
    return 100 * float(np.mean(recalls))


def told(name: str, values: dict[str, Callable[[Floats], float]], units: Units, base: str) -> list[dict[str, object]]:
    """Every arm with its interval, and its difference from `base`."""
    lines: list[dict[str, object]] = []
    for arm, statistic in values.items():
        one = bootstrap(lambda counts, s=statistic: [s(units.weights(counts))], units, 1000, 0)[0]
        line: dict[str, object] = {"task": name, "arm": arm, "value": one.value, "low": one.low, "high": one.high}
        if arm != base:

            def both(counts: Floats, s: Callable[[Floats], float] = statistic) -> list[float]:
                weights = units.weights(counts)
                return [values[base](weights) - s(weights)]

            gain = bootstrap(both, units, 1000, 0)[0]
            line["ours less this"] = [gain.value, gain.low, gain.high]
        lines.append(line)
    return lines


def emotions(left: Left) -> list[dict[str, object]]:
    """UAR over six acted categories, each speaker left out."""
    truth = left.table["category"].to_numpy()
    ours = np.array([int(np.argmax(row)) for row in left.table["probabilities"]])
    arms = {"earwitness": ours, "eGeMAPS + SVM": _machine(left, truth), "most frequent class": np.zeros_like(truth)}
    arms["eGeMAPS + SVM, by the speaker's own mean and deviation"] = _machine(
        Left(left.table, _own(left.gemaps, left.table["speaker"].to_list())), truth
    )
    arms["most frequent class"][:] = np.bincount(truth).argmax()
    values = {name: (lambda w, c=called: uar(truth, c, w)) for name, called in arms.items()}
    return told("emotion (EmoDB, leave one speaker out), UAR %", values, left.units, "earwitness")


def ages(left: Left) -> list[dict[str, object]]:
    """MAE in years, speakers left out in ten folds."""
    truth = left.table["age"].to_numpy()
    grid = np.arange(len(left.table["distribution"][0]))
    ours = np.array([float(np.dot(row, grid)) for row in left.table["distribution"]])
    median, machine = np.empty(len(truth)), np.empty(len(truth))
    for fold in np.unique(left.folds):
        rest, here = left.folds != fold, left.folds == fold
        median[here] = np.median(truth[rest])
        pupil = make_pipeline(StandardScaler(), SVR(C=10.0, epsilon=1.0)).fit(left.gemaps[rest], truth[rest])
        machine[here] = pupil.predict(left.gemaps[here])
    arms = {"earwitness": ours, "eGeMAPS + SVR": machine, "training median": median}
    values = {name: (lambda w, e=np.abs(found - truth): float(w @ e / w.sum())) for name, found in arms.items()}
    return told("age (speechocean762, 195 speakers), MAE years", values, left.units, "earwitness")


def across(run: Path, everything: Manifest) -> list[dict[str, object]]:
    """The whole model on another corpus: nEMO's classes that it knows, by nEMO's own classes and by all."""
    estimator = EmotionEstimator.load(run / "model")
    labels = read_labels(everything.filter(pl.col("corpus") == "nemo_nc"), estimator.emotion.labels)
    known = estimator.emotion.classes & labels.config.mask("nemo_nc")
    truth, called, speakers = [], [], []
    for row, category in zip(labels.manifest.rows(), labels.category, strict=True):
        if not known[category]:
            continue
        truth.append(int(category))
        speakers.append(str(row.speaker))
        try:
            heard = estimator.estimate_file(labels.manifest.resolve(row))
            shares = dict(zip(heard.classes, heard.probabilities, strict=True))
            allowed = [name for place, name in enumerate(CATEGORIES) if known[place]]
            called.append(CATEGORIES.index(max(allowed, key=lambda name: float(shares[name]))))
        except AudioError:
            called.append(len(CATEGORIES))  # UNHEARD counts as wrong
    units, right = Units.of(speakers, "speaker"), np.array(truth)
    values = {
        "earwitness, learnt from EmoDB": lambda w: uar(right, np.array(called), w),
        "a constant": lambda w: 100.0 / len(np.unique(right)),
    }
    first = "earwitness, learnt from EmoDB"
    return told(f"emotion across corpora (nEMO, {len(np.unique(right))} classes), UAR %", values, units, first)


def _machine(left: Left, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    called = np.empty(len(truth), np.int64)
    for fold in np.unique(left.folds):
        rest, here = left.folds != fold, left.folds == fold
        pupil = make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced"))
        called[here] = pupil.fit(left.gemaps[rest], truth[rest]).predict(left.gemaps[here])
    return called


def _own(values: Floats, speakers: list[str]) -> Floats:
    """Standardised within each speaker."""
    found, names = values.copy(), np.array(speakers)
    for name in np.unique(names):
        own = names == name
        found[own] = (values[own] - values[own].mean(axis=0)) / (values[own].std(axis=0) + 1e-9)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    everything = read_corpus("earwitness-data", asked.data).manifest
    lines = [
        *emotions(left_out(asked.runs / "emotion", everything)),
        *across(asked.runs / "emotion", everything),
        *ages(left_out(asked.runs / "age", everything)),
    ]
    text = json.dumps(lines, indent=1)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
