"""A whole network: branches (front-end, encoder, pooling), their joined vector, an optional embedding layer and
classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import ModelError, RecipeError
from earwitness.nn.back_end import BackEnd
from earwitness.nn.centroids import Centroids, CentroidsConfig
from earwitness.nn.encoders import Encoder, EncoderConfig, IdentityConfig
from earwitness.nn.frontends import Frontend, FrontendConfig, run_together
from earwitness.nn.layers.frozen import frozen_keys, keep_frozen_in_eval
from earwitness.nn.layers.grouping import run_by_length
from earwitness.nn.pooling import MeanConfig, Pooling, PoolingConfig, Posterior
from earwitness.nn.types import Embedding, Frames, Heard
from earwitness.nn.votes import VotesConfig

Given = Literal["logits", "similarities", "embedding"]


class BranchConfig(Config):
    """One path from waveform to vector."""

    frontend: FrontendConfig
    encoder: EncoderConfig = IdentityConfig()
    pooling: PoolingConfig = MeanConfig()

    def build(self) -> Branch:
        """Raises `RecipeError` where sizes don't fit."""
        frontend = self.frontend.build()
        encoder = self.encoder.build(frontend.dim)
        return Branch(frontend, encoder, self.pooling.build(encoder.dim))


class EmbeddingConfig(Config):
    """Batch-norm (optional), linear to `dim`, batch-norm of the output (optional), activation, unit length (optional),
    in this order. The output's has no weights of its own, and the linear layer before it no bias."""

    dim: int = Field(default=192, ge=1)
    batch_norm: bool = True
    output_norm: bool = False
    activation: Literal["none", "relu"] = "none"
    unit_length: bool = False

    def build(self, input_dim: int) -> EmbeddingLayer:
        """From pooled vectors of `input_dim` values."""
        return EmbeddingLayer(self, input_dim)


class NetworkConfig(Config):
    """Branches' vectors are concatenated. `outputs`: logits, or None for a network that embeds alone. `dropout` stands
    before the classifier, which is linear, or `votes`: small classifiers on each branch alone, or `centroids`:
    directions of bona fide speech, whose two logits differ by the score."""

    branches: list[BranchConfig] = Field(min_length=1)
    embedding: EmbeddingConfig | None = None
    outputs: int | None = Field(default=None, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    votes: VotesConfig | None = None
    centroids: CentroidsConfig | None = None

    @model_validator(mode="after")
    def _one_classifier(self) -> NetworkConfig:
        if self.votes is not None and (self.embedding is not None or self.outputs is None):
            raise ValueError("votes need `outputs`, and read the branches' own vectors: leave `embedding` out")
        if self.centroids is not None and (self.votes is not None or self.outputs != 2):
            raise ValueError("centroids need `outputs: 2` and stand in the place of votes")
        return self

    def build(self) -> Network:
        """With random weights (pretrained front-ends bring theirs). Raises `RecipeError` where sizes don't fit."""
        branches = [branch.build() for branch in self.branches]
        pooled = sum(branch.dim for branch in branches)
        embedding = None if self.embedding is None else self.embedding.build(pooled)
        dim = pooled if embedding is None else embedding.dim
        classifier = self._classifier([branch.dim for branch in branches], dim)
        return Network(branches, embedding, classifier, self.dropout)

    def _classifier(self, dims: list[int], dim: int) -> nn.Module | None:
        """From the branches' dims, or from the embedding's."""
        if self.outputs is None:
            return None
        if self.centroids is not None:
            return self.centroids.build(dim)
        return nn.Linear(dim, self.outputs) if self.votes is None else self.votes.build(dims, self.outputs)


class Branch(nn.Module):
    """A front-end, and what turns its frames [B, T, F] into one vector an utterance, [B, dim]."""

    def __init__(self, frontend: Frontend, encoder: Encoder, pooling: Pooling) -> None:
        super().__init__()
        self.frontend = frontend
        self.encoder = encoder
        self.pooling = pooling
        self.dim = pooling.dim

    def forward(self, features: Frames) -> Embedding:
        """The front-end's frames [B, T, F] -> [B, dim]."""
        return self.pooling(self.encoder(features))  # type: ignore[no-any-return]


class EmbeddingLayer(nn.Module):
    """Pooled vector [B, input_dim] -> embedding [B, dim]."""

    def __init__(self, config: EmbeddingConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.norm = nn.BatchNorm1d(input_dim) if config.batch_norm else nn.Identity()
        self.linear = nn.Linear(input_dim, config.dim, bias=not config.output_norm)
        self.output_norm = nn.BatchNorm1d(config.dim, affine=False) if config.output_norm else nn.Identity()
        self._config = config

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, input_dim] -> [B, dim]."""
        x: Tensor = self.output_norm(self.linear(self.norm(pooled)))
        if self._config.activation == "relu":
            x = torch.relu(x)
        return F.normalize(x) if self._config.unit_length else x

    @property
    def carries_variance(self) -> bool:
        """Whether a variance goes through analytically: nothing stands behind the linear layer."""
        return self._config.activation == "none" and not (self._config.unit_length or self._config.output_norm)

    def variance(self, pooled: Tensor) -> Tensor:
        """Variance of the pooled vector [B, input_dim] -> that of the embedding [B, dim], its diagonal alone.

        Batch-norm by its running statistics, in training too, then squared weights: v W^2 (xi+, arXiv 2509.05993).
        Never in half precision, which has no room for small variances.
        """
        with torch.autocast(pooled.device.type, enabled=False):
            if isinstance(self.norm, nn.BatchNorm1d):
                running = self.norm.running_var
                assert running is not None
                pooled = pooled * self.norm.weight.square() / (running + self.norm.eps)
            return F.linear(pooled, self.linear.weight.square().to(pooled.dtype))


class Network(nn.Module):
    """Waveforms -> embedding -> logits. Frozen parts stay in eval mode and out of `trainable_state`.

    Utterances of different lengths are grouped by length and run unpadded, so a batch gives what its items give alone.
    In train mode batch-norm sees one group at a time: train on crops of one length.
    """

    def __init__(
        self,
        branches: Sequence[Branch],
        embedding: EmbeddingLayer | None,
        classifier: nn.Module | None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.embedding = embedding
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        self.dim = embedding.dim if embedding is not None else sum(branch.dim for branch in branches)
        self._heard: list[Heard] | None = None

    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> Embedding:
        """[B, N] float32 at 16 kHz, lengths [B] in samples (None: all N) -> [B, dim]. Raises `DataError` for lengths
        outside of 1..N and `AudioError` for an utterance too short for one frame."""
        embedding = self.project(run_by_length(self.pool, waveforms, lengths))
        if self._heard is not None:
            self._heard.append(Heard(waveforms, lengths, embedding.mean))
        return embedding

    @contextmanager
    def listening(self) -> Iterator[list[Heard]]:
        """What `embed` is given and gives within, pass by pass: for a loss on the embedding beside a task's own."""
        before, self._heard = self._heard, []
        try:
            yield self._heard
        finally:
            self._heard = before

    def embed_features(self, features: Sequence[Frames]) -> Embedding:
        """The same from the front-ends' frames, one `Frames` a branch: for features computed before."""
        if len(features) != len(self.branches):
            raise ModelError(f"{len(features)} feature set(s) for {len(self.branches)} branch(es)")
        return self.project(self._joined(features))

    def classify(self, embedding: Embedding) -> Tensor:
        """Embedding [B, dim] -> logits [B, outputs]. Raises `ModelError` where the network has no classifier."""
        if self.classifier is None:
            raise ModelError("this network embeds and has no classifier", fix="Set `outputs` in its configuration.")
        return self.classifier(self.dropout(embedding.mean))  # type: ignore[no-any-return]

    def similarities(self, embedding: Embedding) -> Tensor:
        """Embedding [B, dim] -> cosines with the centroids [B, Q]. Raises `ModelError` where the network has none."""
        return self.centroids().similarities(self.dropout(embedding.mean))

    def centroids(self) -> Centroids:
        """The classifier of a one-class network. Raises `ModelError` where it is another."""
        if not isinstance(self.classifier, Centroids):
            raise ModelError("this network has no centroids", fix="Set `network.centroids` in its recipe.")
        return self.classifier

    def fuse(self, parts: Iterable[Embedding]) -> Embedding:
        """Pooled vectors [n, D] of parts of one recording (see `pool`) -> its own, [1, D], by the exact posterior.

        Raises `ModelError` where the network is not one branch that ends in a posterior.
        """
        pooling = self.branches[0].pooling
        if len(self.branches) != 1 or not isinstance(pooling, Posterior):
            raise ModelError("only a network of one branch with `posterior` pooling adds up its parts")
        return pooling.fuse(parts)

    @property
    def states_variance(self) -> bool:
        """Whether embeddings come with their own variance."""
        carried = self.embedding is None or self.embedding.carries_variance
        return carried and all(branch.pooling.states_variance for branch in self.branches)  # type: ignore[union-attr]

    @property
    def scores_by_own(self) -> bool:
        """Whether it scores by the centroid of a recording's own level, which must be told."""
        return isinstance(self.classifier, Centroids) and self.classifier.scoring == "own"

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None, give: Given = "logits") -> Tensor:
        """[B, N] -> logits [B, outputs], or similarities [B, Q], or the embedding [B, dim]: whatever is trained by, so
        that a loss never reaches past a forward that devices share."""
        embedding = self.embed(waveforms, lengths)
        if give == "embedding":
            return embedding.mean
        return self.similarities(embedding) if give == "similarities" else self.classify(embedding)

    def back_end(self) -> BackEnd:
        """Encoder, pooling and classifier, sharing this network's weights. Raises `RecipeError` where there is not one
        branch, or no classifier, or an embedding layer between."""
        if len(self.branches) != 1 or self.embedding is not None or not isinstance(self.classifier, nn.Linear):
            raise RecipeError("a back-end is one branch with a classifier and no embedding layer")
        branch = self.branches[0]
        return BackEnd(branch.encoder, branch.pooling, self.classifier)  # type: ignore[arg-type]

    def pool(self, waveforms: Tensor) -> Embedding:
        """Waveforms of equal length -> joined vectors; an encoder that branches share runs once."""
        frontends = [branch.frontend for branch in self.branches]
        return self._joined(run_together(frontends, waveforms))  # type: ignore[arg-type]

    def _joined(self, features: Sequence[Frames]) -> Embedding:
        """The branches' vectors concatenated; the variance too, where every branch states one."""
        parts = [branch(frames) for branch, frames in zip(self.branches, features, strict=True)]
        variances = [part.variance for part in parts if part.variance is not None]
        variance = torch.cat(variances, dim=1) if len(variances) == len(parts) else None
        return Embedding(torch.cat([part.mean for part in parts], dim=1), variance)

    def project(self, pooled: Embedding) -> Embedding:
        """Pooled vectors -> embeddings, with their variance where the layer carries one."""
        layer = self.embedding
        if layer is None:
            return pooled
        known = pooled.variance is not None and layer.carries_variance
        return Embedding(layer(pooled.mean), layer.variance(pooled.variance) if known else None)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> Network:
        """Frozen parts stay in eval mode."""
        super().train(mode)
        keep_frozen_in_eval(self)
        return self

    def trainable_state(self) -> dict[str, Tensor]:
        """The state-dict without the weights of frozen pretrained parts, which come from their own source."""
        frozen = frozen_keys(self)
        return {key: value for key, value in self.state_dict().items() if key not in frozen}
