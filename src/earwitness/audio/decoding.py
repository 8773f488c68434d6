"""Files of any container and codec as blocks of native samples; `reading` makes recordings of them.

The content decides what a file is, never its name. Uncompressed audio and FLAC go through libsndfile, everything else
through FFmpeg's libraries (PyAV): libsndfile stops at the *estimated* end of an MP3 without a length tag and at the
first link of a chained Ogg, and says nothing. FFmpeg may open sound containers only, so a playlist cannot lead it to
other files or hosts. A file that holds clearly less than its header declares is refused, with how much is there.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import AudioError

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz; beyond them a header is damaged, and resampling would blow up
Frames = NDArray[np.float32]  # [N, channels], full scale = 1

_BLOCK_VALUES = 1 << 18  # samples of all channels that lie in memory at a time
_PCM_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"fLaC", b"NIST", b"Creative")
_CONTAINERS = (
    "mov,matroska,webm,ogg,mp3,aac,amr,amrnb,amrwb,flac,wav,w64,aiff,au,caf,asf,avi,flv,mpegts,mpeg,"
    "ac3,eac3,dts,wv,ape,tta,tak,rm,voc,mpc,mpc8"
)
_DECLARE_LENGTH = ("mov", "flac", "caf", "asf", "wv", "tta", "ape", "w64", "aiff")  # not an estimate from the bit rate
_NO_LENGTH_YET = (0xFFFFFFFF, 0x7FFFF000)  # what FFmpeg and SoX write into the header of a WAV that they pipe
_NO_FRAME_COUNT = 1 << 48  # libsndfile's answer is near 2^63 where a FLAC declares no length
_MALFORMED = 3  # libsndfile's SF_ERR_MALFORMED_FILE
_UNREADABLE = "is not audio that can be read"
_CONVERT = "Check the file, or convert it to WAV or FLAC."


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself. `duration_s` is None where none is declared (raw AAC, AMR, some MP3).

    A chained Ogg declares the length of its last link only; the samples are all read.
    """

    path: str
    container: str
    codec: str
    rate: int
    channels: int
    duration_s: float | None


class Decoder(Protocol):
    """One open file. `notes` says in words what a listener should know; complete once `blocks` has ended."""

    info: AudioInfo
    notes: list[str]

    def seek(self, frame: int) -> int:
        """Go towards a frame; returns the frame at which `blocks` will start, at or before the wanted one."""

    def blocks(self) -> Iterator[Frames]:
        """The rest of the file. Raises `AudioError` where it is damaged, or shorter than declared."""

    def close(self) -> None:
        """Give the file back."""


def open_decoder(path: str | Path) -> Decoder:
    """The decoder that fits the file's content. Raises `AudioError` with the path."""
    file = _open_regular(path)
    try:
        return _choose_decoder(file, os.fspath(path))
    except BaseException:
        file.close()
        raise


def _open_regular(path: str | Path) -> BinaryIO:
    """Open a plain file; pipes and devices are refused before anything could wait for them."""
    try:
        status = os.stat(path)  # noqa: PTH116 - Path.stat would not take every name that the system knows
        if stat.S_ISDIR(status.st_mode):
            raise AudioError("is a folder, not a recording", where=path, fix="Name a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError("is a pipe or device, not a file", where=path, fix="Save the audio to a file first.")
        if status.st_size == 0:
            raise AudioError("is an empty file", where=path)
        return Path(path).open("rb", buffering=0)  # libsndfile shares the position
    except FileNotFoundError:
        raise AudioError("there is no such file", where=path, fix="Check the path.") from None
    except OSError as error:
        raise AudioError(f"cannot be opened ({error.strerror})", where=path) from None
    except ValueError:
        raise AudioError("is not a possible file name", where=path) from None


def _choose_decoder(file: BinaryIO, path: str) -> Decoder:
    head = file.read(8)
    if head.startswith(_PCM_MAGIC):
        decoder = PcmDecoder.open(file, path)
        if decoder is not None:
            return decoder
    return FfmpegDecoder(file, path)


@contextmanager
def _only_audio_errors(path: str, what: str) -> Iterator[None]:
    """Whatever a decoding library throws becomes one line with the path."""
    try:
        yield
    except (AudioError, MemoryError):
        raise
    except Exception as error:  # the border to foreign libraries: damaged files raise nearly anything there
        raise AudioError(what, where=path, fix=_CONVERT) from error


def _checked(info: AudioInfo) -> AudioInfo:
    if not LOWEST_RATE <= info.rate <= HIGHEST_RATE:
        raise AudioError(
            f"declares {info.rate} samples a second, which no recording has", where=info.path, fix=_CONVERT
        )
    if info.channels < 1:
        raise AudioError("declares no channel", where=info.path, fix=_CONVERT)
    return info


def _refuse_short(path: str, declared_s: float, there_s: float, tolerance_s: float) -> None:
    if declared_s - there_s > tolerance_s:
        raise AudioError(
            f"is cut short: its header declares {declared_s:.2f} s, {there_s:.2f} s are there",
            where=path,
            fix="Get the whole file, or save the part that is there as a file of its own.",
        )


class PcmDecoder:
    """Uncompressed audio and FLAC through libsndfile; seeks to the sample."""

    def __init__(self, sound: Any, file: BinaryIO, path: str) -> None:
        duration_s = sound.frames / sound.samplerate
        self._sound = sound
        self._file = file
        self.notes: list[str] = []
        self.info = _checked(
            AudioInfo(path, sound.format.lower(), sound.subtype.lower(), sound.samplerate, sound.channels, duration_s)
        )
        self._check_header()

    @classmethod
    def open(cls, file: BinaryIO, path: str) -> PcmDecoder | None:
        """None where FFmpeg should try: libsndfile does not know the content, or misjudges its length."""
        import soundfile

        file.seek(0)
        try:
            sound = soundfile.SoundFile(file.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            if error.code == _MALFORMED:
                raise AudioError(
                    "has a header that contradicts itself; it may be cut short", where=path, fix=_CONVERT
                ) from None
            return None
        if not 0 < sound.frames < _NO_FRAME_COUNT or sound.subtype.startswith("MPEG"):
            sound.close()
            return None
        return cls(sound, file, path)

    def _check_header(self) -> None:
        """libsndfile mends sizes that exceed the file, and tells only in its log."""
        log = self._sound.extra_info
        sizes = re.findall(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", log, re.M)
        there_s = self.info.duration_s or 0.0
        for declared, there in ((int(a), int(b)) for a, b in sizes):
            if declared in _NO_LENGTH_YET:
                self.notes.append("the header gives no length; read to the end of the file")
            elif there > 0:
                _refuse_short(self.info.path, there_s * declared / there, there_s, tolerance_s=0.1)
        if "truncated file" in log:
            raise AudioError(
                f"is cut short: {there_s:.2f} s are there", where=self.info.path, fix="Get the whole file."
            )
        if self.info.container == "nist":
            _refuse_short(self.info.path, self._sphere_frames() / self.info.rate, there_s, tolerance_s=0.1)

    def _sphere_frames(self) -> int:
        """The sample count in a NIST Sphere header, which libsndfile does not compare."""
        self._file.seek(0)
        count = re.search(rb"sample_count -i (\d+)", self._file.read(1024))
        self._sound.seek(0)
        return int(count.group(1)) if count else 0

    def seek(self, frame: int) -> int:
        with _only_audio_errors(self.info.path, _UNREADABLE):
            return int(self._sound.seek(min(frame, self._sound.frames)))

    def blocks(self) -> Iterator[Frames]:
        size = max(1, _BLOCK_VALUES // self.info.channels)
        while len(block := self._read(size)):
            yield block
        declared_s = self._sound.frames / self.info.rate
        _refuse_short(self.info.path, declared_s, self._sound.tell() / self.info.rate, tolerance_s=0.1)

    def _read(self, size: int) -> Frames:
        import soundfile

        try:
            block: Frames = self._sound.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            declared_s, there_s = self._sound.frames / self.info.rate, self._sound.tell() / self.info.rate
            raise AudioError(
                f"is damaged or cut short: its header declares {declared_s:.2f} s, about {there_s:.2f} s can be read",
                where=self.info.path,
                fix="Get the whole file.",
            ) from error
        return block

    def close(self) -> None:
        self._sound.close()
        self._file.close()


class FfmpegDecoder:
    """Everything else through PyAV: the first audio track, decoded from its start (so no seek is inexact)."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        import av

        file.seek(0)
        self._file = file
        self._path = path
        self.notes: list[str] = []
        with _only_audio_errors(path, _UNREADABLE):
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
        with _only_audio_errors(self._path, _UNREADABLE):
            self._first = next(self._frames, None)
            if self._first is None:
                raise AudioError("holds no sound (0 samples)", where=self._path)
            self._origin_s = self._first.time or 0.0
            self._declared_s = self._declared()
            self.info = _checked(self._describe(self._first))

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
                    raise AudioError(f"is damaged {broken_at:.2f} s after its start", where=self._path, fix=_CONVERT)
                yield frame
        if broken_at is not None:
            self.notes.append(f"the last packet is cut; what follows {broken_at:.2f} s cannot be read")

    def _seconds(self) -> float:
        return self._heard / self.info.rate if self._heard else 0.0

    def seek(self, frame: int) -> int:
        return 0

    def blocks(self) -> Iterator[Frames]:
        import av

        size = max(1, _BLOCK_VALUES // self.info.channels)
        queue = av.AudioFifo()  # joins small frames before they become arrays: twice as fast
        with _only_audio_errors(self._path, "cannot be decoded to its end"):
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
                f"changes its rate or channels {self._seconds():.2f} s after its start", where=self._path, fix=_CONVERT
            )
        self._heard += frame.samples
        if frame.pts is not None:
            self._end_s = float(frame.pts * frame.time_base) - self._origin_s + frame.samples / info.rate
            frame.pts = None

    def _convert(self, frame: Any) -> Frames:
        """Samples of FFmpeg's format as float32 [N, channels]."""
        values = frame.to_ndarray()
        return full_scale_floats(values.T if frame.format.is_planar else values.reshape(-1, self.info.channels))

    def _check_end(self) -> None:
        there_s = self._seconds()
        end_s = max(there_s, self._end_s)  # a track may have gaps, e.g. where a phone sent nothing in pauses
        if self._declared_s is not None:
            _refuse_short(self._path, self._declared_s, end_s, tolerance_s=max(0.25, 0.02 * self._declared_s))
        if end_s - there_s > 0.1:
            self.notes.append(f"gaps of {end_s - there_s:.2f} s in all between its packets are left out")
        if self._container.format.name == "ogg" and not _has_end_mark(self._path):
            self.notes.append("the stream has no end mark; it may have been cut")

    def close(self) -> None:
        self._container.close()
        self._file.close()


class _Nameless:
    """A file without a name, so that FFmpeg cannot judge by the suffix."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def full_scale_floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """Float samples as they are, integers divided by their full scale (unsigned ones are centred first)."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    centre = scale if values.dtype.kind == "u" else 0.0
    exact = values.astype(np.float64)  # 32-bit integers do not fit into float32
    return np.asarray((exact - centre) / scale, np.float32)


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


def _has_end_mark(path: str) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag."""
    with Path(path).open("rb") as file:
        file.seek(max(0, Path(path).stat().st_size - (1 << 16)))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)
