"""Uncompressed audio and FLAC, by libsndfile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from earwitness.audio.decoder import (
    BLOCK_VALUES,
    CONVERT,
    UNREADABLE,
    AudioInfo,
    Frames,
    checked,
    only_audio_errors,
    refuse_short,
)
from earwitness.core.errors import AudioError

_NO_LENGTH_YET = (0xFFFFFFFF, 0x7FFFF000)  # what FFmpeg and SoX write into the header of a WAV that they pipe
_NO_FRAME_COUNT = 1 << 48  # libsndfile's answer is near 2^63 where a FLAC declares no length
_MALFORMED = 3  # libsndfile's SF_ERR_MALFORMED_FILE


class PcmDecoder:
    """Uncompressed audio and FLAC through libsndfile; seeks to the sample."""

    def __init__(self, sound: Any, file: BinaryIO, path: str) -> None:
        duration_s = sound.frames / sound.samplerate
        self._sound = sound
        self._file = file
        self.notes: list[str] = []
        self.info = checked(
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
                    "has a header that contradicts itself; it may be cut short", where=path, fix=CONVERT
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
                refuse_short(self.info.path, there_s * declared / there, there_s, tolerance_s=0.1)
        self._note_rest(log)
        if "truncated file" in log:
            raise AudioError(
                f"is cut short: {there_s:.2f} s are there", where=self.info.path, fix="Get the whole file."
            )
        if self.info.container == "nist":
            refuse_short(self.info.path, self._sphere_frames() / self.info.rate, there_s, tolerance_s=0.1)

    def _note_rest(self, log: str) -> None:
        """A size that does not fit the file, where the size of the sound does: one of the two is damaged."""
        there, riff = (re.search(rf"^ *{name} *: (\d+)", log, re.M) for name in ("Length", "RIFF"))
        if there is None or riff is None or int(riff[1]) in (0, *_NO_LENGTH_YET):
            return
        more = int(there[1]) - int(riff[1]) - 8
        if abs(more) > 1:  # an odd length may be filled up
            self.notes.append(
                f"the file is {abs(more)} bytes {'longer' if more > 0 else 'shorter'} than its header says"
            )

    def _sphere_frames(self) -> int:
        """The sample count in a NIST Sphere header, which libsndfile does not compare."""
        self._file.seek(0)
        count = re.search(rb"sample_count -i (\d+)", self._file.read(1024))
        self._sound.seek(0)
        return int(count.group(1)) if count else 0

    def seek(self, frame: int) -> int:
        with only_audio_errors(self.info.path, UNREADABLE):
            return int(self._sound.seek(min(frame, self._sound.frames)))

    def blocks(self) -> Iterator[Frames]:
        size = max(1, BLOCK_VALUES // self.info.channels)
        while len(block := self._read(size)):
            yield block
            if self._sound.tell() == self._sound.frames:
                break
        declared_s = self._sound.frames / self.info.rate
        refuse_short(self.info.path, declared_s, self._sound.tell() / self.info.rate, tolerance_s=0.1)

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
