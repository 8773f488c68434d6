"""Tiny official Nes2Net checkpoints: an encoder of width 32 under its own names, a back-end of ratios (4, 4)."""

from __future__ import annotations

import torch
from torch import nn

from earwitness.deepfake.importing.nes2net import RECIPES
from earwitness.nn.back_end import BackEnd
from earwitness.nn.encoders import Nes2NetConfig
from earwitness.nn.encoders.nes2net_keys import back_end_to_official
from earwitness.nn.pooling import MeanConfig
from official_encoders import WIDTH, State, encoder

PREFIX = {"s3prl_wavlm": "ssl_model.model.model.", "wavlm": "ssl_model.model.", "fairseq_wav2vec2": "ssl_model.model."}
BACK_END = "Nested_Res2Net_TDNN."


def naming(recipe: str) -> str:
    return "fairseq_wav2vec2" if RECIPES[recipe].source == "fairseq_wav2vec2" else "wavlm"


def tiny_back_end(recipe: str, kind: str = "nes2net_x") -> BackEnd:
    """In eval mode, one logit for CtrSVDD and two for the others."""
    config = Nes2NetConfig.model_validate({"kind": kind, "nes_ratio": (4, 4), "dilation": RECIPES[recipe].dilation})
    logits = 1 if recipe.startswith("nes2net-ctrsvdd") else 2
    return BackEnd(config.build(WIDTH), MeanConfig().build(WIDTH), nn.Linear(WIDTH, logits)).eval()


def checkpoint(recipe: str, kind: str = "nes2net_x") -> State:
    """The state-dict of a whole detector, random."""
    torch.manual_seed(0)
    network = tiny_back_end(recipe, kind)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_(std=0.1)
    state = {BACK_END + name: value.clone() for name, value in back_end_to_official(network.state_dict()).items()}
    state |= {PREFIX[RECIPES[recipe].source] + name: value for name, value in encoder(naming(recipe)).items()}
    if recipe.startswith("nes2net-ctrsvdd"):
        state["ssl_model.fc_att_merge.0.weight"] = torch.randn(1, 3)
        state["ssl_model.fc_att_merge.2.weight"] = torch.randn(3, 1)
    return state
