"""Known voices by name: whose is this one, or is it none of theirs? (open-set identification)

Every name is compared by the model's own comparison, one matrix product for all; nothing is approximate, and a gallery
of one name gives what a reference gives.

**The best of many.** The best of N candidates scores high by chance the more often the larger N is. A calibrated ratio
of t or more befalls a stranger in at most 1 of t cases (E[LR] = 1 for strangers, Markov's inequality), so the best of N
strangers reaches it in up to N of t. What is weighed here is therefore "it is one of these N" against "it is none":
with every name as likely as the others beforehand its ratio is the mean of the N ratios,

    LR(one of N) = 1/N sum_i LR_i >= max_i LR_i / N

and a candidate's own share of it, LR_i / N, is printed beside the ratio of i alone. So N names cost ln N of strength; a
calibration that cannot support a ratio of 2 N can name nobody among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DataError
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Comparator, Scores, Vectors, enrol
from earwitness.training.calibration import Calibration, ConditionName, Ratio, Ratios

APART = 10.0  # ratio against one voice, between two recordings of a name: probably two
MOST_APART = 100.0  # the same where the name has many recordings, whose pairs are as many chances
ALIKE_LLR = math.log(10)  # between two names: probably one voice
MOST_RANKED = 1_000  # names that are put in order
MOST_PAIRED = 5_000  # names that are compared with each other; all pairs of more would take minutes

Conditions = tuple[ConditionName, ...]


@dataclass(frozen=True)
class KnownVoice:
    """A name with the unit voice prints [n, D] of its recordings, and the conditions that any of them is in."""

    name: str
    prints: Vectors
    conditions: Conditions = ()


@dataclass(frozen=True)
class Candidates:
    """What a gallery says of one voice.

    `scores` and `ratios` of every name in the gallery's order; `order`: places of the best 1,000 from the best on (by
    ratio, then score). `one_of` weighs "it is one of them" against "it is none"; see the module's text.
    """

    scores: Scores
    ratios: Ratios
    order: NDArray[np.int64]
    one_of: Ratio

    @property
    def correction(self) -> float:
        """ln N: what choosing the best of N costs."""
        return math.log(len(self.scores))


@dataclass(frozen=True)
class Doubts:
    """What is odd about a gallery: `split` are names that seem to hold two voices (with their least log ratio),
    `twins` pairs of names that seem to be one (with theirs), the strongest first. `unpaired` where the names were too
    many to be compared with each other."""

    split: tuple[tuple[str, float], ...]
    twins: tuple[tuple[str, str, float], ...]
    unpaired: bool = False


class Gallery:
    """Any number of known voices. Raises `DataError` for none, and for a name that stands there twice."""

    def __init__(self, voices: Sequence[KnownVoice], comparator: Comparator) -> None:
        names = [voice.name for voice in voices]
        if not voices or len(set(names)) < len(names):
            raise DataError(f"{len(names)} known voices of {len(set(names))} names", fix="Give each name once.")
        self.voices = tuple(voices)
        self.comparator = comparator
        self._side = comparator.side(np.stack([enrol(voice.prints) for voice in voices]))
        places: dict[Conditions, list[int]] = {}
        for place, voice in enumerate(voices):
            places.setdefault(voice.conditions, []).append(place)
        self._in_conditions = {present: np.array(found) for present, found in places.items()}

    def __len__(self) -> int:
        return len(self.voices)

    def scores(self, vectors: Vectors) -> Scores:
        """Of voice prints [n, D] with every name, [n, N]."""
        return self.comparator.every(self.comparator.side(vectors), self._side)

    def candidates(self, vector: Vectors, calibration: Calibration, conditions: Conditions = ()) -> Candidates:
        """Of one voice print [D], whose recording is in `conditions`."""
        return self.weighed(self.scores(vector[None])[0], calibration, conditions)

    def weighed(self, scores: Scores, calibration: Calibration, conditions: Conditions = ()) -> Candidates:
        """Scores [N] with every name, as ratios; each name under the conditions of either side."""
        columns = [np.empty(len(scores)) for _ in range(5)]
        for own, places in self._in_conditions.items():
            found = calibration.ratios(scores[places], tuple({*own, *conditions}))
            parts = (found.llr, found.low, found.high, found.least, found.most)
            for column, values in zip(columns, parts, strict=True):
                column[places] = values
        ratios = Ratios(*columns)
        return Candidates(scores, ratios, _best(ratios.llr, scores), one_of(ratios, conditions))

    def doubts(self, calibration: Calibration) -> Doubts:
        """Names that seem to hold two voices, and voices that seem to have two names."""
        split = [
            (voice.name, least)
            for voice in self.voices
            if len(voice.prints) > 1 and (least := self._least(voice, calibration)) <= apart_llr(len(voice.prints))
        ]
        if len(self) > MOST_PAIRED:
            return Doubts(tuple(sorted(split, key=lambda found: found[1])), (), unpaired=True)
        llrs = calibration.conditions[0].llrs(self.comparator.every(self._side, self._side))
        pairs = np.argwhere(np.triu(llrs >= ALIKE_LLR, k=1))
        twins = [(self.voices[a].name, self.voices[b].name, float(llrs[a, b])) for a, b in pairs.tolist()]
        return Doubts(
            tuple(sorted(split, key=lambda found: found[1])), tuple(sorted(twins, key=lambda found: -found[2]))
        )

    def _least(self, voice: KnownVoice, calibration: Calibration) -> float:
        """The lowest log ratio between two recordings of a name."""
        side = self.comparator.side(voice.prints)
        llrs = calibration.conditions[0].llrs(self.comparator.every(side, side))
        return float(llrs[np.triu_indices(len(llrs), k=1)].min())


def apart_llr(recordings: int) -> float:
    """The log ratio between any two of a name's recordings below which they are probably of two voices: that of 1 / 10
    for two recordings; of more the lowest of all pairs is taken, which is the lower the more there are."""
    return -math.log(min(APART * math.comb(recordings, 2), MOST_APART))


def one_of(ratios: Ratios, conditions: Conditions = ()) -> Ratio:
    """The ratio of "it is one of these" against "it is none of them": the mean, with the means of the limits as its
    interval. It is bounded by all ratios at their least, and by one at its most with the others at their least."""
    count = len(ratios.llr)
    least = np.exp(ratios.least)
    most = math.log(float((least.sum() + (np.exp(ratios.most) - least).max()) / count))
    bounds = (math.log(float(least.mean())), most)
    llr, low, high = (math.log(float(np.exp(values).mean())) for values in (ratios.llr, ratios.low, ratios.high))
    return Ratio(float(np.clip(llr, *bounds)), max(low, bounds[0]), min(high, bounds[1]), bounds, conditions)


def _best(llrs: Floats, scores: Scores) -> NDArray[np.int64]:
    """The places of the `MOST_RANKED` best by ratio, then score; ties at the last one are by score too."""
    places = np.arange(len(llrs))
    if len(llrs) > MOST_RANKED:
        places = np.flatnonzero(llrs >= np.partition(llrs, -MOST_RANKED)[-MOST_RANKED])
    return places[np.lexsort((-scores[places], -llrs[places]))][:MOST_RANKED].astype(np.int64)


def largest_gallery(calibration: Calibration, least_llr: float) -> int:
    """With how many names at most the calibration can still say that it is one of them, at its strongest: LR / N."""
    return int(math.exp(calibration.conditions[0].high - least_llr))


def shares(ratios: Ratios) -> Floats:
    """Of "it is one of them", the share that speaks for each, [N]: with all of them as likely beforehand."""
    weights = np.exp(ratios.llr - ratios.llr.max())
    return np.asarray(weights / weights.sum())
