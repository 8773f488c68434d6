"""What the tests of CPQA share: toy recognisers, and recordings made of tones."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import soundfile as sf
from toy_cpqa import Agreeing, Loudness, Woman, sound

from earwitness.audio.speech import EnergyRule
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.cpqa.condensing import CondenseConfig
from earwitness.speech_llm.cpqa.hearing import HearingConfig, Recognisers


@pytest.fixture
def toys() -> Recognisers:
    return Recognisers((Loudness(),), Agreeing(), Woman())


@pytest.fixture
def config() -> CondenseConfig:
    return CondenseConfig(hearing=HearingConfig(speech=EnergyRule(shortest_pause_s=0.8)))


@pytest.fixture
def recordings(tmp_path: Path) -> Manifest:
    """One angry and one happy segment, one whose valence disagrees, one too short; a file that is no recording."""
    sounds = {
        "calm.wav": sound((12, 0.1), (2, 0.0), (9, 0.5), (2, 0.0), (2, 0.5)),
        "torn.wav": sound((10, 0.9)),
    }
    for name, samples in sounds.items():
        sf.write(tmp_path / name, samples, 16_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    return Manifest(pl.DataFrame({"path": ["calm.wav", "torn.wav", "broken.wav", "absent.wav"]}), tmp_path)
