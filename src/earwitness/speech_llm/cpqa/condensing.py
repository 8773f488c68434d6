"""Condensation (sections 2.2 to 2.7 of the sheet on CPQA, arXiv 2505.13338, a reconstruction): many recordings become
the few segments whose emotion the recognisers agree on.

    outcome = condense(manifest, CondenseConfig(), recognisers, Path("condensed"))

What was heard is kept recording by recording (`heard.jsonl`): a run that was killed goes on, and other thresholds cost
nothing. A recording that cannot be read is a row with its error. Nothing is dropped without its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.core.config import Config
from earwitness.core.engines.local import each_at_once
from earwitness.core.errors import AudioError, DataError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest, Row
from earwitness.speech_llm.cpqa.classes import SENTIMENTS
from earwitness.speech_llm.cpqa.filters import Cap, Occurrence, Thresholds, capped, drop_of_window, label_of_segment
from earwitness.speech_llm.cpqa.forms import (
    RECORDINGS,
    SEGMENTS,
    WINDOWS,
    RecordingRow,
    SegmentRow,
    WindowRow,
    write_rows,
)
from earwitness.speech_llm.cpqa.hearing import (
    DIGITS,
    MILLISECONDS,
    Heard,
    HeardSegment,
    HearingConfig,
    Place,
    Recognisers,
    hear,
    hearing_key,
)
from earwitness.speech_llm.cpqa.recognisers import called, joined
from earwitness.speech_llm.cpqa.windows import label_windows
from earwitness.speech_llm.kept import KeptRecords

HEARD = "heard.jsonl"
Step = Callable[[], None]


class CondenseConfig(Config):
    """All settings; the defaults are the published values where they are known, else those of the sheet."""

    hearing: HearingConfig = HearingConfig()
    thresholds: Thresholds = Thresholds()
    occurrence: Occurrence = Occurrence()
    cap: Cap = Cap()


@dataclass(frozen=True)
class Condensed:
    """All rows, the dropped ones too."""

    recordings: tuple[RecordingRow, ...]
    segments: tuple[SegmentRow, ...]
    windows: tuple[WindowRow, ...]

    @property
    def failed(self) -> int:
        """Recordings that could not be heard."""
        return sum(row.error is not None for row in self.recordings)

    def write(self, folder: Path) -> None:
        """The three files, each whole or not at all."""
        write_rows(folder / RECORDINGS, self.recordings)
        write_rows(folder / WINDOWS, self.windows)
        write_rows(folder / SEGMENTS, self.segments)


def condense(
    manifest: Manifest,
    config: CondenseConfig,
    who: Recognisers,
    folder: Path,
    step: Step = lambda: None,
    workers: int = 1,
) -> Condensed:
    """Hear what is not kept in `folder` yet, `workers` recordings at a time, judge everything in the order of the
    manifest, and write the files.

    Raises `UsageError` where the folder cannot be written, and whatever a recogniser refuses.
    """
    recordings: list[RecordingRow] = []
    segments: list[SegmentRow] = []
    windows: list[WindowRow] = []
    with KeptRecords(folder / HEARD) as kept:

        def told_of(row: Row) -> tuple[RecordingRow, Heard]:
            return _told_of(manifest, row, config.hearing, who, kept)

        with closing(each_at_once(manifest.rows(), told_of, workers)) as told:
            for _, (recording, heard) in told:
                recordings.append(recording)
                for found, inside in _judged(recording, heard, config, who):
                    segments.append(found)
                    windows.extend(inside)
                step()
    outcome = Condensed(tuple(recordings), tuple(_balanced(segments, config.cap)), tuple(windows))
    outcome.write(folder)
    return outcome


def _told_of(
    manifest: Manifest, row: Row, config: HearingConfig, who: Recognisers, kept: KeptRecords
) -> tuple[RecordingRow, Heard]:
    """The row of a recording, and what is heard in it: read where it is kept. A failure is tried again next time."""
    audio = row.path
    try:
        place = Place(manifest.resolve(row), row.channel, row.start or 0.0, row.end)
        heard = _kept(place, config, who, kept)
    except (AudioError, DataError) as error:
        return RecordingRow(row.id, audio, None, None, str(error)), Heard(0.0, ())
    except OSError as error:
        return RecordingRow(row.id, audio, None, None, f"cannot be read ({error.strerror})"), Heard(0.0, ())
    speech_s = sum(one.end - one.start for one in heard.segments)
    return RecordingRow(row.id, audio, round(heard.seconds, 3), round(speech_s, 3)), heard


def _kept(place: Place, config: HearingConfig, who: Recognisers, kept: KeptRecords) -> Heard:
    key = hearing_key(place, sha256_file(place.path), config, who)
    if key not in kept:
        heard = hear(place, config, who)
        kept.add({"key": key, "seconds": heard.seconds, "segments": [one.plain() for one in heard.segments]})
    record: dict[str, Any] = kept.records[key]
    return Heard(record["seconds"], tuple(HeardSegment.of(plain) for plain in record["segments"]))


def _judged(
    recording: RecordingRow, heard: Heard, config: CondenseConfig, who: Recognisers
) -> Iterator[tuple[SegmentRow, list[WindowRow]]]:
    for number, segment in enumerate(heard.segments):
        seg_id = f"{recording.rec_id}-{number:04d}"
        windows = list(_windows(recording.rec_id, seg_id, segment, config, who)) if len(segment.dimensions) else []
        yield _segment(recording, seg_id, segment, windows, config.occurrence), windows


def _windows(
    rec_id: str, seg_id: str, segment: HeardSegment, config: CondenseConfig, who: Recognisers
) -> Iterator[WindowRow]:
    shares = joined(list(segment.probabilities), config.hearing.rule)
    emotions = called(shares)
    names = [one.id for one in who.categorical]
    for k, window in enumerate(label_windows(segment.start, segment.end, config.hearing.windows)):
        valence, arousal, dominance = (None if np.isnan(v) else float(v) for v in segment.dimensions[k])
        drop = drop_of_window(emotions[k], valence, config.thresholds)
        probs = {name: segment.probabilities[m, k].tolist() for m, name in enumerate(names)}
        yield WindowRow(
            rec_id=rec_id,
            seg_id=seg_id,
            win_id=f"{seg_id}-{k:03d}",
            start=round(window.start, MILLISECONDS),
            end=round(window.end, MILLISECONDS),
            label_start=round(window.label_start, MILLISECONDS),
            label_end=round(window.label_end, MILLISECONDS),
            probs=probs,
            emotion=emotions[k],
            valence=valence,
            arousal=arousal,
            dominance=dominance,
            sentiment=SENTIMENTS.get(emotions[k]),
            kept=drop is None,
            drop_reason=drop,
        )


def _segment(
    recording: RecordingRow, seg_id: str, segment: HeardSegment, windows: Sequence[WindowRow], rule: Occurrence
) -> SegmentRow:
    kept = [one for one in windows if one.kept]
    emotion, drop = label_of_segment((one.emotion for one in kept), rule) if windows else (None, "short")
    sure = [_surest(one) for one in kept if one.emotion == emotion]
    return SegmentRow(
        rec_id=recording.rec_id,
        seg_id=seg_id,
        audio=recording.audio,
        start=segment.start,
        end=segment.end,
        emotion=emotion,
        emotion_conf=round(float(np.mean(sure)), DIGITS) if sure else None,
        gender=segment.gender,
        gender_conf=segment.gender_conf,
        n_windows=len(windows),
        n_kept=len(kept),
        kept=drop is None,
        drop_reason=drop,
    )


def _surest(window: WindowRow) -> float:
    """The mean probability of the window's class over the recognisers."""
    return float(np.mean(list(window.probs.values()), axis=0).max())


def _balanced(segments: Sequence[SegmentRow], cap: Cap) -> Iterator[SegmentRow]:
    labelled = {one.seg_id: (one.emotion, one.emotion_conf or 0.0) for one in segments if one.kept and one.emotion}
    too_many = capped(labelled, cap)
    for one in segments:
        yield replace(one, kept=False, drop_reason="capped") if one.seg_id in too_many else one


def class_counts(rows: Sequence[SegmentRow] | Sequence[WindowRow]) -> Counter[Any]:
    """How many rows of each class."""
    return Counter(row.emotion for row in rows if row.emotion is not None)
