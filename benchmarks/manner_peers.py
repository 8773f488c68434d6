"""Age and emotion beside what users would do otherwise, in one run on the same folds of the same recordings.

    python benchmarks/manner_peers.py --data ../shared/data --runs runs

Needs runs/age, runs/emotion, runs/emotion-relative (`earwitness train recipes/default/NAME.yaml -o runs/NAME`) and
runs/emotion-nemo, runs/emotion-nemo-absolute (`earwitness train recipes/noncommercial/emotion-nemo.yaml -o
runs/emotion-nemo`, and with `--set relative=false`), and the package opensmile (research licence: a peer, never a
part). Peers: eGeMAPSv02 functionals with a support vector machine, standardised by the training folds; for emotion also
by each speaker's own recordings, which needs all of a speaker's speech at once; the training median, the most frequent
class. Differences are paired, over speakers. Then the emotion models across corpora, both ways: EmoDB (German, ten
actors) and nEMO (Polish, six actors, CC BY-NC-SA: measured with, never learnt from by what ships); a relative model
hears each recording against others of the same speaker: all, three at random, or neutral ones alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from earwitness.paralinguistic.emotion import EmotionEstimate, EmotionEstimator
from earwitness.paralinguistic.labels import CATEGORIES, Labels, read_labels

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
    import opensmile  # a peer, which not every machine has

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


def emotions(left: Left, relative: Left) -> list[dict[str, object]]:
    """UAR over six acted categories, each speaker left out."""
    truth = left.table["category"].to_numpy()
    peer, own = "eGeMAPS + SVM", "by the speaker's own mean"
    if left.table["id"].to_list() != relative.table["id"].to_list():
        raise SystemExit("the two emotion runs did not leave out the same rows")
    arms = {
        "earwitness": called_of(left.table),
        f"earwitness, {own}": called_of(relative.table),
        peer: _machine(left, truth),
        "most frequent class": np.full_like(truth, np.bincount(truth).argmax()),
        f"{peer}, {own} and deviation": _machine(
            Left(left.table, _own(left.gemaps, left.table["speaker"].to_list())), truth
        ),
    }
    values = {name: (lambda w, c=called: uar(truth, c, w)) for name, called in arms.items()}
    return told("emotion (EmoDB, leave one speaker out), UAR %", values, left.units, "earwitness")


def called_of(table: pl.DataFrame) -> NDArray[np.int64]:
    """The likeliest class of each left-out row."""
    return np.array([int(np.argmax(row)) for row in table["probabilities"]])


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


def allowed_call(heard: EmotionEstimate, known: NDArray[np.bool_]) -> int:
    """The likeliest of the classes in `known` [7]."""
    shares = dict(zip(heard.classes, heard.probabilities, strict=True))
    allowed = [name for index, name in enumerate(CATEGORIES) if known[index]]
    return CATEGORIES.index(max(allowed, key=lambda name: float(shares[name])))


def across(absolute: Path, relative: Path, corpus: str, everything: Manifest) -> list[dict[str, object]]:
    """Two whole models on a corpus that they never heard: its classes that they know."""
    plain, moving = EmotionEstimator.load(absolute / "model"), EmotionEstimator.load(relative / "model")
    labels = read_labels(everything.filter(pl.col("corpus") == corpus), plain.emotion.labels)
    known = plain.emotion.classes & labels.config.mask(corpus)
    asked = np.flatnonzero(known[labels.category])
    rows = list(labels.manifest.rows())
    truth, speakers = labels.category[asked], [str(rows[place].speaker) for place in asked]

    def called(told: Callable[[int], EmotionEstimator]) -> NDArray[np.int64]:
        found = []
        for place in asked:
            try:
                heard = told(place).estimate_file(labels.manifest.resolve(rows[place]))
            except AudioError:
                found.append(len(CATEGORIES))  # UNHEARD counts as wrong
                continue
            found.append(allowed_call(heard, known))
        return np.array(found)

    own = _OwnVectors(moving, labels)
    arms = {
        "earwitness": called(lambda place: plain),
        "earwitness, against the speaker's others": called(lambda place: own.told(place, len(rows), False)),
        "earwitness, against three others": called(lambda place: own.told(place, 3, False)),
        "earwitness, against up to five neutral others": called(lambda place: own.told(place, 5, True)),
    }
    values = {name: (lambda w, c=c: uar(truth, c, w)) for name, c in arms.items()}
    values["a constant"] = lambda w: 100.0 / len(np.unique(truth))
    learnt, count = ", ".join(plain.emotion.corpora), len(np.unique(truth))
    name = f"emotion across corpora (learnt from {learnt}, {corpus}, {count} classes), UAR %"
    return told(name, values, Units.of(speakers, "speaker"), "earwitness")


class _OwnVectors:
    """What a relative model makes of every row, and the model told of some others of a row's speaker."""

    def __init__(self, estimator: EmotionEstimator, labels: Labels) -> None:
        rows = list(labels.manifest.rows())
        self.estimator, self.category = estimator, labels.category
        self.speakers = np.array([str(row.speaker) for row in rows])
        self.vectors = [estimator.vector_of_file(labels.manifest.resolve(row)) for row in rows]

    def told(self, place: int, most: int, neutral: bool) -> EmotionEstimator:
        others = np.flatnonzero(self.speakers == self.speakers[place])
        others = others[others != place]
        if neutral:
            others = others[self.category[others] == CATEGORIES.index("neutral")]
        chosen = np.random.default_rng([0, place]).permutation(others)[:most]
        return self.estimator.beside([self.vectors[other] for other in chosen])


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


def asked(words: str | None) -> argparse.Namespace:
    """Data, runs, and where the lines go."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def tell(lines: list[dict[str, object]], output: Path | None) -> None:
    """Print them, and keep them where that is asked for."""
    text = json.dumps(lines, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    given = asked(__doc__)
    runs, everything = given.runs, read_corpus("earwitness-data", given.data).manifest
    lines = [
        *emotions(left_out(runs / "emotion", everything), left_out(runs / "emotion-relative", everything)),
        *across(runs / "emotion", runs / "emotion-relative", "nemo_nc", everything),
        *across(runs / "emotion-nemo-absolute", runs / "emotion-nemo", "emodb", everything),
        *ages(left_out(runs / "age", everything)),
    ]
    tell(lines, given.output)


if __name__ == "__main__":
    main()
