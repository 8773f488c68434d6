"""Published detectors beside ours on the same real recordings: `python benchmarks/peers_detectors.py`.

AASIST, AASIST-L, the AASIST of the ASVspoof 5 baseline and RawNetLite (weights under --models, as others published
them), each as `earwitness model import` makes it, score rows drawn evenly over corpora, labels and families. They were
trained on other corpora, in which some of the human voices here may stand (VCTK, LibriVox). Ours was trained on these
very rows, so only its left-out scores may stand beside: each by members that have heard neither the family nor the
speaker of the row, though rows of the same corpora (--left-out). The peers hear the first 4.04 s (RawNetLite: 3 s),
ours the whole recording.

Scoring goes on where it was stopped (--work). Prints EER with intervals over speakers and systems, polarity, the
paired difference to ours, and seconds of computing per second of audio heard on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch

from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table, write_table
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.importing import import_detector
from earwitness.evaluation.judging.judge import Judgement, JudgeOptions, compare, judge
from earwitness.evaluation.judging.labelled import LabelledScores, read_labelled
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.training.polarity import PolarityProbe

RESULT = Path(__file__).resolve().parent / "results" / "peers_detectors.json"
PEERS = {  # kind of checkpoint, which is the name too: its file under --models
    "aasist": "aasist/AASIST.pth",
    "aasist-l": "aasist/AASIST-L.pth",
    "aasist-asvspoof5": "aasist/AASIST-ASVspoof5.pth",
    "rawnet-lite": "rawnetlite/augmented_triple_cross_domain_focal_rawnet_lite.pt",
}
OURS = "deepfake, left out"
OPTIONS = JudgeOptions(by=("family",))
TIMED = 10  # recordings
WHOLE_WINDOW_S = 4.0375  # recordings at least so long are not repeated


def drawn(manifest: Manifest, left_out: pl.DataFrame, rows: int, seed: int) -> Manifest:
    """About `rows` of the labelled rows that ours left out, as many from each corpus, label and family as it has."""
    strata = ["corpus", "label", "family"]
    known = manifest.table["label"].is_not_null() & manifest.table["id"].is_in(left_out["id"].implode())
    table = manifest.table.filter(known)
    share = min(1.0, rows / table.height)
    place = pl.int_range(pl.len()).shuffle(seed).over(strata)
    chosen = table.filter(place < (pl.len().over(strata) * share).ceil())
    return manifest.with_table(chosen.sort("id"))


def seconds_per_second(detector: Detector, rows: Manifest) -> float:
    """Processor time over seconds heard, decoding included, after one recording of warming up."""
    paths = [rows.resolve(row) for row in list(rows.rows())[: TIMED + 1]]
    detector.score_file(paths[0])
    started = time.process_time()
    heard = sum(detector.score_file(path).seconds_used for path in paths[1:])
    return (time.process_time() - started) / heard


def row_of(name: str, scores: LabelledScores, ours: LabelledScores) -> dict[str, Any]:
    """EER, also of the recordings that fill a window, AUC, EER by family, and the paired difference to ours."""
    judged: Judgement = judge(scores, OPTIONS)
    filling = scores.with_ids(scores.table.filter(pl.col("duration_s") >= WHOLE_WINDOW_S)["id"].to_list())
    of_filling = judge(filling)
    found = {
        "name": name,
        "bona_fide": judged.positives,
        "spoof": judged.negatives,
        "failed": judged.failed,
        "eer": asdict(judged.measure("EER").interval),
        "eer_filling": asdict(of_filling.measure("EER").interval),
        "filling": [of_filling.positives, of_filling.negatives],
        "polarity": str(PolarityProbe.of(judged.measure("AUC").interval)),
        "families": {group.value: asdict(group.eer) for group in judged.groups if group.eer is not None},
    }
    if name != OURS:
        found["minus_ours"] = asdict(compare(scores, ours, (name, OURS)).eer.difference)
    return found


def main() -> None:
    """Import, score and judge; write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--data", type=Path, default=Path("data/all.csv"))
    parser.add_argument("--left-out", type=Path, default=Path("runs/deepfake/left-out-clean.scores.csv"))
    parser.add_argument("--work", type=Path, default=Path("runs/peers-detectors"))
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    left_out = read_table(options.left_out)
    rows = drawn(Manifest.read(options.data), left_out, options.rows, options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    write_table(left_out.filter(pl.col("id").is_in(rows.table["id"].implode())), options.work / "ours.scores.csv")
    ours = read_labelled("deepfake", options.work / "ours.scores.csv", rows)
    found = [row_of(OURS, ours, ours)]
    for name, file in PEERS.items():
        folder, table = options.work / name, options.work / f"{name}.scores.csv"
        if not folder.is_dir():
            import_detector(options.models / file, name, folder, licence="MIT")
        detector = Detector.load(folder)
        detector.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the faster layout here
        score_detection(rows, detector, table, resume=True)
        scores = read_labelled("deepfake", table, rows)
        speed = seconds_per_second(detector, rows)
        found.append(
            {**row_of(name, scores, ours), "seconds_per_second": round(speed, 3), "model": detector.info.reference}
        )
        print(f"{name}: EER {found[-1]['eer']['value']:.1%}, {found[-1]['polarity']}, {speed:.2f} s a second")
    memory = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    settings = {"rows": options.rows, "seed": options.seed, "drawn": len(rows), "ours": ours.model, **memory}
    record = RunRecord.make("python benchmarks/peers_detectors.py", settings, inputs={"rows": rows.sha256})
    write_atomically(RESULT, json.dumps({"result": found, "record": record.plain()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
