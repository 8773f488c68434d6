"""Files of many formats, written as the tests need them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Writer = Callable[..., Path]


@pytest.fixture
def write_sound(tmp_path: Path) -> Writer:
    """write_sound(name, samples, rate=16000, **format): a file by libsndfile, named as asked whatever its format."""

    def write(name: str, samples: NDArray[np.generic], rate: int = 16_000, **form: str) -> Path:
        path = tmp_path / name
        form.setdefault("format", path.suffix[1:].upper())
        with (
            path.open("wb") as file,
            soundfile.SoundFile(file, "w", rate, 1 if samples.ndim == 1 else samples.shape[1], **form) as sound,
        ):
            for start in range(0, len(samples), 10_000):  # long single writes overflow the Vorbis encoder's stack
                sound.write(samples[start : start + 10_000])
        return path

    return write


@pytest.fixture
def encode(tmp_path: Path) -> Writer:
    """encode(name, samples, rate, codec, video=False, **container options): a file by FFmpeg; skips without encoder."""
    import av

    def write(
        name: str, samples: NDArray[np.float32], rate: int, codec: str, video: bool = False, **options: str
    ) -> Path:
        path = tmp_path / name
        if codec not in av.codec.codecs_available:
            pytest.skip(f"no encoder {codec}")
        with av.open(str(path), "w", options=options) as container:
            picture = container.add_stream("mpeg4", rate=10) if video else None
            if picture:
                picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            track = container.add_stream(codec, rate=rate, layout="mono")
            if picture:
                for _ in range(10):
                    frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
                    container.mux(picture.encode(frame))
                container.mux(picture.encode(None))
            for start in range(0, len(samples), 1024):
                sound = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "flt", "mono")
                sound.rate, sound.pts = rate, start
                container.mux(track.encode(sound))
            container.mux(track.encode(None))
        return path

    return write
