"""What the tests of a trained model found, and the card that says so.

Every figure stands in a file of the run's folder `results/`, beside the score table that it was computed from, and
`earwitness model card RUN` computes all of them again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.bootstrap import Interval
from earwitness.training.card import ResultRow, render_card
from earwitness.training.model_folder import ModelInfo, TestedRanges, read_model_info, revise_model
from earwitness.training.polarity import PolarityProbe

RESULTS = "results"
EXAMPLES = "samples/known-failures/README.md"  # where recordings that shipped models get wrong are put
EER = "EER (interpolated), %"
WORTHLESS = 30.0  # an EER or a share of false alarms, in %, from which a card speaks of a known failure
MISLEADING = 1.0  # bits: a Cllr from which likelihood ratios cost more than not listening
EVIDENCE = "proof by itself: an answer is evidence, to be weighed with other evidence"


@dataclass(frozen=True)
class Outcome:
    """What the tests of a model found.

    `inconclusive`: sentences that say why its answers must not count yet; empty where they may.
    """

    rows: tuple[ResultRow, ...] = ()
    tested: TestedRanges = field(default_factory=TestedRanges)
    thresholds: Mapping[str, float] = field(default_factory=dict)  # operating points by name, on the score
    limits: tuple[str, ...] = ()
    known_failures: tuple[str, ...] = ()
    inconclusive: tuple[str, ...] = ()
    polarity: PolarityProbe | None = None
    examples: bool = False  # whether recordings of its failures lie beside the results


def write_card(model: str | Path, outcome: Outcome) -> ModelInfo:
    """Put an outcome into `model.json`, and write `CARD.md` anew from it.

    `extra` holds it as data: `results` (the rows), `inconclusive` and `inconclusive_because`, and where there are any
    the place of `examples`. Raises `ModelError` where the folder is altered.
    """
    info = read_model_info(model)
    refusals = [f"Answers 'inconclusive' whatever the score: {reason}" for reason in outcome.inconclusive]
    found: dict[str, JsonValue] = {
        "results": [asdict(row) for row in outcome.rows],
        "inconclusive": bool(outcome.inconclusive),
        "inconclusive_because": list(outcome.inconclusive),
    }
    if outcome.examples:
        found["examples"] = EXAMPLES
    known = {name: value for name, value in info.extra.items() if name != "examples"}
    info = info.model_copy(
        update={
            "tested": outcome.tested,
            "polarity_probe": outcome.polarity or info.polarity_probe,
            "thresholds": {**info.thresholds, **outcome.thresholds},
            "limits": tuple(dict.fromkeys((*info.limits, *outcome.limits))),
            "known_failures": (*refusals, *outcome.known_failures),
            "extra": {**known, **found},
        }
    )
    return revise_model(model, info, card=render_card(info, outcome.rows))


def results_folder(run: Path, info: ModelInfo) -> Path:
    """The run's folder of results, emptied where what lies there is of other weights or another calibration."""
    folder, note = run / RESULTS, run / RESULTS / "model.sha256"
    key = sha256_data([info.sha256, None if info.calibration is None else info.calibration.model_dump(mode="json")])
    if note.is_file() and note.read_text(encoding="utf-8").strip() != key:
        shutil.rmtree(folder)
    write_atomically(note, key + "\n")
    return folder


def read_side(run: Path, side: str) -> Manifest | None:
    """The rows of `train`, `dev` or `test` as the recipe drew them; None for a side without rows."""
    path = run / f"{side}.csv"
    return Manifest.read(path) if path.is_file() else None


def figure(data: str, metric: str, found: Interval | float, files: int, source: Path) -> ResultRow:
    """A value, with its interval where it has one, as a row of the card; metrics in % are given as shares."""
    scale = 100.0 if metric.endswith("%") else 1.0
    place = f"{source.parent.name}/{source.name}"
    if not isinstance(found, Interval):
        return ResultRow(data, metric, found * scale, None, None, files, place)
    low, high = found.low * scale, found.high * scale
    return ResultRow(data, metric, found.value * scale, low, high, files, place, found.unit)


def write_result(path: Path, command: str, rows: Iterable[ResultRow], **details: Any) -> None:
    """The rows with what they were read from; `command` prints the figures again, run in the run's folder."""
    content = {"command": command, "rows": [asdict(row) for row in rows], **details}
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def minutes(manifest: Manifest) -> float:
    """Minutes of sound in a manifest, as far as its rows say how long they are."""
    total = 0.0
    for row in manifest.rows():
        end = row.duration_s if row.end is None else row.end
        total += max(0.0, (end or 0.0) - (row.start or 0.0))
    return total / 60


def leaks_of(info: ModelInfo) -> list[str]:
    """A sentence where the model was trained despite a leak between its sides."""
    notes = info.training.get("notes")
    leaks = [str(note) for note in notes if str(note).startswith("leak allowed")] if isinstance(notes, list) else []
    if not leaks:
        return []
    return [f"It was trained with {len(leaks)} leak(s) between the sides, so that its tests count for little."]


def misleading(row: ResultRow) -> str | None:
    """In words, that the likelihood ratios of a result are worse than none; None where they are not."""
    if row.metric != "Cllr" or row.value < MISLEADING:
        return None
    return f"{row.data}: the likelihood ratios cost more than not listening (Cllr {row.value:.2f}; {row.files} tested)"
