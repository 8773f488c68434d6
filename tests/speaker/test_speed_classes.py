"""Speed perturbation as new speakers: N speakers at three speeds are 3 N classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from pydantic import ValidationError

from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions, Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder

RATE, SPEEDS = 16_000, (1.0, 0.9, 1.1)


@pytest.fixture
def tones(tmp_path: Path, tone: Any) -> Manifest:
    """Four speakers, each a pure tone of her own."""
    rows = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", tone(1.0, RATE, 500 + 200 * number), RATE, subtype="FLOAT")
        rows.append({"path": f"{number}.wav", "speaker": f"s{number}"})
    return Manifest(pl.DataFrame(rows), tmp_path)


def pitch(samples: torch.Tensor) -> float:
    windowed = samples.numpy() * np.hanning(len(samples))
    return float(np.fft.rfftfreq(1 << 16, 1 / RATE)[np.abs(np.fft.rfft(windowed, 1 << 16)).argmax()])


@pytest.mark.shows("speaker-metrics:9.6")
@pytest.mark.parametrize("crop_s", [None, 0.5])
def test_labels_are_offset_by_n_and_the_sound_by_the_speed(tones: Manifest, crop_s: float | None) -> None:
    data = UtteranceDataset(
        tones, UtteranceOptions(crop_s=crop_s, speeds=SPEEDS), speakers=Vocabulary.of(tones, "speaker")
    )
    drawn: Counter[int] = Counter()
    for epoch in range(60):
        data.set_epoch(epoch)
        for number in range(4):
            item = data[number]
            speed, speaker = divmod(item.speaker, 4)
            assert speaker == number
            drawn[speed] += 1
            length = round(RATE / SPEEDS[speed]) if crop_s is None else RATE // 2
            assert len(item.samples) == length  # 0.9 lengthens by 1 / 0.9
            if epoch < 6:
                assert pitch(item.samples) == pytest.approx((500 + 200 * number) * SPEEDS[speed], abs=2)
    assert sorted(drawn) == [0, 1, 2]
    assert all(55 < count < 105 for count in drawn.values())  # 240 draws, equally likely


def test_one_speed_changes_nothing_and_unknown_speakers_stay_unknown(tones: Manifest) -> None:
    vocabulary = Vocabulary(("s0", "s1"))
    plain, options = UtteranceDataset(tones, UtteranceOptions(crop_s=0.3)), UtteranceOptions(crop_s=0.3, speeds=(1.0,))
    single = UtteranceDataset(tones, options, vocabulary)
    assert torch.equal(plain[1].samples, single[1].samples)
    assert [single[number].speaker for number in range(4)] == [0, 1, -1, -1]
    many = UtteranceDataset(tones, UtteranceOptions(speeds=SPEEDS), vocabulary)
    assert many[3].speaker == -1
    assert UtteranceDataset(tones, UtteranceOptions(speeds=SPEEDS))[0].speaker == -1


@pytest.mark.parametrize("speeds", [(), (0.9, 1.0), (1.0, 1.0), (1.0, 9.0)])
def test_speeds_that_are_refused(recipe: SpeakerRecipe, speeds: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="speed"):
        SpeakerRecipe.model_validate({**recipe.model_dump(), "speeds": speeds})


def test_a_model_is_trained_with_three_times_the_classes(
    recipe: SpeakerRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earwitness.speaker import training

    built = []
    start = training._trainee

    def watched(*arguments: Any) -> Any:
        built.append(start(*arguments))
        return built[-1]

    monkeypatch.setattr(training, "_trainee", watched)
    changed = SpeakerRecipe.model_validate({**recipe.model_dump(), "speeds": SPEEDS})
    train_embedder(changed, tmp_path)
    assert built[0][0].head.n_classes == 3 * 4  # four speakers to train on
