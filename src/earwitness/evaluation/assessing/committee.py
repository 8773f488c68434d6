"""The tests of a committee: what each member left out, beside a control that left out the same.

    left-out.*        all judged rows but the copies of `corpus expand --twins`: pooled, by family, length and language
    twins.*           human recordings with judged copies, and these copies
    narrow-band.*     the first in a telephone band
    perturbed-NAME.*  some rows of the first, always the same ones, unperturbed (clean) and made worse in named ways
    false_alarms.json human speech below the threshold of equal left-out errors: by voice, corpus and language
    abstention.json   errors among all, and among those whose ratio is far enough from even
    control.scores.csv
    examples/         recordings that were answered wrongly, as far as they may be passed on

A committee that is not shown to be better than the control, on what is left out and on twins, does not answer.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import binomtest

from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table, write_table
from earwitness.deepfake.committee import JUDGED, ROWS, drawn, scores_path
from earwitness.deepfake.left_out import folds_of, judged_of, score_tested
from earwitness.evaluation.assessing.detector import (
    FALSE_ALARMS,
    FEWEST_OF_A_LANGUAGE,
    TELEPHONE_HZ,
    Part,
    against,
    amount,
    evaluated,
    failures,
    figures,
    share_below,
    unproven,
)
from earwitness.evaluation.assessing.examples import write_examples
from earwitness.evaluation.assessing.outcome import EER, EVIDENCE, Outcome, figure, results_folder, write_result
from earwitness.evaluation.judging.judge import JudgeOptions, judge
from earwitness.evaluation.judging.labelled import LabelledScores, read_labelled
from earwitness.evaluation.judging.trivial import left_out_scores
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.detection import eer
from earwitness.metrics.scores import Floats
from earwitness.training.calibration import LEAST_LLR, ConditionName
from earwitness.training.card import ResultRow
from earwitness.training.conditions import CONDITION_WORDS, TESTED, TestedName
from earwitness.training.model_folder import ABSTAIN, TestedRanges, read_model_info
from earwitness.training.polarity import PolarityProbe

THRESHOLD = "left-out EER"
ANSWERED = 0.85  # of the other folds' recordings, by which the limit of abstention is set
OWN_COPIES = "twin-"  # how systems of `corpus expand --twins` are named
MEAN = "EER (interpolated), mean over systems with 10 files or more, %"
WRONG, SHARE = "wrong answers, mean of both classes, %", "answered, %"
FEWEST_FILES = 10  # of a system, to count in the mean
SHORT_S, LONG_S = 2.0, 4.0
UNPERTURBED = "unperturbed (the rows of the perturbations below)"
COLUMNS = ("family", "length", "language")  # to judge by


def assess_committee(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Judge the left-out scores of a run; writes into `run/results`, and what lacks of the scores into `run`.

    Raises `DataError` for changed tables, `ModelError` and `AudioError` where scores are missing and cannot be made.
    """
    run, info = Path(run), read_model_info(model)
    lacking = score_tested(model, run)
    bench = _Bench(run, results_folder(run, info), Manifest.read(run / ROWS), options or JudgeOptions())
    judged = bench.rows.filter(pl.col("judged") == JUDGED)
    own = pl.col("system").str.starts_with(OWN_COPIES).fill_null(False)
    rest = judged.filter(~own)
    whole = bench.judged("left-out", "left out, all synthesis of families never heard", rest, control=True)
    copied = _twins(judged)
    words = "twins (left-out recordings and copies of them)"
    twins = bench.judged("twins", words, copied, control=True) if len(copied) else None
    narrow = bench.judged("narrow-band", "left out, in a telephone band (300-3400 Hz)", rest, "narrow_band")
    threshold = eer(whole.scores.positive["score"], whole.scores.negative["score"]).threshold
    alarms = list(_false_alarms(bench, whole.scores, threshold))
    limit, abstention = _abstention(bench, whole.scores)
    parts = [part for part in (whole, twins, narrow) if part is not None]
    perturbed = list(_perturbed(bench, rest, lacking))
    rows = [*(row for part in parts for row in part.rows), *perturbed]
    rows += [*_mean_over_systems(bench, whole.scores), *alarms]
    return Outcome(
        rows=(*rows, *abstention),
        tested=_ranges(rest, lacking),
        thresholds={THRESHOLD: threshold, ABSTAIN: limit},
        limits=(EVIDENCE,),
        known_failures=tuple(failures(rows)),
        examples=bool(write_examples(model, run, bench.results)),
        inconclusive=tuple(unproven(whole, twins)),
        polarity=PolarityProbe.of(judge(whole.scores, bench.options).measure("AUC").interval, whole.scores.checksum),
    )


@dataclass(frozen=True)
class _Bench:
    """A committee's run; `rows` are those of `rows.parquet`, and `results` is where everything is written."""

    run: Path
    results: Path
    rows: Manifest
    options: JudgeOptions

    def judged(
        self,
        name: str,
        words: str,
        rows: Manifest,
        view: ConditionName | TestedName = "clean",
        control: bool = False,
        by: Sequence[str] = COLUMNS,
    ) -> Part:
        """Figures of some rows from the left-out scores in a view; `NAME.json` can be reproduced."""
        table = read_table(scores_path(self.run, view))
        rows = rows.filter(pl.col("id").is_in(table["id"].implode()))  # some conditions were tried on some rows only
        _with_lengths(rows).write(self.results / f"{name}.csv")
        write_table(table.filter(pl.col("id").is_in(rows.table["id"].implode())), self.results / f"{name}.scores.csv")
        scores, path = self.read(name), self.results / f"{name}.json"
        options = replace(self.options, by=tuple(column for column in by if column in scores.table.columns))
        found = evaluated(self.results, name, self.control() if control else None, options)
        shown = list(figures(words, found.judgement, path, "left out" if name == "left-out" else None))
        shown += [
            figure(f"left out, {group.column} {group.value}", EER, group.eer, group.positives + group.negatives, path)
            for group in found.judgement.groups
            if name == "left-out" and group.eer is not None and group.column in ("length", "language")
        ]
        comparison = None if found.control is None else found.control.comparison
        if comparison is not None:
            shown.extend(against(words, comparison, path))
        return Part(words, scores, tuple(shown), comparison, found.no_control)

    def read(self, name: str) -> LabelledScores:
        """What `judged` wrote."""
        return read_labelled("deepfake", self.results / f"{name}.scores.csv", self.results / f"{name}.csv")

    def control(self) -> Path:
        """Scores of the trivial control, each fold's by one that learnt from what the committee's member did."""
        path = self.results / "control.scores.csv"
        if not path.is_file():
            table = self.rows.table
            heard = np.array([[flag == "x" for flag in flags] for flags in table["heard"]], bool)
            left_out_scores(
                self.rows,
                folds_of(self.rows),
                heard,
                judged_of(self.rows),
                self.options.seed,
            ).write(path)
        return path


def _with_lengths(rows: Manifest) -> Manifest:
    """With `length`, a column to judge by."""
    seconds = pl.col("duration_s")
    length = (
        pl.when(seconds < SHORT_S)
        .then(pl.lit(f"under {SHORT_S:g} s"))
        .when(seconds < LONG_S)
        .then(pl.lit(f"{SHORT_S:g} to {LONG_S:g} s"))
        .when(seconds >= LONG_S)
        .then(pl.lit(f"{LONG_S:g} s and more"))
    )
    return rows.with_table(rows.table.with_columns(length=length))


def _twins(judged: Manifest) -> Manifest:
    """Judged copies whose human recording is judged too, and these recordings."""
    table = judged.table
    human = table.filter(pl.col("label") == "bonafide").select(pl.coalesce("source_recording", "id")).to_series()
    copies = table.filter((pl.col("label") == "spoof") & pl.col("source_recording").is_in(human.implode()))
    sources = copies["source_recording"].implode()
    behind = (pl.col("label") == "bonafide") & pl.coalesce("source_recording", "id").is_in(sources)
    return judged.filter(behind | pl.col("id").is_in(copies["id"].implode()))


def _perturbed(bench: _Bench, rest: Manifest, lacking: Container[str]) -> Iterator[ResultRow]:
    """The EER of the drawn rows as they are, then under each condition and perturbation."""
    ids = bench.rows.table["id"][drawn(judged_of(bench.rows))].implode()
    same = rest.filter(pl.col("id").is_in(ids))
    conditions = [(name, UNPERTURBED if name == "clean" else words) for name, words in CONDITION_WORDS.items()]
    tested = [(name, found.words) for name, found in TESTED.items() if name not in lacking]
    for view, words in (*conditions, *tested):
        yield from bench.judged(f"perturbed-{view}", f"left out, {words}", same, view, by=()).rows


def _mean_over_systems(bench: _Bench, scores: LabelledScores) -> Iterator[ResultRow]:
    """The mean EER over systems with enough files; the interval resamples speakers and systems."""
    real, spoof = scores.positive, scores.negative
    counts = spoof["system"].drop_nulls().value_counts().filter(pl.col("count") >= FEWEST_FILES)
    names = sorted(counts["system"])
    if not names:
        return
    of_system = [spoof.filter(pl.col("system") == name)["score"].to_numpy() for name in names]
    human = real["score"].to_numpy()
    speakers = Units.of(real.select(pl.coalesce("speaker", "id")).to_series().to_list(), "speaker")
    units = Units.stacked(speakers, Units.of(names, "system"))

    def mean(counts: Floats) -> list[float]:
        weights = units.weights(counts)
        heard = np.repeat(human, weights[: len(human)].astype(int))
        drawn = weights[len(human) :]
        return [float(np.average([eer(heard, system).value for system in of_system], weights=drawn))]

    interval = bootstrap(mean, units, min(200, bench.options.n_resamples), bench.options.seed)[0]
    files = real.height + sum(map(len, of_system))
    yield figure(f"left out, {len(names)} systems", MEAN, interval, files, bench.results / "left-out.json")


def _false_alarms(bench: _Bench, scores: LabelledScores, threshold: float) -> Iterator[ResultRow]:
    """Human speech below the threshold: all, voices that are also synthetic, corpora and languages."""
    path, real = bench.results / "false_alarms.json", scores.positive
    own = pl.col("system").str.starts_with(OWN_COPIES).fill_null(False)
    spoken = set(bench.rows.table.filter((pl.col("label") == "spoof") & ~own)["speaker"].drop_nulls())
    groups = [("left-out real speech", real)]
    for column, words in (("speaker", "voice"), ("corpus", "corpus"), ("language", "language")):
        if column not in real.columns:
            continue
        counts = real[column].drop_nulls().value_counts().filter(pl.col("count") >= FEWEST_OF_A_LANGUAGE)
        names = [name for name in sorted(counts[column]) if column != "speaker" or name in spoken]
        groups += [(f"left-out real speech, {words} {name}", real.filter(pl.col(column) == name)) for name in names]
    rows = [
        figure(words, FALSE_ALARMS, share_below(group, threshold, bench.options), group.height, path)
        for words, group in groups
    ]
    write_result(path, "earwitness model card .", rows, threshold=threshold, threshold_from=THRESHOLD)
    yield from rows


def _abstention(bench: _Bench, scores: LabelledScores) -> tuple[float, list[ResultRow]]:
    """The limit of |llr| that the model ships, and what limits set on the other folds do to each fold."""
    table = pl.concat([scores.positive, scores.negative]).filter(pl.col("llr").is_not_null())
    llr, fold = table["llr"].cast(pl.Float64).to_numpy(), table["fold"].cast(pl.Int64).to_numpy()
    answered = np.zeros(len(llr), bool)
    for k in np.unique(fold):
        limit = float(np.quantile(np.abs(llr[fold != k]), 1 - ANSWERED))
        answered[fold == k] = np.abs(llr[fold == k]) >= limit
    rules = (
        ("all answered", np.ones(len(llr), bool)),
        (f"told to answer {ANSWERED:.0%}", answered),
        ("a ratio of 2 or more (`examine` also asks that its interval favour one side)", np.abs(llr) >= LEAST_LLR),
    )
    path = bench.results / "abstention.json"
    rows = []
    for words, kept in rules:
        part = table.filter(pl.Series(kept))
        rows.append(figure(f"left out, {words}", WRONG, _wrong(part, bench.options), part.height, path))
        of_corpus = table.with_columns(kept=pl.Series(kept)).group_by("corpus").agg(pl.col("kept").mean(), pl.len())
        corpus, least, files = of_corpus.filter(pl.col("len") >= FEWEST_FILES).sort("kept", "corpus").row(0)
        exact = binomtest(round(least * files), files).proportion_ci()
        share = Interval(least, float(exact.low), float(exact.high), files, "file", 0)
        rows.append(figure(f"left out, {words}: least answered corpus ({corpus})", SHARE, share, files, path))
    limit = float(np.quantile(np.abs(llr), 1 - ANSWERED))
    write_result(path, "earwitness model card .", rows, limit=limit)
    return limit, rows


def _wrong(table: pl.DataFrame, options: JudgeOptions) -> Interval:
    """The share of ratios on the wrong side, mean of both classes; human rows come first."""
    human = (table["label"] == "bonafide").to_numpy()
    wrong = (table["llr"].cast(pl.Float64).to_numpy() > 0) != human
    names = table.select(pl.coalesce("speaker", "id").alias("speaker"), pl.coalesce("system", "id").alias("system"))
    units = Units.stacked(
        Units.of(names.filter(pl.Series(human))["speaker"].to_list(), "speaker"),
        Units.of(names.filter(pl.Series(~human))["system"].to_list(), "system"),
    )

    def share(counts: Floats) -> list[float]:
        weights = units.weights(counts)
        return [float(np.mean([np.average(wrong[side], weights=weights[side]) for side in (human, ~human)]))]

    return bootstrap(share, units, options.n_resamples, options.seed)[0]


def _ranges(judged: Manifest, lacking: Mapping[TestedName, str]) -> TestedRanges:
    """What was left out and judged; `lacking` are perturbations that could not be made."""
    table = judged.table
    real = table.filter(pl.col("label") == "bonafide")
    shortest = table["duration_s"].quantile(0.05)
    return TestedRanges(
        min_speech_s=None if shortest is None else round(float(shortest), 1),
        min_bandwidth_hz=TELEPHONE_HZ,
        languages=tuple(real["language"].drop_nulls().unique().sort().to_list()),
        notes=(
            amount("left out and judged", judged),
            "the first 4 s of each file, after its silence",
            *(f"not tested under {TESTED[name].words}: {why}" for name, why in lacking.items()),
        ),
    )
