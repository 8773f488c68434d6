"""Emotion models that cost less beside the one with the large voice print: right answers, and processor time.

    python benchmarks/emotion_fast.py --data ../shared/data --runs runs [--arms NAME ...] [--seeds 1 2 3]

Needs the run of every arm and seed: runs/ARM of the first seed, runs/ARM-seed-N of the others.

    earwitness train recipes/default/emotion-fast.yaml -o runs/emotion-fast-seed-2 --set seed=2

`emotion-small-voice` is `emotion` with the voice print of `speaker-small`, and `emotion-no-voice` has none:

    W='{frontend: {kind: whisper, source: tiny.en, layers: [2], aggregation: layer}, pooling: {kind: statistics}}'
    V='{frontend: {kind: voice, model: speaker-small}, pooling: {kind: mean}}'
    earwitness train recipes/default/emotion.yaml -o runs/emotion-small-voice --set "network.branches=[$W, $V]"
    earwitness train recipes/default/emotion.yaml -o runs/emotion-no-voice --set "network.branches=[$W]"

Mean recalls, averaged over the seeds, on EmoDB with each speaker left out, clean and in a telephone band, and on nEMO
(Polish), which none has heard; differences from the first arm paired, over speakers. EmoDB's
recordings last 2 s and are repeated to fill a window, so a print of its middle 2 s misses nothing of them; nEMO's last
1 to 4.6 s. Then whole windows of 4 s of read English: how often the first seed's models call them the same.
Times real time are those of one thread on the recordings of samples/, in processor time, each model of the first seed
in turn. Writes benchmarks/results/emotion_fast.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from manner_peers import allowed_call, called_of, told, uar
from numpy.typing import NDArray

from earwitness.audio.reading import RATE, load
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.tables import read_table
from earwitness.evaluation.recognising import OwnRecogniser
from earwitness.metrics.bootstrap import Units, bootstrap
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.paralinguistic.labels import read_labels

ROOT = Path(__file__).resolve().parent.parent
ARMS = ("emotion", "emotion-fast", "emotion-small-voice", "emotion-no-voice")
OTHER, READ = "nemo_nc", "librispeech_excerpt"
WINDOW_S = 4
MINUTES, ROUNDS = 2, 3
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Arms:
    """Names of the arms, the first of which the others are set beside, and the folders of their runs, one a seed."""

    names: tuple[str, ...]
    runs: dict[str, list[Path]]

    @classmethod
    def of(cls, folder: Path, names: Sequence[str], seeds: Sequence[int]) -> Arms:
        """The runs of `seeds`, the first of which has no suffix."""
        suffixes = ["", *(f"-seed-{seed}" for seed in seeds[1:])]
        return cls(tuple(names), {name: [folder / f"{name}{suffix}" for suffix in suffixes] for name in names})

    def told(self, task: str, truth: Places, called: dict[str, list[Places]], units: Units) -> list[dict[str, object]]:
        """Every arm's UAR, averaged over its seeds, and its difference from the first."""
        values = {
            name: (lambda w, c=called[name]: float(np.mean([uar(truth, one, w) for one in c]))) for name in called
        }
        return told(f"{task}: UAR %", values, units, self.names[0])


def left_out(arms: Arms, condition: str) -> list[dict[str, object]]:
    """Mean recalls on the speakers that each left out."""

    def table(run: Path) -> pl.DataFrame:
        return read_table(run / "left-out.parquet").filter(pl.col("condition") == condition)

    first = table(arms.runs[arms.names[0]][0])
    called = {}
    for name, runs in arms.runs.items():
        tables = [table(run) for run in runs]
        if any(one["id"].to_list() != first["id"].to_list() for one in tables):
            raise SystemExit(f"{name} did not leave out the same rows as {arms.names[0]}")
        called[name] = [called_of(one) for one in tables]
    units = Units.of(first["speaker"].to_list(), "speaker")
    return arms.told(f"EmoDB, each speaker left out, {condition}", first["category"].to_numpy(), called, units)


def elsewhere(arms: Arms, everything: Manifest) -> list[dict[str, object]]:
    """Mean recalls on a corpus that none has heard."""
    models = {name: [EmotionEstimator.load(run / "model") for run in runs] for name, runs in arms.runs.items()}
    emotion = models[arms.names[0]][0].emotion
    labels = read_labels(everything.filter(pl.col("corpus") == OTHER), emotion.labels)
    known = emotion.classes & labels.config.mask(OTHER)
    rows = list(labels.manifest.rows())
    asked = np.flatnonzero(known[labels.category])
    files = [labels.manifest.resolve(rows[place]) for place in asked]
    called = {
        name: [np.array([allowed_call(model.estimate_file(file), known) for file in files]) for model in of_arm]
        for name, of_arm in models.items()
    }
    truth = labels.category[asked]
    units = Units.of([str(rows[place].speaker) for place in asked], "speaker")
    return arms.told(f"{OTHER}, never heard, {len(np.unique(truth))} classes", truth, called, units)


def alike(arms: Arms, everything: Manifest) -> list[dict[str, object]]:
    """How often an arm calls a window of 4 s of read speech what the first arm calls it; nobody knows what is right."""
    rows = [row for row in everything.filter(pl.col("corpus") == READ).rows() if (row.duration_s or 0) >= WINDOW_S]
    windows, speakers = [], []
    for row in rows:
        samples = load(everything.resolve(row), RATE).samples
        found = samples[: len(samples) // (WINDOW_S * RATE) * WINDOW_S * RATE].reshape(-1, WINDOW_S * RATE)
        windows.extend(found)
        speakers.extend([str(row.speaker)] * len(found))
    units = Units.of(speakers, "speaker")
    called = {}
    for name, runs in arms.runs.items():
        recogniser = OwnRecogniser(EmotionEstimator.load(runs[0] / "model"))
        parts = [np.stack(windows[at : at + 8]) for at in range(0, len(windows), 8)]
        called[name] = np.concatenate([recogniser.probabilities(part).argmax(axis=1) for part in parts])
    lines: list[dict[str, object]] = []
    for name in arms.names[1:]:
        same = called[name] == called[arms.names[0]]
        one = bootstrap(lambda counts, s=same: [100 * np.average(s, weights=units.weights(counts))], units, 1000, 0)[0]
        task = f"{READ}, {len(windows)} windows of 4 s: called the same as by {arms.names[0]}, %"
        lines.append({"task": task, "arm": name, "value": one.value, "low": one.low, "high": one.high})
    return lines


def speeds(arms: Arms) -> dict[str, float]:
    """How many times faster than real time, in processor time of one thread; the best of the rounds."""
    torch.set_num_threads(1)
    parts = [load(path).samples for path in sorted((ROOT / "samples").glob("*.flac"))]
    windows = np.resize(np.concatenate(parts), MINUTES * 60 * RATE).reshape(-1, 4 * RATE)
    models = {name: EmotionEstimator.load(runs[0] / "model") for name, runs in arms.runs.items()}
    best = dict.fromkeys(arms.names, float("inf"))
    for turn in range(ROUNDS):
        fresh = windows + np.float32(1e-6 * turn)  # a window that was heard is not heard again
        for name, model in models.items():
            began = time.process_time()
            for at in range(0, len(fresh), 8):
                model.estimate(fresh[at : at + 8].ravel(), RATE)
            best[name] = min(best[name], time.process_time() - began)
    return {name: round(60 * MINUTES / seconds, 1) for name, seconds in best.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=ARMS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    asked = parser.parse_args()
    arms = Arms.of(asked.runs, asked.arms, asked.seeds)
    everything = read_corpus("earwitness-data", asked.data).manifest
    rows = [line for condition in ("clean", "narrow_band") for line in left_out(arms, condition)]
    rows += [*elsewhere(arms, everything), *alike(arms, everything)]
    result = {"seeds": asked.seeds, "rows": rows, "times_real_time": speeds(arms)}
    record = RunRecord.make("python benchmarks/emotion_fast.py", {}, seed=0).plain()
    text = json.dumps({"result": result, "record": record}, indent=2, ensure_ascii=False)
    write_atomically(ROOT / "benchmarks" / "results" / "emotion_fast.json", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
