"""From a recipe to the folder of a phone-by-phone verifier: tracks, training, and what dev says of each phone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from earwitness.audio.reading import load
from earwitness.audio.recording import Samples
from earwitness.audio.windows import Whole
from earwitness.core.errors import AudioError
from earwitness.core.records import RunRecord
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.detection import eer
from earwitness.speaker.identities import TRAINING_SPEAKERS, speaker_keys
from earwitness.speaker.phones import PhoneSource, PhoneTrack, PseudoConfig, PseudoPhones, kept, tracks_of
from earwitness.speaker.phonetic_traits.comparing import Flags, Floats, Similarities, TraitPrint, agreement
from earwitness.speaker.phonetic_traits.data import Framing, PairBatches, PhonedRows, WholeRows
from earwitness.speaker.phonetic_traits.discriminability import discriminability
from earwitness.speaker.phonetic_traits.network import TraitNetworkConfig
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe
from earwitness.speaker.phonetic_traits.task import TraitTask, TraitTrainee
from earwitness.speaker.phonetic_traits.verifier import (
    CLUSTERS_FILE,
    EXTRA,
    TASK,
    TraitFigures,
    TraitInfo,
    TraitVerifier,
)
from earwitness.speaker.training import trials
from earwitness.training.data import SplitData, read_split
from earwitness.training.describing import sources_of
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import ModelInfo, revise_model, save_model
from earwitness.training.tensors import tensor_bytes, trained_state

MOST_FOR_CLUSTERS = 500  # training rows that pseudo-phones are learnt from
LIMITS = (
    "proof of identity: similarities of sounds are shown, not calibrated",
    "comparing one sound with another: each has a level of its own",
    "a decomposition of the score: the sounds' similarities do not add up to it, unless the model is PhiNet's",
)


def train_traits(
    recipe: SpeakerTraitsRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Hear phones, train, test the phones on dev trials and their control, and write `folder/model`.

    Phone tracks are kept in the cache, so an interrupted run hears none twice. Gives the model's folder. Raises
    `AudioError` and `DataError` for a row without a track, `LeakError`, `MissingPartError`, `RecipeError` and
    `UsageError`.
    """
    folder = Path(folder)
    data = read_split(recipe.data, recipe.split, "speaker", allow_leak=allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    source = source_of(recipe, data.train)
    tracks = _heard(source, data)
    seed_run(recipe.seed, "init")
    network = recipe.network.model_copy(update={"phones": len(source.inventory)}).build()
    framing = Framing(recipe.audio.rate, network.window, network.hop)
    train = PhonedRows(data.train, tracks, framing, Vocabulary.of(data.train, "speaker"))
    dev = PhonedRows(data.dev, tracks, framing, Vocabulary.of(data.dev, "speaker"))
    margin = None if network.dim == 0 else recipe.margin.build(network.dim, len(train.speakers))
    trainee = TraitTrainee(network, margin)
    task = TraitTask(trainee, recipe.traits, recipe.margin_growth)
    result = fit(trainee, task, PairBatches(train, recipe), WholeRows(dev), recipe, folder / "fit", resume=resume)
    model = folder / "model"
    files = {}
    if isinstance(source, PseudoPhones):
        files[CLUSTERS_FILE] = tensor_bytes({"centres": torch.from_numpy(source.centres)})
    info = _describe(recipe, data, source, network.config, _notes(tracks.values(), result.metrics))
    save_model(model, info, trained_state(network), half=True, files=files)
    return judge_phones(model, data.dev, source, recipe.seed)


def source_of(recipe: SpeakerTraitsRecipe, train: Manifest) -> PhoneSource:
    """The recipe's source of phones; pseudo-phones are learnt from training rows first."""
    if not isinstance(recipe.phones, PseudoConfig):
        return kept(recipe.phones.build())
    return PseudoPhones.learnt(_sounds(train, recipe.audio.rate), recipe.phones.clusters, recipe.seed)


def judge_phones(model: str | Path, dev: Manifest, phones: PhoneSource | None = None, seed: int = 0) -> Path:
    """Compare dev rows phone by phone, with their labels and with random ones, and write what was found into the model.

    Trials are within a corpus. Raises `DataError` where there are none of a kind.
    """
    verifier = TraitVerifier.load(model, phones)
    judged = _judged(verifier, dev, seed)
    control = _judged(verifier.with_random_labels(seed), dev, seed)
    rho = agreement(judged.scores, judged.found.evidence)
    figures = TraitFigures(
        trials=len(judged.scores),
        score_eer=judged.eer(judged.scores),
        evidence_eer=judged.eer(judged.found.evidence),
        evidence_eer_random_labels=control.eer(control.found.evidence),
        spearman=None if np.isnan(rho) else rho,
    )
    known = verifier.known
    table = discriminability(judged.found, judged.same, known.names, seed)
    found = known.model_copy(update={"discriminability": table, "figures": figures})
    extra = {**verifier.info.extra, EXTRA: found.model_dump(mode="json")}
    revise_model(model, verifier.info.model_copy(update={"extra": extra}))
    return Path(model)


@dataclass(frozen=True)
class _Judged:
    """Trials of dev: their scores and similarities, and which are of one speaker."""

    scores: Floats
    found: Similarities
    same: Flags

    def eer(self, values: Floats) -> float:
        """Over trials that have a value."""
        there = np.isfinite(values)
        return eer(values[there & self.same], values[there & ~self.same]).value


def _judged(verifier: TraitVerifier, dev: Manifest, seed: int) -> _Judged:
    """Rows in which nothing can be judged are in no trial."""
    prints: list[TraitPrint] = []
    speakers: list[str] = []
    corpora: list[str] = []
    corpus = dict(dev.table.select("id", "corpus").iter_rows()) if "corpus" in dev.table.columns else {}
    for row in dev.rows():
        try:
            prints.append(verifier.hear_file(dev.resolve(row), row.channel, row.start or 0.0, row.end))
        except AudioError:
            continue
        speakers.append(str(row.speaker))
        corpora.append(str(corpus.get(row.id)))
    same, different = trials(np.array(speakers), seed, corpora=np.array(corpora))
    enrol, test = np.concatenate([same, different]).T
    scores, found = verifier.compare(prints, enrol, test)
    return _Judged(scores, found, np.arange(len(scores)) < len(same))


def _heard(source: PhoneSource, data: SplitData) -> dict[str, PhoneTrack]:
    """The tracks of train and dev; a bar on a terminal, as a recogniser takes a tenth of the audio's time."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("hearing phones", total=len(data.train) + len(data.dev))
        found: dict[str, PhoneTrack] = {}
        for side in (data.train, data.dev):
            found |= tracks_of(side, source, lambda: progress.advance(bar))
    return found


def _sounds(rows: Manifest, rate: int) -> Iterator[Samples]:
    """At most 500 rows, evenly over the table."""
    every = list(rows.rows())
    for row in every[:: -(-len(every) // MOST_FOR_CLUSTERS)]:
        yield load(rows.resolve(row), rate, row.channel, row.start or 0.0, row.end).samples


def _notes(tracks: Iterable[PhoneTrack], metrics: dict[str, float]) -> list[str]:
    """What could not be mapped, and how the chosen weights stand on dev."""
    counts: dict[str, int] = {}
    for track in tracks:
        for symbol, count in track.unmapped:
            counts[symbol] = counts.get(symbol, 0) + count
    told = [f"dev whole utterances, {name} {value:.4f}" for name, value in metrics.items()]
    if counts:
        most = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))[:10]
        named = ", ".join(f"'{symbol}' {counts[symbol]}" for symbol in most)
        told.append(f"{sum(counts.values())} symbol(s) of {len(counts)} kinds have no phone and no label: {named}")
    return told


def _describe(
    recipe: SpeakerTraitsRecipe, data: SplitData, source: PhoneSource, network: TraitNetworkConfig, notes: list[str]
) -> ModelInfo:
    record = RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        inputs={"train": data.train.sha256, "dev": data.dev.sha256, "test": data.test.sha256},
        licences=sorted({one.licence for one in sources_of(data)}),
        notes=[*data.notes, f"labels: {source.maker.words}", *notes],
    )
    known = TraitInfo.of(recipe.phones, source.maker, source.inventory)
    speakers = speaker_keys(data.train.table["speaker"].drop_nulls())
    return ModelInfo(
        name=recipe.name,
        task=TASK,
        summary=recipe.notes,
        network=network.model_dump(mode="json"),
        rate=recipe.audio.rate,
        windows=Whole(),
        polarity="higher = same speaker",
        licence=recipe.licence,
        data=sources_of(data),
        limits=LIMITS,
        extra={EXTRA: known.model_dump(mode="json"), TRAINING_SPEAKERS: list(speakers)},
        training=record.plain(),
    )
