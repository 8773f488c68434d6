"""Official Nes2Net detectors (arXiv 2504.05657), whole: speech model, layer aggregation, back-end.

What the weights do not tell stands in a `Nes2NetRecipe`: how the waveform is normalised, the dilation, the activation,
the windows. What they do tell is read from them and checked: variant, ratios, pooling, number of logits, and the size
of the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from earwitness.audio.windows import Whole, WindowPolicy
from earwitness.core.errors import ModelError
from earwitness.deepfake.importing.official import ASVSPOOF_WINDOW, WORDS, Filled, ScoreKind, filled
from earwitness.nn.back_end import BackEnd
from earwitness.nn.encoders import Nes2NetConfig
from earwitness.nn.encoders.nes2net_keys import OfficialParts, Source, back_end_to_ours, split_official
from earwitness.nn.frontends.carried import CarriedConfig
from earwitness.nn.frontends.encoder import Normalisation
from earwitness.nn.network import Branch, BranchConfig, Network, NetworkConfig
from earwitness.nn.pooling import AstpConfig, MeanConfig
from earwitness.nn.pretrained.encoder_keys import read_encoder

_AGGREGATION = {  # official name: ours
    "fc_att_merge.0.weight": "squeeze.weight",
    "fc_att_merge.2.weight": "excite.weight",
    "weight_hidd": "weights",
    "W": "feature_weights",
    "W1": "squeeze",
    "W2": "excite",
    "linear_proj.weight": "projection.weight",
    "linear_proj.bias": "projection.bias",
}


@dataclass(frozen=True)
class Nes2NetRecipe:
    """One of the published recipes (table 2.6 of its public code): what its checkpoints are and need."""

    source: Source
    normalisation: Normalisation
    dilation: int
    windows: WindowPolicy
    trained_on: str
    selu: bool = False


RECIPES = {
    "nes2net-ctrsvdd": Nes2NetRecipe("s3prl_wavlm", "utterance", 1, Whole(), "CtrSVDD train"),
    "nes2net-ctrsvdd-selu": Nes2NetRecipe("s3prl_wavlm", "utterance", 1, Whole(), "CtrSVDD train", selu=True),
    "nes2net-asvspoof2019": Nes2NetRecipe("fairseq_wav2vec2", "none", 2, ASVSPOOF_WINDOW, "ASVspoof 2019 LA train"),
    "nes2net-in-the-wild": Nes2NetRecipe("fairseq_wav2vec2", "none", 2, Whole(), "ASVspoof 2019 LA train"),
    "nes2net-asvspoof5": Nes2NetRecipe("wavlm", "none", 1, ASVSPOOF_WINDOW, "ASVspoof 5 track 1 train"),
}


def read_nes2net(
    state: Mapping[str, Tensor], recipe: Nes2NetRecipe, score: ScoreKind, heads: int | None = None
) -> Filled:
    """A whole official checkpoint. Raises `ModelError` unless it is one of this recipe, every tensor in its place."""
    parts = split_official(state)
    if parts.source != recipe.source:
        held = parts.source or "no encoder"
        raise ModelError(f"holds {held}, this recipe has {recipe.source}", fix="Name the recipe that it came from.")
    settings, encoder = read_encoder(
        parts.encoder, "fairseq_wav2vec2" if recipe.source == "fairseq_wav2vec2" else "wavlm", heads
    )
    frontend = CarriedConfig(
        settings=settings, aggregation=parts.aggregation, normalisation=recipe.normalisation, name=recipe.source
    )
    branch = BranchConfig(frontend=frontend, encoder=back_end_config(parts, recipe), pooling=pooling_of(parts))
    config = NetworkConfig(branches=[branch], outputs=2)
    network = config.build()
    ours = {f"branches.0.frontend.encoder.model.{name}": value for name, value in encoder.items()}
    ours |= {f"branches.0.frontend.aggregation.{_AGGREGATION[n]}": v for n, v in parts.aggregation_state.items()}
    ours |= _in_network(back_end_to_ours(parts.back_end, _official_back_end(network, parts).state_dict()))
    left_out = len(parts.encoder) - len(encoder)
    notes = (f"{left_out} tensor(s) of pre-training alone were left out",) if left_out else ()
    return Filled(filled(network, ours, score), config, recipe.windows, recipe.trained_on, WORDS[score], notes)


def back_end_config(parts: OfficialParts, recipe: Nes2NetRecipe) -> Nes2NetConfig:
    """Variant and ratios from the names and shapes; dilation and activation from the recipe."""
    weighted = any(".weighted_sum." in name for name in parts.back_end)
    if recipe.selu and not weighted:
        raise ModelError("is plain Nes2Net, which has no SELU form", fix="Import it as nes2net-ctrsvdd.")
    kind: Literal["nes2net", "nes2net_x", "nes2net_x_selu"] = "nes2net"
    if weighted:
        kind = "nes2net_x_selu" if recipe.selu else "nes2net_x"
    squeezed, width = _tensor(parts, "Build_in_Res2Nets.0.se.se.1.weight").shape[:2]
    outer = 2 + _last(parts, r"Build_in_Res2Nets\.(\d+)\.")
    inner = 2 + _last(parts, r"Build_in_Res2Nets\.0\.convs\.(\d+)\.")
    return Nes2NetConfig(
        kind=kind, nes_ratio=(outer, inner), se_ratio=max(1, width // squeezed), dilation=recipe.dilation
    )


def pooling_of(parts: OfficialParts) -> MeanConfig | AstpConfig:
    """Attentive statistics where the checkpoint holds their layers, else the mean."""
    if "pooling.linear1.weight" not in parts.back_end:
        return MeanConfig()
    return AstpConfig(bottleneck=len(_tensor(parts, "pooling.linear1.weight")))


def _in_network(back_end: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a `BackEnd` as they stand in a `Network` of one branch."""
    return {name if name.startswith("classifier.") else f"branches.0.{name}": value for name, value in back_end.items()}


def _official_back_end(network: Network, parts: OfficialParts) -> BackEnd:
    """The network's back-end with as many logits as the checkpoint has."""
    branch = network.branches[0]
    assert isinstance(branch, Branch)
    return BackEnd(branch.encoder, branch.pooling, nn.Linear(network.dim, len(_tensor(parts, "fc.weight"))))


def _tensor(parts: OfficialParts, name: str) -> Tensor:
    if name not in parts.back_end:
        raise ModelError(f"its back-end has no {name}", fix="Give an official Nes2Net checkpoint.")
    return parts.back_end[name]


def _last(parts: OfficialParts, pattern: str) -> int:
    """The highest number at a place of the names; 0 where there is none."""
    return max((int(found[1]) for name in parts.back_end if (found := re.match(pattern, name))), default=0)
