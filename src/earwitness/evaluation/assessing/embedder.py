"""The tests of a speaker embedder after its training: pairs of held-out recordings, whole, short and over telephone;
the whole ones also by age and corpus.

    SIDE.trials.txt              all pairs of one speaker, and of two as many as fit: enrolment, test, target|nontarget
    SIDE.CONDITION.scores.csv    the trials scored; `earwitness evaluate speaker` reads it
    SIDE.CONDITION.json          its figures
    SIDE.full.GROUP.*            the same of the trials of one group (`trial_groups`)

CONDITION is full, short or second (both recordings cut to 2 or 1 s), telephone (300-3400 Hz), or plain (full, without
the cohort).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.reading import from_samples, load
from earwitness.audio.recording import Samples
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest, Row
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
)
from earwitness.evaluation.assessing.trial_groups import group_tables
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.labelled import LabelledScores, read_labelled
from earwitness.evaluation.results.evaluating import evaluate
from earwitness.evaluation.results.files import write_result_file
from earwitness.evaluation.results.requests import EvaluateRequest
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.metrics.detection import eer
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.training import COHORT_USE
from earwitness.training.card import ResultRow
from earwitness.training.conditions import put_under
from earwitness.training.model_folder import ModelInfo, TestedRanges
from earwitness.training.polarity import PolarityProbe, refuse_reversed

CUTS_S = {"short": 2.0, "second": 1.0}
TELEPHONE_HZ = 3_400.0
MOST_NONTARGETS = 30_000
SIDES = {"dev": "dev side (used to choose epochs and to fit the calibration)", "test": "test side"}
UNLEARNT_SIDES = {"dev": "dev side (used to fit the calibration)", "test": "test side"}
CONDITIONS = {
    "full": "whole recordings",
    "short": "both cut to 2 s",
    "second": "both cut to 1 s",
    "telephone": "both in a telephone band (300-3400 Hz)",
}
PLAIN = "whole recordings, without score normalisation"
_CHANCE = 0.5


def assess_embedder(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Score and judge pairs of the recordings that the run's recipe held out. Writes into `run/results`.

    Raises `ModelError` for a model that cannot be loaded, and `DataError` where the run's tables were changed.
    """
    run, embedder = Path(run), Embedder.load(model)
    results, train = results_folder(run, embedder.info), read_side(run, "train")
    sides = {name: side for name in SIDES if (side := with_trials(read_side(run, name))) is not None}
    if not sides:
        reason = "It was not tested: its recipe held out no two recordings of one speaker besides another speaker."
        return Outcome(limits=(EVIDENCE,), inconclusive=(reason,))
    parts = [
        part
        for name, side in sides.items()
        for part in _parts(name, side, embedder, results, options or JudgeOptions())
    ]
    rows = [row for part in parts for row in part.rows]
    dev = next(part for part in parts if part.condition == "full")
    refuse_reversed(dev.polarity, model)
    threshold = eer(dev.scores.positive["score"], dev.scores.negative["score"]).threshold
    return Outcome(
        rows=tuple(rows),
        tested=_ranges(list(sides.values()), train, embedder.info),
        thresholds={f"{next(iter(sides))} EER": threshold},
        limits=(EVIDENCE,),
        known_failures=tuple(_failures(rows)),
        inconclusive=(*leaks_of(embedder.info), *_unproven(parts)),
        polarity=dev.polarity,
    )


@dataclass(frozen=True)
class _Part:
    """One condition on one side, judged."""

    words: str
    condition: str
    scores: LabelledScores
    rows: tuple[ResultRow, ...]
    highest_eer: float  # the upper end of its interval, a share
    polarity: PolarityProbe


class _Altered(Embedder):
    """The same embedder, hearing every recording under a condition."""

    condition: str

    @classmethod
    def of(cls, embedder: Embedder, condition: str) -> _Altered:
        """`condition` is one of `CONDITIONS`."""
        altered = cls(embedder.network, embedder.info, embedder.comparator.cohort)
        altered.condition = condition
        return altered

    def embed(self, samples: ArrayLike, rate: int) -> VoicePrint:
        recording = from_samples(np.asarray(samples), rate, self.info.rate)
        return super().embed(_put_under(self.condition, recording.samples, recording.rate), recording.rate)

    def embed_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> VoicePrint:
        recording = load(path, self.info.rate, channel, start_s, end_s)
        return self.embed(recording.samples, recording.rate)


def _put_under(condition: str, samples: Samples, rate: int) -> Samples:
    if condition == "telephone":
        return put_under("narrow_band", samples, rate, item_rng(0, 0, "telephone"))
    if condition in CUTS_S:
        length = round(CUTS_S[condition] * rate)
        start = max(0, (len(samples) - length) // 2)
        return samples[start : start + length]
    return samples


def _parts(name: str, side: Manifest, embedder: Embedder, results: Path, options: JudgeOptions) -> Iterator[_Part]:
    """Every condition on one side. Where nothing was learnt (no folder `fit` in the run) no epoch was chosen on dev."""
    said = (SIDES if (results.parent / "fit").is_dir() else UNLEARNT_SIDES)[name]
    side.write(results / f"{name}.csv")
    trials = results / f"{name}.trials.txt"
    write_trial_list(side, trials)
    heard = {condition: _Altered.of(embedder, condition) for condition in CONDITIONS}
    words = dict(CONDITIONS)
    if embedder.comparator.cohort is not None:
        heard["plain"] = _Altered.of(Embedder(embedder.network, _uncalibrated(embedder.info)), "full")
        words["plain"] = PLAIN
    for condition, listener in heard.items():
        output = results / f"{name}.{condition}.scores.csv"
        # a leak between the sides was refused, or allowed by name, when they were drawn; the card says so
        score_trials(side, trials, listener, output, allow_leak=True, resume=True)
        yield _judged(f"{said}, {words[condition]}", condition, output, options)
        if condition == "full":
            for group, table in group_tables(side, output):
                yield _judged(f"{said}, {words[condition]}, {group}", "group", table, options)


def _uncalibrated(info: ModelInfo) -> ModelInfo:
    """The calibration is of normalised scores and says nothing of the plain cosine."""
    return info.model_copy(update={"calibration": None, "cohort": None})


def _judged(words: str, condition: str, scored: Path, options: JudgeOptions) -> _Part:
    scores = read_labelled("speaker", scored)
    path = scored.with_name(scored.name.replace(".scores.csv", ".json"))
    found = evaluate(EvaluateRequest(task="speaker", scores=scored, options=options))
    write_result_file(path, found)
    judgement = found.judgement
    trials = judgement.positives + judgement.negatives
    rows = []
    for measure in judgement.measures:
        if measure.name == "EER":
            rows.append(figure(words, EER, measure.interval, trials, path))
        elif condition == "full" and measure.scale in ("bits", "cost") and not measure.name.startswith("actDCF"):
            rows.append(figure(words, measure.name, measure.interval, trials, path))
    polarity = PolarityProbe.of(judgement.measure("AUC").interval, scores.checksum)
    return _Part(words, condition, scores, tuple(rows), judgement.measure("EER").interval.high, polarity)


def with_trials(side: Manifest | None) -> Manifest | None:
    """Real rows with a speaker, where they hold trials of both kinds."""
    if side is None:
        return None
    real = side.filter(pl.col("speaker").is_not_null() & (pl.col("label").is_null() | (pl.col("label") != "spoof")))
    counts = real.table["speaker"].value_counts()["count"]
    return real if len(counts) > 1 and int(counts.max() or 0) > 1 else None  # type: ignore[arg-type]


def write_trial_list(side: Manifest, path: Path) -> None:
    """All pairs of one speaker; pairs of two speakers thinned evenly by a fixed draw where there are too many."""
    rows = list(side.rows())
    pairs = [(a, b) for a, b in combinations(range(len(rows)), 2) if not _copies(rows[a], rows[b])]
    same = np.array([rows[a].speaker == rows[b].speaker for a, b in pairs])
    others = np.flatnonzero(~same)
    if len(others) > MOST_NONTARGETS:
        others = np.random.default_rng(0).choice(others, MOST_NONTARGETS, replace=False)
    chosen = np.sort(np.concatenate([np.flatnonzero(same), others]))
    lines = [
        f"{rows[a].id}\t{rows[b].id}\t{'target' if same[place] else 'nontarget'}\n"
        for place, (a, b) in ((int(place), pairs[int(place)]) for place in chosen)
    ]
    write_atomically(path, "".join(lines))


def _copies(first: Row, second: Row) -> bool:
    """Whether two rows are of one recording: such a pair says nothing of a voice."""
    return first.source_recording is not None and first.source_recording == second.source_recording


def _ranges(sides: list[Manifest], train: Manifest | None, info: ModelInfo) -> TestedRanges:
    """What the held-out recordings covered, beside what training had."""
    use = f"{COHORT_USE} of" if any(COHORT_USE in source.use for source in info.data) else "trained on"
    languages = pl.concat([side.table["language"] for side in sides]).drop_nulls().unique().sort()
    return TestedRanges(
        min_speech_s=min(CUTS_S.values()),
        min_bandwidth_hz=TELEPHONE_HZ,
        languages=tuple(languages),
        notes=(_amount("tested on", sides), *([_amount(use, [train])] if train else [])),
    )


def _amount(use: str, sides: list[Manifest]) -> str:
    """How much speech of how many speakers, in words."""
    speakers = pl.concat([side.table["speaker"] for side in sides]).drop_nulls()
    count = sum(map(len, sides))
    return f"{use} {sum(map(minutes, sides)):.0f} minutes: {count} recordings of {speakers.n_unique()} speakers"


def _failures(rows: list[ResultRow]) -> Iterator[str]:
    for row in rows:
        if row.metric == EER and row.value >= WORTHLESS:
            yield f"{row.data}: EER {row.value:.0f} % ({row.files} trials)"
        if words := misleading(row):
            yield words


def _unproven(parts: list[_Part]) -> Iterator[str]:
    for part in parts:
        if part.condition == "full" and part.highest_eer >= _CHANCE:
            yield f"On the {part.words}, it is not shown to be better than chance (EER up to {part.highest_eer:.1%})."
