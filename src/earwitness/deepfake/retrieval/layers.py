"""What hears for an index: all layers of an encoder, [B, N] -> [B, L, T', F].

Of a pretrained encoder the outputs of its transformer layers count, not the input of the first ("layer 0": a choice of
ours). Of anything else, a spectral front-end or a trained detector's own encoder, the frames are the one layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from pydantic import JsonValue, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import ModelError, UsageError
from earwitness.nn.frontends import EncoderFrontend, Frontend, FrontendConfig
from earwitness.nn.network import Branch, Network
from earwitness.training.model_folder import load_network, read_model_info
from earwitness.training.shipped import find_model

SOURCES = {"whisper", "pretrained"}  # kinds that read weights from a `source`
NOT_HEARD = {"source", "layers", "aggregation", "frozen", "allow_download"}  # settings that change no layer's output


class LayersConfig(Config):
    """Either a front-end, or `model`, a model folder whose first branch hears (an encoder that was fine-tuned)."""

    frontend: FrontendConfig | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> LayersConfig:
        if (self.frontend is None) == (self.model is None):
            raise ValueError("needs either `frontend` or `model`")
        return self

    @classmethod
    def of(cls, text: str) -> LayersConfig:
        """From a word of the command line: a kind (`whisper`, `log_mel`), `pretrained:SOURCE`, or a model's name or
        folder.

        Raises `UsageError`, `ModelError` and `RecipeError` for a word that is none of these.
        """
        kind, _, source = text.partition(":")
        if kind in SOURCES and (source or kind == "whisper"):
            return cls(frontend=parse_config(FrontendConfig, {"kind": kind} | ({"source": source} if source else {})))
        if kind == "pretrained":
            raise UsageError("`pretrained` needs the encoder's folder", fix="Write pretrained:FOLDER.")
        if text in _kinds():
            return cls(frontend=parse_config(FrontendConfig, {"kind": text}))
        return cls(model=str(find_model(text)))

    def load(self) -> LayerSource:
        """Raises `ModelError` and `MissingPartError` where it cannot be loaded."""
        if self.frontend is not None:
            return _of_frontend(self.frontend.build(), self.frontend.model_dump(mode="json"))
        assert self.model is not None
        folder = find_model(self.model)
        network = load_network(folder, read_model_info(folder))
        return _of_network(network, read_model_info(folder).network)


@dataclass(frozen=True)
class LayerSource:
    """An encoder in eval mode. `hearing` are the settings, `weights` the sha256 of the weights, that its output
    depends on."""

    features: Callable[[Tensor], Tensor]  # waveforms [B, N] at 16 kHz -> [B, L, T', F]
    hearing: Mapping[str, JsonValue]
    weights: str


def weights_sha256(modules: Mapping[str, nn.Module]) -> str:
    """Hex sha256 over names, types, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for part, module in sorted(modules.items()):
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _of_network(network: Network, config: Mapping[str, JsonValue]) -> LayerSource:
    """The first branch: the layers of its pretrained encoder, or what its own encoder gives, as one layer."""
    branch, settings = network.branches[0], config["branches"]
    assert isinstance(branch, Branch)
    assert isinstance(settings, list)
    first: Any = settings[0]
    if isinstance(branch.frontend, EncoderFrontend):
        return _of_frontend(branch.frontend, first["frontend"])

    def features(waveforms: Tensor) -> Tensor:
        values: Tensor = branch.encoder(branch.frontend(waveforms)).values
        return values.unsqueeze(1)

    hearing = {"frontend": first["frontend"], "encoder": first.get("encoder")}
    return LayerSource(features, hearing, weights_sha256({"frontend": branch.frontend, "encoder": branch.encoder}))


def _of_frontend(frontend: Frontend, settings: Mapping[str, JsonValue]) -> LayerSource:
    hearing = {name: value for name, value in settings.items() if name not in NOT_HEARD}
    frontend.eval()
    if not isinstance(frontend, EncoderFrontend):
        return LayerSource(lambda w: frontend(w).values.unsqueeze(1), hearing, weights_sha256({"": frontend}))
    heard_by = {name: part for name, part in frontend.named_children() if name not in ("encoder", "aggregation")}

    def features(waveforms: Tensor) -> Tensor:
        frontend.check(waveforms)
        states = frontend.hidden_states(waveforms)[1:]
        if not states:
            raise ModelError("this encoder has no layers behind its input")
        return torch.stack(states, dim=1)

    return LayerSource(features, hearing, weights_sha256({"": frontend.speech_encoder, **heard_by}))


def _kinds() -> set[str]:
    """Names of the front-ends."""
    members = get_args(get_args(FrontendConfig)[0])
    return {kind for member in members for kind in get_args(member.model_fields["kind"].annotation)}
