"""What the left-out tests hear: recordings of known speakers, trimmed, and each under every condition.

Cuts of 3, 2 and 1 s lie at a drawn place of the trimmed recording, another one for each row. `across` is another device
than the reference's: GSM, AMR or Opus at 8 kbit/s, or a recorded room with recorded noise. None of them is in a recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.audio.perturb.base import Perturbation, item_rng
from earwitness.audio.perturb.chain import OneOfConfig, SeriesConfig
from earwitness.audio.perturb.codec import CodecConfig
from earwitness.audio.perturb.noise import NoiseFilesConfig
from earwitness.audio.perturb.reverb import ReverbConfig
from earwitness.audio.perturb.simple import TelephoneBandConfig
from earwitness.audio.reading import load
from earwitness.audio.recording import Samples
from earwitness.audio.speech import SileroRule, trim_silence
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.splits import NON_COMMERCIAL, exclude_licences

RATE = 16_000
CONDITIONS = ("full", "3 s", "2 s", "1 s", "telephone", "across")
INFERRED = ("klettres_letters", "game_dialogue")  # their speakers are inferred
TOO_SHORT = ("fsdd",)  # single digits: heard in training and cohort, not tested
SHORTEST_S = 1.2  # of a tested recording once it is trimmed
MOST_PER_SPEAKER = 3
CHILD_YEARS = 13.0


@dataclass(frozen=True)
class Clip:
    """A recording of a known speaker; `samples` float32 [N] at 16 kHz, trimmed."""

    id: str
    speaker: str
    corpus: str
    sex: str | None
    age: float | None
    source: str | None
    samples: Samples
    emotion: str | None = None

    @property
    def child(self) -> bool:
        """Below 13 years, as far as that is known."""
        return self.age is not None and self.age < CHILD_YEARS


def human_rows(data: Path) -> Manifest:
    """All human recordings whose speakers are known and whose licence lets a shipped model learn from them."""
    manifest = exclude_licences(read_corpus("earwitness-data", data).manifest, NON_COMMERCIAL)
    usable = (pl.col("label") == "bonafide") & pl.col("speaker").is_not_null()
    return manifest.filter(usable & ~pl.col("corpus").is_in(list(INFERRED)))


def read_clips(manifest: Manifest) -> list[Clip]:
    """Every row, decoded and trimmed."""
    corpora = dict(manifest.table.select("id", "corpus").iter_rows())
    return [_clip(manifest, row, corpora[row.id]) for row in manifest.rows()]


def _clip(manifest: Manifest, row: Row, corpus: str) -> Clip:
    heard = load(manifest.resolve(row), RATE, row.channel, row.start or 0.0, row.end).samples
    samples = trim_silence(heard, RATE, SileroRule())
    return Clip(row.id, str(row.speaker), corpus, row.sex, row.age, row.source_recording, samples, row.emotion)


def tested(clips: Sequence[Clip], most: int) -> list[Clip]:
    """At most `most` recordings a speaker, the same at every call; too short ones are left out."""
    found: list[Clip] = []
    counts: dict[str, int] = {}
    for clip in sorted(clips, key=lambda clip: float(item_rng(0, 0, clip.id).random())):
        usable = clip.corpus not in TOO_SHORT and len(clip.samples) >= SHORTEST_S * RATE
        if usable and counts.get(clip.speaker, 0) < most:
            counts[clip.speaker] = counts.get(clip.speaker, 0) + 1
            found.append(clip)
    return sorted(found, key=lambda clip: clip.id)


class Conditions:
    """Puts clips under the conditions; rooms and noise come from `rir_noise` of the data."""

    def __init__(self, data: Path) -> None:
        telephone = SeriesConfig(components=(TelephoneBandConfig(), CodecConfig(codec="mu_law")))
        room = SeriesConfig(
            components=(
                ReverbConfig(folder=data / "rir_noise" / "rir"),
                NoiseFilesConfig(folder=data / "rir_noise" / "noise", snr_db=(8.0, 20.0)),
            )
        )
        codecs = (CodecConfig(codec="gsm"), CodecConfig(codec="amr_nb"), CodecConfig(codec="opus", bitrates_kbps=(8,)))
        self._telephone: Perturbation = telephone.build()
        self._across: Perturbation = OneOfConfig(components=(*codecs, room), weights=(1, 1, 1, 3)).build()

    def put(self, clip: Clip, condition: str) -> Samples:
        """Samples [M] of a clip under one of `CONDITIONS`, the same at every call."""
        rng = item_rng(1, 0, f"{condition} {clip.id}")
        if condition == "full":
            return clip.samples
        if condition in ("telephone", "across"):
            operation = self._telephone if condition == "telephone" else self._across
            return operation(np.clip(clip.samples, -1, 1), RATE, rng)
        length = round(float(condition.removesuffix(" s")) * RATE)
        start = int(rng.integers(max(1, len(clip.samples) - length + 1)))
        return clip.samples[start : start + length]
