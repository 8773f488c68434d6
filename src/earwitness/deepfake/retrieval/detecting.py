"""A trained RAD detector as a network: waveforms are heard, their genuine neighbours retrieved, and both judged.

Its model folder holds the classifier alone; the index stays where it is, and `model.json` says where that was and by
which recipe it was made. Only segments with the same samples are kept from being their own neighbours, since a network
knows no file names: the windows of such a model are therefore the index's own segments.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import DataError, ModelError, RecipeError
from earwitness.core.hashing import sha256_samples
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.index import Index
from earwitness.deepfake.retrieval.rad_mfa import RadMfaConfig
from earwitness.training.model_folder import DESCRIPTION, WEIGHTS, ModelInfo, load_weights
from earwitness.training.tensors import load_trained_state

RETRIEVAL = "retrieval"  # where `ModelInfo.extra` holds a `RetrievalInfo`


class RetrievalInfo(Config):
    """What a model says of its index: `path` against the model's folder, and the sha256 of the index's recipe."""

    classifier: RadMfaConfig
    path: str
    recipe: str

    @classmethod
    def of(cls, classifier: RadMfaConfig, index: Index, model: Path) -> RetrievalInfo:
        """For a model folder that will be at `model`."""
        path = os.path.relpath(index.folder.absolute(), model.absolute())
        return cls(classifier=classifier, path=Path(path).as_posix(), recipe=index.hearing.recipe.sha256)


class RetrievalNetwork(nn.Module):
    """Waveforms [B, N] of the index's segment length -> logits [B, 2]; only the classifier has weights of its own."""

    def __init__(self, index: Index, classifier: nn.Module, neighbours: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.index, self.neighbours = index, neighbours

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Raises what `Database.retrieve` raises."""
        embeddings, shorts = self.index.hearing.of(waveforms)
        features, counts = shorts[:, None], None
        if self.neighbours:
            database = self.index.database
            asking = [Identity(sounds=frozenset({sha256_samples(one.cpu().numpy())})) for one in waveforms]
            found = database.retrieve(embeddings, asking, self.neighbours)
            features = np.concatenate([features, database.features_of(found.nearest)], axis=1)
            counts = torch.from_numpy(found.counts).to(waveforms.device)
        values = torch.from_numpy(features.astype(np.float32)).to(waveforms.device)
        logits: Tensor = self.classifier(values, counts)
        return logits


def retrieval_network(folder: str | Path, info: ModelInfo) -> RetrievalNetwork:
    """The network of a model folder. Raises `ModelError` where its weights don't fit or its index is not there, or is
    another one."""
    weights = load_weights(folder)
    try:
        known: RetrievalInfo = parse_config(RetrievalInfo, info.extra.get(RETRIEVAL))
        index = Index.open(Path(os.path.normpath(Path(folder) / known.path)))
    except RecipeError as error:
        raise ModelError(error.what, where=Path(folder) / DESCRIPTION) from None
    except DataError as error:
        fix = f"This model judges by an index of genuine speech: put it there, or correct {DESCRIPTION}."
        raise ModelError(f"its index {error.what}", where=error.where, fix=fix) from None
    if (found := index.hearing.recipe.sha256) != known.recipe:
        what = f"was made by the recipe {found[:16]}, and this model learnt with {known.recipe[:16]}"
        raise ModelError(what, where=index.folder, fix="Give it the index that it was trained with.")
    classifier = known.classifier.build()
    load_trained_state(classifier, weights, where=Path(folder) / WEIGHTS)
    return RetrievalNetwork(index, classifier, known.classifier.neighbours).eval()
