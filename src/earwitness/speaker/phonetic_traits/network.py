"""ExPO's network (arXiv 2501.05729): frames, phonetic traits, and an embedding made of nothing but the traits."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import ModelError
from earwitness.nn.encoders.ecapa import EcapaConfig
from earwitness.nn.frontends import FbankConfig, Frontend, LogMelConfig
from earwitness.nn.network import EmbeddingConfig
from earwitness.speaker.phonetic_traits.layers import (
    Traits,
    filtered,
    frame_statistics,
    means_of,
    sums_of,
)
from earwitness.speaker.phonetic_traits.phinet import PhiNetConfig, PhiNetHead

#: The front-end of the released code: natural logarithms of 80 mel energies, 1e-8 added before and after the filters.
EXPO_MEL = LogMelConfig(
    n_fft=400,
    window=400,
    shape="hamming",
    fmin=20.0,
    fmax=7600.0,
    mel_scale="htk",
    area=False,
    log_floor=1e-8,
    floor="add",
    mean_norm=True,
)


class TraitNetworkConfig(Config):
    """`phones` is the size of the inventory. `pooling: frames` is the baseline: mean and deviation over all frames.

    `code_std`: see `layers.filtered`. With `phinet` there is no embedding, and the score is PhiNet's.
    """

    frontend: Annotated[LogMelConfig | FbankConfig, Field(discriminator="kind")] = EXPO_MEL
    encoder: EcapaConfig = EcapaConfig()
    phones: int = Field(40, ge=2)
    pooling: Literal["traits", "frames"] = "traits"
    code_std: bool = False
    embedding: EmbeddingConfig = EmbeddingConfig()
    phinet: PhiNetConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> TraitNetworkConfig:
        if isinstance(self.frontend, LogMelConfig) and self.frontend.center:
            raise ValueError("frames and labels must begin together; leave `center` of the frontend off")
        if self.phinet is not None and self.pooling == "frames":
            raise ValueError("phinet scores traits; leave `pooling` at traits")
        return self

    def build(self) -> TraitNetwork:
        """With random weights. Raises `RecipeError` where sizes don't fit."""
        return TraitNetwork(self)


class HeardTraits(NamedTuple):
    """Embeddings [B, D] (PhiNet: [B, 0]) and the traits that they were made of."""

    embedding: Tensor
    values: Tensor
    present: Tensor

    @property
    def traits(self) -> Traits:
        """Values and presence."""
        return Traits(self.values, self.present)


class TraitNetwork(nn.Module):
    """Waveforms [B, N] and the labels of their frames [B, T] -> `HeardTraits`."""

    def __init__(self, config: TraitNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend: Frontend = config.frontend.build()
        self.encoder = config.encoder.build(self.frontend.dim)
        self.embedding = None if config.phinet else config.embedding.build(2 * self.encoder.dim)
        self.head = config.phinet.build(config.phones) if config.phinet else None
        self.window = self.frontend.shortest
        self.hop = round(config.frontend.rate / self.frontend.frames_per_second)

    @property
    def dim(self) -> int:
        """Of the embedding; 0 where there is none."""
        return 0 if self.embedding is None else self.embedding.dim

    def frames(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, F], not negative, T = (N - window) // hop + 1."""
        return self.encoder(self.frontend(waveforms)).values  # type: ignore[no-any-return]

    def forward(self, waveforms: Tensor, labels: Tensor) -> HeardTraits:
        """Raises `DataError` where there are not as many labels as frames."""
        frames = self.frames(waveforms)
        traits = means_of(*sums_of(frames, labels, self.config.phones))
        pooled = frame_statistics(frames) if self.config.pooling == "frames" else self.pooled(traits)
        return HeardTraits(self.embed(pooled), traits.values, traits.present)

    def pooled(self, traits: Traits) -> Tensor:
        """Traits -> what the embedding is made of [B, 2F]."""
        return filtered(traits, self.config.code_std)

    def embed(self, pooled: Tensor) -> Tensor:
        """[B, 2F] -> [B, D]."""
        return pooled[:, :0] if self.embedding is None else self.embedding(pooled)

    def scoring(self) -> PhiNetHead:
        """PhiNet's head. Raises `ModelError` for a network that scores by embeddings."""
        if self.head is None:
            raise ModelError("this network scores by embeddings", fix="Set `network.phinet` in its recipe.")
        return self.head
