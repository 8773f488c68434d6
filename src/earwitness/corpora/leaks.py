"""What stands on both sides of a split, and the refusal to go on.

Detection: system and family of spoofs, source recording, split group, audio, and speaker of bona fide rows. Speaker and
manner: speaker, source recording, split group, audio. A splice counts with every recording in it. Voices that stand on
both sides by a rule of the recipe are named in `shared_voices`: their speaker and split group are then no leak, their
recordings are. Rows without a split don't count.

Whose voice a recording is, the ids of known corpora say themselves (`corpora.voices`): where that voice stands on both
sides, no column `speaker` can hide it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from earwitness.core.errors import AudioError, LeakError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.voices import voices_by_id

Guarded = Literal["detection", "speaker", "manner"]


@dataclass(frozen=True)
class Leak:
    """One value of `kind` that has rows in several splits, e.g. speaker 'anna': 12 in train, 3 in dev."""

    kind: str
    value: str
    counts: tuple[tuple[str, int], ...]  # (split, rows), in the order train, dev, test

    def __str__(self) -> str:
        places = ", ".join(f"{count} in {split}" for split, count in self.counts)
        return f"{self.kind.replace('_', ' ')} '{self.value}' ({places})"


def find_leaks(
    manifest: Manifest, task: Guarded, shared_voices: Sequence[str] = (), hashes: Sequence[str | None] | None = None
) -> list[Leak]:
    """The leaks that matter to a task; with `hashes` (see `audio_hashes`) equal files count too."""
    table = manifest.table.with_columns(audio=pl.Series(hashes or [None] * len(manifest), dtype=pl.String))
    table = table.with_columns(voice_by_id=voices_by_id(table)).filter(pl.col("split").is_not_null())
    shared = pl.col("speaker").is_in(list(shared_voices)).fill_null(False)
    spoof = pl.col("label") == "spoof"
    everywhere = {"source_recording": pl.lit(True), "split_group": ~shared, "audio": pl.lit(True)}
    if task == "detection":
        voices = (pl.col("label") == "bonafide") & ~shared
        rules = {"system": spoof, "family": spoof, "speaker": voices, "voice_by_id": voices, **everywhere}
    else:
        rules = {"speaker": ~shared, "voice_by_id": ~shared, **everywhere}
    parts = {kind: table.filter(which) for kind, which in rules.items()}
    parts["source_recording"] = _each_recording(parts["source_recording"])
    leaks = [leak for kind, part in parts.items() for leak in _leaks_of(part, kind)]
    said = {leak.value for leak in leaks if leak.kind == "speaker"}
    return [leak for leak in leaks if leak.kind != "voice_by_id" or leak.value not in said]


def _each_recording(table: pl.DataFrame) -> pl.DataFrame:
    """With a row for each of the recordings that a splice is made of (its column `recordings`, a JSON list)."""
    if "recordings" not in table.columns:
        return table
    pairs = table.select("source_recording", "recordings").iter_rows()
    lists = [_listed(recordings) or [own] for own, recordings in pairs]
    return table.with_columns(source_recording=pl.Series(lists, dtype=pl.List(pl.String))).explode("source_recording")


def _listed(text: str | None) -> list[str]:
    """The names of a JSON list; none for other text."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _leaks_of(table: pl.DataFrame, kind: str) -> list[Leak]:
    rows = table.filter(pl.col(kind).is_not_null())
    torn = rows.filter(pl.col("split").n_unique().over(kind) > 1)
    counted = (
        torn.group_by(kind, "split").len().sort(kind, pl.col("split").replace_strict({"train": 0, "dev": 1, "test": 2}))
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for value, split, count in counted.iter_rows():
        found.setdefault(value, []).append((split, count))
    return [Leak(kind, value, tuple(counts)) for value, counts in found.items()]


def hash_of(path: Path) -> str:
    """The sha256 of a recording's file. Raises `AudioError` where it cannot be read."""
    try:
        return sha256_file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"cannot be read ({reason})", where=path, fix="Correct the manifest.") from None


def audio_hashes(manifest: Manifest) -> list[str]:
    """The sha256 of each row's file, each read once. Raises `AudioError` naming a file that cannot be read."""
    known: dict[str, str] = {}
    for row in manifest.rows():
        if row.path not in known:
            known[row.path] = hash_of(manifest.resolve(row))
    return [known[path] for path in manifest.table["path"]]


def require_no_leaks(
    manifest: Manifest,
    task: Guarded,
    shared_voices: Sequence[str] = (),
    hashes: Sequence[str | None] | None = None,
    allow: bool = False,
) -> list[Leak]:
    """Raise `LeakError` naming the first leaks; with `allow` return them, for the run record."""
    leaks = find_leaks(manifest, task, shared_voices, hashes)
    if leaks and not allow:
        first = "; ".join(str(leak) for leak in leaks[:3])
        more = f"; and {len(leaks) - 3} more" if len(leaks) > 3 else ""
        raise LeakError(
            f"{len(leaks)} leak(s) between splits: {first}{more}",
            fix="Split again, or allow the leak by name (--allow-leak).",
        )
    return leaks
