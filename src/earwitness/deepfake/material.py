"""What some losses learn from besides waveforms and labels: quality levels (QAMO), and whose voice it is (SAMO)."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from earwitness.core.errors import DataError, RecipeError
from earwitness.corpora.batches import UtteranceDataset, Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.quality import QualityLevels, QualitySource
from earwitness.corpora.side_tables import SideTable, missing
from earwitness.deepfake.one_class import QamoConfig, SamoConfig
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.task import LossMaterial
from earwitness.nn.pretrained.mos import weights_of
from earwitness.training.data import FixedBatches, utterance_options

MOS = "mos"  # the side table of predicted quality


def material_of(recipe: DetectionRecipe, train: Manifest) -> LossMaterial:
    """What the recipe's loss needs of its training rows. Raises `DataError` naming a row that lacks it, and
    `RecipeError` for another number of speakers than centroids."""
    if isinstance(recipe.loss, QamoConfig):
        return LossMaterial(levels=quality_levels(recipe.loss.quality, _bona_fide(train), recipe.seed))
    if isinstance(recipe.loss, SamoConfig):
        return LossMaterial(enrolment=_enrolment(recipe, train))
    return LossMaterial()


def train_speakers(recipe: DetectionRecipe, train: Manifest) -> Vocabulary | None:
    """The bona fide speakers of SAMO; None for losses that ask for none."""
    return Vocabulary.of(_bona_fide(train), "speaker") if isinstance(recipe.loss, SamoConfig) else None


def quality_levels(source: QualitySource, bona_fide: Manifest, seed: int = 0) -> QualityLevels:
    """Levels of bona fide rows; a predicted MOS is looked up in the side table. Raises `DataError` naming the first row
    that is not in it."""
    mos: dict[str, float] = {}
    if source.estimator is not None:
        mos = mos_table(source.estimator).of(bona_fide)
        if lacking := missing(bona_fide.rows(), mos):
            raise DataError(
                f"has no MOS by {source.estimator} ({len(lacking)} bona fide row(s) lack it)",
                where=lacking[0],
                fix=f"earwitness score MANIFEST --task quality --model {source.estimator} -o mos.csv",
            )
    return source.levels(bona_fide, mos, seed)


def mos_table(estimator: str) -> SideTable:
    """Where the MOS by a predictor are kept. Raises `MissingPartError` where it is not installed, and `UsageError`."""
    name, model = weights_of(estimator)
    return SideTable(MOS, name, model)


def _bona_fide(train: Manifest) -> Manifest:
    return train.filter(pl.col("label") == "bonafide")


def _enrolment(recipe: DetectionRecipe, train: Manifest) -> FixedBatches:
    """Every bona fide row from its start, as it is."""
    speakers = Vocabulary.of(_bona_fide(train), "speaker")
    count = 0 if recipe.network.centroids is None else recipe.network.centroids.count
    if len(speakers) != count:
        what = f"samo has a centroid a training speaker: {len(speakers)} speaker(s), {count} centroid(s)"
        raise RecipeError(what, fix=f"Set network.centroids.count to {len(speakers)}.")
    options = replace(utterance_options(recipe), crop_from="start", perturbation=None)
    dataset = UtteranceDataset(_bona_fide(train), options, speakers)
    return FixedBatches([dataset], recipe.loop.batch_size, recipe.loop.workers)
