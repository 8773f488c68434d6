"""Who learns from what, and who is judged on what: rules that write the column `split`.

    split(manifest, DetectionSplit(test_families=("istftnet",), shared_voices=("lj",)))

A rule is one file here and one line in `SplitConfig`. All rules are deterministic: the draw is a hash of seed and name.
`FoldSplit` is no such rule: it puts rows into folds instead of on sides.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.by_column import ByColumn
from earwitness.corpora.splits.detection import DetectionSplit
from earwitness.corpora.splits.folds import Folds, FoldSplit
from earwitness.corpora.splits.given_folds import GivenFolds
from earwitness.corpora.splits.grouping import NON_COMMERCIAL, exclude_licences
from earwitness.corpora.splits.speaker import SpeakerSplit

SplitConfig = Annotated[ByColumn | DetectionSplit | GivenFolds | SpeakerSplit, Field(discriminator="kind")]


def split(manifest: Manifest, config: ByColumn | DetectionSplit | GivenFolds | SpeakerSplit) -> Manifest:
    """The manifest with `split` set; rows on no side have null, and the reason in `left_out`. Raises `DataError`."""
    return config.split(manifest)


__all__ = [
    "NON_COMMERCIAL",
    "ByColumn",
    "DetectionSplit",
    "FoldSplit",
    "Folds",
    "GivenFolds",
    "SpeakerSplit",
    "SplitConfig",
    "exclude_licences",
    "split",
]
