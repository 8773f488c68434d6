"""A step with aligned gradients beside a plain step on the same doubled batch: `python benchmarks/alignment_speed.py`.

Plain: one forward of clean and augmented items together, one backward of the mean loss. Aligned: PCGrad by the lean
algorithm, both paths in one forward (`joint`, as published) or one after the other (`separate`). A joint graph is
gone through once for each loss over all items, so its second backward pass is work that a plain step does not do; with
separate forwards each pass holds its own items only. Batches in which nothing conflicts: twins that hardly differ. The
network has no batch norm, so both forms give the same step; processor time of one thread, the forms in turn.

Peak memory is what the allocator holds at most during a step, beyond weights, in bytes a parameter, by algorithm.
Targets: `separate` <= 1.15 times the plain step; `lean` at least 16 bytes a parameter below `full`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from earwitness.training.aligned_gradients import Aligner
from earwitness.training.gradient_alignment import PCGradConfig
from earwitness.training.task import Losses

ALGORITHMS = ("full", "lean", "bufferless", "reweighted")
Step = Callable[[], object]


def peak_bytes(work: Step) -> int:
    """The most that the CPU allocator holds at a time during the work, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = work()
    del kept
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


class Transformer(nn.Module):
    """Frames [B, T, F] -> logits [B, 2]: an encoder like those that are fine-tuned, but small."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, 4, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(dim, 2)

    def forward(self, frames: Tensor) -> Tensor:
        """Mean over time before the classifier."""
        logits: Tensor = self.head(self.encoder(frames).mean(1))
        return logits


class Steps:
    """The same step in all its forms."""

    def __init__(self, network: nn.Module, clean: Tensor, labels: Tensor) -> None:
        self.network, self.labels = network, labels
        self.paths = clean, clean + 0.01 * torch.randn_like(clean)
        self.fabric = Fabric(accelerator="cpu", devices=1)
        self.named = list(network.named_parameters())
        self.descent = torch.optim.Adam(network.parameters(), lr=1e-6)

    def plain(self) -> None:
        """One backward pass of the doubled batch's mean loss."""
        self._loss(torch.cat(self.paths), self.labels.repeat(2)).backward()
        self._descend()

    def joint(self, algorithm: str = "lean") -> Any:
        """Both paths in one forward."""
        return self._aligned(iter([self._together()]), algorithm)

    def separate(self, algorithm: str = "lean") -> Any:
        """A forward for each path."""
        return self._aligned(self._one_by_one(), algorithm)

    def _together(self) -> Losses:
        clean, augmented = self.network(torch.cat(self.paths)).chunk(2)
        loss = nn.functional.cross_entropy
        return Losses({"clean": loss(clean, self.labels) / 2, "augmented": loss(augmented, self.labels) / 2})

    def _one_by_one(self) -> Iterator[Losses]:
        for name, path in zip(("clean", "augmented"), self.paths, strict=True):
            yield Losses({name: self._loss(path, self.labels) / 2})

    def _aligned(self, pieces: Iterator[Losses], algorithm: str) -> Any:
        aligner = Aligner(PCGradConfig(algorithm=algorithm), self.named, self.fabric)  # type: ignore[arg-type]
        joined = aligner.step(pieces, {}, 0)
        self._descend()
        return joined

    def _loss(self, frames: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.network(frames), labels)

    def _descend(self) -> None:
        self.descent.step()
        self.descent.zero_grad()


def seconds(work: Step) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--items", type=int, default=5, help="utterances a batch; twice as many with their twins")
    parser.add_argument("--frames", type=int, default=200, help="frames an utterance; 200 are about 4 s")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Transformer(arguments.dim, arguments.layers)
    labels = torch.arange(arguments.items) % 2
    steps = Steps(network, torch.randn(arguments.items, arguments.frames, arguments.dim), labels)
    size = sum(parameter.numel() for parameter in network.parameters())
    forms: dict[str, Step] = {"plain": steps.plain, "joint": steps.joint, "separate": steps.separate}
    for work in forms.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.repeats):
        for name, work in forms.items():
            times[name].append(seconds(work))
    median = {name: statistics.median(values) for name, values in times.items()}
    rows = [
        {"name": f"{name} forward", "plain_s": median["plain"], "aligned_s": median[name], "ratio": ratio}
        for name in ("joint", "separate")
        for ratio in [statistics.median(a / b for a, b in zip(times[name], times["plain"], strict=True))]
    ]
    few = Steps(network, torch.randn(1, 2, arguments.dim), labels[:1])  # so that gradients are nearly all of it
    few.plain()
    memory = [{"name": "plain", "bytes_a_parameter": peak_bytes(few.plain) / size}]
    for algorithm in ALGORITHMS:
        peak = peak_bytes(lambda algorithm=algorithm: few.joint(algorithm))  # type: ignore[misc]
        memory.append({"name": algorithm, "bytes_a_parameter": peak / size})
    what = {"parameters": size, "utterances": arguments.items, "frames": arguments.frames}
    what["conflicts"] = steps.joint().notes["conflict"]
    print(json.dumps(what | {"step": rows, "memory": memory}, indent=2))


if __name__ == "__main__":
    main()
