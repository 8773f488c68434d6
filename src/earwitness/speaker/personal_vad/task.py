"""How SVVAD is trained and judged: who is in the mix is known, since we made it; where in it is never told.

A batch has four paths of equal size, in this order: registration (the speaker, clean), target (the speaker, another
clean recording), mixture (the target with others) and impostor (others alone, as long as the mixture).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import fields

import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.metrics.detection import eer
from earwitness.nn.types import Frames
from earwitness.speaker.personal_vad.backbone import Gated, PersonalVad
from earwitness.speaker.personal_vad.losses import LossConfig, Vectors, hinges
from earwitness.speaker.personal_vad.verifier import FrozenVerifier
from earwitness.training.task import Losses, Metrics

PATHS = 4


class PersonalVadTrainee(nn.Module):
    """G, which learns, and S, which does not; `config` says which vectors the terms need."""

    def __init__(self, vad: PersonalVad, verifier: FrozenVerifier, config: LossConfig) -> None:
        super().__init__()
        self.vad = vad
        self.verifier = verifier
        self.config = config

    def forward(self, waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """The fields of `Vectors` from the four paths [4 B, N], in one call, so that a loss never reaches past a
        forward that devices share. Gradients pass through S into G."""
        parts = zip(waveforms.chunk(PATHS), lengths.chunk(PATHS), strict=True)
        registration, target, mixture, impostor = (self._features(*part) for part in parts)
        found = {}
        with torch.no_grad():
            found["registration"] = voices = self.verifier.embed(registration)
            found["raw_mixture"] = self.verifier.embed(mixture)
            found["raw_impostor"] = self.verifier.embed(impostor)
            if self.config.reference or self.config.identity:
                found["clean"] = self.verifier.embed(target)
        gated = self._gated(mixture, voices)
        found |= {"mixture": self.heard(gated), "gamma": _mean(gated)}
        absent = self._gated(impostor, voices)
        found |= {"impostor": self.heard(absent), "impostor_gamma": _mean(absent)}
        if self.config.identity:
            found["gated_clean"] = self.heard(self._gated(target, voices))
        return found

    def heard(self, gated: Gated) -> Tensor:
        """What S makes of gated frames, [B, E]."""
        return self.verifier.embed(gated.frames, gated.gamma if self.vad.config.gamma_pools else None)

    def _features(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        return self.verifier.features(waveforms[:, : int(lengths.max())], lengths)

    def _gated(self, frames: Frames, voices: Tensor) -> Gated:
        gated: Gated = self.vad(frames, voices)
        return gated


class PersonalVadTask:
    """The terms of `losses`; on dev the EER of mixtures against impostors, gated and as the plain verifier has it."""

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        self._sums: dict[str, float] = defaultdict(float)
        self._steps = 0

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """The weighted terms of a batch. Raises `DataError` for a batch of another kind."""
        _check(batch)
        vectors = Vectors(**model(batch.waveforms, batch.lengths))
        terms = hinges(vectors, self.config)
        self._count(vectors, terms)
        return Losses({name: getattr(self.config, name) * values.mean() for name, values in terms.items()})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """`eer` and `eer_plain` (interpolated), the weighted loss, and the mean gamma of mixtures."""
        scores: dict[str, list[Tensor]] = defaultdict(list)
        for batch in batches:
            _check(batch)
            one = Vectors(**model(batch.waveforms, batch.lengths))
            for name in ("mixture", "impostor", "raw_mixture", "raw_impostor"):
                scores[name].append((getattr(one, name) * one.registration).sum(-1))
            scores["gamma"].append(one.gamma)
            terms = hinges(one, self.config)
            scores["loss"].append(torch.stack([getattr(self.config, n) * v for n, v in terms.items()]).sum(0))
        found = {name: torch.cat(parts).double().cpu().numpy() for name, parts in scores.items()}
        return Metrics(
            {
                "eer": eer(found["mixture"], found["impostor"]).value,
                "eer_plain": eer(found["raw_mixture"], found["raw_impostor"]).value,
                "loss": float(found["loss"].mean()),
                "gamma": float(found["gamma"].mean()),
            }
        )

    def notes(self, model: nn.Module) -> dict[str, float]:
        """Means over the steps of the epoch: shares of active hinges, mean gamma, and cosines with the registration."""
        found = {name: total / self._steps for name, total in self._sums.items()}
        self._sums, self._steps = defaultdict(float), 0
        return found

    @torch.no_grad()
    def _count(self, vectors: Vectors, terms: dict[str, Tensor]) -> None:
        self._steps += 1
        for name, values in terms.items():
            if name not in ("identity", "absence"):
                self._sums[f"active {name}"] += float((values > 0).float().mean())
        self._sums["gamma"] += float(vectors.gamma.mean())
        self._sums["gamma impostor"] += float(vectors.impostor_gamma.mean())
        for name in ("mixture", "impostor", "raw_mixture", "raw_impostor"):
            cosine = (getattr(vectors, name) * vectors.registration).sum(-1)
            self._sums[f"cosine {name}"] += float(cosine.mean())


def _check(batch: Batch) -> None:
    """Raises `DataError` unless the batch has the four paths and tells nothing else: no label of any kind, of
    recordings or of frames, may reach the loss."""
    told = [field.name for field in fields(batch.targets) if getattr(batch.targets, field.name) is not None]
    if batch.paths != PATHS or told:
        what = f"a batch of {batch.paths} path(s)" + (f" with {told[0]} labels" if told else "")
        raise DataError(f"{what} where {PATHS} paths without labels are learnt from")


def _mean(gated: Gated) -> Tensor:
    """The mean gamma of each item over its frames, [B]."""
    mask = gated.frames.mask
    total = gated.gamma[..., 0].sum(1)
    return total / (gated.gamma.shape[1] if mask is None else mask.sum(1))
