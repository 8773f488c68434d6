"""A cohort of one's own: recordings of other speakers, against which scores of trials are normalised, or from which a
PLDA learns what differs between speakers and what within."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.scoring.trials import speaker_of
from earwitness.speaker.comparison import Cohort, Comparator, Vectors, enrol
from earwitness.speaker.identities import speaker_keys
from earwitness.speaker.plda_comparison import PldaComparator

BackEnd = Literal["cosine", "plda"]

FEWEST = 2  # speakers: one has no spread
FEW = 50  # speakers below which a note says so


@dataclass(frozen=True)
class CohortOptions:
    """Normalise by these recordings instead of the model's own cohort: each speaker's mean, the `top` nearest on each
    side. With `subtract_mean` the mean of all cohort speakers is taken from every embedding first.

    With the back end `plda` they train a PLDA instead, which needs several recordings of most speakers.
    """

    manifest: Manifest
    top: int = 300
    subtract_mean: bool = False
    back_end: BackEnd = "cosine"

    @cached_property
    def speakers(self) -> list[str]:
        """The speaker of every row. Raises `DataError` where one is not known."""
        found = []
        for row in self.manifest.rows():
            if (speaker := speaker_of(row)) is None:
                fix = "Fill in the column `speaker`."
                raise DataError("has no speaker, and a cohort is one of speakers", where=row.id, fix=fix)
            found.append(speaker)
        return found

    def unheard(self) -> Cohort:
        """Who is in the cohort, before anything of it was heard. Raises `DataError` where they are too few."""
        count = len(set(self.speakers))
        if count < FEWEST:
            what = f"the cohort has {count} speaker(s), too few to normalise by"
            raise DataError(what, where="--cohort", fix="Give recordings of hundreds of speakers.")
        return Cohort(np.empty((0, 0), np.float32), self.top, frozenset(speaker_keys(self.speakers)))

    def note(self) -> str | None:
        """What must be said of a small cohort; None for a large one."""
        count = len(set(self.speakers))
        if count >= (FEW if self.back_end == "plda" else min(FEW, self.top)):
            return None
        if self.back_end == "plda":
            return f"the PLDA learns from only {count} speakers: such scores are rough"
        return f"the cohort has only {count} speakers, and all of them count on each side: such scores are rough"

    def comparator(self, vectors: Vectors, variances: Vectors | None = None) -> Comparator:
        """AS-norm against each speaker's mean; `vectors` [n, D] are the voice prints of the rows, `variances` theirs
        where the model states any."""
        speaker = np.array(self.speakers)
        names = sorted(set(self.speakers))
        means = np.stack([enrol(vectors[speaker == name]) for name in names])
        mean = means.mean(axis=0) if self.subtract_mean else None
        doubt = None if variances is None else np.stack([variances[speaker == n].mean(axis=0) for n in names])
        return Comparator(Cohort(means, self.top, frozenset(speaker_keys(names)), variances=doubt), mean)

    def plda(self, vectors: Vectors) -> PldaComparator:
        """A PLDA that learnt from the voice prints [n, D] of the rows. Raises `DataError` where they are too few."""
        return PldaComparator.fit(vectors, self.speakers)
