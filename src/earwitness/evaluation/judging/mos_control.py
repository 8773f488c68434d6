"""The MOS as the score: what a predictor of quality alone would say of bona fide and spoof.

On some corpora synthesis sounds worse than people and a detector may have learnt no more than that; on others it sounds
better. The MOS were kept by `earwitness score --task quality`; nothing is heard here.
"""

from __future__ import annotations

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.side_tables import missing
from earwitness.deepfake.material import mos_table
from earwitness.evaluation.judging.trivial import ControlScores


def mos_scores(manifest: Manifest, predictor: str) -> ControlScores:
    """A score a row, its MOS; rows without one have an error. Raises `DataError` where none has one, and
    `MissingPartError` where the predictor is not installed."""
    known = mos_table(predictor).of(manifest)
    lacking = missing(manifest.rows(), known)
    if len(lacking) == len(manifest):
        fix = f"earwitness score KEY --task quality --model {predictor} -o mos.csv"
        raise DataError(f"has no MOS by {predictor}", where=lacking[0] if lacking else manifest.root, fix=fix)
    table = manifest.table.select("id", "path", "label").with_columns(
        score=pl.Series([known.get(name) for name in manifest.table["id"]], dtype=pl.Float64),
        llr=pl.lit(None, pl.Float64),
        model=pl.lit(predictor),
    )
    error = pl.when(pl.col("score").is_null()).then(pl.lit("no MOS")).otherwise(None)
    return ControlScores(table.with_columns(error=error), 0, tuple(lacking))
