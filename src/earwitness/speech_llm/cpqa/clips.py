"""A clip: a kept segment with its words, as a writer of questions is told of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.speech_llm.cpqa.classes import Emotion
from earwitness.speech_llm.cpqa.forms import SEGMENTS, WORDS, SegmentRow, WordRow, read_rows


@dataclass(frozen=True)
class Run:
    """Consecutive words of one emotion; seconds from the start of the clip."""

    start: float
    end: float
    emotion: Emotion | None
    text: str


@dataclass(frozen=True)
class Clip:
    """Times are of the recording, as in the files."""

    segment: SegmentRow
    words: tuple[WordRow, ...] = ()

    @property
    def id(self) -> str:
        """The segment's."""
        return self.segment.seg_id

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.segment.end - self.segment.start

    @property
    def emotions(self) -> frozenset[Emotion]:
        """All labels of the clip: the segment's and its words'."""
        own = {self.segment.emotion, *(word.emotion for word in self.words)}
        return frozenset(name for name in own if name is not None)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The words in groups of one emotion each."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[Run]:
        for emotion, group in groupby(self.words, key=lambda word: word.emotion):
            words = list(group)
            start, end = words[0].start - self.segment.start, words[-1].end - self.segment.start
            yield Run(round(max(0.0, start), 1), round(max(0.0, end), 1), emotion, spoken(words))


def spoken(words: Sequence[WordRow]) -> str:
    """Words as a text; parts of one word that a recogniser gives apart (`grown`, `-up`) are joined."""
    return re.sub(r"(?<=\w) -(?=\w)", "-", " ".join(word.word.strip() for word in words))


def decorated(clip: Clip) -> str:
    """The words with their labels, a run a line: `[12.4-16.8 | emotion=angry | gender=female] I told you already`."""
    gender = clip.segment.gender or "unknown"
    if not clip.words:
        told = f"emotion={clip.segment.emotion} | gender={gender}"
        return f"[0.0-{clip.duration:.1f} | {told}] (words not known)"
    return "\n".join(
        f"[{run.start:.1f}-{run.end:.1f} | emotion={run.emotion or 'none'} | gender={gender}] {run.text}"
        for run in clip.runs
    )


def read_clips(folder: Path) -> list[Clip]:
    """The kept segments of a condensed set with their words. Raises `DataError` where there are none."""
    segments = [row for row in read_rows(folder / SEGMENTS, SegmentRow) if row.kept]
    if not segments:
        raise DataError("holds no kept segment", where=folder / SEGMENTS, fix="Condense more recordings.")
    path = folder / WORDS
    words: dict[str, list[WordRow]] = {}
    for word in read_rows(path, WordRow) if path.is_file() else []:
        words.setdefault(word.seg_id, []).append(word)
    return [Clip(segment, tuple(words.get(segment.seg_id, ()))) for segment in segments]


def without_words(clips: Sequence[Clip]) -> int:
    """How many clips have none."""
    return sum(not clip.words for clip in clips)
