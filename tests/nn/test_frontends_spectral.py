"""Spectral front-ends against the field's own tools, and against definitions worked out plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earwitness.nn.frontends import DVECTOR_MEL, FbankConfig, LFCCConfig, LogMelConfig, WaveformConfig
from earwitness.nn.frontends import spectrum as sp

Samples = NDArray[np.float32]


def features(config: FbankConfig | LogMelConfig | LFCCConfig | WaveformConfig, samples: Samples) -> NDArray[np.float32]:
    return np.asarray(config.build()(torch.from_numpy(samples)[None]).values[0].numpy())


def kaldi_fbank(samples: Samples, shape: str) -> NDArray[np.float32]:
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = shape
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(16_000, (samples * 32_768).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("shape", ["hamming", "povey"])
@pytest.mark.parametrize("seed", [0, 1])
def test_fbank_equals_kaldi(speechlike, shape, seed) -> None:
    samples = speechlike(2.03, seed=seed)
    ours = features(FbankConfig(shape=shape, mean_norm=False), samples)
    theirs = kaldi_fbank(samples, shape)
    assert ours.shape == theirs.shape
    print(f"fbank {shape}: largest difference {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() < 1e-3


def test_fbank_equals_kaldi_with_offset_and_silence(speechlike) -> None:
    samples = speechlike(1.0)
    samples[4000:8000] = 0
    samples += np.float32(0.05)
    ours = features(FbankConfig(mean_norm=False), samples)
    theirs = kaldi_fbank(samples, "hamming")
    silent = slice(25, 48)  # a constant is silence to Kaldi, and rounding is all that is left of it
    assert np.abs(np.delete(ours - theirs, np.r_[silent], axis=0)).max() < 1e-2
    assert ours[silent].max() < 0


def test_fbank_on_a_real_recording(shared_data) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = sorted((shared_data / "librispeech_excerpt").rglob("*.flac"))[0]
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    assert np.abs(features(FbankConfig(mean_norm=False), samples) - kaldi_fbank(samples, "hamming")).max() < 1e-3


def test_mean_norm_makes_fbank_blind_to_level(speechlike) -> None:
    samples = speechlike(1.0)
    loud, soft = (features(FbankConfig(), samples * np.float32(gain)) for gain in (1.0, 0.25))
    assert np.abs(loud - soft).max() < 1e-3
    assert np.abs(loud.mean(axis=0)).max() < 1e-4


@pytest.mark.peer
@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_filters_equal_librosa(scale) -> None:
    librosa = pytest.importorskip("librosa")
    ours = sp.mel_filters(512, 16_000, 64, 50.0, 7600.0, scale, area=True).numpy().T
    theirs = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=50, fmax=7600, htk=scale == "htk", norm="slaney")
    assert np.abs(ours - theirs).max() < 1e-7


@pytest.mark.peer
def test_dvector_mel_equals_librosa(speechlike) -> None:
    librosa = pytest.importorskip("librosa")
    samples = speechlike(1.37)
    theirs = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    ours = features(DVECTOR_MEL, samples)
    assert ours.shape == theirs.shape == (len(samples) // 160 + 1, 40)
    print(f"d-vector mel: largest difference {np.abs(ours - theirs).max():.1e} of {theirs.max():.1f}")
    assert np.abs(ours - theirs).max() < 1e-5 * theirs.max()


def test_quiet_sound_is_raised_and_loud_sound_stays(tone) -> None:
    config = LogMelConfig(log=False)
    raised = config.model_copy(update={"raise_to_dbfs": -30.0})
    quiet, loud = tone(0.5, level=0.001), tone(0.5, level=0.5)  # -63 and -9 dBFS
    assert np.allclose(features(raised, loud), features(config, loud))
    gain = 10 ** (-30 / 20) / (0.001 / np.sqrt(2))
    assert np.allclose(features(raised, quiet), gain**2 * features(config, quiet), rtol=1e-3)
    both = raised.build()(torch.from_numpy(np.stack([quiet, loud]))).values.numpy()
    assert np.allclose(both[0], features(raised, quiet)), "each waveform has its own level"
    assert np.isfinite(features(raised, np.zeros(8000, np.float32))).all()


def test_log_mel_puts_a_tone_where_it_belongs(tone) -> None:
    config = LogMelConfig(n_mels=40, mel_scale="htk", area=False)
    centres = sp.mel_to_hz(np.linspace(*sp.hz_to_mel(np.array([0.0, 8000.0]), "htk"), 42), "htk")[1:-1]
    for hz in (300.0, 1000.0, 4000.0):
        loudest = features(config, tone(0.5, hz=hz)).mean(axis=0).argmax()
        assert loudest == np.abs(centres - hz).argmin()


def test_log_mel_floor_and_power(tone) -> None:
    silence = features(LogMelConfig(log_floor=1e-4), np.zeros(1600, np.float32))
    assert np.allclose(silence, np.log(1e-4))
    power, magnitude = (features(LogMelConfig(log=False, power=p, n_mels=20), tone(0.2)) for p in (2, 1))
    doubled = [features(LogMelConfig(log=False, power=p, n_mels=20), 2 * tone(0.2)) for p in (2, 1)]
    assert np.allclose(doubled[0], 4 * power, rtol=1e-4)
    assert np.allclose(doubled[1], 2 * magnitude, rtol=1e-4)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_invert(scale) -> None:
    hz = np.linspace(0, 8000, 97)
    assert np.allclose(sp.mel_to_hz(sp.hz_to_mel(hz, scale), scale), hz)
    assert sp.hz_to_mel(np.array([1000.0]), scale)[0] == pytest.approx(15.0 if scale == "slaney" else 999.99, abs=0.01)


def test_lfcc_is_the_cosine_transform_of_log_energies(speechlike) -> None:
    fft = pytest.importorskip("scipy.fft")
    samples = speechlike(0.3).astype(np.float64)
    emphasised = np.append(0.03 * samples[0], samples[1:] - 0.97 * samples[:-1])
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(320) / 320)
    frequencies, edges = np.arange(257) * 31.25, np.linspace(0, 8000, 22)
    expected = []
    for start in range(0, len(samples) - 319, 160):
        power = np.abs(np.fft.rfft(emphasised[start : start + 320] * window, 512)) ** 2
        energies = [np.interp(frequencies, edges[m : m + 3], [0, 1, 0], 0, 0) @ power for m in range(20)]
        expected.append(fft.dct(np.log10(np.maximum(energies, 1e-9)), norm="ortho"))
    ours = features(LFCCConfig(), samples.astype(np.float32))
    assert ours.shape == (len(expected), 60)
    assert np.abs(ours[:, :20] - np.array(expected)).max() < 1e-3


def test_deltas_are_slopes() -> None:
    ramp = torch.arange(6.0)[None, :, None] * 3
    assert sp.deltas(ramp)[0, :, 0].tolist() == [1.5, 3.0, 3.0, 3.0, 3.0, 1.5]


def test_waveform_frames_are_the_samples() -> None:
    samples = np.arange(1000, dtype=np.float32)
    assert np.array_equal(features(WaveformConfig(), samples).ravel(), samples[:960])
    overlapped = features(WaveformConfig(window=400, hop=160), samples)
    assert overlapped.shape == (4, 400)
    assert np.array_equal(overlapped[2], samples[320:720])
