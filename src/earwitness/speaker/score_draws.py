"""What two voice prints' own uncertainty leaves open of their score.

Both embeddings are drawn again and again from N(e, s v), v being the variance that the network states and s the scale
by which held-out speakers' embeddings were found to vary more than it says (never below 1). The 95 % spread of the
drawn scores about their median is laid around the score itself: noise in many dimensions shortens every cosine, and
that shift is none of this pair's. How the score differs between recordings of one speaker is in the calibration
already; so an interval that covers both errs on the wide side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.embedder import Embedder, VoicePrint, stacked_variances
from earwitness.training.model_folder import ModelInfo

DRAWS = 200
VARIANCE_SCALE = "variance_scale"  # where a model's description keeps s


def scale_of(info: ModelInfo) -> float:
    """s of a model: 1 where it was not measured, or where the stated variance is large enough."""
    found = info.extra.get(VARIANCE_SCALE)
    return max(1.0, float(found)) if isinstance(found, int | float) else 1.0


def score_interval(embedder: Embedder, enrolment: Sequence[VoicePrint], test: VoicePrint) -> tuple[float, float] | None:
    """The scores between which 95 % of what the prints may mean lies, around their own; None where a print states no
    variance. The same prints give the same interval."""
    known = stacked_variances(enrolment)
    if known is None or test.variance is None:
        return None
    rng, scale = np.random.default_rng(0), scale_of(embedder.info)
    tests = _drawn(test, rng, scale)
    models = unit(np.mean([_drawn(print_, rng, scale) for print_ in enrolment], axis=0))
    variances = (np.broadcast_to(known.mean(axis=0), models.shape), np.broadcast_to(test.variance, tests.shape))
    drawn = embedder.comparator.pairs(models, tests, variances)
    low, middle, high = np.percentile(drawn, [2.5, 50, 97.5])
    score = embedder.compare(enrolment, test)
    return score - float(middle - low), score + float(high - middle)


def _drawn(print_: VoicePrint, rng: np.random.Generator, scale: float) -> Vectors:
    """Unit vectors [DRAWS, D] of what the embedding may be."""
    assert print_.variance is not None
    deviation = np.sqrt(scale * print_.variance.astype(np.float64))
    noise = rng.standard_normal((DRAWS, len(deviation))) * deviation
    return unit(np.asarray(print_.norm * print_.vector + noise, np.float32))
