"""Does learning from two corpora of acted emotions at once help on either? From runs that left out every speaker once.

    python benchmarks/emotion_mixing.py --runs runs

Needs runs/emotion, emotion-relative, emotion-nemo, emotion-nemo-absolute (see manner_peers.py), and runs/emotion-both
and emotion-both-absolute: `earwitness train recipes/noncommercial/emotion-nemo.yaml -o runs/emotion-both --set
corpora=[emodb,nemo_nc] --set left_out.folds=16 --set balance=[corpus,emotion]`, and the same with `--set
relative=false`. Differences are paired, over speakers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import polars as pl
from manner_peers import called_of, told, uar

from earwitness.corpora.tables import read_table
from earwitness.metrics.bootstrap import Units
from earwitness.training.left_out import LEFT_OUT

ALONE = {
    "emodb": ("emotion", "emotion-relative"),
    "nemo_nc": ("emotion-nemo-absolute", "emotion-nemo"),
}
BOTH = ("emotion-both-absolute", "emotion-both")


def mixing(runs: Path, corpus: str) -> list[dict[str, object]]:
    """Mean recall on a corpus of heads that learnt from it alone and from both, absolute and relative."""
    ways = ("absolute", "against the speaker's others")
    arms = {f"alone, {way}": run for way, run in zip(ways, ALONE[corpus], strict=True)}
    arms |= {f"both corpora, {way}": run for way, run in zip(ways, BOTH, strict=True)}
    tables = {name: left_out(runs / run, corpus) for name, run in arms.items()}
    first = tables["alone, absolute"]
    if any(table["id"].to_list() != first["id"].to_list() for table in tables.values()):
        raise SystemExit("the runs did not leave out the same rows")
    truth = first["category"].to_numpy()
    values = {name: (lambda w, c=called_of(table): uar(truth, c, w)) for name, table in tables.items()}
    units = Units.of(first["speaker"].to_list(), "speaker")
    name = f"{corpus}, {first['category'].n_unique()} classes, {first['speaker'].n_unique()} speakers, UAR %"
    return told(name, values, units, "alone, absolute")


def left_out(run: Path, corpus: str) -> pl.DataFrame:
    """The clean rows of a corpus, by id."""
    rows = read_table(run / LEFT_OUT)
    return rows.filter((pl.col("condition") == "clean") & (pl.col("corpus") == corpus)).sort("id")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    text = json.dumps([line for corpus in ALONE for line in mixing(asked.runs, corpus)], indent=1)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
