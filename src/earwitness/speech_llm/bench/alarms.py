"""Signs that a score does not mean what it seems to: the audio never arrived, was cut, or the judge likes length.

The thresholds are ours. An alarm is a reason to look, not a proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.metrics.resampled import Resampling
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.bench.figures import Figure
from earwitness.speech_llm.bench.records import AnswerRecord
from earwitness.speech_llm.bench.scores import Run, Scored
from earwitness.speech_llm.bench.settings import DEAF
from earwitness.speech_llm.items import Item

IDENTICAL = 0.9  # share of answers to one question that are the same text, above which it is an alarm
LEAST_CLIPS = 5  # to which one question was put; among fewer the same answer is no sign of anything
CUT_S = 0.1  # seconds less than the recording has are a cut


@dataclass(frozen=True)
class IdenticalAnswers:
    """One question put to several clips and answered alike, though the references differ."""

    question: str
    clips: int
    share: float
    answer: str


@dataclass(frozen=True)
class SameAsControl:
    """Share of the answers that are word for word the same without the clip, of `answers` that can be compared."""

    control: str
    answers: int
    share: float


@dataclass(frozen=True)
class Heard:
    """How much of the recordings reached the model, over the answers: seconds, and in how many something was cut."""

    answers: int
    seconds_heard: float
    seconds_total: float
    cut: int


@dataclass(frozen=True)
class LengthBias:
    """Spearman's correlation of an answer's number of words with its score: a judge that likes length, or longer
    answers that are better. The ranks are those of the whole set in every resample."""

    answers: int
    correlation: Figure


def identical_answers(scored: Scored, items: Sequence[Item]) -> tuple[IdenticalAnswers, ...]:
    """The questions, word for word the same, to which over 90 % of the answers about different clips are one text.

    Not those whose references are one text as often: there the same answer may be right.
    """
    by_id = {item.id: item for item in items}
    groups: dict[str, dict[str, tuple[str, str]]] = {}
    for answer in sorted(scored.answers, key=lambda one: (one.item_id, one.sample)):
        if answer.status == "ok":
            item = by_id[answer.item_id]
            said = (_normal(answer.text or ""), _normal(item.answer))
            groups.setdefault(_normal(item.question), {}).setdefault(item.clip_id, said)
    found = []
    for question, by_clip in sorted(groups.items()):
        text, share = _commonest([answer for answer, _ in by_clip.values()])
        _, expected = _commonest([reference for _, reference in by_clip.values()])
        if len(by_clip) >= LEAST_CLIPS and share > IDENTICAL >= expected:
            found.append(IdenticalAnswers(question, len(by_clip), round(share, 6), text))
    return tuple(found)


def same_as_controls(run: Run) -> tuple[SameAsControl, ...]:
    """For each control in which the clip is not heard: how often the answer is the same with it."""
    real = _texts(run.real.answers)
    found = []
    for name in DEAF:
        if name in run.conditions:
            other = _texts(run.conditions[name].answers)
            both = sorted(real.keys() & other.keys())
            same = sum(real[place] == other[place] for place in both)
            if both:
                found.append(SameAsControl(name, len(both), round(same / len(both), 6)))
    return tuple(found)


def heard(scored: Scored) -> Heard:
    """Over the answers that are there, refusals too."""
    answers = [answer for answer in scored.answers if answer.status in ("ok", "refused")]
    return Heard(
        answers=len(answers),
        seconds_heard=round(sum(answer.seconds_heard for answer in answers), 3),
        seconds_total=round(sum(answer.seconds_total for answer in answers), 3),
        cut=sum(answer.seconds_total - answer.seconds_heard > CUT_S for answer in answers),
    )


def length_bias(run: Run, resampling: Resampling) -> LengthBias | None:
    """None where fewer than three answers have a score, or all scores or lengths are equal."""
    words: dict[str, list[int]] = {}
    for answer in run.real.answers:
        if answer.status == "ok":
            words.setdefault(answer.item_id, []).append(len((answer.text or "").split()))
    lengths = np.array([np.mean(words[item.id]) if item.id in words else np.nan for item in run.items])
    there = np.isfinite(lengths) & np.isfinite(run.real.means)
    if there.sum() < 3:
        return None
    value, drawn = correlations(_ranked(lengths, there), _ranked(run.real.means, there), resampling)
    if not np.isfinite(value):
        return None
    return LengthBias(int(there.sum()), Figure.of(value, resampling.interval(value, drawn, resampling.carrying(there))))


def correlations(first: Floats, second: Floats, resampling: Resampling) -> tuple[float, Floats]:
    """Pearson's correlation of two columns [N] (NaN: not there), and in each resample [B]; NaN where undefined."""
    there = np.isfinite(first) & np.isfinite(second)
    x = np.where(there, first - np.mean(first[there]), 0.0) if there.any() else np.zeros(len(first))
    y = np.where(there, second - np.mean(second[there]), 0.0) if there.any() else np.zeros(len(second))
    rows = np.stack([there.astype(np.float64), x, y, x * x, y * y, x * y], axis=1)
    drawn = resampling.sums(rows)
    return float(_pearson(rows.sum(axis=0)[None])[0]), _pearson(drawn)


def _pearson(sums: Floats) -> Floats:
    n, x, y, xx, yy, xy = np.maximum(sums[:, 0], 1), *sums[:, 1:].T
    spread = (xx - x * x / n) * (yy - y * y / n)
    exact = spread > 1e-12 * np.maximum(xx * yy, 1e-300)  # what is less is a constant, up to rounding
    root = np.sqrt(np.where(exact, spread, 1.0))
    return np.where(exact, np.clip((xy - x * y / n) / root, -1, 1), np.nan)


def ranks(values: Floats) -> Floats:
    """Mean ranks of the values that are not NaN, [N]."""
    return _ranked(values, np.isfinite(values))


def _ranked(values: Floats, there: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    from scipy.stats import rankdata

    out = np.full(len(values), np.nan)
    out[there] = rankdata(values[there])
    return out


def _texts(answers: Sequence[AnswerRecord]) -> dict[tuple[str, int], str]:
    return {(one.item_id, one.sample): _normal(one.text or "") for one in answers if one.status == "ok"}


def _commonest(texts: Sequence[str]) -> tuple[str, float]:
    """The most frequent text (of several the first by the alphabet) and its share."""
    text, count = min(Counter(texts).items(), key=lambda entry: (-entry[1], entry[0]))
    return text, count / len(texts)


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()
