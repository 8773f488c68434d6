"""Whatever FFmpeg's libraries read, by PyAV: compressed audio, and the sound tracks of films."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from earwitness.audio.decoder import (
    BLOCK_VALUES,
    CONVERT,
    UNREADABLE,
    AudioInfo,
    Frames,
    checked,
    full_scale_floats,
    only_audio_errors,
    refuse_short,
)
from earwitness.audio.ogg_pages import ogg_pages
from earwitness.core.errors import AudioError

_CONTAINERS = (
    "mov,matroska,webm,ogg,mp3,aac,amr,amrnb,amrwb,flac,wav,w64,aiff,au,caf,asf,avi,flv,mpegts,mpeg,"
    "ac3,eac3,dts,wv,ape,tta,tak,rm,voc,mpc,mpc8"
)
NOTED_S = 0.1  # of difference to the declared length
WHOLE = "Get the whole file."
_DECLARE_LENGTH = ("mov", "flac", "caf", "asf", "wv", "tta", "ape", "w64", "aiff")  # not an estimate from the bit rate


class FfmpegDecoder:
    """Everything else through PyAV: the first audio track, decoded from its start (so no seek is inexact)."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        import av

        file.seek(0)
        self._file = file
        self._path = path
        self.notes: list[str] = []
        with only_audio_errors(path, UNREADABLE):
            self._container = av.open(
                _Nameless(file),
                mode="r",
                options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"},
                metadata_errors="replace",
            )
        try:
            self._open_track()
        except BaseException:
            self._container.close()
            raise

    def _open_track(self) -> None:
        tracks = self._container.streams.audio
        if not tracks:
            raise AudioError("holds no audio track", where=self._path)
        if len(tracks) > 1:
            self.notes.append(f"audio track 1 of {len(tracks)}")
        self._track = tracks[0]
        self._heard = 0  # frames decoded so far
        self._end_s = 0.0  # where the last frame ends by its time stamp, counted from the first
        self._frames = self._decode()
        with only_audio_errors(self._path, UNREADABLE):
            self._first = next(self._frames, None)
            if self._first is None:
                raise AudioError("holds no sound (0 samples)", where=self._path)
            self._origin_s = self._first.time or 0.0
            self._tick_s = float(self._first.time_base or 0)
            self._declared_s = self._declared()
            self.info = checked(self._describe(self._first))

    def _describe(self, frame: Any) -> AudioInfo:
        family = self._container.format.name.split(",")[0]
        duration_s = self._declared_s
        if duration_s is None and family == "ogg" and self._track.duration:
            duration_s = float(self._track.duration * self._track.time_base)
        container = {"mov": "mp4", "matroska": "matroska/webm"}.get(family, family)
        codec = self._track.codec_context.codec.canonical_name
        return AudioInfo(self._path, container, codec, frame.sample_rate, frame.layout.nb_channels, duration_s)

    def _declared(self) -> float | None:
        """Seconds that the container promises for this track; None where FFmpeg could only estimate them."""
        family = self._container.format.name.split(",")[0]
        tag = re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self._track.metadata.get("DURATION", ""))
        if tag:
            hours, minutes, seconds = tag.groups()
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - self._origin_s
        if family == "matroska" and len(self._container.streams) == 1 and self._container.duration:
            return float(self._container.duration) / 1e6 - self._origin_s
        if self._track.duration and (family in _DECLARE_LENGTH or (family == "mp3" and _has_length_tag(self._path))):
            return float(self._track.duration * self._track.time_base)
        return None

    def _decode(self) -> Iterator[Any]:
        """The track's frames. A last packet that cannot be decoded is noted; one in the middle is an error."""
        import av

        broken_at: float | None = None
        for packet in self._container.demux(self._track):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                broken_at = self._seconds() if broken_at is None else broken_at
                continue
            for frame in frames:
                if broken_at is not None:
                    raise AudioError(f"is damaged {broken_at:.2f} s after its start", where=self._path, fix=CONVERT)
                yield frame
        if broken_at is not None:
            self.notes.append(f"the last packet is cut; what follows {broken_at:.2f} s cannot be read")

    def _seconds(self) -> float:
        return self._heard / self.info.rate if self._heard else 0.0

    def seek(self, frame: int) -> int:
        return 0

    def blocks(self) -> Iterator[Frames]:
        import av

        size = max(1, BLOCK_VALUES // self.info.channels)
        queue = av.AudioFifo()  # joins small frames before they become arrays: twice as fast
        with only_audio_errors(self._path, "cannot be decoded to its end"):
            for frame in itertools.chain([self._first], self._frames):
                self._count(frame)
                queue.write(frame)
                if queue.samples >= size:
                    yield self._convert(queue.read())
            if queue.samples:
                yield self._convert(queue.read())
        self._check_end()

    def _count(self, frame: Any) -> None:
        """Keep the clock, and free the frame from its time stamp, for which the queue would want no gaps."""
        info = self.info
        if frame.sample_rate != info.rate or frame.layout.nb_channels != info.channels:
            raise AudioError(
                f"changes its rate or channels {self._seconds():.2f} s after its start", where=self._path, fix=CONVERT
            )
        self._heard += frame.samples
        if frame.pts is not None:
            self._end_s = frame.pts * self._tick_s - self._origin_s + frame.samples / info.rate
            frame.pts = None

    def _convert(self, frame: Any) -> Frames:
        """Samples of FFmpeg's format as float32 [N, channels]."""
        values = frame.to_ndarray()
        return full_scale_floats(values.T if frame.format.is_planar else values.reshape(-1, self.info.channels))

    def _check_end(self) -> None:
        there_s = self._seconds()
        end_s = max(there_s, self._end_s)  # a track may have gaps, e.g. where a phone sent nothing in pauses
        if self._declared_s is not None:
            refuse_short(self._path, self._declared_s, end_s, tolerance_s=max(0.25, 0.02 * self._declared_s))
            self._note_difference(there_s - self._declared_s)
        if end_s - there_s > 0.1:
            self.notes.append(f"gaps of {end_s - there_s:.2f} s in all between its packets are left out")
        if self._container.format.name == "ogg":
            self._check_pages()
        elif self._declared_s is None:
            self.notes.append("the file declares no length: it cannot be known whether its end is missing")

    def _note_difference(self, seconds: float) -> None:
        """Within what encoders add and leave out a file is heard, and the difference told."""
        if abs(seconds) > NOTED_S:
            less = "less" if seconds < 0 else "more"
            self.notes.append(f"{abs(seconds):.2f} s {less} than its header declares")

    def _check_pages(self) -> None:
        pages = ogg_pages(self._path)
        if pages.damaged:
            times = "once" if pages.damaged == 1 else f"{pages.damaged} times"
            raise AudioError(f"is damaged: pages are missing or broken {times}", where=self._path, fix=WHOLE)
        if not pages.ended:
            self.notes.append("the stream has no end mark; it may have been cut")

    def close(self) -> None:
        self._container.close()
        self._file.close()


class _Nameless:
    """A file without a name, so that FFmpeg cannot judge by the suffix."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        """Damaged headers send FFmpeg before the start; -1 tells it no, where an exception would be printed."""
        try:
            return self._seek(offset, whence)
        except (OSError, OverflowError):
            return -1


def _has_length_tag(path: str) -> bool:
    """Whether an MP3's first frame is a Xing, Info or VBRI tag, which declares the length."""
    with Path(path).open("rb") as file:
        head = file.read(10)
        skip = 0
        if head[:3] == b"ID3":
            a, b, c, d = head[6:10]
            skip = 10 + (a << 21 | b << 14 | c << 7 | d)
        file.seek(skip)
        start = file.read(4096)
    return any(tag in start for tag in (b"Xing", b"Info", b"VBRI"))
