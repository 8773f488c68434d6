"""Eight synthetic voices that speak six vowel-like classes: three formants each, which differ most between voices in
one class. Pitch and order are drawn for every utterance, so that only formants tell a voice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from numpy.typing import NDArray

from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe

RATE = 16_000
VOICES = 8
CLASSES = ("AA", "AE", "EH", "IY", "OW", "UW")
FORMANTS = (
    (750, 1150, 2500),
    (680, 1750, 2450),
    (560, 1900, 2550),
    (300, 2300, 3000),
    (480, 900, 2400),
    (330, 1000, 2250),
)
SPREAD = dict.fromkeys(CLASSES, 0.03) | {"IY": 0.22}  # half-width of the formants' scale between voices
BANDWIDTH_HZ = 90.0


def voice_scale(voice: int, name: str) -> float:
    """How far a voice shifts all formants of a class."""
    return 1 + SPREAD[name] * (2 * voice / (VOICES - 1) - 1)


def vowel(voice: int, name: str, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Harmonics of a drawn pitch under the resonances of a voice's formants."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(95, 135)
    harmonics = np.arange(1, int(4000 / pitch)) * pitch
    gain = np.zeros(len(harmonics))
    for rank, formant in enumerate(FORMANTS[CLASSES.index(name)]):
        centre = formant * voice_scale(voice, name)
        gain += 0.6**rank / (1 + ((harmonics - centre) / BANDWIDTH_HZ) ** 2)
    phases = rng.uniform(0, 2 * np.pi, len(harmonics))
    return np.asarray((gain[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time + phases[:, None])).sum(0))


def utterance(voice: int, rng: np.random.Generator, sounds: int = 9) -> tuple[NDArray[np.float32], list[str]]:
    """Classes in random order, 80 to 160 ms each; its samples and the lines of its `.pre.pho` file."""
    order = [name for _ in range(-(-sounds // len(CLASSES))) for name in rng.permutation(CLASSES)][:sounds]
    parts, lines, start = [], [], 0
    for name in order:
        part = vowel(voice, str(name), rng.uniform(0.08, 0.16), rng)
        parts.append(part / np.abs(part).max())
        lines.append(f"{start / RATE:.6f} {(start + len(part)) / RATE:.6f} {name}")
        start += len(part)
    sound = 0.3 * np.concatenate(parts)
    return (sound + 0.003 * rng.standard_normal(len(sound))).astype(np.float32), lines


def write_corpus(folder: Path, utterances: int = 7, seed: int = 0, train: int = 3) -> Path:
    """A manifest with `train` rows of every voice on the side train, the others on dev; with a track beside each."""
    rng = np.random.default_rng(seed)
    rows = []
    for voice, number in _places(utterances):
        name = f"v{voice}-{number}"
        sound, lines = utterance(voice, rng)
        soundfile.write(folder / f"{name}.wav", sound, RATE, subtype="FLOAT")
        (folder / f"{name}.pre.pho").write_text("\n".join(lines) + "\n")
        side = "train" if number < train else "dev"
        rows.append(
            {
                "id": name,
                "path": f"{name}.wav",
                "speaker": f"v{voice}",
                "corpus": "toy",
                "licence": "CC0-1.0",
                "split": side,
            }
        )
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    return folder / "manifest.csv"


def _places(utterances: int) -> Iterator[tuple[int, int]]:
    return ((voice, number) for voice in range(VOICES) for number in range(utterances))


def recipe(manifest: Path, steps: int, channels: int = 16, **changes: Any) -> SpeakerTraitsRecipe:
    """All voices in every batch, on both sides: what is asked is which sounds tell these voices apart."""
    data: dict[str, Any] = {
        "name": "toy-traits",
        "task": "speaker-traits",
        "phones": {"kind": "files", "language": "none: synthetic vowels"},
        "data": {"manifests": [str(manifest)], "split_file": str(manifest)},
        "audio": {"crop_s": 0.8, "trim_silence": False},
        "network": {
            "encoder": {"kind": "ecapa", "channels": channels, "outputs": 3 * channels, "se_hidden": 16},
            "embedding": {"dim": 32},
        },
        "optimiser": {"kind": "adamw", "lr": 0.003},
        "draws": 2 * VOICES * steps,
        "loop": {"epochs": 1, "batch_size": 2 * VOICES, "accelerator": "cpu", "log_every": 1},
    }
    return SpeakerTraitsRecipe.model_validate({**data, **changes})
