"""A trained personal VAD: an enrolled voice and a recording go in, a score and a track of gamma and beta come out.

The score is asymmetric and made anew for every pair: what is heard of a test depends on whom it is heard for, so no
test vector can be kept across speakers. A recording of up to 60 s is heard as a whole. A longer one is heard in windows
of 30 s that overlap by 5 s: gamma and beta are averaged where windows overlap, the verifier hears each gated window,
and the vectors are averaged by the windows' mean gamma, since a window without the speaker says nothing of them (ours).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.reading import from_samples
from earwitness.audio.recording import Segment
from earwitness.audio.windows import Sliding, Whole, Window, cut, heard_seconds, stream_windows, total_seconds
from earwitness.core.errors import AudioError
from earwitness.nn.types import Frames
from earwitness.speaker.comparison import Vectors, enrol
from earwitness.speaker.personal_vad.backbone import Gated, PersonalVad
from earwitness.speaker.personal_vad.folder import read_personal_vad
from earwitness.speaker.personal_vad.verifier import FrozenVerifier
from earwitness.training.model_folder import ModelInfo

LONG_S = 60.0
LONG_WINDOWS = Sliding(length_s=30.0, hop_s=25.0, repeat=False)
HARD = 0.5  # a frame counts as the speaker's where gamma is above (ours)

_LEAST_S = 0.1  # a window of less holds too few frames to normalise

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """A recording heard for C voices: `scores` [C] gated and `plain` [C] as the verifier alone has it.

    `gamma` and `beta` [C, T] are frames of `step_s` seconds from the recording's start; zero where nothing sounds.
    """

    scores: Floats
    plain: Floats
    gamma: Floats
    beta: Floats
    step_s: float
    seconds_used: float
    seconds_total: float


class PersonalVerifier:
    """G and S with their description; `cohort` [C, E]: unit vectors of other speakers, where the verifier has any."""

    def __init__(
        self, vad: PersonalVad, verifier: FrozenVerifier, info: ModelInfo, cohort: Vectors | None = None
    ) -> None:
        self.vad, self.verifier, self.info, self.cohort = vad.eval(), verifier.eval(), info, cohort

    @classmethod
    def load(cls, folder: str | Path) -> PersonalVerifier:
        """From a model folder. Raises `ModelError` where it is altered, incomplete or of another task."""
        return cls(*read_personal_vad(folder))

    def enrol(self, recordings: Iterable[ArrayLike], rate: int) -> Vectors:
        """The enrolled voice [E] from recordings [N] of it, heard by the verifier alone: the unit mean of their unit
        vectors. Raises `AudioError` for one that cannot be judged."""
        return enrol(np.stack([self._voice(self._windows(samples, rate)) for samples in recordings]))

    def enrol_files(self, paths: Iterable[str | Path]) -> Vectors:
        """The same from files. Raises `AudioError` naming a bad one."""
        vectors = []
        for path in paths:
            try:
                vectors.append(self._voice(self._stream(path, None)))
            except AudioError as error:
                raise AudioError(error.what, where=path, fix="Give another reference recording.") from None
        return enrol(np.stack(vectors))

    def hear(self, samples: ArrayLike, rate: int, voices: Vectors) -> Heard:
        """A recording in memory for voices [C, E]. Raises `AudioError` for what cannot be judged."""
        windows = self._windows(samples, rate)
        return self._hear(windows, voices, max(window.end_s for window in windows))

    def hear_file(self, path: str | Path, voices: Vectors, channel: int | None = None) -> Heard:
        """A file, streamed."""
        return self._hear(self._stream(path, channel), voices, total_seconds(path))

    def score(self, samples: ArrayLike, rate: int, voice: Vectors) -> float:
        """cos(v, S(G(x, v))) of one pair; higher = the enrolled speaker is heard. Raises `AudioError`."""
        return float(self.hear(samples, rate, voice[None]).scores[0])

    @torch.inference_mode()
    def gate(self, frames: Frames, voices: Vectors) -> Gated:
        """One recording's frames [1, T, F] for voices [C, E], each for itself: no voice depends on the others."""
        h = self.vad.encoded(frames.values)
        known = torch.from_numpy(np.ascontiguousarray(voices, np.float32))
        made = torch.cat([self.vad.heads(h, self.vad.transform(voice[None])) for voice in known])
        return gated_by(frames, made)

    @torch.inference_mode()
    def embed(self, gated: Gated) -> Tensor:
        """What the verifier makes of gated frames, unit vectors [C, E], each for itself."""
        pools = self.vad.config.gamma_pools
        pairs = zip(gated.frames.values[:, None], gated.gamma[:, None], strict=True)
        return torch.cat([self.verifier.embed(Frames(one), gamma if pools else None) for one, gamma in pairs])

    @torch.inference_mode()
    def features(self, samples: ArrayLike) -> Frames:
        """Samples [N] at the model's rate -> [1, T, F]. Raises `AudioError` for what is too short."""
        return self.verifier.features(torch.from_numpy(np.asarray(samples, np.float32))[None])

    def _windows(self, samples: ArrayLike, rate: int) -> list[Window]:
        recording = from_samples(np.asarray(samples), rate, self.info.rate)
        policy = Whole() if recording.duration_s <= LONG_S else LONG_WINDOWS
        return cut(recording.samples, recording.rate, policy)

    def _stream(self, path: str | Path, channel: int | None) -> Iterator[Window]:
        """By the length of what is read: a header may be wrong about it."""
        rate = self.info.rate
        most = Sliding(length_s=LONG_S, hop_s=LONG_S, repeat=False)
        begin = list(islice(stream_windows(path, most, rate, channel), 2))
        return iter(begin) if len(begin) < 2 else stream_windows(path, LONG_WINDOWS, rate, channel)

    def _voice(self, windows: Iterable[Window]) -> Vectors:
        vectors, spans = [], []
        with torch.inference_mode():
            for window in _audible(windows):
                vectors.append(self.verifier.embed(self.features(window.samples))[0].numpy())
                spans.append(Segment(window.start_s, window.end_s))
        _require_sound(heard_seconds(spans))
        return enrol(np.stack(vectors))

    @torch.inference_mode()
    def _hear(self, windows: Iterable[Window], voices: Vectors, seconds_total: float | None) -> Heard:
        known = torch.from_numpy(np.ascontiguousarray(voices, np.float32))
        sums, plain = torch.zeros_like(known), torch.zeros_like(known[:1])
        pieces: list[tuple[int, Tensor]] = []
        spans: list[Segment] = []
        for part in self._blended(windows, voices):
            gated = part.gated()
            sums += self.embed(gated) * gated.gamma.mean(1)
            plain += self.verifier.embed(part.features)
            pieces.append((part.start, part.mean()))
            spans.append(part.span)
        used = heard_seconds(spans)
        _require_sound(used)
        track = _assembled(pieces)
        return Heard(
            scores=(F.normalize(sums) * known).sum(1).numpy(),
            plain=(F.normalize(plain) * known).sum(1).numpy(),
            gamma=track[..., 0],
            beta=track[..., 1],
            step_s=1 / self.verifier.frames_per_second,
            seconds_used=used,
            seconds_total=spans[-1].end_s if seconds_total is None else seconds_total,
        )

    def _blended(self, windows: Iterable[Window], voices: Vectors) -> Iterator[_Part]:
        """Windows with sound, each as soon as none that follows overlaps with it."""
        waiting: list[_Part] = []
        for window in _audible(windows):
            features = self.features(window.samples)
            gated = self.gate(features, voices)
            start = round(window.start_s * self.verifier.frames_per_second)
            new = _Part(Segment(window.start_s, window.end_s), start, features, gated)
            while waiting and waiting[0].end <= new.start:
                yield waiting.pop(0)
            for part in waiting:
                part.share(new)
            waiting.append(new)
        yield from waiting


class _Part:
    """A window's features and what is known of its gamma and beta, its own and those of windows that overlap it."""

    def __init__(self, span: Segment, start: int, features: Frames, gated: Gated) -> None:
        self.span, self.start, self.features = span, start, features
        self._own = torch.cat([gated.gamma, gated.beta], dim=-1)  # [C, T, 2]
        self._sum, self._count = self._own.clone(), torch.ones(self._own.shape[1], 1)
        self.end = start + self._own.shape[1]  # frames from the start of the recording

    def share(self, later: _Part) -> None:
        """Tell each other about the frames that both have heard."""
        first, last = max(self.start, later.start), min(self.end, later.end)
        for here, there in ((self, later), (later, self)):
            mine, theirs = (slice(max(0, first - one.start), max(0, last - one.start)) for one in (here, there))
            here._sum[:, mine] += there._own[:, theirs]
            here._count[mine] += 1

    def mean(self) -> Tensor:
        """Gamma and beta [C, T, 2]."""
        return self._sum / self._count

    def gated(self) -> Gated:
        """The frames under the averaged gamma and beta."""
        return gated_by(self.features, self.mean())


def gated_by(frames: Frames, made: Tensor) -> Gated:
    """Frames [1, T, F] under gamma and beta [C, T, 2]."""
    gamma, beta = made[..., :1], made[..., 1:]
    return Gated(Frames(gamma * frames.values + beta), gamma, beta)


def _assembled(pieces: list[tuple[int, Tensor]]) -> Floats:
    """[C, T, 2] of the whole recording; zero where a window without sound was left out."""
    _, first = pieces[0]
    count = max(start + piece.shape[1] for start, piece in pieces)
    track = torch.zeros(first.shape[0], count, 2)
    for start, piece in pieces:
        track[:, start : start + piece.shape[1]] = piece
    return np.asarray(track.numpy())


def _audible(windows: Iterable[Window]) -> Iterator[Window]:
    return (window for window in windows if is_audible(window.samples) and window.end_s - window.start_s >= _LEAST_S)


def _require_sound(used: float) -> None:
    if used < SHORTEST_S:
        raise AudioError(f"holds {used:.2f} s of sound; a voice needs at least {SHORTEST_S} s")
