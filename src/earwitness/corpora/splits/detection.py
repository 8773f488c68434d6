"""The detection protocol: unseen speakers and unseen families of synthesis, with no recording on both sides.

1. Families of spoofs choose sides whole: `test_families` to test; to dev `dev_families`, or families in hash order as
   long as they fit into a fifth of the systems and a fifth of the rows; the others to train.
2. Human recordings form groups: rows connected by speaker, split group or source recording, with the copies made of
   them. A group goes to test when it is named, or holds copies by a test family; to dev when it holds copies by a dev
   family (a family can only be judged beside its human twins); then further groups, in hash order, until a fifth of
   each corpus is in dev; the rest trains.
3. A spoof whose family and whose source stand on different sides cannot be used on either: it is left out, and the
   column `left_out` says so.

A voice of `shared_voices` stands on both sides by rule: its recordings, not its speaker, are the units.

Where nearly every recording has copies (`corpora.twins`), rule 2 would send nearly everyone to test. Families that
`twin_families` names draw no group along: instead a share of the groups with such copies goes to test, and dev has its
fifth of the others. Rule 3 does the rest: a test family is judged on the test groups only and learnt from nowhere, a
train family is learnt from on the train groups.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl
from pydantic import Field

from earwitness.core.config import Config, nearest
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import NON_COMMERCIAL, connected, draw, has_licence, with_split

NEVER_UNSEEN = "unnamed"  # a family of unknown generators proves nothing as a held-out one


class DetectionSplit(Config):
    """See the module's text. `test_speakers` and `test_corpora` are held out, their spoofs' families with them."""

    kind: Literal["detection"] = "detection"
    dev_share: float = Field(0.2, gt=0, lt=1)
    test_share: float = Field(0.0, ge=0, lt=1)  # of the speakers of each corpus, besides those that are named
    dev_families: tuple[str, ...] = ()
    test_families: tuple[str, ...] = ()
    test_speakers: tuple[str, ...] = ()
    test_corpora: tuple[str, ...] = ()
    shared_voices: tuple[str, ...] = ()
    twin_families: tuple[str, ...] = ()
    twin_test_share: float = Field(0.5, ge=0, lt=1)  # of the groups of each corpus that have copies by a twin family
    exclude_licences: tuple[str, ...] = NON_COMMERCIAL
    seed: int = 0

    def split(self, manifest: Manifest) -> Manifest:
        """Raises `DataError` when a named family, speaker or corpus is not in the manifest."""
        rows = _rows(manifest, self.shared_voices, self.exclude_licences)
        self._check_names(rows)
        family_sides = self._family_sides(rows)
        group_sides = self._group_sides(rows, family_sides)
        placed = [_place(row, family_sides, group_sides) for row in rows]
        return with_split(manifest, [side for side, _ in placed], [reason for _, reason in placed])

    def _check_names(self, rows: Sequence[_Item]) -> None:
        families = {row.family for row in rows if row.family}
        _check(families, (*self.dev_families, *self.test_families, *self.twin_families), "family")
        _check({row.speaker for row in rows if row.speaker}, (*self.test_speakers, *self.shared_voices), "speaker")
        _check({row.corpus for row in rows if row.corpus}, self.test_corpora, "corpus")
        both = set(self.dev_families) & set(self.test_families)
        if both:
            raise DataError(f"family '{min(both)}' is named for dev and for test", fix="Choose one.")

    def _family_sides(self, rows: Sequence[_Item]) -> dict[str, str]:
        spoofs = [row for row in rows if row.family and not row.unusable]
        followers = [row for row in spoofs if row.family not in self.twin_families]
        held = {*self.test_families, *(row.family for row in followers if row.corpus in self.test_corpora)}
        sides = {row.family: "test" if row.family in held else "train" for row in spoofs if row.family}
        chosen = self.dev_families or self._draw_families([row for row in spoofs if sides[str(row.family)] == "train"])
        return sides | {family: "dev" for family in chosen if sides.get(family) == "train"}

    def _draw_families(self, spoofs: Sequence[_Item]) -> list[str]:
        """Families in hash order while they fit into the share of systems and of rows; the smallest where none fits."""
        systems: dict[str, set[str | None]] = defaultdict(set)
        for row in spoofs:
            systems[str(row.family)].add(row.system)
        counts = Counter(str(row.family) for row in spoofs)
        system_room, row_room = (self.dev_share * n for n in (sum(map(len, systems.values())), len(spoofs)))
        free = sorted(systems.keys() - {NEVER_UNSEEN}, key=lambda name: draw(self.seed, f"family:{name}"))
        chosen: list[str] = []
        for family in free if len(systems) > 1 else ():
            if len(systems[family]) <= system_room and counts[family] <= row_room:
                chosen.append(family)
                system_room -= len(systems[family])
                row_room -= counts[family]
        if not chosen and len(systems) > 1 and free:
            return [min(free, key=lambda name: (counts[name], name))]
        return chosen

    def _group_sides(self, rows: Sequence[_Item], family_sides: Mapping[str, str]) -> dict[str, str]:
        sides: dict[str, str] = {}
        for row in rows:
            if row.group and not row.unusable:
                sides[row.group] = _stricter(sides.get(row.group, "train"), self._own_side(row, family_sides))
        twinned = {row.group for row in rows if row.family in self.twin_families}
        copied = {row.group for row in rows if row.family} - twinned
        for stratum in _strata(rows):
            self._fill(stratum, "test", self.test_share, sides, copied)
            self._fill(stratum & twinned, "test", self.twin_test_share, sides, copied)
            self._fill(stratum, "dev", self.dev_share, sides, copied)
        return sides

    def _own_side(self, row: _Item, family_sides: Mapping[str, str]) -> str:
        """The side that a row asks for its group."""
        if row.corpus in self.test_corpora or (row.human and row.speaker in self.test_speakers):
            return "test"
        if row.family is None or row.family in self.twin_families:
            return "train"
        return family_sides.get(row.family, "train")

    def _fill(self, stratum: set[str], side: str, share: float, sides: dict[str, str], copied: set[str | None]) -> None:
        """Move groups of a stratum from train until its share is met, first those of which no copies would be lost."""
        free = [group for group in stratum if sides[group] == "train"]
        here = sum(sides[group] == side for group in stratum)
        wanted = max(1, round(share * len(stratum))) if share and len(stratum) > 1 else 0
        free.sort(key=lambda group: (group in copied, draw(self.seed, group)))
        for group in free[: max(0, wanted - here)]:
            sides[group] = side


@dataclass(frozen=True)
class _Item:
    """What the protocol needs of a row."""

    human: bool
    speaker: str | None
    corpus: str | None
    family: str | None  # of a spoof: its family, else its system
    system: str | None
    group: str | None
    shared: bool
    unusable: str | None  # why it stands on no side whatever the others do


def _rows(manifest: Manifest, shared_voices: Sequence[str], licences: Sequence[str]) -> list[_Item]:
    table = manifest.table
    if "corpus" not in table.columns:
        table = table.with_columns(corpus=pl.lit(None, dtype=pl.String))
    spoof = pl.col("label") == "spoof"
    table = table.with_columns(
        human=(pl.col("label") == "bonafide").fill_null(False),
        shared=pl.col("speaker").is_in(list(shared_voices)).fill_null(False),
        own_family=pl.when(spoof).then(pl.coalesce("family", "system", pl.lit(NEVER_UNSEEN))),
        unusable=pl.when(pl.col("label").is_null())
        .then(pl.lit("label not known"))
        .when(has_licence(licences))
        .then(pl.lit("licence excluded")),
    )
    groups = connected(_keys(table))
    columns = ("human", "speaker", "corpus", "own_family", "system", "id", "shared", "unusable")
    items = []
    for group, values in zip(groups, table.select(columns).iter_rows(), strict=True):
        human, speaker, corpus, family, system, name, shared, unusable = values
        alone = f"id:{name}" if human else None
        items.append(_Item(human, speaker, corpus, family, system, group or alone, shared, unusable))
    return items


def _keys(table: pl.DataFrame) -> list[list[str]]:
    """What ties each row to others. A spoof's own split group counts only where it reaches beyond one family."""
    families: dict[str, set[str | None]] = defaultdict(set)
    for group, family in table.select("split_group", "own_family").iter_rows():
        families[group].add(family)
    keys = []
    columns = ("human", "shared", "speaker", "split_group", "source_recording", "unusable")
    for human, shared, speaker, group, source, unusable in table.select(columns).iter_rows():
        named = {"speaker": speaker if human and not shared else None, "source": source}
        named["group"] = group if not shared and (human or len(families[group]) > 1) else None
        keys.append([] if unusable else [f"{name}:{value}" for name, value in named.items() if value is not None])
    return keys


def _strata(rows: Sequence[_Item]) -> Iterable[set[str]]:
    """The groups of each corpus, and of each shared voice, of which a share is held out."""
    strata: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.human and row.group and not row.unusable:
            strata[f"voice {row.speaker}" if row.shared else f"corpus {row.corpus}"].add(row.group)
    return [strata[name] for name in sorted(strata)]


def _place(row: _Item, families: Mapping[str, str], groups: Mapping[str, str]) -> tuple[str | None, str | None]:
    """A row's side, or None and why."""
    if row.unusable:
        return None, row.unusable
    group = groups[row.group] if row.group else None
    if row.family is None:
        return group, None
    family = families[row.family]
    if group is not None and group != family:
        return None, f"its family is in {family}, its source or group in {group}"
    return family, None


def _stricter(one: str, other: str) -> str:
    return max(one, other, key=("train", "dev", "test").index)


def _check(there: set[str], named: Sequence[str], what: str) -> None:
    for name in named:
        if name not in there:
            guess = nearest(name, there)
            raise DataError(
                f"there is no {what} '{name}' in the manifest",
                fix=f"Did you mean '{guess}'?" if guess else f"Known: {', '.join(sorted(there)[:12])}.",
            )
