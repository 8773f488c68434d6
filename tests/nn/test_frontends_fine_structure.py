"""Views of the spectrum that a recording's channel hardly moves."""

from __future__ import annotations

import math

import torch

from earwitness.nn.frontends.fine_structure import FineStructureConfig

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
