"""The tests of a detector after its training: unseen families, twins, telephone, false alarms, and the trivial control.

    test.scores.csv, test.json          the test side: pooled, by family, system and language
    unseen.*                            without spoofs of families that training or dev knew (where there are such)
    twins.*                             rows whose human recording has a row of the other label too
    telephone.*                         the test side in a telephone band
    dev.scores.csv, false_alarms.json   real speech below the threshold at which dev errors are equal
    control.scores.csv                  the trivial control on the test side

A detector that is not shown to be better than the control, on unseen families and on twins, does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.reading import from_samples, load
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table, write_table
from earwitness.deepfake.detector import DetectionScore, Detector
from earwitness.evaluation.assessing.outcome import (
    EER,
    EVIDENCE,
    WORTHLESS,
    Outcome,
    figure,
    leaks_of,
    minutes,
    misleading,
    read_side,
    results_folder,
    write_result,
)
from earwitness.evaluation.judging.judge import Comparison, Judgement, JudgeOptions, judge
from earwitness.evaluation.judging.labelled import LabelledScores, read_labelled
from earwitness.evaluation.judging.trivial import NAME, trivial_scores
from earwitness.evaluation.loading import open_detector
from earwitness.evaluation.results.evaluating import Evaluation, evaluate
from earwitness.evaluation.results.files import write_result_file
from earwitness.evaluation.results.requests import NONE, EvaluateRequest
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.detection import eer
from earwitness.training.card import ResultRow
from earwitness.training.conditions import put_under
from earwitness.training.model_folder import TestedRanges
from earwitness.training.polarity import PolarityProbe, refuse_reversed

DEV_THRESHOLD = "dev EER"
TELEPHONE_HZ = 3_400.0
FEWEST_OF_A_LANGUAGE = 10  # files
FALSE_ALARMS = "below the threshold of equal errors, %"


def assess_detector(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Score and judge what the run's recipe held out. Writes into `run/results`.

    Raises `ModelError` for a model that cannot be loaded, and `DataError` where the run's tables were changed.
    """
    run = Path(run)
    train, dev, test = (read_side(run, side) for side in ("train", "dev", "test"))
    if train is None or dev is None or test is None or test.table["label"].drop_nulls().n_unique() < 2:
        return Outcome(inconclusive=("It was not tested: its recipe held out no real and synthetic speech.",))
    detector = open_detector(model)
    bench = _Bench(detector, results_folder(run, detector.info), train, dev, test, options or JudgeOptions())
    on_dev = bench.scored("dev", dev, detector)
    polarity = PolarityProbe.of(judge(on_dev, bench.options).measure("AUC").interval, on_dev.checksum)
    refuse_reversed(polarity, model)
    threshold = eer(on_dev.positive["score"], on_dev.negative["score"]).threshold
    new = _unseen(train, dev, test)
    words = "test side, all synthesis of families never heard before" if len(new) == len(test) else "test side"
    bench.scored("test", test, detector)
    whole = bench.judged("test", words, control=True)
    unseen = bench.part_of(whole, "unseen", "families never heard before", new)
    twins = bench.part_of(whole, "twins", "twins (real recordings and what was made of them)", _twins(test))
    bench.scored("telephone", test, _OverTelephone(detector.network, detector.info, detector.quality))
    telephone = bench.judged("telephone", "test side in a telephone band (300-3400 Hz)")
    alarms = list(_false_alarms(bench, whole.scores, threshold))
    parts = [part for part in (whole, unseen, twins, telephone) if part is not None]
    rows = [row for part in parts for row in part.rows]
    return Outcome(
        rows=(*rows, *alarms),
        tested=_ranges(whole.scores, train, test),
        thresholds={DEV_THRESHOLD: threshold},
        limits=(EVIDENCE,),
        known_failures=tuple(failures([*rows, *alarms])),
        inconclusive=(*leaks_of(detector.info), *unproven(unseen, twins)),
        polarity=polarity,
    )


@dataclass(frozen=True)
class Part:
    """One stretch of the test side, judged; `comparison` is with the control, or `unmatched` says why there is none."""

    words: str
    scores: LabelledScores
    rows: tuple[ResultRow, ...]
    comparison: Comparison | None = None
    unmatched: str = ""


@dataclass(frozen=True)
class _Bench:
    """A detector with the sides of its recipe; `results` is where everything is written."""

    detector: Detector
    results: Path
    train: Manifest
    dev: Manifest
    test: Manifest
    options: JudgeOptions

    def scored(self, name: str, manifest: Manifest, detector: Detector) -> LabelledScores:
        """`NAME.scores.csv` over a manifest, also where an interrupted run has begun it; its key is `NAME.csv`."""
        manifest.write(self.results / f"{name}.csv")
        score_detection(manifest, detector, self.results / f"{name}.scores.csv", resume=True)
        return self.read(name)

    def read(self, name: str) -> LabelledScores:
        """What `scored` wrote."""
        return read_labelled("deepfake", self.results / f"{name}.scores.csv", self.results / f"{name}.csv")

    def control(self) -> Path:
        """Scores of the trivial control on the test side."""
        path = self.results / "control.scores.csv"
        if not path.is_file():
            trivial_scores(self.train, self.test, self.options.seed).write(path)
        return path

    def part_of(self, whole: Part, name: str, words: str, manifest: Manifest) -> Part | None:
        """A part of the test side from the scores that are there; the side itself where it is all of it; None where one
        class is missing."""
        if manifest.table["label"].drop_nulls().n_unique() < 2:
            return None
        if len(manifest) == len(self.test):
            return Part(words, whole.scores, (), whole.comparison, whole.unmatched)
        manifest.write(self.results / f"{name}.csv")
        table = read_table(self.results / "test.scores.csv")
        ids = manifest.table["id"].implode()
        write_table(table.filter(pl.col("id").is_in(ids)), self.results / f"{name}.scores.csv")
        return self.judged(name, words, control=True)

    def judged(self, name: str, words: str, control: bool = False) -> Part:
        """Figures of a part, beside the control where it is asked for; `NAME.json` can be reproduced."""
        path, scores = self.results / f"{name}.json", self.read(name)
        by = tuple(column for column in ("family", "language") if column in scores.table.columns)
        found = evaluated(self.results, name, self.control() if control else None, replace(self.options, by=by))
        rows = list(figures(words, found.judgement, path, "test side" if name == "test" else None))
        comparison = None if found.control is None else found.control.comparison
        if comparison is not None:
            rows.extend(against(words, comparison, path))
        return Part(words, scores, tuple(rows), comparison, found.no_control)


def evaluated(results: Path, name: str, control: Path | None, options: JudgeOptions) -> Evaluation:
    """`NAME.scores.csv` judged by `NAME.csv`, beside the control's scores where there are; written to `NAME.json`."""
    request = EvaluateRequest(
        task="deepfake",
        scores=results / f"{name}.scores.csv",
        key=results / f"{name}.csv",
        control=NONE if control is None else str(control),
        options=options,
    )
    found = evaluate(request)
    write_result_file(results / f"{name}.json", found)
    return found


class _OverTelephone(Detector):
    """The same detector, hearing everything as through a telephone."""

    def score(self, samples: ArrayLike, rate: int) -> DetectionScore:
        recording = from_samples(np.asarray(samples), rate, self.info.rate)
        narrow = put_under("narrow_band", recording.samples, recording.rate, item_rng(0, 0, "telephone"))
        return super().score(narrow, recording.rate)

    def score_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> DetectionScore:
        recording = load(path, self.info.rate, channel, start_s, end_s)
        return self.score(recording.samples, recording.rate)


def figures(words: str, judgement: Judgement, path: Path, side: str | None) -> Iterator[ResultRow]:
    """The pooled EER; for a whole `side`, called so, further measures, families and systems."""
    files = judgement.positives + judgement.negatives
    for measure in judgement.measures:
        if measure.name == "EER":
            yield figure(words, EER, measure.interval, files, path)
        elif side and measure.scale in ("bits", "cost") and not measure.name.startswith("actDCF"):
            yield figure(words, measure.name, measure.interval, files, path)
    for group in judgement.groups if side else ():
        if group.eer is not None and group.column in ("family", "system"):
            data = f"{side}, {group.column} {group.value} against all real speech"
            yield figure(data, EER, group.eer, group.positives + group.negatives, path)


def against(words: str, found: Comparison, path: Path) -> Iterator[ResultRow]:
    yield figure(f"{words}: the {NAME}", EER, found.eer.second, found.rows, path)
    yield figure(f"{words}: model minus {NAME}", EER, found.eer.difference, found.rows, path)


def _unseen(train: Manifest, dev: Manifest, test: Manifest) -> Manifest:
    """The test rows without spoofs of a family (or, where it has none, a system) that stands in train or dev."""
    made_by = pl.coalesce("family", "system")
    known = pl.concat([side.table.filter(pl.col("label") == "spoof").select(made_by) for side in (train, dev)])
    heard = made_by.is_null() | made_by.is_in(known.to_series().drop_nulls().implode())
    return test.filter((pl.col("label") != "spoof") | ~heard)


def _twins(test: Manifest) -> Manifest:
    """The rows whose human recording stands behind a row of the other label too."""
    both = pl.col("label").drop_nulls().n_unique().over("source_recording") == 2
    return test.filter(pl.col("source_recording").is_not_null() & pl.col("label").is_not_null() & both)


def _false_alarms(bench: _Bench, scores: LabelledScores, threshold: float) -> Iterator[ResultRow]:
    """Real speech below the dev threshold: all, voices that training knew, and languages."""
    path = bench.results / "false_alarms.json"
    real = scores.positive
    groups = [("real speech of the test side", real)]
    if "speaker" in real.columns:
        known = set(bench.train.table["speaker"].drop_nulls()) & set(real["speaker"].drop_nulls())
        groups += [
            (f"real speech, voice {name} (also in training)", real.filter(pl.col("speaker") == name))
            for name in sorted(known)
        ]
    if "language" in real.columns:
        spoken = real["language"].drop_nulls().value_counts().filter(pl.col("count") >= FEWEST_OF_A_LANGUAGE)
        names = sorted(spoken["language"])
        groups += [(f"real speech, language {name}", real.filter(pl.col("language") == name)) for name in names]
    rows = [
        figure(words, FALSE_ALARMS, share_below(group, threshold, bench.options), group.height, path)
        for words, group in groups
    ]
    write_result(path, "earwitness model card .", rows, threshold=threshold, threshold_from=DEV_THRESHOLD)
    yield from rows


def share_below(rows: pl.DataFrame, threshold: float, options: JudgeOptions) -> Interval:
    """The share of scores below the threshold: over speakers where there are several, else exact over files."""
    below = (rows["score"] < threshold).to_numpy().astype(np.float64)
    if "speaker" in rows.columns and not rows["speaker"].null_count() and rows["speaker"].n_unique() > 1:
        units = Units.of(rows["speaker"].to_list(), "speaker")

        def share(counts: NDArray[np.float64]) -> list[float]:
            weights = units.weights(counts)
            return [float((weights * below).sum() / weights.sum())]

        return bootstrap(share, units, options.n_resamples, options.seed)[0]
    from scipy.stats import binomtest

    exact = binomtest(int(below.sum()), len(below)).proportion_ci()
    return Interval(float(below.mean()), float(exact.low), float(exact.high), len(below), "file", 0)


def _ranges(scores: LabelledScores, train: Manifest, test: Manifest) -> TestedRanges:
    """What the test side covered, beside what training had."""
    real = scores.positive
    languages = real["language"].drop_nulls().unique().sort().to_list() if "language" in real.columns else []
    shortest = scores.table["seconds_used"].cast(pl.Float64).quantile(0.05)
    return TestedRanges(
        min_speech_s=None if shortest is None else round(float(shortest), 1),
        min_bandwidth_hz=TELEPHONE_HZ,
        languages=tuple(languages),
        notes=(amount("tested on", test), amount("trained on", train), *_unjudged(scores)),
    )


def _unjudged(scores: LabelledScores) -> list[str]:
    if not scores.failed:
        return []
    return [f"{len(scores.failed)} file(s) of the test side could not be judged and are in no figure"]


def amount(use: str, side: Manifest) -> str:
    """How much speech of how many systems a side holds, in words."""
    spoof = side.table.filter(pl.col("label") == "spoof")
    systems, families = (spoof[column].drop_nulls().n_unique() for column in ("system", "family"))
    real = side.table.height - spoof.height
    made = f"{spoof.height} synthetic files of {systems} systems in {families} families"
    return f"{use} {minutes(side):.0f} minutes: {real} real files, {made}"


def failures(rows: list[ResultRow]) -> Iterator[str]:
    """In words, what the figures say goes wrong; the control's own failures are not the model's."""
    for row in rows:
        if words := misleading(row):
            yield words
        if NAME in row.data or row.value < WORTHLESS:
            continue
        if row.metric == EER:
            yield f"{row.data}: EER {row.value:.0f} % ({row.files} files)"
        elif row.metric == FALSE_ALARMS:
            yield f"{row.data}: {row.value:.0f} % of {row.files} files lie below the threshold of equal errors"


def unproven(unseen: Part | None, twins: Part | None) -> Iterator[str]:
    """Why it is not shown to know more than how its corpora were made."""
    for part, words in ((unseen, "families never heard before"), (twins, "twins of real recordings")):
        if part is None:
            yield f"The test side holds no {words} to compare with the {NAME} on."
        elif part.comparison is None:
            yield f"On {words} it could not be compared with the {NAME} ({part.unmatched})."
        elif part.comparison.eer.difference.high >= 0:
            first, second = part.comparison.eer.first.value, part.comparison.eer.second.value
            yield (
                f"On {words} it is not shown to be better than a control that knows only duration, level, bandwidth "
                f"and silence (EER {first:.1%} against {second:.1%})."
            )
