"""How an index was made. Whatever is compared with it must be heard in exactly the same way: the same weights, the same
frames averaged, segments of the same length."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from earwitness.audio.windows import Sliding
from earwitness.core.config import Config
from earwitness.core.errors import ModelError
from earwitness.core.hashing import sha256_data
from earwitness.deepfake.retrieval.layers import LayersConfig

Similarity = Literal["cosine", "euclidean"]


class IndexRecipe(Config):
    """`encoder` says where the layers come from, `weights` is their sha256, `hearing` their other settings.

    A segment is `segment_s` seconds (a shorter recording repeated to that), and gives features [layers, frames, width]
    after frames were averaged in groups of `tau`. `similarity`: the cosine, or the negative squared distance.
    """

    encoder: LayersConfig
    weights: str
    hearing: dict[str, JsonValue]
    layers: int = Field(ge=1)
    frames: int = Field(ge=1)
    width: int = Field(ge=1)
    tau: int = Field(10, ge=1)
    segment_s: float = Field(4.0, gt=0)
    rate: int = 16_000
    similarity: Similarity = "cosine"

    @property
    def sha256(self) -> str:
        """Hash of all but the place that the encoder was loaded from."""
        return sha256_data(self.model_dump(mode="json", exclude={"encoder"}))

    @property
    def windows(self) -> Sliding:
        """Segments one after the other; the last one ends with the recording."""
        return Sliding(length_s=self.segment_s, hop_s=self.segment_s)

    @property
    def samples(self) -> int:
        """Of a segment."""
        return max(1, round(self.segment_s * self.rate))

    def require_same(self, other: IndexRecipe, where: object) -> None:
        """Raises `ModelError` naming both hashes where `other` hears otherwise than the index at `where`."""
        if self.sha256 == other.sha256:
            return
        fix = "Hear both with the same encoder and settings, or build another index."
        if self.weights != other.weights:
            what = f"was built with encoder weights {self.weights[:16]}, and these are {other.weights[:16]}"
            raise ModelError(what, where=where, fix=fix)
        mine, theirs = (recipe.model_dump(mode="json", exclude={"encoder"}) for recipe in (self, other))
        name = next(name for name in mine if mine[name] != theirs[name])
        what = (
            f"was built by the recipe {self.sha256[:16]} ({name} {mine[name]}), and this is {other.sha256[:16]} "
            f"({name} {theirs[name]})"
        )
        raise ModelError(what, where=where, fix=fix)
