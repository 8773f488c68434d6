"""Many recordings heard at once are heard as each is alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.core.errors import AudioError
from earwitness.speaker.batched import prints_of
from earwitness.speaker.embedder import Embedder


def test_prints_are_those_of_the_embedder(run: Path, speechlike: Any) -> None:
    embedder = Embedder.load(run / "model")
    sound = speechlike(3.0, seed=3)
    recordings = [sound[:20_000], sound[5_000:11_000], sound[:48_000]]
    for samples, found in zip(recordings, prints_of(embedder, recordings), strict=True):
        assert found == pytest.approx(embedder.embed(samples, 16_000).vector, abs=1e-5)


def test_what_the_embedder_refuses_has_no_print(run: Path, speechlike: Any) -> None:
    embedder = Embedder.load(run / "model")
    silent, short = np.zeros(16_000, np.float32), speechlike(1.0, seed=3)[:800]
    for samples in (silent, short):
        with pytest.raises(AudioError):
            embedder.embed(samples, 16_000)
    found = prints_of(embedder, [silent, speechlike(1.0, seed=3), short])
    assert [print_ is None for print_ in found] == [True, False, True]
