"""Views of the spectrum that a recording's channel hardly moves."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from earwitness.nn.frontends.fine_structure import FineStructureConfig
from earwitness.nn.types import Frames

RATE = 16_000


def noise(seconds: float = 0.5) -> torch.Tensor:
    return torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(1))


def view(name: str, waveforms: torch.Tensor) -> torch.Tensor:
    frames = FineStructureConfig.model_validate({"view": name}).build()(waveforms)
    return frames.values


def test_a_steady_tone_advances_by_its_frequency() -> None:
    """A tone 12 Hz above the middle of bin 32 advances by 2 pi 12 / 100 more in 10 ms than the middle itself."""
    time = torch.arange(RATE // 2) / RATE
    tone = torch.sin(2 * math.pi * (32 * RATE / 512 + 12) * time)[None]
    advance = view("phase", tone)[0, :, 32]
    torch.testing.assert_close(advance, torch.full_like(advance, math.cos(2 * math.pi * 12 / 100)), atol=2e-3, rtol=0)


def test_gain_changes_neither_level_nor_detail_nor_phase() -> None:
    sound = noise()
    for name in ("level", "detail", "phase"):
        torch.testing.assert_close(view(name, sound), view(name, 0.25 * sound), atol=1e-3, rtol=1e-3)


def test_a_slowly_changing_filter_moves_the_level_much_more_than_the_detail() -> None:
    """A first-order filter tilts the spectrum by some 25 dB."""
    sound = noise(1.0)
    tilted = sound.clone()
    tilted[:, 1:] -= 0.9 * sound[:, :-1]
    level, detail = (
        (view(name, sound)[..., 1:250] - view(name, tilted)[..., 1:250]).mean(dim=1).abs().mean()
        for name in ("level", "detail")
    )
    assert level > 10 * detail


def test_only_louder_frames_count() -> None:
    sound = noise(1.0)
    sound[:, : RATE // 2] *= 0.01
    frames = FineStructureConfig(view="level").build()(sound)
    assert frames.mask is not None
    half = frames.mask.shape[1] // 2
    assert not frames.mask[:, : half - 3].any()
    assert frames.mask[:, half + 3 :].all()


def test_change_is_the_difference_to_the_frame_before() -> None:
    values = view("level", noise())
    torch.testing.assert_close(values[0, 1:, 257:], (values[0, 1:, :257] - values[0, :-1, :257]).abs())


def test_with_16_bits_an_empty_band_holds_the_noise_of_16_bits() -> None:
    spectrum = torch.fft.rfft(noise(1.0))
    spectrum[:, spectrum.shape[1] // 2 :] = 0
    sound = 0.1 * torch.fft.irfft(spectrum)
    rounded = (sound * 32767).round() / 32767
    plain, fine = (FineStructureConfig(view="level", bits=bits).build() for bits in (None, 16))
    torch.testing.assert_close(fine(sound).values, plain(rounded).values)
    change = 257 + torch.arange(150, 250)  # of the frequencies above 4.7 kHz
    assert plain(sound).values[..., change].mean() < 0.2  # hardly anything moves where nothing is
    assert fine(sound).values[..., change].mean() > 0.5


def banded(name: str, waveforms: torch.Tensor, band: tuple[float, float]) -> Frames:
    config = FineStructureConfig.model_validate({"view": name, "band": band})
    frontend = config.build()
    frames = frontend(waveforms)
    assert frames.values.shape[2] == frontend.dim
    return frames


def test_a_band_gives_the_frequencies_from_its_first_up_to_below_its_last() -> None:
    config = FineStructureConfig(band=(3400.0, 8000.0))
    assert config.bins == range(109, 256)  # 3406.25 to 7968.75 Hz
    assert FineStructureConfig().bins == range(257)


def test_detail_and_phase_of_a_band_are_the_whole_ones() -> None:
    sound, place = noise(), torch.arange(109, 256)
    torch.testing.assert_close(banded("phase", sound, (3400, 8000)).values, view("phase", sound)[..., place])
    both = torch.cat([place, 257 + place])
    torch.testing.assert_close(banded("detail", sound, (3400, 8000)).values, view("detail", sound)[..., both])


def test_the_level_of_a_band_does_not_tell_what_is_elsewhere() -> None:
    """A filter that takes 40 dB off below 2 kHz moves the whole level, and that of the band above 4 kHz not at all."""
    spectrum = torch.fft.rfft(noise(1.0))
    spectrum[:, : spectrum.shape[1] // 4] *= 0.01
    filtered = torch.fft.irfft(spectrum)
    before, after = (banded("level", sound, (4000, 8000)) for sound in (noise(1.0), filtered))
    counted = before.mask & after.mask
    assert counted.sum() > 10
    apart = (before.values - after.values)[counted][:, :128].mean(dim=1).abs()
    whole = (view("level", noise(1.0)) - view("level", filtered))[counted][:, 128:257].mean(dim=1).abs()
    assert apart.max() < 0.3 < 1.5 < whole.min()


def test_the_level_of_a_band_is_that_above_its_mean_over_the_frames_that_count() -> None:
    frames = banded("level", noise(), (3400, 8000))
    level = frames.values[0][frames.mask[0]][:, :147]
    torch.testing.assert_close(level.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_a_band_without_frequencies_is_refused_and_no_band_leaves_the_settings_as_they_were() -> None:
    with pytest.raises(ValidationError, match="band: none of the frequencies"):
        FineStructureConfig(band=(9000.0, 10_000.0))
    assert "band" not in FineStructureConfig().model_dump()  # kept vectors are named by settings
    assert FineStructureConfig(band=(0.0, 3400.0)).model_dump()["band"] == (0.0, 3400.0)
