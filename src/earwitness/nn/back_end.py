"""The part of a network behind its front-end: what papers on back-ends count, time and publish."""

from __future__ import annotations

from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder
from earwitness.nn.pooling.base import Pooling
from earwitness.nn.types import Embedding, Frames


class BackEnd(nn.Module):
    """Encoder, pooling and classifier on features [B, F, T] -> logits [B, outputs]."""

    def __init__(self, encoder: Encoder, pooling: Pooling, classifier: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, T] -> [B, outputs]."""
        pooled: Embedding = self.pooling(self.encoder(Frames(features.transpose(1, 2))))
        return self.classifier(pooled.mean)  # type: ignore[no-any-return]
