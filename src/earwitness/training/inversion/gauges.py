"""What can be said of synthetic spectrograms without any real ones: do they fit the teacher, and are they diverse?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.training.inversion.distilling import Distiller
from earwitness.training.inversion.pool import Pool
from earwitness.training.inversion.statistics import Hooks
from earwitness.training.inversion.synthesis import Synthetic
from earwitness.training.inversion.teacher import Teacher

BINS = 10
AT_ONCE = 256


@dataclass(frozen=True)
class Diversity:
    """Of a pool of `samples`, by the teacher's classes and pooled features.

    `distance`: mean pairwise cosine distance within a class (None: no class has two), averaged over classes.
    `covered`: how many of `classes` the teacher names at least once. `confidence`: how many samples have their highest
    probability in each tenth of [0, 1].
    """

    samples: int
    classes: int
    covered: int
    distance: float | None
    confidence: tuple[int, ...]


@torch.no_grad()
def diversity(teacher: Teacher, pool: Pool) -> Diversity:
    """Features are brought to zero mean and unit deviation over the pool, so that no channel drowns the others."""
    heard = [teacher.tapped(x) for part in pool.parts() for x in torch.split(part, AT_ONCE)]
    logits, features = torch.cat([one.logits for one in heard]), torch.cat([one.post for one in heard])
    features = F.normalize((features - features.mean(0)) / features.std(0).clamp(min=1e-8), dim=1)
    named = logits.argmax(1)
    groups = [features[named == name] for name in torch.unique(named)]
    distances = [_distance(group) for group in groups if len(group) > 1]
    top = logits.softmax(1).amax(1)
    counts = torch.bincount((top * BINS).long().clamp(max=BINS - 1), minlength=BINS)
    mean = sum(distances) / len(distances) if distances else None
    return Diversity(len(logits), logits.shape[1], len(groups), mean, tuple(counts.tolist()))


def _distance(group: Tensor) -> float:
    """Mean of 1 - cosine over all pairs of unit vectors [n, D]."""
    count = len(group)
    alike = (group.sum(0).square().sum() - count) / (count * (count - 1))
    return float(1 - alike)


@torch.no_grad()
def gauge(teacher: Teacher, distiller: Distiller, made: Synthetic) -> dict[str, float]:
    """Of one round's batch: L_bn, how often the teacher names the asked class and how surely, how often the student
    (in eval mode) names the teacher's."""
    with Hooks(teacher.tapped.network, teacher.known) as hooks:
        logits = teacher.tapped(made.x).logits
        bn = float(hooks.loss())
    named = logits.argmax(1)
    return {
        "bn": bn,
        "asked": float((named == made.classes).float().mean()),
        "confidence": float(logits.softmax(1).amax(1).mean()),
        "agreement": float((distiller.classify(made.x).argmax(1) == named).float().mean()),
    }
