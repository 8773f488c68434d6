"""What the training loop needs to teach by questions: the loss of the answers, and examples by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.samplers import BatchOrder
from earwitness.speech_llm.training.model import Asked
from earwitness.training.task import Losses, Metrics


class AnswerTask:
    """Cross-entropy of the answers, a token each; `asked` has the prompt and answer of every id in the batches.

    The model is a `SpeechLanguageModel`, or whatever gives the same two sums for the same call.
    """

    def __init__(self, asked: Mapping[str, Asked]) -> None:
        self.asked = asked

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, `answer`: the mean over the answer tokens of the batch (0 where there are none)."""
        losses, tokens = self._scored(model, batch)
        return Losses({"answer": losses.sum() / tokens.sum().clamp_min(1)})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """`nll`: the mean over all answer tokens of dev."""
        scored = [self._scored(model, batch) for batch in batches]
        total = sum(float(losses.sum()) for losses, _ in scored)
        return Metrics({"nll": total / max(1, sum(int(tokens.sum()) for _, tokens in scored))})

    def _scored(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        losses, tokens = model(batch.waveforms, batch.lengths, [self.asked[name] for name in batch.ids])
        return losses, tokens


class Ear(Protocol):
    """What is put in front of the model for an example: samples, or kept frames one after the other; [N] float32."""

    def __call__(self, place: int) -> Tensor: ...


@dataclass(frozen=True)
class QuestionBatches:
    """`TrainData` of examples named `ids`; `ear(i)` is what example i hears."""

    ids: Sequence[str]
    ear: Ear
    order: BatchOrder

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            yield heard_batch(self.ids, self.ear, batches[place])


@dataclass(frozen=True)
class QuestionsInOrder:
    """Every example once, in order: dev data, and what is tested."""

    ids: Sequence[str]
    ear: Ear
    batch_size: int

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.ids), self.batch_size):
            yield heard_batch(self.ids, self.ear, range(start, min(start + self.batch_size, len(self.ids))))


def heard_batch(ids: Sequence[str], ear: Ear, rows: Iterable[int]) -> Batch:
    """Some examples with what they hear, zeros after their ends."""
    chosen = list(rows)
    heard = [ear(row) for row in chosen]
    lengths = torch.tensor([len(samples) for samples in heard])
    waveforms = nn.utils.rnn.pad_sequence(heard, batch_first=True)
    return Batch(waveforms, lengths, Targets(), tuple(ids[row] for row in chosen))
