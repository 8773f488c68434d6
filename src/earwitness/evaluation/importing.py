"""`earwitness model import`: an official checkpoint becomes a model folder, its polarity probed before it is written.

Higher scores mean bona fide in every official detector that can be imported. Where labelled rows are given, this is
checked on them, and a checkpoint whose scores favour the wrong class is refused, never negated in silence.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import JsonValue

from earwitness.core.hashing import sha256_file
from earwitness.core.records import RunRecord, command_line
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.importing.kinds import read_detector
from earwitness.deepfake.importing.official import Filled, ScoreKind
from earwitness.evaluation.judging.judge import judge
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.training.card import render_card
from earwitness.training.model_folder import DataSource, ModelInfo, revise_model, save_model
from earwitness.training.polarity import PolarityProbe, refuse_reversed

UNSTATED = "not stated"
_LIMITS = ("any conclusion before it was tested on recordings of the same kind: others trained it, on other data",)


def import_detector(
    path: str | Path,
    kind: str,
    folder: str | Path,
    *,
    score: ScoreKind = "published",
    labelled: Manifest | None = None,
    licence: str = UNSTATED,
) -> ModelInfo:
    """Write the model folder of an official checkpoint; `labelled` rows probe its polarity.

    Raises `UsageError` for an unknown kind or a place that is taken, `ModelError` for a file that is not exactly such a
    checkpoint or favours the wrong class, and `MetricError` for labelled rows of one class.
    """
    found = read_detector(path, kind, score)
    info = _described(found, kind, Path(path), score, licence)
    if labelled is not None:
        info = info.model_copy(update={"polarity_probe": probe_polarity(Detector(found.network, info), labelled)})
        refuse_reversed(info.polarity_probe, path)
    saved = save_model(folder, info, found.network.trainable_state())
    return revise_model(folder, saved, card=render_card(saved, ()))


def probe_polarity(detector: Detector, labelled: Manifest) -> PolarityProbe:
    """AUC of a detector's scores on labelled rows, with its interval. Rows that cannot be judged are left out of it."""
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "probe.scores.csv"
        score_detection(labelled, detector, table)
        scores = read_labelled("deepfake", table, labelled)
    return PolarityProbe.of(judge(scores).measure("AUC").interval, scores.checksum)


def _described(found: Filled, kind: str, path: Path, score: ScoreKind, licence: str) -> ModelInfo:
    source: dict[str, JsonValue] = {"file": path.name, "sha256": sha256_file(path), "as": kind, "score": score}
    record = RunRecord.make(command_line(), dict(source), notes=list(found.notes))
    return ModelInfo(
        name=kind,
        task="deepfake",
        summary=f"Imported from an official checkpoint ({kind}). Score: {found.score}.",
        network=found.config.model_dump(mode="json"),
        windows=found.windows,
        polarity="higher = bona fide",
        licence=licence,
        data=(DataSource(name=found.trained_on, licence="as its publisher states"),),
        limits=_LIMITS,
        extra={"imported": source},
        training=record.plain(),
    )
