"""Sides by the values of a column: the folds that a corpus gives, or speakers by name. Nothing is drawn.

GivenFolds(column="fold", test=("10",))                  UrbanSound8K: learn from nine folds, test on the tenth
GivenFolds(column="speaker", test=("49", ..., "60"))     AudioMNIST
"""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import with_split


class GivenFolds(Config):
    """Rows whose `column` has a value of `test` or `dev` go there, all others with a value to train; a row without one
    stands on no side."""

    kind: Literal["given_folds"] = "given_folds"
    column: str = "fold"
    test: tuple[str, ...] = Field(min_length=1)
    dev: tuple[str, ...] = ()

    def split(self, manifest: Manifest) -> Manifest:
        """Raises `DataError` where there is no such column or value, or nothing is left to train on."""
        if self.column not in manifest.table.columns:
            raise DataError(f"there is no column `{self.column}`", fix="Name a column of the manifest.")
        values = manifest.table[self.column].cast(pl.String)
        known = sorted(values.drop_nulls().unique())
        for name in (*self.test, *self.dev):
            if name not in known:
                shown = f"{', '.join(known[:20])}{' ...' if len(known) > 20 else ''}"
                raise DataError(f"no row has the {self.column} '{name}'", fix=f"There are: {shown or 'none'}.")
        if both := set(self.test) & set(self.dev):
            raise DataError(f"the {self.column} '{min(both)}' cannot stand on two sides")
        sides = {**dict.fromkeys(known, "train"), **dict.fromkeys(self.dev, "dev"), **dict.fromkeys(self.test, "test")}
        if "train" not in sides.values():
            raise DataError("nothing is left to train on", fix="Name fewer values for dev and test.")
        reasons = [None if value is not None else f"no {self.column}" for value in values]
        return with_split(manifest, [None if value is None else sides[value] for value in values], reasons)
