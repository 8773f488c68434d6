"""Do invented speakers help a verifier? The whole chain on toy voices: `python benchmarks/identity_expansion.py`.

Forty "real" voices of the toy synthesiser train a verifier (ECAPA-TDNN, 64 channels), twenty others test it. Four arms
take equally many steps: real voices alone; with INSIDE identities; with real voices made anew (more audio, no new
identities); with identities between random speakers of one sex. "Real" recordings pass through a channel each, which
synthetic ones don't. What is printed is a mean and a spread over seeds, whatever their sign. Toy voices say that the
chain works, and nothing of speech: the synthesiser that makes the new identities made the real ones too.

Runs are kept in --work and go on where they were.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.signal import lfilter

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.recording import Samples
from earwitness.core.hashing import sha256_file
from earwitness.core.records import RunRecord
from earwitness.core.writing import ResumableRows, read_rows, write_atomically
from earwitness.corpora.making import write_flac
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.detection import eer
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identity_expansion import ExpansionConfig, expand_identities
from earwitness.speaker.identity_expansion.report import report_on
from earwitness.speaker.identity_expansion.second_space import prints_by_speaker
from earwitness.speaker.identity_expansion.sentences import SENTENCES
from earwitness.speaker.identity_expansion.synthesisers.toy import RATE, drawn_voice, spoken
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.training.model_folder import WEIGHTS

RESULT = Path(__file__).resolve().parent / "results" / "identity_expansion.json"
ARMS = {"real only": None, "INSIDE": "none", "made anew": "resynthesis", "random pairs": "random-pairs"}
_COLUMNS = {"key": str, "arm": str, "seed": int, "eer": float, "classes": int, "drawn": str}


@dataclass(frozen=True)
class Sizes:
    """How much is made and learnt."""

    real: int = 40
    identities: int = 20
    dev: int = 6
    test: int = 20
    utterances: int = 12
    letters: int = 24
    steps: int = 240
    batch: int = 32
    channels: int = 64
    mels: int = 32
    crop_s: float = 0.6


def make_corpus(folder: Path, sizes: Sizes, seed: int) -> Manifest:
    """Toy voices of both sexes on the sides train, dev and test, each utterance through a channel of its own."""
    rows: list[dict[str, Any]] = []
    sides = ["train"] * sizes.real + ["dev"] * sizes.dev + ["test"] * sizes.test
    for number, side in enumerate(sides):
        rng = item_rng(seed, 0, f"voice {number}")
        sex = "f" if number % 2 else "m"
        voice = drawn_voice(rng, "f" if number % 2 else "m")
        for part in range(sizes.utterances):
            text = SENTENCES[int(rng.integers(len(SENTENCES)))].split(" ", 1)[1][: sizes.letters]
            samples = through_channel(spoken(text, voice, int(rng.integers(1 << 31))), rng)
            path = f"{side}/v{number}-{part}.flac"
            write_flac(folder / path, samples, RATE)
            row = {"path": path, "speaker": f"v{number}", "sex": sex, "split": side, "transcript": text}
            rows.append({**row, "duration_s": len(samples) / RATE, "licence": "CC0-1.0", "corpus": "toy"})
    manifest = Manifest(pl.DataFrame(rows), folder)
    manifest.write(folder / "manifest.csv")
    manifest.table.select("id", "split").write_csv(folder / "sides.csv")
    return manifest


def through_channel(samples: Samples, rng: np.random.Generator) -> Samples:
    """A recording by another microphone: a slope of the spectrum, an echo, noise and a level, all at random."""
    slope, delay = rng.uniform(-0.4, 0.4), int(rng.integers(20, 200))
    sound = lfilter([1.0, slope], [1.0], samples.astype(np.float64))
    sound[delay:] += rng.uniform(0, 0.3) * sound[:-delay]
    sound = sound / np.sqrt(np.mean(sound**2)) * 10 ** rng.uniform(-1.6, -1.2)
    sound += rng.normal(0, 10 ** rng.uniform(-3.5, -2.5), len(sound))
    return np.clip(sound, -0.99, 0.99).astype(np.float32)


def expansion_config(control: str, sizes: Sizes, seed: int) -> ExpansionConfig:
    """The default settings but for lengths, since the toy's utterances are short, and for the two rules that need an
    exact encoder: the toy's would drop half of the identities, and not as many in every arm."""
    return ExpansionConfig.model_validate(
        {
            "synthesiser": {"kind": "toy"},
            "identities": sizes.identities,
            "utterances": sizes.utterances,
            "control": control,
            "averaging": {"seconds": [0.5, 10.0]},
            "filters": {
                "seconds": [0.5, 15.0],
                "likeness": None,
                "nearest": False,
                "few": min(8, sizes.utterances // 2),
            },
            "seed": seed,
        }
    )


def recipe(corpus: Path, expansion: Path | None, sizes: Sizes, seed: int) -> SpeakerRecipe:
    """The verifier's; every arm takes the same number of steps."""
    frontend = {"kind": "fbank", "n_mels": sizes.mels, "mean_norm": True}
    encoder = {"kind": "ecapa", "channels": sizes.channels, "outputs": 3 * sizes.channels, "se_hidden": 32}
    pooling = {"kind": "attentive_statistics", "form": "ws"}
    return SpeakerRecipe.model_validate(
        {
            "name": "toy-verifier",
            "task": "speaker",
            "seed": seed,
            "data": {"manifests": [str(corpus / "manifest.csv")], "split_file": str(corpus / "sides.csv")},
            "audio": {"crop_s": sizes.crop_s, "trim_silence": False},
            "network": {
                "branches": [{"frontend": frontend, "encoder": encoder, "pooling": pooling}],
                "embedding": {"dim": 64},
            },
            "perturbations": [
                {"kind": "coloured_noise", "snr_db": [10.0, 30.0], "p": 0.5},
                {"kind": "low_pass", "cutoff_hz": [3000.0, 7500.0], "p": 0.3},
            ],
            "margin": {"kind": "aam", "margin": 0.2, "scale": 30.0},
            "expansion": None if expansion is None else {"folder": str(expansion)},
            "draws": sizes.steps * sizes.batch,
            "optimiser": {"kind": "adamw", "lr": 0.003},
            "schedule": {"kind": "warmup_cosine", "warmup": 0.1},
            "loop": {"epochs": 1, "batch_size": sizes.batch, "accelerator": "cpu", "clip_norm": 5.0},
            "windows": {"kind": "sliding", "length_s": 2 * sizes.crop_s, "hop_s": sizes.crop_s},
            "cohort_top": 0,
        }
    )


def test_eer(model: Path, manifest: Manifest) -> float:
    """Of the cosine over all pairs of test utterances."""
    prints = prints_by_speaker(Embedder.load(model), manifest.filter(pl.col("split") == "test"))
    vectors = np.concatenate(list(prints.values()))
    speaker = np.repeat(np.arange(len(prints)), [len(part) for part in prints.values()])
    first, second = np.triu_indices(len(vectors), k=1)
    cosine = np.einsum("nd,nd->n", vectors[first], vectors[second])
    same = speaker[first] == speaker[second]
    return eer(cosine[same], cosine[~same]).value


def run_arm(work: Path, arm: str, sizes: Sizes, seed: int) -> dict[str, Any]:
    """One verifier: corpus, expansion, training, test."""
    corpus = work / f"corpus-{seed}"
    manifest = make_corpus(corpus, sizes, seed) if not (corpus / "sides.csv").exists() else None
    manifest = manifest or Manifest.read(corpus / "manifest.csv")
    expansion, control, classes = None, ARMS[arm], sizes.real
    if control is not None:
        expansion = work / f"{control}-{seed}"
        made = expand_identities(manifest, expansion, expansion_config(control, sizes, seed), resume=True)
        classes += sum(pair.is_new for pair in made.pairs)
    run = work / f"run-{arm.replace(' ', '-')}-{seed}"
    model = train_embedder(recipe(corpus, expansion, sizes, seed), run, resume=True)
    return {"key": f"{arm}/{seed}", "arm": arm, "seed": seed, "eer": test_eer(model, manifest), "classes": classes}


def run(
    work: Path, sizes: Sizes, seeds: Sequence[int], said: Callable[[str], None] = lambda line: None
) -> pl.DataFrame:
    """All arms and seeds, kept as they come."""
    drawn = repr(sizes)
    with ResumableRows(work / "runs.csv", "key", _COLUMNS, resume=True, same={"drawn": drawn}) as table:
        for seed in seeds:
            for arm in ARMS:
                if f"{arm}/{seed}" not in table.done:
                    row = run_arm(work, arm, sizes, seed)
                    table.add({**row, "drawn": drawn})
                    said(f"{row['key']}: EER {100 * row['eer']:.2f} %")
    return read_rows(work / "runs.csv", _COLUMNS).filter(pl.col("seed").is_in(list(seeds)))


def table_of(runs: pl.DataFrame) -> list[dict[str, Any]]:
    """Mean and spread of each arm over seeds, and of its paired difference from real voices alone."""
    found = []
    eer_of = {(arm, seed): value for arm, seed, value in runs.select("arm", "seed", "eer").iter_rows()}
    seeds = sorted(set(runs["seed"]))
    for arm in ARMS:
        values = [eer_of[arm, seed] for seed in seeds]
        gains = [eer_of["real only", seed] - eer_of[arm, seed] for seed in seeds]
        found.append(
            {
                "name": arm,
                "eer_mean": statistics.fmean(values),
                "eer_sd": statistics.stdev(values) if len(values) > 1 else 0.0,
                "gain_mean": statistics.fmean(gains),
                "gain_sd": statistics.stdev(gains) if len(gains) > 1 else 0.0,
                "seeds": len(values),
            }
        )
    return found


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/identity-expansion"), help="Corpora and runs are kept here."
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=Sizes.steps)
    arguments = parser.parse_args()
    sizes = replace(Sizes(), steps=arguments.steps)
    runs = run(arguments.work, sizes, range(arguments.seeds), lambda line: print(line, flush=True))
    rows = table_of(runs)
    print(f"{'arm':14} {'EER %':>14} {'gain, points':>16}  over {arguments.seeds} seeds, {sizes.test} test voices")
    for row in rows:
        print(
            f"{row['name']:14} {100 * row['eer_mean']:6.2f} ± {100 * row['eer_sd']:5.2f} "
            f"{100 * row['gain_mean']:+7.2f} ± {100 * row['gain_sd']:5.2f}"
        )
    report = first_report(arguments.work)
    print(report)
    record = RunRecord.make("python benchmarks/identity_expansion.py", asdict(sizes), seed=0).plain()
    result = {
        "arms": rows,
        "runs": runs.select("arm", "seed", "eer", "classes").to_dicts(),
        "first_seed": report.plain(),
    }
    write_atomically(RESULT, json.dumps({"result": result, "record": record}, indent=2) + "\n")


def first_report(work: Path) -> Any:
    """What the verifier of the first seed that heard real voices alone makes of the INSIDE identities."""
    model = work / "run-real-only-0" / "model"
    manifest = Manifest.read(work / "corpus-0" / "manifest.csv").filter(pl.col("split") == "train")
    return report_on(work / "none-0", manifest, Embedder.load(model), sha256_file(model / WEIGHTS), None)


if __name__ == "__main__":
    main()
