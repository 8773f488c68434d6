"""Does a speaker model that was trained to complement another add more to a fusion than an independent one?

    python benchmarks/complementary_fusion.py --data data/all.csv [--smallest] [--seeds 3] [--runs runs/complementary]

For every seed: a member; the same network with another seed beside it, opposed with each lambda (0 is the plain fusion
of independent seeds, bit for bit); one wider network alone. The budget of all is the same. On test speakers that none
of them heard: error rates alone and fused, and what the pairs have in common, by fresh probes that are fitted on
training recordings. What was trained or heard before in `--runs` is read again. Prints means and spreads over seeds and
writes benchmarks/results/complementary_fusion.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.reading import load
from earwitness.core.errors import DataError, UsageError
from earwitness.core.records import RunRecord
from earwitness.core.writing import atomic_file, write_atomically
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import NON_COMMERCIAL, exclude_licences
from earwitness.metrics.detection import eer
from earwitness.metrics.fusion import ScoreFusion, fit_logistic_fusion, mean_of, z_normalised
from earwitness.metrics.maps import band_shares, overlap, shuffled
from earwitness.metrics.redundancy import Pairs, disagreement, double_fault, redundancy
from earwitness.metrics.scores import Floats
from earwitness.nn.attribution import cosine_to, frames_of, integrated_gradients
from earwitness.nn.network import Network
from earwitness.speaker.batched import prints_of
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.task import SpeakerTask, SpeakerTrainee
from earwitness.speaker.training import trials
from earwitness.training.complementary_task import Classes, complemented
from earwitness.training.data import SplitData, train_batches
from earwitness.training.describing import describe
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import save_model

RESULT = Path(__file__).resolve().parent / "results" / "complementary_fusion.json"
CORPORA = ("speechocean762", "speechocean762_more", "librispeech_excerpt", "emodb", "telephone_prompts")
INDEPENDENT = 100  # added to a member's seed for the network beside it
LONGEST_S = 4.0  # of what is heard of a recording


@dataclass(frozen=True)
class Settings:
    """Size of the experiment. `width`: channels of the encoder, twice as many in the wide arm."""

    manifest: Path
    runs: Path
    seeds: tuple[int, ...] = (1, 2, 3)
    lambdas: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0)
    epochs: int = 10
    draws: int = 1024
    batch: int = 64
    width: int = 32
    crop_s: float = 1.5
    test_speakers: int = 60
    dev_speakers: int = 40
    corpora: tuple[str, ...] | None = CORPORA  # None: all
    explained: int = 12  # test recordings whose maps are compared, of a crop's length each


@dataclass(frozen=True)
class Sides:
    """Training speakers, those on which fusions are learnt, and those on which they are judged."""

    data: SplitData

    @classmethod
    def of(cls, settings: Settings) -> Sides:
        """Speakers with three recordings or more are drawn for dev and test by their names' hash."""
        rows = exclude_licences(Manifest.read(settings.manifest), NON_COMMERCIAL)
        rows = rows.filter(pl.col("label").ne_missing("spoof"))
        rows = rows.filter(pl.col("speaker").is_not_null())
        if settings.corpora is not None:
            rows = rows.filter(pl.col("corpus").is_in(list(settings.corpora)))
        counts = rows.table["speaker"].value_counts()
        often = counts.filter(pl.col("count") > 2)["speaker"].to_list()
        drawn = sorted(often, key=lambda name: float(item_rng(0, 0, name).random()))
        test = drawn[: settings.test_speakers]
        dev = drawn[settings.test_speakers :][: settings.dev_speakers]
        if len(dev) < settings.dev_speakers:
            raise DataError("too few speakers with three recordings", where=settings.manifest)
        heard = rows.filter(~pl.col("speaker").is_in([*test, *dev]))
        return cls(
            SplitData(heard, rows.filter(pl.col("speaker").is_in(dev)), rows.filter(pl.col("speaker").is_in(test)))
        )


@dataclass(frozen=True)
class Arm:
    """One network: its seed, the width, and whom it was opposed to."""

    name: str
    seed: int
    width: int
    weight: float = 0.0
    member: Path | None = None

    def recipe(self, settings: Settings) -> SpeakerRecipe:
        """A small ECAPA-TDNN with a margin over the training speakers."""
        opposed = None if self.member is None else {"members": [str(self.member)], "lambda_max": self.weight}
        encoder = {"kind": "ecapa", "form": "ws", "channels": self.width, "outputs": 3 * self.width}
        branch = {
            "frontend": {"kind": "fbank", "n_mels": 40, "mean_norm": True},
            "encoder": encoder,
            "pooling": {"kind": "attentive_statistics", "form": "ws"},
        }
        loop = {"epochs": settings.epochs, "batch_size": settings.batch, "clip_norm": 5.0}
        return SpeakerRecipe.model_validate(
            {
                "name": self.name,
                "task": "speaker",
                "seed": self.seed,
                "data": {"manifests": [str(settings.manifest)]},
                "audio": {"crop_s": settings.crop_s, "trim_silence": False},
                "network": {"branches": [branch], "embedding": {"dim": 64}},
                "margin": {"kind": "aam", "margin": 0.2, "scale": 30.0},
                "draws": settings.draws,
                "optimiser": {"kind": "adamw", "lr": 0.002},
                "schedule": {"kind": "warmup_cosine", "warmup": 0.05},
                "windows": {"kind": "first", "length_s": LONGEST_S},
                "loop": {**loop, "accelerator": "cpu", "log_every": 16, "checkpoint_every_steps": 16},
                "complementary": opposed,
            }
        )


@dataclass(frozen=True)
class Prints:
    """Unit embeddings [N, D] of each side's recordings."""

    train: Floats
    dev: Floats
    test: Floats


class Bench:
    """Trains, hears and compares, each once; finished work is read again. Raises `UsageError` where the folder of runs
    holds those of another size.
    """

    def __init__(self, settings: Settings) -> None:
        _claim(settings)
        self.settings, self.sides = settings, Sides.of(settings)
        self.dev_trials, self.test_trials = (_trials(side) for side in (self.sides.data.dev, self.sides.data.test))

    def model(self, arm: Arm) -> Path:
        """The arm's model folder."""
        folder = self.settings.runs / arm.name
        if not (folder / "model").exists():
            recipe, train = arm.recipe(self.settings), self.sides.data.train
            speakers, task = Vocabulary.of(train, "speaker"), SpeakerTask()
            seed_run(recipe.seed, "init")
            network = recipe.network.build()
            assert recipe.margin is not None
            trainee = SpeakerTrainee(network, recipe.margin.build(network.dim, len(speakers)))
            opposed = complemented(recipe, network, task, Classes(len(speakers), task.classes))
            fit(trainee, opposed, train_batches(recipe, train, speakers), None, recipe, folder / "fit", resume=True)
            info = describe(recipe, self.sides.data, {}, "higher = same speaker")
            save_model(folder / "model", info, network.trainable_state())
        return folder / "model"

    def prints(self, arm: Arm) -> Prints:
        """What the arm's model makes of every recording."""
        kept = self.settings.runs / arm.name / "prints.npz"
        if not kept.exists():
            embedder, data = Embedder.load(self.model(arm)), self.sides.data
            heard = {name: _heard(embedder, side) for name, side in _named(data)}
            with atomic_file(kept) as file:
                np.savez(file, **heard)  # type: ignore[arg-type]
            print(f"heard by {arm.name}", flush=True)
        with np.load(kept) as found:
            return Prints(*(found[name].astype(np.float64) for name in ("train", "dev", "test")))

    def maps(self, arm: Arm) -> Floats:
        """Where its answers come from, [M, T, F] of M test recordings."""
        kept = self.settings.runs / arm.name / "maps.npy"
        if not kept.exists():
            with atomic_file(kept) as file:
                np.save(file, _maps(self, arm))
        return np.asarray(np.load(kept, allow_pickle=False))

    def figures(self, member: Arm, other: Arm) -> dict[str, float]:
        """Those of a pair."""
        kept = self.settings.runs / other.name / "figures.json"
        if not kept.exists():
            write_atomically(kept, json.dumps(pair_figures(self, member, other)))
        found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return found


def _claim(settings: Settings) -> None:
    """Make the folder this size's, or check that it is; more seeds and lambdas may come."""
    note = settings.runs / "settings.json"
    size = {name: str(value) for name, value in asdict(settings).items() if name not in ("runs", "seeds", "lambdas")}
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != size:
        raise UsageError("holds runs of another size", where=settings.runs, fix="Choose another --runs.")
    write_atomically(note, json.dumps(size, indent=1) + "\n")


def _named(data: SplitData) -> Iterator[tuple[str, Manifest]]:
    yield from (("train", data.train), ("dev", data.dev), ("test", data.test))


def _heard(embedder: Embedder, side: Manifest) -> Floats:
    rows = list(side.rows())
    samples = (load(side.resolve(r), 16_000, r.channel, r.start or 0.0, r.end).samples for r in rows)
    prints = prints_of(embedder, samples)
    for row, found in zip(rows, prints, strict=True):
        if found is None:
            raise DataError("is too short to be heard", where=row.id, fix="Leave it out of the manifest.")
    return np.stack([np.asarray(found, np.float64) for found in prints if found is not None])


@dataclass(frozen=True)
class Trials:
    """Pairs of recordings by their places, and whether they are of one speaker."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]

    def cosines(self, prints: Floats) -> Floats:
        """Of unit rows."""
        return np.asarray((prints[self.first] * prints[self.second]).sum(axis=1))


def _trials(side: Manifest) -> Trials:
    """All pairs of one speaker, and pairs of two within a corpus."""
    speakers = np.array(side.table["speaker"].to_list())
    corpora = np.array(side.table["corpus"].to_list()) if "corpus" in side.table.columns else None
    same, different = trials(speakers, 0, corpora=corpora)
    both = np.concatenate([same, different])
    return Trials(both[:, 0], both[:, 1], np.arange(len(both)) < len(same))


def _eer(test: Trials, scores: Floats) -> tuple[float, NDArray[np.bool_]]:
    """EER in %, and the decisions at its threshold."""
    found = eer(scores[test.same], scores[~test.same])
    return 100 * found.value, scores >= found.threshold


def pair_figures(bench: Bench, member: Arm, other: Arm) -> dict[str, float]:
    """What one pair is worth and has in common; EERs in %."""
    v, z, test, dev = bench.prints(member), bench.prints(other), bench.test_trials, bench.dev_trials
    scores = np.stack([test.cosines(v.test), test.cosines(z.test)])
    learnt = np.stack([dev.cosines(v.dev), dev.cosines(z.dev)])
    fusions: dict[str, ScoreFusion] = {
        "fused (mean = concatenation)": mean_of(2),
        "fused (z-mean)": z_normalised(learnt),
        "fused (logistic)": fit_logistic_fusion(learnt[:, dev.same], learnt[:, ~dev.same]),
    }
    own, (first, second) = {}, (_eer(test, part) for part in scores)
    own["EER alone"] = second[0]
    own |= {name: _eer(test, fusion.fused(scores))[0] for name, fusion in fusions.items()}
    classes = np.array(bench.sides.data.test.table["speaker"].to_list())
    common = redundancy(Pairs(z.train, v.train), Pairs(z.test, v.test), classes)
    own |= {"R^2, ridge": common.ridge_r2, "R^2, two layers": common.mlp_r2, "eta^2 floor": common.floor}
    own |= {"CKA": common.cka, "effective rank": common.effective_rank}
    own["disagreement"] = disagreement(first[1], second[1])
    own["double fault"] = double_fault(first[1], second[1], test.same)
    return own | _attribution(bench, member, other)


def _attribution(bench: Bench, member: Arm, other: Arm) -> dict[str, float]:
    """Overlap of where the cosine to the speaker's other recordings comes from, in test recordings."""
    v, z = bench.maps(member), bench.maps(other)
    pairs = list(zip(v, z, strict=True))
    between = [overlap(a, b) for a, b in pairs]
    chance = [overlap(a, shuffled(b, seed)) for seed, (a, b) in enumerate(pairs)]
    shares = np.mean([np.abs(band_shares(a) - band_shares(b)).sum() / 2 for a, b in pairs])
    return {
        "maps: Spearman": float(np.mean([found.spearman for found in between])),
        "maps: Spearman, shuffled": float(np.mean([found.spearman for found in chance])),
        "maps: IoU": float(np.mean([found.iou for found in between])),
        "maps: IoU, shuffled": float(np.mean([found.iou for found in chance])),
        "maps: mass in other bands": float(shares),
    }


def _maps(bench: Bench, arm: Arm) -> Floats:
    """One map each of a few test recordings, of their first seconds."""
    network: Network = Embedder.load(bench.model(arm)).network
    side, prints, settings = bench.sides.data.test, bench.prints(arm).test, bench.settings
    rows, count = list(side.rows()), round(16_000 * settings.crop_s)
    speakers = np.array([row.speaker for row in rows])
    waveforms, enrolled = [], []
    for place in np.linspace(0, len(rows) - 1, min(settings.explained, len(rows))).astype(int).tolist():
        row = rows[place]
        samples = load(side.resolve(row), 16_000, row.channel, row.start or 0.0, row.end).samples
        waveforms.append(np.resize(samples, count))
        others = (speakers == row.speaker) & (np.arange(len(rows)) != place)
        enrolled.append(prints[others].mean(axis=0))
    cells = frames_of(network, torch.from_numpy(np.stack(waveforms)))
    answer = cosine_to(network, torch.from_numpy(np.stack(enrolled)).float())
    # these frames have their utterance's mean taken off, so the zero spectrogram is the mean one
    found = integrated_gradients(answer, cells, torch.zeros(cells.shape[-1]))
    return np.asarray(found.abs().double().numpy())


def arms_of(settings: Settings, bench: Bench, seed: int) -> tuple[Arm, dict[str, Arm]]:
    """The member of a seed, and what may stand beside it."""
    member = Arm(f"member-{seed}", seed, settings.width)
    beside = {
        f"lambda {weight:g}": Arm(
            f"lambda-{weight:g}-{seed}", seed + INDEPENDENT, settings.width, weight, bench.model(member)
        )
        for weight in settings.lambdas
    }
    return member, beside


def measure(settings: Settings) -> dict[str, Any]:
    """Every figure of every seed, as plain data: `seeds` has one entry each, `arms` mean and spread over them."""
    bench = Bench(settings)
    seeds: list[dict[str, dict[str, float]]] = []
    for seed in settings.seeds:
        member, beside = arms_of(settings, bench, seed)
        wide = Arm(f"wide-{seed}", seed, 2 * settings.width)
        alone = {
            name: {"EER alone": _eer(bench.test_trials, bench.test_trials.cosines(bench.prints(arm).test))[0]}
            for name, arm in (("member", member), ("wide", wide))
        }
        seeds.append(alone | {name: bench.figures(member, arm) for name, arm in beside.items()})
    sizes = {name: side.table["speaker"].n_unique() for name, side in _named(bench.sides.data)}
    same = int(bench.test_trials.same.sum())
    return {
        "speakers": sizes,
        "trials": {"same": same, "different": len(bench.test_trials.same) - same},
        "arms": {name: summary([found[name] for found in seeds]) for name in seeds[0]},
        "seeds": seeds,
    }


def summary(found: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, and standard deviation over seeds (0 of one alone)."""
    spread = {name: np.std([one[name] for one in found], ddof=1) if len(found) > 1 else 0.0 for name in found[0]}
    return {
        name: {"mean": float(np.mean([one[name] for one in found])), "sd": float(spread[name])} for name in found[0]
    }


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The report, as text."""
    yield f"speakers {result['speakers']}, trials {result['trials']}, {len(result['seeds'])} seed(s): mean (deviation)"
    names = list(result["arms"])
    yield f"{'':32}" + "".join(f"{name:>18}" for name in names)
    figures = dict.fromkeys(figure for name in names for figure in result["arms"][name])
    for figure in figures:
        cells = (result["arms"][name].get(figure) for name in names)
        yield f"{figure:32}" + "".join(
            f"{'-':>18}" if cell is None else f"{cell['mean']:10.3f} ({cell['sd']:.3f})" for cell in cells
        )
    yield "lambda 0: two independent seeds. An opposed model may be worse alone, and is not to be used so."


def main() -> None:
    """Train what is missing, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/all.csv"))
    parser.add_argument("--runs", type=Path, default=Path("runs/complementary"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lambdas", type=float, nargs="+", default=None)
    parser.add_argument("--smallest", action="store_true", help="one seed, lambda 0 and 1, two short epochs")
    parser.add_argument("--output", type=Path, default=None, help=f"default: {RESULT.name}; --smallest writes none")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(given.data, given.runs, tuple(range(1, given.seeds + 1)))
    if given.smallest:
        settings = replace(settings, runs=given.runs / "smallest", seeds=(1,), lambdas=(0.0, 1.0), epochs=2, draws=512)
    if given.lambdas:
        settings = replace(settings, lambdas=tuple(given.lambdas))
    result = measure(settings)
    print("\n".join(lines(result)))
    output = given.output or (None if given.smallest else RESULT)
    if output is not None:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
        record = RunRecord.make("python benchmarks/complementary_fusion.py", plain).plain()
        write_atomically(output, json.dumps({"result": result, "record": record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
