"""Who speaks when: the diarisation error rate, and what it is made of.

    DER = (missed + false alarm + confusion) / reference speech, in seconds of speaking, each speaker counted

Hypothesised names mean nothing by themselves: they are mapped one to one to those of the reference so that the time on
which both agree is largest (Hungarian algorithm). Where R speakers speak in the reference and H in the hypothesis, a
second holds max(0, R - H) of missed speech, max(0, H - R) of false alarm, and min(R, H) less the agreeing pairs of
confusion (NIST RT-09 evaluation plan, section 6). Nothing within `collar_s` of an edge of a reference turn is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats


@dataclass(frozen=True)
class Turn:
    """One speaker speaks from `start_s` to `end_s`. Raises `MetricError` for times that are none."""

    start_s: float
    end_s: float
    speaker: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and self.start_s < self.end_s):
            what = f"a turn from {self.start_s:g} to {self.end_s:g} s"
            raise MetricError(what, where=self.speaker, fix="A turn ends after it starts.")


@dataclass(frozen=True)
class DiarisationErrors:
    """Seconds of speaking: in the reference, missed, said where nobody speaks, and said of another speaker.

    `speakers` and `found` count the voices of reference and hypothesis, whatever the collar leaves of them.
    """

    reference_s: float
    missed_s: float
    false_alarm_s: float
    confusion_s: float
    speakers: int
    found: int

    @property
    def der(self) -> float:
        """The error rate; it can exceed 1."""
        return (self.missed_s + self.false_alarm_s + self.confusion_s) / self.reference_s

    def __add__(self, other: DiarisationErrors) -> DiarisationErrors:
        """Of several recordings together: seconds are added, so that long recordings weigh more; counts too."""
        return DiarisationErrors(
            self.reference_s + other.reference_s,
            self.missed_s + other.missed_s,
            self.false_alarm_s + other.false_alarm_s,
            self.confusion_s + other.confusion_s,
            self.speakers + other.speakers,
            self.found + other.found,
        )


def diarisation_errors(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], collar_s: float = 0.0
) -> DiarisationErrors:
    """The errors of one recording. Raises `MetricError` where the reference holds no speech outside of the collars, or
    the collar is below 0."""
    if not 0 <= collar_s < math.inf:
        raise MetricError(f"a collar of {collar_s:g} s", fix="Give 0 or more.")
    edges = _edges(reference, hypothesis, collar_s)
    seconds = np.diff(edges) * _judged(edges, reference, collar_s)
    spoken, said = _active(edges, reference), _active(edges, hypothesis)
    count, claimed = spoken.sum(axis=0), said.sum(axis=0)
    total = float(seconds @ count)
    if total <= 0:
        raise MetricError("the reference holds no speech to be judged", where="diarisation")
    together = (spoken * seconds) @ said.T
    agreed = float(together[linear_sum_assignment(together, maximize=True)].sum()) if together.size else 0.0
    missed = float(seconds @ np.maximum(0, count - claimed))
    false_alarm = float(seconds @ np.maximum(0, claimed - count))
    confusion = max(0.0, float(seconds @ np.minimum(count, claimed)) - agreed)
    return DiarisationErrors(total, missed, false_alarm, confusion, len(spoken), len(said))


def _edges(reference: Sequence[Turn], hypothesis: Sequence[Turn], collar_s: float) -> Floats:
    """All moments at which anything changes, in order."""
    moments = [moment for turn in (*reference, *hypothesis) for moment in (turn.start_s, turn.end_s)]
    given = [edge for turn in reference for edge in (turn.start_s, turn.end_s)]
    moments += [edge + side for edge in given for side in (-collar_s, collar_s)]
    return np.unique(np.array(moments, np.float64))


def _judged(edges: Floats, reference: Iterable[Turn], collar_s: float) -> NDArray[np.bool_]:
    """Of the stretches between edges, those that lie in no collar."""
    middles = (edges[1:] + edges[:-1]) / 2
    judged = np.ones(len(middles), np.bool_)
    for turn in reference:
        for edge in (turn.start_s, turn.end_s):
            judged &= np.abs(middles - edge) >= collar_s
    return judged


def _active(edges: Floats, turns: Sequence[Turn]) -> NDArray[np.float64]:
    """[speakers, stretches]: 1 where a speaker speaks; turns of one speaker that overlap count once."""
    names = sorted({turn.speaker for turn in turns})
    middles = (edges[1:] + edges[:-1]) / 2
    active = np.zeros((len(names), len(middles)))
    for turn in turns:
        active[names.index(turn.speaker), (turn.start_s < middles) & (middles < turn.end_s)] = 1
    return active
