"""How voices are mixed: in turn (`concat`) or at once (`overlap`), with silence and noise, and when each speaks.

All draws are the same whatever the voices are, so that one generator gives two mixtures of other voices the same
places, lengths and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.perturb.noise import ColouredNoiseConfig
from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError, UsageError
from earwitness.corpora.splices.signal import gain_to, speaking

Mode = Literal["concat", "overlap"]
Flags = NDArray[np.bool_]

FADE_S = 0.02
SPEECH_LEVEL = 0.05  # RMS of the speech of every voice, -26 dBFS
FLOOR = SPEECH_LEVEL * 10 ** (-50 / 20)  # RMS of the faint noise under all: no room is digitally silent
MOST_PIECES = 3
_PEAK = 0.999
_FRAME_S = 0.01  # in which `speaking` tells speech from pauses


@dataclass(frozen=True)
class Scene:
    """How a mixture is made.

    `rho`: in `concat` the leading voice's share of the speech; in `overlap` it speaks throughout, and others cover
    1 - rho of the time at a ratio of `sir_db` (leading over others). `seconds` is the length of all, `silence` the
    share of it in which nobody speaks; noise is added at `snr_db` over the whole (None: none).
    """

    mode: Mode
    rho: float
    seconds: float
    sir_db: float | None = None
    snr_db: float | None = None
    silence: float = 0.0

    def __post_init__(self) -> None:
        """Raises `UsageError` for impossible numbers."""
        if not (0 < self.rho <= 1 and self.seconds >= 0.5 and 0 <= self.silence <= 0.5):
            what = f"no mixture: rho {self.rho:g}, {self.seconds:g} s, {self.silence:g} of it silent"
            raise UsageError(what, fix="rho lies in (0, 1], silence in [0, 0.5], and it lasts 0.5 s or more.")
        if self.mode == "overlap" and self.rho < 1 and self.sir_db is None:
            raise UsageError("voices that overlap need a ratio", fix="Give sir_db.")


@dataclass(frozen=True)
class Mixture:
    """`samples` [N]; `lead` and `others` [N] say when the leading voice and any other one speaks, pauses left out."""

    samples: Samples
    lead: Flags
    others: Flags

    def frames(self, count: int, hop: int, window: int) -> tuple[Flags, Flags]:
        """The same [count] at the middles of analysis frames, in samples."""
        middles = np.minimum(np.arange(count) * hop + window // 2, len(self.samples) - 1)
        return self.lead[middles], self.others[middles]


def mix(lead: Samples, others: Sequence[Samples], scene: Scene, rate: int, rng: np.random.Generator) -> Mixture:
    """Voices [N_i] as one recording of `scene.seconds`, each at the same speech level before `sir_db`.

    A voice that is shorter than what is needed of it is repeated. Raises `AudioError` for a silent voice, and
    `UsageError` where rho needs others and there are none.
    """
    if scene.rho < 1 and not others:
        raise UsageError(f"rho {scene.rho:g} needs another voice")
    made = (
        _in_turn(lead, others, scene, rate, rng) if scene.mode == "concat" else _at_once(lead, others, scene, rate, rng)
    )
    samples = made.samples + (FLOOR * rng.standard_normal(len(made.samples))).astype(np.float32)
    if scene.snr_db is not None:
        noise = ColouredNoiseConfig(colours=("white", "pink"), snr_db=(scene.snr_db, scene.snr_db)).build()
        samples = noise(samples, rate, rng)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > _PEAK:
        samples = samples * np.float32(_PEAK / peak)
    return Mixture(samples.astype(np.float32), made.lead, made.others)


@dataclass(frozen=True)
class _Piece:
    """`size` samples of a voice from `start` of what is taken of it; `voice` 0 leads, -1 is silence."""

    voice: int
    start: int
    size: int


def _in_turn(lead: Samples, others: Sequence[Samples], scene: Scene, rate: int, rng: np.random.Generator) -> Mixture:
    """Each voice in one to three pieces, shuffled, with pieces of silence among them."""
    total, fade = round(scene.seconds * rate), round(FADE_S * rate)
    quiet = round(scene.silence * total)
    speech = total - quiet
    sizes = _shares(speech, scene.rho, len(others))
    plans = [_pieces(voice, size, rng) for voice, size in enumerate(sizes)]
    pieces = [piece for plan in plans for piece in plan] + (_pieces(-1, quiet, rng) if quiet else [])
    order = [pieces[place] for place in rng.permutation(len(pieces))]
    taken = [_taken(voice, size + fade, rate, rng) for voice, size in zip((lead, *others), sizes, strict=False)]
    samples, flags = np.zeros(total, np.float32), np.zeros((2, total), bool)
    at = 0
    for piece in order:
        if piece.voice >= 0:
            _place(taken[piece.voice], piece, at, fade, samples, flags[min(piece.voice, 1)])
        at += piece.size
    return Mixture(samples, flags[0], flags[1])


def _at_once(lead: Samples, others: Sequence[Samples], scene: Scene, rate: int, rng: np.random.Generator) -> Mixture:
    """The leading voice throughout, silences between its pieces; others over 1 - rho of the time."""
    total, fade = round(scene.seconds * rate), round(FADE_S * rate)
    quiet = round(scene.silence * total)
    samples, flags = np.zeros(total, np.float32), np.zeros((2, total), bool)
    _spread([_taken(lead, total - quiet + fade, rate, rng)], [total - quiet], samples, flags[0], fade, rng)
    if scene.rho < 1:
        covered = round((1 - scene.rho) * total)
        sizes = _shares(covered, 0.0, len(others))[1:]
        gain = np.float32(10 ** (-(scene.sir_db or 0.0) / 20))
        taken = [_taken(v, s + fade, rate, rng) for v, s in zip(others, sizes, strict=True)]
        louder = [_Taken(one.samples * gain, one.speaks) for one in taken]
        _spread(louder, sizes, samples, flags[1], fade, rng)
    return Mixture(samples, flags[0], flags[1])


def _spread(
    taken: Sequence[_Taken], sizes: Sequence[int], samples: Samples, flags: Flags, fade: int, rng: np.random.Generator
) -> None:
    """Pieces of voices added to `samples` in any order, with gaps between them that fill up the rest."""
    pieces = [piece for voice, size in enumerate(sizes) for piece in _pieces(voice, size, rng)]
    order = [pieces[place] for place in rng.permutation(len(pieces))]
    gaps = _cut(len(samples) - sum(sizes), len(order) + 1, rng, least=0.0)
    at = 0
    for gap, piece in zip(gaps, order, strict=False):
        at += gap
        _place(taken[piece.voice], piece, at, fade, samples, flags)
        at += piece.size


@dataclass(frozen=True)
class _Taken:
    """What is used of a voice, and when it speaks."""

    samples: Samples
    speaks: Flags


def _taken(voice: Samples, size: int, rate: int, rng: np.random.Generator) -> _Taken:
    """A stretch of `size` samples from a random place, at the common level; a shorter voice is repeated."""
    draw = rng.random()
    if len(voice) == 0:
        raise AudioError("a voice of a mixture holds no sound")
    gained = voice * np.float32(gain_to(SPEECH_LEVEL, voice, rate))
    first = int(draw * (len(voice) - size + 1)) if len(voice) > size else 0
    samples = gained[first : first + size] if len(voice) >= size else np.resize(gained, size)
    frame = round(_FRAME_S * rate)
    speaks = np.repeat(speaking(samples, rate), frame)
    padded = np.zeros(size, bool)
    padded[: len(speaks)] = speaks
    return _Taken(np.asarray(samples, np.float32), padded)


def _place(taken: _Taken, piece: _Piece, at: int, fade: int, samples: Samples, flags: Flags) -> None:
    """Add a piece, faded in over its first and out over the `fade` samples behind it, where the next one fades in."""
    end = min(at + piece.size + fade, len(samples))
    part = taken.samples[piece.start :][: end - at].copy()
    ramp = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade) ** 2
    width = min(fade, len(part) // 2)
    part[:width] *= ramp[:width] if at else 1
    if end == at + piece.size + fade:
        part[len(part) - width :] *= ramp[::-1][-width:]
    samples[at : at + len(part)] += part.astype(np.float32)
    half = fade // 2 if at else 0
    stop = max(at + half, min(at + piece.size + fade // 2, len(samples)))
    flags[at + half : stop] |= taken.speaks[piece.start + half :][: stop - at - half]


def _shares(total: int, rho: float, others: int) -> list[int]:
    """Samples of the leading voice and of each other; equal parts for these."""
    lead = round(rho * total)
    if not others or lead == total:
        return [total]
    edges = np.linspace(0, total - lead, others + 1).round().astype(int)
    return [lead, *np.diff(edges).tolist()]


def _pieces(voice: int, size: int, rng: np.random.Generator) -> list[_Piece]:
    sizes = _cut(size, int(rng.integers(1, MOST_PIECES + 1)), rng)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
    return [_Piece(voice, start, length) for start, length in zip(starts, sizes, strict=True)]


def _cut(size: int, count: int, rng: np.random.Generator, least: float = 0.5) -> list[int]:
    """`size` in `count` random parts, each at least `least` of an equal part."""
    shares = least / count + (1 - least) * rng.dirichlet(np.ones(count))
    edges = np.concatenate([[0], np.cumsum(shares)]) / shares.sum()
    return np.diff((edges * size).round().astype(int)).tolist()  # type: ignore[no-any-return]
