"""Mixtures as files: FLAC, a manifest, and an RTTM of when the leading voice and others speak.

Files are whole or absent and follow from their trial alone, so a run that was killed goes on by being started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.audio.reading import RATE
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_text
from earwitness.core.writing import write_atomically
from earwitness.corpora.inspection import Problem
from earwitness.corpora.making import write_flac
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.mixtures.signal import Flags
from earwitness.corpora.mixtures.trials import MixtureTrial, mixed_trial

MANIFEST, PLACES = "manifest.csv", "mixtures.rttm"


def write_mixtures(
    trials: Sequence[MixtureTrial], root: Path, folder: Path, progress: Callable[[], object] = lambda: None
) -> list[Problem]:
    """Write every trial's recording; paths of trials are against `root`. What cannot be made is told, the rest is made
    all the same. Raises `UsageError` where it cannot be written."""
    rows, lines, problems = [], [], []
    for number, trial in enumerate(trials, 1):
        name = f"{number:05d}-{sha256_text(str(trial))[:12]}.flac"
        try:
            mixture = mixed_trial(trial, root)
        except AudioError as error:
            problems.append(Problem(f"trial {number}", str(error)))
            progress()
            continue
        if not (folder / name).is_file():
            write_flac(folder / name, mixture.samples, RATE)
        row = {"path": name, "duration_s": len(mixture.samples) / RATE, "sample_rate": RATE, "label": "bonafide"}
        rows.append(row | {"target": int(trial.label), "enrol": trial.enrol, "rho": trial.rho, "mode": trial.mode})
        who = "target" if trial.label else "stand-in"
        lines += _stretches(name, who, mixture.lead) + _stretches(name, "other", mixture.others)
        progress()
    if rows:
        Manifest(pl.DataFrame(rows), folder).write(folder / MANIFEST)
        write_atomically(folder / PLACES, "".join(lines))
    return problems


def _stretches(name: str, who: str, flags: Flags) -> list[str]:
    """RTTM lines of the runs of a voice."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [
        f"SPEAKER {name} 1 {first / RATE:.6f} {(last - first) / RATE:.6f} <NA> <NA> {who} <NA> <NA>\n"
        for first, last in edges.reshape(-1, 2).tolist()
    ]
