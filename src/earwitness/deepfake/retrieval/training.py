"""Teaching the classifier of RAD on cached features (stage 3, arXiv 2404.13892): the encoder stays as it is.

Stage 0 fine-tunes the encoder by an ordinary detector's recipe (front-end `pretrained`, pooling `mfa`), stage 1 is
`earwitness index build --encoder MODEL`, stage 2 the retrieval here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from earwitness.core.errors import DataError
from earwitness.corpora.splits import DetectionSplit
from earwitness.deepfake.retrieval.cached import CachedRows, EpochsOf, InOrder
from earwitness.deepfake.retrieval.rad_mfa import RadMfaConfig
from earwitness.deepfake.task import DetectionTask, bona_fide_score
from earwitness.nn.losses import CrossEntropyConfig
from earwitness.training.loop import fit, seed_run
from earwitness.training.optimisers import AdamConfig, OptimiserConfig
from earwitness.training.recipe import LoopConfig, Recipe, SelectConfig

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
    config = RadMfaConfig(layers=layers, width=width, neighbours=recipe.neighbours, hidden=recipe.hidden)
    seed_run(recipe.seed, "init")
    network = config.build()
    loss = CrossEntropyConfig(class_weights=inverse_to_frequency(train.queries.labels)).build(2, 2)
    batches = EpochsOf(train, recipe.loop.batch_size, recipe.seed)
    fit(network, DetectionTask(loss), batches, InOrder(dev) if dev else None, recipe, folder, resume=resume)
    return network.eval()


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
