"""The frozen verifier S of SVVAD: a speaker network read at its features, so that gradients pass through it.

Supported: networks of one branch whose front-end gives logarithmic filterbank features with the mean of the recording
taken out (`fbank`, or `log_mel` with `log`, both with `mean_norm`). There 0 is the recording's average, so that a
gamma below 1 mutes; in features that were not normalised 0 is a loud frame, and without logarithm an offset is no gain.
All others are refused.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import ModelError
from earwitness.nn.frontends.fbank import Fbank
from earwitness.nn.frontends.log_mel import LogMel, LogMelConfig
from earwitness.nn.layers.frozen import freeze
from earwitness.nn.network import Network
from earwitness.nn.pooling.weighted import pool_weighted
from earwitness.nn.types import Frames
from earwitness.speaker.personal_vad.unpadded import in_order, unpadded

SUPPORTED = "Use one with a single branch on fbank or logarithmic log_mel features with mean_norm, e.g. speaker-small."


class FrozenVerifier(nn.Module):
    """S, in eval mode and without gradients of its own. Raises `ModelError` for a network that is not supported."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        _require_supported(network)
        self.network = network
        self.branch = network.branches[0]
        self.dim = network.dim
        self.features_dim: int = self.branch.frontend.dim  # type: ignore[assignment]
        self.frames_per_second: float = self.branch.frontend.frames_per_second  # type: ignore[union-attr, assignment]
        config = self.branch.frontend.config  # type: ignore[union-attr]
        self.hop: int = config.hop  # type: ignore[union-attr, assignment]
        self.window: int = config.n_fft if isinstance(config, LogMelConfig) else config.window  # type: ignore[union-attr, assignment]
        freeze(self)

    def train(self, mode: bool = True) -> FrozenVerifier:
        """It stays in eval mode whatever it is told: batch-norms must not move with what they hear."""
        return super().train(False)

    @torch.no_grad()
    def features(self, waveforms: Tensor, lengths: Tensor | None = None) -> Frames:
        """[B, N] -> [B, T, F], each recording normalised over its own length. Raises `AudioError` for one too short."""
        frontend = self.branch.frontend
        if lengths is None or bool((lengths == waveforms.shape[1]).all()):
            return frontend(waveforms)  # type: ignore[no-any-return, operator]
        found = [frontend(one[:size][None]).values[0] for one, size in zip(waveforms, lengths.tolist(), strict=True)]  # type: ignore[operator]
        counts = torch.tensor([len(one) for one in found], device=waveforms.device)
        values = nn.utils.rnn.pad_sequence(found, batch_first=True)
        mask = torch.arange(values.shape[1], device=waveforms.device) < counts[:, None]
        return Frames(values, None if bool(mask.all()) else mask)

    def embed(self, frames: Frames, weights: Tensor | None = None) -> Tensor:
        """Frames [B, T, F], and weights of the pooling [B, T, 1] where some count more -> unit vectors [B, E]."""

        places, parts = [], []
        for rows, values in unpadded(frames):
            here = Frames(values)
            if weights is None:
                vectors = self.network.embed_features([here]).mean
            else:
                vectors = self._weighted(here, weights[rows, : values.shape[1], 0])
            parts.append(F.normalize(vectors))
            places.append(rows)
        return in_order(parts, places)

    def _weighted(self, frames: Frames, weights: Tensor) -> Tensor:
        """Raises `RecipeError` for a pooling that cannot be weighted."""
        heard = self.branch.encoder(frames)  # type: ignore[operator]
        pooled = pool_weighted(self.branch.pooling, heard, weights).mean  # type: ignore[arg-type]
        layer = self.network.embedding
        return pooled if layer is None else layer(pooled)

    def fingerprint(self) -> str:
        """Sha256 over every parameter and buffer: the same before and after a training."""
        found = hashlib.sha256()
        for name, value in sorted([*self.network.named_parameters(), *self.network.named_buffers()]):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()


def _require_supported(network: Network) -> None:
    """Raises `ModelError` saying which front-ends can be read."""
    frontends = [branch.frontend for branch in network.branches]
    if len(frontends) != 1:
        raise ModelError(f"a verifier of {len(frontends)} branches cannot be read at its features", fix=SUPPORTED)
    frontend = frontends[0]
    name = str(getattr(getattr(frontend, "config", None), "kind", type(frontend).__name__))
    if not isinstance(frontend, Fbank | LogMel):
        raise ModelError(f"the front-end '{name}' is not one that personal VAD can read", fix=SUPPORTED)
    if not frontend.config.mean_norm:
        raise ModelError(f"the verifier's front-end '{name}' does not take the mean out", fix=SUPPORTED)
    if isinstance(frontend, LogMel) and not frontend.config.log:
        raise ModelError(f"the verifier's front-end '{name}' is not logarithmic", fix=SUPPORTED)


def without_frames(frames: Frames, kept: Tensor) -> Frames:
    """One recording's frames [1, T, F] cut to those `kept` [T] bool, their mean taken out anew; as they were where
    fewer than ten are left."""
    if int(kept.sum()) < 10:
        return frames
    values = frames.values[:, kept]
    return Frames(values - values.mean(dim=1, keepdim=True))
