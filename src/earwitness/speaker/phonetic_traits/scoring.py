"""From what a network heard to prints of recordings and scores of trials, by ExPO's cosine or PhiNet's sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from earwitness.speaker.phonetic_traits.comparing import Floats, Similarities, TraitPrint, cosines
from earwitness.speaker.phonetic_traits.network import HeardTraits, TraitNetwork


def print_of(
    heard: HeardTraits, place: int = 0, seconds: Floats | None = None, used: float = 0.0, total: float = 0.0
) -> TraitPrint:
    """The print of one utterance of a batch; `seconds` of each phone where they are known."""
    traits = heard.traits
    return TraitPrint(
        embedding=np.asarray(F.normalize(heard.embedding[place], dim=0).detach().cpu().float().numpy()),
        traits=traits.unit()[place].detach().cpu().float().numpy().astype(np.float16),
        present=np.asarray(traits.present[place].cpu().numpy()),
        seconds=np.zeros(traits.present.shape[1]) if seconds is None else seconds,
        seconds_used=used,
        seconds_total=total,
    )


@torch.inference_mode()
def scores_of(
    network: TraitNetwork,
    prints: Sequence[TraitPrint],
    enrol: NDArray[np.int64],
    test: NDArray[np.int64],
    found: Similarities,
) -> Floats:
    """[n]: cosines of embeddings, or PhiNet's scores of the similarities; higher = same speaker."""
    if network.head is None:
        return cosines(prints, enrol, test)
    device = network.head.weights.device
    values = torch.from_numpy(found.values).to(device, network.head.weights.dtype)
    return np.asarray(network.head(values).double().cpu().numpy())
