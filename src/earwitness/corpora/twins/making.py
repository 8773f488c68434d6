"""From a manifest of recordings to the same manifest with twins: planned by hash, made by workers, kept row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audio.perturb.base import fit_length, item_rng
from earwitness.audio.recording import Samples
from earwitness.core.config import nearest
from earwitness.core.errors import AudioError, DataError, MissingPartError, UsageError
from earwitness.core.hashing import sha256_text
from earwitness.core.writing import ResumableRows, read_rows
from earwitness.corpora.inspection import Problem
from earwitness.corpora.making import FAILURES, Original, in_words, worked, write_flac
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.splits.grouping import NON_COMMERCIAL, REASON, has_licence
from earwitness.corpora.twins.base import Vocoder
from earwitness.corpora.twins.vocoders import VOCODERS

DEFAULT_VOCODERS = ("world", "griffin-lim", "codec2")
NO_DERIVATIVES = (r"\bND\b", r"no-?deriv")
TABLE, MANIFEST = "twins.csv", "manifest.csv"  # in the output folder
_PEAK = 0.999
_ZERO_RUN_S = 0.01  # exact zeros for so long are no sound, and stay zeros in the twin
_COLUMNS = {
    "path": str, "source": str, "vocoder": str, "system": str, "family": str, "setting": str, "drawn": str,
    "made_with": str, "duration_s": float, "sample_rate": int, "error": str,
}  # fmt: skip


@dataclass(frozen=True)
class TwinOptions:
    """What is made of each human recording.

    `per_row` settings are drawn, of different vocoders as far as there are so many; None: one of each vocoder.
    Recordings whose licence matches `exclude_licences` (regular expressions) get no twins.
    """

    vocoders: tuple[str, ...] = DEFAULT_VOCODERS
    per_row: int | None = None
    exclude_licences: tuple[str, ...] = (*NON_COMMERCIAL, *NO_DERIVATIVES)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` for an unknown vocoder, none or one that is named twice, and for impossible numbers."""
        for name in self.vocoders:
            if name not in VOCODERS:
                guess = nearest(name, VOCODERS)
                fix = f"Did you mean '{guess}'?" if guess else f"Known: {', '.join(VOCODERS)}."
                raise UsageError(f"there is no vocoder '{name}'", fix=fix)
        if not self.vocoders or len(set(self.vocoders)) < len(self.vocoders):
            raise UsageError("name each vocoder once, and at least one", fix=f"Known: {', '.join(VOCODERS)}.")
        if self.per_row is not None and self.per_row < 1:
            raise UsageError(f"{self.per_row} twins a recording are none", fix="Ask for 1 or more.")
        if self.seed < 0:
            raise UsageError(f"a seed of {self.seed}", fix="Give 0 or more.")


@dataclass(frozen=True)
class Made:
    """The originals with their twins; what could not be made, and what was left out as a whole, in words."""

    manifest: Manifest
    twins: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One twin to be made. `path` is where it goes, against the output folder; `source` the id of the row."""

    source: str
    original: Original
    path: str
    kind: str
    vocoder: Vocoder
    seed: int

    def rng(self) -> np.random.Generator:
        """What the vocoder draws from: the same for the same seed, setting and row."""
        return item_rng(self.seed, 1, self.path)


def expand(
    manifest: Manifest,
    folder: str | Path,
    options: TwinOptions | None = None,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[int], Callable[[], None]] = lambda total: lambda: None,
) -> Made:
    """Make twins of every bona fide row as 16-bit FLAC under `folder`, and write `manifest.csv` with both there.

    A twin has the words, speaker, split group, rate, length and level of its original, whose `source_recording` it
    shares (the original's id where it had none); label spoof, system and family say what made it, the extra column
    `setting` how. A row that cannot be resynthesised is a row with an error in `twins.csv`. A run that was killed goes
    on with `resume`. `progress(total)` gives a function that is called after each twin.

    A split that the manifest had is taken off: twins are split with their originals, afterwards. Raises
    `MissingPartError` where none of the vocoders is installed, `DataError` where there is no human recording, and
    `UsageError` as `ResumableRows` does.
    """
    options = options or TwinOptions()
    folder = Path(folder)
    kinds, notes = installed(options.vocoders)
    manifest, dropped = _unsplit(manifest)
    humans = manifest.filter(pl.col("label") == "bonafide")
    allowed = humans.filter(~has_licence(options.exclude_licences))
    if not len(allowed):
        raise DataError("there is no bona fide recording to make twins of", fix="Check `label` and the licences.")
    if excluded := len(humans) - len(allowed):
        dropped.append(f"{excluded} recording(s) without twins: their licence is excluded")
    tasks = [task for task in plan(allowed, options) if task.kind in kinds]
    drawn = f"seed {options.seed}, {options.per_row or 'all'} of {' '.join(options.vocoders)}"
    with ResumableRows(folder / TABLE, "path", _COLUMNS, resume=resume, same={"drawn": drawn}) as table:
        step = progress(len(tasks))
        todo = [task for task in tasks if task.path not in table.done]
        for _ in range(len(tasks) - len(todo)):
            step()
        for row in worked(todo, partial(make_twin, folder=folder), workers, folder):
            table.add({**row, "drawn": drawn})
            step()
    return _joined(manifest, folder, (*notes, *dropped))


def plan(manifest: Manifest, options: TwinOptions) -> list[Task]:
    """The twins of each row, in order. A row's settings depend on the seed and its id only, not on other rows."""
    return [task for row in manifest.rows() for task in _row_tasks(manifest, row, options)]


def _row_tasks(manifest: Manifest, row: Row, options: TwinOptions) -> Iterator[Task]:
    order = [options.vocoders[i] for i in item_rng(options.seed, 0, row.id).permutation(len(options.vocoders))]
    count = options.per_row or len(order)
    original = Original.of(manifest, row)
    seen = set()
    for number in range(count):
        kind = order[number % len(order)]
        vocoder = VOCODERS[kind].drawn(item_rng(options.seed, number // len(order), f"{kind}/{row.id}"))
        if vocoder in seen:
            continue  # drawn a second time, it would be the same twin
        seen.add(vocoder)
        # several rows may be of one file, and files of one name lie in several folders
        key = sha256_text(f"{row.id}/{vocoder}")[:12]
        path = f"{kind}/{key}/{PurePosixPath(row.path).stem}.flac"
        yield Task(row.id, original, path, kind, vocoder, options.seed)


def make_twin(task: Task, folder: Path) -> dict[str, Any]:
    """Make one twin and its row in the table; what cannot be made is a row with an error."""
    vocoder = task.vocoder
    told: dict[str, Any] = {"path": task.path, "source": task.source, "vocoder": task.kind, "system": vocoder.system}
    told |= {"family": vocoder.family, "setting": repr(vocoder), "made_with": vocoder.made_with}
    try:
        samples, rate = task.original.load()
        signal = samples.astype(np.float64) / max(1.0, float(np.abs(samples).max()))  # lossy files may overshoot
        made = vocoder.resynthesise(signal, rate, task.rng())
        write_flac(folder / task.path, matched(samples, made, rate), rate)
    except UsageError:
        raise  # the output cannot be written: that is no fault of the recording
    except FAILURES as error:
        return told | {"error": in_words(error, "cannot be resynthesised")}
    return told | {"duration_s": round(len(samples) / rate, 4), "sample_rate": rate}


def matched(original: Samples, made: NDArray[np.floating[Any]], rate: int) -> Samples:
    """The twin with the original's length, level, offset and digital silence; softer where its peaks would clip.

    Raises `AudioError` where what came out is silent or not finite.
    """
    twin, wanted = fit_length(np.asarray(made, np.float64), len(original)), original.astype(np.float64)
    silent = _digital_silence(original, rate)
    twin = np.where(silent, 0.0, twin - twin.mean())
    deviation = float(twin.std())
    if not np.isfinite(deviation) or deviation < 1e-6:
        raise AudioError("came out silent or not finite")
    twin = np.where(silent, 0.0, twin * (wanted.std() / deviation) + wanted.mean())
    return np.asarray(twin * min(1.0, _PEAK / float(np.abs(twin).max())), np.float32)


def _digital_silence(samples: Samples, rate: int) -> NDArray[np.bool_]:
    """Where the samples are exactly zero for 10 ms or longer."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], samples == 0, [False]]).astype(np.int8))).reshape(-1, 2)
    silent = np.zeros(len(samples), bool)
    for start, end in edges[edges[:, 1] - edges[:, 0] >= _ZERO_RUN_S * rate]:
        silent[start:end] = True
    return silent


def installed(kinds: Sequence[str]) -> tuple[list[str], list[str]]:
    """The vocoders that can run here, and what is said of the others. Raises `MissingPartError` where none can."""
    there, missing = [], []
    for kind in kinds:
        try:
            VOCODERS[kind].require()
            there.append(kind)
        except MissingPartError as error:
            missing.append((kind, error))
    if not there:
        raise missing[0][1]
    return there, [f"no twins by {kind}: {error}" for kind, error in missing]


def _unsplit(manifest: Manifest) -> tuple[Manifest, list[str]]:
    table = manifest.table.drop(REASON, strict=False)
    if table["split"].null_count() == table.height:
        return manifest.with_table(table), []
    note = "the split was taken off: split again, so that twins follow their originals"
    return manifest.with_table(table.with_columns(split=pl.lit(None, pl.String))), [note]


def _joined(manifest: Manifest, folder: Path, notes: tuple[str, ...]) -> Made:
    """Originals and twins as one manifest, written to the folder."""
    made = read_rows(folder / TABLE, _COLUMNS)
    failed = made.filter(pl.col("error").is_not_null())
    good = made.filter(pl.col("error").is_null()).rename({"system": "_system", "family": "_family", "path": "_path"})
    good = good.select("source", "_path", "_system", "_family", "setting", "made_with", "duration_s", "sample_rate")
    originals = manifest.rebased(folder).table
    twinned = originals["id"].is_in(good["source"].unique().implode())
    originals = originals.with_columns(
        source_recording=pl.when(twinned).then(pl.coalesce("source_recording", "id")).otherwise("source_recording")
    )
    twins = good.join(
        originals.drop("duration_s", "sample_rate", "setting", strict=False),
        left_on="source",
        right_on="id",
        how="inner",
        maintain_order="left",
    ).with_columns(
        id="_path",
        path="_path",
        start=pl.lit(None, pl.Float64),
        end=pl.lit(None, pl.Float64),
        channel=pl.lit(None, pl.Int64),
        label=pl.lit("spoof"),
        system="_system",
        family="_family",
        licence=pl.col("licence") + "; changed: resynthesised by " + pl.col("made_with"),
    )
    twins = twins.drop("source", "made_with", "_path", "_system", "_family")
    both = Manifest(pl.concat([originals, twins], how="diagonal"), folder, manifest.data_root)
    both.write(folder / MANIFEST)
    problems = tuple(Problem(row["source"], f"{row['system']}: {row['error']}") for row in failed.iter_rows(named=True))
    return Made(both, len(twins), problems, notes)
