"""How the gradients of several losses stand to each other: conflicts, cosines and norms, counted before any repair.

Two gradients conflict where their product is negative (arXiv 2509.20682, as 2001.06782). A conflict rate depends on
the batch size, so a rate is quoted with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import RecipeError
from earwitness.training.tensors import stands_under


class GradientNotes:
    """Names what the products of gradients say, for the whole network and for blocks of it.

    `conflict`: the share of the pairs that conflict (of two losses: 0 or 1); `cosine`: their mean cosine, 0 where a
    gradient is zero; `norm/TERM`. With blocks also `conflict/BLOCK` and `cosine/BLOCK`, and of each pair of terms
    `conflict/BLOCK/A x B` (0 or 1) and `met/BLOCK/A x B` (1 where neither gradient is zero): a term without a label in
    the batch is in no conflict, so that a share is conflicts over meetings (`conflict_shares`).

    Raises `RecipeError` for a block that holds no parameter that learns.
    """

    def __init__(self, names: Sequence[str], blocks: Sequence[str] = ()) -> None:
        self._blocks = {
            block: [place for place, name in enumerate(names) if stands_under(name, block)] for block in blocks
        }
        if idle := [block for block, places in self._blocks.items() if not places]:
            raise RecipeError(
                f"alignment.blocks: no parameter that learns stands under '{idle[0]}'",
                fix="Blocks are names of the network's parts, such as branches.0.frontend or classifier.",
            )

    def of(self, grams: NDArray[np.float64], terms: Sequence[str]) -> dict[str, float]:
        """Products of the terms' gradients for each tensor, [T, K, K] -> named numbers."""
        whole = grams.sum(axis=0)
        notes = _pairs(whole)
        notes |= {f"norm/{term}": float(np.sqrt(max(0.0, whole[k, k]))) for k, term in enumerate(terms)}
        for block, places in self._blocks.items():
            of_block = grams[places].sum(axis=0)
            notes |= {f"{name}/{block}": value for name, value in _pairs(of_block).items()}
            notes |= _each_pair(of_block, terms, block)
        return notes


def _each_pair(gram: NDArray[np.float64], terms: Sequence[str], block: str) -> dict[str, float]:
    """Whether each pair of terms meets in a block, and whether it conflicts there."""
    notes: dict[str, float] = {}
    for i, j in combinations(range(len(terms)), 2):
        pair = f"{block}/{terms[i]} x {terms[j]}"
        notes[f"met/{pair}"] = float(gram[i, i] > 0 and gram[j, j] > 0)
        notes[f"conflict/{pair}"] = float(gram[i, j] < 0)
    return notes


def conflict_shares(notes: Mapping[str, float], term: str, blocks: Sequence[str]) -> dict[str, float]:
    """Of an epoch's mean notes: for each other term the share of the steps with both gradients on which it conflicts
    with `term` (negative cosine) in the first of the blocks that it was noted for; NaN where they never met.
    """
    found: dict[str, float] = {}
    for block in blocks:
        for name, met in notes.items():
            pair = name.removeprefix(f"met/{block}/")
            if pair == name or term not in (sides := pair.split(" x ")):
                continue
            other = sides[1] if sides[0] == term else sides[0]
            found.setdefault(other, notes[f"conflict/{block}/{pair}"] / met if met > 0 else float("nan"))
    return found


def _pairs(gram: NDArray[np.float64]) -> dict[str, float]:
    lengths = np.sqrt(np.diag(gram).clip(min=0))
    pairs = list(combinations(range(len(gram)), 2))
    products = [float(gram[i, j]) for i, j in pairs]
    scales = [float(lengths[i] * lengths[j]) for i, j in pairs]
    cosines = [product / scale if scale > 0 else 0.0 for product, scale in zip(products, scales, strict=True)]
    return {"conflict": float(np.mean([product < 0 for product in products])), "cosine": float(np.mean(cosines))}


class ConflictTable:
    """The epochs' conflicts as lines of a table, from the values that a run logs."""

    def __init__(self) -> None:
        self._heads: list[str] = []

    def lines(self, epoch: int, values: Mapping[str, float]) -> list[str]:
        """The epoch's line, the heads before the first; nothing for a run that takes its losses' gradients together."""
        if "gradient/conflict" not in values:
            return []
        terms = [name.removeprefix("gradient/norm/") for name in values if name.startswith("gradient/norm/")]
        cells = {"epoch": str(epoch + 1), "conflicts": f"{values['gradient/conflict']:.1%}"}
        cells["cosine"] = f"{values['gradient/cosine']:.3f}"
        cells |= {f"|g {term}|": f"{values[f'gradient/norm/{term}']:.3g}" for term in terms}
        cells |= {f"loss {term}": f"{values[f'loss/{term}']:.4f}" for term in terms}
        widths = [max(len(head), 9) for head in cells]
        first = list(cells) != self._heads
        self._heads = list(cells)
        rows = [list(cells), list(cells.values())] if first else [list(cells.values())]
        return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
