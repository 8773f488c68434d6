"""CPQA's thresholds on acted emotions: UWA, retention and evenness over the grid of x and y, of the shipped recogniser.

    python benchmarks/consistency_grid.py MANIFEST [--work runs/claims/frames]

The recordings are those of the claim `cpqa` (nEMO, which the model never learnt from), one window each; the valence is
made of the model's own classes. Each cell also has the UWA of as many windows of the highest probability, which is all
that such a valence could be worth more than. All six speakers: nothing here was chosen, and nothing should be by it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from earwitness.claims.cpqa import CondensedMaterial, guesses_of_acted
from earwitness.core.records import RunRecord
from earwitness.speech_llm.cpqa.sweeping import Guess, sweep


def sure_uwa(guesses: list[Guess], sure: np.ndarray, count: int) -> float | None:
    """UWA of the `count` windows of the highest probability."""
    chosen = [guesses[place] for place in np.argsort(-sure, kind="stable")[:count]]
    return sweep(chosen).unfiltered if chosen else None


def main() -> None:
    """Print one JSON document: the result and the record of its run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/claims/frames"))
    options = parser.parse_args()
    material = CondensedMaterial.read(options.manifest, options.work)
    guesses = guesses_of_acted(material)
    sure = material.probabilities.max(axis=1)
    found = sweep(guesses)
    cells = [
        {
            "x": cell.thresholds.upper,
            "y": cell.thresholds.lower,
            "kept, %": round(100 * cell.retention, 1),
            "UWA, %": None if cell.uwa is None else round(100 * cell.uwa, 1),
            "UWA of the surest, %": _percent(sure_uwa(guesses, sure, round(cell.retention * len(guesses)))),
            "entropy": round(cell.entropy, 3),
        }
        for cell in found.cells
    ]
    result = {"windows": found.windows, "UWA of all, %": _percent(found.unfiltered), "cells": cells}
    command = f"python benchmarks/consistency_grid.py {' '.join(sys.argv[1:])}"
    record = RunRecord.make(command, material.settings, inputs=material.inputs, licences=material.licences)
    print(json.dumps({"result": result, "record": record.plain()}, indent=2))


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


if __name__ == "__main__":
    main()
