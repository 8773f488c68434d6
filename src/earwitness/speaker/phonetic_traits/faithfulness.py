"""Whether an explanation is faithful (as PhiNet tests it, arXiv 2604.01590): a phone that is said to matter must cost
errors when its similarity is set to 0, and much the same when its sound is cut out of the audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics.detection import eer
from earwitness.speaker.phonetic_traits.comparing import Flags, Floats, Similarities, TraitPrint
from earwitness.speaker.phonetic_traits.scoring import scores_of
from earwitness.speaker.phonetic_traits.verifier import TraitVerifier

Hear = Callable[[TraitVerifier], Sequence[TraitPrint]]
"""Hears the recordings of the trials, in their order, by a verifier."""


@dataclass(frozen=True)
class Faithfulness:
    """A phone's part: EERs (shares) with everything, with its similarity at 0, and with its sound cut out."""

    phone: str
    eer: float
    eer_without_similarity: float
    eer_without_sound: float


def faithfulness(
    verifier: TraitVerifier,
    hear: Hear,
    enrol: NDArray[np.int64],
    test: NDArray[np.int64],
    same: Flags,
    phones: Sequence[str],
) -> tuple[Faithfulness, ...]:
    """Of these phones, over trials between the recordings that `hear` hears; all are heard again for each phone.

    PhiNet is judged by its score, ExPO by the evidence score, whose explanation it is. Raises `MetricError` where a
    class of trials is missing.
    """
    prints = hear(verifier)
    whole = _Trials(verifier, prints, enrol, test)
    found = verifier.compare(prints, enrol, test)[1]
    rows = []
    for phone in phones:
        place = verifier.phones.inventory.index(phone)
        cut = hear(verifier.with_phone_removed(phone))
        rows.append(
            Faithfulness(
                phone,
                _eer(whole.values(found), same),
                _eer(whole.values(without(found, place)), same),
                _eer(_Trials(verifier, cut, enrol, test).values(verifier.compare(cut, enrol, test)[1]), same),
            )
        )
    return tuple(rows)


def without(found: Similarities, place: int) -> Similarities:
    """The same trials as if nobody had said a phone."""
    values, shared = found.values.copy(), found.shared.copy()
    values[:, place], shared[:, place] = 0.0, False
    return replace(found, values=values, shared=shared)


@dataclass(frozen=True)
class _Trials:
    verifier: TraitVerifier
    prints: Sequence[TraitPrint]
    enrol: NDArray[np.int64]
    test: NDArray[np.int64]

    def values(self, found: Similarities) -> Floats:
        """What is explained: PhiNet's score of these similarities, or the evidence score."""
        network = self.verifier.network
        if network.head is None:
            return found.evidence
        return scores_of(network, self.prints, self.enrol, self.test, found)


def _eer(values: Floats, same: Flags) -> float:
    there = np.isfinite(values)
    return eer(values[there & same], values[there & ~same]).value
