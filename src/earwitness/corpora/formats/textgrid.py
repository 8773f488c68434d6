"""TextGrid, the annotations of Praat: tiers of intervals and of points, in the long or the short text form.

Both forms are one to Praat, which takes only what stands free: texts in quotes (a quote in them doubled), numbers and
flags such as `<exists>`; names such as `xmin =` are for people, and `!` begins a comment.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain
from earwitness.core.writing import write_atomically
from earwitness.corpora.formats.base import (
    Value,
    files_of,
    ids_left_behind,
    left_behind,
    numbered,
    recording_names,
    values_of,
)
from earwitness.corpora.formats.marks import placed
from earwitness.corpora.formats.times import points, shown, spans, stretch
from earwitness.corpora.imported import Imported
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import fail

_TOKEN = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(!)[^\n]*|(\S+)')
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
DEFAULT_TIER = "transcript"


@dataclass(frozen=True)
class Mark:
    """An interval in seconds, or a point where both times are the same."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Tier:
    """Marks in the order of time; `point` where the tier is one of points."""

    name: str
    point: bool
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Grid:
    """A TextGrid: the times it spans, and its tiers."""

    start: float
    end: float
    tiers: tuple[Tier, ...]


def read_textgrid(path: Path) -> Imported:
    """TextGrid files: a row for each interval with a text (tier and text in columns), `point_s` for points.

    Intervals without a text are the gaps between; a tier that has nothing else keeps its rows. Audio files of the same
    name are looked for beside them. Raises `DataError` naming the line.
    """
    files = files_of(path, ".TextGrid")
    folder = path if path.is_dir() else path.parent
    rows: list[dict[str, Value]] = []
    gaps, empty = 0, []
    for file in files:
        grid = parse(_decoded(file), file)
        name = file.relative_to(folder).with_suffix("").as_posix()
        for tier in grid.tiers:
            said = [mark for mark in tier.marks if mark.text or tier.point] or list(tier.marks)
            gaps += len(tier.marks) - len(said)
            empty += [] if said else [f"{name}: {tier.name}"]
            rows += [_row(name, grid, tier, mark) for mark in said]
    notes = [f"{gaps} interval(s) without a text are gaps, and no rows"] if gaps else []
    notes += [f"tier(s) without anything left out: {', '.join(empty)}"] if empty else []
    return placed(rows, path, notes)


def write_textgrid(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """A folder with `<recording>.TextGrid` in the long form for each recording, UTF-8.

    Tiers are those of the column `tier`, else the speakers, else one tier. Raises `DataError` where intervals of a tier
    overlap, or a recording's name leads out of the folder.
    """
    table = manifest.table
    names = recording_names(table)
    rows: dict[str, list[_Row]] = {}
    for name, row in zip(names, _rows(table), strict=True):
        rows.setdefault(name, []).append(row)
    grids = {_file_name(name, own[0].number): _grid(own) for name, own in rows.items()}
    for file, grid in grids.items():
        write_atomically(out / file, formatted(grid))
    held = ("id", "start", "end", "transcript", "recording", "tier", "point_s", "duration_s", "grid_start")
    ids = ids_left_behind(table["id"].to_list(), numbered(names), "TextGrid")
    return (*_silent_note(table), *left_behind(table, held, "TextGrid"), *ids)


def parse(text: str, where: object = None) -> Grid:
    """The grid of a TextGrid's text. Raises `DataError` naming the line."""
    tokens = _Tokens(text, where)
    tokens.header()
    start, end = tokens.number("the start of the grid"), tokens.number("the end of the grid")
    if tokens.flag() != "<exists>":
        return Grid(start, end, ())
    tiers = tuple(_tier(tokens) for _ in range(tokens.count("the number of tiers")))
    names = [tier.name for tier in tiers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"two tiers are called '{twice}'", where=where, fix="Give each tier a name of its own.")
    return Grid(start, end, tiers)


def formatted(grid: Grid) -> str:
    """The long text form, as Praat writes it (with the blanks at the ends of its lines)."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += [f"xmin = {shown(grid.start)} ", f"xmax = {shown(grid.end)} ", "tiers? <exists> "]
    lines += [f"size = {len(grid.tiers)} ", "item []: "]
    for number, tier in enumerate(grid.tiers, start=1):
        kind, group = ("TextTier", "points") if tier.point else ("IntervalTier", "intervals")
        lines += [f"    item [{number}]:", f'        class = "{kind}" ', f"        name = {_quoted(tier.name)} "]
        lines += [f"        xmin = {shown(grid.start)} ", f"        xmax = {shown(grid.end)} "]
        lines += [f"        {group}: size = {len(tier.marks)} "]
        for index, mark in enumerate(tier.marks, start=1):
            lines.append(f"        {group} [{index}]:")
            if tier.point:
                lines += [f"            number = {shown(mark.start)} ", f"            mark = {_quoted(mark.text)} "]
            else:
                lines += [f"            xmin = {shown(mark.start)} ", f"            xmax = {shown(mark.end)} "]
                lines += [f"            text = {_quoted(mark.text)} "]
    return "\n".join(lines) + "\n"


# --- reading


def _decoded(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark. Raises `DataError`."""
    try:
        data = read_plain(file)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=file) from None
    if data.startswith(b"ooBinaryFile"):
        raise DataError("is a binary TextGrid", where=file, fix="In Praat: Save as text file.")
    wide = data.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        fix = "In Praat: Text writing preferences, UTF-8; then save it again."
        raise DataError(f"is neither UTF-8 nor UTF-16 text (byte {error.start})", where=file, fix=fix) from None


def _free(text: str) -> Iterator[tuple[int, str]]:
    """Place and text of what stands free: `"texts"` with their quotes, numbers and `<flags>`."""
    for match in _TOKEN.finditer(text):
        word = match[3]
        if match[1] is not None or (word is not None and (_NUMBER.fullmatch(word) or re.fullmatch(r"<\w+>", word))):
            yield match.start(), match[0]
        elif word is not None and word.startswith('"'):
            yield match.start(), word  # a text that does not end; refused where it is needed


class _Tokens:
    """The free-standing parts in order; each is asked for by what it should be."""

    def __init__(self, text: str, where: object) -> None:
        self._text, self._where, self._parts, self._at = text, where, _free(text), 0

    def header(self) -> None:
        kind = self.text("the file type")
        name = self.text("the object class") if kind.startswith("ooTextFile") else kind
        if "chronological" in name:
            fix = "In Praat: Save as text file."
            raise DataError("is a chronological TextGrid", where=self._where, fix=fix)
        if name != "TextGrid":
            raise DataError(f"holds '{name}', no TextGrid", where=self._where, fix="In Praat: Save as text file.")

    def text(self, wanted: str) -> str:
        part = self._next(wanted)
        if len(part) < 2 or not (part.startswith('"') and part.endswith('"')):
            raise self._wrong(part, f"{wanted}, a text in quotes")
        return part[1:-1].replace('""', '"')

    def number(self, wanted: str) -> float:
        part = self._next(wanted)
        if not _NUMBER.fullmatch(part) or abs(float(part)) == float("inf"):
            raise self._wrong(part, f"{wanted}, a number")
        return float(part)

    def count(self, wanted: str) -> int:
        value = self.number(wanted)
        if value < 0 or value != int(value):
            raise self._wrong(shown(value), f"{wanted}, a whole number")
        return int(value)

    def flag(self) -> str:
        part = self._next("<exists> or <absent>")
        if part not in ("<exists>", "<absent>"):
            raise self._wrong(part, "<exists> or <absent>")
        return part

    def _next(self, wanted: str) -> str:
        self._at, part = next(self._parts, (len(self._text), ""))
        if not part:
            raise self._wrong("the end of the file", wanted)
        return part

    def _wrong(self, found: str, wanted: str) -> DataError:
        line = self._text.count("\n", 0, self._at) + 1
        return DataError(f"line {line}: {found[:60]}", where=self._where, fix=f"Expected: {wanted}.")

    def refuse(self, what: str) -> DataError:
        return self._wrong(what, "an interval from xmin to a later xmax, or a point")


def _tier(tokens: _Tokens) -> Tier:
    kind = tokens.text("the class of a tier")
    if kind not in ("IntervalTier", "TextTier"):
        raise tokens.refuse(f"unknown class of tier '{kind}'")
    name = tokens.text("the name of a tier")
    tokens.number("the start of the tier")
    tokens.number("the end of the tier")
    point = kind == "TextTier"
    return Tier(name, point, tuple(_mark(tokens, point) for _ in range(tokens.count("the number of marks"))))


def _mark(tokens: _Tokens, point: bool) -> Mark:
    start = tokens.number("a time")
    end = start if point else tokens.number("the end of an interval")
    if end < start or start < 0:
        raise tokens.refuse(f"from {shown(start)} to {shown(end)}")
    return Mark(start, end, tokens.text("the text of a mark"))


def _row(name: str, grid: Grid, tier: Tier, mark: Mark) -> dict[str, Value]:
    grid_start = None if grid.start == 0 else shown(grid.start)
    row: dict[str, Value] = {"recording": name, "tier": tier.name, **vars(stretch(mark.start, mark.end))}
    return {**row, "transcript": mark.text or None, "duration_s": grid.end, "grid_start": grid_start}


# --- writing


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _file_name(name: str, row: int) -> str:
    if not name.strip() or name.startswith("/") or "\0" in name or "\\" in name or ".." in name.split("/"):
        raise fail(row, "recording", f"'{name}' leads out of the folder", None, "Give the recording another name.")
    return f"{name}.TextGrid"


@dataclass(frozen=True)
class _Row:
    """A row of the manifest as a mark of a tier; `grid_start` and `length` in seconds, None where not known."""

    number: int
    tier: str
    mark: Mark
    point: bool
    grid_start: float | None
    length: float | None


def _rows(table: pl.DataFrame) -> Iterator[_Row]:
    starts = pl.Series(values_of(table, "grid_start"), dtype=pl.String).cast(pl.Float64, strict=False)
    tiers = pl.Series(values_of(table, "tier"), dtype=pl.String)
    columns = [tiers, table["speaker"], table["transcript"], points(table).is_not_null(), starts, table["duration_s"]]
    for number, ((start, end), values) in enumerate(zip(spans(table), zip(*columns, strict=True), strict=True)):
        tier, speaker, text, point, grid_start, length = values
        yield _Row(number, tier or speaker or DEFAULT_TIER, Mark(start, end, text or ""), point, grid_start, length)


def _grid(rows: Sequence[_Row]) -> Grid:
    """The rows of one recording, gaps between intervals filled with empty ones."""
    start = min(row.grid_start or 0.0 for row in rows)
    end = max([row.mark.end for row in rows] + [row.length for row in rows if row.length is not None])
    tiers: dict[str, list[_Row]] = {}
    for row in rows:
        tiers.setdefault(row.tier, []).append(row)
    return Grid(start, end, tuple(_built(name, own, start, end) for name, own in tiers.items()))


def _built(name: str, rows: Sequence[_Row], start: float, end: float) -> Tier:
    ordered = sorted(rows, key=lambda row: (row.mark.start, row.mark.end))
    if all(row.point for row in rows):
        return Tier(name, True, tuple(row.mark for row in ordered))
    return Tier(name, False, tuple(_filled(ordered, start, end)))


def _filled(rows: Sequence[_Row], start: float, end: float) -> Iterator[Mark]:
    at = start
    for row in rows:
        mark = row.mark
        if mark.start < at:
            fix = "Give overlapping speech tiers of its own (column `tier`)."
            raise fail(row.number, "start", f"{shown(mark.start)} s lies in the interval before it", None, fix)
        if mark.start > at:
            yield Mark(at, mark.start, "")
        yield mark
        at = mark.end
    if at < end:
        yield Mark(at, end, "")


def _silent_note(table: pl.DataFrame) -> tuple[str, ...]:
    count = table["transcript"].null_count()
    return (f"{count} row(s) without a transcript are written as intervals without a text",) if count else ()
