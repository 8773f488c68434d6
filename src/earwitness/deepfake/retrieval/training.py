"""Teaching the classifier of RAD on cached features (stage 3, arXiv 2404.13892): the encoder stays as it is.

Stage 0 fine-tunes the encoder by an ordinary detector's recipe (front-end `pretrained`, pooling `mfa`), stage 1 is
`earwitness index build --encoder MODEL`, stage 2 the retrieval here.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.core.records import RunRecord
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.splits import DetectionSplit
from earwitness.deepfake.retrieval.cached import CachedRows, EpochsOf, InOrder, Queries
from earwitness.deepfake.retrieval.detecting import RETRIEVAL, RetrievalInfo
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.hearing import Features, Hearing, Segment
from earwitness.deepfake.retrieval.index import Index
from earwitness.deepfake.retrieval.rad_mfa import RadMfaConfig
from earwitness.deepfake.retrieval.store import SEGMENTS
from earwitness.deepfake.task import DetectionTask, bona_fide_score
from earwitness.deepfake.training import calibrate_detector
from earwitness.nn.losses import CrossEntropyConfig
from earwitness.training.data import SplitData, read_split
from earwitness.training.describing import sources_of
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import ModelInfo, save_model
from earwitness.training.optimisers import AdamConfig, OptimiserConfig
from earwitness.training.recipe import LoopConfig, Recipe, SelectConfig
from earwitness.training.tensors import read_tensors, write_tensors

Floats = NDArray[np.float64]


class RetrievalRecipe(Recipe):
    """`index`: the folder of genuine speech; `neighbours` 0 is the same classifier without retrieval.

    With `guard` off a recording may be its own neighbour: for showing why it must not. Optimiser and length are those
    of the paper; weights of the classes are inverse to their frequency (ours).
    """

    task: Literal["deepfake-retrieval"]
    index: Path
    split: DetectionSplit = DetectionSplit()
    neighbours: int = Field(10, ge=0)
    hidden: int = Field(128, ge=1)
    guard: bool = True
    optimiser: OptimiserConfig = AdamConfig(lr=3e-5)
    loop: LoopConfig = LoopConfig(epochs=30, batch_size=32, select=SelectConfig(metric="eer"))
    licence: str = "Apache-2.0"  # SPDX, of the weights


def fit_classifier(
    recipe: RetrievalRecipe, train: CachedRows, dev: CachedRows | None, folder: Path, *, resume: bool = False
) -> nn.Module:
    """Train on cached rows; epochs are chosen on dev where the recipe says so. Checkpoints lie in `folder`.

    Raises what `fit` raises.
    """
    layers, _, width = train.queries.shorts.shape[1:]
    seed_run(recipe.seed, "init")
    network = classifier_config(recipe, layers, width).build()
    loss = CrossEntropyConfig(class_weights=inverse_to_frequency(train.queries.labels)).build(2, 2)
    batches = EpochsOf(train, recipe.loop.batch_size, recipe.seed)
    fit(network, DetectionTask(loss), batches, InOrder(dev) if dev else None, recipe, folder, resume=resume)
    return network.eval()


def classifier_config(recipe: RetrievalRecipe, layers: int, width: int) -> RadMfaConfig:
    """The classifier that a recipe trains on features of so many layers."""
    return RadMfaConfig(layers=layers, width=width, neighbours=recipe.neighbours, hidden=recipe.hidden)


def inverse_to_frequency(labels: NDArray[np.int64]) -> tuple[float, float]:
    """Weights of spoof and bona fide that sum to 1. Raises `DataError` where a class is missing."""
    spoofs, genuine = int((labels == 0).sum()), int((labels == 1).sum())
    if not spoofs or not genuine:
        raise DataError("a classifier learns from both classes", fix="Give bona fide rows and spoofs.")
    return genuine / len(labels), spoofs / len(labels)


@torch.inference_mode()
def scores_of(network: nn.Module, rows: CachedRows) -> Floats:
    """Bona fide logit minus spoof logit, [R]."""
    found = [bona_fide_score(network(batch.waveforms, batch.lengths)) for batch in InOrder(rows)]
    return np.asarray(torch.cat(found).double().numpy())


def train_retrieval(
    recipe: RetrievalRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Hear the recipe's rows, retrieve their neighbours, train, calibrate on dev, and write `folder/model`.

    What was heard is kept in `folder/heard`. Gives the model's folder. Raises `AudioError` for a row that cannot be
    heard, `DataError`, `LeakError`, `ModelError`, `RecipeError` and `UsageError` as the steps do.
    """
    folder = Path(folder)
    index = Index.open(recipe.index)
    data = read_split(recipe.data, recipe.split, "detection", recipe.split.shared_voices, allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    train, dev = (
        CachedRows.retrieved(
            heard_rows(index.hearing, side, folder / "heard"), index.database, recipe.neighbours, guard=recipe.guard
        )
        for side in (data.train, data.dev)
    )
    classifier = fit_classifier(recipe, train, dev, folder / "fit", resume=resume)
    model = folder / "model"
    notes = (*data.notes, *_about(index, data, train.excluded + dev.excluded))
    save_model(model, _described(recipe, index, data, notes, model), classifier.state_dict())
    return calibrate_detector(model, data.dev)


def heard_rows(hearing: Hearing, rows: Manifest, folder: Path) -> Queries:
    """The first segment with sound of every labelled row, kept in files by what it depends on.

    Raises `AudioError` for a row that cannot be heard, `DataError` for one without a label.
    """
    features = [_heard_row(hearing, rows, row, folder) for row in rows.rows()]
    joined = Features.joined(features)
    return Queries(
        joined.embeddings,
        joined.shorts,
        np.array([int(row.label == "bonafide") for row in rows.rows()], np.int64),
        tuple(
            Identity(row.id, row.source_recording, None, one.sounds)
            for row, one in zip(rows.rows(), features, strict=True)
        ),
    )


def _heard_row(hearing: Hearing, rows: Manifest, row: Row, folder: Path) -> Features:
    if row.label is None:
        raise DataError("a detector is trained on labelled rows only", where=row.id)
    path = rows.resolve(row)
    size = path.stat().st_size if path.is_file() else None
    key = sha256_data([row.id, path.name, size, row.channel, row.start, row.end, hearing.recipe.sha256])
    file = folder / key[:2] / f"{key[2:34]}.safetensors"
    if file.is_file():
        tensors, segments = read_tensors(file)
        known = tuple(Segment(**segment) for segment in segments)
        return Features(known, tensors["embeddings"].numpy(), tensors["shorts"].numpy())
    heard = hearing.first(path, row.channel, row.start or 0.0, row.end)
    arrays = {"embeddings": torch.from_numpy(heard.embeddings), "shorts": torch.from_numpy(heard.shorts)}
    write_tensors(file, arrays, [asdict(segment) for segment in heard.segments])
    return heard


def _about(index: Index, data: SplitData, excluded: int) -> tuple[str, ...]:
    """Which database was used, and whether it knows the test's genuine recordings, which makes results optimistic."""
    known = {origin.id for origin in index.database.origins}
    tested = set(data.test.table["id"]) & known
    recipe = index.hearing.recipe.sha256[:16]
    return (
        f"index {index.folder.name} (recipe {recipe}): {len(index.database)} genuine segments",
        f"{excluded} segment(s) excluded as the asking recording itself",
        f"{len(tested)} recording(s) of the test side are in the index"
        + ("; results are optimistic" if tested else ""),
    )


def _described(
    recipe: RetrievalRecipe, index: Index, data: SplitData, notes: tuple[str, ...], model: Path
) -> ModelInfo:
    hearing = index.hearing.recipe
    config = classifier_config(recipe, hearing.layers, hearing.width)
    record = RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        inputs={
            "train": data.train.sha256,
            "dev": data.dev.sha256,
            "test": data.test.sha256,
            "index segments": sha256_file(index.folder / SEGMENTS),
        },
        licences=sorted({source.licence for source in sources_of(data)}),
        notes=list(notes),
    )
    return ModelInfo(
        name=recipe.name,
        task="deepfake",
        summary=recipe.notes,
        network={},
        rate=hearing.rate,
        windows=hearing.windows,
        polarity="higher = bona fide",
        licence=recipe.licence,
        data=sources_of(data),
        extra={RETRIEVAL: RetrievalInfo.of(config, index, model).model_dump(mode="json")},
        training=record.plain(),
    )
