"""Who speaks when: a recording's windows told apart by voice.

Windows of 1.6 s (or the model's own length, where that is shorter) are heard every quarter of it, and only where
somebody speaks. They are grouped by average linkage of their cosines down to a limit. Two groups are two voices where
their mean cosine lies below what 99 % of recordings of one speaker reach (`speaker.voices`), and also below what only
one pair in a hundred of different speakers of the model's cohort reaches. So nothing here is tuned: both stand in the
model. A group with less than a second of speech is given to its nearest neighbour. Each tenth of a second of speech
then belongs to the voice that the windows over it are most like, windows whose middle is near counting most.

One voice a moment: people who speak at once are heard as one of them, or as a voice of their own. Changes are found to
within about half a window; turns shorter than that are mostly lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from earwitness.audio.reading import stream
from earwitness.audio.recording import Segment
from earwitness.audio.speech import EnergyRule, SileroRule, SpeechTracker
from earwitness.audio.windows import Sliding
from earwitness.core.errors import AudioError, MissingPartError
from earwitness.metrics.diarisation import Turn
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Vectors, enrol, unit
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.voices import EXTRA

STEP_S = 0.1  # of the answer
VAD_RATE = 16_000  # Hz, of the rule that finds speech
LONGEST_S = 1.6  # a window: a longer one blurs turns
MOST_STRANGERS = 2_000  # cohort speakers that the limit is taken from
SPOKEN = 0.6  # of a window, so that it is heard
LEAST_VOICE_S = 1.0  # of speech that is a voice of its own
MOST_WINDOWS = 6_000  # all pairs of more would take a gigabyte; half an hour at 0.4 s
REASSIGNED = 2  # times that windows choose their voice anew


@dataclass(frozen=True)
class Diarised:
    """The voices of one recording, those that speak longest first.

    `turns` in order of time, their speakers "1", "2", ...; `prints` a voice print each voice, of the windows in it.
    """

    turns: tuple[Turn, ...]
    prints: tuple[VoicePrint, ...]

    @property
    def count(self) -> int:
        """How many voices there seem to be."""
        return len(self.prints)

    def seconds(self, voice: int) -> float:
        """How long a voice (from 1 on) speaks."""
        return sum(turn.end_s - turn.start_s for turn in self.turns if turn.speaker == str(voice))


def limit_of(embedder: Embedder) -> float | None:
    """The mean cosine below which two groups of windows are two voices; None for a model that was never measured."""
    found, cohort, told = embedder.info.extra.get(EXTRA), embedder.comparator.cohort, embedder.info.cohort
    if not isinstance(found, float):
        return None
    if cohort is None or told is None:
        return found
    return min(found, _strangers(cohort.vectors[: told.speakers]))  # each once, under the first condition


def _strangers(vectors: Vectors) -> float:
    """The cosine that one pair in a hundred of these voices reaches."""
    voices = unit(vectors[:MOST_STRANGERS])
    return float(np.quantile((voices @ voices.T)[np.triu_indices(len(voices), 1)], 0.99))


def diarise(
    path: str | Path,
    embedder: Embedder,
    channel: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Diarised | None:
    """The voices of a file, or of a stretch of it.

    None where it cannot be known: for a model without a limit, without windows of a fixed length or with its own
    variances, and for a recording that is too long or holds too little speech.

    Raises `AudioError` where it cannot be read.
    """
    limit, windows = limit_of(embedder), embedder.info.windows
    if limit is None or not isinstance(windows, Sliding) or embedder.comparator.use != "none":
        return None
    speech, samples = _speech(path, channel, start_s, end_s)
    close = closely(embedder, windows)
    if _too_many(close.info.windows.spans(samples, VAD_RATE), speech):
        return None
    try:
        heard = close.embed_file(path, channel, start_s, end_s)
    except AudioError:
        return None
    spoken = _spoken(heard.spans, speech)
    if spoken.sum() < 2 or spoken.sum() > MOST_WINDOWS:
        return None
    spans, vectors = np.array([(s.start_s, s.end_s) for s in heard.spans])[spoken], heard.windows[spoken]
    return told_apart(spans, vectors, speech, limit, heard.seconds_total)


def closely(embedder: Embedder, windows: Sliding) -> Embedder:
    """The same embedder with windows of at most `LONGEST_S`, four times as close as they are long."""
    other, length_s = copy(embedder), min(windows.length_s, LONGEST_S)
    close = Sliding(length_s=length_s, hop_s=length_s / 4, repeat=windows.repeat)
    other.info = embedder.info.model_copy(update={"windows": close})
    return other


def told_apart(
    spans: Floats, vectors: Vectors, speech: Sequence[Segment], limit: float, seconds_total: float
) -> Diarised | None:
    """Voices from windows [W, 2] (seconds) with unit vectors [W, D] over stretches of speech; None without speech."""
    if not speech:
        return None
    labels = _grouped(vectors, limit)
    while True:
        moments, found = _moments(spans, vectors, labels, speech)
        counts = np.bincount(found, minlength=labels.max() + 1)
        small = int(counts.argmin())
        if len(counts) == 1 or counts[small] * STEP_S >= LEAST_VOICE_S:
            break
        labels = _without(vectors, labels, small)
    order = np.argsort(-counts, kind="stable")
    names = np.argsort(order)
    prints = tuple(
        _print(spans[labels == voice], vectors[labels == voice], counts[voice] * STEP_S, seconds_total)
        for voice in order
    )
    return Diarised(tuple(_turns(moments, names[found], speech)), prints)


def _speech(path: str | Path, channel: int | None, start_s: float, end_s: float | None) -> tuple[list[Segment], int]:
    """By the Silero network, or the energy rule where it is not installed; and how many samples there are in all."""
    try:
        tracker = SpeechTracker(VAD_RATE, SileroRule())
    except MissingPartError:
        tracker = SpeechTracker(VAD_RATE, EnergyRule())
    samples = 0
    for block in stream(path, VAD_RATE, channel, start_s, end_s):
        tracker.push(block)
        samples += len(block)
    return tracker.finish(), samples


def _too_many(spans: Sequence[tuple[int, int]], speech: Sequence[Segment]) -> bool:
    """Known before a window is heard: a recording of hours is not heard at close range for nothing."""
    segments = [Segment(first / VAD_RATE, last / VAD_RATE) for first, last in spans]
    return bool(_spoken(segments, speech).sum() > MOST_WINDOWS)


def _spoken(spans: Sequence[Segment], speech: Sequence[Segment]) -> NDArray[np.bool_]:
    """Windows that are mostly speech."""
    if not speech:
        return np.zeros(len(spans), bool)
    edges = np.array([(segment.start_s, segment.end_s) for segment in speech]).ravel()
    lengths = np.array([segment.duration_s for segment in speech])
    until = np.repeat(np.concatenate([[0.0], lengths.cumsum()]), 2)[1:-1]  # seconds of speech up to each edge
    times = np.array([(span.start_s, span.end_s) for span in spans]).reshape(-1, 2)
    heard = np.interp(times, edges, until)
    return np.asarray((heard[:, 1] - heard[:, 0]) / (times[:, 1] - times[:, 0]) >= SPOKEN - 1e-9)


def _grouped(vectors: Vectors, limit: float) -> NDArray[np.int64]:
    """Labels from 0 by average linkage down to the limit; then each window chooses the group that it is most like."""
    distances = np.clip(1.0 - np.asarray(vectors @ vectors.T, np.float64), 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform((distances + distances.T) / 2, checks=False), "average")
    labels = _dense(fcluster(tree, 1.0 - limit, "distance"))
    for _ in range(REASSIGNED):
        labels = _dense((vectors @ _centres(vectors, labels).T).argmax(axis=1))
    return labels


def _dense(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _centres(vectors: Vectors, labels: NDArray[np.int64]) -> Vectors:
    return np.stack([enrol(vectors[labels == voice]) for voice in range(labels.max() + 1)])


def _without(vectors: Vectors, labels: NDArray[np.int64], voice: int) -> NDArray[np.int64]:
    """Its windows go to the other voice that each is most like."""
    likeness = vectors @ _centres(vectors, labels).T
    likeness[:, voice] = -np.inf
    return _dense(np.where(labels == voice, likeness.argmax(axis=1), labels))


def _moments(
    spans: Floats, vectors: Vectors, labels: NDArray[np.int64], speech: Sequence[Segment]
) -> tuple[Floats, NDArray[np.int64]]:
    """The middles of all tenths of a second of speech, and the voice of each."""
    moments = np.concatenate(
        [np.arange(s.start_s + STEP_S / 2, max(s.end_s, s.start_s + STEP_S), STEP_S) for s in speech]
    )
    likeness = np.asarray(vectors @ _centres(vectors, labels).T, np.float64)
    middles, half = spans.mean(axis=1), (spans[:, 1] - spans[:, 0]) / 2
    voices = np.empty(len(moments), np.int64)
    for place, moment in enumerate(moments):
        weights = np.clip(1 - np.abs(middles - moment) / half, 0, None)
        if not weights.any():
            weights = (np.arange(len(middles)) == np.abs(middles - moment).argmin()).astype(np.float64)
        voices[place] = int((weights @ likeness).argmax())
    return moments, voices


def _turns(moments: Floats, voices: NDArray[np.int64], speech: Sequence[Segment]) -> list[Turn]:
    """Runs of one voice within a stretch of speech."""
    turns: list[Turn] = []
    for segment in speech:
        inside = np.flatnonzero((moments > segment.start_s) & (moments < segment.end_s + STEP_S / 2))
        start = segment.start_s
        for here, after in zip(inside, [*inside[1:], None], strict=True):
            if after is not None and voices[after] == voices[here]:
                continue
            end = segment.end_s if after is None else float(moments[after]) - STEP_S / 2
            if end > start:
                turns.append(Turn(start, end, str(voices[here] + 1)))
            start = end
    return turns


def _print(spans: Floats, vectors: Vectors, seconds: float, seconds_total: float) -> VoicePrint:
    """Of a voice that has windows; `seconds` is how long it speaks."""
    segments = tuple(Segment(float(start), float(end)) for start, end in spans)
    return VoicePrint(enrol(unit(vectors)), vectors, segments, float(seconds), seconds_total)
