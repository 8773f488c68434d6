"""Scores of the segments of recordings, joined with where in them the spoofed parts are.

    id,start,end,score                    one row a segment, times in seconds, higher = bona fide; an id's rows follow
    CON_E_0000001,0.00,0.02,3.1           each other in equal steps from 0 on, the last may be shorter

The key is an RTTM file, an `.npz` of segment labels, or a folder of either (the readers of PartialSpoof). A folder that
`earwitness corpus expand --splices` wrote is such a one, whose manifest names the speakers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.partialspoof import PARTIALSPOOF, read_partialspoof, read_regions, read_segments
from earwitness.corpora.splices.making import MANIFEST
from earwitness.corpora.tables import read_table
from earwitness.evaluation.judging.rows import (
    number_column,
    refuse_first,
    require_file,
    require_partners,
    text_column,
)
from earwitness.metrics.localisation import Region, Track, reference_labels

BASE_MS = 10  # of labels, where nothing asks for a finer step
_CLOSE_MS = 0.5  # times this far from the grid are on it
_NAMED_STEP = re.compile(r"_(0\.\d+)$")  # train_seglab_0.02.npz


@dataclass(frozen=True)
class SegmentKey:
    """Where utterances are bona fide and where spoof: regions by utterance, exact to `label_ms` (None: exact times).

    `speakers` by utterance, as far as they are known; `inputs` are the files by their sha256.
    """

    regions: Mapping[str, tuple[Region, ...]]
    label_ms: int | None
    where: str
    inputs: dict[str, str]
    speakers: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoredSegments:
    """Scores, labels and regions of the same utterances in one order; `failed` are ids that could not be scored.

    `speakers` has one an utterance, None where not known.
    """

    ids: tuple[str, ...]
    scores: Track
    labels: Track
    regions: tuple[tuple[Region, ...], ...]
    speakers: tuple[str | None, ...]
    failed: tuple[str, ...]
    models: tuple[str, ...]
    inputs: dict[str, str]
    notes: tuple[str, ...]

    def negated(self) -> ScoredSegments:
        """The same with scores of the other sign, for files that grow towards spoof."""
        scores = Track(self.scores.step_ms, tuple(-values for values in self.scores.utterances))
        return replace(self, scores=scores, notes=(*self.notes, "the scores were multiplied by -1"))


def read_scored_segments(scores: str | Path, key: str | Path) -> ScoredSegments:
    """A table of segment scores with its key.

    Raises `DataError` naming the first row or utterance: a score that is no finite number, segments that leave a gap or
    overlap, an utterance that is on one side only, time that the scores or the key do not cover, labels of another
    form, and files that would have to be unpickled.
    """
    table, failed = _segment_table(Path(scores))
    known = read_segment_key(Path(key), frozenset([*table["id"], *failed]))
    rows = pl.concat([table.select("id"), pl.DataFrame({"id": failed}, schema={"id": pl.String})])
    require_partners((rows, scores), (pl.DataFrame({"id": list(known.regions)}), known.where))
    ids, track = _track(table, scores)
    regions = tuple(known.regions[name] for name in ids)
    _require_equal_lengths(ids, track, regions, scores)
    models = table["model"].drop_nulls().unique().sort() if "model" in table.columns else ()
    return ScoredSegments(
        ids=ids,
        scores=track,
        labels=_labels(ids, regions, known.label_ms or gcd(BASE_MS, track.step_ms), known.where),
        regions=regions,
        speakers=tuple(known.speakers.get(name) for name in ids),
        failed=tuple(failed),
        models=tuple(map(str, models)),
        inputs={"scores": sha256_file(scores), **known.inputs},
        notes=known.notes,
    )


def read_segment_key(path: Path, wanted: frozenset[str]) -> SegmentKey:
    """The regions of an RTTM file, of an `.npz`, or of a folder of either.

    In a folder RTTM counts before labels, the finest of these, and files without any `wanted` utterance are passed over
    with a note; the corpus' own lists tell the speakers. Raises `DataError`.
    """
    if not path.is_dir():
        require_file(path)
        return SegmentKey(
            _regions(path), _label_ms(path), str(path), {"key": sha256_file(path)}, {}, _labels_note(path)
        )
    regions: dict[str, tuple[Region, ...]] = {}
    inputs, notes = {}, []
    files = _key_files(path)
    for file in files:
        found = _regions(file)
        name = file.relative_to(path).as_posix()
        if wanted.isdisjoint(found):
            notes.append(f"{name}: no utterance of it is scored, so it is passed over")
            continue
        if twice := regions.keys() & found.keys():
            raise DataError(f"utterance '{min(twice)}' stands in several files", where=path, fix="Name one of them.")
        regions |= found
        inputs[f"key {name}"] = sha256_file(file)
    return SegmentKey(
        regions, _label_ms(files[0]), str(path), inputs, _speakers(path), (*notes, *_labels_note(files[0]))
    )


def _key_files(folder: Path) -> list[Path]:
    """The files of a folder that say where the spoofed parts are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if rttm := [path for path in files if "rttm" in path.name.lower()]:
        return rttm
    labels = [path for path in files if path.suffix == ".npz"]
    if not labels:
        fix = "It must hold RTTM files or .npz of segment labels; pickled .npy are never loaded."
        raise DataError("holds no regions", where=folder, fix=fix)
    finest = min(_step_ms(path) for path in labels)
    return [path for path in labels if _step_ms(path) == finest]


def _regions(path: Path) -> dict[str, tuple[Region, ...]]:
    return read_segments(path, _step_ms(path) / 1000) if path.suffix == ".npz" else read_regions(path)


def _label_ms(path: Path) -> int | None:
    return _step_ms(path) if path.suffix == ".npz" else None


def _step_ms(path: Path) -> int:
    """The step of segment labels: PartialSpoof names it in seconds at the end of the file's name."""
    named = _NAMED_STEP.search(path.stem)
    return round(float(named[1]) * 1000) if named else BASE_MS


def _labels_note(path: Path) -> tuple[str, ...]:
    if path.suffix != ".npz" or _NAMED_STEP.search(path.stem):
        return ()
    return (f"{path.name} does not name its step (..._0.02.npz): its labels are read as one every {BASE_MS} ms",)


def _speakers(folder: Path) -> dict[str, str]:
    if any((folder / name).is_dir() for name in PARTIALSPOOF.folders):
        table = read_partialspoof(folder).manifest.table
    elif (folder / MANIFEST).is_file():
        table = Manifest.read(folder / MANIFEST).table
    else:
        return {}
    table = table.filter(pl.col("speaker").is_not_null())
    return dict(zip(table["id"], table["speaker"], strict=True))


def _segment_table(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Typed rows of the segments, each with its `row` in the file, and the ids of utterances with an error."""
    require_file(path)
    table = read_table(path)
    missing = [name for name in ("id", "start", "end", "score") if name not in table.columns]
    if missing:
        fix = "A row is a segment: id, start and end in seconds, score."
        raise DataError(f"has no column `{missing[0]}`", where=path, fix=fix)
    table = table.with_columns(text_column(table, name) for name in ("id", "error"))
    refuse_first(table, table["id"].is_null(), "has no id", path)
    failed = table.filter(pl.col("error").is_not_null())["id"].unique(maintain_order=True)
    numbers = {name: number_column(table, name, path) for name in ("start", "end", "score")}
    table = table.with_columns(**numbers, row=pl.int_range(1, pl.len() + 1))
    bare = table.select(pl.any_horizontal(pl.col(numbers).is_null()) & ~pl.col("id").is_in(failed.implode()))
    refuse_first(table, bare.to_series(), "has no start, end or score, and no error", path)
    table = table.filter(~pl.col("id").is_in(failed.implode()))
    if table.is_empty():
        raise DataError("holds no scored segments", where=path, fix="Score at least one utterance.")
    return table, failed.to_list()


def _track(table: pl.DataFrame, where: object) -> tuple[tuple[str, ...], Track]:
    """The utterances in the order of the file, and their scores in steps that are the same throughout."""
    table = table.with_columns(first=pl.col("row").min().over("id")).sort("first", "start")
    last = (table["id"] != table["id"].shift(-1)).fill_null(True)
    lengths = ((table["end"] - table["start"]) * 1000).round()
    whole = lengths.filter(~last) if not last.all() else lengths
    step = int(whole.mode().max())  # type: ignore[arg-type]
    if step < 1:
        raise DataError(f"most segments last {step} ms", where=where, fix="Times are seconds, and end is after start.")
    place = table.select(pl.int_range(pl.len()).over("id") * step).to_series()
    begins, ends = table["start"] * 1000 - place, table["end"] * 1000 - place
    what = "does not begin where the segment before ends"
    _refuse(table, begins.abs() > _CLOSE_MS, f"{what}, in steps of {step} ms from 0 on", where)
    short = last & (ends > 0) & (ends < step)
    _refuse(table, ~short & ((ends - step).abs() > _CLOSE_MS), f"does not last {step} ms as others do", where)
    grouped = table.group_by("id", maintain_order=True).agg("score")
    return tuple(grouped["id"]), Track.of_scores(step, [values.to_numpy() for values in grouped["score"]])


def _refuse(table: pl.DataFrame, wrong: pl.Series, what: str, where: object) -> None:
    """Raise `DataError` naming the first row of the file where `wrong` holds."""
    if wrong.any():
        row, name = table.filter(wrong).sort("row").select("row", "id").row(0)
        fix = "Give every segment of an utterance once, in equal steps of whole milliseconds."
        raise DataError(f"row {row}, id '{name}': {what}", where=where, fix=fix)


def _require_equal_lengths(
    ids: tuple[str, ...], track: Track, regions: tuple[tuple[Region, ...], ...], where: object
) -> None:
    """Scores and key must end within one segment of each other."""
    for name, values, each in zip(ids, track.utterances, regions, strict=True):
        scored, known = len(values) * track.step_ms / 1000, max(region.end for region in each)
        if not abs(scored - known) < track.step_ms / 1000 + 1e-6:
            what = f"utterance '{name}': scored until {scored:g} s, and the key ends at {known:g} s"
            raise DataError(what, where=where, fix="Score the whole utterance, and give the key of these recordings.")


def _labels(ids: tuple[str, ...], regions: tuple[tuple[Region, ...], ...], step_ms: int, where: str) -> Track:
    labels = []
    for name, each in zip(ids, regions, strict=True):
        try:
            labels.append(reference_labels(each, max(region.end for region in each), step_ms))
        except MetricError as error:
            raise DataError(f"utterance '{name}': {error.what}", where=where) from None
    return Track.of_labels(step_ms, labels)
