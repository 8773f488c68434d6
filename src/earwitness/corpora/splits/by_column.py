"""Splits by one unit, drawn by hash: a unit's side depends on its name and the seed only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import connected, draw, with_split

Unit = Literal["speaker", "source_recording", "split_group", "system", "family"]


class ByColumn(Config):
    """Whole units go to dev, test or train with the given probabilities.

    Units that are connected through a column of `together` move as one. A row that has none of these values is a unit
    by itself. Where units are few the shares are only roughly met.
    """

    kind: Literal["by_column"] = "by_column"
    unit: Unit = "speaker"
    together: tuple[Unit, ...] = ()
    dev: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)
    seed: int = 0

    def split(self, manifest: Manifest) -> Manifest:
        """Raises `DataError` when the shares leave nothing to train on, or no row names the unit."""
        if self.dev + self.test >= 1:
            raise DataError("dev and test together leave nothing for train", fix="Choose smaller shares.")
        if manifest.table[self.unit].null_count() == len(manifest):
            raise DataError(f"no row has a {self.unit}", fix="Choose another unit.")
        columns = list(dict.fromkeys((self.unit, *self.together)))
        keys = [
            [f"{column}:{value}" for column, value in zip(columns, row, strict=True) if value is not None]
            for row in manifest.table.select(columns).iter_rows()
        ]
        groups = [group or f"id:{name}" for group, name in zip(connected(keys), manifest.table["id"], strict=True)]
        sides = [self._side(draw(self.seed, group)) for group in groups]
        return with_split(manifest, sides, [None] * len(sides))

    def _side(self, number: float) -> str:
        if number < self.test:
            return "test"
        return "dev" if number < self.test + self.dev else "train"
