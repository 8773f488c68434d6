"""Published lists of spoofing detection, recognised by their counts and by a checksum of their content.

    found = recognise(manifest, "asvspoof2019-la")
    found.name                                      # "asvspoof2019-la eval"
    require(manifest, "asvspoof2019-la eval")       # DataError where it is another list

A number that is compared with a paper's must come from the paper's list; most figures that nobody can reproduce come
from another subset.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from earwitness.core.config import nearest
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_text
from earwitness.corpora.manifest import Manifest

How = Literal["content", "file", "counts", "other content", "other labels", "part", "more", "unknown"]
SAME: tuple[How, ...] = ("content", "file", "counts")


@dataclass(frozen=True)
class KnownList:
    """A published list. None: not known.

    `bonafide` and `spoof` are its class counts; `source` says where the counts come from: `counted` on the list itself,
    `stated` by others who counted, or `recalled` from publications and to be checked. `ids` is the pattern of its ids.
    `sha256` is `list_checksum`; `md5` that of the file's bytes, as the organisers publish it.
    """

    protocol: str
    part: str
    file: str
    rows: int
    bonafide: int | None
    source: Literal["counted", "stated", "recalled"]
    ids: str
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Protocol and part: `asvspoof2019-la eval`."""
        return f"{self.protocol} {self.part}"

    @property
    def spoof(self) -> int | None:
        """Spoofed rows."""
        return None if self.bonafide is None else self.rows - self.bonafide


@dataclass(frozen=True)
class Recognised:
    """Which published list a table is, or comes nearest to, and how that was told.

    `name` is None where no list is near. `how`: `content` (equal by checksum), `file` (equal by the organisers' md5 of
    the file), `counts` (equal in rows and classes; no checksum is known), `other content` (equal in counts, not in
    content), `other labels` (equal in rows, not in classes), `part` and `more` (fewer or more rows with ids of that
    list), `unknown`. `said` is all that in a sentence.
    """

    name: str | None
    rows: int
    how: How
    said: str


def _asvspoof2019(track: str, part: str, rows: int, bonafide: int, sha256: str | None = None) -> KnownList:
    file = f"ASVspoof2019.{track}.cm.{part}.{'trn' if part == 'train' else 'trl'}.txt"
    source: Literal["counted", "stated"] = "counted" if track == "LA" else "stated"
    ids = rf"{track}_{part[0].upper()}_\d{{7}}"
    return KnownList(f"asvspoof2019-{track.lower()}", part, file, rows, bonafide, source, ids, sha256)


def _asvspoof2021(track: str, part: str, rows: int, bonafide: int | None, source: str) -> KnownList:
    told: Literal["stated", "recalled"] = "stated" if source == "stated" else "recalled"
    return KnownList(
        f"asvspoof2021-{track.lower()}", part, "trial_metadata.txt", rows, bonafide, told, rf"{track}_E_\d{{7}}"
    )


def _asvspoof5(part: str, file: str, rows: int, bonafide: int, md5: str) -> KnownList:
    source: Literal["stated", "recalled"] = "stated" if part == "eval" else "recalled"
    return KnownList("asvspoof5", part, file, rows, bonafide, source, rf"{part[0].upper()}_\d{{10}}", md5=md5)


def _partialspoof(part: str, rows: int, bonafide: int) -> KnownList:
    file = f"PartialSpoof.LA.cm.{part}.trl.txt"
    return KnownList("partialspoof", part, file, rows, bonafide, "recalled", rf"(CON|LA)_{part[0].upper()}_\d{{7}}")


def _ctrsvdd(part: str, file: str, rows: int, bonafide: int | None, source: str) -> KnownList:
    told: Literal["stated", "recalled"] = "stated" if source == "stated" else "recalled"
    letter = {"train": "T", "dev": "D"}.get(part, "E")
    return KnownList("ctrsvdd", part, file, rows, bonafide, told, rf"CtrSVDD_\d{{4}}_{letter}_\d{{7}}")


KNOWN_LISTS: tuple[KnownList, ...] = (
    _asvspoof2019("LA", "train", 25_380, 2_580),
    _asvspoof2019("LA", "dev", 24_844, 2_548),
    _asvspoof2019("LA", "eval", 71_237, 7_355, "ba9fd9b6d7f2e3747a3222094646a6668a410dabdd39338af2413a72cd545af8"),
    _asvspoof2019("PA", "train", 54_000, 5_400),
    _asvspoof2019("PA", "dev", 29_700, 5_400),
    _asvspoof2019("PA", "eval", 134_730, 18_090),
    _asvspoof2021("LA", "all", 181_566, 18_452, "stated"),
    _asvspoof2021("LA", "eval", 148_176, 14_816, "recalled"),
    _asvspoof2021("DF", "all", 611_829, 22_617, "stated"),
    _asvspoof2021("DF", "eval", 533_928, 14_869, "recalled"),
    _asvspoof2021("PA", "all", 943_110, None, "stated"),
    _asvspoof2021("PA", "eval", 721_332, None, "stated"),
    _asvspoof5("train", "ASVspoof5.train.tsv", 182_357, 18_797, "cbfa08e2fab1423e828f102bc97a22f0"),
    _asvspoof5("dev", "ASVspoof5.dev.track_1.tsv", 140_950, 31_334, "e949dee1091a49b04943c548b5cf9860"),
    _asvspoof5("eval", "ASVspoof5.eval.track_1.tsv", 680_774, 138_688, "50c0591d45a282cb787a5a4614394f67"),
    KnownList("in-the-wild", "all", "meta.csv", 31_779, 19_963, "stated", r"\d+\.wav"),
    _partialspoof("train", 25_380, 2_580),
    _partialspoof("dev", 24_844, 2_548),
    _partialspoof("eval", 71_237, 7_355),
    _ctrsvdd("train", "train.txt", 84_404, 12_169, "recalled"),
    _ctrsvdd("dev", "dev.txt", 43_625, 6_547, "recalled"),
    _ctrsvdd("eval", "test.txt", 92_769, 13_596, "stated"),
    _ctrsvdd("eval without A14", "test.txt", 67_579, None, "stated"),
    _ctrsvdd("eval without A14 and ACESinger", "test.txt", 64_734, None, "stated"),
)


def list_checksum(table: pl.DataFrame) -> str:
    """Hex sha256 of the lines `id label`, sorted by bytes, each ended by a newline; an empty label is `-`."""
    line = pl.concat_str(pl.col("id"), pl.col("label").fill_null("-"), separator=" ")
    return sha256_text("".join(f"{text}\n" for text in table.select(line).to_series().sort()))


def recognise(manifest: Manifest, protocol: str) -> Recognised:
    """Which published list of a protocol (the name of its reader) a manifest is."""
    return recognise_rows(manifest.table, protocol)


def recognise_rows(table: pl.DataFrame, protocol: str, file: Path | None = None) -> Recognised:
    """As `recognise`, of a table with `id` and `label`; `file` is the list that it was read from."""
    lists = [known for known in KNOWN_LISTS if known.protocol == protocol]
    for known in lists:
        if _counts(table) == (known.rows, known.bonafide if known.bonafide is not None else _counts(table)[1]):
            return _same_counts(table, known, file)
    near = _nearest_by_ids(table, lists)
    if near is None:
        return Recognised(None, table.height, "unknown", _unknown(table, lists))
    return _unequal(table, near)


def require(manifest: Manifest, list_name: str) -> Recognised:
    """Pass where the manifest is this published list.

    Raises `UsageError` for an unknown name, and `DataError` that says what the manifest is instead.
    """
    known = next((known for known in KNOWN_LISTS if known.name == list_name), None)
    if known is None:
        names = [known.name for known in KNOWN_LISTS]
        guess = nearest(list_name, names)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise UsageError(f"there is no published list '{list_name}'", fix=f"Lists: {', '.join(names)}.{hint}")
    found = recognise(manifest, known.protocol)
    if found.name != known.name and found.how in SAME:
        what = f"this has the counts of '{found.name}', not of '{known.name}' ({_described(known)})"
        raise DataError(what, where=manifest.root, fix=f"Give the list {known.file}.")
    if found.name != known.name or found.how not in SAME:
        raise DataError(f"is not '{known.name}' ({_described(known)}): {found.said}", where=manifest.root)
    return found


def misnamed(table: pl.DataFrame, protocol: str, file: Path) -> list[str]:
    """A note where a list has the file name of one published list and the counts of another; else nothing."""
    found = recognise_rows(table, protocol)
    owners = [known.name for known in KNOWN_LISTS if known.protocol == protocol and known.file == file.name]
    if found.how not in SAME or not owners or found.name in owners:
        return []
    return [f"{file.name} is the file name of '{owners[0]}', but this has the counts of '{found.name}'"]


def _counts(table: pl.DataFrame) -> tuple[int, int]:
    return table.height, int((table["label"] == "bonafide").sum())


def _same_counts(table: pl.DataFrame, known: KnownList, file: Path | None) -> Recognised:
    rows = table.height
    if known.sha256 is not None:
        if (found := list_checksum(table)) == known.sha256:
            return Recognised(known.name, rows, "content", f"is '{known.name}' ({_described(known)}), by checksum")
        said = (
            f"has the counts of '{known.name}', but other ids or labels (sha256 {found[:12]}, not {known.sha256[:12]})"
        )
        return Recognised(known.name, rows, "other content", said)
    if known.md5 is not None and file is not None and _md5(file) == known.md5:
        said = f"is '{known.name}' ({_described(known)}), by the organisers' md5 of the file"
        return Recognised(known.name, rows, "file", said)
    said = f"equals '{known.name}' in its counts ({_described(known)}, {known.source}); its content was not compared"
    return Recognised(known.name, rows, "counts", said)


def _nearest_by_ids(table: pl.DataFrame, lists: list[KnownList]) -> KnownList | None:
    """The list whose ids these are; of several with such ids the smallest that could hold them, else the largest."""
    whole = [known for known in lists if table["id"].str.contains(f"^(?:{known.ids})$").all()]
    holding = [known for known in whole if known.rows >= table.height]
    if holding:
        return min(holding, key=lambda known: known.rows)
    return max(whole, key=lambda known: known.rows, default=None)


def _unequal(table: pl.DataFrame, known: KnownList) -> Recognised:
    rows, bonafide = _counts(table)
    mine = f"{rows:,} rows, {bonafide:,} of them bona fide"
    theirs = f"'{known.name}' ({_described(known)})"
    if rows < known.rows:
        return Recognised(known.name, rows, "part", f"has {mine}: {known.rows - rows:,} rows fewer than {theirs}")
    if rows > known.rows:
        return Recognised(known.name, rows, "more", f"has {mine}: {rows - known.rows:,} rows more than {theirs}")
    return Recognised(known.name, rows, "other labels", f"has {mine}: as many rows as {theirs}, but other labels")


def _unknown(table: pl.DataFrame, lists: list[KnownList]) -> str:
    """That nothing fits; with what stands around the first id's known part, or whose ids these are instead."""
    plain = f"no published list is known that has these {table.height:,} ids"
    first = str(table["id"][0]) if table.height else ""
    for known in lists:
        if match := re.search(known.ids, first):
            before, after = first[: match.start()], first[match.end() :]
            around = [f"start with '{before}'"] * bool(before) + [f"end with '{after}'"] * bool(after)
            return f"{plain}; they {' and '.join(around)}, which those of '{known.name}' don't"
    others = [known for known in KNOWN_LISTS if lists and re.fullmatch(known.ids, first)]
    return f"{plain}; they look like those of '{others[0].name}'" if others else plain


def _described(known: KnownList) -> str:
    if known.bonafide is None:
        return f"{known.rows:,} rows"
    return f"{known.bonafide:,} bona fide and {known.spoof:,} spoofed rows"


def _md5(file: Path) -> str:
    """Only to compare with what the organisers publish; nothing is trusted because of it."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
