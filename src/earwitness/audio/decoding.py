"""Files of any container and codec as blocks of native samples; `reading` makes recordings of them.

The content decides what a file is, never its name. Uncompressed audio and FLAC go through libsndfile, everything else
through FFmpeg's libraries (PyAV): libsndfile stops at the *estimated* end of an MP3 without a length tag and at the
first link of a chained Ogg, and says nothing. FFmpeg may open sound containers only, so a playlist cannot lead it to
other files or hosts. A file that holds clearly less than its header declares is refused, with how much is there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from earwitness.audio.decoder import AudioInfo, Decoder
from earwitness.audio.ffmpeg import FfmpegDecoder
from earwitness.audio.pcm import PcmDecoder
from earwitness.core.errors import AudioError

__all__ = ["AudioInfo", "open_decoder"]

_PCM_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"fLaC", b"NIST", b"Creative")


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
