"""From a detector's recipe to its model folder: data, training, calibration on dev. Test data is not touched here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.audio.reading import load
from earwitness.audio.speech import SileroRule
from earwitness.core.errors import AudioError, DataError
from earwitness.core.records import RunRecord
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.task import DetectionTask
from earwitness.metrics.bootstrap import Units
from earwitness.training.calibration import Calibration, ConditionCalibration, ConditionName, fit_condition
from earwitness.training.conditions import CONDITIONS, put_under
from earwitness.training.data import EpochBatches, FixedBatches, SplitData, read_split
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import DataSource, ModelInfo, revise_model, save_model


def train_detector(
    recipe: DetectionRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Train, calibrate on dev, and write `folder/model`; beside it the manifests of the sides. Returns the model's folder.

    Raises `DataError`, `LeakError`, `RecipeError` and `UsageError` as the steps do.
    """
    folder = Path(folder)
    data = read_split(recipe.data, recipe.split, "detection", recipe.split.shared_voices, allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    task = DetectionTask(recipe.loss.build(recipe.network.outputs or 0, 2))
    result = fit(
        network, task, _train_batches(recipe, data), _dev_batches(recipe, data), recipe, folder / "fit", resume=resume
    )
    info = _describe(recipe, data, result.metrics)
    model = folder / "model"
    save_model(model, info, network.trainable_state(), half=True)
    return calibrate_detector(model, data.dev)


def calibrate_detector(model: Path, dev: Manifest) -> Path:
    """Fit the calibration of a model folder on dev rows, as they are and under each condition."""
    detector = Detector.load(model)
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


def _options(recipe: DetectionRecipe) -> UtteranceOptions:
    chain = SeriesConfig(components=recipe.perturbations).build() if recipe.perturbations else None
    return UtteranceOptions(
        rate=recipe.audio.rate,
        crop_s=recipe.audio.crop_s,
        trim=SileroRule() if recipe.audio.trim_silence else None,
        perturbation=chain,
        keep_in_memory=True,
        seed=recipe.seed,
    )


def _train_batches(recipe: DetectionRecipe, data: SplitData) -> EpochBatches:
    dataset = UtteranceDataset(data.train, _options(recipe))
    order = BalancedSampler(data.train, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
    return EpochBatches(dataset, order, recipe.loop.workers)


def _dev_batches(recipe: DetectionRecipe, data: SplitData) -> FixedBatches:
    """Dev rows clean and perturbed, each once, from their start: epochs are chosen by both together."""
    perturbed = replace(_options(recipe), crop_from="start")
    clean = replace(perturbed, perturbation=None)
    datasets = [
        UtteranceDataset(data.dev, options) for options in ((clean, perturbed) if recipe.perturbations else (clean,))
    ]
    return FixedBatches(datasets, recipe.loop.batch_size, recipe.loop.workers)


def _describe(recipe: DetectionRecipe, data: SplitData, metrics: dict[str, float]) -> ModelInfo:
    record = RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        inputs={"train": data.train.sha256, "dev": data.dev.sha256, "test": data.test.sha256},
        notes=[*data.notes, *(f"dev window {name} {value:.4f}" for name, value in metrics.items())],
    )
    return ModelInfo(
        name=recipe.name,
        task="deepfake",
        summary=recipe.notes,
        network=recipe.network.model_dump(mode="json"),
        rate=recipe.audio.rate,
        windows=recipe.windows,
        polarity="higher = bona fide",
        licence=recipe.licence,
        data=sources_of(data),
        training=record.plain(),
    )


def sources_of(data: SplitData) -> tuple[DataSource, ...]:
    """Which corpora were learnt from and calibrated on, each with its licences."""
    found: dict[tuple[str, str], set[str]] = {}
    for use, side in (("training", data.train), ("calibration", data.dev)):
        corpora = side.table["corpus"].to_list() if "corpus" in side.table.columns else ["unnamed"] * len(side)
        for corpus, licence in zip(corpora, side.table["licence"].to_list(), strict=True):
            found.setdefault((corpus or "unnamed", licence or "unknown"), set()).add(use)
    return tuple(
        DataSource(name=n, licence=lic, use=" and ".join(sorted(uses, reverse=True)))
        for (n, lic), uses in sorted(found.items())
    )
