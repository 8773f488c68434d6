"""Several voices in one recording are noticed, one voice seldom."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from earwitness.audio.reading import load
from earwitness.audio.windows import Sliding
from earwitness.core.errors import MissingPartError
from earwitness.speaker.comparison import enrol, unit
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.published import DVECTOR, read_published
from earwitness.speaker.voices import in_a_row, least_likeness, one_voice_limit, several_voices
from earwitness.training.model_folder import ModelInfo


def info(limit: float | None = None) -> ModelInfo:
    return ModelInfo(
        name="d-vector",
        task="speaker",
        network=DVECTOR.model_dump(mode="json"),
        windows=Sliding(length_s=1.6, hop_s=0.8),
        polarity="higher = same speaker",
        licence="Apache-2.0",
        extra={} if limit is None else {"one_voice": limit},
    )


def print_of(windows: np.ndarray) -> VoicePrint:
    return VoicePrint(enrol(windows), windows, (), 0.8 * len(windows), 0.8 * len(windows))


def voice(rng: np.random.Generator, windows: int) -> np.ndarray:
    """Windows around one direction of 32."""
    return unit((rng.standard_normal(32) + 0.4 * rng.standard_normal((windows, 32))).astype(np.float32))


def test_least_likeness_equals_its_definition() -> None:
    windows = voice(np.random.default_rng(0), 9)
    slow = min((windows[:k] @ windows[k:].T).mean() for k in range(2, 8))
    assert least_likeness(windows) == pytest.approx(slow, abs=1e-6)
    assert least_likeness(windows[:4]) == pytest.approx((windows[:2] @ windows[2:4].T).mean(), abs=1e-6)
    assert least_likeness(windows[:3]) is None


def test_two_voices_are_told_from_one() -> None:
    rng = np.random.default_rng(1)
    one = [print_of(voice(rng, int(rng.integers(3, 12)))) for _ in range(200)]
    limit = one_voice_limit(p.windows for p in one)
    assert limit is not None
    assert np.mean([several_voices(p, info(limit)) for p in one]) <= 0.01
    two = [print_of(np.concatenate([voice(rng, 4), voice(rng, 6)])) for _ in range(50)]
    assert np.mean([several_voices(p, info(limit)) for p in two]) > 0.9


def test_what_cannot_be_known_is_no_warning() -> None:
    rng = np.random.default_rng(2)
    mixed = print_of(np.concatenate([voice(rng, 4), voice(rng, 4)]))
    assert several_voices(mixed, info(0.9))
    assert not several_voices(mixed, info())
    assert not several_voices(print_of(mixed.windows[2:5]), info(0.9))
    assert one_voice_limit([mixed.windows[:3]]) is None


def test_short_recordings_of_a_speaker_stand_in_a_row() -> None:
    rng = np.random.default_rng(3)
    short = [voice(rng, count) for count in (1, 3, 2, 1, 2)]
    rows = list(in_a_row(short))
    assert [len(row) for row in rows] == [4, 4]  # the ninth window makes no row of its own
    assert np.array_equal(np.concatenate(rows), np.concatenate(short)[:8])
    assert list(in_a_row([])) == []
    assert one_voice_limit(short) is None
    assert one_voice_limit(rows) is not None


@pytest.mark.peer
def test_real_speakers_joined_are_noticed(shared_data) -> None:
    """With the published weights: the share of warnings for one speaker, and for two recordings joined."""
    try:
        published = read_published("resemblyzer")
    except MissingPartError:
        pytest.skip("resemblyzer is not installed (make peers)")
    network = DVECTOR.build()
    published.start(DVECTOR, network)
    embedder = Embedder(network, info())
    table = pl.read_csv(shared_data / "speechocean762" / "manifest.csv", infer_schema_length=0)
    table = table.filter(pl.col("duration_s").cast(pl.Float64) >= 3.4).unique("speaker", maintain_order=True)[:50]
    sounds = [load(shared_data / "speechocean762" / path, 16_000).samples for path in table["path"]]
    alone = [embedder.embed(sound, 16_000) for sound in sounds]
    joined = [embedder.embed(np.concatenate([sounds[i], sounds[i + 1]]), 16_000) for i in range(0, len(sounds) - 1, 2)]
    limit = one_voice_limit(p.windows for p in alone[::2])
    assert limit is not None
    false = np.mean([several_voices(p, info(limit)) for p in alone[1::2]])
    found = np.mean([several_voices(p, info(limit)) for p in joined])
    print(f"one speaker: {false:.0%} warned of; two speakers: {found:.0%} (limit {limit:.3f})")
    assert false <= 0.2
    assert found >= 0.6
