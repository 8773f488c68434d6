"""Synthetic voices that a small verifier tells apart, and a personal VAD that is trained on mixtures of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
import torch
from numpy.typing import NDArray

from earwitness.audio.windows import Sliding
from earwitness.nn.frontends import FbankConfig
from earwitness.nn.losses import AamConfig
from earwitness.nn.network import NetworkConfig
from earwitness.nn.types import Frames
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


@dataclass(frozen=True)
class Toy:
    """Sizes: whose voices are mixed and whose the verifier learns, of the verifier, and of the training."""

    cast: tuple[int, ...]
    known: tuple[int, ...]
    channels: int = 64
    groups: int = 8
    mels: int = 80
    hop: int = 160
    verifier_steps: int = 600
    steps: int = 500
    batch: int = 8
    seconds: float = 2.0
    network: dict[str, Any] = field(default_factory=dict)
    lr: float = 1e-3

    @property
    def features(self) -> dict[str, Any]:
        return {"kind": "fbank", "n_mels": self.mels, "hop": self.hop}

    @property
    def span(self) -> int:
        """Frames of the verifier's crops, 1.4 s."""
        return round(1.4 * RATE / self.hop)


CAST = tuple(range(12))
FULL = Toy(
    CAST, (*CAST, *range(5000, 5024)), hop=320, verifier_steps=700, batch=12,
    network={"dim": 32, "condition": 32, "hidden": 128}, lr=4e-3,
)  # fmt: skip
FAR = (6, 26, 30)  # voices far apart in pitch and tract
SMALL = Toy(
    FAR, (*FAR, *range(5000, 5005)), channels=16, groups=2, mels=40, hop=320, verifier_steps=200, steps=150, batch=12,
    seconds=1.5, network={"dim": 32, "condition": 32, "hidden": 128}, lr=4e-3,
)  # fmt: skip


def write_voices(folder: Path, voices: tuple[int, ...], parts: range, sides: dict[str, range]) -> Path:
    """A manifest of recordings of 3 s of one corpus; `sides` says which parts stand where."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in voices:
        for part in parts:
            name = f"v{number}-{part}.wav"
            soundfile.write(folder / name, utterance(Voice.drawn(number), 3.0, 1000 * number + part), RATE)
            side = next(side for side, some in sides.items() if part in some)
            row = {"id": name, "path": name, "speaker": f"v{number}", "corpus": "toy", "split": side}
            rows.append({**row, "licence": "CC0-1.0"})
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    return folder / "manifest.csv"


def train_verifier(folder: Path, toy: Toy) -> Path:
    """An ECAPA-TDNN that learns to tell the toy's `known` voices apart, as a model folder.

    It hears crops of mixtures in which the other voice is muted: the mean that is taken out is that of both voices, and
    where the other one spoke stand zeros. To a verifier that never heard this, even the truth as gamma is of no use.
    """
    torch.manual_seed(0)
    encoder: dict[str, Any] = {"kind": "ecapa", "channels": toy.channels, "outputs": 3 * toy.channels}
    encoder |= {"res2_groups": toy.groups, "se_hidden": 32}
    branch = {"frontend": toy.features, "encoder": encoder, "pooling": {"kind": "attentive_statistics"}}
    config = NetworkConfig.model_validate({"branches": [branch], "embedding": {"dim": 64}})
    network = config.build().train()
    raw = FbankConfig(n_mels=toy.mels, hop=toy.hop, mean_norm=False).build()
    known = []
    for voice in toy.known:
        parts = [utterance(Voice.drawn(voice), 2.5, 1000 * voice + 900 + k) for k in range(3)]
        known.append(raw(torch.from_numpy(np.concatenate(parts))[None]).values[0])
    margin = AamConfig(margin=0.1, scale=20.0).build(64, len(toy.known))
    optimiser = torch.optim.AdamW([*network.parameters(), *margin.parameters()], lr=2e-3)
    rng = np.random.default_rng(5)
    for step in range(toy.verifier_steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / toy.verifier_steps) + 1e-5
        who = rng.integers(len(toy.known), size=16)
        x = torch.stack([_muted(known, int(voice), toy.span, rng) for voice in who])
        loss = margin(network.embed_features([Frames(x)]).mean, torch.from_numpy(who))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
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


def _muted(known: list[torch.Tensor], voice: int, span: int, rng: np.random.Generator) -> torch.Tensor:
    """A stretch of a voice's frames, muted ones before and after it, normalised by what was said in all of them."""
    kept = int(rng.integers(span // 3, span + 1)) if rng.random() < 0.7 else span
    other = known[int(rng.integers(len(known)))]
    own, foreign = (
        frames[(start := int(rng.integers(len(frames) - size))) : start + size]
        for frames, size in ((known[voice], kept), (other, span - kept))
    )
    before = int(rng.integers(span - kept + 1))
    x = torch.zeros(span, own.shape[1])
    x[before : before + kept] = own + 0.2 * torch.randn_like(own) - torch.cat([own, foreign]).mean(0)
    return x


def toy_recipe(manifest: Path, verifier: Path, toy: Toy, seed: int, **changes: Any) -> PersonalVadRecipe:
    """Mixtures in turn; a strong reference term, since with its default margin gates stay open in so few steps, and the
    term of absence, without which they stay open for voices that the verifier tells from a mixture anyway."""
    length = [toy.seconds, toy.seconds]
    data: dict[str, Any] = {
        "name": "toy",
        "task": "personal-vad",
        "seed": seed,
        "verifier": str(verifier),
        "data": {"manifests": [str(manifest)], "split_file": str(manifest)},
        "network": {
            "conformer_blocks": 1,
            "transformer_blocks": 1,
            "dropout": 0.0,
            "beta": "off",
            "gamma_pools": True,
            **toy.network,
        },
        "losses": {"reference": 2.0, "reference_margin": 0.4, "identity": 1.0, "absence": 1.0},
        "mixing": {
            "modes": ["concat"],
            "rho": [0.3, 0.7],
            "seconds": length,
            "registration_s": length,
            "target_s": length,
            "noise_p": 0.0,
            "silence": [0.0, 0.1],
            "impostor_mixed": 1.0,
        },
        "optimiser": {"kind": "adamw", "lr": toy.lr},
        "draws": toy.batch * toy.steps,
        "dev_draws": 2 * toy.batch,
        "loop": {"epochs": 1, "batch_size": toy.batch, "clip_norm": 5.0, "accelerator": "cpu", "log_every": 20},
    }
    return PersonalVadRecipe.model_validate({**data, **changes})
