"""Corpora that only calibrate: no one learns from them, and their trials stay within a corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import SpeakerSplit, split
from earwitness.speaker.training import trials


def test_calibration_corpora_go_to_dev_and_nowhere_else(tmp_path: Path) -> None:
    rows = [
        {"path": f"{corpus}-{speaker}-{k}.wav", "speaker": f"{corpus}-{speaker}", "corpus": corpus}
        for corpus in ("known", "other", "last")
        for speaker in range(6)
        for k in range(2)
    ]
    rule = SpeakerSplit(dev_speakers=2, dev_corpora=("known",), calibration_corpora=("other",), test_corpora=("last",))
    placed = split(Manifest.from_table(pl.DataFrame(rows), tmp_path), rule).table
    sides = {corpus: set(placed.filter(pl.col("corpus") == corpus)["split"]) for corpus in ("known", "other", "last")}
    assert sides == {"known": {"train", "dev"}, "other": {"dev"}, "last": {"test"}}


def test_trials_stay_within_a_corpus() -> None:
    speakers = np.array(["a", "a", "b", "c", "c", "d"])
    corpora = np.array(["x", "x", "x", "y", "y", "y"])
    same, different = trials(speakers, seed=0, corpora=corpora)
    assert same.tolist() == [[0, 1], [3, 4]]
    assert all(corpora[i] == corpora[j] for i, j in different)
    assert len(different) == 4
