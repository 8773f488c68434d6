"""Voice conversion by WORLD (Morise, Yokomori, Ozawa 2016): no weights, and the prosody of real recordings.

A voice is eight numbers: mean and spread of log f0, the scale of the vocal tract (formants move together along log
frequency), the tilt of the spectrum, and four numbers for the rest of its shape. A recording of a parent is taken
apart, moved from its speaker's numbers to those of the new voice, and put together again. What a speaker sounds like
beyond these numbers stays with the recording. The design is our own: we do not know the paper's synthesiser.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import AudioError
from earwitness.corpora.twins.base import resampled
from earwitness.corpora.twins.world import Analysis, World, analyse, synthesise
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.identity_expansion.synthesisers.base import Prompt, Speech, Voices
from earwitness.speaker.identity_expansion.synthesisers.space import Numbers, ParameterSpace

RATE = 16_000
GRID = np.linspace(math.log(150.0), math.log(7500.0), 96)  # log Hz at which a spectrum's shape is measured
INNER = slice(10, 86)  # what is compared while it moves
STEP = float(GRID[1] - GRID[0])
MOST_SHIFT = 6  # places
PENALTY = 0.05  # of likeness for a shift of 0.1: without it vowels decide and not the tract
RECOVERED = 0.4  # of a known shift, in the median over 390 utterances; what is measured is divided by it
SHAPES = 4
LEAST_VOICED = 20  # frames of 5 ms
OCTAVE = 0.5  # of log f0 from the median: further away the tracker took another harmonic
MOST_DB = 15.0  # of a band's gain

#: Mean and spread over 195 speakers of speechocean762 with two utterances each, measured with `numbers_of`.
SPACE = ParameterSpace(
    mean=(5.27, -2.14, -0.02, -8.11, -0.14, -0.44, -0.02, 0.42),
    spread=(0.31, 0.35, 0.15, 1.74, 2.4, 1.96, 1.46, 1.34),
    constant=math.sqrt(8),
)
#: The mean shape of their long-term spectra in dB on every eighth point of the grid, tilt and level taken off.
NEUTRAL = (-6.7, -2.8, 1.0, 4.5, 6.3, 1.4, -1.8, -3.5, -3.5, 1.8, 2.0, -0.7)


class WorldConfig(Config):
    """Conversion of the parents' recordings; needs `pip install 'earwitness[twins]'`."""

    kind: Literal["world"] = "world"

    def build(self) -> WorldConversion:
        """Raises `MissingPartError` where pyworld is not installed."""
        World.require()
        return WorldConversion()


class WorldConversion:
    """Vectors [9] of unit length; 16 kHz."""

    system = "inside-world"
    family = "world"
    made_with = "WORLD (pyworld)"
    converts = True

    def speak(self, prompt: Prompt, vector: Vectors, seed: int) -> Speech:
        """The prompt's recording with the voice of `vector`. The seed sets tempo (within 6 %) and liveliness (within
        10 %). Raises `AudioError` without a recording, or where nothing in it is voiced."""
        if prompt.speech is None or prompt.vector is None:
            raise AudioError("conversion needs a recording and the vector of its speaker")
        samples = resampled(prompt.speech.samples, prompt.speech.rate, RATE)
        heard = analyse(samples, RATE, "dio")
        style = np.random.default_rng(seed)
        tempo, liveliness = style.uniform(0.94, 1.06), style.uniform(0.9, 1.1)
        moved = converted(heard, SPACE.numbers(prompt.vector), SPACE.numbers(vector), float(liveliness))
        made = synthesise(replace(moved, frame_ms=heard.frame_ms * float(tempo)))
        if not np.isfinite(made).all():
            raise AudioError("came out not finite")
        level = float(np.sqrt(np.mean(samples**2)) / max(1e-9, np.sqrt(np.mean(made**2))))
        made = made * min(level, 0.99 / max(1e-9, float(np.abs(made).max())))
        return Speech(made.astype(np.float32), RATE)

    def embed(self, samples: Samples, rate: int) -> Vectors:
        """The vector of an utterance. Raises `AudioError` with less than 0.1 s of voiced speech."""
        return SPACE.vector(numbers_of(samples, rate))

    def voices(self) -> Voices | None:
        """None: real recordings are embedded."""
        return None


def converted(heard: Analysis, source: Numbers, target: Numbers, liveliness: float = 1.0) -> Analysis:
    """An analysis moved from one voice's numbers [8] to another's. Raises `AudioError` where nothing is voiced."""
    voiced = heard.f0 > 0
    if int(voiced.sum()) < LEAST_VOICED:
        raise AudioError("holds no voiced speech to convert")
    log_f0 = np.log(np.where(voiced, heard.f0, 1.0))
    spread = math.exp(target[1] - source[1]) * liveliness
    f0 = np.where(voiced, np.exp((log_f0 - source[0]) * spread + target[0]), 0.0)
    bins = heard.envelope.shape[1]
    hertz = np.linspace(0, heard.rate / 2, bins)
    warp = hertz / math.exp(target[2] - source[2])
    envelope = np.exp(_along(np.log(heard.envelope + 1e-16), warp, hertz))
    gain_db = _curve(target, hertz) - _curve(np.append(source[:2], [target[2], *source[3:]]), hertz)
    gain_db = np.clip(gain_db - np.median(gain_db), -MOST_DB, MOST_DB)
    aperiodicity = np.clip(_along(heard.aperiodicity, warp, hertz), 0.0, 1.0)
    return replace(
        heard, f0=np.clip(f0, 0.0, 600.0), envelope=envelope * 10 ** (gain_db / 10), aperiodicity=aperiodicity
    )


def numbers_of(samples: Samples, rate: int) -> Numbers:
    """The eight numbers of an utterance: mean and log spread of log f0, log tract scale, tilt in dB an octave, and four
    of the shape. Raises `AudioError` with less than 0.1 s of voiced speech."""
    heard = analyse(resampled(samples, rate, RATE), RATE, "dio", aperiodicity=False)
    voiced = heard.f0 > 0
    log_f0 = np.log(heard.f0[voiced])
    near = np.abs(log_f0 - np.median(log_f0)) < OCTAVE if len(log_f0) else np.zeros(0, bool)
    if int(near.sum()) < LEAST_VOICED:
        raise AudioError("holds less than 0.1 s of voiced speech")
    spectra = 10 * np.log10(heard.envelope[voiced][near] + 1e-16)
    loudness = spectra.mean(axis=1)
    spectrum = spectra[loudness >= np.quantile(loudness, 0.25)].mean(axis=0)
    shape, tilt = _flattened(np.interp(np.exp(GRID), np.linspace(0, heard.rate / 2, len(spectrum)), spectrum))
    scale = _shift(shape) * STEP / RECOVERED
    rest = np.interp(GRID + scale, GRID, shape) - _neutral()
    shapes = _basis(GRID).T @ rest / len(GRID) * 2
    return np.array([log_f0[near].mean(), math.log(max(0.02, log_f0[near].std())), scale, tilt, *shapes])


def _along(values: Floats, at: Floats, hertz: Floats) -> Floats:
    """Rows [T, F] read at other frequencies [F]; beyond the highest the last value goes on."""
    place = np.clip(at / hertz[1], 0, values.shape[1] - 1)
    low = np.minimum(place.astype(int), values.shape[1] - 2)
    share = place - low
    return np.asarray(values[:, low] * (1 - share) + values[:, low + 1] * share)


def _curve(numbers: Numbers, hertz: Floats) -> Floats:
    """What tilt and shape add to a spectrum, dB [F]."""
    log_hz = np.log(np.clip(hertz, math.exp(GRID[0]), math.exp(GRID[-1])))
    return np.asarray(numbers[3] * (log_hz - GRID.mean()) / math.log(2) + _basis(log_hz - numbers[2]) @ numbers[4:])


def _basis(log_hz: Floats) -> Floats:
    """Four half waves and more over the grid, [F, 4]: what is left of a spectrum's shape without level and tilt."""
    place = np.clip((log_hz - GRID[0]) / (GRID[-1] - GRID[0]), 0, 1)
    return np.cos(np.pi * np.outer(place, np.arange(2, 2 + SHAPES)))


def _flattened(spectrum: Floats) -> tuple[Floats, float]:
    """A spectrum on the grid without level and tilt, and the tilt in dB an octave."""
    octaves = (GRID - GRID.mean()) / math.log(2)
    level = spectrum - spectrum.mean()
    tilt = float(octaves @ level / (octaves @ octaves))
    return np.asarray(level - tilt * octaves), tilt


def _neutral() -> Floats:
    return np.interp(GRID, GRID[::8], NEUTRAL)


def _shift(shape: Floats) -> float:
    """By how many places of the grid a shape lies above the neutral one, where both are most alike; to a fraction."""
    neutral, moves = _neutral()[INNER], np.arange(-MOST_SHIFT, MOST_SHIFT + 1)
    moved = np.stack([shape[INNER.start + move : INNER.stop + move] for move in moves])
    likeness = _correlation(moved, neutral) - PENALTY * (moves * STEP / 0.1) ** 2
    best = int(np.argmax(likeness))
    if not 0 < best < 2 * MOST_SHIFT:
        return float(best - MOST_SHIFT)
    below, peak, above = likeness[best - 1 : best + 2]
    return float(best - MOST_SHIFT + 0.5 * (below - above) / min(-1e-9, below - 2 * peak + above))


def _correlation(rows: Floats, wanted: Floats) -> Floats:
    """Of each row [n, W] with one of [W]; 0 for what is constant."""
    rows, wanted = rows - rows.mean(axis=1, keepdims=True), wanted - wanted.mean()
    return np.asarray(rows @ wanted / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted), 1e-9))
