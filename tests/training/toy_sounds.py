"""Six synthetic spectrogram classes of 16 bands x 24 frames, and a teacher and a student of the sheet's sizes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from earwitness.audio.windows import Whole
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.inversion.rounds import Distilled
from earwitness.training.inversion.tapped import Tapped
from earwitness.training.inversion.teacher import Teacher, teacher_of
from earwitness.training.model_folder import ModelInfo

BANDS, FRAMES, CLASSES = 16, 24, 6


def network(*widths: int, outputs: int | None = CLASSES) -> dict[str, Any]:
    """Convolutions with batch-norm, mean and deviation over time, a linear classifier."""
    branch = {
        "frontend": {"kind": "log_mel", "n_mels": BANDS, "standard": [-8.0, 3.0]},
        "encoder": {"kind": "conv2d", "widths": list(widths), "strides": [1, 2, 2, 1]},
        "pooling": {"kind": "statistics"},
    }
    return {"branches": [branch], "outputs": outputs}


TEACHER, STUDENT = network(8, 16, 16, 24), network(4, 6, 8, 8)


def sounds(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Spectrograms [count, 1, 16, 24] about unit variance, and their classes [count]."""
    chance = torch.Generator().manual_seed(seed)
    classes = torch.randint(CLASSES, (count,), generator=chance)
    time, band = torch.arange(FRAMES) / FRAMES, torch.arange(BANDS)[:, None]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=chance)

    phase, aside = uniform(0, 1), uniform(-1, 1)
    up, down = (time + phase) % 1, (-time + phase) % 1
    slow, fast = ((torch.sin(2 * torch.pi * (k * time + phase)) > 0).float() for k in (2, 6))
    low, high = _bump(band, 4 + aside, 1.5), _bump(band, 11 + aside, 1.5)
    shapes = [
        low,  # a steady low tone
        high * slow,  # a high tone that beats
        _bump(band, 15 * up, 1.5),  # rising
        _bump(band, 15 * down, 1.5),  # falling
        fast.expand(-1, BANDS, -1),  # clicks over all bands
        low * slow + high * (1 - slow),  # two tones in turn
    ]
    clean = torch.stack([shape.expand(count, BANDS, FRAMES) for shape in shapes], dim=1)
    chosen = clean[torch.arange(count), classes]
    noise = torch.randn(count, BANDS, FRAMES, generator=chance)
    x = 2.2 * chosen * uniform(0.7, 1.3) - 0.7 + 0.5 * noise
    return x.unsqueeze(1), classes


def _bump(band: Tensor, centre: Tensor, width: float) -> Tensor:
    return torch.exp(-((band - centre) ** 2) / (2 * width**2))


def trained(config: dict[str, Any], seed: int, steps: int = 150) -> Network:
    """A network that learnt the toy sounds themselves."""
    torch.manual_seed(seed)
    built = NetworkConfig.model_validate(config).build()
    tapped = Tapped(built)
    optimiser = torch.optim.Adam(tapped.parameters(), 4e-3)
    tapped.train()
    for step in range(steps):
        x, classes = sounds(64, 10_000 * (seed + 1) + step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(tapped(x).logits, classes).backward()
        optimiser.step()
    return built.eval()


@lru_cache
def teacher(seed: int = 0) -> Teacher:
    """A teacher that knows the toy sounds; made once a seed."""
    info = ModelInfo(
        name="toy", task="sound-class", network=TEACHER, windows=Whole(), polarity="none", licence="Apache-2.0",
        extra={"input_range": {"low": -2.5, "high": 2.5}},
    )  # fmt: skip
    return teacher_of(Tapped(trained(TEACHER, seed)), info)


def recipe(seed: int = 0, rounds: int = 6, steps: int = 80, synthesis_steps: int = 50, **more: Any) -> InversionRecipe:
    """The toy recipe of the sheet's section 5: batch 48, generator Adam 5e-3, student Adam 2e-3, tau 4."""
    plain: dict[str, Any] = {
        "task": "inversion",
        "name": "toy",
        "seed": seed,
        "teacher": "toy",
        "student": STUDENT,
        "frames": FRAMES,
        "synthesis": {"kind": "generator", "batch_size": 48, "steps": synthesis_steps, "lr": 5e-3, "width": 32},
        "contrast": {"bank": 480, "negatives": 96, "head": 32},
        "distillation": {"batch_size": 48},
        "optimiser": {"kind": "adam", "lr": 2e-3},
        "schedule": {"kind": "constant"},
        "loop": {"rounds": rounds, "steps": steps, "device": "cpu"},
    }
    return InversionRecipe.model_validate({**plain, **more})


def accuracy(network: Network, seed: int = 999, count: int = 600) -> float:
    """On toy sounds that nobody learnt from."""
    x, classes = sounds(count, seed)
    with torch.no_grad():
        return float((Tapped(network).eval()(x).logits.argmax(1) == classes).float().mean())


def last_gauges(done: Distilled) -> dict[str, float]:
    return done.rounds[-1].gauges
