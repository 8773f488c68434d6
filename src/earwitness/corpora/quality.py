"""Quality levels of bona fide speech, 0 the lowest, as QAMO (arXiv 2509.20679) learns by them.

    mos            the number of thresholds that a row's predicted MOS reaches; one lower when augmented (published)
    augmentation   the highest level; one lower when augmented: the control arm without any MOS
    column         as mos, from a numeric column of the manifest
    quantile       as mos, with thresholds at quantiles of the training rows' own MOS
    random         drawn anew for each row and epoch by fixed shares: the control arm without any meaning

No MOS is predicted for augmented audio: its level follows from that of the row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from earwitness.audio.perturb.base import item_rng
from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest


@dataclass(frozen=True)
class QualityLevels:
    """The level of each row by its id, of `count`; rows that are not in `rows` have none (-1).

    `lowered`: an augmented utterance stands one level lower, not below 0. With `shares` levels are drawn instead.
    """

    count: int
    rows: Mapping[str, int] = field(default_factory=dict)
    lowered: bool = True
    shares: tuple[float, ...] = ()
    seed: int = 0

    def of(self, row: str, augmented: bool, epoch: int = 0) -> int:
        """The level of an utterance of this row."""
        level = self.rows.get(row, -1)
        if level < 0:
            return -1
        if self.shares:
            return int(item_rng(self.seed, epoch, f"quality of {row}").choice(self.count, p=self.shares))
        return max(0, level - 1) if augmented and self.lowered else level


class _Source(Config):
    """Where levels come from. `count` is how many there are."""

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of levels."""

    @property
    def estimator(self) -> str | None:
        """The predictor whose MOS the rows need, or None."""
        return None

    @abstractmethod
    def levels(self, bona_fide: Manifest, mos: Mapping[str, float], seed: int = 0) -> QualityLevels:
        """The levels of bona fide rows; `mos` by row id, complete where there is an `estimator`. Raises `DataError`."""


class _Thresholds(_Source):
    """Ascending MOS thresholds; a MOS at a threshold has reached it."""

    thresholds: tuple[float, ...] = Field((2.5,))

    @model_validator(mode="after")
    def _ascending(self) -> _Thresholds:
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("thresholds ascend")
        return self

    @property
    def count(self) -> int:
        return len(self.thresholds) + 1


class MosLevels(_Thresholds):
    """By a predicted MOS."""

    source: Literal["mos"] = "mos"
    predictor: str = "dnsmos"

    @property
    def estimator(self) -> str | None:
        return self.predictor

    def levels(self, bona_fide: Manifest, mos: Mapping[str, float], seed: int = 0) -> QualityLevels:
        return QualityLevels(self.count, _reached(mos, self.thresholds))


class QuantileLevels(_Source):
    """By a predicted MOS, with thresholds at quantiles of the rows' own."""

    source: Literal["quantile"] = "quantile"
    quantiles: tuple[float, ...] = Field((0.5,), min_length=1)
    predictor: str = "dnsmos"

    @model_validator(mode="after")
    def _ascending(self) -> QuantileLevels:
        if list(self.quantiles) != sorted(set(self.quantiles)) or not 0 < self.quantiles[0] <= self.quantiles[-1] < 1:
            raise ValueError("quantiles ascend and lie between 0 and 1")
        return self

    @property
    def count(self) -> int:
        return len(self.quantiles) + 1

    @property
    def estimator(self) -> str | None:
        return self.predictor

    def levels(self, bona_fide: Manifest, mos: Mapping[str, float], seed: int = 0) -> QualityLevels:
        thresholds = np.quantile(np.array(list(mos.values())), self.quantiles)
        return QualityLevels(self.count, _reached(mos, thresholds.tolist()))


class ColumnLevels(_Thresholds):
    """By a numeric column of the manifest."""

    source: Literal["column"] = "column"
    column: str = "mos"

    def levels(self, bona_fide: Manifest, mos: Mapping[str, float], seed: int = 0) -> QualityLevels:
        table, fix = bona_fide.table, "Fill it, or take levels from another source."
        if self.column not in table.columns:
            raise DataError(f"the manifest has no column '{self.column}' with the quality of its rows", fix=fix)
        values = table[self.column].cast(pl.Float64, strict=False)
        if values.null_count():
            row = table["id"][int(values.is_null().arg_max() or 0)]
            raise DataError(f"has no number in column '{self.column}'", where=row, fix=fix)
        return QualityLevels(self.count, _reached(dict(zip(table["id"], values, strict=True)), self.thresholds))


class AugmentationLevels(_Source):
    """High as it is, low when augmented."""

    source: Literal["augmentation"] = "augmentation"

    @property
    def count(self) -> int:
        return 2

    def levels(self, bona_fide: Manifest, mos: Mapping[str, float], seed: int = 0) -> QualityLevels:
        return QualityLevels(2, dict.fromkeys(bona_fide.table["id"], 1))


class RandomLevels(_Source):
    """Drawn by `shares`, lowest level first."""

    source: Literal["random"] = "random"
    shares: tuple[float, ...] = Field((0.4, 0.6), min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> RandomLevels:
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError("shares are not negative and sum to 1")
        return self

    @property
    def count(self) -> int:
        return len(self.shares)

    def levels(self, bona_fide: Manifest, mos: Mapping[str, float], seed: int = 0) -> QualityLevels:
        rows = dict.fromkeys(bona_fide.table["id"], self.count - 1)
        return QualityLevels(self.count, rows, lowered=False, shares=self.shares, seed=seed)


QualitySource = Annotated[
    MosLevels | AugmentationLevels | ColumnLevels | QuantileLevels | RandomLevels, Field(discriminator="source")
]


def level_of(mos: float, thresholds: Sequence[float]) -> int:
    """The number of thresholds that a MOS reaches."""
    return sum(mos >= threshold for threshold in thresholds)


def _reached(mos: Mapping[str, float], thresholds: Sequence[float]) -> dict[str, int]:
    return {row: level_of(value, thresholds) for row, value in mos.items()}
