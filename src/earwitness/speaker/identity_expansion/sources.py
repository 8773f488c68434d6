"""Who may be a parent: real speakers of the training side with a known sex, and never anybody who is tested on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import NON_COMMERCIAL, has_licence
from earwitness.corpora.twins.making import NO_DERIVATIVES

SEXES = {"m": "m", "male": "m", "f": "f", "female": "f"}


@dataclass(frozen=True)
class Sources:
    """The rows of the parents to be, the sex (m or f) of each of them, and what was left out, in words."""

    rows: Manifest
    sexes: dict[str, str]
    notes: tuple[str, ...]


def sources_of(manifest: Manifest, speakers: Collection[str] | None = None, held_out: Collection[str] = ()) -> Sources:
    """The human recordings of these speakers, or of all; of the training side where the manifest is split.

    `held_out` are further speakers who are tested on. Raises `LeakError` where a source has a recording on another side
    than train or is held out, and `DataError` where a named speaker is not there, or nobody is left.
    """
    human = manifest.filter((pl.col("label") != "spoof").fill_null(True), pl.col("speaker").is_not_null())
    allowed = human.filter(~has_licence((*NON_COMMERCIAL, *NO_DERIVATIVES)))
    if speakers is not None and (unknown := sorted(set(speakers) - set(human.table["speaker"]))):
        raise DataError(f"the source speaker '{unknown[0]}' has no human recording here", fix="Correct the list.")
    is_split = human.table["split"].null_count() < len(human)
    chosen = allowed if speakers is None else allowed.filter(pl.col("speaker").is_in(list(speakers)))
    if speakers is None and is_split:
        chosen = chosen.filter(pl.col("split") == "train")
    names = set(chosen.table["speaker"])
    elsewhere = human.filter(pl.col("split").is_in(["dev", "test"]), pl.col("speaker").is_in(list(names)))
    require_apart(names, dict(zip(elsewhere.table["speaker"], elsewhere.table["split"], strict=True)))
    require_apart(names, dict.fromkeys(held_out, "test"))
    sexes = _sexes(chosen)
    notes = [] if is_split or held_out else ["the manifest has no split: nothing tells who will be tested on"]
    if excluded := len(human) - len(allowed):
        notes.append(f"{excluded} recording(s) left out: their licence is excluded")
    if unsexed := len(names - set(sexes)):
        notes.append(f"{unsexed} speaker(s) left out: their sex is not known, or not one")
    if not sexes:
        raise DataError("no source speaker has a sex", fix="Fill the column `sex` with m and f.")
    return Sources(chosen.filter(pl.col("speaker").is_in(list(sexes))), sexes, tuple(notes))


def require_apart(sources: Collection[str], tested: dict[str, str]) -> None:
    """Raises `LeakError` where a source speaker is among those `tested` (speaker to side)."""
    if both := sorted(set(sources) & set(tested)):
        more = f" (and {len(both) - 1} more)" if len(both) > 1 else ""
        raise LeakError(
            f"the {tested[both[0]]} speaker '{both[0]}'{more} is among the sources of new identities",
            fix="Take the speaker out of the sources, or out of the test.",
        )


def read_names(path: str | Path) -> list[str]:
    """Speakers, one a line. Raises `DataError`."""
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=path) from None


def _sexes(rows: Manifest) -> dict[str, str]:
    """The sex of each speaker for whom all rows that name one agree."""
    found: dict[str, set[str]] = {}
    for speaker, sex in zip(rows.table["speaker"], rows.table["sex"], strict=True):
        if known := SEXES.get((sex or "").strip().lower()):
            found.setdefault(speaker, set()).add(known)
    return {speaker: values.pop() for speaker, values in sorted(found.items()) if len(values) == 1}
