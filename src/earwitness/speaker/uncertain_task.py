"""How an embedder learns to state its own uncertainty: the variance loss of xi+ and the uncertain margin of U3-xi.

xi+ (arXiv 2509.05993) holds the variance to the distance from the speaker's centroid; U3-xi (arXiv 2601.15719) scales
the margin loss by it. Either or both; a network that states no variance is refused. What is logged of an epoch, as
`note/NAME`: `variance_weight`, `centroids` (classes that have one), `clamped_brackets` of `brackets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from earwitness.corpora.batch import PATHS, Batch
from earwitness.nn.losses import MarginRiseConfig, UncertainAam, VarianceLossConfig, variance_loss
from earwitness.speaker.task import SpeakerTask
from earwitness.training.task import Losses, TrainData


class UncertainSpeakerTask(SpeakerTask):
    """Speaker classification with a variance that is used. `config`: how it is held to centroids, or None.

    `train` are the batches that the run learns from; with centroids by a pass they are embedded once more after each
    epoch that counts: the same crops and perturbations, in evaluation mode.
    """

    def __init__(
        self, config: VarianceLossConfig | None, train: TrainData, rise: MarginRiseConfig | None = None
    ) -> None:
        super().__init__(rise)
        self.config, self.train = config, train

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Terms `margin` and, with a variance loss, `variance` (0 in epochs without weight); of two paths `clean` and
        `augmented`, half of all terms of either. Raises `DataError` for a batch without speakers."""
        classes = self.classes(batch)
        self.set_margin(model.head)
        both = model(batch.waveforms, batch.lengths, give="both")
        if batch.paths == 1:
            found = Losses(self._terms(model, both, classes))
        else:
            paths = zip(PATHS, both.chunk(batch.paths), classes.chunk(batch.paths), strict=True)
            found = Losses({name: self._sum(model, values, own) / batch.paths for name, values, own in paths})
        if self._moves():
            centroids: Any = model.centroids
            centroids.move(both[:, 0].detach(), classes)
        return found

    def _sum(self, model: nn.Module, both: Tensor, classes: Tensor) -> Tensor:
        return torch.stack(list(self._terms(model, both, classes).values())).sum()

    def _terms(self, model: nn.Module, both: Tensor, classes: Tensor) -> dict[str, Tensor]:
        mean, variance = both.unbind(1)
        head: Any = model.head
        given = (mean, classes, variance) if isinstance(head, UncertainAam) else (mean, classes)
        terms = {"margin": head(*given)}
        if self.config is not None:
            terms["variance"] = self._held(model, self.config, mean, variance, classes)
        return terms

    def _held(
        self, model: nn.Module, config: VarianceLossConfig, mean: Tensor, variance: Tensor, classes: Tensor
    ) -> Tensor:
        """The weighted variance loss over the items whose class has a centroid."""
        weight = config.weight_at(self._epoch)
        if weight == 0:
            return mean.sum() * 0
        centroids: Any = model.centroids
        error, known = centroids.errors(mean.float(), classes)
        of_items = torch.where(known, variance_loss(variance.float(), error, config), 0.0)
        held: Tensor = weight * of_items.sum() / known.sum().clamp_min(1)
        return held

    @property
    def _epoch(self) -> int:
        """The running epoch, from 1."""
        return int(self.epochs) + 1

    def _moves(self) -> bool:
        """Whether centroids follow what is embedded now: from one epoch before the loss on."""
        config = self.config
        return config is not None and config.centroids == "moving" and self._epoch >= config.first_epoch - 1

    @torch.no_grad()
    def notes(self, model: nn.Module) -> dict[str, float]:
        """Ends the epoch: centroids by a pass are made anew where the next epoch needs them."""
        found: dict[str, float] = {}
        if isinstance(model.head, UncertainAam):
            clamped, brackets = model.head.counted()
            found |= {"clamped_brackets": float(clamped), "brackets": float(brackets)}
        if self.config is not None:
            centroids: Any = model.centroids
            centroids.epochs += 1
            ended = int(centroids.epochs)
            if self.config.centroids == "pass" and ended + 1 >= self.config.first_epoch:
                model.eval()
                centroids.replace(self._embedded(model, ended - 1, centroids.weight.device))
            found |= {
                "variance_weight": self.config.weight_at(ended),
                "centroids": float(centroids.known.sum()),
            }
        return found

    def _embedded(self, model: nn.Module, epoch: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Embeddings and classes of every training batch of an epoch (from 0)."""
        for batch in self.train.load(epoch, range(self.train.count(epoch))):
            here = batch.to(device)
            yield model(here.waveforms, here.lengths), self.classes(here)
