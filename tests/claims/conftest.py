"""Recordings that need no audio: rows of all rotations, and frames in which spoofs carry a mark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.claims.kept import HeardFrames
from earwitness.claims.material import SPLIT, DetectionMaterial
from earwitness.claims.views import View
from earwitness.corpora.manifest import Manifest

FRAMES, WIDTH = 120, 16


class Drawn(DetectionMaterial):
    """Kept frames are drawn: noise, and in spoofs two channels that are louder; perturbed views are noisier."""

    def kept(self, view: View = "clean") -> HeardFrames:
        rng = np.random.default_rng([0 if view == "clean" else int(view)])
        frames = np.random.default_rng(9).normal(size=(len(self.rows), FRAMES, WIDTH))
        frames[self.labels == 0, :, :2] *= 1.5
        frames += (0 if view == "clean" else 0.3) * rng.normal(size=frames.shape)
        half = frames.astype(np.float16)
        return HeardFrames((half, half), half[:, None, ::10])


def manifest() -> Manifest:
    """Every family of the rotations with four systems of three files, and 40 speakers with two recordings."""
    rows = []
    for family in (name for group in SPLIT.families for name in group):
        rows += [
            {"id": f"{family}{system}-{take}", "label": "spoof", "family": family, "system": f"{family}{system}"}
            for system in range(4)
            for take in range(3)
        ]
    for speaker in range(40):
        rows += [
            {"id": f"s{speaker}-{take}", "label": "bonafide", "speaker": f"s{speaker}", "corpus": f"c{speaker % 3}"}
            for take in range(2)
        ]
    columns = ("id", "label", "family", "system", "speaker", "corpus")
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], infer_schema_length=None)
    stratum = pl.coalesce("family", "corpus")
    return Manifest.from_table(
        table.with_columns(path=pl.col("id") + ".wav", stratum=stratum, licence=pl.lit("CC0-1.0")), "."
    )


@pytest.fixture(scope="session")
def material() -> DetectionMaterial:
    """The drawn recordings."""
    rows = manifest()
    hashes = tuple(rows.table["id"])
    return Drawn(rows, hashes, SPLIT.assign(rows, hashes), "drawn", Path("nowhere"))
