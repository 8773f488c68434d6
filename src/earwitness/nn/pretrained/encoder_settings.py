"""The shape of a wav2vec 2.0 or WavLM encoder, as plain settings: enough to build one without any file."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from earwitness.core.config import Config


class EncoderSettings(Config):
    """As transformers names them; strides of the convolutions in samples. Masking, layer drop and adapters are off."""

    model_type: Literal["wav2vec2", "wavlm"]
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    conv_dim: tuple[int, ...]
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool
    feat_extract_norm: Literal["group", "layer"]
    do_stable_layer_norm: bool
    num_conv_pos_embeddings: int = Field(default=128, ge=1)
    num_conv_pos_embedding_groups: int = Field(default=16, ge=1)
    num_buckets: int = Field(default=320, ge=1)  # of WavLM's relative positions
    max_bucket_distance: int = Field(default=800, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> EncoderSettings:
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride):
            raise ValueError("conv_dim, conv_kernel and conv_stride need one entry a layer")
        if self.hidden_size % math.lcm(self.num_attention_heads, self.num_conv_pos_embedding_groups):
            raise ValueError("hidden_size is no multiple of the heads and of the groups of the positions")
        return self

    def build(self) -> Any:
        """A transformers model with random weights, in eval mode."""
        import transformers

        given = self.model_dump(exclude={"model_type"}) | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
        if self.model_type == "wav2vec2":
            given = {key: value for key, value in given.items() if key not in ("num_buckets", "max_bucket_distance")}
            return transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**given)).eval()
        return transformers.WavLMModel(transformers.WavLMConfig(**given)).eval()
