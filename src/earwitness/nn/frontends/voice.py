"""The voice print of a trained speaker model as a front-end, for heads that read it beside other frames."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import earwitness.models
from earwitness.core.errors import EarwitnessError, ModelError
from earwitness.core.hashing import sha256_file
from earwitness.nn.frontends.base import Frontend, FrontendConfigBase
from earwitness.nn.layers.folding import folded

if TYPE_CHECKING:
    from earwitness.nn.network import Network

SHIPPED, WEIGHTS = "speaker", "weights.safetensors"


class VoiceConfig(FrontendConfigBase):
    """`model`: a speaker model that ships with this version, or the folder of one. `sha256` of its weights, where it is
    given, is the one whose prints are meant: with other weights a head would read numbers that mean nothing to it."""

    kind: Literal["voice"] = "voice"
    model: str = SHIPPED
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    def build(self) -> VoicePrints:
        """The front-end, with weights. Raises `ModelError` where the model is not there, altered, or another one."""
        return VoicePrints(_network(self.model, self.sha256))

    def pinned(self) -> VoiceConfig:
        """With the sha256 of the weights that are there now. Raises `ModelError` where the model is not there."""
        return self.model_copy(update={"sha256": self.sha256 or sha256_file(_folder(self.model) / WEIGHTS)})


class VoicePrints(Frontend):
    """[B, N] -> [B, 1, D]: one frame, the unit voice print of all N samples.

    The speaker network is shared by all heads of the process, never trained, and no submodule: its weights stay in
    their own folder.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._shared = (network,)
        self.dim = network.dim
        self.frames_per_second = 1.0
        self.shortest = max(branch.frontend.shortest for branch in network.branches)  # type: ignore[union-attr, assignment, type-var]

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, 1, D]."""
        network = self._shared[0].to(waveforms.device)
        with torch.no_grad():
            vectors = network.embed(waveforms).mean
        return F.normalize(vectors, dim=1)[:, None]


@lru_cache(maxsize=4)
def _network(model: str, sha256: str | None) -> Network:
    """The speaker network of a model folder, frozen."""
    from earwitness.core.config import parse_config
    from earwitness.nn.network import NetworkConfig  # it names this front-end among others

    folder = _folder(model)
    weights = folder / WEIGHTS
    try:
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        expected, task = str(told["files"][weights.name]), told["task"]
        if task != "speaker":
            raise ModelError(f"this model answers '{task}', not 'speaker'", where=folder)
        if (found := sha256_file(weights)) != expected:
            raise ModelError("was altered: its sha256 is not the one in model.json", where=weights)
        if sha256 is not None and found != sha256:
            what = f"holds other weights (sha256 {found[:12]}...) than the head was trained on ({sha256[:12]}...)"
            raise ModelError(what, where=folder, fix="Install the version that the head came with.")
        config: NetworkConfig = parse_config(NetworkConfig, told["network"])
        network = config.build()
        network.load_state_dict({name: value.float() for name, value in load_file(weights).items()}, strict=False)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        if isinstance(error, EarwitnessError):
            raise
        raise ModelError(f"is no speaker model that can be read ({error})", where=folder) from None
    return folded(network.requires_grad_(False))


def _folder(model: str) -> Path:
    shipped = Path(next(iter(earwitness.models.__path__))) / model
    folder = shipped if (shipped / "model.json").is_file() else Path(model)
    if not (folder / "model.json").is_file():
        raise ModelError("there is no such speaker model", where=model, fix="Name a shipped one, or a model folder.")
    return folder
