"""All spectrograms that were synthesised so far: the student learns from the whole of it, not from the last round."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Pool:
    """Batches [B, 1, F, N] of several lengths N. A draw has one length, each as often as it has spectrograms."""

    def __init__(self, batches: Iterable[Tensor] = ()) -> None:
        self._by_length: dict[int, Tensor] = {}
        for batch in batches:
            self.add(batch)

    def __len__(self) -> int:
        return sum(len(part) for part in self._by_length.values())

    def add(self, batch: Tensor) -> None:
        """Take a batch in."""
        length = batch.shape[-1]
        known = self._by_length.get(length)
        self._by_length[length] = batch if known is None else torch.cat([known, batch])

    def draw(self, size: int) -> Tensor:
        """`size` spectrograms of one length, from torch's generator, without repeats where there are enough."""
        parts = [self._by_length[length] for length in sorted(self._by_length)]
        sizes = torch.tensor([float(len(part)) for part in parts])
        part = parts[int(torch.multinomial(sizes, 1))]
        places = torch.randperm(len(part))[:size] if len(part) >= size else torch.randint(len(part), (size,))
        return part[places.to(part.device)]

    def parts(self) -> list[Tensor]:
        """All of it, a tensor a length."""
        return [self._by_length[length] for length in sorted(self._by_length)]
