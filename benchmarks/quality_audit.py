"""What a predictor of speech quality says of a corpus: mean MOS of people and of each family of synthesis, how many
bona fide recordings lie below a threshold, and the error rate of the MOS alone as a detector.

    earwitness score data/all.csv --task quality -o mos.csv          # once: the MOS are kept
    python benchmarks/quality_audit.py data/all.csv [--predictor dnsmos] [--threshold 2.5] [--output FILE]

Nothing is heard here. Where the MOS alone tells the classes apart in either direction, a detector may have learnt it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from earwitness.core.records import RunRecord, command_line
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.evaluation.judging.judge import JudgeOptions, judge
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.mos_control import mos_scores

FEWEST = 10  # recordings of a group with a line of its own


@dataclass(frozen=True)
class Group:
    """MOS of one corpus of human speech, or of one family of synthesis."""

    label: str
    name: str
    recordings: int
    mean: float
    deviation: float
    reached: float  # share at or above the threshold


@dataclass(frozen=True)
class Audit:
    """`eer`: of the MOS as the score, higher = bona fide, with a 95 % interval over speakers and systems; per cent."""

    predictor: str
    threshold: float
    groups: tuple[Group, ...]
    eer: float
    low: float
    high: float
    without_mos: int
    record: RunRecord


def audit(manifest: Manifest, predictor: str, threshold: float, resamples: int) -> Audit:
    """All groups and the error rate."""
    control = mos_scores(manifest, predictor)
    table = manifest.table.with_columns(score=control.table["score"]).filter(pl.col("score").is_not_null())
    table = table.with_columns(positive=pl.col("label") == "bonafide", llr=pl.lit(None, pl.Float64))
    scores = LabelledScores("deepfake", table, (), (), {})
    found = judge(scores, JudgeOptions(n_resamples=resamples)).measure("EER")
    record = RunRecord.make(
        command_line(),
        {"predictor": predictor, "threshold": threshold, "resamples": resamples},
        seed=0,
        inputs={"manifest": manifest.sha256},
        definitions={"EER": found.definition},
        licences=sorted(set(table["licence"].drop_nulls())),
    )
    value, low, high = (100 * part for part in (found.interval.value, found.interval.low, found.interval.high))
    groups = _groups(table, threshold)
    return Audit(predictor, threshold, groups, value, low, high, len(control.unread), record)


def _groups(table: pl.DataFrame, threshold: float) -> tuple[Group, ...]:
    """Both classes as a whole, then their parts, the highest mean first."""
    part = pl.when(pl.col("label") == "bonafide").then("corpus").otherwise(pl.coalesce("family", "system"))
    table = table.with_columns(part=part.fill_null("unnamed"), all=pl.lit("all"))
    figures = [
        pl.len().alias("recordings"),
        pl.col("score").mean().alias("mean"),
        pl.col("score").std().alias("deviation"),
        (pl.col("score") >= threshold).mean().alias("reached"),
    ]
    found = []
    for name in ("all", "part"):
        grouped = table.group_by("label", name).agg(figures).filter(pl.col("recordings") >= FEWEST)
        grouped = grouped.sort(["label", "mean"], descending=[False, True])
        found += [
            Group(*row) for row in grouped.select("label", name, *(f.meta.output_name() for f in figures)).iter_rows()
        ]
    return tuple(found)


def main() -> None:
    """Print the audit, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--predictor", default="dnsmos")
    parser.add_argument("--threshold", type=float, default=2.5)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    manifest = exclude_licences(Manifest.read(given.manifest))
    found = audit(manifest, given.predictor, given.threshold, given.resamples)
    print(f"{'class':10} {'corpus or family':26} {'n':>6} {'MOS':>6} {'sd':>6}   >= {given.threshold:g}")
    for group in found.groups:
        figures = f"{group.recordings:6} {group.mean:6.2f} {group.deviation:6.2f} {group.reached:8.1%}"
        print(f"{group.label:10} {group.name:26} {figures}")
    print(f"the MOS alone as the score: EER {found.eer:.1f} % [{found.low:.1f}, {found.high:.1f}]")
    print(f"{found.without_mos} recording(s) without a MOS are in no figure")
    if given.output is not None:
        write_atomically(given.output, json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
