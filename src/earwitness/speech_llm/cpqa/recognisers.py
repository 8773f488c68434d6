"""What a recogniser of emotions is to the condensation, and how several become one.

Both kinds hear windows of equal length at 16 kHz. Those of others lie in `checkpoints`; the package's own model is
handed in from above (`evaluation.recognising`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.speech_llm.cpqa.classes import CLASSES, SENTIMENTS, Emotion, Sentiment

Floats = NDArray[np.float64]
Waveforms = NDArray[np.float32]  # [B, N], 16 kHz, [-1, 1]
Rule = Literal["mean", "majority"]
DIMENSIONS = ("valence", "arousal", "dominance")


class CategoricalRecogniser(Protocol):
    """`id` names the model and its weights; probabilities are over `CLASSES`, 0 for classes that it does not know."""

    @property
    def id(self) -> str: ...

    def probabilities(self, windows: Waveforms) -> Floats:
        """[B, N] -> [B, 9], rows sum to 1."""
        ...


class DimensionalRecogniser(Protocol):
    """`id` names the model and its weights; dimensions are `DIMENSIONS`, about 0..1, NaN where it does not know one."""

    @property
    def id(self) -> str: ...

    def dimensions(self, windows: Waveforms, probabilities: Floats) -> Floats:
        """[B, N], and the joined class probabilities [B, 9] of the same windows -> [B, 3]."""
        ...


def joined(members: Sequence[Floats], rule: Rule = "mean") -> Floats:
    """Probabilities of M recognisers, each [B, 9], as one [B, 9]: their mean; or `majority`: 1 for the class that more
    than half of them prefer, else for `unknown`. The published rule was not found."""
    stacked = np.stack(members)
    if rule == "mean":
        return np.asarray(stacked.mean(axis=0))
    votes = np.eye(len(CLASSES))[stacked.argmax(axis=2)].sum(axis=0)
    winner = np.where(votes.max(axis=1) * 2 > len(members), votes.argmax(axis=1), CLASSES.index("unknown"))
    return np.asarray(np.eye(len(CLASSES))[winner])


VALENCES: dict[Sentiment, float] = {"positive": 1.0, "neutral": 0.45, "ambiguous": 0.45, "negative": 0.0}


class ValenceFromClasses:
    """`valence_from_classes`, a reconstruction of ours for where no valence model is at hand: the expected valence of
    the class probabilities, 1 for positive, 0.45 (the middle of the neutral band) for neutral and ambiguous, 0 for
    negative classes.

    It hears nothing of its own, so to ask whether it agrees with the class is circular: the consistency filter then
    is one of confidence, no more.
    """

    id = "valence_from_classes"

    def dimensions(self, windows: Waveforms, probabilities: Floats) -> Floats:
        """Valence [B, 3] with arousal and dominance NaN; all NaN where no class with a sentiment has a share."""
        known = np.array([name in SENTIMENTS for name in CLASSES])
        values = np.array([VALENCES[SENTIMENTS[name]] if name in SENTIMENTS else 0.0 for name in CLASSES])
        shares = probabilities[:, known].sum(axis=1)
        found = np.full((len(probabilities), 3), np.nan)
        some = shares > 0
        found[some, 0] = probabilities[some] @ values / shares[some]
        return found


def called(probabilities: Floats) -> list[Emotion]:
    """The likeliest class of each row [B, 9]."""
    return [CLASSES[place] for place in probabilities.argmax(axis=1)]
