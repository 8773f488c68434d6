"""The emotion model without a voice print beside the one with it: right answers, and seconds of the processor.

    python benchmarks/emotion_fast.py --data ../shared/data --runs runs

Needs runs/emotion and runs/emotion-fast (`earwitness train recipes/default/NAME.yaml -o runs/NAME`). Mean recalls on
EmoDB with each speaker left out, clean and in a telephone band, and on nEMO (Polish), which neither has heard;
differences paired, over speakers. Times real time are those of one thread on the recordings of samples/, in processor
time, each model in turn. Writes benchmarks/results/emotion_fast.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from manner_peers import allowed_call, called_of, told, uar

from earwitness.audio.reading import RATE, load
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.tables import read_table
from earwitness.metrics.bootstrap import Units
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.paralinguistic.labels import read_labels

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("emotion", "emotion-fast")
OTHER = "nemo_nc"
MINUTES, ROUNDS = 2, 3


def left_out(runs: Path, condition: str) -> list[dict[str, object]]:
    """Mean recalls of both on the speakers that each left out."""
    tables = [read_table(runs / name / "left-out.parquet").filter(pl.col("condition") == condition) for name in NAMES]
    if tables[0]["id"].to_list() != tables[1]["id"].to_list():
        raise SystemExit("the two runs did not leave out the same rows")
    truth = tables[0]["category"].to_numpy()
    values = {name: (lambda w, c=called_of(table): uar(truth, c, w)) for name, table in zip(NAMES, tables, strict=True)}
    units = Units.of(tables[0]["speaker"].to_list(), "speaker")
    return told(f"EmoDB, each speaker left out, {condition}: UAR %", values, units, NAMES[0])


def elsewhere(runs: Path, everything: Manifest) -> list[dict[str, object]]:
    """Mean recalls on a corpus that neither has heard."""
    models = [EmotionEstimator.load(runs / name / "model") for name in NAMES]
    labels = read_labels(everything.filter(pl.col("corpus") == OTHER), models[0].emotion.labels)
    known = models[0].emotion.classes & labels.config.mask(OTHER)
    rows = list(labels.manifest.rows())
    asked = np.flatnonzero(known[labels.category])
    truth, values = labels.category[asked], {}
    for name, model in zip(NAMES, models, strict=True):
        files = [labels.manifest.resolve(rows[place]) for place in asked]
        called = np.array([allowed_call(model.estimate_file(file), known) for file in files])
        values[name] = lambda w, c=called: uar(truth, c, w)
    units = Units.of([str(rows[place].speaker) for place in asked], "speaker")
    return told(f"{OTHER}, never heard, {len(np.unique(truth))} classes: UAR %", values, units, NAMES[0])


def speeds() -> dict[str, float]:
    """How many times faster than real time, in processor time of one thread; the best of the rounds."""
    torch.set_num_threads(1)
    parts = [load(path).samples for path in sorted((ROOT / "samples").glob("*.flac"))]
    windows = np.resize(np.concatenate(parts), MINUTES * 60 * RATE).reshape(-1, 4 * RATE)
    shipped = ROOT / "src" / "earwitness" / "models"
    models = [EmotionEstimator.load(shipped / name) for name in NAMES]
    best = dict.fromkeys(NAMES, float("inf"))
    for turn in range(ROUNDS):
        fresh = windows + np.float32(1e-6 * turn)  # a window that was heard is not heard again
        for name, model in zip(NAMES, models, strict=True):
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
    asked = parser.parse_args()
    everything = read_corpus("earwitness-data", asked.data).manifest
    rows = [line for condition in ("clean", "narrow_band") for line in left_out(asked.runs, condition)]
    result = {"rows": [*rows, *elsewhere(asked.runs, everything)], "times_real_time": speeds()}
    record = RunRecord.make("python benchmarks/emotion_fast.py", {}, seed=0).plain()
    text = json.dumps({"result": result, "record": record}, indent=2, ensure_ascii=False)
    write_atomically(ROOT / "benchmarks" / "results" / "emotion_fast.json", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
