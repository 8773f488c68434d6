"""Official-named state-dicts of tiny speech encoders, written from the names of their own code and random tensors."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH, HIDDEN, LAYERS, HEADS, CHANNELS = 32, 48, 2, 4, 8
KERNELS = (10, 3, 3, 3, 3, 2, 2)
State = dict[str, Tensor]


def encoder(naming: str, *, layered: bool = True, training_heads: bool = True) -> State:
    """`naming`: fairseq_wav2vec2 or wavlm. `layered`: layer norm behind every convolution, else a group norm behind
    the first. `training_heads`: what pre-training alone needs."""
    state: State = {}

    def add(name: str, *shape: int, weight: str = "weight") -> None:
        scale = (3 / torch.Size(shape[1:]).numel()) ** 0.5 if len(shape) > 1 else 0.3
        state[f"{name}.{weight}" if weight else name] = (len(shape) == 1) + scale * (2 * torch.rand(shape) - 1)

    def affine(name: str, *shape: int) -> None:
        add(name, *shape)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0])

    convolution = "feature_extractor.conv_layers.{}"
    for place, kernel in enumerate(KERNELS):
        name = convolution.format(place)
        shape = (CHANNELS, CHANNELS if place else 1, kernel)
        affine(f"{name}.0", *shape) if naming != "wavlm" and layered else add(f"{name}.0", *shape)
        if layered or place == 0:
            affine(f"{name}.2.1" if layered else f"{name}.2", CHANNELS)
    affine("layer_norm", CHANNELS)
    affine("post_extract_proj", WIDTH, CHANNELS)
    state["encoder.pos_conv.0.weight_g"] = 1 + 0.3 * torch.rand(1, 1, 16)
    state["encoder.pos_conv.0.weight_v"] = torch.randn(WIDTH, WIDTH // 2, 16)
    state["encoder.pos_conv.0.bias"] = 0.1 * torch.randn(WIDTH)
    affine("encoder.layer_norm", WIDTH)
    for layer in range(LAYERS):
        name = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            affine(f"{name}.self_attn.{part}", WIDTH, WIDTH)
        affine(f"{name}.self_attn_layer_norm", WIDTH)
        affine(f"{name}.fc1", HIDDEN, WIDTH)
        affine(f"{name}.fc2", WIDTH, HIDDEN)
        affine(f"{name}.final_layer_norm", WIDTH)
        if naming == "wavlm":
            affine(f"{name}.self_attn.grep_linear", 8, WIDTH // HEADS)
            state[f"{name}.self_attn.grep_a"] = 1 + 0.3 * torch.rand(1, HEADS, 1, 1)
    if naming == "wavlm":
        state["encoder.layers.0.self_attn.relative_attention_bias.weight"] = torch.randn(20, HEADS)
    state["mask_emb"] = torch.randn(WIDTH)
    if training_heads and naming != "wavlm":
        state["quantizer.vars"] = torch.randn(1, 8, 4)
        affine("quantizer.weight_proj", 8, CHANNELS)
        affine("project_q", 8, 8)
        affine("final_proj", 8, WIDTH)
    return state
