"""A batch of utterances and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

PATHS = ("clean", "augmented")
"""What the paths of a batch are called, in their order."""
SEXES = ("f", "m")
"""The classes of `Targets.sex`, in their order."""


@dataclass(frozen=True)
class Targets:
    """What a task learns from, [B] each where nothing else is said; None where the task did not ask for it.

    `label` is int64, 1 bona fide and 0 spoof (-1 unknown); `speaker` an int64 class index (-1 unknown); `age` float32
    years (NaN unknown); `emotion` an int64 class index (-1 unknown); `members` bool [B, M], which members of a
    committee learn from the utterance; `quality` an int64 level of speech quality, 0 the lowest (-1 unknown);
    `phones` int64 [B, T] the phone of each analysis frame (-1 none); `sound` an int64 class of sound (-1 unknown);
    `sex` int64, 0 female and 1 male (-1 unknown or another);
    `whole` bool, whether the utterance is heard from beginning to end, neither cut nor repeated: only then does its
    transcript say what is in it.
    """

    label: Tensor | None = None
    speaker: Tensor | None = None
    age: Tensor | None = None
    emotion: Tensor | None = None
    members: Tensor | None = None
    quality: Tensor | None = None
    phones: Tensor | None = None
    sound: Tensor | None = None
    sex: Tensor | None = None
    whole: Tensor | None = None

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Targets(**{name: None if value is None else value.to(device) for name, value in moved.items()})

    def rows(self, chosen: slice) -> Targets:
        """The targets of some rows of the batch."""
        taken = {f.name: getattr(self, f.name) for f in fields(self)}
        return Targets(**{name: None if value is None else value[chosen] for name, value in taken.items()})


@dataclass(frozen=True)
class Batch:
    """`waveforms` [B, N] float32, zeros after the end; `lengths` [B] int64, samples; `ids` of the rows; rate in Hz.

    With two `paths` the batch holds its utterances twice: first as they are, then perturbed, in the same order, with
    targets and ids repeated.
    """

    waveforms: Tensor
    lengths: Tensor
    targets: Targets
    ids: tuple[str, ...]
    rate: int = 16_000
    paths: int = 1

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        waveforms, lengths = self.waveforms.to(device), self.lengths.to(device)
        return replace(self, waveforms=waveforms, lengths=lengths, targets=self.targets.to(device))

    def each_path(self) -> tuple[Batch, ...]:
        """The batch of every path alone, clean first."""
        size = len(self.ids) // self.paths
        return tuple(self._rows(slice(k * size, (k + 1) * size)) for k in range(self.paths))

    def _rows(self, chosen: slice) -> Batch:
        targets, ids = self.targets.rows(chosen), self.ids[chosen]
        return Batch(self.waveforms[chosen], self.lengths[chosen], targets, ids, self.rate)
