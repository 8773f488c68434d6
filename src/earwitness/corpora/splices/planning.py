"""Which splices are to be made of a manifest: hosts, and for each kind an insert from the same side of the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from earwitness.audio.perturb.base import item_rng
from earwitness.core.config import nearest
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_text
from earwitness.corpora.making import Original
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.splits.grouping import NON_COMMERCIAL, draw, has_licence
from earwitness.corpora.twins.base import Vocoder
from earwitness.corpora.twins.making import DEFAULT_VOCODERS, NO_DERIVATIVES, installed
from earwitness.corpora.twins.vocoders import VOCODERS

Kind = Literal["spoof", "twin", "genuine", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class SpliceOptions:
    """What is made of each host: one splice of each kind, with settings drawn by (seed, host, kind).

    `host_s`: recordings of one speaker are joined until they last so long (None: each row is a host). `insert_s`: how
    long inserts are, but never more than half of the host. `cross_fade_ms`: at either end. `vocoders`: for twins.
    Recordings whose licence matches `exclude_licences` (regular expressions) are neither host nor insert.
    """

    kinds: tuple[Kind, ...] = KINDS
    host_s: float | None = None
    insert_s: tuple[float, float] = (0.5, 3.0)
    cross_fade_ms: tuple[float, float] = (10.0, 30.0)
    vocoders: tuple[str, ...] = DEFAULT_VOCODERS
    exclude_licences: tuple[str, ...] = (*NON_COMMERCIAL, *NO_DERIVATIVES)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` for an unknown kind or vocoder, and for impossible numbers."""
        for what, names, known in (("kind of splice", self.kinds, KINDS), ("vocoder", self.vocoders, tuple(VOCODERS))):
            _check_names(what, names, known)
        low, high = self.insert_s
        if not 0.1 <= low <= high:
            raise UsageError(
                f"inserts of {low:g} to {high:g} s", fix="Give a shortest of 0.1 s or more, and a longest."
            )
        low, high = self.cross_fade_ms
        if not 0 <= low <= high <= 50:
            raise UsageError(f"cross-fades of {low:g} to {high:g} ms", fix="Give 0 to 50, the shorter first.")
        if self.host_s is not None and not 0 < self.host_s <= 120:
            raise UsageError(f"hosts of {self.host_s:g} s", fix="Give up to 120 seconds.")
        if self.seed < 0:
            raise UsageError(f"a seed of {self.seed}", fix="Give 0 or more.")


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            guess = nearest(name, known)
            fix = f"Did you mean '{guess}'?" if guess else f"Known: {', '.join(known)}."
            raise UsageError(f"there is no {what} '{name}'", fix=fix)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"name each {what} once, and at least one", fix=f"Known: {', '.join(known)}.")


@dataclass(frozen=True)
class Splice:
    """One splice to be made. `path` is where it goes, against the output folder.

    `host` and `insert` are rows with their recordings; a twin has a `vocoder` instead of an insert, `none` has neither.
    `trouble` says why there is no insert where one is needed.
    """

    path: str
    kind: Kind
    rows: tuple[Row, ...]
    host: tuple[Original, ...]
    options: SpliceOptions
    insert_row: Row | None = None
    insert: Original | None = None
    vocoder: Vocoder | None = None
    trouble: str | None = None

    def rng(self) -> np.random.Generator:
        """What lengths, places and fades are drawn from: the same for the same seed, host and kind."""
        return item_rng(self.options.seed, 1, self.path)


@dataclass(frozen=True)
class Plan:
    """Splices in order, and what must be said of rows that take no part."""

    splices: tuple[Splice, ...]
    notes: tuple[str, ...]


def plan(manifest: Manifest, options: SpliceOptions) -> Plan:
    """What is to be made. Raises `DataError` where there is no host, or no row of a kind of insert, and
    `MissingPartError` where twins are asked for and no vocoder is installed."""
    allowed = manifest.filter(~has_licence(options.exclude_licences))
    notes = []
    if excluded := len(manifest) - len(allowed):
        notes.append(f"{excluded} recording(s) take no part: their licence is excluded")
    if allowed.table["split"].null_count() == len(allowed):
        notes.append("no split: to keep hosts and inserts of other sides apart, split the corpus first")
    rows = list(allowed.rows())
    humans = [row for row in rows if row.label == "bonafide"]
    spoofs = [row for row in rows if row.label == "spoof"]
    hosts, told = _hosts(humans, options)
    if not hosts:
        raise DataError("there is no bona fide recording to splice into", fix="Check `label`, licences and durations.")
    if "spoof" in options.kinds and not spoofs:
        fix = "Add spoofs to the manifest, or name the other kinds."
        raise DataError("there is no spoof to insert", fix=fix)
    vocoders: list[str] = []
    if "twin" in options.kinds:
        vocoders, missing = installed(options.vocoders)
        notes += missing
    inserts = {"spoof": _Inserts(spoofs), "genuine": _Inserts(humans)}
    splices = tuple(
        _splice(allowed, host, kind, options, inserts.get(kind), vocoders) for host in hosts for kind in options.kinds
    )
    return Plan(splices, (*notes, *told))


def _hosts(humans: Sequence[Row], options: SpliceOptions) -> tuple[list[tuple[Row, ...]], list[str]]:
    """Single rows, or with `host_s` rows of one speaker, rate and side that last so long together."""
    if options.host_s is None:
        return [(row,) for row in humans], []
    known = [row for row in humans if row.speaker and row.sample_rate and row.duration_s]
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in sorted(known, key=lambda row: draw(options.seed, row.id)):
        groups.setdefault((row.speaker, row.sample_rate, row.split, row.licence), []).append(row)
    hosts, left = [], len(humans) - len(known)
    notes = [f"{left} recording(s) without speaker, rate or duration are in no host"] if left else []
    for group in groups.values():
        host: list[Row] = []
        for row in group:
            host.append(row)
            if sum(row.duration_s or 0.0 for row in host) >= options.host_s:
                hosts.append(tuple(host))
                host = []
    joined = sum(map(len, hosts))
    if joined < len(known):
        notes.append(f"{len(known) - joined} recording(s) are in no host: their speakers have no {options.host_s:g} s")
    return sorted(hosts, key=lambda host: host[0].id), notes


class _Inserts:
    """Rows to insert from, by side; of the host's voice where there are any."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._of_side: dict[str | None, list[Row]] = {}
        for row in sorted(rows, key=lambda row: row.id):
            self._of_side.setdefault(row.split, []).append(row)

    def drawn(self, host: Sequence[Row], shortest_s: float, rng: np.random.Generator) -> Row | None:
        """None where no other recording of this side is as wide as the host and long enough, as far as rows say."""
        own = {recording_of(row) for row in host} | {row.id for row in host}
        rate = host[0].sample_rate or 0
        fit = [
            row
            for row in self._of_side.get(host[0].split, [])
            if row.id not in own
            and (row.label == "spoof" or recording_of(row) not in own)
            and (row.sample_rate is None or row.sample_rate >= rate)
            and (row.duration_s is None or row.duration_s >= shortest_s)
        ]
        same = [row for row in fit if row.speaker is not None and row.speaker == host[0].speaker]
        chosen = same or fit
        return chosen[rng.integers(len(chosen))] if chosen else None


def recording_of(row: Row) -> str:
    """The human recording behind a row."""
    return row.source_recording or row.id


def _splice(
    manifest: Manifest,
    host: tuple[Row, ...],
    kind: Kind,
    options: SpliceOptions,
    inserts: _Inserts | None,
    vocoders: Sequence[str],
) -> Splice:
    key = sha256_text("\n".join(row.id for row in host) + f"\n{kind}")[:16]
    path = f"{kind}/{key}.flac"
    rng = item_rng(options.seed, 0, path)
    made = Splice(path, kind, host, tuple(Original.of(manifest, row) for row in host), options)
    if kind == "twin":
        name = vocoders[int(rng.integers(len(vocoders)))]
        return replace(made, vocoder=VOCODERS[name].drawn(rng))
    if inserts is None:
        return made
    row = inserts.drawn(host, options.insert_s[0], rng)
    if row is None:
        side = f" on the side '{host[0].split}'" if host[0].split else ""
        what = f"there is no other {'spoof' if kind == 'spoof' else 'human recording'} to insert{side}"
        return replace(made, trouble=f"{what} of {options.insert_s[0]:g} s and the host's {host[0].sample_rate} Hz")
    return replace(made, insert_row=row, insert=Original.of(manifest, row))
