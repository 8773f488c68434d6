"""From a detector's recipe to its model folder: data, training, calibration on dev. Test data is not touched here."""

from __future__ import annotations

from pathlib import Path

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.reading import load
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import FoldSplit
from earwitness.deepfake.committee import train_committee
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.material import material_of, train_speakers
from earwitness.deepfake.quality import QualityEstimator
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.scores import labels_of, require_both_classes
from earwitness.deepfake.task import task_of
from earwitness.metrics.bootstrap import Units
from earwitness.training.calibration import Calibration, ConditionCalibration, ConditionName, fit_condition
from earwitness.training.complementary_task import Classes, complemented
from earwitness.training.conditions import CONDITIONS, put_under
from earwitness.training.data import dev_batches, read_split, train_batches
from earwitness.training.describing import describe
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import revise_model, save_model


def train_detector(
    recipe: DetectionRecipe,
    folder: str | Path,
    *,
    resume: bool = False,
    allow_leak: bool = False,
    quality: QualityEstimator | None = None,
) -> Path:
    """Train, calibrate on dev, and write `folder/model`; beside it the manifests of the sides. `quality` predicts the
    MOS of recordings that the network scores by their own level.

    Gives the model's folder. Raises `DataError`, `LeakError`, `RecipeError` and `UsageError` as the steps do.
    """
    folder = Path(folder)
    if isinstance(recipe.split, FoldSplit):
        return train_committee(recipe, folder, resume=resume)
    data = read_split(recipe.data, recipe.split, "detection", recipe.split.shared_voices, allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    for name, side in (("train", data.train), ("dev", data.dev)):
        require_both_classes(side, name)
    material = material_of(recipe, data.train)
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    task = complemented(recipe, network, task_of(recipe, material), Classes(2, labels_of))
    train = train_batches(recipe, data.train, train_speakers(recipe, data.train), quality=material.levels)
    dev = dev_batches(recipe, data.dev)
    result = fit(network, task, train, dev, recipe, folder / "fit", resume=resume)
    model = folder / "model"
    info = describe(recipe, data, result.metrics, "higher = bona fide")
    save_model(model, info, network.trainable_state(), half=True)
    return calibrate_detector(model, data.dev, quality)


def calibrate_detector(model: Path, dev: Manifest, quality: QualityEstimator | None = None) -> Path:
    """Fit the calibration of a model folder on dev rows, as they are and under each condition."""
    detector = Detector.load(model, quality)
    found = tuple(_fit(detector, dev, condition) for condition in ("clean", *CONDITIONS))
    calibration = Calibration(fitted_on="dev side of the recipe", conditions=found)
    revise_model(model, detector.info.model_copy(update={"calibration": calibration}))
    return model


def _fit(detector: Detector, dev: Manifest, condition: ConditionName) -> ConditionCalibration:
    """One condition. A row in which nothing can be judged cannot calibrate; all others count."""
    scores: dict[str, list[float]] = {"bonafide": [], "spoof": []}
    units: dict[str, list[str]] = {"bonafide": [], "spoof": []}
    rate = detector.info.rate
    for row in dev.rows():
        if row.label is None:
            raise DataError("dev rows need a label", where=row.id)
        samples = load(dev.resolve(row), rate, row.channel, row.start or 0.0, row.end).samples
        try:
            score = detector.score(put_under(condition, samples, rate, item_rng(0, 0, row.id)), rate).score
        except AudioError:
            continue
        scores[row.label].append(score)
        units[row.label].append((row.speaker if row.label == "bonafide" else row.system) or row.id)
    crossed = Units.stacked(Units.of(units["bonafide"], "speaker"), Units.of(units["spoof"], "system"))
    return fit_condition(condition, scores["bonafide"], scores["spoof"], crossed)
