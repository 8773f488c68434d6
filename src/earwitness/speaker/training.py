"""From a speaker recipe to its model folder: data, training, cohort, calibration on dev. Test data is not touched here.

What is calibrated is what is shipped: the network is saved first, in half precision, and everything after that (cohort,
trials, the limit of one voice) is made by the loaded model through `Embedder`, as answers will be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.reading import load
from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError, DataError, RecipeError, UsageError
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest, Row
from earwitness.metrics.bootstrap import Units
from earwitness.nn.losses import ClassCentroids, MarginLoss, UncertainAam
from earwitness.nn.network import Network
from earwitness.speaker.batched import PrintOf, prints_of, uncertain_prints_of
from earwitness.speaker.comparison import Vectors, enrol
from earwitness.speaker.distillation import (
    DistillationConfig,
    DistillationTask,
    Goals,
    Imitation,
    freeze_all_but,
    goals,
)
from earwitness.speaker.embedder import COMPARISON, FUSED, Embedder, VoicePrint, stacked_variances
from earwitness.speaker.identities import COHORT_SPEAKERS, TRAINING_SPEAKERS, speaker_keys
from earwitness.speaker.identity_expansion.learning import CLASSES, Expansion, expanded_batches
from earwitness.speaker.published import Published, read_published
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.score_draws import VARIANCE_SCALE
from earwitness.speaker.task import SpeakerTask, SpeakerTrainee
from earwitness.speaker.uncertain_task import UncertainSpeakerTask
from earwitness.speaker.uncertainty import variance_scale
from earwitness.speaker.voices import EXTRA, in_a_row, one_voice_limit
from earwitness.training.calibration import Calibration, ConditionCalibration, ConditionName, fit_condition
from earwitness.training.complementary_task import Classes, complemented
from earwitness.training.conditions import CONDITIONS, put_under
from earwitness.training.data import SplitData, dev_batches, read_split, train_batches, whole_utterances
from earwitness.training.describing import describe
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import (
    COHORT_FILE,
    CohortInfo,
    DataSource,
    ModelInfo,
    load_weights,
    revise_model,
    save_model,
)
from earwitness.training.runlog import counted
from earwitness.training.task import TrainData
from earwitness.training.tensors import as_half, tensor_bytes

DIFFERENT_TRIALS = 20_000  # at most, drawn by seed; all same-speaker trials count
MOST_IN_COHORT = 10  # recordings a speaker whose mean stands in the cohort; more hardly move it
CLASS_WEIGHT_LENGTH = 0.1  # a cosine does not see it, but so short a vector turns ten times as fast as one of length 1
COHORT_USE = "cohort"  # of a corpus that no weight was learnt from
LIMITS = (
    "proof of identity: a score says how much better two recordings fit one voice than two",
    "picking an unknown person out of a crowd of voices",
    "relatives, imitators or synthetic copies of a voice, which may score like the voice itself",
)


def train_embedder(
    recipe: SpeakerRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Train what the recipe trains, make cohort and calibration, and write `folder/model`; beside it the sides' tables.

    Gives the model's folder. Raises `DataError`, `LeakError`, `RecipeError`, `UsageError` and, where the recipe starts
    from published weights that are not here, `MissingPartError`.
    """
    folder = Path(folder)
    published = None if recipe.start_from == "none" else read_published(recipe.start_from, recipe.start_file)
    data = read_split(recipe.data, recipe.split, "speaker", allow_leak=allow_leak)
    if not recipe.learns and (folder / "model").exists() and not resume:
        raise UsageError("holds a run already", where=folder, fix="Add --resume, or choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    learnt = _trained(recipe, data, published, folder, resume) if recipe.learns else _taken(recipe, data, published)
    model = folder / "model"
    save_model(model, learnt.info, learnt.network.trainable_state(), half=True)
    if recipe.cohort_top:
        add_cohort(model, data, recipe.cohort_top, recipe.cohort_conditions)
    return calibrate_embedder(model, data.dev, recipe.seed)


@dataclass(frozen=True)
class _Learnt:
    """A network with its weights, and what its folder says of it."""

    network: Network
    info: ModelInfo


def _taken(recipe: SpeakerRecipe, data: SplitData, published: Published | None) -> _Learnt:
    """The published network as it is."""
    assert published is not None
    network = recipe.network.build()
    published.start(recipe.network, network)
    return _Learnt(network, _describe(recipe, data, {}, published))


def _trained(
    recipe: SpeakerRecipe, data: SplitData, published: Published | None, folder: Path, resume: bool
) -> _Learnt:
    """What the recipe's loop made of the network, drawn back as the recipe says."""
    speakers = Vocabulary.of(data.train, "speaker")
    train, count, data = _learnt_from(recipe, data, speakers, folder)
    trainee, task = _trainee(recipe, data, speakers, published, train, count)
    classes = Classes(count, task.classes)
    choosing = _without(data.dev, recipe.split.calibration_corpora)
    dev = dev_batches(recipe, choosing, Vocabulary.of(choosing, "speaker"))
    opposed = complemented(recipe, trainee.network, task, classes)
    result = fit(trainee, opposed, train, dev, recipe, folder / "fit", resume=resume)
    if published is not None:
        published.draw_back(trainee.network, recipe.keep)
    return _Learnt(trainee.network, _describe(recipe, data, result.metrics, published))


def _learnt_from(
    recipe: SpeakerRecipe, data: SplitData, speakers: Vocabulary, folder: Path
) -> tuple[TrainData, int, SplitData]:
    """The batches, the number of classes in them, and the sides with a note on invented speakers, if there are any."""
    if recipe.expansion is None:
        count = len(speakers) * len(recipe.speeds)
        return train_batches(recipe, data.train, speakers, recipe.speeds), count, data
    expansion = Expansion.read(recipe.expansion.folder, data)
    classes = expansion.classes(speakers, recipe.speeds)
    classes.write(folder / CLASSES)
    print(f"{classes}: {folder / CLASSES}", file=sys.stderr)
    train = expanded_batches(recipe, data.train, expansion, classes, recipe.expansion.share)
    notes = (*data.notes, f"expanded by invented speakers: {classes}", expansion.note)
    return train, len(classes), replace(data, notes=notes)


def _without(side: Manifest, corpora: Sequence[str]) -> Manifest:
    """The rows of other corpora than these."""
    return side.filter(~pl.col("corpus").is_in(list(corpora))) if corpora else side


def add_cohort(model: Path, data: SplitData, top: int, conditions: Sequence[ConditionName] = ("clean",)) -> None:
    """Write the cohort of AS-norm into a model folder: every training speaker once under each condition."""
    embedder = Embedder.load(model)
    heard = [cohort_prints(embedder, data, condition) for condition in conditions]
    means = [mean for found in heard for mean in found.values()]
    if not means:
        raise DataError("no training speaker can be heard, so there is no cohort", fix="Set cohort_top: 0.")
    arrays = {"cohort": torch.from_numpy(np.stack([mean.vector for mean in means]))}
    if embedder.states_variance:
        variances = [mean.variance for mean in means if mean.variance is not None]
        arrays["variances"] = torch.from_numpy(np.stack(variances))
    speakers = {speaker for found in heard for speaker in found}
    extra = {**embedder.info.extra, COHORT_SPEAKERS: speaker_keys(speakers)}
    cohort = CohortInfo(speakers=len(speakers), top=top, conditions=tuple(conditions))
    info = embedder.info.model_copy(update={"cohort": cohort, "extra": extra})
    files = {COHORT_FILE: tensor_bytes(*as_half(arrays))}
    save_model(model, info, load_weights(model), half=True, files=files)


def cohort_prints(embedder: Embedder, data: SplitData, condition: ConditionName = "clean") -> dict[str, PrintOf]:
    """The mean unit embedding of every training speaker, and mean variance, over at most ten recordings.

    A speaker who stands on another side too (a leak allowed by name) is left out.
    """
    others = pl.concat([data.dev.table["speaker"], data.test.table["speaker"]]).drop_nulls().unique()
    few = pl.int_range(pl.len()).over("speaker") < MOST_IN_COHORT
    return speaker_prints(embedder, data.train.filter(~pl.col("speaker").is_in(others.to_list()) & few), condition)


def calibrate_embedder(model: Path, dev: Manifest, seed: int = 0) -> Path:
    """Fit the calibration of a model folder on trials between dev rows, and the limit of one voice.

    Each trial is between a recording as it is and another: as it is, or under a condition. Trials of different speakers
    are drawn by the seed.
    """
    embedder = Embedder.load(model)
    known = _prints(embedder, dev, "clean")
    fitted = [_fit(embedder, dev, known, "clean", known, seed)]
    fitted += [_fit(embedder, dev, known, name, _prints(embedder, dev, name), seed) for name in CONDITIONS]
    calibration = Calibration(
        fitted_on="trials between dev speakers of the recipe, within a corpus", conditions=tuple(fitted)
    )
    extra = {**embedder.info.extra, EXTRA: one_voice_limit(_of_one_voice(dev, known))}
    if (scale := _scale(dev, known)) is not None:
        extra[VARIANCE_SCALE] = scale
    revise_model(model, embedder.info.model_copy(update={"calibration": calibration, "extra": extra}))
    return model


def speaker_means(embedder: Embedder, manifest: Manifest) -> dict[str, Vectors]:
    """Each speaker's unit mean of the unit voice prints of the rows; who cannot be heard in any row is not in it."""
    return {speaker: print_.vector for speaker, print_ in speaker_prints(embedder, manifest).items()}


def speaker_prints(embedder: Embedder, manifest: Manifest, condition: ConditionName = "clean") -> dict[str, PrintOf]:
    """The same with the mean of the rows' variances, where the network states any; the rows heard under a condition."""
    rows = [row for row in manifest.rows() if row.speaker is not None]
    hearing = counted(rows, f"hearing speakers ({condition})", len(rows))
    samples = (_under(condition, manifest, row, embedder.info.rate) for row in hearing)
    found: dict[str, list[PrintOf]] = {}
    for row, print_ in zip(rows, uncertain_prints_of(embedder, samples), strict=True):
        if print_ is not None:
            found.setdefault(str(row.speaker), []).append(print_)
    return {speaker: _speaker(prints) for speaker, prints in sorted(found.items())}


def _speaker(prints: Sequence[PrintOf]) -> PrintOf:
    variances = [print_.variance for print_ in prints if print_.variance is not None]
    mean = np.stack(variances).mean(axis=0) if variances else None
    return PrintOf(enrol(np.stack([print_.vector for print_ in prints])), mean)


def _trainee(
    recipe: SpeakerRecipe,
    data: SplitData,
    speakers: Vocabulary,
    published: Published | None,
    train: TrainData,
    count: int,
) -> tuple[SpeakerTrainee, SpeakerTask]:
    """Network and head; from published weights each class of a margin loss begins at its speaker's mean embedding."""
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    if published is not None:
        published.start(recipe.network, network)
    beginning = Embedder(network, _describe(recipe, data, {}, published))
    if recipe.distillation is not None:
        aims = _goals(recipe, recipe.distillation, beginning, data.train, speakers)
        if recipe.distillation.first_layers is not None:
            freeze_all_but(network, recipe.distillation.first_layers)
        return SpeakerTrainee(network, Imitation(recipe.distillation, aims)), DistillationTask()
    trainee, task = margin_trainee(recipe, network, count, train)
    if published is not None:
        assert isinstance(trainee.head, MarginLoss)
        start_classes(trainee.head, speakers, speaker_means(beginning, data.train))
    return trainee, task


def margin_trainee(
    recipe: SpeakerRecipe, network: Network, classes: int, train: TrainData
) -> tuple[SpeakerTrainee, SpeakerTask]:
    """A network with the margin loss of a recipe over so many classes, and how it learns.

    Raises `RecipeError` where the recipe uses a variance and the network states none.
    """
    assert recipe.margin is not None
    margin, held = recipe.margin.build(network.dim, classes), recipe.variance_loss
    uses = {"uncertain_aam": isinstance(margin, UncertainAam), "variance_loss": held is not None}
    uses |= {"comparison": recipe.comparison != "cosine", "fused": recipe.fused != "harmonic"}
    wanted = [name for name, used in uses.items() if used]
    if wanted and not network.states_variance:
        what = f"`{wanted[0]}` uses the embedding's variance, and this network states none"
        raise RecipeError(what, fix="Pool by `posterior`; the embedding layer has neither activation nor unit length.")
    if held is None and not isinstance(margin, UncertainAam):
        return SpeakerTrainee(network, margin), SpeakerTask(recipe.margin_rise)
    centroids = None if held is None else ClassCentroids(classes, network.dim)
    return SpeakerTrainee(network, margin, centroids), UncertainSpeakerTask(held, train, recipe.margin_rise)


def _goals(
    recipe: SpeakerRecipe, config: DistillationConfig, teacher: Embedder, train: Manifest, speakers: Vocabulary
) -> Goals:
    """What the teacher hears in every training utterance, whole, clean and trimmed as in training, at every speed."""
    speaker_of = {row.id: speakers.index(row.speaker) for row in train.rows()}
    heard: list[dict[str, Vectors]] = []
    for speed in recipe.speeds:
        prints = prints_of(teacher, (item.samples.numpy() for item in whole_utterances(recipe, train, speed)))
        named = zip(speaker_of, prints, strict=True)
        heard.append({name: print_ for name, print_ in named if print_ is not None})
    return goals(heard, speaker_of, config)


@torch.no_grad()
def start_classes(margin: MarginLoss, speakers: Vocabulary, means: dict[str, Vectors]) -> None:
    """Point every class (all its sub-centres) at its speaker's mean; a speaker without one keeps random weights, and so
    do the classes of other speeds."""
    weight = margin.weight.view(margin.n_classes, -1, margin.weight.shape[1])
    for name, mean in means.items():
        weight[speakers.index(name)] = CLASS_WEIGHT_LENGTH * torch.from_numpy(mean)


def _describe(
    recipe: SpeakerRecipe, data: SplitData, metrics: dict[str, float], published: Published | None
) -> ModelInfo:
    info = describe(recipe, data, metrics, "higher = same speaker")
    extra: dict[str, object] = {}
    if recipe.learns:
        extra[TRAINING_SPEAKERS] = speaker_keys(data.train.table["speaker"].drop_nulls())
    else:  # whom the published weights know, nobody says
        info = info.model_copy(update={"data": _untrained(info.data)})
    if recipe.comparison != "cosine":
        extra[COMPARISON] = recipe.comparison
    if recipe.fused != "harmonic":
        extra[FUSED] = recipe.fused
    if published is not None:
        extra["started_from"] = published.plain()
        info = info.model_copy(update={"data": (published.data, *info.data)})
    return info.model_copy(update={"limits": (*info.limits, *LIMITS), "extra": extra})


def _untrained(sources: Sequence[DataSource]) -> tuple[DataSource, ...]:
    """What was heard where nothing was learnt: the training side makes the cohort alone."""
    return tuple(source.model_copy(update={"use": source.use.replace("training", COHORT_USE)}) for source in sources)


def _fit(
    embedder: Embedder,
    dev: Manifest,
    known: dict[str, VoicePrint],
    condition: ConditionName,
    tests: dict[str, VoicePrint],
    seed: int,
) -> ConditionCalibration:
    """One condition, over the rows that can be judged on both sides; intervals resample speakers."""
    rows = [row for row in dev.rows() if row.id in known and row.id in tests]
    speakers = np.array([row.speaker for row in rows])
    same, different = trials(speakers, seed, corpora=_corpora(rows, dev))
    enrolment, test = np.concatenate([same, different]).T
    prints = [known[row.id] for row in rows] + [tests[row.id] for row in rows]
    vectors = np.stack([print_.vector for print_ in prints])
    scores = embedder.comparator.trials(vectors, enrolment, test + len(rows), stacked_variances(prints))
    units = Units.pairs(speakers[enrolment].tolist(), speakers[test].tolist(), "speaker")
    return fit_condition(condition, scores[: len(same)], scores[len(same) :], units, seed)


def _of_one_voice(dev: Manifest, known: dict[str, VoicePrint]) -> Iterator[Vectors]:
    """Windows of each dev speaker's recordings in a row: most recordings are too short to have four of their own."""
    of_speakers: dict[str, list[Vectors]] = {}
    for row in dev.rows():
        if row.speaker is not None and row.id in known:
            of_speakers.setdefault(row.speaker, []).append(known[row.id].windows)
    for recordings in of_speakers.values():
        yield from in_a_row(recordings)


def _scale(dev: Manifest, known: dict[str, VoicePrint]) -> float | None:
    """How many times the stated variance the dev prints vary about their speakers' centroids; None without any."""
    found = [(row.speaker, known[row.id]) for row in dev.rows() if row.id in known and row.speaker is not None]
    stated = [(speaker, print_, print_.variance) for speaker, print_ in found if print_.variance is not None]
    if not stated:
        return None
    embeddings = np.stack([print_.norm * print_.vector for _, print_, _ in stated])
    return variance_scale(
        embeddings, np.stack([own for _, _, own in stated]), np.array([speaker for speaker, _, _ in stated])
    )


def _corpora(rows: Sequence[Row], manifest: Manifest) -> NDArray[np.str_] | None:
    """The corpus of each row, where the manifest tells."""
    if "corpus" not in manifest.table.columns:
        return None
    of = dict(manifest.table.select("id", pl.col("corpus").fill_null("")).iter_rows())
    return np.array([of[row.id] for row in rows])


def trials(
    speakers: NDArray[np.str_], seed: int, most: int = DIFFERENT_TRIALS, corpora: NDArray[np.str_] | None = None
) -> tuple[NDArray[np.int64], ...]:
    """Pairs (enrolment, test) of rows [n, 2]: all of one speaker, and at most `most` of different ones.

    With `corpora`, both sides are of one corpus: voices that corpora tell apart by their sound prove nothing. Raises
    `DataError` where there is none of a kind.
    """
    first, second = np.triu_indices(len(speakers), k=1)
    pairs = np.stack([first, second], axis=1).astype(np.int64)
    if corpora is not None:
        pairs = pairs[corpora[first] == corpora[second]]
        first, second = pairs.T
    is_same = speakers[first] == speakers[second]
    same, different = pairs[is_same], pairs[~is_same]
    if not len(same) or not len(different):
        raise DataError(
            "dev has no trials of one speaker and of two",
            fix="Dev needs two speakers, and one of them with two recordings.",
        )
    if len(different) > most:
        different = different[np.sort(np.random.default_rng(seed).choice(len(different), most, replace=False))]
    return same, different


def _prints(embedder: Embedder, manifest: Manifest, condition: ConditionName) -> dict[str, VoicePrint]:
    return {row.id: heard for row, heard in _heard(embedder, manifest, condition)}


def _heard(embedder: Embedder, manifest: Manifest, condition: ConditionName) -> Iterator[tuple[Row, VoicePrint]]:
    """The voice prints of rows under a condition, but for rows in which nothing can be judged (too short, silent)."""
    rate = embedder.info.rate
    for row in counted(manifest.rows(), f"hearing dev ({condition})", len(manifest)):
        try:
            yield row, embedder.embed(_under(condition, manifest, row, rate), rate)
        except AudioError:
            continue


def _under(condition: ConditionName, manifest: Manifest, row: Row, rate: int) -> Samples:
    """A row's samples [N] at a rate under a condition, the same at every call."""
    samples = load(manifest.resolve(row), rate, row.channel, row.start or 0.0, row.end).samples
    return put_under(condition, samples, rate, item_rng(0, 0, row.id))
