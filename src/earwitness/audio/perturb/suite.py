"""The perturbations that tests know by name, in a fixed order: those of `evaluate --perturb`, and of cards.

Babble is not among them: it needs recordings of other talkers. Noise is white, pink and brown. Which codecs can be run
depends on how ffmpeg and libsndfile were built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from earwitness.audio.perturb import PerturbationConfig
from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.audio.perturb.codec import CodecConfig, CodecName
from earwitness.audio.perturb.noise import Colour, ColouredNoiseConfig
from earwitness.audio.perturb.rawboost import RawBoostConfig
from earwitness.audio.perturb.reverb import ReverbConfig
from earwitness.audio.perturb.simple import (
    ClipConfig,
    GainConfig,
    LowPassConfig,
    ResampleConfig,
    SpeedConfig,
    TelephoneBandConfig,
)


@dataclass(frozen=True)
class NamedPerturbation:
    """One entry of the suite: its name in reports and files, what it does in words, and how."""

    name: str
    words: str
    config: PerturbationConfig


def _noise(colour: Colour, snr_db: float) -> NamedPerturbation:
    config = ColouredNoiseConfig(colours=(colour,), snr_db=(snr_db, snr_db))
    return NamedPerturbation(f"{colour}-noise-{snr_db:g}db", f"{colour} noise, {snr_db:g} dB below the speech", config)


def _codec(name: str, codec: CodecName, words: str, kbps: float | None = None) -> NamedPerturbation:
    return NamedPerturbation(name, words, CodecConfig(codec=codec, bitrates_kbps=() if kbps is None else (kbps,)))


def _low_pass(cutoff_hz: float) -> NamedPerturbation:
    config = LowPassConfig(cutoff_hz=(cutoff_hz, cutoff_hz))
    return NamedPerturbation(f"low-pass-{cutoff_hz:g}hz", f"nothing above {cutoff_hz:g} Hz", config)


def _room(t60_s: float) -> NamedPerturbation:
    config = ReverbConfig(t60_s=(t60_s, t60_s), direct_db=(0.0, 0.0))
    return NamedPerturbation(f"room-{t60_s:g}s", f"synthetic room, reverberation time {t60_s:g} s", config)


def _resampled(rate: int) -> NamedPerturbation:
    return NamedPerturbation(f"resample-{rate}hz", f"resampled to {rate} Hz and back", ResampleConfig(rates=(rate,)))


def _gain(gain_db: float) -> NamedPerturbation:
    louder = f"{abs(gain_db):g} dB {'louder, nothing cut' if gain_db > 0 else 'quieter'}"
    name = f"gain{gain_db:+g}db" + ("-uncut" if gain_db > 0 else "")
    return NamedPerturbation(name, louder, GainConfig(gain_db=(gain_db, gain_db)))


def _speed(factor: float) -> NamedPerturbation:
    words = f"played at {factor:g} of the speed (pitch and voice change with it)"
    return NamedPerturbation(f"speed-{factor:g}", words, SpeedConfig(factors=(factor,)))


def _rawboost(name: str, algo: int, words: str) -> NamedPerturbation:
    return NamedPerturbation(f"rawboost-{name}", f"RawBoost, {words}", RawBoostConfig(algo=algo))


_AT_PEAK = ClipConfig(below_peak_db=(6.0, 6.0))

PERTURBATIONS: tuple[NamedPerturbation, ...] = (
    *(_noise(colour, snr_db) for colour in ("white", "pink") for snr_db in (20.0, 10.0, 5.0)),
    _noise("white", 0.0),
    _noise("brown", 10.0),
    _codec("mp3-64k", "mp3", "MP3 at 64 kbit/s", 64),
    _codec("mp3-32k", "mp3", "MP3 at 32 kbit/s", 32),
    _codec("opus-32k", "opus", "Opus at 32 kbit/s", 32),
    _codec("opus-12k", "opus", "Opus at 12 kbit/s", 12),
    _codec("vorbis", "vorbis", "Vorbis at 27 to 60 kbit/s"),
    _codec("aac-32k", "aac", "AAC at 32 kbit/s", 32),
    _codec("amr-12.2k", "amr_nb", "AMR narrow-band at 12.2 kbit/s, a mobile call", 12.2),
    _codec("gsm", "gsm", "GSM full rate, an old mobile call"),
    _codec("mu-law", "mu_law", "G.711 mu-law at 8 kHz, a landline"),
    *(_low_pass(cutoff_hz) for cutoff_hz in (7_000.0, 4_000.0, 3_400.0)),
    NamedPerturbation("telephone", "telephone band, 300-3400 Hz", TelephoneBandConfig()),
    *(_room(t60_s) for t60_s in (0.3, 0.8)),
    *(_resampled(rate) for rate in (11_025, 8_000)),
    *(_gain(gain_db) for gain_db in (-20.0, -6.0, 6.0)),
    NamedPerturbation(
        "gain+6db",
        "6 dB louder, cut at the recording's old peak",
        SeriesConfig(components=(_AT_PEAK, GainConfig(gain_db=(6.0, 6.0)))),
    ),
    NamedPerturbation("clip-12db", "cut 12 dB below its peak", ClipConfig(below_peak_db=(12.0, 12.0))),
    *(_speed(factor) for factor in (0.9, 1.1)),
    _rawboost("lnl", 1, "convolutive noise"),
    _rawboost("isd", 2, "impulsive noise"),
    _rawboost("ssi", 3, "stationary noise"),
    _rawboost("series", 4, "all three in series"),
)

BY_NAME: Mapping[str, NamedPerturbation] = {perturbation.name: perturbation for perturbation in PERTURBATIONS}
