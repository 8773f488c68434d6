"""Official RawNetLite: its one logit rises with fake speech, so it is written as the spoof logit, bona fide at zero.

The first 3 s, divided by their peak, shorter recordings followed by silence.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from earwitness.audio.windows import First
from earwitness.deepfake.importing.official import Filled
from earwitness.nn.frontends import WaveformConfig
from earwitness.nn.network import BranchConfig, NetworkConfig
from earwitness.nn.pooling import RawNetLiteConfig
from earwitness.nn.pooling.rawnet_lite import RAWNET_LITE_KEYS
from earwitness.training.tensors import load_trained_state


def read_rawnet_lite(state: Mapping[str, Tensor], trained_on: str) -> Filled:
    """Its score is minus the official logit. Raises `ModelError` unless names and shapes agree in both directions."""
    branch = BranchConfig(frontend=WaveformConfig(window=1, hop=1), pooling=RawNetLiteConfig())
    config = NetworkConfig(branches=[branch], outputs=2)
    network = config.build()
    wanted = {**network.state_dict(), **nn.Linear(network.dim, 1).state_dict(prefix="classifier.")}
    ours = RAWNET_LITE_KEYS.to_ours(state, wanted)
    for name in ("classifier.weight", "classifier.bias"):
        ours[name] = torch.cat([ours[name], torch.zeros_like(ours[name])])
    load_trained_state(network, ours)
    return Filled(
        network.eval(), config, First(length_s=3.0), trained_on, "minus the published logit, which rises with fake"
    )
