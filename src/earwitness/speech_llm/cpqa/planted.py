"""The consistency filter where the truth is drawn: labels flipped at random, valence by class (or of no class).

Section 6.4 of the sheet on CPQA. Where valence knows the truth, windows whose wrong label disagrees with it are
dropped, and what is left is better; where it is independent of the truth, nothing can be gained. Dropping alone changes
recalls, as classes are not dropped alike; so as many of each class dropped at random are the fair comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from earwitness.core.config import Config
from earwitness.metrics.classification import confusion
from earwitness.speech_llm.cpqa.classes import LABELLED, SENTIMENTS, Sentiment
from earwitness.speech_llm.cpqa.filters import Thresholds, drop_of_window

BETAS: dict[Sentiment, tuple[float, float]] = {
    "positive": (8.0, 4.0),
    "neutral": (18.0, 22.0),
    "ambiguous": (4.0, 4.0),
    "negative": (4.0, 10.0),
}
"""Of valence in each sentiment: means 0.67, 0.45, 0.5 and 0.29."""
Places = NDArray[np.int64]


class PlantedConfig(Config):
    """`windows` with classes drawn evenly, `flip` of the labels wrong (another class, drawn evenly); `independent`:
    valences are shuffled, so that they know nothing."""

    windows: int = Field(3000, ge=1)
    flip: float = Field(0.4, ge=0, le=1)
    independent: bool = False
    thresholds: Thresholds = Thresholds()


@dataclass(frozen=True)
class Planted:
    """Places in `LABELLED` of truth and label [N], valence [N], which windows the filter keeps [N], and which are left
    where as many of each label are dropped at random [N]."""

    truth: Places
    called: Places
    valence: NDArray[np.float64]
    kept: NDArray[np.bool_]
    at_random: NDArray[np.bool_]

    @property
    def retention(self) -> float:
        """The share of windows that is kept."""
        return float(self.kept.mean())

    @property
    def uwa_all(self) -> float:
        """Of all windows."""
        return uwa(self.truth, self.called)

    @property
    def uwa_kept(self) -> float:
        """Of those that the filter keeps."""
        return uwa(self.truth[self.kept], self.called[self.kept])

    @property
    def uwa_at_random(self) -> float:
        """Of those that are left at random."""
        return uwa(self.truth[self.at_random], self.called[self.at_random])


def plant(config: PlantedConfig, seed: int) -> Planted:
    """One drawing, the same for the same seed."""
    rng = np.random.default_rng(seed)
    size, count = config.windows, len(LABELLED)
    truth = rng.integers(0, count, size)
    wrong = rng.random(size) < config.flip
    called = np.where(wrong, (truth + rng.integers(1, count, size)) % count, truth)
    shapes = np.array([BETAS[SENTIMENTS[name]] for name in LABELLED])[truth]
    valence = rng.beta(shapes[:, 0], shapes[:, 1])
    if config.independent:
        valence = rng.permutation(valence)
    pairs = zip(called, valence, strict=True)
    kept = np.array([drop_of_window(LABELLED[place], float(v), config.thresholds) is None for place, v in pairs])
    return Planted(truth, called, valence, kept, left_at_random(called, kept, rng))


def left_at_random(called: Places, kept: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """As many of each label as are kept, drawn at random."""
    left = np.zeros(len(called), np.bool_)
    for place in np.unique(called):
        rows = np.flatnonzero(called == place)
        left[rng.choice(rows, int(kept[rows].sum()), replace=False)] = True
    return left


def uwa(truth: Places, called: Places) -> float:
    """Mean recall of the classes that occur."""
    return confusion([LABELLED[place] for place in truth], [LABELLED[place] for place in called], LABELLED).ua
