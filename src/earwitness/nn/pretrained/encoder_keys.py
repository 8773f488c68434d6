"""wav2vec 2.0 / XLS-R under fairseq's names and WavLM under its original names, to transformers' names and back.

Settings are read from the shapes. What shapes cannot tell follows the published models: strides (5, 2, 2, 2, 2, 2, 2),
and layer norm first where the convolutions have layer norm. Heads of wav2vec 2.0 are known by width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.nn.pretrained.encoder_settings import EncoderSettings
from earwitness.nn.pretrained.key_map import KeyMap

Naming = Literal["fairseq_wav2vec2", "wavlm"]
HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}  # of wav2vec 2.0 and XLS-R by width
HEADS_OF_TRAINING = (  # of pre-training alone: codebook, its projections, and the vector of masked frames
    r"quantizer\..+",
    r"project_q\..+",
    r"final_proj\..+",
    r"mask_emb",
)
_LAYER = r"encoder\.layers\.(\d+)\."
_SHARED = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.(\w+)", r"feature_extractor.conv_layers.\1.0.\2"),
    (r"feature_projection\.layer_norm\.(\w+)", r"layer_norm.\1"),
    (r"feature_projection\.projection\.(\w+)", r"post_extract_proj.\1"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0", "encoder.pos_conv.0.weight_g"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", "encoder.pos_conv.0.weight_v"),
    (r"encoder\.pos_conv_embed\.conv\.bias", "encoder.pos_conv.0.bias"),
    (r"encoder\.layer_norm\.(\w+)", r"encoder.layer_norm.\1"),
    (_LAYER + r"attention\.([qkv]|out)_proj\.(\w+)", r"encoder.layers.\1.self_attn.\2_proj.\3"),
    (_LAYER + r"layer_norm\.(\w+)", r"encoder.layers.\1.self_attn_layer_norm.\2"),
    (_LAYER + r"feed_forward\.intermediate_dense\.(\w+)", r"encoder.layers.\1.fc1.\2"),
    (_LAYER + r"feed_forward\.output_dense\.(\w+)", r"encoder.layers.\1.fc2.\2"),
    (_LAYER + r"final_layer_norm\.(\w+)", r"encoder.layers.\1.final_layer_norm.\2"),
    (_LAYER + r"attention\.rel_attn_embed\.weight", r"encoder.layers.\1.self_attn.relative_attention_bias.weight"),
    (_LAYER + r"attention\.gru_rel_pos_linear\.(\w+)", r"encoder.layers.\1.self_attn.grep_linear.\2"),
    (_LAYER + r"attention\.gru_rel_pos_const", r"encoder.layers.\1.self_attn.grep_a"),
)


def encoder_keys(norm: Literal["group", "layer"]) -> KeyMap:
    """The map for encoders whose convolutions have a group norm (in the first alone) or layer norms."""
    place = "2.1" if norm == "layer" else "2"
    of_norm = (
        r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.(\w+)",
        rf"feature_extractor.conv_layers.\1.{place}.\2",
    )
    return KeyMap((*_SHARED, of_norm), left_out=HEADS_OF_TRAINING)


def read_encoder(
    state: Mapping[str, Tensor], naming: Naming, heads: int | None = None
) -> tuple[EncoderSettings, dict[str, Tensor]]:
    """The settings that the shapes tell, and the tensors under transformers' names.

    `heads` of attention, where the width does not tell them. Raises `ModelError` unless every tensor has its place.
    """
    settings = settings_of(state, naming, heads)
    with torch.device("meta"):  # names and shapes alone
        wanted = settings.build().state_dict()
    return settings, encoder_keys(settings.feat_extract_norm).to_ours(state, wanted)


def settings_of(state: Mapping[str, Tensor], naming: Naming, heads: int | None = None) -> EncoderSettings:
    """What the shapes of an official encoder tell. Raises `ModelError` for a tensor that every encoder has."""
    shapes = {name: tuple(value.shape) for name, value in state.items()}

    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise ModelError(f"its encoder has no {name}", fix="Give an official checkpoint, or another --as.")
        return shapes[name]

    convolutions = [shape(f"feature_extractor.conv_layers.{place}.0.weight") for place in range(7)]
    width = shape("post_extract_proj.weight")[0]
    position = shape("encoder.pos_conv.0.weight_v")
    layered = "feature_extractor.conv_layers.1.2.1.weight" in shapes
    if naming == "wavlm":
        heads = shape("encoder.layers.0.self_attn.grep_a")[1]
    if heads is None and width not in HEADS:
        raise ModelError(f"how many heads an encoder of width {width} has is not known", fix="Give its heads.")
    relative = shapes.get("encoder.layers.0.self_attn.relative_attention_bias.weight", (320,))
    return EncoderSettings(
        model_type="wavlm" if naming == "wavlm" else "wav2vec2",
        hidden_size=width,
        num_hidden_layers=1 + max(int(found[1]) for name in shapes if (found := re.match(_LAYER, name))),
        num_attention_heads=heads or HEADS[width],
        intermediate_size=shape("encoder.layers.0.fc1.weight")[0],
        conv_dim=tuple(size[0] for size in convolutions),
        conv_kernel=tuple(size[2] for size in convolutions),
        conv_bias="feature_extractor.conv_layers.0.0.bias" in shapes,
        feat_extract_norm="layer" if layered else "group",
        do_stable_layer_norm=layered,
        num_conv_pos_embeddings=position[2],
        num_conv_pos_embedding_groups=width // position[1],
        num_buckets=relative[0],
    )
