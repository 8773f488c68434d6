"""Does a voice print's own variance mean anything? `python benchmarks/voice_uncertainty.py` (some minutes on one core).

Ten synthetic speakers (harmonics through four formants of their own, moving), a small ECAPA-TDNN of 64 channels with
posterior pooling as in xi+, 200 steps, without the variance loss (`off`), and with it: its mean over values as released
(`mean`), their sum (`sum`), and their sum moving the variance alone (`detached`). Held-out takes of the same speakers
are then heard under rising noise and falling duration, and the variance v_e is set beside what it should tell:

    snr        rank correlation of mean v_e with the SNR (2 s each), and beside it that of |e - c|
    duration   rank correlation of mean v_e with the seconds (no noise), and beside it that of |e - c|
    distance   rank correlation of the mean of sqrt(v_e) with that of |e - c|, over all recordings, and within those of
               one length at one SNR (mean over these groups): what neither explains
    values     Pearson correlation of sqrt(v_e) with |e - c| over all single values

c are the speakers' centroids over the crops of the last epoch, perturbed as in training. Nothing is selected: whatever
comes out is printed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.batch import Batch, Targets
from earwitness.nn.losses import ClassCentroids
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.task import SpeakerTrainee
from earwitness.speaker.training import margin_trainee
from earwitness.training.loop import fit, seed_run

RESULT = Path(__file__).resolve().parent / "results" / "voice_uncertainty.json"
RATE = 16_000
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 20.0, 40.0)
LENGTHS_S = (0.3, 0.5, 1.0, 2.0)
WHOLE_S, CLEAN_DB = 2.0, 40.0
Arm = Literal["off", "mean", "sum", "detached"]
ARMS: tuple[Arm, ...] = get_args(Arm)
Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Toy:
    """How large the experiment is."""

    speakers: int = 10
    steps: int = 200
    epochs: int = 10
    takes: int = 6  # a speaker, to learn from
    held_out: int = 4
    batch: int = 20
    channels: int = 64


@dataclass(frozen=True)
class Meaning:
    """Correlations of one arm, as in the page above; `mean_variance` and `mean_distance` are plain means."""

    snr: float
    distance_snr: float
    duration: float
    distance_duration: float
    distance: float
    distance_within: float
    values: float
    mean_variance: float
    mean_distance: float


def voice(speaker: int, take: int, seconds: float, seed: int = 0) -> Sound:
    """A take [N] of a synthetic speaker: pitch, formants and tilt are the speaker's, what is said is the take's."""
    who, what = np.random.default_rng([seed, speaker]), np.random.default_rng([seed, speaker, take + 1])
    pitch = who.uniform(90, 230)
    formants = who.uniform([350, 1000, 2200, 3200], [750, 2000, 3000, 4200])
    tilt = who.uniform(0.6, 1.4)
    frames = int(seconds * 100) + 2
    turns = np.cumsum(what.random(frames) < 0.08)  # a new sound every 0.12 s on average
    moved = formants * np.exp(0.15 * what.standard_normal((turns[-1] + 1, 4)))[turns]
    loud = np.clip(what.random(turns[-1] + 1), 0.1, 1)[turns]
    time = np.arange(round(seconds * RATE)) / RATE
    place = np.minimum((time * 100).astype(np.int64), frames - 1)
    f0 = pitch * (1 + 0.06 * np.sin(2 * np.pi * what.uniform(0.5, 2) * time + what.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    sound = np.zeros(len(time))
    for k in range(1, int(4800 / pitch)):
        gain = (1 / (1 + ((k * pitch - moved) / 120) ** 2)).sum(axis=1) * loud / k ** (tilt - 0.5)
        sound += gain[place] * np.sin(k * phase)
    return np.asarray(0.1 * sound / max(1e-9, float(np.sqrt(np.mean(sound**2)))), np.float32)


def with_noise(sound: Sound, snr_db: float, rng: np.random.Generator) -> Sound:
    """The sound [N] with white noise at an SNR."""
    noise = rng.standard_normal(len(sound))
    level = float(np.sqrt(np.mean(sound**2)) / np.sqrt(np.mean(noise**2))) * 10 ** (-snr_db / 20)
    return np.asarray(sound + level * noise, np.float32)


class ToyData:
    """Batches of an epoch: equal shares of the speakers, crops of one length a batch, noise at -5 to 40 dB."""

    def __init__(self, toy: Toy, seed: int) -> None:
        self.toy, self.seed = toy, seed
        self.sounds = [[voice(s, take, 3.0, seed) for take in range(toy.takes)] for s in range(toy.speakers)]

    def count(self, epoch: int) -> int:
        return self.toy.steps // self.toy.epochs

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for place in places:
            rng = np.random.default_rng([self.seed, epoch, place])
            length = round(rng.choice(LENGTHS_S[:3]) * RATE)
            speakers = np.arange(self.toy.batch) % self.toy.speakers
            waveforms = np.stack([self._crop(int(speaker), length, rng) for speaker in speakers])
            targets = Targets(speaker=torch.from_numpy(speakers.astype(np.int64)))
            lengths = torch.full((len(speakers),), length)
            yield Batch(torch.from_numpy(waveforms), lengths, targets, tuple(map(str, range(len(speakers)))))

    def _crop(self, speaker: int, length: int, rng: np.random.Generator) -> Sound:
        sound = self.sounds[speaker][rng.integers(self.toy.takes)]
        start = int(rng.integers(len(sound) - length + 1))
        return with_noise(sound[start : start + length], float(rng.uniform(SNRS_DB[0], SNRS_DB[-1])), rng)


def recipe_of(toy: Toy, arm: Arm, seed: int) -> SpeakerRecipe:
    """The network and losses of an arm, as a recipe says them."""
    width = 3 * toy.channels
    pooling = {"kind": "posterior", "attention": "full", "hidden": 64, "feed_forward": 128}
    branch = {
        "frontend": {"kind": "fbank", "n_mels": 40},
        "encoder": {"kind": "ecapa", "channels": toy.channels, "outputs": width, "se_hidden": 32},
        "pooling": pooling,
    }
    data: dict[str, Any] = {
        "name": f"toy-{arm}",
        "task": "speaker",
        "seed": seed,
        "data": {"manifests": ["made-up"]},
        "network": {"branches": [branch], "embedding": {"dim": 32}},
        "margin": {"kind": "aam", "margin": 0.2, "scale": 16.0},
        "optimiser": {"kind": "adam", "lr": 0.002},
        "loop": {"epochs": toy.epochs, "batch_size": toy.batch, "accelerator": "cpu"},
    }
    if arm != "off":
        first = max(2, toy.epochs // 3)
        how = {"reduction": "mean" if arm == "mean" else "sum", "detach_target": arm == "detached"}
        data["variance_loss"] = {"first_epoch": first, "full_epoch": max(first, toy.epochs // 2), **how}
    recipe: SpeakerRecipe = SpeakerRecipe.model_validate(data)
    return recipe


def trained(toy: Toy, arm: Arm, seed: int, data: ToyData) -> SpeakerTrainee:
    """One arm, by the package's own loop."""
    recipe = recipe_of(toy, arm, seed)
    seed_run(seed, "init")
    trainee, task = margin_trainee(recipe, recipe.network.build(), toy.speakers, data)
    with tempfile.TemporaryDirectory() as folder:
        fit(trainee, task, data, None, recipe, Path(folder) / "fit")
    return trainee.eval()


@torch.inference_mode()
def meaning(trainee: SpeakerTrainee, toy: Toy, seed: int, data: ToyData) -> Meaning:
    """What the variance of an arm tells of held-out takes."""
    centroids = ClassCentroids(toy.speakers, trainee.network.dim)
    last = data.load(toy.epochs - 1, range(data.count(0)))
    centroids.replace((trainee(b.waveforms, b.lengths), b.targets.speaker) for b in last)  # type: ignore[misc]
    takes = [(s, voice(s, 100 + t, WHOLE_S, seed)) for s in range(toy.speakers) for t in range(toy.held_out)]
    speakers = torch.tensor([speaker for speaker, _ in takes])
    rows: list[tuple[float, float, torch.Tensor, torch.Tensor]] = []
    for snr in SNRS_DB:
        for length in LENGTHS_S:
            rng = np.random.default_rng([seed, 7, round(10 * length), round(snr) + 50])
            cut = [with_noise(sound[: round(length * RATE)], snr, rng) for _, sound in takes]
            found = trainee(torch.from_numpy(np.stack(cut)), None, give="both").double()
            error, _ = centroids.errors(found[:, 0], speakers)
            rows.append((snr, length, found[:, 1], error.abs()))
    clean = [(length, v, d) for snr, length, v, d in rows if snr == CLEAN_DB]
    noisy = [(snr, v, d) for snr, length, v, d in rows if length == WHOLE_S]
    deviation = torch.cat([v.sqrt() for _, _, v, _ in rows])
    distance = torch.cat([d for _, _, _, d in rows])
    within = [_rank(v.sqrt().mean(1), d.mean(1)) for _, _, v, d in rows]
    return Meaning(
        snr=_of_condition([(snr, v) for snr, v, _ in noisy]),
        distance_snr=_of_condition([(snr, d) for snr, _, d in noisy]),
        duration=_of_condition([(length, v) for length, v, _ in clean]),
        distance_duration=_of_condition([(length, d) for length, _, d in clean]),
        distance=_rank(deviation.mean(1), distance.mean(1)),
        distance_within=float(np.mean(within)),
        values=float(np.corrcoef(deviation.flatten(), distance.flatten())[0, 1]),
        mean_variance=float(deviation.square().mean()),
        mean_distance=float(distance.mean()),
    )


def _of_condition(parts: Sequence[tuple[float, torch.Tensor]]) -> float:
    values = torch.cat([v.mean(1) for _, v in parts])
    return _rank(torch.tensor(np.repeat([condition for condition, _ in parts], len(parts[0][1]))), values)


def _rank(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(spearmanr(first.numpy(), second.numpy()).statistic)


def run(toy: Toy, seed: int, arms: Sequence[Arm] = ARMS) -> Iterator[tuple[Arm, Meaning]]:
    """The arms on the same speakers, batches and first weights."""
    if not arms:
        return
    data = ToyData(toy, seed)
    for arm in arms:
        yield arm, meaning(trained(toy, arm, seed, data), toy, seed, data)


def done_before(path: Path, toy: Toy) -> list[dict[str, Any]]:
    """The arms that an earlier run of the same size left."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    arms: list[dict[str, Any]] = found["arms"] if found["toy"] == asdict(toy) else []
    return arms


def main() -> None:
    """Print the correlations of every arm, seed by seed, and keep them; what is there already is not run again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--steps", type=int, default=Toy.steps)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    options = parser.parse_args()
    toy = Toy(steps=options.steps)
    found = done_before(options.output, toy)
    for seed in options.seeds:
        there = {arm["variance_loss"] for arm in found if arm["seed"] == seed}
        for arm, figures in run(toy, seed, [arm for arm in options.arms if arm not in there]):
            found.append({"seed": seed, "variance_loss": arm, **asdict(figures)})
            keep(options.output, toy, found)
    for row in sorted(found, key=lambda row: (row["seed"], ARMS.index(row["variance_loss"]))):
        told = "  ".join(f"{field.name} {row[field.name]:.3f}" for field in fields(Meaning))
        print(f"seed {row['seed']}  variance loss {row['variance_loss']:<8}  {told}")


def keep(path: Path, toy: Toy, arms: list[dict[str, Any]]) -> None:
    """The result file, whole, with the record of the run that wrote it."""
    record = RunRecord.make("benchmarks/voice_uncertainty.py", {"toy": asdict(toy)}, seed=0)
    result = {"record": record.plain(), "toy": asdict(toy), "arms": arms}
    write_atomically(path, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
