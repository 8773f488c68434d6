"""Networks that only listen: batch-norm folded into the convolutions in front of it, and images laid out channels-last,
for fewer sweeps over memory."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar("M", bound=nn.Module)


def folded(module: M) -> M:
    """A copy in eval mode that gives the same but for rounding, and is not to be trained: in every `nn.Sequential` a
    batch-norm that stands right behind a convolution is part of its weights, and an `nn.Identity` stands in its place.
    """
    listening = copy.deepcopy(module).eval()
    for part in listening.modules():
        if isinstance(part, nn.Sequential):
            _fold(part)
    return listening.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fold(layers: nn.Sequential) -> None:
    for place, (one, two) in enumerate(pairwise(list(layers))):
        if isinstance(one, nn.Conv1d | nn.Conv2d) and isinstance(two, nn.BatchNorm1d | nn.BatchNorm2d):
            layers[place] = fuse_conv_bn_eval(one, two)
            layers[place + 1] = nn.Identity()
