"""What every import of an official detector gives: a filled network, how it hears, and how its score is made.

The score of a detector here is logit 1 minus logit 0. Published scores of the ASVspoof recipes are logit 1 alone, and
CtrSVDD's recipe has a single logit. So that scores are the published ones, the classifier is written as two rows of
which the first is zero; `odds` keeps both rows of a classifier that has two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from earwitness.audio.windows import Tile, WindowPolicy
from earwitness.core.errors import ModelError
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.tensors import load_trained_state

ScoreKind = Literal["published", "odds"]
WORDS: dict[ScoreKind, str] = {
    "published": "bona fide logit alone, as published",
    "odds": "bona fide logit minus spoof logit",
}
ASVSPOOF_WINDOW = Tile(length_s=4.0375)  # 64 600 samples


@dataclass(frozen=True)
class Filled:
    """A network with the official weights in it; `score` says in words what its score is, `notes` what was left out."""

    network: Network
    config: NetworkConfig
    windows: WindowPolicy
    trained_on: str
    score: str
    notes: tuple[str, ...] = ()


def filled(network: Network, state: dict[str, Tensor], score: ScoreKind) -> Network:
    """The network with `state` (under our names) in it, in eval mode, its classifier as the score asks."""
    load_trained_state(network, {**state, **score_head(state, score)})
    return network.eval()


def score_head(state: dict[str, Tensor], score: ScoreKind) -> dict[str, Tensor]:
    """`classifier.weight` [2, D] and `.bias` [2] from one logit (bona fide) or two (index 1 = bona fide)."""
    weight, bias = state["classifier.weight"], state["classifier.bias"]
    if len(weight) not in (1, 2):
        raise ModelError(
            f"has {len(weight)} logits", fix="A detector has one, or two of which the second is bona fide."
        )
    if len(weight) == 2 and score == "odds":
        return {"classifier.weight": weight, "classifier.bias": bias}
    zero = torch.zeros_like(weight[:1]), torch.zeros_like(bias[:1])
    return {
        "classifier.weight": torch.cat([zero[0], weight[-1:]]),
        "classifier.bias": torch.cat([zero[1], bias[-1:]]),
    }
