"""How a speaker embedder is trained with a margin loss over training speakers, and judged: EER over dev pairs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.metrics.detection import eer
from earwitness.nn.network import Network
from earwitness.training.task import Losses, Metrics, by_path


class SpeakerTrainee(nn.Module):
    """What is trained: the embedding network, and the head that makes its loss, which is then thrown away."""

    def __init__(self, network: Network, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        """Embeddings [B, D]."""
        return self.network.embed(waveforms, lengths).mean


class SpeakerTask:
    """Speaker classification in training, verification on dev."""

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, `margin`; of two paths `clean` and `augmented`. Raises `DataError` for a batch without speakers."""
        self.classes(batch)
        embeddings = model(batch.waveforms, batch.lengths)
        return by_path(batch, embeddings, lambda part, path: model.head(part, self.classes(path)), "margin")  # type: ignore[operator]

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
