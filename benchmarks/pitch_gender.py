"""What the gender labeller `pitch` of CPQA is worth: on human recordings whose sex is known, adults where age is.

    python benchmarks/pitch_gender.py MANIFEST [--each 60]

Up to so many recordings of each corpus and sex, drawn by hash. Told of each corpus: how many get a label (at least
0.8), how many of those are right, and how many were right if all had to be labelled; intervals over speakers.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.audio.reading import RATE, load
from earwitness.core.records import RunRecord
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Units, bootstrap
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.cpqa.gender import PitchGender

ADULT = 18
CALLED = {"female": "f", "male": "m"}


def chosen(manifest: Manifest, each: int) -> Manifest:
    """Human adults; corpora of acted emotions have adults too, though no ages."""
    table = manifest.table
    human = (pl.col("label") == "bonafide") & pl.col("sex").is_in(["f", "m"]) & pl.col("speaker").is_not_null()
    rows = table.filter(human & (pl.col("age").is_null() | (pl.col("age") >= ADULT)))
    rows = rows.with_columns(drawn=pl.Series([draw(0, name) for name in rows["id"]]))
    best = pl.col("drawn").rank("ordinal").over("corpus", "sex") <= each
    return manifest.with_table(rows.filter(best).drop("drawn"))


def figures(rows: pl.DataFrame) -> dict[str, object]:
    """Of some labelled rows: shares in per cent."""
    labelled = rows["gender"].is_in(list(CALLED)).to_numpy()
    right = (rows["gender"].replace_strict(CALLED, default="") == rows["sex"]).to_numpy()
    speakers = rows["speaker"].to_list()
    units = Units.of(speakers, "speaker")

    def statistic(counts: Floats) -> list[float]:
        weights = units.weights(counts)
        known = weights[labelled].sum()
        return [100 * known / weights.sum(), 100 * weights[labelled & right].sum() / max(known, 1e-9)]

    found = bootstrap(statistic, units, 500) if units.count > 1 else ()
    values = statistic(np.ones(units.count))
    told = {"recordings": len(rows), "speakers": units.count}
    names = ("labelled, %", "right of the labelled, %")
    return {
        **told,
        **{name: round(value, 1) for name, value in zip(names, values, strict=True)},
        **{
            f"{name[:-3]} 95 %": [round(one.low, 1), round(one.high, 1)]
            for name, one in zip(names, found, strict=False)
        },
    }


def main() -> None:
    """Print one JSON document: the result and the record of its run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--each", type=int, default=60)
    options = parser.parse_args()
    manifest = chosen(Manifest.read(options.manifest), options.each)
    labeller = PitchGender()
    genders = []
    for row in manifest.rows():
        samples = load(manifest.resolve(row), RATE, row.channel, row.start or 0.0, row.end).samples
        genders.append(labeller.gender(samples).gender)
    rows = manifest.table.with_columns(gender=pl.Series(genders))
    corpora = {str(name): figures(rows.filter(pl.col("corpus") == name)) for name in rows["corpus"].unique().sort()}
    sexes = {sex: figures(rows.filter(pl.col("sex") == sex)) for sex in ("f", "m")}
    result = {"all": figures(rows), **sexes, **corpora}
    command = f"python benchmarks/pitch_gender.py {' '.join(sys.argv[1:])}"
    licences = sorted(set(rows["licence"].drop_nulls()))
    settings = {"labeller": labeller.id, "each": options.each}
    record = RunRecord.make(command, settings, inputs={"rows": manifest.sha256}, licences=licences)
    print(json.dumps({"result": result, "record": record.plain()}, indent=2))


if __name__ == "__main__":
    main()
