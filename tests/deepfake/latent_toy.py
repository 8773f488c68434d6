"""Two classes of equal power that differ in rank alone, and a small f-InfoED for them (sheet f-infoed, item 6.8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from earwitness.corpora.batch import Batch, Targets
from earwitness.deepfake.latent_entropy import LatentEntropyLossConfig, LatentEntropyTask
from earwitness.deepfake.task import DetectionTask
from earwitness.nn.network import Network, NetworkConfig

WIDTH, FRAMES, RANK, STEPS, WARMUP = 32, 64, 4, 300, 30


@dataclass(frozen=True)
class Toy:
    """A trained network; `dev` are its metrics on sequences that it did not learn from, `notes` those of the last
    steps of training, `losses` the terms of the first and the last step."""

    network: Network
    dev: dict[str, float]
    notes: dict[str, float]
    losses: tuple[dict[str, float], dict[str, float]]


def train_toy(
    seed: int, *, entropy: str = "per_dim", entropy_grad: bool, beta: float, outputs: int = 32, settle: bool = True
) -> Toy:
    """D = 16, hidden 64, batches of 16 + 16, AdamW 1e-3, 300 steps, beta warmed up over 30. `outputs` is the width of
    the classifier: 128 in a detector, and not said for this. `settle`: see `_settle`."""
    torch.manual_seed(seed)
    mixing = torch.randn(WIDTH, RANK) / 2
    network = _network(entropy, entropy_grad, outputs)
    config = LatentEntropyLossConfig(class_weights=None, beta=beta, warmup=WARMUP / STEPS)
    task = LatentEntropyTask(DetectionTask(config.build(2, 2)), config, epochs=STEPS // WARMUP)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses: list[dict[str, float]] = []
    for step in range(STEPS):
        if step == STEPS - WARMUP:
            task.notes(network)  # what was counted before is not asked for
        task.set_progress(step / WARMUP)
        terms = task.loss(network, batch(1000 * seed + step, 16, mixing))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
        losses.append({name: float(term.detach()) for name, term in terms.terms.items()})
    notes = task.notes(network)
    if settle:
        _settle(network, mixing, seed)
    network.eval()
    with torch.no_grad():
        unseen = [batch(10**6 + 100 * seed + place, 64, mixing) for place in range(2)]
        dev = task.evaluate(network, unseen).values
    return Toy(network, dev, notes, (losses[0], losses[-1]))


def batch(seed: int, count: int, mixing: Tensor) -> Batch:
    """`count` white sequences of full rank (label 1, the richer class), then as many of rank 4."""
    generator = torch.Generator().manual_seed(seed)
    rich = torch.randn(count, FRAMES, WIDTH, generator=generator)
    poor = torch.randn(count, FRAMES, RANK, generator=generator) @ mixing.T
    labels = torch.tensor([1] * count + [0] * count)
    lengths = torch.full((2 * count,), FRAMES * WIDTH)
    return Batch(torch.cat([rich, poor]).flatten(1), lengths, Targets(label=labels), ("",) * (2 * count))


def _network(entropy: str, entropy_grad: bool, outputs: int) -> Network:
    encoder = {"kind": "latent_entropy", "latent": 16, "hidden": 64, "outputs": outputs}
    pooling = {"kind": "attentive_statistics", "bottleneck": 64, "global_context": False, "per_channel": False}
    branch = {
        "frontend": {"kind": "kept", "dim": WIDTH},
        "encoder": {**encoder, "entropy": entropy, "entropy_grad": entropy_grad},
        "pooling": pooling,
    }
    return NetworkConfig.model_validate({"branches": [branch], "outputs": 2}).build().train()


@torch.no_grad()
def _settle(network: nn.Module, mixing: Tensor, seed: int) -> None:
    """After so few steps at a constant rate the running statistics of batch-norms still lag behind the entropies, which
    move with every step: hear some batches without learning."""
    for place in range(30):
        network(batch(2 * 10**6 + 100 * seed + place, 16, mixing).waveforms)
