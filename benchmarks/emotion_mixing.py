"""Does learning from two corpora of acted emotions at once help on either? From runs that left out every speaker once.

    python benchmarks/emotion_mixing.py [--seeds 5] [--work runs/mixing] [-o FILE]

Six trainings a seed: on each corpus alone and on both, absolute and against the speaker's other recordings. Those that
are there are not trained again, and one that was killed goes on. They share what the frozen front-ends heard. An arm's
figure is the mean over seeds; differences are paired, over speakers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from manner_peers import called_of, tell, told, uar
from numpy.typing import NDArray

from earwitness.corpora.tables import read_table
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.training.left_out import LEFT_OUT

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
NEMO = RECIPES / "noncommercial" / "emotion-nemo.yaml"
TWO = ("corpora=[emodb,nemo_nc]", "left_out.folds=16", "balance=[corpus,emotion]")
RUNS: dict[str, tuple[Path, tuple[str, ...]]] = {
    "emotion": (RECIPES / "default" / "emotion.yaml", ()),
    "emotion-relative": (RECIPES / "default" / "emotion-relative.yaml", ()),
    "emotion-nemo": (NEMO, ()),
    "emotion-nemo-absolute": (NEMO, ("relative=false",)),
    "emotion-both": (NEMO, TWO),
    "emotion-both-absolute": (NEMO, (*TWO, "relative=false")),
}
ALONE = {
    "emodb": ("emotion", "emotion-relative"),
    "nemo_nc": ("emotion-nemo-absolute", "emotion-nemo"),
}
BOTH = ("emotion-both-absolute", "emotion-both")
HEARD = "pooled"  # the folder of a run in which what was heard is kept


def trained(work: Path, seed: int) -> Path:
    """The folder of a seed's runs, with those that were missing."""
    folder = work / f"seed-{seed}"
    shared = work / HEARD
    shared.mkdir(parents=True, exist_ok=True)
    for name, (recipe, changes) in RUNS.items():
        run = folder / name
        if (run / "model" / "model.json").is_file():
            continue
        run.mkdir(parents=True, exist_ok=True)
        if not (run / HEARD).exists():
            (run / HEARD).symlink_to(shared.resolve())
        words = [word for change in (*changes, f"seed={seed}") for word in ("--set", change)]
        command = [sys.executable, "-m", "earwitness", "train", str(recipe), "-o", str(run), "--resume", *words]
        print(f"seed {seed}: {name}", file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def mixing(seeds: Sequence[Path], corpus: str) -> list[dict[str, object]]:
    """Mean recall on a corpus of heads that learnt from it alone and from both, absolute and relative."""
    ways = ("absolute", "against the speaker's others")
    arms = {f"alone, {way}": run for way, run in zip(ways, ALONE[corpus], strict=True)}
    arms |= {f"both corpora, {way}": run for way, run in zip(ways, BOTH, strict=True)}
    tables = {name: [left_out(seed / run, corpus) for seed in seeds] for name, run in arms.items()}
    first = tables["alone, absolute"][0]
    if any(table["id"].to_list() != first["id"].to_list() for found in tables.values() for table in found):
        raise SystemExit("the runs did not leave out the same rows")
    truth = first["category"].to_numpy()
    values = {name: mean_recall(truth, [called_of(table) for table in found]) for name, found in tables.items()}
    units = Units.of(first["speaker"].to_list(), "speaker")
    name = f"{corpus}, {first['category'].n_unique()} classes, {first['speaker'].n_unique()} speakers, UAR %"
    lines = told(name, values, units, "alone, absolute")
    each = {name: [uar(truth, called_of(table), np.ones(len(truth))) for table in tables[name]] for name in arms}
    return [line | {"seeds": [round(value, 2) for value in each[str(line["arm"])]]} for line in lines]


def mean_recall(truth: NDArray[np.int64], calls: Sequence[NDArray[np.int64]]) -> Callable[[Floats], float]:
    """The mean over seeds, as a function of rows' weights."""
    return lambda weights: float(np.mean([uar(truth, called, weights) for called in calls]))


def left_out(run: Path, corpus: str) -> pl.DataFrame:
    """The clean rows of a corpus, by id."""
    rows = read_table(run / LEFT_OUT)
    return rows.filter((pl.col("condition") == "clean") & (pl.col("corpus") == corpus)).sort("id")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/mixing"))
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    seeds = [trained(asked.work, seed) for seed in range(1, asked.seeds + 1)]
    tell([line for corpus in ALONE for line in mixing(seeds, corpus)], asked.output)


if __name__ == "__main__":
    main()
