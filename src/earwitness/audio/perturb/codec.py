"""Real codecs, in memory: the samples are encoded and decoded again, aligned with what went in.

Encoding and decoding are those of FFmpeg (through PyAV) and, for GSM and Vorbis, of libsndfile. What an installation
has depends on how these were built: `available_codecs` says.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pydantic import model_validator

from earwitness.audio.perturb.base import BasePerturbationConfig, FloatArray, Operation, fit_length
from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError, MissingPartError

CodecName = Literal["mp3", "aac", "opus", "vorbis", "amr_nb", "gsm", "g722", "mu_law", "a_law"]

_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True)
class _Codec:
    """What is known of a codec. `encoder` and `decoder` are FFmpeg's names, or a format and subtype of libsndfile.

    `delay` is by how many samples (at the coding rate) the output lags, beyond what the decoder trims itself. `options`
    buy speed where an encoder's default is slow.
    """

    encoder: str
    decoder: str
    rates: tuple[int, ...]  # that it codes at, Hz
    bitrates_kbps: tuple[float, ...] = ()  # drawn from by default; empty: the codec has one
    allowed_kbps: tuple[float, ...] = ()  # where only these exist
    sample_format: Literal["flt", "fltp", "s16"] = "s16"
    delay: int = 0
    options: tuple[tuple[str, str], ...] = ()
    library: Literal["ffmpeg", "libsndfile"] = "ffmpeg"


_AMR_KBPS = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
_CODECS: dict[CodecName, _Codec] = {
    "mp3": _Codec(
        "libmp3lame", "mp3float", _MPEG_RATES, (16, 24, 32, 48, 64), (), "fltp", 0, (("compression_level", "9"),)
    ),
    "aac": _Codec("aac", "aac", _MPEG_RATES, (12, 16, 24, 32, 48), (), "fltp", 1024, (("aac_coder", "fast"),)),
    "opus": _Codec(
        "libopus", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000), (8, 12, 16, 24, 32), (), "flt", 0,
        (("compression_level", "1"),),
    ),
    "vorbis": _Codec("OGG", "VORBIS", _MPEG_RATES, library="libsndfile"),
    "amr_nb": _Codec("libopencore_amrnb", "amrnb", (8_000,), _AMR_KBPS, _AMR_KBPS, delay=40),
    "gsm": _Codec("WAV", "GSM610", (8_000,), library="libsndfile"),
    "g722": _Codec("g722", "g722", (16_000,), delay=22),
    "mu_law": _Codec("pcm_mulaw", "pcm_mulaw", (8_000,)),
    "a_law": _Codec("pcm_alaw", "pcm_alaw", (8_000,)),
}  # fmt: skip
_VORBIS_QUALITY = (0.4, 1.0)  # libsndfile's compression level: about 60 to 27 kbit/s at 16 kHz


class CodecConfig(BasePerturbationConfig):
    """One codec at a bit rate drawn from `bitrates_kbps` (empty: the codec's usual ones). Several codecs: `one_of`."""

    kind: Literal["codec"] = "codec"
    codec: CodecName = "opus"
    bitrates_kbps: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _bitrates_exist(self) -> CodecConfig:
        known = _CODECS[self.codec]
        if self.bitrates_kbps and not known.bitrates_kbps:
            raise ValueError(f"{self.codec} has no bit rate to choose; leave bitrates_kbps out")
        for bitrate in self.bitrates_kbps:
            if bitrate <= 0 or (known.allowed_kbps and bitrate not in known.allowed_kbps):
                allowed = ", ".join(f"{value:g}" for value in known.allowed_kbps) or "positive numbers"
                raise ValueError(f"{self.codec} has no bit rate of {bitrate:g} kbit/s; allowed: {allowed}")
        return self

    def operation(self) -> Operation:
        """Encode and decode. Raises `MissingPartError` where this installation lacks the codec."""
        if self.codec not in available_codecs():
            raise MissingPartError(
                f"codec {self.codec} is missing in the installed {_CODECS[self.codec].library}",
                fix=f"Use one of: {', '.join(available_codecs())}.",
            )
        return Coding(self.codec, self.bitrates_kbps or _CODECS[self.codec].bitrates_kbps)


def available_codecs() -> tuple[CodecName, ...]:
    """The codecs that can be encoded and decoded here."""
    return tuple(name for name, codec in _CODECS.items() if _is_available(codec))


def _is_available(codec: _Codec) -> bool:
    if codec.library == "libsndfile":
        return codec.decoder in soundfile.available_subtypes(codec.encoder)
    try:
        av.codec.Codec(codec.encoder, "w")
        av.codec.Codec(codec.decoder, "r")
    except ValueError:  # PyAV's UnknownCodecError
        return False
    return True


@dataclass(frozen=True)
class Coding:
    """Encodes and decodes with `codec`; what it cannot code at the given rate is resampled to a rate that it can."""

    codec: CodecName
    bitrates_kbps: tuple[float, ...]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length and alignment; clipped to [-1, 1], as any encoder's input."""
        codec = _CODECS[self.codec]
        coding_rate = min((r for r in codec.rates if r >= rate), default=codec.rates[-1])
        pcm = soxr.resample(samples, rate, coding_rate) if coding_rate != rate else samples
        pcm = np.clip(pcm, -1.0, 1.0)
        if codec.library == "libsndfile":
            quality = float(rng.uniform(*_VORBIS_QUALITY)) if self.codec == "vorbis" else None
            decoded, decoded_rate = _through_soundfile(codec, pcm, coding_rate, quality)
        else:
            bitrate = round(1000 * float(rng.choice(self.bitrates_kbps))) if self.bitrates_kbps else None
            decoded, decoded_rate = _through_ffmpeg(codec, pcm, coding_rate, bitrate)
        decoded = decoded[codec.delay * decoded_rate // coding_rate :]
        return fit_length(soxr.resample(decoded, decoded_rate, rate) if decoded_rate != rate else decoded, len(samples))


def _through_ffmpeg(codec: _Codec, pcm: Samples, rate: int, bitrate: int | None) -> tuple[Samples, int]:
    """Packets go straight from encoder to decoder: no container is written."""
    try:
        encoder = av.CodecContext.create(codec.encoder, "w")
        encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", codec.sample_format
        encoder.time_base = Fraction(1, rate)
        encoder.options, encoder.thread_count = dict(codec.options), 1
        if bitrate is not None:
            encoder.bit_rate = bitrate
        encoder.open()
        packets = [*encoder.encode(_frame(pcm, rate, codec.sample_format)), *encoder.encode(None)]

        decoder = av.CodecContext.create(codec.decoder, "r")
        decoder.sample_rate, decoder.layout, decoder.thread_count = rate, "mono", 1
        if encoder.extradata:
            decoder.extradata = encoder.extradata
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    except av.error.FFmpegError as error:
        raise AudioError(
            f"could not code {len(pcm)} samples at {rate} Hz ({error.strerror})",
            where=f"codec {codec.encoder}" + (f" at {bitrate / 1000:g} kbit/s" if bitrate else ""),
            fix="Choose another bit rate.",
        ) from None
    if not frames:
        return np.zeros(0, np.float32), rate
    return np.concatenate([_to_float(frame.to_ndarray()) for frame in frames]), frames[0].sample_rate


def _frame(pcm: Samples, rate: int, sample_format: str) -> av.AudioFrame:
    data = np.round(pcm * 32767).astype(np.int16) if sample_format == "s16" else pcm
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data)[None], format=sample_format, layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    return frame


def _to_float(data: NDArray[np.generic]) -> Samples:
    """[1, n] of 16-bit integers or floats to mono float32 [n]."""
    mono = data[0].astype(np.float32)
    return np.asarray(mono / 32768 if data.dtype == np.int16 else mono)


def _through_soundfile(codec: _Codec, pcm: Samples, rate: int, quality: float | None) -> tuple[Samples, int]:
    file = io.BytesIO()
    soundfile.write(file, pcm, rate, format=codec.encoder, subtype=codec.decoder, compression_level=quality)
    file.seek(0)
    decoded, decoded_rate = soundfile.read(file, dtype="float32")
    return decoded, decoded_rate
