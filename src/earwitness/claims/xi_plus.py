"""xi+'s claim (arXiv 2509.05993, rebuilt): a precision a frame, in context and held to the error that it should
predict, makes better voice prints than attention; and the variance that comes of it says how far a print is off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from earwitness.claims.plan import Arm, Expected, Figure, Plan
from earwitness.claims.speaker_learning import LearntVoices, SpeakerClaim, cosines, embedded, speaker_base
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.nn.types import Embedding
from earwitness.speaker.uncertainty import factors

ATTENTION = "network.branches.0.pooling.attention=full"
HELD = "variance_loss={first_epoch: 2, full_epoch: 3, weight: 0.5, centroids: moving}"
SHORT = 100  # frames


def conservative(first: Embedding, second: Embedding) -> NDArray[np.float64]:
    """The cosine, less for prints that are uncertain (ours); the released correction goes the other way."""
    scores = cosines(first, second)
    for side in (first, second):
        assert side.variance is not None
        scores = scores * factors("conservative", side.mean.numpy(), side.variance.numpy())
    return scores


def told_of_variance(learnt: LearntVoices, material: SpeakerMaterial) -> tuple[Figure, ...]:
    """Rank correlations, over test recordings, of the mean deviation with the distance to the centroid of the
    speaker's other recordings; and how much larger the variance is of one second than of four."""
    mean, variance = learnt.embedding.mean.numpy(), learnt.embedding.variance
    if variance is None:
        return ()
    speakers = material.speakers[learnt.rows]
    deviation = variance.sqrt().mean(dim=1).numpy()
    off = np.full(len(mean), np.nan)
    for row, name in enumerate(speakers):
        others = (speakers == name) & (np.arange(len(speakers)) != row)
        if others.any():
            off[row] = np.abs(mean[row] - mean[others].mean(axis=0)).mean()
    known = np.isfinite(off)
    short = material.spectra()[:, :SHORT]
    shorter = embedded(learnt.network, short, learnt.rows).variance
    assert shorter is not None
    return (
        Figure("deviation with distance to the centroid, rank correlation", _rank(deviation[known], off[known])),
        Figure("variance of 1 s over that of 4 s", float((shorter.mean(dim=1) / variance.mean(dim=1)).median())),
        Figure("deviation under noise over clean", _noisy(learnt, material)),
    )


def _rank(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(spearmanr(first, second).statistic)


def _noisy(learnt: LearntVoices, material: SpeakerMaterial) -> float:
    """The deviation in the first perturbed view over that of the recording as it is: the median over recordings."""
    perturbed = embedded(learnt.network, material.spectra(1), learnt.rows).variance
    assert perturbed is not None
    assert learnt.embedding.variance is not None
    return float((perturbed.sqrt().mean(dim=1) / learnt.embedding.variance.sqrt().mean(dim=1)).median())


CLAIM = SpeakerClaim(
    Plan(
        name="xi-plus",
        source="arXiv 2509.05993 and 2108.05679, a reconstruction",
        statement="Frames weighed by their precision make better voice prints, the more so in context and supervised.",
        arms=(
            Arm("statistics", "mean and deviation over frames"),
            Arm("attentive", "attentive statistics"),
            Arm("xi", "Gaussian posterior of the frames, each with its precision"),
            Arm("xi-attention", "the same, precisions in context"),
            Arm("xi-variance-loss", "the same as xi, the variance held to the distance from the speaker's centroid"),
            Arm("xi-plus", "both: in context and held"),
            Arm("xi-plus-conservative", "xi-plus, the cosine lowered where prints are uncertain (ours)"),
        ),
        expected=(
            Expected("xi", "attentive", "xi beats attentive statistics"),
            Expected("xi-plus", "xi", "xi+ beats xi"),
            Expected("xi-attention", "xi", "precisions in context help"),
            Expected("xi-variance-loss", "xi", "supervising the variance helps"),
            Expected("xi-plus-conservative", "xi-plus", "the variance helps the score"),
        ),
        notes=(
            "Network: ECAPA-TDNN of 64 channels trained from scratch on about 300 speakers, not of 512 on VoxCeleb2; "
            "no score normalisation.",
            "The variance loss begins in the second of four epochs; centroids are moving averages.",
            "Variances are heard in whole recordings of 4 s. A rank correlation of 0 means that the stated deviation "
            "tells nothing of how far a print is off.",
        ),
    ),
    recipe=speaker_base({"kind": "statistics"}),
    arms={
        "statistics": (),
        "attentive": ("network.branches.0.pooling={kind: attentive_statistics, form: ws}",),
        "xi": ("network.branches.0.pooling={kind: posterior}",),
        "xi-attention": ("network.branches.0.pooling={kind: posterior}", ATTENTION),
        "xi-variance-loss": ("network.branches.0.pooling={kind: posterior}", HELD),
        "xi-plus": ("network.branches.0.pooling={kind: posterior}", ATTENTION, HELD),
        "xi-plus-conservative": ("network.branches.0.pooling={kind: posterior}", ATTENTION, HELD),
    },
    scored_by={"xi-plus-conservative": conservative},
    told=told_of_variance,
)
