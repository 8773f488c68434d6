"""A source-filter synthesiser whose voices are six numbers: for tests and for the experiment of 6.6; needs no weights.

log f0, vocal-tract scale, three formant offsets and spectral tilt. Letters are sounds: vowels are pulses through four
formants, other letters bands of noise, spaces pauses. Its encoder is a linear map from the long-term spectrum and the
pitch, fitted on what the synthesiser says with known voices.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import AudioError
from earwitness.corpora.twins.base import resampled
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.identity_expansion.sentences import SENTENCES
from earwitness.speaker.identity_expansion.synthesisers.base import Prompt, Speech, Voices
from earwitness.speaker.identity_expansion.synthesisers.space import Numbers, ParameterSpace

RATE = 16_000
#: log f0, log tract scale, log offsets of three formants, tilt in dB an octave: mean and spread over both sexes.
SPACE = ParameterSpace(mean=(5.1, 0.0, 0.0, 0.0, 0.0, -6.0), spread=(0.28, 0.08, 0.06, 0.06, 0.06, 1.5), constant=1.2)
FORMANTS = {  # Hz; the fourth lies at 3500
    "a": (730, 1090, 2440), "e": (530, 1840, 2480), "i": (270, 2290, 3010), "o": (570, 840, 2410),
    "u": (300, 870, 2240), "y": (390, 1990, 2550), "w": (440, 1020, 2240), "l": (360, 1300, 2700),
    "r": (310, 1060, 1380), "m": (250, 1000, 2200), "n": (250, 1500, 2500),
}  # fmt: skip
BANDWIDTHS = (80.0, 100.0, 140.0, 200.0)  # Hz
NOISES = {"s": 6500.0, "z": 6000.0, "c": 4000.0, "x": 3500.0, "f": 5000.0, "h": 1500.0, "t": 4500.0, "k": 2500.0}
FITTED_ON = 160  # utterances with known voices
RIDGE = 0.002
_FRAME, _HOP, _BANDS = 512, 256, 24


class ToyConfig(Config):
    """The toy; nothing to install."""

    kind: Literal["toy"] = "toy"

    def build(self) -> Toy:
        """The encoder is fitted when it is first asked."""
        return Toy()


class Toy:
    """Vectors [7] of unit length; 16 kHz."""

    system = "inside-toy"
    family = "toy-source-filter"
    made_with = "the toy synthesiser of Earwitness"
    converts = False

    def speak(self, prompt: Prompt, vector: Vectors, seed: int) -> Speech:
        """The letters of the text in the voice of a vector [7]. The seed sets melody, tempo and noise. Raises
        `AudioError` for a text without letters."""
        return Speech(spoken(prompt.text, SPACE.numbers(vector), seed), RATE)

    def embed(self, samples: Samples, rate: int) -> Vectors:
        """The vector of an utterance. Raises `AudioError` for what is silent."""
        mean, weights = _encoder()
        return SPACE.vector((_features(resampled(samples, rate, RATE)) - mean) @ weights[:-1] + weights[-1])

    def voices(self) -> Voices | None:
        """None: recordings are embedded."""
        return None


def drawn_voice(rng: np.random.Generator, sex: Literal["m", "f"]) -> Numbers:
    """The six numbers of a voice at random: women speak higher and with shorter tracts, with little overlap."""
    centre = np.array((5.35, 0.06, 0.0, 0.0, 0.0, -6.5) if sex == "f" else (4.85, -0.06, 0.0, 0.0, 0.0, -5.5))
    return np.asarray(centre + rng.standard_normal(6) * (0.13, 0.05, 0.06, 0.06, 0.06, 1.3))


def spoken(text: str, voice: Numbers, seed: int) -> Samples:
    """A text in the voice of six numbers, float32 [N] at 16 kHz. Raises `AudioError` for a text without letters."""
    rng = np.random.default_rng(seed)
    letters = [letter for letter in text.lower() if letter.isalpha() or letter == " "]
    if not any(letter != " " for letter in letters):
        raise AudioError(f"the text {text[:40]!r} has no letters to say")
    tempo, declination = rng.uniform(0.85, 1.15), rng.uniform(0.05, 0.2)
    accents = np.cumsum(rng.normal(0, 0.05, len(letters))) * 0.5
    parts: list[Floats] = []
    phase = 0.0
    for place, letter in enumerate(letters):
        length = round(RATE * tempo * rng.uniform(0.05, 0.09))
        if letter == " ":
            parts.append(np.zeros(length // 2))
        elif letter in FORMANTS:
            pitch = np.exp(voice[0] + accents[place] - declination * place / len(letters)) * np.ones(length)
            phases = phase + np.cumsum(pitch / RATE)
            phase = float(phases[-1])
            parts.append(_vowel(phases, pitch, FORMANTS[letter], voice, rng))
        else:
            parts.append(_noise(length, NOISES.get(letter, 3000.0), voice, rng))
    sound = np.concatenate(parts)
    sound = sound / max(1e-9, float(np.sqrt(np.mean(sound**2)))) * 0.05
    sound += rng.normal(0, 10 ** rng.uniform(-3.7, -3.2), len(sound))
    return np.clip(sound, -0.99, 0.99).astype(np.float32)


def _vowel(
    phases: Floats, pitch: Floats, formants: tuple[int, int, int], voice: Numbers, rng: np.random.Generator
) -> Floats:
    """Pulses at the pitch through the formants of a voice."""
    pulses = np.diff(np.floor(phases), prepend=np.floor(phases[0])) * np.sqrt(RATE / pitch)
    source = _tilted(pulses + rng.normal(0, 0.02, len(pulses)), voice[5])
    centres = np.array([*formants, 3500.0]) * np.exp(voice[1] + np.append(voice[2:5], 0.0))
    for centre, width in zip(centres, BANDWIDTHS, strict=True):
        source = lfilter(*_resonance(min(float(centre), 7400.0), width), source)
    return np.asarray(source * np.hanning(len(source)) ** 0.3)


def _noise(length: int, centre: float, voice: Numbers, rng: np.random.Generator) -> Floats:
    """A band of noise whose centre follows the tract."""
    band = lfilter(*_resonance(min(centre * float(np.exp(voice[1])), 7400.0), 900.0), rng.normal(0, 0.05, length))
    return np.asarray(band * np.hanning(length))


def _tilted(signal: Floats, tilt: float) -> Floats:
    """A first-order fall by about `tilt` dB an octave."""
    return np.asarray(lfilter([1.0], [1.0, -float(np.clip(-tilt / 7.5, 0.0, 0.97))], signal))


def _resonance(centre: float, width: float) -> tuple[list[float], list[float]]:
    """Coefficients of a two-pole resonance with unit gain at 0 Hz."""
    radius = float(np.exp(-np.pi * width / RATE))
    first, second = -2 * radius * float(np.cos(2 * np.pi * centre / RATE)), radius**2
    return [1 + first + second], [1.0, first, second]


@lru_cache(maxsize=1)
def _encoder() -> tuple[Floats, Floats]:
    """The mean of the features [P] and a linear map [P + 1, 6] from features to voices, by ridge regression."""
    rng = np.random.default_rng(0)
    voices = [drawn_voice(rng, "f" if number % 2 else "m") for number in range(FITTED_ON)]
    texts = [SENTENCES[int(place)][4:28] for place in rng.integers(len(SENTENCES), size=FITTED_ON)]
    heard = np.stack(
        [_features(spoken(text, voice, k)) for k, (text, voice) in enumerate(zip(texts, voices, strict=True))]
    )
    mean = heard.mean(axis=0)
    wanted = np.array(voices)
    centred, level = heard - mean, wanted.mean(axis=0)
    penalty = RIDGE * len(heard) * np.eye(heard.shape[1])
    weights = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted - level))
    # a ridge draws every voice towards the mean one: undone, so that voices come out where they were put in
    kept = np.linalg.lstsq(wanted - level, centred @ weights, rcond=None)[0]
    return mean, np.vstack([weights @ np.linalg.inv(kept), level])


def _features(samples: NDArray[np.floating[Any]]) -> Floats:
    """Log energies of the loud frames in 24 bands of equal width on a log scale, level taken off, and log pitch [25].

    Raises `AudioError` for what is silent.
    """
    signal = np.pad(np.asarray(samples, np.float64), (0, max(0, _FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, _FRAME)[::_HOP] * np.hanning(_FRAME)
    spectra = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    energy = spectra.sum(axis=1)
    if energy.max() < 1e-6:
        raise AudioError("is silent: it has no voice")
    loud = spectra[energy > 0.1 * np.quantile(energy, 0.9)]
    bands = np.log(loud @ _bands().T + 1e-8).mean(axis=0)
    return np.append((bands - bands.mean()) / 2, 4 * _log_pitch(loud))


@lru_cache(maxsize=1)
def _bands() -> Floats:
    """Which bins belong to which band, [24, F], triangles."""
    edges = np.geomspace(150, 7600, _BANDS + 2)
    hertz = np.fft.rfftfreq(_FRAME, 1 / RATE)
    rise = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rise, fall), 0, None)


def _log_pitch(spectra: Floats) -> float:
    """Log of the pitch that frames agree on, by their autocorrelation between 70 and 400 Hz."""
    correlation = np.fft.irfft(spectra / spectra.max(axis=1, keepdims=True), axis=1).mean(axis=0)
    lags = np.arange(RATE // 400, RATE // 70)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_FRAME))) ** 2)[lags]
    return float(np.log(RATE / lags[int(np.argmax(correlation[lags] / window))]))
