"""Synthetic emotional speech: vowels in a drawn order under a pitch, level and tempo that an emotion moves away from
neutral, the more so the stronger it is. Voices differ in pitch (sex) and formants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from numpy.typing import NDArray

from earwitness.paralinguistic.emotion_recipe import EmotionRecipe

RATE = 16_000
LENGTH = 18_000  # samples of every utterance, silence at its end
VOWELS = {"a": (750, 1200), "i": (300, 2300), "u": (330, 900)}
MOVES = {  # of pitch (octaves), level (dB), tempo (relative) and tilt at full strength
    "neutral": (0.0, 0.0, 0.0, 0.0),
    "happy": (0.7, 4.0, 0.2, 0.3),
    "sad": (-0.5, -8.0, -0.4, -0.8),
    "angry": (0.4, 9.0, 0.5, 1.2),
}
TEXTS = ("aiuai", "uuaia")
STRENGTH = {"normal": 0.5, "strong": 1.0}


def spoken(
    speaker: int, emotion: str, strength: float, text: str, rng: np.random.Generator, seconds: float = 0.13
) -> NDArray[np.float32]:
    """A text of vowels, float32 at 16 kHz."""
    pitch, level, tempo, tilt = (strength * move for move in MOVES[emotion])
    base = (110.0 if speaker % 2 else 200.0) * 2 ** (pitch + rng.normal(0, 0.05))
    parts = []
    for vowel in text:
        time = np.arange(round(seconds / (1 + tempo) * rng.uniform(0.9, 1.1) * RATE)) / RATE
        harmonics = np.arange(1, int(4000 / base)) * base
        gain = sum(
            0.6**rank / (1 + ((harmonics - formant * (1 + 0.02 * (speaker % 5))) / 100) ** 2)
            for rank, formant in enumerate(VOWELS[vowel])
        ) * harmonics ** (0.5 * tilt)
        part = (gain[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)
        parts.append(part / np.abs(part).max() * np.hanning(len(part)) ** 0.3)
    sound = np.resize(0.1 * 10 ** (level / 20) * np.concatenate(parts), LENGTH)
    sound[sum(map(len, parts)) :] = 0
    return np.asarray(sound + 0.0005 * rng.standard_normal(len(sound)), np.float32)


def write_corpus(folder: Path, speakers: int = 8, takes: int = 2, corpus: str = "ravdess", seed: int = 0) -> Path:
    """A manifest of every speaker, emotion, strength and take: the last two speakers are test, the two before dev."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for speaker in range(speakers):
        side = "test" if speaker >= speakers - 2 else "dev" if speaker >= speakers - 4 else "train"
        for emotion in MOVES:
            for level in ("normal",) if emotion == "neutral" else STRENGTH:
                for take in range(takes):
                    text = TEXTS[take % len(TEXTS)]
                    name = f"{corpus}-{speaker:02d}-{emotion}-{level}-{take}"
                    soundfile.write(folder / f"{name}.wav", spoken(speaker, emotion, STRENGTH[level], text, rng), RATE)
                    row = {"id": name, "path": f"{name}.wav", "speaker": f"{corpus}{speaker}", "corpus": corpus}
                    row |= {"sex": "mf"[(speaker + 1) % 2], "emotion": emotion, "transcript": text}
                    row |= {"intensity_level": None if emotion == "neutral" else level, "licence": "CC0-1.0"}
                    rows.append({**row, "split": side, "label": "bonafide"})
    pl.DataFrame(rows, infer_schema_length=None).write_csv(folder / f"{corpus}.csv")
    return folder / f"{corpus}.csv"


def recipe(manifest: Path, epochs: int = 6, **fields: Any) -> EmotionRecipe:
    """A tiny multitask model; its split stands in the manifest."""
    front = {"kind": "log_mel", "n_mels": 24, "log_floor": 1e-6, "standard": [-9.0, 3.5]}
    encoder = {"kind": "conv_transformer", "dim": 24, "blocks": 1, "heads": 2, "dropout": 0.0}
    data = {
        "name": "toy-emotions",
        "task": "emotion",
        "data": {"manifests": [str(manifest)], "split_file": str(manifest)},
        "split": {"kind": "by_column"},
        "audio": {"crop_s": None, "trim_silence": False},
        "network": {"branches": [{"frontend": front, "encoder": encoder, "pooling": {"kind": "attentive_mean"}}]},
        "heads": {"hidden": 24, "dropout": 0.0},
        "optimiser": {"kind": "adam", "lr": 0.003},
        "loop": {"epochs": epochs, "batch_size": 8, "clip_norm": 5.0, "select": {"metric": "loss"}, "log_every": 1},
        "windows": {"kind": "sliding", "length_s": 4.0, "hop_s": 2.0, "repeat": False},
    }
    return EmotionRecipe.model_validate({**data, **fields})
