"""Scores of a condition as figures: the mean of each type of question, and their unweighted average (UAS).

    s(q) = mean over R runs of 20 times the rating;  S_t = mean of s(q) over the questions of type t
    UAS_C = S_C;  UAS_DP = mean(S_DE, S_DG, S_DS);  UAS_CP = mean(S_CE, S_CG, S_CS);  UAS_all = mean of all S_t

(arXiv 2509.16589, section 3; that UAS_all is the mean over types and not over the three classes is a reading.) A type
without a question is left out of the means and named. Intervals resample whole clips, and within them the judge's runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.metrics.bootstrap import Interval
from earwitness.metrics.resampled import Resampling
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.bench.scores import Counts, Scored, mean_there
from earwitness.speech_llm.bench.settings import Condition
from earwitness.speech_llm.items import CONTEXTUAL, DIRECT, QUESTION_TYPES, Item, QuestionType

GROUPS: tuple[tuple[str, tuple[QuestionType, ...]], ...] = (
    ("UAS_C", ("C",)),
    ("UAS_DP", DIRECT),
    ("UAS_CP", CONTEXTUAL),
    ("UAS_all", QUESTION_TYPES),
)


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval over clips; None where too few clips carry it (or there is no value)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, interval: Interval | None) -> Figure:
        """Rounded to ten digits, which no reader needs and all machines share."""
        if not math.isfinite(value):
            return cls(None)
        ends = (None, None) if interval is None else (_rounded(interval.low), _rounded(interval.high))
        return cls(_rounded(value), *ends)


@dataclass(frozen=True)
class JudgeNoise:
    """How far the judge's own runs are apart: the standard deviation of a figure over its runs, and the share of the
    variance behind its interval that a judge without noise would take away. None for one run.

    What such a judge would leave is what the runs have in common: the covariance of two runs over the same resamples.
    """

    sd: float | None
    share: float | None


@dataclass(frozen=True)
class TypeFigures:
    """S_t of one type of question, over `items` scored questions about `clips` clips."""

    type: QuestionType
    items: int
    clips: int
    score: Figure
    noise: JudgeNoise


@dataclass(frozen=True)
class GroupFigures:
    """One UAS; `absent` are its types without a scored question."""

    name: str
    absent: tuple[QuestionType, ...]
    score: Figure
    noise: JudgeNoise


@dataclass(frozen=True)
class ConditionFigures:
    """All figures of one condition.

    `micro` is the mean over all questions. The naive values call 0 what has no score for a failure of the model or of
    the judge's reply: what other harnesses print. `unrefused` is UAS_all without refusals, which count as 0 elsewhere.
    """

    condition: Condition
    types: tuple[TypeFigures, ...]
    groups: tuple[GroupFigures, ...]
    micro: Figure
    naive_uas: float | None
    naive_micro: float | None
    unrefused_uas: float | None
    counts: Counts

    @property
    def uas(self) -> GroupFigures:
        """UAS_all."""
        return self.groups[-1]


@dataclass(frozen=True)
class TypeMeans:
    """S_t [T], its values of each run [T, R], and both in each resample: `drawn` [B, T], where runs were drawn too, and
    `drawn_runs` [B, T, R]. NaN where a type has no score."""

    values: Floats
    runs: Floats
    drawn: Floats
    drawn_runs: Floats


def by_type(scores: Floats, items: Sequence[Item]) -> Floats:
    """Scores [N, ...] as [N, T, ...]: each in the column of its type, NaN elsewhere."""
    out = np.full((len(items), len(QUESTION_TYPES), *scores.shape[1:]), np.nan)
    columns = [QUESTION_TYPES.index(item.type) for item in items]
    out[np.arange(len(items)), columns] = scores
    return out


def type_means(scores: Floats, items: Sequence[Item], resampling: Resampling, seed: int = 0) -> TypeMeans:
    """S_t of scores [N, R]. Each resample draws clips, and the runs with which they are averaged."""
    n, runs = scores.shape
    columns = by_type(scores, items)
    each = resampling.means(columns.reshape(n, -1)).reshape(len(resampling.draws), len(QUESTION_TYPES), runs)
    if runs > 1:
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(runs, np.full(runs, 1 / runs), len(each))[:, None, :]
        there = np.isfinite(each)
        total = (there * weights).sum(-1)
        sums = (np.where(there, each, 0.0) * weights).sum(-1)
        merged = np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)
    else:
        merged = each[:, :, 0]
    values = mean_there(by_type(mean_there(scores), items).T)
    return TypeMeans(values, mean_there(np.moveaxis(columns, 0, 2)), merged, each)


def condition_figures(scored: Scored, items: Sequence[Item], resampling: Resampling) -> ConditionFigures:
    """Types, groups and micro mean of one condition, with the naive values beside."""
    means = type_means(scored.scores, items, resampling)
    own = scored.means
    naive = np.where(scored.failed, 0.0, own)
    refused = {answer.item_id for answer in scored.answers if answer.status == "refused"}
    unrefused = np.where([item.id in refused for item in items], np.nan, own)
    units = resampling.carrying(np.isfinite(own))
    micro = resampling.interval(_mean(own), resampling.means(own[:, None])[:, 0], units)
    return ConditionFigures(
        condition=scored.condition,
        types=tuple(_type(kind, place, means, own, items, resampling) for place, kind in enumerate(QUESTION_TYPES)),
        groups=tuple(_group(name, kinds, means, own, items, resampling) for name, kinds in GROUPS),
        micro=Figure.of(_mean(own), micro),
        naive_uas=_or_none(uas(naive, items)),
        naive_micro=_or_none(_mean(naive)),
        unrefused_uas=_or_none(uas(unrefused, items)),
        counts=scored.counts,
    )


def uas(means: Floats, items: Sequence[Item], kinds: Sequence[QuestionType] = QUESTION_TYPES) -> float:
    """The mean over the types that have a score of the mean of s(q) [N]; NaN where none has."""
    values = mean_there(by_type(means, items).T)
    return _mean(values[[QUESTION_TYPES.index(kind) for kind in kinds]])


def uas_drawn(drawn: Floats, present: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    """The mean over the types that are `present` [T] in each resample [B, T]; NaN where one was not drawn: [B]."""
    if not present.any():
        return np.full(len(drawn), np.nan)
    return np.asarray(drawn[:, present].mean(axis=1), np.float64)


def scarcest(columns: Floats, resampling: Resampling) -> int:
    """The clips that carry the rarest of some types, of columns [N, T]: a mean over types rests on no more."""
    return min((resampling.carrying(np.isfinite(column)) for column in columns.T), default=0)


def _type(
    kind: QuestionType, place: int, means: TypeMeans, own: Floats, items: Sequence[Item], resampling: Resampling
) -> TypeFigures:
    scored = [item.clip_id for item, value in zip(items, own, strict=True) if item.type == kind and np.isfinite(value)]
    value, drawn = float(means.values[place]), means.drawn[:, place]
    figure = Figure.of(value, resampling.interval(value, drawn, len(set(scored))))
    return TypeFigures(
        kind, len(scored), len(set(scored)), figure, _noise(means.runs[place], drawn, means.drawn_runs[:, place])
    )


def _group(
    name: str,
    kinds: Sequence[QuestionType],
    means: TypeMeans,
    own: Floats,
    items: Sequence[Item],
    resampling: Resampling,
) -> GroupFigures:
    places = [QUESTION_TYPES.index(kind) for kind in kinds]
    there = np.isfinite(means.values[places])
    absent = tuple(kind for kind, present in zip(kinds, there, strict=True) if not present)
    value = _mean(means.values[places])
    drawn = uas_drawn(means.drawn[:, places], there)
    if not there.any():
        return GroupFigures(name, absent, Figure(None), JudgeNoise(None, None))
    present = [place for place, is_there in zip(places, there, strict=True) if is_there]
    noise = _noise(means.runs[present].mean(axis=0), drawn, means.drawn_runs[:, present].mean(axis=1))
    units = scarcest(by_type(own, items)[:, present], resampling)
    return GroupFigures(name, absent, Figure.of(value, resampling.interval(value, drawn, units)), noise)


def _noise(runs: Floats, drawn: Floats, drawn_runs: Floats) -> JudgeNoise:
    """From the values of the runs [R], the resampled value [B], and that of each run [B, R]."""
    count = len(runs)
    if count < 2 or not np.isfinite(runs).all():
        return JudgeNoise(None, None)
    sd = _rounded(float(runs.std(ddof=1)))
    seen = np.isfinite(drawn) & np.isfinite(drawn_runs).all(axis=1)
    variance = float(drawn[seen].var()) if seen.sum() > 1 else 0.0
    if variance <= 1e-12:
        return JudgeNoise(sd, None)
    each = drawn_runs[seen]
    in_common = (count**2 * each.mean(axis=1).var() - each.var(axis=0).sum()) / (count * (count - 1))
    return JudgeNoise(sd, _rounded(float(np.clip(1 - in_common / variance, 0, 1))))


def _mean(values: Floats) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else math.nan


def _or_none(value: float) -> float | None:
    return _rounded(value) if math.isfinite(value) else None


def _rounded(value: float) -> float:
    return float(round(value, 10)) + 0.0  # no minus zero
