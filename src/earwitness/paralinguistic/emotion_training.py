"""From an emotion recipe to its model folder: data, training, calibration on dev. Test data is not touched here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from earwitness.audio.reading import load
from earwitness.audio.windows import cut
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.batches import UtteranceDataset
from earwitness.corpora.leaks import audio_hashes, require_no_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler, MixedSampler
from earwitness.corpora.splits import split
from earwitness.corpora.tables import write_table
from earwitness.nn.network import NetworkConfig
from earwitness.paralinguistic.emotion import (
    EMOTION,
    EmotionEstimator,
    EmotionInfo,
    EmotionNetwork,
    Floats,
    build_network,
    softmax,
)
from earwitness.paralinguistic.emotion_losses import CATEGORY, PHONEMES
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_task import EmotionTask, KnownRows, inverse_frequencies, joined
from earwitness.paralinguistic.labels import Labels, read_labels, require_classes
from earwitness.paralinguistic.transcripts import Spelt, spell
from earwitness.training.data import (
    SIDES,
    EpochBatches,
    FixedBatches,
    SplitData,
    read_rows,
    sides_from,
    utterance_options,
)
from earwitness.training.describing import describe
from earwitness.training.left_out import LEFT_OUT, Folds, LeftOutConfig, Pupil, learn_left_out
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import revise_model, save_model
from earwitness.training.runlog import counted
from earwitness.training.tensors import load_trained_state, stands_under, trained_state

TEMPERATURES = (0.05, 20.0)
FEWEST_ANSWERS = 10  # recordings of dev from which an accuracy is taken seriously
EVEN = 0.5  # of a calibrated probability: an answer below it is more likely wrong than right
NEVER = 2.0  # a threshold that no probability reaches
LIMITS = (
    "lie detection, or what a person thinks: it names how speech sounds to listeners of acted corpora",
    "decisions about people in work, school, borders or policing",
    "medical findings",
)


@dataclass(frozen=True)
class EmotionSides:
    """The labelled rows of train, dev and test (which may be empty), and notes for the run record."""

    train: Labels
    dev: Labels
    test: Labels
    notes: tuple[str, ...]

    @property
    def data(self) -> SplitData:
        """As other rooms know it."""
        return SplitData(self.train.manifest, self.dev.manifest, self.test.manifest, self.notes)


def train_emotion(recipe: EmotionRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False) -> Path:
    """Train as the recipe says, calibrate on dev, and write `folder/model`; beside it the tables of the sides.

    Gives the model's folder. Raises `DataError`, `LeakError`, `RecipeError` and `UsageError`.
    """
    folder = Path(folder)
    if recipe.left_out is not None:
        return train_head(recipe, recipe.left_out, folder, resume=resume)
    sides = read_sides(recipe, allow_leak)
    spelt = spell_sides(recipe, sides)
    folder.mkdir(parents=True, exist_ok=True)
    data = replace(sides.data, notes=(*sides.notes, spelt[0].told()))
    data.write(folder)
    info = described(recipe, sides.train, spelt[0])
    known = KnownRows.of((sides.train, sides.dev), joined(spelt))
    seed_run(recipe.seed, "init")
    network = build_network(recipe.network, info)
    recipe = with_block(recipe, network)
    weights = inverse_frequencies(sides.train) if recipe.losses.class_weights else None
    task = EmotionTask(known, recipe.losses, recipe.spec_augment, weights)
    train, dev = train_side(recipe, sides.train), dev_side(recipe, sides.dev)
    result = fit(network, task, train, dev, recipe, folder / "fit", resume=resume)
    described_ = describe(recipe, data, result.metrics, "none")
    extra = {EMOTION: info.model_dump(mode="json")}
    save_model(
        folder / "model", described_.model_copy(update={"extra": extra, "limits": LIMITS}), trained_state(network)
    )
    return calibrate_emotion(folder / "model", sides.dev, recipe.answer_accuracy)


def train_head(recipe: EmotionRecipe, config: LeftOutConfig, folder: Path, *, resume: bool = False) -> Path:
    """A head on frozen branches, every speaker left out once: `folder/left-out.parquet` says what was made of each row,
    and temperature and threshold are fitted to that. Raises as `train_emotion` and `learn_left_out` do."""
    manifest, notes = read_rows(recipe.data)
    labels = read_labels(of_corpora(manifest, recipe.corpora), recipe.labels)
    require_classes(labels, "whole table")
    if labels.manifest.table["speaker"].null_count():
        raise DataError("a row has no speaker, so speakers cannot be left out", fix="Fill the column `speaker`.")
    folder.mkdir(parents=True, exist_ok=True)
    info = described(recipe, labels, Spelt((), {}, 0))
    known = KnownRows.of((labels,), {})

    def build(over: NetworkConfig, part: Manifest) -> tuple[EmotionNetwork, EmotionTask]:
        seed_run(recipe.seed, "init")
        weights = inverse_frequencies(read_labels(part, recipe.labels)) if recipe.losses.class_weights else None
        return build_network(over, info), EmotionTask(known, recipe.losses, None, weights)

    pupil = Pupil(build, lambda network, vectors: network(vectors)[CATEGORY], recipe.relative)
    found = learn_left_out(recipe, config, labels.manifest, pupil, folder, resume=resume)
    masks = np.stack([labels.config.mask(name) for name in labels.manifest.table["corpus"].to_list()])
    logits = np.where(masks, found.outputs, -np.inf)
    write_left_out(folder / LEFT_OUT, config, labels, found.folds, logits, recipe.answer_accuracy)
    temperature = fit_temperature(logits[0], labels.category)
    chosen = answer_threshold(softmax(logits[0] / temperature), labels.category, recipe.answer_accuracy)
    info = info.model_copy(update={"temperature": temperature, "threshold": chosen})
    whole = build_network(recipe.network, info)
    load_trained_state(whole, trained_state(found.module), where=folder)
    notes += [*labels.told(), f"judged by leaving out speakers in {config.folds} folds"]
    data = SplitData(labels.manifest, labels.manifest, labels.manifest, tuple(notes))
    model = describe(recipe, data, {}, "none")
    extra = {EMOTION: info.model_dump(mode="json")}
    model = model.model_copy(update={"extra": extra, "limits": LIMITS})
    save_model(folder / "model", model, trained_state(whole), half=True)
    return folder / "model"


def write_left_out(
    path: Path, config: LeftOutConfig, labels: Labels, folds: Folds, logits: Floats, accuracy: float
) -> None:
    """One row a recording and condition: what is known of it, its fold, and the left-out probabilities [7], by the
    temperature that the other folds ask for; `threshold`, under which they would have given no answer."""
    temperatures, thresholds = np.ones(config.folds), np.zeros(config.folds)
    for fold in range(config.folds):
        others, truth = logits[0][folds != fold], labels.category[folds != fold]
        temperatures[fold] = fit_temperature(others, truth)
        thresholds[fold] = answer_threshold(softmax(others / temperatures[fold]), truth, accuracy)
    known = labels.manifest.table.select("id", "corpus", "speaker", "sex", "duration_s").with_columns(
        fold=pl.Series(folds), category=pl.Series(labels.category), threshold=pl.Series(thresholds[folds])
    )
    parts = []
    for name, values in zip(config.judged, logits, strict=True):
        probabilities = softmax(values / temperatures[folds][:, None])
        listed = pl.Series([row.tolist() for row in probabilities], dtype=pl.List(pl.Float64))
        parts.append(known.with_columns(condition=pl.lit(name), probabilities=listed))
    write_table(pl.concat(parts), path)


def read_sides(recipe: EmotionRecipe, allow_leak: bool = False) -> EmotionSides:
    """Rows of the recipe's corpora on their sides, with their labels; guarded by speaker, recording and audio.

    Raises `DataError` where a row has no speaker, a side has one category or none (test may be empty), or as
    `read_labels` does, and `LeakError` for a speaker on two sides.
    """
    manifest, notes = read_rows(recipe.data)
    if recipe.data.split_file is None:
        manifest = split(of_corpora(manifest, recipe.corpora), recipe.split)
    else:
        manifest = of_corpora(sides_from(manifest, recipe.data.split_file), recipe.corpora)
    if not allow_leak and manifest.table.filter(pl.col("split").is_not_null())["speaker"].null_count():
        raise DataError(
            "a row on a side has no speaker, so speakers of both sides cannot be told apart",
            fix="Fill the column `speaker`, or put such rows on no side.",
        )
    leaks = require_no_leaks(manifest, "manner", (), audio_hashes(manifest), allow_leak)
    notes += [f"leak allowed by name, the model is speaker-dependent: {leak}" for leak in leaks]
    found = [read_labels(manifest.filter(pl.col("split") == name), recipe.labels) for name in SIDES]
    for name, side in zip(SIDES, found, strict=True):
        if name != "test" or len(side.manifest):
            require_classes(side, name)
        notes += [f"{name}: {line}" for line in side.told()]
    train, dev, test = found
    return EmotionSides(train, dev, test, tuple(notes))


def of_corpora(manifest: Manifest, corpora: Sequence[str]) -> Manifest:
    """The rows of these corpora (of all where none is named). Raises `DataError` for one that is not there."""
    if not corpora:
        return manifest
    there = set(manifest.table["corpus"].drop_nulls()) if "corpus" in manifest.table.columns else set()
    if missing := [name for name in corpora if name not in there]:
        fix = f"There are: {', '.join(sorted(there)) or 'none'}. A licence may be excluded (data.exclude_licences)."
        raise DataError(f"no row is of the corpus '{missing[0]}'", fix=fix)
    return manifest.filter(pl.col("corpus").is_in(list(corpora)))


def spell_sides(recipe: EmotionRecipe, sides: EmotionSides) -> tuple[Spelt, Spelt]:
    """The transcripts of train and, in the same symbols, of dev; none where the recipe learns no phonemes."""
    if PHONEMES not in recipe.losses.tasks:
        return Spelt((), {}, 0), Spelt((), {}, 0)
    speller = recipe.spelling.build()
    train = spell(sides.train.manifest, speller)
    if not train.of_row:
        raise DataError("no training row has a transcript that can be spelt", fix="Set losses.phonemes: 0.")
    return train, spell(sides.dev.manifest, speller, train.symbols)


def described(recipe: EmotionRecipe, train: Labels, spelt: Spelt) -> EmotionInfo:
    """What the model will say of itself, before calibration."""
    return EmotionInfo(
        heads=recipe.heads,
        tasks=recipe.losses.tasks,
        intensity=recipe.losses.intensity_as,
        labels=recipe.labels,
        corpora=train.corpora,
        symbols=spelt.symbols,
        intensity_learnt=bool(np.isfinite(train.intensity).any()),
        relative=recipe.relative,
    )


def with_block(recipe: EmotionRecipe, network: nn.Module) -> EmotionRecipe:
    """With `alignment`, the shared encoder as a block whose conflicts are counted, where the recipe names none."""
    if recipe.alignment is None or recipe.alignment.blocks:
        return recipe
    alignment = recipe.alignment.model_copy(update={"blocks": (shared_block(network),)})
    return recipe.model_copy(update={"alignment": alignment})


def shared_block(network: nn.Module) -> str:
    """The name of the part that all tasks share and that learns: the encoder, or a front-end that is fine-tuned."""
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    for block in ("shared.branches.0.encoder", "shared.branches.0.frontend"):
        if any(stands_under(name, block) for name in learning):
            return block
    return "shared"


def train_side(recipe: EmotionRecipe, train: Labels) -> EpochBatches:
    """Crops of at most the recipe's length; corpora, classes and rows drawn as it mixes them."""
    data = UtteranceDataset(train.manifest, replace(utterance_options(recipe), short="keep"))
    size, seed, draws = recipe.loop.batch_size, recipe.seed, recipe.draws
    if recipe.mixing == "sqrt":
        return EpochBatches(data, MixedSampler(train.manifest, size, seed, draws), recipe.loop.workers)
    order = BalancedSampler(train.manifest, recipe.balance, size, seed, draws)
    return EpochBatches(data, order, recipe.loop.workers)


def dev_side(recipe: EmotionRecipe, dev: Labels) -> FixedBatches:
    """Every dev row once, from its start, unperturbed."""
    options = replace(utterance_options(recipe), short="keep", crop_from="start", perturbation=None)
    return FixedBatches([UtteranceDataset(dev.manifest, options)], recipe.loop.batch_size, recipe.loop.workers)


def calibrate_emotion(model: Path, dev: Labels, answer_accuracy: float) -> Path:
    """Fit temperature and threshold of a model folder on the dev recordings, each heard as in an answer.

    A recording that cannot be heard is left out here; the test counts such. Raises `DataError` where none can.
    """
    estimator = EmotionEstimator.load(model)
    logits, rows = [], []
    for place, row in enumerate(counted(dev.manifest.rows(), "hearing the dev side", len(dev.manifest))):
        try:
            heard = load(dev.manifest.resolve(row), estimator.info.rate, row.channel, row.start or 0.0, row.end)
            logits.append(estimator.logits(cut(heard.samples, heard.rate, estimator.info.windows)))
        except AudioError:
            continue
        rows.append(place)
    if not logits:
        raise DataError("no dev recording can be heard, so nothing can be calibrated")
    masks = np.stack([dev.config.mask(name) for name in dev.manifest.table["corpus"].to_list()])[rows]
    masked = np.where(masks, np.stack(logits), -np.inf)
    truth = dev.category[rows]
    temperature = fit_temperature(masked, truth)
    chosen = answer_threshold(softmax(masked / temperature), truth, answer_accuracy)
    info = estimator.emotion.model_copy(update={"temperature": temperature, "threshold": chosen})
    extra = {**estimator.info.extra, EMOTION: info.model_dump(mode="json")}
    revise_model(model, estimator.info.model_copy(update={"extra": extra}))
    return model


def fit_temperature(logits: Floats, truth: NDArray[np.int64]) -> float:
    """The T that minimises the mean -ln p(truth) of softmax(logits / T) (arXiv 1706.04599), logits [N, K], -inf for
    classes that cannot be; within `TEMPERATURES`."""
    rows = np.arange(len(truth))

    def nll(log_t: float) -> float:
        return float(-np.log(np.maximum(softmax(logits / np.exp(log_t))[rows, truth], 1e-12)).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(nll, bounds=(low, high), method="bounded").x))


def answer_threshold(probabilities: Floats, truth: NDArray[np.int64], accuracy: float) -> float:
    """The smallest threshold at which the answered recordings reach an accuracy, at least `FEWEST_ANSWERS` of them (or
    all), but no less than `EVEN`; `NEVER` where there is none.

    >>> answer_threshold(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), 0.5)
    0.5
    """
    largest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    if right.mean() >= accuracy:
        return EVEN
    fewest = min(FEWEST_ANSWERS, len(truth))
    for threshold in np.unique(largest):
        answered = largest >= threshold
        if answered.sum() < fewest:
            break
        if right[answered].mean() >= accuracy:
            return max(EVEN, float(threshold))
    return NEVER
