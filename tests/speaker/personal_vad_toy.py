"""Synthetic voices that a small verifier tells apart, and a personal VAD that is trained on mixtures of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
import torch
from numpy.typing import NDArray

from earwitness.audio.windows import Sliding
from earwitness.nn.losses import AamConfig
from earwitness.nn.network import NetworkConfig
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.training.model_folder import ModelInfo, save_model

RATE = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))


@dataclass(frozen=True)
class Voice:
    """Pitch, tract length, formant offsets and tilt: what differs between speakers."""

    pitch: float
    tract: float
    offsets: NDArray[np.float64]
    tilt: float

    @classmethod
    def drawn(cls, seed: int) -> Voice:
        rng = np.random.default_rng([seed, 77])
        return cls(
            pitch=float(np.exp(rng.uniform(np.log(80), np.log(300)))),
            tract=float(rng.uniform(0.75, 1.3)),
            offsets=rng.uniform(0.88, 1.12, 3),
            tilt=float(rng.uniform(0.0, 1.3)),
        )


def utterance(voice: Voice, seconds: float, seed: int) -> NDArray[np.float32]:
    """Vowels in random order, with pauses and a moving pitch."""
    rng = np.random.default_rng([seed, 78])
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    pitch = voice.pitch * (1 + 0.08 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    grid = np.arange(0, count + 1600, 1600)  # 0.1 s
    kinds = np.repeat(rng.integers(len(VOWELS), size=len(grid)), 2)[: len(grid)]
    formants = np.array(VOWELS, float)[kinds] * voice.tract * voice.offsets
    loud = np.where(rng.random(len(grid)) < 0.15, 0.02, rng.uniform(0.5, 1.0, len(grid)))
    sound = np.zeros(count)
    for harmonic in range(1, min(28, int(5000 / voice.pitch))):
        hertz = harmonic * voice.pitch
        gain = sum(1 / (1 + ((hertz - formants[:, k]) / (60 + 40 * k)) ** 2) for k in range(3))
        sound += np.interp(np.arange(count), grid, gain) * harmonic**-voice.tilt * np.sin(harmonic * phase)
    sound *= np.interp(np.arange(count), grid, loud)
    sound += 0.003 * rng.standard_normal(count)
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def write_voices(folder: Path, voices: range, each: int, seconds: float, sides: dict[str, range]) -> Path:
    """A manifest of recordings of one corpus; `sides` says which voices stand where."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in voices:
        for part in range(each):
            name = f"v{number}-{part}.wav"
            soundfile.write(folder / name, utterance(Voice.drawn(number), seconds, 1000 * number + part), RATE)
            side = next(side for side, some in sides.items() if number in some)
            rows.append({"path": name, "speaker": f"v{number}", "corpus": "toy", "split": side, "licence": "CC0-1.0"})
            rows[-1]["id"] = name
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    return folder / "manifest.csv"


def verifier_config(channels: int) -> NetworkConfig:
    encoder = {"kind": "ecapa", "channels": channels, "outputs": 3 * channels, "se_hidden": 32}
    branch = {"frontend": {"kind": "fbank"}, "encoder": encoder, "pooling": {"kind": "attentive_statistics"}}
    return NetworkConfig.model_validate({"branches": [branch], "embedding": {"dim": 64}})


def train_verifier(folder: Path, channels: int, steps: int, voices: int = 60) -> Path:
    """An ECAPA-TDNN that learns to tell synthetic voices (not those of the toy) apart, as a model folder."""
    torch.manual_seed(0)
    config = verifier_config(channels)
    network = config.build().train()
    margin = AamConfig(margin=0.1, scale=20.0).build(64, voices)
    optimiser = torch.optim.AdamW([*network.parameters(), *margin.parameters()], lr=2e-3)
    rng = np.random.default_rng(5)
    known = [
        np.concatenate([utterance(Voice.drawn(5000 + v), 2.5, 9000 + 3 * v + k) for k in range(3)])
        for v in range(voices)
    ]
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        who = rng.permutation(voices)[:24]
        starts = [int(rng.integers(len(known[v]) - RATE)) for v in who]
        sound = np.stack([known[v][s : s + RATE] for v, s in zip(who, starts, strict=True)])
        for one in sound[::2]:  # as mixtures have it: a stretch in which nobody speaks
            start = int(rng.integers(RATE * 2 // 3))
            one[start : start + RATE // 3] = 0
        level = 10 ** rng.uniform(-2.6, -1, len(who))
        noisy = sound + (level * sound.std(axis=1))[:, None] * rng.standard_normal(sound.shape)
        loss = margin(network.embed(torch.from_numpy(noisy.astype(np.float32))).mean, torch.from_numpy(who))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    rng = np.random.default_rng(1)
    info = ModelInfo(
        name="toy-verifier",
        task="speaker",
        network=config.model_dump(mode="json"),
        windows=Sliding(length_s=2, hop_s=1),
        polarity="higher = same speaker",
        licence="CC0-1.0",
    )
    save_model(folder, info, network.eval().trainable_state())
    return folder


def toy_recipe(manifest: Path, verifier: Path, **changes: Any) -> PersonalVadRecipe:
    data: dict[str, Any] = {
        "name": "toy",
        "task": "personal-vad",
        "verifier": str(verifier),
        "data": {"manifests": [str(manifest)], "split_file": str(manifest)},
        "network": {"dim": 32, "conformer_blocks": 1, "transformer_blocks": 1, "condition": 32, "hidden": 128},
        "mixing": {
            "modes": ["concat"],
            "seconds": [2.5, 3.5],
            "registration_s": [2.0, 2.5],
            "target_s": [1.5, 2.0],
            "noise_p": 0.0,
        },
        "draws": 80,
        "dev_draws": 32,
        "loop": {"epochs": 1, "batch_size": 8, "clip_norm": 5.0, "accelerator": "cpu", "log_every": 1},
    }
    return PersonalVadRecipe.model_validate({**data, **changes})
