"""A network of this package heard from its features on: a spectrogram goes in; logits, and what stands before and after
its pooling, come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import ModelError
from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.base import SpectralFrontend
from earwitness.nn.network import Branch, Network
from earwitness.nn.types import Embedding, Frames

COSINE_SCALE = 30.0  # of a speaker network's cosines with prototypes, as margin losses have it


@dataclass(frozen=True)
class Outputs:
    """`logits` [B, K]; `pre` [B, C, N'], the frames that are pooled; `post` [B, P], what pooling makes of them."""

    logits: Tensor
    pre: Tensor
    post: Tensor


class Tapped(nn.Module):
    """Spectrograms [B, 1, F, N] -> `Outputs`; F is the sum of the front-ends' features over the branches.

    A front-end that takes the mean over the utterance off does so here too, with whatever length it is given.
    A network without classifier classifies by cosines with `prototypes` [K, D] of unit length, times 30.
    Raises `ModelError` for a front-end that is a pretrained encoder, and where there is nothing to classify by.
    """

    prototypes: Tensor | None

    def __init__(self, network: Network, prototypes: Tensor | None = None) -> None:
        super().__init__()
        if not all(isinstance(branch.frontend, SpectralFrontend) for branch in network.branches):
            raise ModelError(
                "its front-end is a pretrained encoder, which stays as large as it is whatever stands behind it",
                fix="Invert a network on spectra (log_mel, fbank, lfcc, fine_structure).",
            )
        if network.classifier is None and prototypes is None:
            raise ModelError(
                "has neither a classifier nor a cohort, so there are no classes to invert",
                fix="Give a model with `outputs`, or a speaker model with its cohort.",
            )
        self.network = network
        self.register_buffer("prototypes", prototypes if network.classifier is None else None, persistent=False)
        self.branches = tuple(cast(Branch, branch) for branch in network.branches)
        self.bands = tuple(branch.frontend.dim for branch in self.branches)
        self.post_dim = sum(branch.dim for branch in self.branches)
        self.pre_dim = sum(branch.encoder.dim for branch in self.branches)

    @property
    def classes(self) -> int:
        """K."""
        if self.prototypes is not None:
            return len(self.prototypes)
        training = self.network.training
        self.network.eval()  # batch-norm in a committee takes no single row, and is to learn nothing from this one
        with torch.no_grad():
            outputs = self.network.classify(Embedding(torch.zeros(1, self.network.dim, device=self.device)))
        self.network.train(training)
        return outputs.shape[1]

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def forward(self, x: Tensor) -> Outputs:
        """[B, 1, F, N] -> `Outputs`."""
        pre, post = [], []
        for branch, part in zip(self.branches, torch.split(x.squeeze(1), list(self.bands), dim=1), strict=True):
            frames = part.transpose(1, 2)
            if getattr(branch.frontend.config, "mean_norm", False):
                frames = spectrum.subtract_mean(frames)
            encoded = branch.encoder(Frames(frames))
            pre.append(encoded.values.transpose(1, 2))
            post.append(branch.pooling(encoded).mean)
        shortest = min(part.shape[-1] for part in pre)
        pre = [part if part.shape[-1] == shortest else F.adaptive_avg_pool1d(part, shortest) for part in pre]
        pooled = torch.cat(post, dim=1)
        return Outputs(self.classify(pooled), torch.cat(pre, dim=1), pooled)

    def classify(self, pooled: Tensor) -> Tensor:
        """What pooling gave [B, P] -> logits [B, K]."""
        embedding = self.network.embedding
        vector = pooled if embedding is None else embedding(pooled)
        if self.prototypes is None:
            return self.network.classify(Embedding(vector))
        return COSINE_SCALE * F.normalize(vector) @ self.prototypes.T
