"""The usual range of what `examine` measures of delivery: `python benchmarks/prosody_ranges.py --data ../shared/data`.

One recording a speaker, drawn by a fixed seed, of librispeech_excerpt (read English, 177 speakers) and of the adults of
speechocean762 (read English of speakers of Mandarin). Printed are the values below which 5 % and 95 % of them lie, of
what the installed packages measure (`pip install 'earwitness[praat,quality]'` for all).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.audio.facts import file_facts
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.splits.grouping import draw
from earwitness.examine.delivery import Delivery
from earwitness.examine.questions import Channel

ADULT = 18


def one_each(everything: Manifest) -> Manifest:
    """A recording a speaker."""
    adults = (pl.col("corpus") == "librispeech_excerpt") | (
        pl.col("corpus").str.starts_with("speechocean762") & (pl.col("age") >= ADULT)
    )
    rows = everything.filter(adults & pl.col("speaker").is_not_null())
    order = pl.Series("order", [draw(0, name) for name in rows.table["id"]])
    return rows.with_table(rows.table.with_columns(order).sort("order").unique("speaker", keep="first").drop("order"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    rows = one_each(read_corpus("earwitness-data", parser.parse_args().data).manifest)
    delivery = Delivery.of_installed()
    found: dict[str, list[float]] = {}
    for row in rows.rows():
        path = rows.resolve(row)
        for finding in delivery.answer(Channel(path, None, file_facts(path)), None):
            for name, value, *_ in [cells for table in finding.tables for cells in table.rows]:
                if isinstance(value, float):
                    found.setdefault(str(name), []).append(value)
    ranges = {name: [round(float(v), 2) for v in np.percentile(values, [5, 95])] for name, values in found.items()}
    print(json.dumps({"speakers": len(rows), "ranges": ranges}, indent=1))


if __name__ == "__main__":
    main()
