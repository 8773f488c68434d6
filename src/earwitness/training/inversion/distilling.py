"""The student's side: it learns the teacher's answers, and its hidden states before and after the pooling.

    L_S = tau^2 KL(softmax(T / tau) || softmax(S / tau))
        + l_pre  mean (A_pre(H_S)  - H_T / r_pre)^2          A_pre: 1x1 convolution C_S -> C_T
        + l_post mean (A_post(p_S) - p_T / r_post)^2         A_post: linear

r are the standard deviations of the teacher's channels, so that each term is of order 1. That FRAMI (arXiv 2303.07643)
reuses these states is known; the squared error, the adapters and the scales are our reconstruction.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.nn.network import Network
from earwitness.training.inversion import losses
from earwitness.training.inversion.recipe import DistillationConfig
from earwitness.training.inversion.tapped import Outputs, Tapped
from earwitness.training.inversion.teacher import Teacher, refuse_idle

SMALLEST_SCALE = 0.01  # of a channel's deviation, relative to the mean one: a channel that is silent stays so


class Distiller(nn.Module):
    """The student with its adapters; the teacher is not a part of it, and never learns."""

    pre_scale: Tensor
    post_scale: Tensor
    scaled: Tensor

    def __init__(self, teacher: Teacher, student: Tapped, config: DistillationConfig) -> None:
        super().__init__()
        refuse_idle(student, config)
        theirs = teacher.tapped
        self._teacher, self.config, self.student = (theirs,), config, student
        self.pre = nn.Conv1d(student.pre_dim, theirs.pre_dim, 1) if config.pre else None
        self.post = nn.Linear(student.post_dim, theirs.post_dim) if config.post else None
        self.register_buffer("pre_scale", torch.ones(theirs.pre_dim))
        self.register_buffer("post_scale", torch.ones(theirs.post_dim))
        self.register_buffer("scaled", torch.zeros(()))
        if config.reuse_teacher_head:
            _linear(theirs), _linear(student)

    @property
    def teacher(self) -> Tapped:
        """The frozen teacher."""
        return self._teacher[0]

    @torch.no_grad()
    def measure(self, x: Tensor) -> None:
        """Take a synthetic batch into the running means of the scales."""
        heard = self.teacher(x)
        self.scaled += 1
        for scale, values in ((self.pre_scale, heard.pre.transpose(0, 1).flatten(1)), (self.post_scale, heard.post.T)):
            deviation = values.std(dim=1)
            deviation = deviation.clamp(min=max(SMALLEST_SCALE * float(deviation.mean()), 1e-8))
            scale += (deviation - scale) / self.scaled

    def classify(self, x: Tensor) -> Tensor:
        """The student's logits [B, K] of spectrograms [B, 1, F, N]."""
        return self._logits(self.student(x))

    def _logits(self, heard: Outputs) -> Tensor:
        if not self.config.reuse_teacher_head:
            return heard.logits
        assert self.post is not None
        return self.teacher.classify(self.post(heard.post) * self.post_scale)

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """The weighted terms `kd`, `pre` and `post` of a batch [B, 1, F, N]."""
        with torch.no_grad():
            theirs = self.teacher(x)
        ours = self.student(x)
        terms = {"kd": losses.distillation(theirs.logits, self._logits(ours), self.config.tau)}
        if self.pre is not None:
            target = theirs.pre / self.pre_scale[:, None]
            if target.shape[-1] != ours.pre.shape[-1]:
                target = F.adaptive_avg_pool1d(target, ours.pre.shape[-1])
            terms["pre"] = self.config.pre * F.mse_loss(self.pre(ours.pre), target)
        if self.post is not None:
            terms["post"] = self.config.post * F.mse_loss(self.post(ours.post), theirs.post / self.post_scale)
        return terms

    @torch.no_grad()
    def finished(self) -> Network:
        """The student alone, in eval mode; the adapter and classifier of `reuse_teacher_head` become its classifier."""
        network = self.student.network
        assert isinstance(network, Network)
        if self.config.reuse_teacher_head:
            assert self.post is not None
            head, own = _linear(self.teacher), _linear(self.student)
            weight = head.weight * self.post_scale
            own.weight.copy_(weight @ self.post.weight)
            own.bias.copy_(weight @ self.post.bias + head.bias)
        return network.eval()


def _linear(tapped: Tapped) -> nn.Linear:
    """The classifier, where it can be joined with an adapter. Raises `RecipeError` where it is no linear one on the
    pooled vector itself."""
    network = tapped.network
    if network.embedding is not None or not isinstance(network.classifier, nn.Linear):
        raise RecipeError(
            "distillation.reuse_teacher_head: teacher and student need a linear classifier right on the pooling",
            fix="Set it to false.",
        )
    return network.classifier
