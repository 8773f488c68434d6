"""Small Gaussian worlds and networks for complementary training: vectors stand for recordings, through the front-end
that takes frames as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.corpora.batch import Batch, Targets
from earwitness.metrics.redundancy import Pairs
from earwitness.nn.encoders.base import Encoder
from earwitness.nn.frontends.kept import KeptConfig
from earwitness.nn.network import Branch, EmbeddingConfig, Network
from earwitness.nn.pooling import MeanConfig
from earwitness.nn.types import Embedding, Frames
from earwitness.training.complementary import ComplementaryConfig
from earwitness.training.complementary_task import Budget, Classes, ComplementaryTask, Member
from earwitness.training.task import Losses, Metrics, Task

LR = 2e-3


class Hidden(Encoder):
    """A layer with ReLU, or none at all where `width` is None."""

    def __init__(self, input_dim: int, width: int | None) -> None:
        super().__init__()
        self.dim = width or input_dim
        self.layer = nn.Identity() if width is None else nn.Sequential(nn.Linear(input_dim, width), nn.ReLU())

    def forward(self, frames: Frames) -> Frames:
        return Frames(self.layer(frames.values), frames.mask)


def mlp(inputs: int, outputs: int, *, hidden: int | None = 64, dim: int = 16, seed: int = 0) -> Network:
    """A vector of `inputs` values -> embedding -> `outputs`."""
    torch.manual_seed(seed)
    encoder = Hidden(inputs, hidden)
    branch = Branch(KeptConfig(dim=inputs).build(), encoder, MeanConfig().build(encoder.dim))
    embedding = EmbeddingConfig(dim=dim, batch_norm=False).build(encoder.dim)
    return Network([branch], embedding, nn.Linear(dim, outputs))


def as_batch(x: Tensor, y: Tensor) -> Batch:
    """Classes stand where speakers do."""
    lengths = torch.full((len(x),), x.shape[1])
    return Batch(x, lengths, Targets(speaker=y), tuple(str(row) for row in range(len(x))))


class Classify:
    """Cross-entropy; accuracy on dev."""

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.waveforms, batch.lengths)
        return Losses({"classification": nn.functional.cross_entropy(logits, batch.targets.speaker)})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        found = [(model(b.waveforms, b.lengths).argmax(1) == b.targets.speaker).float().mean() for b in batches]
        return Metrics({"accuracy": float(torch.stack(found).mean())})


def opposed(network: Network, members: list[Any], classes: int, task: Task | None = None, **config: Any) -> Any:
    """The task of a network beside frozen members; a run counts as one epoch."""
    plan = ComplementaryConfig.model_validate({"members": ["none"], **config})
    known = [Member(member, f"member {place}") for place, member in enumerate(members)]
    labels = Classes(classes, lambda batch: batch.targets.speaker)  # type: ignore[arg-type, return-value]
    return ComplementaryTask(task or Classify(), network, known, plan, labels, Budget(1, LR))


def train(
    network: Network, task: Task, draw: Callable[[int], Batch], steps: int = 200, settle: bool = False
) -> Network:
    """Adam on fresh batches, with `settle` at a rate that falls to 0; gives the network in eval mode."""
    optimiser = torch.optim.Adam(network.parameters(), lr=LR)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LR * (1 - step / steps if settle else 1)
        if isinstance(task, ComplementaryTask):
            task.set_progress(step / steps)
        optimiser.zero_grad()
        task.loss(network.train(), draw(step)).total.backward()
        optimiser.step()
    return network.eval()


@torch.no_grad()
def heard(network: Any, x: Tensor) -> np.ndarray:
    """Embeddings [N, D]."""
    return np.asarray(network.embed(x, None).mean.double().numpy())


@torch.no_grad()
def probabilities(network: Network, x: Tensor) -> np.ndarray:
    """Log-probabilities [N, C]."""
    return np.asarray(network(x).log_softmax(1).double().numpy())


def accuracy(log_probabilities: np.ndarray, y: Tensor) -> float:
    return float((log_probabilities.argmax(1) == y.numpy()).mean())


def pairs(learner: Any, member: Any, x: Tensor) -> tuple[Pairs, Pairs]:
    """z and v of two halves of the items: one to fit probes on, one held out."""
    z, v, half = heard(learner, x), heard(member, x), len(x) // 2
    return Pairs(z[:half], v[:half]), Pairs(z[half:], v[half:])


class OneHot(nn.Module):
    """A member that knows the class, which stands first in the vector, and nothing else."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dim = classes

    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> Embedding:
        return Embedding(nn.functional.one_hot(waveforms[:, 0].round().long(), self.dim).float())


class Seen(nn.Module):
    """A member that hears some of the values only."""

    def __init__(self, network: Network, values: slice) -> None:
        super().__init__()
        self.network, self.values, self.dim = network, values, network.dim

    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> Embedding:
        return self.network.embed(masked(waveforms, self.values), None)


def masked(x: Tensor, values: slice) -> Tensor:
    """The rest set to zero."""
    kept = torch.zeros_like(x)
    kept[:, values] = x[:, values]
    return kept


@dataclass(frozen=True)
class TwoFactors:
    """Task A: each of 8 classes shows in two noisy factors of 20 values, neither of which tells it surely."""

    means: Tensor
    classes: int = 8

    @classmethod
    def of(cls, seed: int) -> TwoFactors:
        generator = torch.Generator().manual_seed(1000 + seed)
        return cls(0.36 * torch.randn(8, 40, generator=generator))

    def draw(self, seed: int, count: int = 64) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        y = torch.randint(0, self.classes, (count,), generator=generator)
        return self.means[y] + torch.randn(count, 40, generator=generator), y

    def specialist(self, seed: int) -> Seen:
        """Trained on factor 1 alone, which is all that it hears."""
        only = slice(0, 20)
        network = mlp(40, self.classes, seed=100 + seed)

        def draw(step: int) -> Batch:
            x, y = self.draw(step)
            return as_batch(masked(x, only), y)

        return Seen(train(network, Classify(), draw), only)


class Linear(nn.Module):
    """v = A s1, of the first values of the vector."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix, self.dim = matrix, matrix.shape[1]

    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> Embedding:
        return Embedding(waveforms[:, : len(self.matrix)] @ self.matrix)


class Regress(Classify):
    """Mean squared error of a linear map of the last values of the vector, s2."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def error(self, model: nn.Module, x: Tensor) -> Tensor:
        return (model(x) - x[:, -len(self.matrix) :] @ self.matrix).square().mean()

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        return Losses({"regression": self.error(model, batch.waveforms)})


def easy_and_hard(seed: int, count: int = 128, *, easy: bool = True) -> tuple[Tensor, Tensor]:
    """Task B: 2 classes, by the sign of the first values, and by whether two others have one sign (XOR). Both tell all;
    without `easy` the first ones say nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (count,), generator=generator)
    signs = 2.0 * torch.randint(0, 2, (count, 2), generator=generator) - 1
    signs[:, 1] = signs[:, 0] * (2 * y - 1)
    cue = 2 * (y if easy else torch.randint(0, 2, (count,), generator=generator)) - 1
    x = 0.2 * torch.randn(count, 10, generator=generator)
    x[:, :4] += 2.0 * cue.unsqueeze(1)
    x[:, 4:6] += signs
    return x, y
