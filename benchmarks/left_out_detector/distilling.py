"""Members that learn from the labels and from what the same members of another committee answer (arXiv 1503.02531)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.corpora.batch import Batch
from earwitness.deepfake.committee import HeardRows, Prepared, votes_of
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.nn.network import Network
from earwitness.training.loop import fit, seed_run
from earwitness.training.task import Losses, Metrics

TEMPERATURE, SHARE = 2.0, 0.7  # of the teacher's answers in the loss


class Taught(nn.Module):
    """Joined vectors of the teacher's branches [B, D] -> votes of the learner, [B, branches, members, 2], and of the
    teacher's members, [B, members, 2]. The learner hears the branches in `columns`."""

    def __init__(self, learner: Network, teacher: Network, columns: NDArray[np.int64]) -> None:
        super().__init__()
        self.learner, self.teacher = learner, teacher.requires_grad_(False).eval()
        self.columns = torch.from_numpy(columns)

    def train(self, mode: bool = True) -> Taught:
        """The teacher learns nothing."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides' votes."""
        told = votes_of(self.teacher)
        each = told.each(vectors)
        answers = torch.stack([told.over_branches(each[:, :, member]) for member in range(each.shape[2])], dim=1)
        return votes_of(self.learner).each(vectors[:, self.columns]), answers


class TaughtTask:
    """Cross-entropy with the labels, and the divergence from the teacher's member that left out the same fold."""

    def __init__(self, criterion: nn.Module) -> None:
        self.criterion = criterion

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Two terms over the rows that a member may hear."""
        votes, answers = model(batch.waveforms)
        assert batch.targets.members is not None
        assert batch.targets.label is not None
        heard = batch.targets.members[:, None, :].expand(votes.shape[:3])
        labels = batch.targets.label[:, None, None].expand(votes.shape[:3])
        told = answers[:, None].expand(votes.shape)
        learnt, goal = votes[heard] / TEMPERATURE, told[heard] / TEMPERATURE
        apart = F.kl_div(learnt.log_softmax(1), goal.softmax(1), reduction="batchmean") * TEMPERATURE**2
        known = self.criterion(votes[heard], labels[heard])
        return Losses({"classification": (1 - SHARE) * known, "teacher": SHARE * apart})

    def evaluate(self, model: nn.Module, batches: object) -> Metrics:
        """None."""
        return Metrics({})


def fit_taught(
    recipe: DetectionRecipe, everything: Prepared, columns: NDArray[np.int64], teacher: Network, folder: Path
) -> Network:
    """Train the recipe's committee on the `columns` of all vectors; `teacher` hears all of them."""
    seed_run(recipe.seed, "init")
    learner = recipe.network.build()
    task = TaughtTask(recipe.loss.build(recipe.network.outputs or 0, 2))
    model = Taught(learner, teacher, columns)
    fit(model, task, HeardRows.of(recipe, everything), None, recipe, folder, resume=folder.exists())
    return learner.eval()
