"""Which recordings are of one voice, where nobody is known: a row a recording with the cluster it falls into.

id, path, speaker                  as in the manifest
cluster, cluster_size              from 1 on, the largest first
llr_within                         mean log ratio with the others of its cluster
next_cluster, llr_next             the cluster that it is most like besides, and the mean log ratio with it
note                               several voices are probably heard in it
seconds_used, seconds_total, threshold, windows, calibration, comparison, model, error
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import UsageError
from earwitness.core.writing import part_of, refuse_unfinished
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import write_table
from earwitness.evaluation.scoring.print_files import hear_prints, vectors_in
from earwitness.evaluation.scoring.scorers import Tally, known_of
from earwitness.evaluation.scoring.trials import speaker_of
from earwitness.metrics.clustering import ClusterFigures, cluster_figures
from earwitness.speaker.clustering import THRESHOLD_LLR, Clusters, cluster_voices
from earwitness.speaker.embedder import Embedder
from earwitness.training.conditions import NARROW_HZ

SEVERAL = "more than one voice is probably heard in it"
COLUMNS: dict[str, type[pl.DataType]] = {
    **{"id": pl.String, "path": pl.String, "speaker": pl.String, "cluster": pl.Int64, "cluster_size": pl.Int64},
    **{"llr_within": pl.Float64, "next_cluster": pl.Int64, "llr_next": pl.Float64, "note": pl.String},
    **dict.fromkeys(("seconds_used", "seconds_total", "threshold"), pl.Float64),
    **dict.fromkeys(("windows", "calibration", "comparison", "model", "error"), pl.String),
}


@dataclass(frozen=True)
class Clustered:
    """The clusters of the recordings that can be heard, their `names` and known `speakers` (None: not known), in the
    order of `clusters.labels`; `figures` where speakers are known."""

    clusters: Clusters
    names: tuple[str, ...]
    speakers: tuple[str | None, ...]
    figures: ClusterFigures | None


def score_clusters(
    manifest: Manifest,
    embedder: Embedder,
    output: str | Path,
    *,
    threshold: float = THRESHOLD_LLR,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = lambda: None,
) -> tuple[Tally, Clustered | None]:
    """Cluster the rows of the manifest into a table; None where none can be heard.

    Where the manifest knows speakers, the tally's notes hold purity, coverage and adjusted Rand index of these rows.
    Raises `UsageError` where it cannot write, where rows of an interrupted run lie there, and for a model without a
    calibration; `DataError` for more recordings than can be told apart at once.
    """
    output = Path(output)
    part_of(output)  # refuses an unknown format before the work
    prints = output.with_name(f"{output.name}.prints.jsonl")
    calibration = embedder.info.calibration
    if not math.isfinite(threshold):
        raise UsageError(f"a log ratio of {threshold}", where="--threshold", fix="Give a number, e.g. -1.")
    if calibration is None:
        raise UsageError("voices are told apart by calibrated ratios, and this model has no calibration")
    if not resume:
        refuse_unfinished(prints)
        refuse_unfinished(part_of(prints))
    kept = hear_prints(manifest, prints, embedder, resume=resume, engine=engine, progress=progress)
    rows = kept.of(manifest.table["id"].to_list()).with_columns(
        path=manifest.table["path"], speaker=pl.Series([speaker_of(row) for row in manifest.rows()], dtype=pl.String)
    )
    heard = rows.filter(pl.col("print").is_not_null())
    clustered = None
    if heard.height:
        found = cluster_voices(vectors_in(heard["print"]), embedder.comparator, calibration, threshold)
        speakers = tuple(heard["speaker"])
        clustered = Clustered(found, tuple(heard["id"]), speakers, _figures(found, speakers))
    told = known_of(embedder.info) | {"comparison": embedder.comparator.statement}
    table = _table(rows, heard, clustered).with_columns(**{name: pl.lit(value) for name, value in told.items()})
    write_table(table.select(list(COLUMNS)), output)
    prints.unlink()
    notes = (*_notes(clustered), *_cautions(heard))
    return Tally(len(manifest), rows["error"].count(), 0, kept.failures, notes), clustered


def _figures(clusters: Clusters, speakers: tuple[str | None, ...]) -> ClusterFigures | None:
    """Over the recordings whose speaker is known; None where fewer than two are."""
    known = [(name, int(label)) for name, label in zip(speakers, clusters.labels, strict=True) if name is not None]
    return cluster_figures(*zip(*known, strict=True)) if len(known) > 1 else None


def _notes(clustered: Clustered | None) -> list[str]:
    if clustered is None:
        return []
    found = clustered.clusters
    joined = f"joined down to a mean log ratio of {found.threshold:g}"
    said = [f"{found.count} voices in {len(found.labels)} recordings, {joined}"]
    if (figures := clustered.figures) is not None:
        said.append(
            f"known speakers: {figures.items} recordings of {figures.voices} voices in {figures.clusters} clusters; "
            f"purity {figures.purity:.3f}, coverage {figures.coverage:.3f}, adjusted Rand {figures.adjusted_rand:.3f}"
        )
    return said


def _cautions(heard: pl.DataFrame) -> list[str]:
    """What makes clusters rough: recordings in which voices are hard to tell apart."""
    narrow = heard.filter(pl.col("bandwidth_hz") < NARROW_HZ).height
    if not narrow:
        return []
    return [f"{narrow} of {heard.height} recordings are narrow-band: voices are told apart badly there"]


def _table(rows: pl.DataFrame, heard: pl.DataFrame, clustered: Clustered | None) -> pl.DataFrame:
    """What is said of every row."""
    found = {} if clustered is None else _columns(clustered.clusters)
    schema = {name: COLUMNS[name] for name in _FOUND}
    of_heard = pl.DataFrame(found or {name: [] for name in _FOUND}, schema=schema).with_columns(heard["id"])
    note = pl.when(pl.col("several")).then(pl.lit(SEVERAL))
    threshold = None if clustered is None else clustered.clusters.threshold
    joined = rows.join(of_heard, on="id", how="left", maintain_order="left")
    return joined.with_columns(note=note, threshold=pl.lit(threshold, pl.Float64)).drop("windows", "model")


_FOUND = ("cluster", "cluster_size", "llr_within", "next_cluster", "llr_next")


def _columns(clusters: Clusters) -> dict[str, list[float | int | None]]:
    sizes = [int((clusters.labels == label).sum()) for label in range(1, clusters.count + 1)]
    columns: dict[str, list[float | int | None]] = {name: [] for name in _FOUND}
    for place, label in enumerate(clusters.labels.tolist()):
        other = clusters.nearest_other(place)
        values = (label, sizes[label - 1], clusters.within(place), *(other or (None, None)))
        for name, value in zip(_FOUND, values, strict=True):
            columns[name].append(value)
    return columns
