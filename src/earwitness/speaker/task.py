"""How a speaker embedder is trained with a margin loss over training speakers, and judged: EER over dev pairs.

With a network that states its own variance (xi-vector and its successors) the margin's scale may follow the variance
(U3-xi), and the variance may be held to the distance from the speaker's centroid (xi+).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError, ModelError
from earwitness.corpora.batch import Batch
from earwitness.metrics.detection import eer
from earwitness.nn.losses import ClassCentroids, MarginLoss, MarginRiseConfig
from earwitness.nn.network import Network
from earwitness.training.task import Losses, Metrics, by_path


class SpeakerTrainee(nn.Module):
    """What is trained: the embedding network, and the head that makes its loss, which is then thrown away; so are the
    speakers' centroids, where the loss needs them."""

    def __init__(self, network: Network, head: nn.Module, centroids: ClassCentroids | None = None) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.centroids = centroids

    def forward(self, waveforms: Tensor, lengths: Tensor | None, give: Literal["mean", "both"] = "mean") -> Tensor:
        """Embeddings [B, D], or with their variances [B, 2, D]. Raises `ModelError` where no variance is stated."""
        embedding = self.network.embed(waveforms, lengths)
        if give == "mean":
            return embedding.mean
        if embedding.variance is None:
            raise ModelError("this network states no variance", fix="Pool by `posterior`, without an activation.")
        return torch.stack([embedding.mean.to(embedding.variance.dtype), embedding.variance], dim=1)


class SpeakerTask:
    """Speaker classification in training, verification on dev. `rise` is how the margin grows, if it does."""

    def __init__(self, rise: MarginRiseConfig | None = None) -> None:
        self._rise = rise
        self.epochs = 0.0

    def set_progress(self, epochs: float) -> None:
        """How many epochs have passed."""
        self.epochs = epochs

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, `margin`; of two paths `clean` and `augmented`. Raises `DataError` for a batch without speakers."""
        self.classes(batch)
        self.set_margin(model.head)
        embeddings = model(batch.waveforms, batch.lengths)
        return by_path(batch, embeddings, lambda part, path: model.head(part, self.classes(path)), "margin")  # type: ignore[operator]

    def set_margin(self, head: object) -> None:
        """The margin of this moment, where it grows."""
        if self._rise is not None and isinstance(head, MarginLoss):
            head.margin = self._rise.at(self.epochs, head.full_margin)

    def classes(self, batch: Batch) -> Tensor:
        """The speakers' classes [B]. Raises `DataError` for a batch without speakers."""
        if batch.targets.speaker is None or bool((batch.targets.speaker < 0).any()):
            raise DataError("a speaker model is trained on rows with a speaker only", fix="Give every row a speaker.")
        return batch.targets.speaker

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """EER (interpolated) of the cosine over all pairs of dev utterances, but for those of one with its own copy."""
        vectors: list[Tensor] = []
        speakers: list[Tensor] = []
        ids: list[str] = []
        for batch in batches:
            assert batch.targets.speaker is not None
            vectors.append(torch.nn.functional.normalize(model(batch.waveforms, batch.lengths), dim=1).cpu())
            speakers.append(batch.targets.speaker.cpu())
            ids.extend(batch.ids)
        vector, speaker = torch.cat(vectors).double().numpy(), torch.cat(speakers).numpy()
        name = np.array(ids)
        first, second = np.triu_indices(len(vector), k=1)
        trials = name[first] != name[second]
        first, second = first[trials], second[trials]
        cosine = (vector @ vector.T)[first, second]
        same = speaker[first] == speaker[second]
        return Metrics({"eer": eer(cosine[same], cosine[~same]).value})
