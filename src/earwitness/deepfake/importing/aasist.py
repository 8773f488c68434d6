"""Official AASIST, AASIST-L (arXiv 2110.01200) and the AASIST of the ASVspoof 5 baseline.

Waveforms as they are, no normalisation; the first 64 600 samples, shorter recordings repeated; logit 1 is bona fide.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from earwitness.deepfake.importing.official import ASVSPOOF_WINDOW, WORDS, Filled, ScoreKind, filled
from earwitness.nn.frontends import SincConfig
from earwitness.nn.network import BranchConfig, NetworkConfig
from earwitness.nn.pooling import AasistRawConfig
from earwitness.nn.pooling.aasist_keys import AASIST_KEYS

AASIST = AasistRawConfig(pre_activation=False)
AASIST_L = AasistRawConfig(widths=(32, 32, 24, 24, 24, 24), dims=(24, 32), ratios=(0.4, 0.5, 0.7), pre_activation=False)


def read_aasist(state: Mapping[str, Tensor], pooling: AasistRawConfig, trained_on: str, score: ScoreKind) -> Filled:
    """Raises `ModelError` unless names and shapes agree in both directions."""
    branch = BranchConfig(frontend=SincConfig(), pooling=pooling)
    config = NetworkConfig(branches=[branch], outputs=2, dropout=0.5)
    network = config.build()
    ours = AASIST_KEYS.to_ours(state, network.state_dict())
    return Filled(filled(network, ours, score), config, ASVSPOOF_WINDOW, trained_on, WORDS[score])
